"""A vocabulary of vectors: the few words from which fast kernels are made.

A processor core has registers that hold several numbers, 16 float32 with AVX-512, 8 with AVX2, 4 on most others, and
instructions that work on all of them at once. A compiler finds them in simple loops, but not in the ones that matter: a
matrix product is fast only if a block of its sums stays in registers while they are formed. So here a kernel says what it
means. `Vector` is a type that Numba does not have, an LLVM vector. Each function below is a *word*: when a kernel that
uses it is compiled, it adds a handful of instructions to the code (``writer.py`` writes them). Nothing is called at run time.

Here are the words for one vector, and for squares of them that are turned over on their way through memory. ``tile.py`` has
those for many vectors of sums at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from minivision_kernels.cpu.compile import floats, helper
from minivision_kernels.cpu.writer import BYTES, INT, Vector, Writer, config, int_, word
from minivision_kernels.ladder import of_dtype


@of_dtype
def vectors(array: np.ndarray, *_: Any, **__: Any) -> bool:
    """Whether kernels made of vectors can run on this array: it holds floats, and there is a compiler."""
    return floats(array) and not config.DISABLE_JIT


def lanes_of(array: np.ndarray) -> int:
    """How many numbers of this array a register holds, for Python."""
    return BYTES // array.dtype.itemsize


@helper
def room(array, count):
    """Room for ``count`` numbers of this array's type, from the beginning of a cache line on.

    A vector of AVX-512 fills a line; where it lies across two, a load takes twice as long. ``np.empty`` promises half a line.
    """
    line = 64 // array.itemsize
    whole = np.empty(count + line, array.dtype)
    skip = (line - whole.ctypes.data // array.itemsize % line) % line
    return whole[skip:skip + count]


@word
def lanes(typing, array):
    """How many numbers of this array a register holds."""
    def write(context, builder, signature, args):
        return ir.Constant(INT, Vector(array.dtype).lanes)

    return int_(array), write


@word
def load(typing, a, at):
    """The vector of a from ``at`` on."""
    def write(context, builder, signature, args):
        w = Writer(context, builder, signature.args[0])
        return w.load(w.pointer(signature.args[0], args[0], args[1]))

    return Vector(a.dtype)(a, int_), write


@word
def load_between(typing, a, at, first, end):
    """The vector of a from ``at`` on, with zeros before lane ``first`` and from lane ``end`` on; no memory is touched there."""
    def write(context, builder, signature, args):
        a, at, first, end = args
        w = Writer(context, builder, signature.args[0])
        return w.load_mask(w.pointer(signature.args[0], a, at), w.between(first, end))

    return Vector(a.dtype)(a, int_, int_, int_), write


@word
def every_second(typing, a, at):
    """The vector a[at], a[at + 2], ...; the number behind the last of them is read too."""
    def write(context, builder, signature, args):
        w = Writer(context, builder, signature.args[0])
        return w.every_second(w.pointer(signature.args[0], args[0], args[1]))

    return Vector(a.dtype)(a, int_), write


@word
def put(typing, a, at, vector):
    """Write a vector to a, from ``at`` on."""
    def write(context, builder, signature, args):
        w = Writer(context, builder, signature.args[0])
        w.store(args[2], w.pointer(signature.args[0], args[0], args[1]))
        return context.get_dummy_value()

    return types.void(a, int_, vector), write


@word
def put_between(typing, a, at, vector, first, end):
    """The lanes ``first`` to ``end`` - 1 of a vector to their places in a, whose lane 0 would go to ``at``."""
    def write(context, builder, signature, args):
        a, at, vector, first, end = args
        w = Writer(context, builder, signature.args[0])
        w.store_part(vector, w.pointer(signature.args[0], a, at), w.between(first, end))
        return context.get_dummy_value()

    return types.void(a, int_, vector, int_, int_), write


@word
def put_woven(typing, a, at, x, y, count, past):
    """a[at], a[at + 1], ... = x[0], y[0], x[1], y[1], ..., for two vectors; the first ``count`` numbers of them.

    Whole vectors of the result go past the caches if ``past`` (``stream.py``), and then ``at`` must be a multiple of the lanes.
    """
    def write(context, builder, signature, args):
        a, at, x, y, count, past = args
        w = Writer(context, builder, signature.args[0])
        target = w.pointer(signature.args[0], a, at)
        for half, vector in enumerate(w.turned([x, y])):
            rest, here = builder.sub(count, ir.Constant(INT, half * w.lanes)), w.beyond(target, half * w.lanes)
            whole = builder.icmp_signed(">=", rest, ir.Constant(INT, w.lanes))
            with builder.if_else(builder.and_(past, whole)) as (beyond, near):
                with beyond:
                    w.store_past(vector, here)
                with near:
                    w.store_first(vector, here, rest)
        return context.get_dummy_value()

    return types.void(a, int_, x, y, int_, types.boolean), write


@word
def prefetch(typing, a, at):
    """Ask for the numbers of a from ``at`` on to be brought near; places beyond a do no harm."""
    def write(context, builder, signature, args):
        w = Writer(context, builder, signature.args[0])
        w.prefetch(w.pointer(signature.args[0], args[0], args[1]))
        return context.get_dummy_value()

    return types.void(a, int_), write


@word
def fetch(typing, a, at):
    """`prefetch`, but only to the second-level cache: for what is needed later."""
    def write(context, builder, signature, args):
        w = Writer(context, builder, signature.args[0])
        w.prefetch(w.pointer(signature.args[0], args[0], args[1]), level=2)
        return context.get_dummy_value()

    return types.void(a, int_), write


@word
def entry(typing, a, at):
    """a[at], where ``at`` is not negative: Python's meaning of a[-1] costs a comparison at each step of a sum.

    A slice costs more: it counts references, with a call before which a tile goes from the registers to the stack. One of them
    for each tile of a packed product took 6 to 10 % of layers of 64 channels.
    """
    def write(context, builder, signature, args):
        start = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.load(builder.gep(start, [args[1]]))

    return a.dtype(a, int_), write


@word
def entries(typing, a, at, count):
    """The tuple a[at], a[at + 1], ...: so many numbers, in registers as far as there are enough."""
    kind = types.UniTuple(a.dtype, count.literal_value)

    def write(context, builder, signature, args):
        start = builder.gep(context.make_array(signature.args[0])(context, builder, args[0]).data, [args[1]])
        return cgutils.pack_array(builder, [builder.load(builder.gep(start, [ir.Constant(INT, i)])) for i in range(kind.count)])

    return kind(a, int_, count), write


@word
def none(typing, a):
    """A vector of zeros, for numbers of this array's type."""
    def write(context, builder, signature, args):
        return ir.Constant(context.get_value_type(signature.return_type), None)

    return Vector(a.dtype)(a), write


@word
def add(typing, x, y):
    """x + y, for vectors."""
    return x(x, y), lambda context, builder, signature, args: builder.fadd(*args)


@word
def sub(typing, x, y):
    """x - y, for vectors."""
    return x(x, y), lambda context, builder, signature, args: builder.fsub(*args)


@word
def add_times(typing, x, number, y):
    """x + number * y, for vectors and a whole number written as a constant."""
    def write(context, builder, signature, args):
        x, _, y = args
        factor = ir.Constant(x.type, [float(number.literal_value)] * x.type.count)
        return Writer(context, builder, signature.args[0]).multiply_add(factor, y, x)

    return x(x, number, y), write


@word
def times(typing, x, number, divisor):
    """x * (number / divisor), for a vector and two whole numbers written as constants."""
    def write(context, builder, signature, args):
        factor = number.literal_value / divisor.literal_value
        return builder.fmul(args[0], ir.Constant(args[0].type, [factor] * args[0].type.count))

    return x(x, number, divisor), write


@word
def evens(typing, x, y):
    """Every second number of two vectors: x[0], x[2], ..., y[0], y[2], ..."""
    return x(x, y), lambda context, builder, signature, args: Writer(context, builder, x).evens(*args)


@word
def odds(typing, x, y):
    """The others: x[1], x[3], ..., y[1], y[3], ..."""
    return x(x, y), lambda context, builder, signature, args: Writer(context, builder, x).evens(args[0], args[1], 1)


@word
def joined(typing, x, y, count):
    """The first ``count`` lanes of x and the others of y, for vectors or for tiles of them."""
    def write(context, builder, signature, args):
        tiles = isinstance(x, types.UniTuple)
        pairs = list(zip(*(cgutils.unpack_tuple(builder, v) for v in args[:2]))) if tiles else [tuple(args[:2])]
        mask = Writer(context, builder, x.dtype if tiles else x).first(args[2])
        found = [builder.select(mask, *pair) for pair in pairs]
        return cgutils.pack_array(builder, found) if tiles else found[0]

    return x(x, y, int_), write


@word
def turn(typing, a, at, a_step, first, end, height, b, bt, b_step, width, fill):
    """b[bt + k * b_step + i] = a[at + i * a_step + k] for k < ``width`` and i < ``fill``.

    Zeros are taken where k is not in ``first`` ... ``end`` - 1 or i is not below ``height``; no memory is touched there.
    No count is larger than the lanes of a vector.

    A row that does not exist is looked for where b lies. Nothing is read there either way, but what an empty masked load costs
    depends on its address: with rows looked for beyond the end of a, LeNet-5's first gradient to filters took 50 us for one
    image, or 500, as its array happened to lie.
    """
    def write(context, builder, signature, args):
        a, at, a_step, first, end, height, b, bt, b_step, width, fill = args
        w = Writer(context, builder, signature.args[0])
        pa, pb = w.pointer(signature.args[0], a, at), w.pointer(signature.args[6], b, bt)
        wanted = w.between(first, end)
        rows = []
        for i in range(w.lanes):
            exists = builder.icmp_signed("<", ir.Constant(INT, i), height)
            row = builder.select(exists, w.beyond(pa, i, a_step), pb)
            rows.append(w.load_mask(row, builder.and_(wanted, w.spread(exists, wanted.type))))
        for k, vector in enumerate(w.turned(rows)):
            with builder.if_then(builder.icmp_signed("<", ir.Constant(INT, k), width), likely=True):
                w.store_first(vector, w.beyond(pb, k, b_step), fill)
        return context.get_dummy_value()

    return types.void(a, int_, int_, int_, int_, int_, b, int_, int_, int_, int_), write


@word
def turn_whole(typing, a, at, a_step, b, bt, b_step):
    """`turn` for a square all of which exists: b[bt + k * b_step + i] = a[at + i * a_step + k], without a mask or a branch."""
    def write(context, builder, signature, args):
        a, at, a_step, b, bt, b_step = args
        w = Writer(context, builder, signature.args[0])
        pa, pb = w.pointer(signature.args[0], a, at), w.pointer(signature.args[3], b, bt)
        for k, vector in enumerate(w.turned([w.load(w.beyond(pa, i, a_step)) for i in range(w.lanes)])):
            w.store(vector, w.beyond(pb, k, b_step))
        return context.get_dummy_value()

    return types.void(a, int_, int_, b, int_, int_), write
