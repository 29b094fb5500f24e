"""A vocabulary of vectors: the few words from which fast kernels are made.

A processor core has registers that hold several numbers, 16 float32 with AVX-512, 8 with AVX2, 4 on most others, and
instructions that work on all of them at once. A compiler finds them in simple loops, but not in the ones that matter: a
matrix product is fast only if a block of its sums stays in registers while they are formed. So here a kernel says what it
means. `Vector` is a type that Numba does not have, an LLVM vector. Each function below is a *word*: when a kernel that
uses it is compiled, it adds a handful of instructions to the code (``writer.py`` writes them). Nothing is called at run time.

A *tile* is a small matrix of vectors, rows x columns, that lives in registers. There are two ways to fill one:

    outer    tile[i][j] += a[i] * b[j]        a number of a times a vector of b: a matrix product by outer products
    inner    tile[i][j] += a[i] * b[j]        a vector of a times a vector of b: many inner products at once

Rows and columns must be written as constants, since the code is laid out in full. A kernel that keeps 24 vectors of sums
compiles to a loop of 24 multiply-add instructions, a few loads, and nothing else. With AVX-512, for instance,

    for k in range(K):
        tile = outer(tile, 8, 3, a, at + 8 * k, 1, b, bt + place[k])

becomes three loads into zmm registers and, eight times over, ``vbroadcastss`` and three times ``vfmadd231ps``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from minivision_kernels.cpu.compile import floats, helper
from minivision_kernels.cpu.writer import BYTES, INT, NEON, Vector, Writer, config, int_, word
from minivision_kernels.ladder import of_dtype

# The largest tiles that leave room for their operands: AVX-512 and NEON have 32 registers, AVX2 and SSE have 16.
MANY = BYTES == 64 or NEON
OUTER_ROWS, OUTER_COLUMNS = (8, 3) if MANY else (4, 3)
INNER_ROWS, INNER_COLUMNS = (4, 6) if MANY else (3, 3)
AHEAD = 32          # steps of a sum ahead of which its weights are asked for
TALL_ROWS, TALL_COLUMNS = (14, 2) if MANY else (6, 2)
PACKED_ROWS, PACKED_COLUMNS = (13, 2) if MANY else (6, 2)      # five tiles for 64 rows


@of_dtype
def vectors(array: np.ndarray, *_: Any, **__: Any) -> bool:
    """Whether kernels made of vectors can run on this array: it holds floats, and there is a compiler."""
    return floats(array) and not config.DISABLE_JIT


def lanes_of(array: np.ndarray) -> int:
    """How many numbers of this array a register holds, for Python."""
    return BYTES // array.dtype.itemsize


def _tile(array: Any, rows: Any, columns: Any) -> types.UniTuple:
    return types.UniTuple(Vector(array.dtype), rows.literal_value * columns.literal_value)


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
def zeros(typing, array, rows, columns):
    """An empty tile, for numbers of this array's type."""
    tile = _tile(array, rows, columns)

    def write(context, builder, signature, args):
        return ir.Constant(context.get_value_type(tile), None)

    return tile(array, rows, columns), write


def _products(
    w: Writer, tile: Any, numbers: list[Any], row: list[Any], settle: Any = lambda sum_: sum_, end: Any = None,
) -> Any:
    """The tile with each of the numbers that lie there times each vector of the row added to it."""
    for i, pointer in enumerate(numbers):
        number = w.spread(w.builder.load(pointer))
        for j, vector in enumerate(row):
            k = i * len(row) + j
            sum_ = w.multiply_add(number, vector, w.builder.extract_value(tile, k))
            tile = w.builder.insert_value(tile, settle(sum_), k)
        if end:
            end()
    return tile


def _outer(part: bool) -> Any:
    def write(context, builder, signature, args):
        tile, _, _, a, at, a_step, b, bt, *count = args
        _, rows, columns, a_type, _, _, b_type, *_ = signature.args
        w = Writer(context, builder, b_type)
        pa, pb = w.pointer(a_type, a, at), w.pointer(b_type, b, bt)
        row = [w.load_part(pb, count[0]) if part else w.load(w.beyond(pb, j * w.lanes)) for j in range(columns.literal_value)]
        return _products(w, tile, [w.beyond(pa, i, a_step) for i in range(rows.literal_value)], row)

    return write


@word
def outer(typing, tile, rows, columns, a, at, a_step, b, bt):
    """tile[i][j] += a[at + i * a_step] * (vector j of b from bt on)"""
    return tile(tile, rows, columns, a, int_, int_, b, int_), _outer(part=False)


@word
def outer_part(typing, tile, rows, columns, a, at, a_step, b, bt, count):
    """`outer` with one column, of which only the first ``count`` numbers exist."""
    return tile(tile, rows, columns, a, int_, int_, b, int_, int_), _outer(part=True)


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
def outer_at(typing, tile, rows, columns, a, at, place, b, bt):
    """tile[i][j] += a[at + place[i]] * (vector j of b from bt on): `outer` with rows from anywhere."""
    def write(context, builder, signature, args):
        tile, _, _, a, at, place, b, bt = args
        _, _, columns, a_type, _, _, b_type, _ = signature.args
        w = Writer(context, builder, b_type)
        pa, pb, place = w.pointer(a_type, a, at), w.pointer(b_type, b, bt), cgutils.unpack_tuple(builder, place)
        return _settled_rows(w, tile, [builder.gep(pa, [step]) for step in place], pb, columns.literal_value)

    return tile(tile, rows, columns, a, int_, place, b, int_), write


@word
def outer_along(typing, tile, rows, columns, a, at, b, bt):
    """tile[i][j] += a[at + i] * (vector j of b from bt on): rows that follow each other need no addresses but one."""
    def write(context, builder, signature, args):
        tile, _, _, a, at, b, bt = args
        _, rows, columns, a_type, _, b_type, _ = signature.args
        w = Writer(context, builder, b_type)
        pa, pb = w.pointer(a_type, a, at), w.pointer(b_type, b, bt)
        return _settled_rows(w, tile, [w.beyond(pa, i) for i in range(rows.literal_value)], pb, columns.literal_value)

    return tile(tile, rows, columns, a, int_, b, int_), write


def _settled_rows(w: Writer, tile: Any, numbers: list[Any], pb: Any, columns: int) -> Any:
    """The tile with the products of the numbers that lie there and of so many vectors from ``pb`` on added to it."""
    row = [w.load(w.beyond(pb, j * w.lanes)) for j in range(columns)]
    w.ask(w.beyond(pb, AHEAD * columns * w.lanes), columns)
    return _products(w, tile, numbers, row, w.settled)


@word
def outer_to(typing, tile, rows, columns, a, at, b, bt, place):
    """tile[i][j] += a[at + i] * (the vector of b from bt + place[j] on): `outer` with columns from anywhere."""
    def write(context, builder, signature, args):
        tile, _, _, a, at, b, bt, place = args
        _, rows, _, a_type, _, b_type, _, _ = signature.args
        w = Writer(context, builder, b_type)
        pa, pb = w.pointer(a_type, a, at), w.pointer(b_type, b, bt)
        row = [w.load(builder.gep(pb, [step])) for step in cgutils.unpack_tuple(builder, place)]
        return _products(w, tile, [w.beyond(pa, i) for i in range(rows.literal_value)], row, end=w.fence)

    return tile(tile, rows, columns, a, int_, b, int_, place), write


def _inner(part: bool) -> Any:
    def write(context, builder, signature, args):
        tile, _, _, a, at, a_step, b, bt, place, pt, *count = args
        _, rows, columns, a_type, _, _, b_type, _, p_type, *_ = signature.args
        w = Writer(context, builder, b_type)
        pa, pb, pp = w.pointer(a_type, a, at), w.pointer(b_type, b, bt), w.pointer(p_type, place, pt)

        def read(pointer):
            return w.load_part(pointer, count[0]) if part else w.load(pointer)

        left = [read(w.beyond(pa, i, a_step)) for i in range(rows.literal_value)]
        for j in range(columns.literal_value):
            right = read(builder.gep(pb, [builder.load(w.beyond(pp, j))]))
            for i, vector in enumerate(left):
                k = i * columns.literal_value + j
                tile = builder.insert_value(tile, w.multiply_add(vector, right, builder.extract_value(tile, k)), k)
        return tile

    return write


@word
def inner(typing, tile, rows, columns, a, at, a_step, b, bt, place, pt):
    """tile[i][j] += (the vector of a from at + i * a_step on) * (the vector of b from bt + place[pt + j] on)"""
    return tile(tile, rows, columns, a, int_, int_, b, int_, place, int_), _inner(part=False)


@word
def inner_part(typing, tile, rows, columns, a, at, a_step, b, bt, place, pt, count):
    """`inner` over the first ``count`` numbers of each vector."""
    return tile(tile, rows, columns, a, int_, int_, b, int_, place, int_, int_), _inner(part=True)


@word
def store(typing, tile, rows, columns, c, ct, c_step):
    """Write row i of the tile to c, from ct + i * c_step on."""
    def write(context, builder, signature, args):
        tile, _, _, c, ct, c_step = args
        w = Writer(context, builder, signature.args[3])
        pc = w.pointer(signature.args[3], c, ct)
        for i in range(rows.literal_value):
            for j in range(columns.literal_value):
                value = builder.extract_value(tile, i * columns.literal_value + j)
                w.store(value, w.beyond(w.beyond(pc, i, c_step), j * w.lanes))
        return context.get_dummy_value()

    return types.void(tile, rows, columns, c, int_, int_), write


@word
def plus(typing, tile, rows, columns, c, ct):
    """The tile with the rows * columns vectors of c from ct on added to it."""
    def write(context, builder, signature, args):
        tile, _, _, c, ct = args
        w = Writer(context, builder, signature.args[3])
        pc = w.pointer(signature.args[3], c, ct)
        for k in range(signature.args[0].count):
            sum_ = builder.fadd(builder.extract_value(tile, k), w.load(w.beyond(pc, k * w.lanes)))
            tile = builder.insert_value(tile, sum_, k)
        return tile

    return tile(tile, rows, columns, c, int_), write


def _finished(by_rows: bool) -> Any:
    """A tile plus numbers of bias from ``at`` on, one for each row or a vector for each column; then ReLU, if ``relu``."""
    def finish(typing, tile, rows, columns, bias, at, relu):
        def write(context, builder, signature, args):
            tile, _, _, bias, at, relu = args
            w, across = Writer(context, builder, signature.args[3]), signature.args[2].literal_value
            start = w.pointer(signature.args[3], bias, at)
            least = (ir.Constant(w.kind.element, number) for number in (0.0, float("-inf")))
            floor = w.spread(builder.select(relu, *least))
            if by_rows:
                numbers = [w.spread(builder.load(w.beyond(start, i))) for i in range(signature.args[1].literal_value)]
            else:
                numbers = [w.load(w.beyond(start, j * w.lanes)) for j in range(across)]
            for k in range(signature.args[0].count):
                sum_ = builder.fadd(builder.extract_value(tile, k), numbers[k // across if by_rows else k % across])
                sum_ = builder.select(builder.fcmp_ordered("<=", sum_, floor), floor, sum_)     # NaN stays
                tile = builder.insert_value(tile, sum_, k)
            return tile

        return tile(tile, rows, columns, bias, int_, types.boolean), write

    return finish


@word
def finish_rows(typing, tile, rows, columns, bias, at, relu):
    """The tile with number bias[at + i] added to row i, and then, if ``relu``, 0 for what is negative."""
    return _finished(True)(typing, tile, rows, columns, bias, at, relu)


@word
def finish_columns(typing, tile, rows, columns, bias, at, relu):
    """The same, with vector j of those from bias[at] on added to column j."""
    return _finished(False)(typing, tile, rows, columns, bias, at, relu)


@word
def add_rows(typing, tile, rows, columns, c, ct, place):
    """Add row i of the tile to the numbers of c from ct + place[i] on, one row after the other."""
    def write(context, builder, signature, args):
        tile, _, _, c, ct, place = args
        w = Writer(context, builder, signature.args[3])
        pc, columns = w.pointer(signature.args[3], c, ct), signature.args[2].literal_value
        for i, step in enumerate(cgutils.unpack_tuple(builder, place)):
            for j in range(columns):
                target = w.beyond(builder.gep(pc, [step]), j * w.lanes)
                w.store(builder.fadd(w.load(target), builder.extract_value(tile, i * columns + j)), target)
        return context.get_dummy_value()

    return types.void(tile, rows, columns, c, int_, place), write


@word
def store_turned(typing, tile, rows, columns, c, ct, c_step, height, width):
    """c[ct + k * c_step + i] = tile[i][k], for the first ``height`` rows i and the first ``width`` numbers k of a row.

    The tile is turned over in registers, so that each of its columns is written with a few stores.
    """
    def write(context, builder, signature, args):
        tile, _, _, c, ct, c_step, height, width = args
        _, rows, columns, c_type, *_ = signature.args
        w = Writer(context, builder, c_type)
        pc = w.pointer(c_type, c, ct)
        whole = builder.and_(builder.icmp_signed(">=", height, ir.Constant(INT, rows.literal_value)), builder.icmp_signed(
            ">=", width, ir.Constant(INT, columns.literal_value * w.lanes)))
        for top in range(0, rows.literal_value, w.lanes):
            high = min(w.lanes, rows.literal_value - top)
            mask = w.first(builder.sub(height, ir.Constant(INT, top)))
            for j in range(columns.literal_value):
                vectors = [builder.extract_value(tile, i * columns.literal_value + j) if i < rows.literal_value else
                           ir.Constant(w.kind, ir.Undefined) for i in range(top, top + w.lanes)]
                turned = [(vector, w.beyond(w.beyond(pc, k, c_step), top), k) for k, vector in
                          enumerate(w.turned(vectors), j * w.lanes)]
                with builder.if_else(whole) as (all_, some):
                    with all_:
                        for vector, target, _ in turned:
                            w.store_pieces(vector, target, high)
                    with some:
                        for vector, target, k in turned:
                            with builder.if_then(builder.icmp_signed("<", ir.Constant(INT, k), width), likely=True):
                                w.store_part(vector, target, mask)
        return context.get_dummy_value()

    return types.void(tile, rows, columns, c, int_, int_, int_, int_), write


@word
def store_to(typing, tile, rows, columns, c, ct, c_step, place):
    """Write vector j of row i of the tile to c, from ct + i * c_step + place[j] on."""
    def write(context, builder, signature, args):
        tile, _, _, c, ct, c_step, place = args
        w = Writer(context, builder, signature.args[3])
        pc = w.pointer(signature.args[3], c, ct)
        targets = [builder.gep(pc, [step]) for step in cgutils.unpack_tuple(builder, place)]
        for i in range(rows.literal_value):
            for j, target in enumerate(targets):
                w.store(builder.extract_value(tile, i * len(targets) + j), w.beyond(target, i, c_step))
        return context.get_dummy_value()

    return types.void(tile, rows, columns, c, int_, int_, place), write


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
        wanted = builder.and_(w.first(end), builder.not_(w.first(first)))
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


@word
def put_woven(typing, a, at, x, y, count):
    """a[at], a[at + 1], ... = x[0], y[0], x[1], y[1], ..., for two vectors; the first ``count`` numbers of them."""
    def write(context, builder, signature, args):
        a, at, x, y, count = args
        w = Writer(context, builder, signature.args[0])
        target = w.pointer(signature.args[0], a, at)
        for half, vector in enumerate(w.turned([x, y])):
            rest = builder.sub(count, ir.Constant(INT, half * w.lanes))
            w.store_first(vector, w.beyond(target, half * w.lanes), rest)
        return context.get_dummy_value()

    return types.void(a, int_, x, y, int_), write


@word
def interleave(typing, tile, b, bt):
    """b[bt + k * rows + i] = tile[i][k], for a tile of one column."""
    def write(context, builder, signature, args):
        w = Writer(context, builder, signature.args[1])
        start = w.pointer(signature.args[1], args[1], args[2])
        for k, vector in enumerate(w.turned(cgutils.unpack_tuple(builder, args[0]))):
            w.store(vector, w.beyond(start, k * w.lanes))
        return context.get_dummy_value()

    return types.void(tile, b, int_), write


@word
def load_at(typing, a, at, place):
    """A tile of one column, row i of which is the vector of a from at + place[i] on."""
    def write(context, builder, signature, args):
        a, at, place = args
        w = Writer(context, builder, signature.args[0])
        start = w.pointer(signature.args[0], a, at)
        steps = cgutils.unpack_tuple(builder, place)
        return cgutils.pack_array(builder, [w.load(builder.gep(start, [step])) for step in steps])

    return types.UniTuple(Vector(a.dtype), place.count)(a, int_, place), write


@word
def every_second(typing, a, at):
    """The vector a[at], a[at + 2], ...; the number behind the last of them is read too."""
    def write(context, builder, signature, args):
        w = Writer(context, builder, signature.args[0])
        return w.every_second(w.pointer(signature.args[0], args[0], args[1]))

    return Vector(a.dtype)(a, int_), write


@word
def evens(typing, x, y):
    """Every second number of two vectors: x[0], x[2], ..., y[0], y[2], ..."""
    return x(x, y), lambda context, builder, signature, args: Writer(context, builder, x).evens(*args)


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
def add_totals(typing, tile, rows, columns, c, ct, c_step):
    """c[ct + i * c_step + j] += the sum over the lanes of tile[i][j]"""
    def write(context, builder, signature, args):
        tile, _, _, c, ct, c_step = args
        w = Writer(context, builder, signature.args[3])
        pc = w.pointer(signature.args[3], c, ct)
        for i in range(rows.literal_value):
            for j in range(columns.literal_value):
                target = w.beyond(w.beyond(pc, i, c_step), j)
                total = w.total(builder.extract_value(tile, i * columns.literal_value + j))
                builder.store(builder.fadd(builder.load(target), total), target)
        return context.get_dummy_value()

    return types.void(tile, rows, columns, c, int_, int_), write


@word
def load(typing, a, at):
    """The vector of a from ``at`` on."""
    def write(context, builder, signature, args):
        w = Writer(context, builder, signature.args[0])
        return w.load(w.pointer(signature.args[0], args[0], args[1]))

    return Vector(a.dtype)(a, int_), write


@word
def prefetch(typing, a, at):
    """Ask for the numbers of a from ``at`` on to be brought near; places beyond a do no harm."""
    def write(context, builder, signature, args):
        w = Writer(context, builder, signature.args[0])
        w.prefetch(w.pointer(signature.args[0], args[0], args[1]))
        return context.get_dummy_value()

    return types.void(a, int_), write


@word
def ask(typing, a, at, columns):
    """With AVX-512, `prefetch` for so many vectors: a tile asks for those of some steps later. The second-level cache alone
    does not bring them in time, and a product of panels that lie there runs at 80 % of the speed, or less. With AVX2 it does,
    and the sums of a step are so few that asking would cost a third of them; there this is nothing."""
    def write(context, builder, signature, args):
        if BYTES < 64:
            return context.get_dummy_value()
        w = Writer(context, builder, signature.args[0])
        w.ask(w.pointer(signature.args[0], args[0], args[1]), signature.args[2].literal_value)
        return context.get_dummy_value()

    return types.void(a, int_, columns), write


@word
def fetch(typing, a, at):
    """`prefetch`, but only to the second-level cache: for what is needed later."""
    def write(context, builder, signature, args):
        w = Writer(context, builder, signature.args[0])
        w.prefetch(w.pointer(signature.args[0], args[0], args[1]), level=2)
        return context.get_dummy_value()

    return types.void(a, int_), write


@word
def none(typing, a):
    """A vector of zeros, for numbers of this array's type."""
    def write(context, builder, signature, args):
        return ir.Constant(context.get_value_type(signature.return_type), None)

    return Vector(a.dtype)(a), write


@word
def load_between(typing, a, at, first, end):
    """The vector of a from ``at`` on, with zeros before lane ``first`` and from lane ``end`` on; no memory is touched there."""
    def write(context, builder, signature, args):
        a, at, first, end = args
        w = Writer(context, builder, signature.args[0])
        mask = builder.and_(w.first(end), builder.not_(w.first(first)))
        return w.load_mask(w.pointer(signature.args[0], a, at), mask)

    return Vector(a.dtype)(a, int_, int_, int_), write


@word
def put(typing, a, at, vector):
    """Write a vector to a, from ``at`` on."""
    def write(context, builder, signature, args):
        w = Writer(context, builder, signature.args[0])
        w.store(args[2], w.pointer(signature.args[0], args[0], args[1]))
        return context.get_dummy_value()

    return types.void(a, int_, vector), write


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
