"""The register tile: a small matrix of vectors, rows x columns, whose sums stay in registers while they are formed.

There are two ways to fill one, with the words of ``simd.py`` for company:

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

from llvmlite import ir
from numba import types
from numba.core import cgutils

from minivision_kernels.cpu.writer import BYTES, INT, NEON, Vector, Writer, int_, word

# The largest tiles that leave room for their operands: AVX-512 and NEON have 32 registers, AVX2 and SSE have 16.
MANY = BYTES == 64 or NEON
OUTER_ROWS, OUTER_COLUMNS = (8, 3) if MANY else (4, 3)
INNER_ROWS, INNER_COLUMNS = (4, 6) if MANY else (3, 3)
AHEAD = 32          # steps of a sum ahead of which its weights are asked for
TALL_ROWS, TALL_COLUMNS = (14, 2) if MANY else (6, 2)
PACKED_ROWS, PACKED_COLUMNS = (13, 2) if MANY else (6, 2)      # five tiles for 64 rows


def _tile(array: Any, rows: Any, columns: Any) -> types.UniTuple:
    return types.UniTuple(Vector(array.dtype), rows.literal_value * columns.literal_value)


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
def outer_along(typing, tile, rows, columns, a, at, apart, b, bt):
    """tile[i][j] += a[at + i * apart] * (vector j of b from bt on): rows a constant ``apart`` need no addresses but one."""
    def write(context, builder, signature, args):
        tile, _, _, a, at, _, b, bt = args
        _, rows, columns, a_type, _, apart, b_type, _ = signature.args
        w = Writer(context, builder, b_type)
        pa, pb = w.pointer(a_type, a, at), w.pointer(b_type, b, bt)
        numbers = [w.beyond(pa, i * apart.literal_value) for i in range(rows.literal_value)]
        return _settled_rows(w, tile, numbers, pb, columns.literal_value)

    return tile(tile, rows, columns, a, int_, apart, b, int_), write


def _settled_rows(w: Writer, tile: Any, numbers: list[Any], pb: Any, columns: int) -> Any:
    """The tile with the products of the numbers that lie there and of so many vectors from ``pb`` on added to it."""
    row = [w.load(w.beyond(pb, j * w.lanes)) for j in range(columns)]
    w.ask(w.beyond(pb, AHEAD * columns * w.lanes), columns)
    return _products(w, tile, numbers, row, w.settled)


@word
def outer_to(typing, tile, rows, columns, a, at, a_step, b, bt, place):
    """tile[i][j] += a[at + i * a_step] * (the vector of b from bt + place[j] on): `outer` with columns from anywhere."""
    def write(context, builder, signature, args):
        tile, _, _, a, at, a_step, b, bt, place = args
        _, rows, _, a_type, _, _, b_type, _, _ = signature.args
        w = Writer(context, builder, b_type)
        pa, pb = w.pointer(a_type, a, at), w.pointer(b_type, b, bt)
        row = [w.load(builder.gep(pb, [step])) for step in cgutils.unpack_tuple(builder, place)]
        return _products(w, tile, [w.beyond(pa, i, a_step) for i in range(rows.literal_value)], row, end=w.fence)

    return tile(tile, rows, columns, a, int_, int_, b, int_, place), write


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
def inner_along(typing, tile, rows, columns, a, at, a_step, b, bt, taps, stride):
    """tile[i][j] += the sum over so many ``taps`` k of (vector k of a from at + i * a_step on) * (vector j * stride + k of b
    from bt on): a window's line that slides along b. Each vector is loaded once."""
    def write(context, builder, signature, args):
        tile, _, _, a, at, a_step, b, bt, _, _ = args
        _, rows, columns, a_type, _, _, b_type, _, taps, stride = (
            getattr(kind, "literal_value", kind) for kind in signature.args)
        w = Writer(context, builder, b_type)
        pa, pb = w.pointer(a_type, a, at), w.pointer(b_type, b, bt)
        weights = [[w.load(w.beyond(w.beyond(pa, i, a_step), k * w.lanes)) for k in range(taps)] for i in range(rows)]
        for place in range((columns - 1) * stride + taps):
            tapped = [k for k in range(taps) if (place - k) % stride == 0 and 0 <= (place - k) // stride < columns]
            if tapped:
                vector = w.load(w.beyond(pb, place * w.lanes))
                for i, line in enumerate(weights):
                    for k in tapped:
                        number = i * columns + (place - k) // stride
                        tile = builder.insert_value(
                            tile, w.multiply_add(line[k], vector, builder.extract_value(tile, number)), number)
        return tile

    return tile(tile, rows, columns, a, int_, int_, b, int_, taps, stride), write


@word
def plus(typing, tile, rows, columns, c, ct, c_step):
    """The tile with the vectors of c added to it, those of row i from ct + i * c_step on."""
    def write(context, builder, signature, args):
        tile, _, _, c, ct, c_step = args
        w = Writer(context, builder, signature.args[3])
        pc = w.pointer(signature.args[3], c, ct)
        for i in range(rows.literal_value):
            for j in range(columns.literal_value):
                k = i * columns.literal_value + j
                there = w.load(w.beyond(w.beyond(pc, i, c_step), j * w.lanes))
                tile = builder.insert_value(tile, builder.fadd(builder.extract_value(tile, k), there), k)
        return tile

    return tile(tile, rows, columns, c, int_, int_), write


def _finished(by_rows: bool, wide: bool) -> Any:
    """A tile plus the bias from ``at`` on, a number or a ``wide`` vector for each row, or for each column; then ReLU, if
    ``relu``."""
    def finish(typing, tile, rows, columns, bias, at, relu):
        def write(context, builder, signature, args):
            tile, _, _, bias, at, relu = args
            w, across = Writer(context, builder, signature.args[3]), signature.args[2].literal_value
            start = w.pointer(signature.args[3], bias, at)
            least = (ir.Constant(w.kind.element, number) for number in (0.0, float("-inf")))
            floor = w.spread(builder.select(relu, *least))
            count = signature.args[1].literal_value if by_rows else across
            numbers = [w.load(w.beyond(start, i * w.lanes)) if wide else w.spread(builder.load(w.beyond(start, i)))
                       for i in range(count)]
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
    return _finished(by_rows=True, wide=False)(typing, tile, rows, columns, bias, at, relu)


@word
def finish_lanes(typing, tile, rows, columns, bias, at, relu):
    """The same, with vector i of those from bias[at] on added to row i."""
    return _finished(by_rows=True, wide=True)(typing, tile, rows, columns, bias, at, relu)


@word
def finish_columns(typing, tile, rows, columns, bias, at, relu):
    """The same, with vector j of those from bias[at] on added to column j."""
    return _finished(by_rows=False, wide=True)(typing, tile, rows, columns, bias, at, relu)


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


def _store_to(past: bool) -> Any:
    def write(context, builder, signature, args):
        tile, _, _, c, ct, c_step, place = args
        w = Writer(context, builder, signature.args[3])
        pc, store_ = w.pointer(signature.args[3], c, ct), w.store_past if past else w.store
        targets = [builder.gep(pc, [step]) for step in cgutils.unpack_tuple(builder, place)]
        for i in range(signature.args[1].literal_value):
            for j, target in enumerate(targets):
                store_(builder.extract_value(tile, i * len(targets) + j), w.beyond(target, i, c_step))
        return context.get_dummy_value()

    return write


@word
def store_to(typing, tile, rows, columns, c, ct, c_step, place):
    """Write vector j of row i of the tile to c, from ct + i * c_step + place[j] on."""
    return types.void(tile, rows, columns, c, int_, int_, place), _store_to(past=False)


@word
def store_past_to(typing, tile, rows, columns, c, ct, c_step, place):
    """The same past the caches (`arrived`); every vector must begin where a line of memory may."""
    return types.void(tile, rows, columns, c, int_, int_, place), _store_to(past=True)


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
