"""A cascade at a vector of neighbouring windows at once.

Neighbouring windows ask the same question of neighbouring pixels: the corners of a rectangle, for eight windows side by side,
are eight numbers side by side, and one load brings them all. Most windows lie two pixels apart; so the tables are copied
first, the even columns of a row before its odd ones, and side by side they are again.

A window that has failed keeps its place in the vector until all of its neighbours have. That costs less than it seems:
windows that get far stand together, on a face.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import models, register_model

from minivision_kernels.cascades import FLAT, SKIPPED, Haar, Trees
from minivision_kernels.cpu.cascade_loops import new_answers, taps
from minivision_kernels.cpu.cascade_parallel import HANDS, dealt
from minivision_kernels.cpu.compile import (
    In1,
    In2,
    Int32In1,
    Int32In2,
    Int32In3,
    Int32Out1,
    Int32Out2,
    Out2,
    UInt8In2,
    UInt8Out2,
    compiled,
    contiguous,
    have_compiler,
    helper,
    prange,
)
from minivision_kernels.cpu.simd import entry, load, none
from minivision_kernels.cpu.stream import Places, mul, spread
from minivision_kernels.cpu.writer import BYTES, INT, INT32, Vector, Writer, config, int_, word
from minivision_kernels.ladder import rung
from minivision_kernels.reference.cascade import Pair

LANES = BYTES // 4
PLACES, NUMBERS = 16, 8   # of a node, as ``_haar_plan`` lists them
WINDOW = 10             # a window costs about as much as this many multiply-adds


def vectors(*_: Any, **__: Any) -> bool:
    """Whether there is a compiler; vectors are not for a debugger."""
    return have_compiler() and not config.DISABLE_JIT


@rung("shrink_exact", name="vectors", device="cpu", accepts=vectors)
def shrink_exact(image: np.ndarray, size: Pair) -> np.ndarray:
    """Two old rows are mixed first, over their whole width and in vectors; then two numbers are mixed for each new pixel,
    not four. All sums are of whole numbers, so their order does not matter."""
    result = np.empty(size, np.uint8)
    _shrink(contiguous(image), *taps(image.shape, size), result, work=2 * (result.size + size[0] * image.shape[1]))
    return result


@rung("cascade_haar", name="vectors", device="cpu", accepts=vectors)
def cascade_haar(
    sums: np.ndarray, squares: np.ndarray, features: Haar, trees: Trees, size: Pair, step: int, rows: int,
) -> np.ndarray:
    """A vector of windows is asked at once; eight stumps cost what one did, and there is not a branch between them."""
    passed = new_answers(sums, size, step, rows)
    table, of_squares, pitch = _laid_out(sums, squares, step)
    places, numbers = np.empty((len(trees.nodes), PLACES), np.int32), np.empty((len(trees.nodes), NUMBERS), np.float32)
    half, second = (pitch // 2 if step == 2 else 0), sums.shape[1] * pitch
    _haar_plan(features.weights, features.rects, features.tilted.view(np.uint8)[:, None], trees.nodes, trees.thresholds,
               trees.leaves, pitch, half, step, second, places, numbers, work=PLACES * len(places))
    _haar(table, of_squares, places.reshape(-1), numbers.reshape(-1), trees.roots, trees.stages, trees.stage_thresholds,
          pitch, half, size[0], size[1], step, passed, work=WINDOW * passed.size)
    return passed


def _laid_out(sums: np.ndarray, squares: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray, int]:
    """The tables, a row after the other, in each the columns of even number first if ``step`` is 2; and a row's length.

    After the last row comes room for a vector, so that the last windows can be read as others are.
    """
    T, H, W = sums.shape
    pitch = (W + 1) // 2 * 2 if step == 2 else W
    table = np.empty(T * H * pitch + 2 * LANES, np.int32)
    of_squares = np.empty(H * pitch + 2 * LANES, np.int32)
    _lay_out(contiguous(sums).reshape(T * H, W), contiguous(squares), step, pitch, table, of_squares,
             work=sums.size + squares.size)
    return table, of_squares, pitch


@compiled(parallel=True)
def _lay_out(sums: Int32In2, squares: Int32In2, step: int, pitch: int, table: Int32Out1, of_squares: Int32Out1):
    above = sums.shape[0]
    for y in prange(above + squares.shape[0]):
        if y < above:
            lay_row(sums[y], step, table[y * pitch:y * pitch + pitch])
        else:
            lay_row(squares[y - above], step, of_squares[(y - above) * pitch:(y - above + 1) * pitch])


@helper
def lay_row(row, step, out):
    W = row.shape[0]
    if step == 1:
        for x in range(W):
            out[x] = row[x]
        return
    half = out.shape[0] // 2
    for x in range(W // 2):
        out[x] = row[2 * x]
        out[half + x] = row[2 * x + 1]
    if W % 2 == 1:
        out[W // 2] = row[W - 1]
        out[half + W // 2] = 0


@compiled(parallel=True)
def _shrink(
    image: UInt8In2, top: Int32In1, lower: Int32In1, fy: Int32In1, left: Int32In1, right: Int32In1, fx: Int32In1,
    result: UInt8Out2,
):
    for y in prange(result.shape[0]):
        mixed = np.empty(image.shape[1], np.int32)
        mix_rows(image[top[y]], image[lower[y]], fy[y], mixed)
        for x in range(result.shape[1]):
            first, second, f = entry(mixed, left[x]), entry(mixed, right[x]), fx[x]
            result[y, x] = (first * (256 - f) + second * f + 32768) >> 16


@helper
def mix_rows(above, below, f, mixed):
    for x in range(mixed.shape[0]):
        mixed[x] = np.int32(above[x]) * np.int32(256 - f) + np.int32(below[x]) * np.int32(f)


@compiled(parallel=True)
def _haar_plan(
    weights: In2, rects: Int32In3, tilted: UInt8In2, nodes: Int32In2, thresholds: In1, leaves: In1, pitch: int, half: int,
    step: int, second: int, places: Int32Out2, numbers: Out2,
):
    """All that is asked of a node in two rows. places: the twelve corners, as distances from the window's own; the left and
    the right child. numbers: the three weights, the threshold, and what the left and the right leaf say, if they are leaves."""
    for m in prange(nodes.shape[0]):
        k = nodes[m, 2]
        for r in range(3):
            x, y, w, h = rects[k, r, 0], rects[k, r, 1], rects[k, r, 2], rects[k, r, 3]
            for c in range(4):
                i, j = c // 2, c % 2
                if tilted[k, 0] != 0:
                    places[m, 4 * r + c] = second + place(y + i * h + j * w, x - i * h + j * w, pitch, half, step)
                else:
                    places[m, 4 * r + c] = place(y + i * h, x + j * w, pitch, half, step)
            numbers[m, r] = weights[k, r]
        numbers[m, 3] = thresholds[m]
        for side in range(2):
            child = nodes[m, side]
            places[m, 12 + side] = child
            numbers[m, 4 + side] = leaves[-1 - child] if child < 0 else 0


@helper
def place(y, x, pitch, half, step):
    """Where the tables have the pixel (y, x)."""
    return y * pitch + (x & (step - 1)) * half + (x >> (step - 1))


@compiled(parallel=True)
def _haar(
    sums: Int32In1, squares: Int32In1, places: Int32In1, numbers: In1, roots: Int32In1, stages: Int32In1,
    stage_thresholds: In1, pitch: int, half: int, height: int, width: int, step: int, passed: Int32Out2,
):
    for i in prange((passed.shape[0] + HANDS - 1) // HANDS * HANDS):
        row = dealt(i, passed.shape[0])
        if row < passed.shape[0]:
            start, columns = row * step * pitch, passed.shape[1]
            norms = np.empty(columns + LANES, np.float32)
            inverse_deviations(sums, squares, start, pitch, half, height, width, step, norms)
            for column in range(0, columns, LANES):
                failed = haar_stage(sums, places, numbers, roots, stages[0], stages[1], stage_thresholds[0], start + column,
                                    norms, column)
                for k in range(min(LANES, columns - column)):
                    passed[row, column + k] = FLAT if norms[column + k] == 0 else 1 - ((failed >> k) & 1)
            for column in range(1, columns):
                if passed[row, column - 1] == 0:
                    passed[row, column] = SKIPPED
            for column in range(0, columns, LANES):
                alive = 0
                for k in range(min(LANES, columns - column)):
                    alive |= (passed[row, column + k] == 1) << k
                stage = 1
                while alive != 0 and stage < stage_thresholds.shape[0]:
                    alive &= ~haar_stage(sums, places, numbers, roots, stages[stage], stages[stage + 1],
                                         stage_thresholds[stage], start + column, norms, column)
                    stage += 1
                    for k in range(min(LANES, columns - column)):
                        if (alive >> k) & 1:
                            passed[row, column + k] = stage


@helper
def inverse_deviations(sums, squares, start, pitch, half, height, width, step, norms):
    """1 / (area * deviation) for each window of a row, as ``inverse_deviation`` has it for one."""
    a, b = start + place(1, 1, pitch, half, step), start + place(1, width - 1, pitch, half, step)
    down = (height - 2) * pitch
    area = (height - 2) * (width - 2)
    for j in range(norms.shape[0]):
        total = np.float64(np.int32(entry(sums, a + j) - entry(sums, b + j)
                                    - entry(sums, a + down + j) + entry(sums, b + down + j)))
        of_squares = np.float64(np.uint32(entry(squares, a + j) - entry(squares, b + j)
                                          - entry(squares, a + down + j) + entry(squares, b + down + j)))
        deviation = area * of_squares - total * total
        norm = np.float32(1.0 / math.sqrt(deviation))
        visible = (deviation > 0) & (np.float64(np.float32(area) * norm) < 0.1)
        norms[j] = norm if visible else np.float32(0)


@helper
def haar_stage(sums, places, numbers, roots, first, last, threshold, at, norms, column):
    """Which of the windows from ``at`` on fail a stage, the trees ``first`` to ``last``: a bit for each."""
    norm = load(norms, column)
    totals = no_totals(numbers)
    for tree in range(first, last):
        node = np.int64(entry(roots, tree))
        p, n = PLACES * node, NUMBERS * node
        value = mul(weighed(numbers, sums, places, at, p, n), norm)
        limit, left, right = (spread(numbers, entry(numbers, n + 3)), spread(numbers, entry(numbers, n + 4)),
                              spread(numbers, entry(numbers, n + 5)))
        deepest = max(entry(places, p + 12), entry(places, p + 13))
        if deepest < 0:
            totals = vote(totals, choose(value, limit, left, right))
        else:
            # Every node of the tree is asked, in order; a window heeds the answer of the node where it stands.
            where, votes = standing(numbers, node), none(numbers)
            while True:
                where, votes = step_on(where, votes, value, limit, left, right, node, np.int64(entry(places, p + 12)),
                                       np.int64(entry(places, p + 13)))
                if node >= deepest:
                    break
                node, p, n = node + 1, p + PLACES, n + NUMBERS
                value = mul(weighed(numbers, sums, places, at, p, n), norm)
                limit, left, right = (spread(numbers, entry(numbers, n + 3)), spread(numbers, entry(numbers, n + 4)),
                                      spread(numbers, entry(numbers, n + 5)))
                deepest = max(deepest, entry(places, p + 12), entry(places, p + 13))
            totals = vote(totals, votes)
    return below(totals, np.float64(threshold))


# ------------------------------------------------------------------------------------------------ words


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
def weighed(typing, numbers, sums, places, at, p, n):
    """The feature whose corners are places[p], ... and whose weights are numbers[n], ..., of the windows at, at + 1, ...

    A word and not a helper, since Numba counts references to arrays around a branch in a helper: that took half the time.
    """
    def write(context, builder, signature, args):
        w = Writer(context, builder, signature.args[0])
        weights, table, corners = (context.make_array(kind)(context, builder, array).data
                                   for kind, array in zip(signature.args[:3], args[:3]))
        start, whole = builder.gep(table, [args[3]]), ir.VectorType(INT32, w.lanes)

        def corner(k):
            distance = builder.load(builder.gep(corners, [builder.add(args[4], ir.Constant(INT, k))]))
            pointer = builder.gep(start, [builder.sext(distance, INT)])
            return builder.load(builder.bitcast(pointer, whole.as_pointer()), align=4)

        def weight(r):
            return builder.load(builder.gep(weights, [builder.add(args[5], ir.Constant(INT, r))]))

        def rectangle(r):
            a, b, c, d = (corner(4 * r + k) for k in range(4))
            inside = builder.add(builder.sub(builder.sub(a, b), c), d)
            return builder.fmul(w.spread(weight(r)), builder.sitofp(inside, w.kind))

        two, third = builder.fadd(rectangle(0), rectangle(1)), weight(2)
        before = builder.block
        with builder.if_then(builder.fcmp_unordered("!=", third, ir.Constant(third.type, 0.0))):
            three = builder.fadd(two, rectangle(2))
            there = builder.block
        value = builder.phi(w.kind)
        value.add_incoming(two, before)
        value.add_incoming(three, there)
        return value

    return Vector(numbers.dtype)(numbers, sums, places, int_, int_, int_), write


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
def choose(typing, value, limit, left, right):
    """left where value < limit, else right."""
    return value(value, limit, left, right), lambda context, builder, signature, args: builder.select(
        builder.fcmp_ordered("<", args[0], args[1]), args[2], args[3])


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
def step_on(typing, where, votes, value, limit, left_vote, right_vote, node, left, right):
    """Windows that stand at ``node`` move on to its left or right child, and take that leaf's number along."""
    kind = types.Tuple((where, votes))

    def write(context, builder, signature, args):
        where, votes, value, limit, left_vote, right_vote, *numbers = args
        w = Writer(context, builder, signature.args[1])
        node, left, right = (w.spread(builder.trunc(x, INT32), where.type) for x in numbers)
        here = builder.icmp_signed("==", where, node)
        goes_left = builder.fcmp_ordered("<", value, limit)
        where = builder.select(here, builder.select(goes_left, left, right), where)
        votes = builder.select(here, builder.select(goes_left, left_vote, right_vote), votes)
        return context.make_tuple(builder, kind, (where, votes))

    return kind(where, votes, value, limit, left_vote, right_vote, int_, int_, int_), write
