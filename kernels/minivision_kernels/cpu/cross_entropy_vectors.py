"""Cross entropy with exponentials in vectors."""

from __future__ import annotations

import math

import numpy as np

from minivision_kernels.cpu.compile import In1, IntIn1, Out1, Team, compiled, contiguous, helper, prange
from minivision_kernels.cpu.simd import add, lanes, load, none, put, sub, vectors
from minivision_kernels.cpu.stream import exponential, lane, larger, mul, spread, total, whole
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty

WORK = 4            # an exponential in a vector costs about as much as this many multiply-adds


@rung("cross_entropy_forward", name="vectors", device="cpu", accepts=vectors)
def cross_entropy_forward(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The exponential is a dozen multiply-adds for a whole vector; LLVM knows none, and called the C library for each number.

    A row that is longer than a vector is read from memory once; its second reading, for the sum, finds it in the cache.
    """
    losses = np.empty(len(logits), logits.dtype)
    _forward(contiguous(logits).reshape(-1), contiguous(labels), losses, work=WORK * logits.size)
    return losses


@rung("cross_entropy_backward", name="vectors", device="cpu", accepts=vectors)
def cross_entropy_backward(logits: np.ndarray, labels: np.ndarray, g: np.ndarray) -> np.ndarray:
    """The exponentials of a row are kept where its gradient goes, and finished there while they are in the cache."""
    gradient = empty(logits.shape, logits.dtype)
    _backward(contiguous(logits).reshape(-1), contiguous(labels), contiguous(g), gradient.reshape(-1), work=WORK * logits.size)
    return gradient


@compiled
def _forward(logits: In1, labels: IntIn1, losses: Out1, team: Team):
    for n in prange(labels.shape[0], team):
        classes = logits.shape[0] // labels.shape[0]
        start, end = n * classes, n * classes + classes
        top, last = largest(logits, start, end), whole(logits, start, end)
        sums = none(logits)
        for at in range(start, last, lanes(logits)):
            sums = add(sums, exponential(sub(load(logits, at), spread(logits, top))))
        sum_ = total(logits, sums)
        for i in range(last, end):
            sum_ += math.exp(logits[i] - top)
        losses[n] = math.log(sum_) - (logits[start + labels[n]] - top) if 0 <= labels[n] < classes else math.nan


@compiled
def _backward(logits: In1, labels: IntIn1, g: In1, gradient: Out1, team: Team):
    for n in prange(labels.shape[0], team):
        classes = logits.shape[0] // labels.shape[0]
        start, end = n * classes, n * classes + classes
        top, last = largest(logits, start, end), whole(logits, start, end)
        sums = none(logits)
        for at in range(start, last, lanes(logits)):
            power = exponential(sub(load(logits, at), spread(logits, top)))
            put(gradient, at, power)
            sums = add(sums, power)
        sum_ = total(logits, sums)
        for i in range(last, end):
            gradient[i] = math.exp(logits[i] - top)
            sum_ += gradient[i]
        known = 0 <= labels[n] < classes
        share = g[n] / sum_ if known else g.dtype.type(math.nan)
        for at in range(start, last, lanes(logits)):
            put(gradient, at, mul(load(gradient, at), spread(logits, share)))
        for i in range(last, end):
            gradient[i] *= share
        if known:
            gradient[start + labels[n]] -= g[n]


@helper
def largest(x, start, end):
    """The largest of the numbers from ``start`` to ``end``; NaN does not count, and comes back with the exponentials."""
    last, top = whole(x, start, end), x.dtype.type(-math.inf)
    tops = spread(x, top)
    for at in range(start, last, lanes(x)):
        tops = larger(tops, load(x, at))
    for k in range(lanes(x)):
        top = max(top, lane(x, tops, k))
    for i in range(last, end):
        if x[i] > top:
            top = x[i]
    return top
