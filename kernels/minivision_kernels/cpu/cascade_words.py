"""Words for the trees of a cascade, asked by a vector of neighbouring windows at once.

What is known of a node stands in two rows. Its *numbers* in float32: what the left and the right leaf say, if its children
are leaves, and for Haar the three weights and the threshold. Its *places* in int32: the left and the right child; the corners,
as distances from the window's own; for LBP the eight words of its subset.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import models, register_model

from minivision_kernels.cpu.compile import helper
from minivision_kernels.cpu.simd import entry, none
from minivision_kernels.cpu.stream import Places, spread
from minivision_kernels.cpu.writer import INT, INT32, Vector, Writer, int_, word

CORNERS, WEIGHTS = 2, 2         # where they begin, after the children and after the leaves
SUBSET = CORNERS + 16           # after the 4 x 4 corners of a pattern
HAAR_PLACES, HAAR_NUMBERS = 16, 8
LBP_PLACES, LBP_NUMBERS = 32, 2
RING = (0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)      # the blocks of a pattern, 128 first


@helper
def failing(sums, places, numbers, roots, first, last, threshold, at, norm, wide, long):
    """Which of the windows from ``at`` on fail a stage, the trees ``first`` to ``last``: a bit for each.

    ``norm`` is the vector of their norms for Haar and 0 for LBP; ``wide`` and ``long`` are the lengths of a node's rows.
    """
    totals = no_totals(numbers)
    for tree in range(first, last):
        node = np.int64(entry(roots, tree))
        p, n = wide * node, long * node
        goes_left = leftward(numbers, sums, places, at, p, n, norm)
        left, right = spread(numbers, entry(numbers, n)), spread(numbers, entry(numbers, n + 1))
        deepest = max(entry(places, p), entry(places, p + 1))
        if deepest < 0:
            totals = vote(totals, choose(goes_left, left, right))
        else:
            # Every node of the tree is asked, in order; a window heeds the answer of the node where it stands.
            where, votes = standing(numbers, node), none(numbers)
            while True:
                where, votes = step_on(where, votes, goes_left, left, right, node, np.int64(entry(places, p)),
                                       np.int64(entry(places, p + 1)))
                if node >= deepest:
                    break
                node, p, n = node + 1, p + wide, n + long
                goes_left = leftward(numbers, sums, places, at, p, n, norm)
                left, right = spread(numbers, entry(numbers, n)), spread(numbers, entry(numbers, n + 1))
                deepest = max(deepest, entry(places, p), entry(places, p + 1))
            totals = vote(totals, votes)
    return below(totals, np.float64(threshold))


class Totals(types.Type):
    """Sums in float64, as many as a vector of float32 has lanes."""

    def __init__(self, count: int):
        self.count = count
        super().__init__(name=f"totalsx{count}")


@register_model(Totals)
class _TotalsModel(models.PrimitiveModel):
    def __init__(self, manager: Any, totals: Totals):
        super().__init__(manager, totals, ir.VectorType(ir.DoubleType(), totals.count))


@word
def leftward(typing, numbers, sums, places, at, p, n, norm):
    """Whether the windows at, at + 1, ... go left at the node whose rows are places[p], ... and numbers[n], ...: -1 or 0.

    A word and not a helper, since Numba counts references to arrays around a branch in a helper: that took half the time.
    """
    kind = Places(Vector(numbers.dtype).lanes)
    haar = isinstance(norm, Vector)

    def write(context, builder, signature, args):
        w = Writer(context, builder, signature.args[0])
        about, table, corners = (context.make_array(kind)(context, builder, array).data
                                 for kind, array in zip(signature.args[:3], args[:3]))
        whole = ir.VectorType(INT32, w.lanes)
        start = builder.gep(table, [args[3]])

        def place(k):
            return builder.load(builder.gep(corners, [builder.add(args[4], ir.Constant(INT, k))]))

        def number(k):
            return builder.load(builder.gep(about, [builder.add(args[5], ir.Constant(INT, k))]))

        def corner(k):
            pointer = builder.gep(start, [builder.sext(place(CORNERS + k), INT)])
            return builder.load(builder.bitcast(pointer, whole.as_pointer()), align=4)

        if haar:
            found = builder.fcmp_ordered("<", builder.fmul(_weighed(builder, w, corner, number), args[6]),
                                         w.spread(number(WEIGHTS + 3)))
        else:
            found = _in_subset(builder, w, corner, lambda k: w.spread(place(SUBSET + k), whole))
        return builder.sext(found, whole)

    return kind(numbers, sums, places, int_, int_, int_, norm if haar else int_), write


def _weighed(builder: Any, w: Writer, corner: Any, number: Any) -> Any:
    """The weighted sum of a feature's rectangles; the third is rarer, and its weight is 0 where there is none."""
    def rectangle(r):
        a, b, c, d = (corner(4 * r + k) for k in range(4))
        inside = builder.add(builder.sub(builder.sub(a, b), c), d)
        return builder.fmul(w.spread(number(WEIGHTS + r)), builder.sitofp(inside, w.kind))

    two, third = builder.fadd(rectangle(0), rectangle(1)), number(WEIGHTS + 2)
    before = builder.block
    with builder.if_then(builder.fcmp_unordered("!=", third, ir.Constant(third.type, 0.0))):
        three = builder.fadd(two, rectangle(2))
        there = builder.block
    value = builder.phi(w.kind)
    value.add_incoming(two, before)
    value.add_incoming(three, there)
    return value


def _in_subset(builder: Any, w: Writer, corner: Any, subset: Any) -> Any:
    """Whether the bit of each window's pattern is set. Neighbouring blocks share corners, and what two corners differ by.

    The first three bits of a pattern choose one of eight words, by seven choices between two; the other five choose the bit.
    """
    whole = ir.VectorType(INT32, w.lanes)

    def const(value):
        return ir.Constant(whole, [value] * w.lanes)

    grid = [[corner(4 * i + j) for j in range(4)] for i in range(4)]
    across = [[builder.sub(a, b) for a, b in pairwise(row)] for row in grid]
    blocks = [[builder.sub(a, b) for a, b in zip(row, below)] for row, below in pairwise(across)]
    brighter = [builder.icmp_signed(">=", blocks[i][j], blocks[1][1]) for i, j in RING]
    words = [subset(k) for k in range(8)]
    for mask in reversed(brighter[:3]):
        words = [builder.select(mask, words[k + 1], words[k]) for k in range(0, len(words), 2)]
    place = const(0)
    for k, mask in enumerate(brighter[3:]):
        place = builder.or_(place, builder.select(mask, const(16 >> k), const(0)))
    return builder.icmp_signed("!=", builder.and_(builder.lshr(words[0], place), const(1)), const(0))


@word
def no_totals(typing, a):
    """Zeros in float64."""
    kind = Totals(Vector(a.dtype).lanes)
    return kind(a), lambda context, builder, signature, args: ir.Constant(context.get_value_type(kind), None)


@word
def vote(typing, totals, votes):
    """totals + votes, in float64."""
    def write(context, builder, signature, args):
        return builder.fadd(args[0], builder.fpext(args[1], args[0].type))

    return totals(totals, votes), write


@word
def choose(typing, goes_left, left, right):
    """left where ``goes_left``, else right."""
    def write(context, builder, signature, args):
        return builder.select(builder.icmp_signed("!=", args[0], ir.Constant(args[0].type, None)), args[1], args[2])

    return left(goes_left, left, right), write


@word
def below(typing, totals, threshold):
    """A bit for each of the totals that is below the threshold."""
    def write(context, builder, signature, args):
        kind = args[0].type
        first = builder.insert_element(ir.Constant(kind, ir.Undefined), args[1], ir.Constant(INT32, 0))
        limits = builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(INT32, kind.count), [0] * kind.count))
        bits = builder.bitcast(builder.fcmp_ordered("<", args[0], limits), ir.IntType(kind.count))
        return builder.zext(bits, INT)

    return int_(totals, types.float64), write


@word
def standing(typing, a, node):
    """``node`` in every lane."""
    kind = Places(Vector(a.dtype).lanes)

    def write(context, builder, signature, args):
        w = Writer(context, builder, signature.args[0])
        return w.spread(builder.trunc(args[1], INT32), ir.VectorType(INT32, w.lanes))

    return kind(a, int_), write


@word
def step_on(typing, where, votes, goes_left, left_vote, right_vote, node, left, right):
    """Windows that stand at ``node`` move on to its left or right child, and take that leaf's number along."""
    kind = types.Tuple((where, votes))

    def write(context, builder, signature, args):
        where, votes, goes_left, left_vote, right_vote, *numbers = args
        w = Writer(context, builder, signature.args[1])
        node, left, right = (w.spread(builder.trunc(x, INT32), where.type) for x in numbers)
        here = builder.icmp_signed("==", where, node)
        goes_left = builder.icmp_signed("!=", goes_left, ir.Constant(goes_left.type, None))
        where = builder.select(here, builder.select(goes_left, left, right), where)
        votes = builder.select(here, builder.select(goes_left, left_vote, right_vote), votes)
        return context.make_tuple(builder, kind, (where, votes))

    return kind(where, votes, goes_left, left_vote, right_vote, int_, int_, int_), write
