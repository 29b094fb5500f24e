"""Winograd's transforms as words: small fixed matrices times a column of vectors.

A column is a tuple of vectors. Its length says which of the two convolutions is meant: F(4x4, 3x3), whose patches have 6 x 6
points and give 4 x 4 outputs, or F(2x2, 3x3) with 4 x 4 points and 2 x 2 outputs (Lavin and Gray 2016, section 4):

    turned            Bᵀ d      points of the image -> points
    turn_taps         G w Gᵀ    3 x 3 taps -> points x points, both ways at once
    folded            Aᵀ m      points -> outputs
    spread            A g       outputs -> points, for the gradient to the filters
    fold_taps         Gᵀ m G    points x points -> 3 x 3 taps, for the same, both ways at once

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


def weights_6(w: Column) -> Column:
    ends, far = w[0] + w[2], 1 / 24 * w[0] + 1 / 6 * w[2]
    minus = Term(ends.writer, (-1 / 6 * ends).value())
    return 1 / 4 * w[0], minus - 1 / 6 * w[1], minus + 1 / 6 * w[1], far + 1 / 12 * w[1], far - 1 / 12 * w[1], w[2]


def weights_4(w: Column) -> Column:
    ends = w[0] + w[2]
    half = Term(ends.writer, (1 / 2 * ends).value())
    return w[0], half + 1 / 2 * w[1], half - 1 / 2 * w[1], w[2]


def folded_6(m: Column) -> Column:
    even, odd, far, wide = m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]
    return m[0] + (even + far), odd + 2 * wide, even + 4 * far, odd + 8 * wide + m[5]


def folded_4(m: Column) -> Column:
    return m[0] + (m[1] + m[2]), m[1] - m[2] - m[3]


def spread_4(g: Column) -> Column:
    even, odd, far, wide = g[0] + g[2], g[1] + g[3], g[0] + 4 * g[2], 2 * g[1] + 8 * g[3]
    return g[0], even + odd, even - odd, far + wide, far - wide, g[3]


def spread_2(g: Column) -> Column:
    return g[0], g[0] + g[1], g[0] - g[1], -1 * g[1]


def folded_weights_6(m: Column) -> Column:
    even, odd, far, wide = m[1] + m[2], m[2] - m[1], m[3] + m[4], m[3] - m[4]
    return (1 / 4 * m[0] + 1 / 24 * far - 1 / 6 * even, 1 / 6 * odd + 1 / 12 * wide, m[5] + 1 / 6 * far - 1 / 6 * even)


def folded_weights_4(m: Column) -> Column:
    even = m[1] + m[2]
    return m[0] + 1 / 2 * even, 1 / 2 * m[1] - 1 / 2 * m[2], m[3] + 1 / 2 * even


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
        a, at, a_step, out, to, out_step, _ = args
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
def turn_taps(typing, a, at, a_step, out, to, out_step, points):
    """out[to + k * out_step] = place k of G w Gᵀ, where tap k of w is the vector of a at + k * a_step. ``points`` is a tuple
    as long as a line of places."""
    return types.void(a, int_, int_, out, int_, int_, points), _both_ways(3, weights_6 if points.count == 6 else weights_4)


@word
def folded(typing, column):
    """Aᵀ times a column of products."""
    kind, write = _transform(column, column.count - 2, folded_6 if column.count == 6 else folded_4)
    return kind(column), write


@word
def spread(typing, column):
    """A times a column of g."""
    kind, write = _transform(column, column.count + 2, spread_4 if column.count == 4 else spread_2)
    return kind(column), write


@word
def fold_taps(typing, a, at, a_step, out, to, out_step, points):
    """out[to + k * out_step] = tap k of Gᵀ m G, where place k of m is the vector of a at + k * a_step."""
    formula = folded_weights_6 if points.count == 6 else folded_weights_4
    return types.void(a, int_, int_, out, int_, int_, points), _both_ways(points.count, formula)


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
