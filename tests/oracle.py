"""What the tests hold the engine against: finite differences, and slow definitions written with plain loops.

Nothing here shares code with minivision: a forward is compared with loops over pixels, a gradient with measured slopes.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import strategies as st

import minivision as mv

# ---------------------------------------------------------------------------------------------- drawing inputs

seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from(["float32", "float64"])
lengths = st.integers(0, 3)
shapes = st.lists(lengths, max_size=4).map(tuple)                        # 0-d, size-0 axes, length 1, all of them
full_shapes = st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple)


@st.composite
def broadcastable(draw, count=2, max_ndim=3, least=0):
    """Shapes that broadcast together: axes become 1 or are left out at the front."""
    full = draw(st.lists(st.integers(least, 3), max_size=max_ndim))
    result = []
    for _ in range(count):
        shape = [1 if draw(st.booleans()) else n for n in full]
        result.append(tuple(shape[draw(st.integers(0, len(shape))):] if draw(st.booleans()) else shape))
    return result


@st.composite
def shape_and_dim(draw, least=0, tuples=True, none=True):
    """A shape of 1 to 4 axes and a ``dim`` for it: None, an axis, a negative axis, a tuple of axes."""
    shape = draw(st.lists(st.integers(least, 3), min_size=1, max_size=4).map(tuple))
    axis = st.integers(-len(shape), len(shape) - 1)
    kinds = [axis]
    if none:
        kinds.append(st.none())
    if tuples:
        kinds.append(st.lists(axis, min_size=1, max_size=len(shape), unique_by=lambda a: a % len(shape)).map(tuple))
    return shape, draw(st.one_of(kinds))


def normal(seed, *shape, dtype="float64"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def distinct(seed, *shape, gap=0.1, dtype="float64"):
    """Numbers no two of which are closer than ``gap``, none near 0: no ties, no kinks within a finite difference."""
    rng = np.random.default_rng(seed)
    n = math.prod(shape)
    return ((rng.permutation(n) - n // 2 + 0.5) * gap).reshape(shape).astype(dtype)


# ---------------------------------------------------------------------------------------------- comparing


def assert_close(actual, expected, tolerance=None, err=""):
    """Equal shape, and equal within ``tolerance`` of the largest magnitude (at least 1)."""
    actual = actual.numpy() if isinstance(actual, mv.Tensor) else np.asarray(actual)
    expected = np.asarray(expected)
    assert actual.shape == expected.shape, f"{err} shape {actual.shape}, expected {expected.shape}"
    if tolerance is None:
        tolerance = 2e-5 if actual.dtype == np.float32 else 1e-10
    finite = np.abs(expected[np.isfinite(expected)])
    scale = max(1.0, float(finite.max()) if finite.size else 1.0)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * scale, err_msg=err)


# ---------------------------------------------------------------------------------------------- slopes by measurement


def numeric_gradients(func, arrays, upstream, eps=1e-6):
    """The slope of sum(func(*arrays) * upstream) in every element of every array, by central differences."""
    def value(points):
        return float((func(*points) * upstream).sum())

    result = []
    for k, array in enumerate(arrays):
        slopes = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            ends = []
            for sign in (1, -1):
                points = [a.copy() for a in arrays]
                points[k][index] += sign * eps
                ends.append(value(points))
            slopes[index] = (ends[0] - ends[1]) / (2 * eps)
        result.append(slopes)
    return result


def check_gradients(func, *arrays, order=2, seed=0, eps=1e-6, tolerance=1e-6):
    """Hold the first (and second) gradients of ``func`` (Tensors -> Tensor) against central differences.

    The upstream gradient is random, so a function whose outputs sum to a constant is no blind spot. float64 throughout.
    """
    arrays = [np.asarray(a, dtype="float64") for a in arrays]
    rng = np.random.default_rng(seed)

    def forward(*points):
        with mv.no_grad():
            return func(*map(mv.Tensor, points)).numpy().copy()

    upstream = rng.standard_normal(forward(*arrays).shape)
    tensors = [mv.tensor(a, requires_grad=True) for a in arrays]
    output = func(*tensors)
    assert output.dtype == np.float64
    grads = mv.grad(output, tensors, mv.Tensor(upstream))
    expected = numeric_gradients(forward, arrays, upstream, eps)
    for i, (g, e, a) in enumerate(zip(grads, expected, arrays)):
        assert g.dtype == np.float64 and g.shape == a.shape
        assert_close(g, e, tolerance, err=f"gradient of input {i}")
    if order < 2:
        return

    weights = [rng.standard_normal(a.shape) for a in arrays]

    def slope(*points):
        """sum over inputs of <weights, gradient>: a number whose own gradient is the second gradient."""
        points = [mv.tensor(p, requires_grad=True) if isinstance(p, np.ndarray) else p for p in points]
        up = mv.tensor(upstream, requires_grad=True)
        found = mv.grad(func(*points), points, up, create_graph=True)
        total = mv.tensor(0.0, dtype="float64")
        for g, w in zip(found, weights):
            total = total + (g * mv.Tensor(w)).sum()
        return total, points, up

    total, points, up = slope(*arrays)
    if not total.requires_grad:
        return
    measured = numeric_gradients(lambda *p: slope(*p)[0].numpy(), arrays, 1.0, eps)
    for i, (point, e) in enumerate(zip(points, measured)):
        try:
            got, = mv.grad(total, point, retain_graph=True)
        except mv.GraphError:                       # linear in this input: the slope does not depend on it
            got = mv.Tensor(np.zeros(e.shape))
        assert_close(got, e, max(tolerance, 1e-5), err=f"second gradient of input {i}")
    # The gradient is linear in the upstream one; its slope in that direction is the forward directional derivative.
    got, = mv.grad(total, up)
    along = numeric_directional(forward, arrays, weights, eps)
    assert_close(got, along, max(tolerance, 1e-5), err="second gradient towards the upstream gradient")


def numeric_directional(func, arrays, directions, eps):
    ahead = func(*[a + eps * d for a, d in zip(arrays, directions)])
    behind = func(*[a - eps * d for a, d in zip(arrays, directions)])
    return (ahead - behind) / (2 * eps)


def check_dtype(func, *arrays, dtype):
    """Result and gradients keep ``dtype``: no float64 creeps in."""
    tensors = [mv.tensor(np.asarray(a, dtype=dtype), requires_grad=True) for a in arrays]
    output = func(*tensors)
    assert output.dtype == np.dtype(dtype), f"result is {output.dtype}"
    grads = mv.grad(output, tensors, mv.Tensor(np.ones(output.shape, dtype)), create_graph=True)
    for i, (g, t) in enumerate(zip(grads, tensors)):
        assert g.dtype == np.dtype(dtype), f"gradient {i} is {g.dtype}"
        assert g.shape == t.shape
    return output, grads


# ---------------------------------------------------------------------------------------------- slow definitions


def conv2d(x, w, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    """Five loops and a sum, straight from the definition."""
    n, _, h, wd = x.shape
    f, cg, kh, kw = w.shape
    (sh, sw), (ph, pw), (dh, dw) = stride, padding, dilation
    oh, ow = (h + 2 * ph - dh * (kh - 1) - 1) // sh + 1, (wd + 2 * pw - dw * (kw - 1) - 1) // sw + 1
    y = np.zeros((n, f, oh, ow), x.dtype)
    for b, o, i, j in np.ndindex(y.shape):
        first = o // (f // groups) * cg
        total = 0.0
        for ci, u, v in np.ndindex(cg, kh, kw):
            r, s = i * sh + u * dh - ph, j * sw + v * dw - pw
            if 0 <= r < h and 0 <= s < wd:
                total += x[b, first + ci, r, s] * w[o, ci, u, v]
        y[b, o, i, j] = total
    return y


def conv_transpose2d(x, w, stride=(1, 1), padding=(0, 0), output_padding=(0, 0), dilation=(1, 1), groups=1):
    """Every pixel paints the filter into the output."""
    n, c, h, wd = x.shape
    _, fg, kh, kw = w.shape
    (sh, sw), (ph, pw), (dh, dw) = stride, padding, dilation
    oh = (h - 1) * sh - 2 * ph + dh * (kh - 1) + output_padding[0] + 1
    ow = (wd - 1) * sw - 2 * pw + dw * (kw - 1) + output_padding[1] + 1
    y = np.zeros((n, fg * groups, oh, ow), x.dtype)
    for b, ci, i, j in np.ndindex(x.shape):
        first = ci // (c // groups) * fg
        for o, u, v in np.ndindex(fg, kh, kw):
            r, s = i * sh + u * dh - ph, j * sw + v * dw - pw
            if 0 <= r < oh and 0 <= s < ow:
                y[b, first + o, r, s] += x[b, ci, i, j] * w[ci, o, u, v]
    return y


def pool_length(n, k, s, p, d=1, ceil_mode=False):
    """How many windows start inside the image or its left border."""
    reach = d * (k - 1) + 1
    for count, start in enumerate(itertools.count(-p, s)):
        inside = start + reach <= n + p
        if not inside and not (ceil_mode and start < n and start - s + reach < n + p):
            return count
    raise AssertionError


def max_pool2d(x, kernel, stride, padding=(0, 0), dilation=(1, 1), ceil_mode=False):
    """(values, places h * W + w): the first maximum in reading order; outside the image there is nothing to win."""
    n, c, h, w = x.shape
    size = [pool_length(m, *a, ceil_mode) for m, *a in zip((h, w), kernel, stride, padding, dilation)]
    y, place = np.zeros((n, c, *size), x.dtype), np.zeros((n, c, *size), np.int64)
    for b, ch, i, j in np.ndindex(y.shape):
        best = None
        for u, v in np.ndindex(*kernel):
            r, s = i * stride[0] + u * dilation[0] - padding[0], j * stride[1] + v * dilation[1] - padding[1]
            if 0 <= r < h and 0 <= s < w and (best is None or x[b, ch, r, s] > best[0]):
                best = x[b, ch, r, s], r * w + s
        y[b, ch, i, j], place[b, ch, i, j] = best
    return y, place


def avg_pool2d(x, kernel, stride, padding=(0, 0), ceil_mode=False, count_include_pad=True, divisor=None):
    n, c, h, w = x.shape
    size = [pool_length(m, k, s, p, 1, ceil_mode) for m, k, s, p in zip((h, w), kernel, stride, padding)]
    y = np.zeros((n, c, *size), x.dtype)
    for b, ch, i, j in np.ndindex(y.shape):
        total, seen, padded = 0.0, 0, 0
        for u, v in np.ndindex(*kernel):
            r, s = i * stride[0] + u - padding[0], j * stride[1] + v - padding[1]
            if 0 <= r < h and 0 <= s < w:
                total, seen = total + x[b, ch, r, s], seen + 1
            if r < h + padding[0] and s < w + padding[1]:
                padded += 1
        y[b, ch, i, j] = total / (divisor or (padded if count_include_pad else seen))
    return y
