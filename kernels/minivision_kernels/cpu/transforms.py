"""Winograd's transforms as words: small fixed matrices times a column of vectors (``formulas.py``).

A column is a tuple of vectors. The numbers of its pixels, points, outputs or taps say which matrix is meant:

    turned            Bᵀ d      pixels -> points
    turn_taps         G w Gᵀ    taps -> points x points, both ways at once
    folded            Aᵀ m      points -> outputs
    spread            A g       outputs -> points, for the gradient to the filters
    fold_taps         Gᵀ m G    points x points -> taps, for the same, both ways at once
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils

from minivision_kernels.cpu.formulas import FOLDED, FOLDED_WEIGHTS, SPREAD, TURNED, WEIGHTS, Formula, Term
from minivision_kernels.cpu.writer import Vector, Writer, int_, word


def _transform(column: Any, results: int, formula: Formula) -> Any:
    def write(context, builder, signature, args):
        w = Writer(context, builder, column.dtype)
        terms = [Term(w, vector) for vector in cgutils.unpack_tuple(builder, args[0])]
        return cgutils.pack_array(builder, [term.value() for term in formula(terms)])

    return types.UniTuple(column.dtype, results), write


def _both_ways(size: int, formula: Formula) -> Any:
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
def turned(typing, column, points):
    """Bᵀ times a column of pixels; ``points`` is a tuple as long as the result."""
    kind, write = _transform(column, points.count, TURNED[column.count, points.count])
    return kind(column, points), write


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
