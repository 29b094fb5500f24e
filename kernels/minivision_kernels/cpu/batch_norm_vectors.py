"""Batch normalisation in vectors, one channel at a time while it is in the caches."""

from __future__ import annotations

import math

import numpy as np

from minivision_kernels.cpu.compile import In1, Out1, Team, compiled, contiguous, helper, prange
from minivision_kernels.cpu.simd import add, lanes, lanes_of, load, none, sub, vectors
from minivision_kernels.cpu.stream import (
    PIECE,
    arrived,
    mul,
    multiply_add,
    past_caches,
    put_past,
    run_sum,
    spread,
    total,
    whole,
)
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty

LEAST_PLANE = 8             # pixels; what has fewer, such as the output of a linear layer, is left to NumPy


def _planes(x: np.ndarray, *_: np.ndarray | float, **__: float) -> bool:
    return x.ndim > 2 and x.size >= LEAST_PLANE * x.shape[0] * x.shape[1]


@rung("batch_norm_forward", name="vectors", device="cpu", accepts=vectors, worth=_planes)
def batch_norm_forward(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A channel is read from memory once and written once.

    Its statistics are formed run by run, each run being read again while it is in the first cache: first its mean, then its
    deviations from that. So nothing cancels, however far the numbers are from 0. The runs' means and squares are joined in
    float64 (Chan, Golub and LeVeque 1983), in the order of the images. When the channel is normalised after that, it is in
    the second or third cache. The channels are shared between the threads.
    """
    y = empty(x.shape, x.dtype)
    mean, var = np.zeros(x.shape[1], x.dtype), np.zeros(x.shape[1], x.dtype)
    if x.size:
        pixels = x.size // (x.shape[0] * x.shape[1])
        _forward(contiguous(x).reshape(-1), contiguous(weight), contiguous(bias), eps, y.reshape(-1), mean, var, pixels,
                 past_caches(y) and pixels % lanes_of(x) == 0, work=4 * x.size)
    return y, mean, var


@rung("batch_norm_backward", name="vectors", device="cpu", accepts=vectors, worth=_planes)
def batch_norm_backward(
    g: np.ndarray, x: np.ndarray, weight: np.ndarray, mean: np.ndarray, var: np.ndarray, eps: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both sums of a channel in one pass, and a second one over g and x in the caches."""
    dx = empty(x.shape, x.dtype)
    dweight, dbias = np.zeros(x.shape[1], x.dtype), np.zeros(x.shape[1], x.dtype)
    if x.size:
        pixels = x.size // (x.shape[0] * x.shape[1])
        _backward(contiguous(g).reshape(-1), contiguous(x).reshape(-1), contiguous(weight), contiguous(mean), contiguous(var),
                  eps, dx.reshape(-1), dweight, dbias, pixels, past_caches(dx) and pixels % lanes_of(x) == 0, work=4 * x.size)
    return dx, dweight, dbias


@compiled
def _forward(x: In1, weight: In1, bias: In1, eps: float, y: Out1, mean: Out1, var: Out1, pixels: int, past: bool, team: Team):
    C = mean.shape[0]
    for c in prange(C, team):
        middle, squares, count = 0.0, 0.0, 0
        for plane in range(c, x.shape[0] // pixels, C):
            for start in range(plane * pixels, plane * pixels + pixels, PIECE):
                end = min(start + PIECE, plane * pixels + pixels)
                here, square = run_moments(x, start, end)
                apart, joined = here - middle, count + end - start
                squares += square + apart * apart * (count * (end - start) / joined)
                middle += apart * ((end - start) / joined)
                count = joined
        mean[c], var[c] = middle, squares / count
        centre, scale = x.dtype.type(middle), x.dtype.type(weight[c] / math.sqrt(squares / count + eps))
        for plane in range(c, x.shape[0] // pixels, C):
            normalise(x, y, plane * pixels, plane * pixels + pixels, centre, scale, bias[c], past)
        arrived(past)


@helper
def run_moments(x, start, end):
    """The mean of a run, and the sum of the squared deviations from it: around a first guess, and then corrected."""
    guess = x.dtype.type(run_sum(x, start, end) / (end - start))
    centre, last = spread(x, guess), whole(x, start, end)
    sums, squares, more, more_squares = none(x), none(x), none(x), none(x)
    at = start
    while at + 2 * lanes(x) <= last:
        one, two = sub(load(x, at), centre), sub(load(x, at + lanes(x)), centre)
        sums, squares = add(sums, one), multiply_add(one, one, squares)
        more, more_squares = add(more, two), multiply_add(two, two, more_squares)
        at += 2 * lanes(x)
    if at < last:
        one = sub(load(x, at), centre)
        sums, squares = add(sums, one), multiply_add(one, one, squares)
    sum_, square = total(x, add(sums, more)), total(x, add(squares, more_squares))
    for i in range(last, end):
        sum_ += x[i] - guess
        square += (x[i] - guess) * (x[i] - guess)
    off = float(sum_) / (end - start)
    return float(guess) + off, max(0.0, float(square) - off * sum_)


@helper
def normalise(x, y, start, end, centre, scale, bias, past):
    """y = (x - centre) * scale + bias, from ``start`` to ``end``."""
    last = whole(x, start, end)
    centres, scales, biases = spread(x, centre), spread(x, scale), spread(x, bias)
    for at in range(start, last, lanes(x)):
        put_past(y, at, multiply_add(sub(load(x, at), centres), scales, biases), past)
    for i in range(last, end):
        y[i] = (x[i] - centre) * scale + bias


@compiled
def _backward(
    g: In1, x: In1, weight: In1, mean: In1, var: In1, eps: float, dx: Out1, dweight: Out1, dbias: Out1, pixels: int,
    past: bool, team: Team,
):
    C = mean.shape[0]
    for c in prange(C, team):
        sum_, dot = 0.0, 0.0
        for plane in range(c, x.shape[0] // pixels, C):
            for start in range(plane * pixels, plane * pixels + pixels, PIECE):
                part, part_dot = run_products(g, x, start, min(start + PIECE, plane * pixels + pixels), mean[c])
                sum_ += part
                dot += part_dot
        shrink, count = 1 / math.sqrt(var[c] + eps), x.shape[0] // C
        dweight[c], dbias[c] = dot * shrink, sum_
        scale = x.dtype.type(weight[c] * shrink)
        stretch = x.dtype.type(-weight[c] * shrink * shrink * shrink * dot / count)
        shift = x.dtype.type(-weight[c] * shrink * sum_ / count)
        for plane in range(c, x.shape[0] // pixels, C):
            pull_back(g, x, dx, plane * pixels, plane * pixels + pixels, mean[c], scale, stretch, shift, past)
        arrived(past)


@helper
def run_products(g, x, start, end, centre):
    """The sums of g and of g * (x - centre) over a run."""
    centres, last = spread(x, centre), whole(x, start, end)
    sums, dots, more, more_dots = none(x), none(x), none(x), none(x)
    at = start
    while at + 2 * lanes(x) <= last:
        one, two = load(g, at), load(g, at + lanes(x))
        sums, dots = add(sums, one), multiply_add(one, sub(load(x, at), centres), dots)
        more, more_dots = add(more, two), multiply_add(two, sub(load(x, at + lanes(x)), centres), more_dots)
        at += 2 * lanes(x)
    if at < last:
        one = load(g, at)
        sums, dots = add(sums, one), multiply_add(one, sub(load(x, at), centres), dots)
    sum_, dot = total(x, add(sums, more)), total(x, add(dots, more_dots))
    for i in range(last, end):
        sum_ += g[i]
        dot += g[i] * (x[i] - centre)
    return sum_, dot


@helper
def pull_back(g, x, dx, start, end, centre, scale, stretch, shift, past):
    """dx = g * scale + (x - centre) * stretch + shift, from ``start`` to ``end``."""
    last = whole(x, start, end)
    centres, scales, stretches, shifts = spread(x, centre), spread(x, scale), spread(x, stretch), spread(x, shift)
    for at in range(start, last, lanes(x)):
        moved = multiply_add(sub(load(x, at), centres), stretches, shifts)
        put_past(dx, at, add(mul(load(g, at), scales), moved), past)
    for i in range(last, end):
        dx[i] = g[i] * scale + ((x[i] - centre) * stretch + shift)
