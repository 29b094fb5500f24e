"""Winograd's formulas, along one side of a patch.

F(m, r) makes m outputs of r taps from m + r - 1 pixels, with as many multiplications (Winograd 1980). Its matrices are those of
polynomials that are multiplied by their values at some points (Lavin and Gray 2016, section 4): F(2, 3) at 0, 1, -1 and
infinity, F(4, 3) and F(2, 5) at 2 and -2 besides, so that both share their transform of the pixels, F(4, 2) at 0, 1, -1, 2 and
infinity. They are never seen here: rows that differ in signs only share their sums, and what remains are a few additions and
multiply-adds, written as the formulas they are.

    turned              Bᵀ d        pixels -> points
    weights             G w         taps -> points
    folded              Aᵀ m        points -> outputs
    spread              A g         outputs -> points, for the gradient to the filters
    folded_weights      Gᵀ m        points -> taps, for the same

Stride 2 needs no others. A filter sees every second pixel through its taps at even places, and those between through the ones
at odd places: two filters at stride 1, the results of which are added. Three taps are F(4, 2) and a single one, five
multiplications and four for four outputs instead of twelve, both ways 81 instead of 144; four taps are F(4, 2) twice, 100
instead of 256; five are F(4, 3) and F(4, 2), 121 instead of 400. In the gradient to the image the taps at even places and at
odd ones make every second pixel each, eight together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from llvmlite import ir

from minivision_kernels.cpu.writer import Writer


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
Formula = Callable[[Column], Column]


def turned_6(d: Column) -> Column:
    even, odd, left, right = d[4] - 4 * d[2], d[3] - 4 * d[1], d[4] - d[2], d[3] - d[1]
    return (d[4] + 4 * d[0] - 5 * d[2], even + odd, even - odd, left + 2 * right, left - 2 * right,
            d[5] + 4 * d[1] - 5 * d[3])


def turned_4(d: Column) -> Column:
    return d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]


def turned_5(d: Column) -> Column:
    wide, near = d[3] - d[1], 2 * d[1]
    return 2 * (d[0] - d[2]) + wide, d[3] - near - d[2], d[3] + near - 3 * d[2], wide, d[4] + near - 2 * d[3] - d[2]


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


def weights_2_to_5(w: Column) -> Column:
    first, last = Term(w[0].writer, (1 / 6 * w[0]).value()), 1 / 6 * w[1]
    return 1 / 2 * w[0], -1 / 2 * w[0] - 1 / 2 * w[1], last - first, first + 2 * last, w[1]


def folded_6_to_4(m: Column) -> Column:
    even, odd, far, wide = m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]
    return m[0] + (even + far), odd + 2 * wide, even + 4 * far, odd + 8 * wide + m[5]


def folded_6_to_2(m: Column) -> Column:
    return m[0] + ((m[1] + m[2]) + (m[3] + m[4])), (m[1] - m[2]) + 2 * (m[3] - m[4]) + m[5]


def folded_4_to_2(m: Column) -> Column:
    return m[0] + (m[1] + m[2]), m[1] - m[2] - m[3]


def folded_5_to_4(m: Column) -> Column:
    even, odd = m[1] + m[2], m[1] - m[2]
    return m[0] + (even + m[3]), odd + 2 * m[3], even + 4 * m[3], odd + 8 * m[3] + m[4]


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
TURNED: dict[tuple[int, int], Formula] = {(4, 4): turned_4, (6, 6): turned_6}
WEIGHTS: dict[tuple[int, int], Formula] = {(3, 4): weights_3_to_4, (3, 6): weights_3_to_6, (5, 6): weights_5_to_6}
FOLDED: dict[tuple[int, int], Formula] = {(4, 2): folded_4_to_2, (6, 2): folded_6_to_2, (6, 4): folded_6_to_4}
SPREAD = {(2, 4): spread_2_to_4, (2, 6): spread_2_to_6, (4, 6): spread_4_to_6}
FOLDED_WEIGHTS = {(4, 3): folded_weights_4_to_3, (6, 3): folded_weights_6_to_3, (6, 5): folded_weights_6_to_5}


class Half(NamedTuple):
    """F(4, r), for every second tap of a filter."""

    points: int             # and pixels
    turned: Formula
    weights: Formula
    folded: Formula


def as_it_is(column: Column) -> Column:
    return column


ONE = Half(4, as_it_is, as_it_is, as_it_is)                          # a single tap: one multiplication for each output
TWO, THREE = Half(5, turned_5, weights_2_to_5, folded_5_to_4), Half(6, turned_6, weights_3_to_6, folded_6_to_4)
HALVES = {3: (TWO, ONE), 4: (TWO, TWO), 5: (THREE, TWO)}                # by taps: those at even places, those at odd ones


def at_stride_2(taps: int) -> tuple[int, int]:
    """Put the formulas for filters of so many taps into the tables. Returns how many pixels eight results of a gradient see,
    and how many points there are."""
    even, odd = HALVES[taps]
    points, later = even.points + odd.points, int(taps > 3)             # a line of g that the odd taps do not see, or none
    seen = max(even.points, odd.points + later)

    def both(m: Column) -> tuple[Column, Column]:
        return even.folded(m[:even.points]), odd.folded(m[even.points:])

    def of_results(m: Column) -> Column:
        first, second = both(m) if later else both(m)[::-1]             # whether even taps see even pixels
        return [result for pair in zip(first, second) for result in pair]

    TURNED[6 + taps, points] = lambda d: [*even.turned(d[::2]), *odd.turned(d[1::2])]
    TURNED[seen, points] = lambda g: [*even.turned(g[:even.points]), *odd.turned(g[later:later + odd.points])]
    WEIGHTS[taps, points] = lambda w: [*even.weights(w[::2]), *odd.weights(w[1::2])]
    FOLDED[points, 4] = lambda m: [a + b for a, b in zip(*both(m))]
    FOLDED[points, 8] = of_results
    return seen, points


STRIDED = {taps: at_stride_2(taps) for taps in HALVES}


def kinds(points: int) -> int:
    """How many of so many points have weights of their own: of nine the last four, which are those of one tap, share theirs."""
    return 6 if points == 9 else points
