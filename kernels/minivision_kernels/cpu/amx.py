"""Words for a matrix unit: products of whole tiles, 16 x 16 sums at a time.

Some processors have, beside their vectors, eight *tile registers* of 16 rows of 64 bytes, and an instruction that multiplies
two of them as matrices and adds the product to a third (Intel's Advanced Matrix Extensions, AMX; Intel 64 and IA-32
Architectures Optimization Reference Manual, chapter 20). It does in 16 cycles what vectors of AVX-512 do in 256, but it takes
numbers in bfloat16: the sign, the exponent and the first 8 digits of a float32, which has 24.

So a number is split into three: its first 8 binary digits, the next 8, and the last 8, with

    a = a1 + a2 + a3            exactly, |a2| <= 2^-8 |a|, |a3| <= 2^-16 |a|
    a b = a1 b1 + (a1 b2 + a2 b1) + (a1 b3 + a2 b2 + a3 b1) + what is left out, less than 2^-22 |a b|

Six products of tiles, then, for one in float32, which still is 2.7 times as fast (Henry, Tang and Heinecke 2019, "Leveraging
the bfloat16 artificial intelligence datatype for higher-precision computations"). Products of bfloat16 are exact in float32,
and that is what they are added up in. CUDA's rung ``3xtf32`` splits numbers for its tensor cores in the same way.

A left tile holds 16 rows and 32 terms, a right one 32 terms and 16 columns, and terms come in pairs, which lie in the two
halves of one 32-bit word. Which terms are a pair is for us to say: here terms k and k + 16 of a block of 32. Then both sides
are made of two vectors of float32 that lie in memory as they are, two rows of the right matrix or two pieces of one row of
the left one.

The unit takes anything below 2^-126 for 0, what it is given and what it makes. So numbers, or products of two, below 2^-102
lose their last digits: each of a term's six products may be off by 2^-126. One that is infinite or not a number gives NaN
instead of whatever it should, and so does one beyond the largest bfloat16, 3.39e38. A product that has NaN in it, or
infinity, is therefore computed again without the unit.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from minivision_kernels.cpu.simd import vectors
from minivision_kernels.cpu.writer import BYTES, FEATURES, INT, INT32, Writer, int_, word
from minivision_kernels.ladder import of_dtype

SIDE = 16                   # rows and columns of a tile of sums; also pairs of terms in a tile of either side
TILE = SIDE * SIDE          # words of 32 bits in a tile
PIECES = 3                  # bfloat16 numbers of which a float32 is made
ROW_BYTES = 4 * SIDE
# Which pieces meet, and in which order: each step changes one side only.
ORDER = ((0, 2), (0, 1), (0, 0), (2, 0), (1, 0), (1, 1))

BYTE = ir.IntType(8)
ASK_PERMISSION, TILE_DATA, SYSTEM_CALL = 0x1023, 18, 158     # Linux: arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)


@functools.cache
def present() -> bool:
    """Whether there is a matrix unit, and the system lets this process use it. Linux wants to be asked, once."""
    if not {"amx-tile", "amx-bf16"} <= FEATURES or BYTES < 64 or not sys.platform.startswith("linux"):
        return False
    return ctypes.CDLL(None).syscall(SYSTEM_CALL, ASK_PERMISSION, TILE_DATA) == 0


@of_dtype
def takes(array: np.ndarray, *_: Any, **__: Any) -> bool:
    """Whether products of this array can be computed by the unit: it is float32, and there is one."""
    return array.dtype == np.float32 and vectors(array) and present()


recomputed = 0              # products that were computed again, in this process


def again(wrong: np.ndarray) -> bool:
    """Whether a product has to be computed again with vectors, where ``wrong`` is what its threads say of their sums."""
    global recomputed
    bad = any(wrong.tolist())                           # which is sooner done than what NumPy has for it
    recomputed += bad
    return bad


def _do(builder: Any, name: str, *args: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [x.type for x in args])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.{name}"), args)


def _bytes(w: Writer, array_type: Any, array: Any, at: Any, tiles: int = 0) -> Any:
    return w.builder.bitcast(w.beyond(w.pointer(array_type, array, at), tiles * TILE), BYTE.as_pointer())


@word
def tiles_begin(typing):
    """Set the unit up for eight tiles of 16 rows of 64 bytes; every thread does so before it uses them."""
    def write(context, builder, signature, args):
        shape = [1, 0, *[0] * 14, *[ROW_BYTES, 0] * 8, *[0] * 16, *[SIDE] * 8, *[0] * 8]        # palette 1; bytes of rows; rows
        kind = ir.ArrayType(BYTE, len(shape))
        name = "minivision.tiles"
        found = builder.module.globals.get(name) or cgutils.global_constant(builder.module, name, ir.Constant(kind, shape))
        _do(builder, "ldtilecfg", builder.bitcast(found, BYTE.as_pointer()))
        return context.get_dummy_value()

    return types.void(), write


@word
def tiles_end(typing):
    """Give the tile registers back, so that nobody has to save them."""
    def write(context, builder, signature, args):
        _do(builder, "tilerelease")
        return context.get_dummy_value()

    return types.void(), write


@word
def tiles_zero(typing, rows, columns):
    """rows x columns tiles of sums, all 0."""
    def write(context, builder, signature, args):
        for tile in range(rows.literal_value * columns.literal_value):
            _do(builder, "tilezero", BYTE(tile))
        return context.get_dummy_value()

    return types.void(rows, columns), write


@word
def tiles_store(typing, rows, columns, a, at):
    """Write the sums, row after row, to a from ``at`` on: rows * 16 rows of columns * 16 numbers."""
    def write(context, builder, signature, args):
        height, width = rows.literal_value, columns.literal_value
        w = Writer(context, builder, signature.args[2])
        start, step = w.pointer(signature.args[2], *args[2:]), INT(ROW_BYTES * width)
        for i in range(height):
            for j in range(width):
                place = builder.bitcast(w.beyond(start, i * width * TILE + j * SIDE), BYTE.as_pointer())
                _do(builder, "tilestored64", BYTE(i * width + j), place, step)
        return context.get_dummy_value()

    return types.void(rows, columns, a, int_), write


Place = Callable[[Writer, Any, Any, int, int], Any]     # of a tile of a side: of which piece, and of which half of the side


def _add_products(left: Place, right: Place) -> Any:
    def write(context, builder, signature, args):
        w, here, counts = Writer(context, builder, signature.args[2]), [-1, -1], [n.literal_value for n in signature.args[:2]]
        for pieces in ORDER:
            for side, (place, first) in enumerate(((left, 4), (right, 6))):
                if here[side] != pieces[side]:
                    for half in range(counts[side]):
                        there = place(w, signature, args, pieces[side], half)
                        _do(builder, "tileloadd64", BYTE(first + half), there, INT(ROW_BYTES))
            here = list(pieces)
            for i in range(counts[0]):
                for j in range(counts[1]):
                    _do(builder, "tdpbf16ps", BYTE(i * counts[1] + j), BYTE(4 + i), BYTE(6 + j))
        return context.get_dummy_value()

    return write


def _in_panel(side: int) -> Place:
    """Tiles of a panel, which argument ``side`` holds: two for each piece."""
    return lambda w, signature, args, piece, half: _bytes(
        w, signature.args[side], args[side], args[side + 1], 2 * piece + half)


@word
def tiles_add_products(typing, rows, columns, left, lt, right, rt):
    """Add the products of a block of 32 terms to the sums: 6 for each of them.

    The left side has two tiles for each piece, the first for rows 0 to 15; so has the right one.
    """
    return types.void(rows, columns, left, int_, right, int_), _add_products(_in_panel(2), _in_panel(4))


@word
def tiles_add_rows(typing, rows, columns, left, first, second, apart, right, rt):
    """`tiles_add_products` with the left tiles from ``first`` and ``second`` on, and ``apart`` from piece to piece: any 16 rows
    that follow each other are a tile."""
    def place(w, signature, args, piece, half):
        there = w.builder.add(args[3 + half], w.builder.mul(args[5], INT(piece)))
        return _bytes(w, signature.args[2], args[2], there)

    return types.void(rows, columns, left, int_, int_, int_, right, int_), _add_products(place, _in_panel(6))


@word
def tiles_add_pairs(typing, rows, columns, left, lt, right, rt, apart):
    """`tiles_add_products` with right tiles ``apart`` from piece to piece, and the second after the last piece of the first."""
    def place(w, signature, args, piece, half):
        there = w.builder.add(args[5], w.builder.mul(args[6], INT(PIECES * half + piece)))
        return _bytes(w, signature.args[4], args[4], there)

    return types.void(rows, columns, left, int_, right, int_, int_), _add_products(_in_panel(2), place)


def _put_split(context, builder, signature, args):
    low, high, out, to, *apart = args
    b, w = builder, Writer(context, builder, signature.args[2])
    words = ir.VectorType(INT32, w.lanes)
    def all_(number: int) -> Any:
        return ir.Constant(words, [number] * w.lanes)

    target, step = w.pointer(signature.args[2], out, to), apart[0] if apart else INT(2 * TILE)
    for piece in range(PIECES):
        pair = []
        for vector in (low, high):
            digits = b.bitcast(vector, words)
            if piece < PIECES - 1:                              # what is left at last has no more than 8 digits
                digits = b.add(digits, all_(0x8000))
            pair.append(b.and_(digits, all_(0xFFFF0000)))       # unless it is below the normal range
        low, high = (b.fsub(v, b.bitcast(digits, v.type)) for v, digits in zip((low, high), pair))
        woven = b.or_(b.lshr(pair[0], all_(16)), pair[1])
        w.store(b.bitcast(woven, w.kind), w.beyond(target, piece, step))
    return context.get_dummy_value()


@word
def put_split(typing, low, high, out, to):
    """Split two vectors of float32 and write them as pairs of bfloat16, first pieces to out[to], second ones to the tile
    behind the next, and so on: number i of ``low`` and of ``high`` to the lower and upper half of word i.

    Digits are cut off by rounding to the nearest, halves away from 0.
    """
    return types.void(low, high, out, int_), _put_split


@word
def put_split_apart(typing, low, high, out, to, apart):
    """`put_split` with pieces ``apart`` from each other."""
    return types.void(low, high, out, int_, int_), _put_split


@word
def watched(typing, sums, tile):
    """sums + 0 * tile: stays 0 until a number of the tile is infinite or none, and is not a number from then on."""
    def write(context, builder, signature, args):
        w = Writer(context, builder, sums.dtype)
        nothing = ir.Constant(w.kind, [0.0] * w.lanes)
        pairs = zip(*(cgutils.unpack_tuple(builder, v) for v in args))
        return cgutils.pack_array(builder, [w.multiply_add(x, nothing, total) for total, x in pairs])

    return sums(sums, tile), write
