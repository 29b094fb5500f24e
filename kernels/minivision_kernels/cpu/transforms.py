"""Winograd's transforms as words: small fixed matrices times a column of vectors.

A column is a tuple of vectors. F(m x m, r x r) makes m x m outputs of r x r taps from a patch of m + r - 1 points each way.
So the numbers of points and of outputs say which convolution is meant: F(4x4, 3x3) or F(2x2, 3x3) (Lavin and Gray 2016, section
4), or F(2x2, 5x5), which has the points of the first, 0, 1, -1, 2, -2 and infinity, and so shares its transform of the image:

    turned            Bᵀ d      points of the image -> points
    turn_taps         G w Gᵀ    taps -> points x points, both ways at once
    folded            Aᵀ m      points -> outputs
    spread            A g       outputs -> points, for the gradient to the filters
    fold_taps         Gᵀ m G    points x points -> taps, for the same, both ways at once

The matrices are never seen: rows that differ in signs only share their sums, and what remains are a few additions and
multiply-adds, written here as the formulas they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from minivision_kernels.cpu.writer import Vector, Writer, int_, word


class Term:
    """A vector times a number, while instructions are written: a sum of two of them is one multiply-add."""

    def __init__(self, writer: Writer, vector: Any, factor: float = 1.0):
        self.writer, self.vector, self.factor = writer, vector, factor

    def constant(self) -> Any:
        return ir.Constant(self.vector.type, [self.factor] * self.vector.type.count)

    def value(self) -> Any:
        """The product itself, as a vector."""
        return self.vector if self.factor == 1 else self.writer.builder.fmul(self.vector, self.constant())

    def __rmul__(self, number: float) -> Term:
        return Term(self.writer, self.vector, self.factor * number)

    def __add__(self, other: Term) -> Term:
        w = self.writer
        if self.factor == other.factor == 1:
            return Term(w, w.builder.fadd(self.vector, other.vector))
        if other.factor == 1:
            return Term(w, w.multiply_add(self.constant(), self.vector, other.vector))
        return Term(w, w.multiply_add(other.constant(), other.vector, self.value()))

    def __sub__(self, other: Term) -> Term:
        if self.factor == other.factor == 1:
            return Term(self.writer, self.writer.builder.fsub(self.vector, other.vector))
        return self + -1 * other


Column = Sequence[Term]


def turned_6(d: Column) -> Column:
    even, odd, left, right = d[4] - 4 * d[2], d[3] - 4 * d[1], d[4] - d[2], d[3] - d[1]
    return (d[4] + 4 * d[0] - 5 * d[2], even + odd, even - odd, left + 2 * right, left - 2 * right,
            d[5] + 4 * d[1] - 5 * d[3])


def turned_4(d: Column) -> Column:
    return d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]


def weights_5_to_6(w: Column) -> Column:
    near, odd = w[0] + w[2] + w[4], w[1] + w[3]
    far, wide = 1 / 24 * w[0] + 1 / 6 * w[2] + 2 / 3 * w[4], 1 / 12 * w[1] + 1 / 3 * w[3]
    minus = Term(near.writer, (-1 / 6 * near).value())
    return 1 / 4 * w[0], minus - 1 / 6 * odd, minus + 1 / 6 * odd, far + wide, far - wide, w[4]


def weights_3_to_6(w: Column) -> Column:
    ends, far = w[0] + w[2], 1 / 24 * w[0] + 1 / 6 * w[2]
    minus = Term(ends.writer, (-1 / 6 * ends).value())
    return 1 / 4 * w[0], minus - 1 / 6 * w[1], minus + 1 / 6 * w[1], far + 1 / 12 * w[1], far - 1 / 12 * w[1], w[2]


def weights_3_to_4(w: Column) -> Column:
    ends = w[0] + w[2]
    half = Term(ends.writer, (1 / 2 * ends).value())
    return w[0], half + 1 / 2 * w[1], half - 1 / 2 * w[1], w[2]


def folded_6_to_4(m: Column) -> Column:
    even, odd, far, wide = m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]
    return m[0] + (even + far), odd + 2 * wide, even + 4 * far, odd + 8 * wide + m[5]


def folded_6_to_2(m: Column) -> Column:
    return m[0] + ((m[1] + m[2]) + (m[3] + m[4])), (m[1] - m[2]) + 2 * (m[3] - m[4]) + m[5]


def folded_4_to_2(m: Column) -> Column:
    return m[0] + (m[1] + m[2]), m[1] - m[2] - m[3]


def spread_4_to_6(g: Column) -> Column:
    even, odd, far, wide = g[0] + g[2], g[1] + g[3], g[0] + 4 * g[2], 2 * g[1] + 8 * g[3]
    return g[0], even + odd, even - odd, far + wide, far - wide, g[3]


def spread_2_to_6(g: Column) -> Column:
    return g[0], g[0] + g[1], g[0] - g[1], g[0] + 2 * g[1], g[0] - 2 * g[1], g[1]


def spread_2_to_4(g: Column) -> Column:
    return g[0], g[0] + g[1], g[0] - g[1], -1 * g[1]


def folded_weights_6_to_5(m: Column) -> Column:
    even, odd, far, wide = m[1] + m[2], m[2] - m[1], m[3] + m[4], m[3] - m[4]
    minus = Term(even.writer, (-1 / 6 * even).value())
    return (1 / 4 * m[0] + 1 / 24 * far + minus, 1 / 6 * odd + 1 / 12 * wide, minus + 1 / 6 * far, 1 / 6 * odd + 1 / 3 * wide,
            m[5] + 2 / 3 * far + minus)


def folded_weights_6_to_3(m: Column) -> Column:
    even, odd, far, wide = m[1] + m[2], m[2] - m[1], m[3] + m[4], m[3] - m[4]
    return (1 / 4 * m[0] + 1 / 24 * far - 1 / 6 * even, 1 / 6 * odd + 1 / 12 * wide, m[5] + 1 / 6 * far - 1 / 6 * even)


def folded_weights_4_to_3(m: Column) -> Column:
    even = m[1] + m[2]
    return m[0] + 1 / 2 * even, 1 / 2 * m[1] - 1 / 2 * m[2], m[3] + 1 / 2 * even


# By how many numbers go in and come out.
WEIGHTS = {(3, 4): weights_3_to_4, (3, 6): weights_3_to_6, (5, 6): weights_5_to_6}
FOLDED = {(4, 2): folded_4_to_2, (6, 2): folded_6_to_2, (6, 4): folded_6_to_4}
SPREAD = {(2, 4): spread_2_to_4, (2, 6): spread_2_to_6, (4, 6): spread_4_to_6}
FOLDED_WEIGHTS = {(4, 3): folded_weights_4_to_3, (6, 3): folded_weights_6_to_3, (6, 5): folded_weights_6_to_5}


def _transform(column: Any, results: int, formula: Callable[[Column], Column]) -> Any:
    def write(context, builder, signature, args):
        w = Writer(context, builder, column.dtype)
        terms = [Term(w, vector) for vector in cgutils.unpack_tuple(builder, args[0])]
        return cgutils.pack_array(builder, [term.value() for term in formula(terms)])

    return types.UniTuple(column.dtype, results), write


def _both_ways(size: int, formula: Callable[[Column], Column]) -> Any:
    """A square of ``size`` x ``size`` vectors, read line by line, and written so: its columns, then the rows of what they give,
    all in registers as far as there are enough."""
    def write(context, builder, signature, args):
        a, at, a_step, out, to, out_step, *_ = args
        w = Writer(context, builder, signature.args[0])
        start, target = w.pointer(signature.args[0], a, at), w.pointer(signature.args[3], out, to)
        columns = []
        for j in range(size):
            column = [Term(w, w.load(w.beyond(start, size * i + j, a_step))) for i in range(size)]
            columns.append([Term(w, term.value()) for term in formula(column)])
        for k, term in enumerate(term for row in zip(*columns) for term in formula(row)):
            w.store(term.value(), w.beyond(target, k, out_step))
        return context.get_dummy_value()

    return write


@word
def turned(typing, column):
    """Bᵀ times a column of points of the image."""
    kind, write = _transform(column, column.count, turned_6 if column.count == 6 else turned_4)
    return kind(column), write


@word
def turn_taps(typing, a, at, a_step, out, to, out_step, points, taps):
    """out[to + k * out_step] = place k of G w Gᵀ, where tap k of w is the vector of a at + k * a_step. ``points`` is a tuple
    as long as a line of places, and ``taps`` one as long as a line of w."""
    return types.void(a, int_, int_, out, int_, int_, points, taps), _both_ways(
        taps.count, WEIGHTS[taps.count, points.count])


@word
def folded(typing, column, outputs):
    """Aᵀ times a column of products; ``outputs`` is a tuple as long as the result."""
    kind, write = _transform(column, outputs.count, FOLDED[column.count, outputs.count])
    return kind(column, outputs), write


@word
def spread(typing, column, points):
    """A times a column of g; ``points`` is a tuple as long as the result."""
    kind, write = _transform(column, points.count, SPREAD[column.count, points.count])
    return kind(column, points), write


@word
def fold_taps(typing, a, at, a_step, out, to, out_step, points, taps):
    """out[to + k * out_step] = tap k of Gᵀ m G, where place k of m is the vector of a at + k * a_step."""
    return types.void(a, int_, int_, out, int_, int_, points, taps), _both_ways(
        points.count, FOLDED_WEIGHTS[points.count, taps.count])


@word
def column(typing, a, at, step, like):
    """As many vectors of a as the tuple ``like`` is long: from ``at`` on, from at + step on, ..."""
    kind = types.UniTuple(Vector(a.dtype), like.count)

    def write(context, builder, signature, args):
        w = Writer(context, builder, signature.args[0])
        start = w.pointer(signature.args[0], args[0], args[1])
        return cgutils.pack_array(builder, [w.load(w.beyond(start, k, args[2])) for k in range(kind.count)])

    return kind(a, int_, int_, like), write


@word
def put_column(typing, a, at, step, column):
    """Write the vectors of a column to a, from ``at`` on, from at + step on, ..."""
    def write(context, builder, signature, args):
        w = Writer(context, builder, signature.args[0])
        start = w.pointer(signature.args[0], args[0], args[1])
        for k, vector in enumerate(cgutils.unpack_tuple(builder, args[3])):
            w.store(vector, w.beyond(start, k, args[2]))
        return context.get_dummy_value()

    return types.void(a, int_, int_, column), write
