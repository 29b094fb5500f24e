"""Words for small windows that slide over one image plane where it lies: more of the vocabulary of ``simd.py``.

The lanes are neighbouring pixels of a row of results. What tap (i, j) contributes to them is then a vector of the image
from one place on, and the next tap sees the vector that begins one number further on. Three words each take a few rows
of the image, load every vector they need once, and use it for all rows of results and taps that want it:

    slide        results from pixels and weights: the forward; the gradient to the image at stride 1
    fan_out      pixels from results and weights: the gradient to the image at stride 2
    correlate    weights from pixels and results: the gradient to the filters

Nothing is padded. A row above or below the image is read from a row of zeros instead, and beyond the left and right edge
a mask keeps lanes from being read; a load with a mask costs nothing extra with AVX-512. All lengths of loops are
constants, so what remains is a straight run of loads and multiply-adds.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from minivision_kernels.cpu.writer import INT, INT32, Vector, Writer, int_, word

BEFORE = 16                     # numbers; a tap of a 5 x 5 window needs two


class Window(Writer):
    """Reads rows of an image plane, with zeros around it."""

    def __init__(self, context: Any, builder: Any, array_type: Any, array: Any, place: Any, width: Any, row: Any, height: Any):
        super().__init__(context, builder, array_type)
        self.start, self.width, self.row, self.height = self.pointer(array_type, array, place), width, row, height

    def columns(self, first: Any, end: Any, count: Any = None) -> None:
        """From here on, only numbers ``first`` to ``end`` of each row exist; a tap sees only ``count`` of them, if given."""
        b = self.builder
        length = b.sub(end, first)
        length = b.select(b.icmp_signed("<", length, ir.Constant(INT, 0)), ir.Constant(INT, 0), length)
        self.lane = ir.VectorType(INT32, self.lanes)
        self.begins, self.length = (self.spread(b.trunc(x, INT32), self.lane) for x in (first, length))
        self.counted = None
        if count is not None:
            numbers = ir.Constant(self.lane, list(range(self.lanes)))
            self.counted = b.icmp_signed("<", numbers, self.spread(b.trunc(count, INT32), self.lane))

    def mask(self, at: int) -> Any:
        """Which of the lanes exist in the vector from ``at`` on."""
        place = ir.Constant(self.lane, [at + k for k in range(self.lanes)])
        return self.builder.icmp_unsigned("<", self.builder.sub(place, self.begins), self.length)

    def line(self, i: int, other: Any = None) -> Any:
        """Where row i of the window begins: in the image, or in ``other``, a row of zeros."""
        b = self.builder
        inside = b.icmp_unsigned("<", b.add(self.row, ir.Constant(INT, i)), self.height)     # a negative one is huge
        return b.select(inside, self.beyond(self.start, i, self.width), self.zeros() if other is None else other)

    def nowhere(self) -> Any:
        """A row to which rows are written that do not exist. With branches instead, LLVM would move each row's
        multiply-adds behind its branch, far from the loads."""
        place = cgutils.alloca_once(self.builder, ir.ArrayType(self.kind, 2))
        return self.builder.bitcast(place, self.kind.element.as_pointer())

    def zeros(self) -> Any:
        """A row of zeros, as long as any that a word reads, behind `BEFORE` more: `fan_out` begins a little before it."""
        kind = ir.ArrayType(self.kind.element, BEFORE + 4 * self.lanes + 16)
        module, name = self.builder.module, f"nothing.{self.name}"
        if name in module.globals:
            found = module.globals[name]
        else:
            found = ir.GlobalVariable(module, kind, name)
            found.initializer, found.global_constant, found.linkage = ir.Constant(kind, None), True, "internal"
        return self.beyond(self.builder.bitcast(found, self.kind.element.as_pointer()), BEFORE)

    def vector(self, line: Any, at: int, part: bool, among: Any = None) -> Any:
        """The numbers of a line from ``at`` on, or those ``among`` them."""
        mask = self.mask(at) if part else among
        if part and among is not None:
            mask = self.builder.and_(mask, among)
        pointer = self.beyond(line, at)
        return self.load(pointer) if mask is None else self.load_mask(pointer, mask)

    def taps(self, i: int, count: int, stride: int, part: bool) -> list[Any]:
        """What ``count`` neighbouring taps see in row i: number j holds the numbers at j, j + stride, j + 2 stride, ..."""
        line, L = self.line(i), self.lanes
        counted = self.counted if part else None
        if stride == 1:
            return [self.vector(line, j, part, counted) for j in range(count)]
        # Two vectors in a row hold what two taps see, in turns; the next taps see the same from one lane further on.
        pair = self.vector(line, 0, part), self.vector(line, L, part)
        few = ir.Constant(ir.VectorType(ir.IntType(1), L), [k < count - 2 for k in range(L)])
        rest = self.vector(line, 2 * L, part, few)
        found = [self.shuffle(*pair, range(phase, 2 * L, 2)) for phase in range(2)]
        for j in range(2, count):
            found.append(self.shuffle(found[j % 2], rest, [*range(j // 2, L), *range(L + j % 2, L + j, 2)]))
        if counted is not None:
            found = [self.builder.select(counted, vector, ir.Constant(self.kind, None)) for vector in found]
        return found

    def settle(self, tile: list[Any]) -> None:
        """Have the sums so far in registers before the next row is loaded; LLVM would load all rows first, and run out."""
        tile[:] = map(self.settled, tile)

    def shuffle(self, a: Any, b: Any, order: Any) -> Any:
        """The numbers of two vectors in another order."""
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(INT32, self.lanes), list(order)))


@word
def spread_out(typing, a, at, step, rows, columns):
    """rows * columns vectors: a[at], a[at + step], ..., each in all lanes."""
    tile = types.UniTuple(Vector(a.dtype), rows.literal_value * columns.literal_value)

    def write(context, builder, signature, args):
        w = Writer(context, builder, signature.args[0])
        start = w.pointer(signature.args[0], args[0], args[1])
        return cgutils.pack_array(builder, [w.spread(builder.load(w.beyond(start, k, args[2]))) for k in range(tile.count)])

    return tile(a, int_, int_, rows, columns), write


@word
def slide(typing, tile, rows, KH, KW, stride, part, a, at, width, row, height, first, end, weights):
    """tile[i] += the sum over taps of weights[kh, kw] * what is seen from a[at + (i stride + kh) width + kw] on.

    Lane l sees l stride numbers further on. ``at`` is in row ``row`` of a plane of ``height`` rows; with ``part`` 1, only
    numbers ``first`` to ``end`` from there exist. The rest is zeros.
    """
    R, H, W, S = rows.literal_value, KH.literal_value, KW.literal_value, stride.literal_value

    def write(context, builder, signature, args):
        tile, weights = (cgutils.unpack_tuple(builder, args[k]) for k in (0, 13))
        window = Window(context, builder, signature.args[6], *args[6:11])
        window.columns(args[11], args[12])
        for i in range((R - 1) * S + H):
            seen = window.taps(i, W, S, bool(part.literal_value))
            for kw, vector in enumerate(seen):
                for k in range(R):
                    kh = i - k * S
                    if 0 <= kh < H:
                        tile[k] = window.multiply_add(weights[kh * W + kw], vector, tile[k])
            window.settle(tile)
        return cgutils.pack_array(builder, tile)

    return tile(tile, rows, KH, KW, stride, part, a, int_, int_, int_, int_, int_, int_, weights), write


@word
def get_rows(typing, tile, rows, a, at, width, row, height, count):
    """The tile with a[at + i width + k] for its row i and the first ``count`` numbers k, as far as there are rows."""
    def write(context, builder, signature, args):
        w = Window(context, builder, signature.args[2], *args[2:7])
        w.columns(ir.Constant(INT, 0), args[7])
        return cgutils.pack_array(builder, [w.vector(w.line(i), 0, True) for i in range(rows.literal_value)])

    return tile(tile, rows, a, int_, int_, int_, int_, int_), write


@word
def fan_out(typing, tile, K, part, g, at, width, row, height, first, end, weights):
    """tile[a, b] += the sum over i and j of weights[2 i + a, 2 j + b] * what is seen from g[at - i width - j] on.

    These are the four phases of the image: pixels of even and odd rows and columns. ``at`` is in row ``row`` of g.
    """
    size = K.literal_value

    def write(context, builder, signature, args):
        tile, weights = (cgutils.unpack_tuple(builder, args[k]) for k in (0, 10))
        window = Window(context, builder, signature.args[3], *args[3:8])
        window.columns(args[8], args[9])
        for i in range((size + 1) // 2):
            line = window.line(-i)
            for j in range((size + 1) // 2):
                vector = window.vector(line, -j, bool(part.literal_value))
                for a in range(2):
                    for b in range(2):
                        if 2 * i + a < size and 2 * j + b < size:
                            weight = weights[(2 * i + a) * size + 2 * j + b]
                            tile[2 * a + b] = window.multiply_add(weight, vector, tile[2 * a + b])
        return cgutils.pack_array(builder, tile)

    return tile(tile, K, part, g, int_, int_, int_, int_, int_, int_, weights), write


@word
def correlate(typing, tile, rows, KH, KW, stride, part, a, at, width, row, height, first, end, g, gt, g_width, count):
    """tile[kh, kw] += the sum over i of row i of g times what tap (kh, kw) sees there, as in `slide`.

    Row i of g begins at gt + i g_width; with ``part`` 1, only its first ``count`` numbers exist.
    """
    R, H, W, S = rows.literal_value, KH.literal_value, KW.literal_value, stride.literal_value

    def write(context, builder, signature, args):
        tile = cgutils.unpack_tuple(builder, args[0])
        window = Window(context, builder, signature.args[6], *args[6:11])
        # What stands behind the lanes that g fills must not be seen: infinity times zero is no number.
        window.columns(args[11], args[12], args[16])
        upstream = Window(context, builder, signature.args[13], args[13], args[14], args[15], None, None)
        upstream.columns(ir.Constant(INT, 0), args[16])
        partly = bool(part.literal_value)
        G = [upstream.vector(upstream.beyond(upstream.start, i, args[15]), 0, partly) for i in range(R)]
        for i in range((R - 1) * S + H):
            for kw, vector in enumerate(window.taps(i, W, S, partly)):
                for k in range(R):
                    kh = i - k * S
                    if 0 <= kh < H:
                        tile[kh * W + kw] = window.multiply_add(G[k], vector, tile[kh * W + kw])
        return cgutils.pack_array(builder, tile)

    return tile(tile, rows, KH, KW, stride, part, a, int_, int_, int_, int_, int_, int_, g, int_, int_, int_), write


@word
def put_rows(typing, tile, rows, part, a, at, width, row, height, count):
    """a[at + i width + k] = tile[i][k], as far as there are rows; with ``part`` 1 for the first ``count`` numbers k."""
    def write(context, builder, signature, args):
        window = Window(context, builder, signature.args[3], *args[3:8])
        for i, value in enumerate(cgutils.unpack_tuple(builder, args[0])):
            line = window.line(i, window.nowhere())
            window.store_first(value, line, args[8]) if part.literal_value else window.store(value, line)
        return context.get_dummy_value()

    return types.void(tile, rows, part, a, int_, int_, int_, int_, int_), write


@word
def put_phases(typing, tile, part, a, at, width, row, height, first, end):
    """a[at + i width + 2 k + j] = tile[i, j][k], as far as there are rows; with ``part`` 1, numbers ``first`` to ``end``.

    ``first`` is at most 1: then what follows is moved down by a lane, so that no store needs a mask.
    """
    def write(context, builder, signature, args):
        window = Window(context, builder, signature.args[2], *args[2:7])
        phases, L = cgutils.unpack_tuple(builder, args[0]), window.lanes
        one = builder.icmp_signed(">", args[7], ir.Constant(INT, 0))
        skipped, most = builder.zext(one, INT), ir.Constant(INT, 2 * L)
        count = builder.sub(builder.select(builder.icmp_signed("<", args[8], most), args[8], most), skipped)
        for i in range(2):
            line = window.line(i, window.nowhere())
            # An even one, an odd one, and so on.
            halves = [window.shuffle(phases[2 * i], phases[2 * i + 1], [half * L // 2 + k // 2 + k % 2 * L for k in range(L)])
                      for half in range(2)]
            if part.literal_value:
                moved = [window.shuffle(halves[0], halves[1], range(1, L + 1)),
                         window.shuffle(halves[1], halves[1], [*range(1, L), 0])]
                halves = [builder.select(one, *pair) for pair in zip(moved, halves)]
                line = builder.gep(line, [skipped])
            for half, vector in enumerate(halves):
                if part.literal_value:
                    window.store_first(vector, window.beyond(line, half * L), builder.sub(count, ir.Constant(INT, half * L)))
                else:
                    window.store(vector, window.beyond(line, half * L))
        return context.get_dummy_value()

    return types.void(tile, part, a, int_, int_, int_, int_, int_, int_), write
