"""Biases, factors and their gradients in vectors: images plane by plane, matrices row by row, as the channels lie in them."""

from __future__ import annotations

import numpy as np

from minivision_kernels.cpu.compile import Float64Out1, In1, In2, Out1, Out2, Team, compiled, contiguous, helper, prange
from minivision_kernels.cpu.simd import add, lanes, lanes_of, load, load_between, none, put, put_between, vectors
from minivision_kernels.cpu.stream import (
    arrived,
    lane,
    multiply_add,
    or_zero,
    past_caches,
    put_past,
    rectified,
    run_sum,
    spread,
    total,
    where_positive,
    whole,
)
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty

LEAST_PLANE = 8             # pixels; smaller planes are left to NumPy, but for matrices, whose channels lie side by side
RUN, SHARES = 2048, 8       # numbers of planes that go together, at most, and parts into which channels are divided, at least
APART = 8                   # numbers from one sum to the next: a line of the cache, which no other thread writes to meanwhile
TOGETHER = 64               # rows of a matrix that are added in their own precision, before they are added in float64


def _planes(array: np.ndarray, *_: np.ndarray | None, **__: bool) -> bool:
    """Whether the pixels of a channel lie side by side, so many of them that it pays to go plane by plane."""
    return array.size >= LEAST_PLANE * array.shape[0] * array.shape[1] and array.flags.c_contiguous


def _planes_or_rows(array: np.ndarray, *_: np.ndarray | None, **__: bool) -> bool:
    return _planes(array) or (array.ndim == 2 and array.flags.c_contiguous)


@rung("bias_add", name="vectors", device="cpu", accepts=vectors, worth=_planes_or_rows)
def bias_add(y: np.ndarray, bias: np.ndarray, relu: bool = False) -> np.ndarray:
    """The planes are shared between the threads. NumPy does the same with one, and ReLU in another pass over memory."""
    if not y.flags.carray:
        raise ValueError("y is changed in place and must be writable and contiguous; pass a plain copy of it")
    if y.ndim == 2:
        _bias_add_rows(y, contiguous(bias), relu, work=y.size)
    elif y.size:
        _bias_add(y.reshape(-1), contiguous(bias), y.size // (y.shape[0] * y.shape[1]), relu, work=y.size)
    return y


@rung("channel_affine", name="vectors", device="cpu", accepts=vectors, worth=_planes)
def channel_affine(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None, relu: bool = False) -> np.ndarray:
    """x is read once and the result written once; NumPy goes through memory for the product and again for the sum."""
    x = contiguous(x)
    y = empty(x.shape, x.dtype)
    if x.size:
        pixels = x.size // (x.shape[0] * x.shape[1])
        _channel_affine(x.reshape(-1), contiguous(weight), np.zeros_like(weight) if bias is None else contiguous(bias), pixels,
                        past_caches(y) and pixels % lanes_of(y) == 0, relu, y.reshape(-1), work=x.size)
    return y


@rung("channel_sum", name="vectors", device="cpu", accepts=vectors, worth=_planes_or_rows)
def channel_sum(g: np.ndarray) -> np.ndarray:
    """The channels are shared between the threads, each plane is read once, and planes are added in float64."""
    sums = np.zeros(g.shape[1] * APART)
    if g.ndim == 2:
        _channel_sum_rows(contiguous(g), sums, work=g.size)
    elif g.size:
        _channel_sum(contiguous(g).reshape(-1), sums, g.shape[0], g.size // (g.shape[0] * g.shape[1]), work=g.size)
    return sums[::APART].astype(g.dtype)


@rung("relu_bias_backward", name="vectors", device="cpu", accepts=vectors, worth=_planes_or_rows)
def relu_bias_backward(g: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is passed on is summed in registers: the bits of `relu_backward` and of `channel_sum`, in one pass over memory."""
    g, y = contiguous(g), contiguous(y)
    passed, sums = empty(g.shape, g.dtype), np.zeros(g.shape[1] * APART)
    if g.ndim == 2:
        _relu_bias_backward_rows(g, y, passed, sums, work=g.size)
    elif g.size:
        pixels = g.size // (g.shape[0] * g.shape[1])
        _relu_bias_backward(g.reshape(-1), y.reshape(-1), passed.reshape(-1), sums, g.shape[0], pixels,
                            past_caches(passed) and pixels % lanes_of(passed) == 0, work=g.size)
    return passed, sums[::APART].astype(g.dtype)


@compiled
def _bias_add(y: Out1, bias: In1, pixels: int, relu: bool, team: Team):
    C = bias.shape[0]
    for plane in prange(y.shape[0] // pixels, team):
        start, end = plane * pixels, plane * pixels + pixels
        number, last = bias[plane % C], whole(y, start, end)
        vector = spread(y, number)
        if relu:
            for at in range(start, last, lanes(y)):
                put(y, at, rectified(add(load(y, at), vector)))
        else:
            for at in range(start, last, lanes(y)):
                put(y, at, add(load(y, at), vector))
        for i in range(last, end):
            y[i] = or_zero(y, y[i] + number, relu)


@compiled
def _channel_affine(x: In1, weight: In1, bias: In1, pixels: int, past: bool, relu: bool, y: Out1, team: Team):
    C = weight.shape[0]
    for plane in prange(x.shape[0] // pixels, team):
        start, end = plane * pixels, plane * pixels + pixels
        factor, number, last = weight[plane % C], bias[plane % C], whole(x, start, end)
        factors, numbers = spread(x, factor), spread(x, number)
        if relu:
            for at in range(start, last, lanes(x)):
                put_past(y, at, rectified(multiply_add(load(x, at), factors, numbers)), past)
        else:
            for at in range(start, last, lanes(x)):
                put_past(y, at, multiply_add(load(x, at), factors, numbers), past)
        for i in range(last, end):
            y[i] = or_zero(y, x[i] * factor + number, relu)
        arrived(past)


@helper
def run_of(sums, pixels):
    """How many channels go together, image by image. The planes of one channel lie far from each other, and memory brings what
    lies side by side: one channel after the other takes 1.2 to 1.4 times as long with 8 x 8 pixels or fewer."""
    return max(1, min(RUN // pixels, sums.shape[0] // (APART * SHARES)))


@compiled
def _relu_bias_backward(g: In1, y: In1, passed: Out1, sums: Float64Out1, images: int, pixels: int, past: bool, team: Team):
    C, run = sums.shape[0] // APART, run_of(sums, pixels)
    for first in prange((C + run - 1) // run, team):
        for n in range(images):
            for c in range(first * run, min(C, first * run + run)):
                start = (n * C + c) * pixels
                sums[c * APART] += pass_on(g, y, passed, start, start + pixels, past)
        arrived(past)


@helper
def pass_on(g, y, passed, start, end, past):
    """passed = g where y is positive, else 0, from ``start`` to ``end``; and the sum of that, in the order of `run_sum`."""
    step, last = lanes(g), whole(g, start, end)
    a, b, c, d = none(g), none(g), none(g), none(g)
    at = start
    while at + 4 * step <= last:
        p, q = where_positive(load(y, at), load(g, at)), where_positive(load(y, at + step), load(g, at + step))
        r, s = (where_positive(load(y, at + 2 * step), load(g, at + 2 * step)),
                where_positive(load(y, at + 3 * step), load(g, at + 3 * step)))
        put_past(passed, at, p, past)
        put_past(passed, at + step, q, past)
        put_past(passed, at + 2 * step, r, past)
        put_past(passed, at + 3 * step, s, past)
        a, b, c, d = add(a, p), add(b, q), add(c, r), add(d, s)
        at += 4 * step
    while at < last:
        p = where_positive(load(y, at), load(g, at))
        put_past(passed, at, p, past)
        a = add(a, p)
        at += step
    if at < end:
        p = where_positive(load_between(y, at, 0, end - at), load_between(g, at, 0, end - at))
        put_between(passed, at, p, 0, end - at)
        a = add(a, p)
    return total(g, add(add(a, b), add(c, d)))


@compiled
def _channel_sum(g: In1, sums: Float64Out1, images: int, pixels: int, team: Team):
    C, run = sums.shape[0] // APART, run_of(sums, pixels)
    for first in prange((C + run - 1) // run, team):
        for n in range(images):
            for c in range(first * run, min(C, first * run + run)):
                start = (n * C + c) * pixels
                sums[c * APART] += run_sum(g, start, start + pixels)


@compiled
def _bias_add_rows(y: Out2, bias: In1, relu: bool, team: Team):
    N, C = y.shape
    flat = y.reshape(N * C)
    for n in prange(N, team):
        last = whole(bias, 0, C)
        for c in range(0, last, lanes(bias)):
            sum_ = add(load(flat, n * C + c), load(bias, c))
            put(flat, n * C + c, rectified(sum_) if relu else sum_)
        for c in range(last, C):
            y[n, c] = or_zero(y, y[n, c] + bias[c], relu)


@compiled
def _relu_bias_backward_rows(g: In2, y: In2, passed: Out2, sums: Float64Out1, team: Team):
    (N, C), L = g.shape, lanes(g)
    upstream, result, out = g.reshape(N * C), y.reshape(N * C), passed.reshape(N * C)
    for strip in prange((C + L - 1) // L, team):
        first = strip * L
        count = min(L, C - first)
        for at in range(first, N * C, C):
            passing = where_positive(load_between(result, at, 0, count), load_between(upstream, at, 0, count))
            put_between(out, at, passing, 0, count)
        sum_strip(out, N, C, first, sums)


@compiled
def _channel_sum_rows(g: In2, sums: Float64Out1, team: Team):
    (N, C), L = g.shape, lanes(g)
    for strip in prange((C + L - 1) // L, team):
        sum_strip(g.reshape(N * C), N, C, strip * L, sums)


@helper
def sum_strip(flat, N, C, first, sums):
    """sums[c * APART] += the sum over the rows of a matrix (N, C), for up to a vector of columns from ``first`` on."""
    count = min(lanes(flat), C - first)
    for begin in range(0, N, TOGETHER):
        sum_ = none(flat)
        for n in range(begin, min(N, begin + TOGETHER)):
            sum_ = add(sum_, load_between(flat, n * C + first, 0, count))
        for c in range(count):
            sums[(first + c) * APART] += lane(sum_, c)
