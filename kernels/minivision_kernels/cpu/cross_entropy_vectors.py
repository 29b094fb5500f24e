"""Cross entropy with exponentials in vectors."""

from __future__ import annotations

import math

import numpy as np

from minivision_kernels.cpu.compile import In1, IntIn1, Out1, Team, compiled, contiguous, helper, prange
from minivision_kernels.cpu.simd import (
    add,
    joined,
    lanes,
    load,
    load_between,
    none,
    prefetch,
    put,
    put_between,
    room,
    sub,
    vectors,
)
from minivision_kernels.cpu.stream import (
    arrived,
    exponential,
    larger,
    largest_lane,
    mul,
    past_caches,
    put_past,
    spread,
    total,
    whole,
)
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty

WORK = 4            # an exponential in a vector costs about as much as this many multiply-adds
AHEAD = 3500        # numbers further on are asked for; less than that, memory rests while a row's largest number is looked for


@rung("cross_entropy_forward", name="vectors", device="cpu", accepts=vectors)
def cross_entropy_forward(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The exponential is a dozen multiply-adds for a whole vector; LLVM knows none, and called the C library for each number.

    A row that is longer than a vector is read from memory once; its second reading, for the sum, finds it in the cache. Four
    vectors at once look for its largest number, since each comparison waits for the one before it: 1.08 times as fast.
    """
    losses = np.empty(len(logits), logits.dtype)
    _forward(contiguous(logits).reshape(-1), contiguous(labels), losses, work=WORK * logits.size)
    return losses


@rung("cross_entropy_backward", name="vectors", device="cpu", accepts=vectors)
def cross_entropy_backward(logits: np.ndarray, labels: np.ndarray, g: np.ndarray) -> np.ndarray:
    """The exponentials of a row are kept in the first cache until their sum is known, so that each result is written once."""
    gradient = empty(logits.shape, logits.dtype)
    _backward(contiguous(logits).reshape(-1), contiguous(labels), contiguous(g), gradient.reshape(-1), past_caches(gradient),
              work=WORK * logits.size)
    return gradient


@helper
def row_end(x, last, end):
    """The numbers from ``last`` on that are no whole vector any more, in one with lanes of -inf behind them."""
    return joined(load_between(x, last, 0, end - last), spread(x, x.dtype.type(-math.inf)), end - last)


@helper
def largest(x, start, last, end):
    """The largest of the numbers from ``start`` to ``end``; NaN does not count, and comes back with the exponentials."""
    L, tops = lanes(x), spread(x, x.dtype.type(-math.inf))
    a, b, c, at = tops, tops, tops, start               # with one, each comparison would wait for the one before it
    while at + 4 * L <= last:
        a, b = larger(a, load(x, at)), larger(b, load(x, at + L))
        c, tops = larger(c, load(x, at + 2 * L)), larger(tops, load(x, at + 3 * L))
        at += 4 * L
    tops = larger(larger(a, b), larger(c, tops))
    while at < last:
        tops = larger(tops, load(x, at))
        at += L
    if last < end:
        tops = larger(tops, row_end(x, last, end))
    return largest_lane(x, tops)


@compiled
def _forward(logits: In1, labels: IntIn1, losses: Out1, team: Team):
    for n in prange(labels.shape[0], team):
        classes = logits.shape[0] // labels.shape[0]
        start, end = n * classes, n * classes + classes
        last = whole(logits, start, end)
        top = largest(logits, start, last, end)
        sums, tops = none(logits), spread(logits, top)
        for at in range(start, last, lanes(logits)):
            prefetch(logits, at + AHEAD)
            sums = add(sums, exponential(sub(load(logits, at), tops)))
        if last < end:
            sums = add(sums, exponential(sub(row_end(logits, last, end), tops)))
        losses[n] = math.log(total(logits, sums)) - (logits[start + labels[n]] - top) if 0 <= labels[n] < classes else math.nan


@compiled
def _backward(logits: In1, labels: IntIn1, g: In1, gradient: Out1, past: bool, team: Team):
    L, classes = lanes(logits), logits.shape[0] // max(1, labels.shape[0])
    powers = room(logits, classes + 2 * L)
    for n in prange(labels.shape[0], team):
        start, end = n * classes, n * classes + classes
        last = whole(logits, start, end)
        top = largest(logits, start, last, end)
        sums, tops = none(logits), spread(logits, top)
        for at in range(start, last, L):
            prefetch(logits, at + AHEAD)
            power = exponential(sub(load(logits, at), tops))
            put(powers, at - start, power)
            sums = add(sums, power)
        if last < end:
            power = exponential(sub(row_end(logits, last, end), tops))
            put(powers, last - start, power)
            sums = add(sums, power)
        known = 0 <= labels[n] < classes
        share = spread(logits, g[n] / total(logits, sums) if known else g.dtype.type(math.nan))
        if known:
            powers[labels[n]] -= total(logits, sums)    # and times g over this sum: minus g
        # Vectors that begin where a line of memory does; those of two rows meet in the middle of one.
        begin = min(end, (start + L - 1) // L * L) if past else start
        put_between(gradient, start, mul(load(powers, 0), share), 0, begin - start)
        last = whole(logits, begin, end)
        for at in range(begin, last, L):
            put_past(gradient, at, mul(load(powers, at - start), share), past)
        put_between(gradient, last, mul(load(powers, last - start), share), 0, end - last)
    arrived(past)
