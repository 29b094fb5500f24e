"""Enlarging and shrinking: which pixel, or which mixture of four, each output pixel is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import assert_close, check_dtype, check_gradients, dtypes, normal, seeds

import minivision as mv
from minivision import functional as F

sides = st.tuples(st.integers(1, 5), st.integers(1, 5))


def nearest(x, out):
    h, w = x.shape[2:]
    return np.array([[x[:, :, i * h // out[0], j * w // out[1]] for j in range(out[1])]
                     for i in range(out[0])]).transpose(2, 3, 0, 1)


def bilinear(x, out, align_corners):
    """Pixel by pixel: the place in the input, the four neighbours, their shares."""
    n, c, h, w = x.shape
    y = np.zeros((n, c, *out))
    for i, j in np.ndindex(*out):
        corners = []
        for k, m, size in ((i, out[0], h), (j, out[1], w)):
            place = k * (size - 1) / (m - 1) if align_corners and m > 1 else 0.0 if align_corners else \
                max(0.0, (k + 0.5) * size / m - 0.5)
            low = min(int(place), size - 1)
            corners.append([(low, 1 - (place - low)), (min(low + 1, size - 1), place - low)])
        for r, a in corners[0]:
            for s, b in corners[1]:
                y[:, :, i, j] += a * b * x[:, :, r, s]
    return y


@given(size=sides, out=sides, seed=seeds, dtype=dtypes)
@settings(max_examples=30)
def test_nearest(size, out, seed, dtype):
    x = normal(seed, 2, 2, *size, dtype=dtype)
    y = F.interpolate(mv.tensor(x), out)
    assert y.dtype == np.dtype(dtype)
    assert_close(y, nearest(x, out), 0)
    check_gradients(lambda x: F.interpolate(x, out), x, seed=seed)


@given(size=sides, out=sides, seed=seeds, dtype=dtypes, align=st.booleans())
@settings(max_examples=30)
def test_bilinear(size, out, seed, dtype, align):
    x = normal(seed, 1, 2, *size, dtype=dtype)
    y = F.interpolate(mv.tensor(x), out, mode="bilinear", align_corners=align)
    assert y.dtype == np.dtype(dtype)
    assert_close(y, bilinear(x, out, align))
    check_gradients(lambda x: F.interpolate(x, out, mode="bilinear", align_corners=align), x, seed=seed)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("scale, shape", [(2, (6, 8)), ((1, 3), (3, 12)), (0.5, (1, 2)), (1.7, (5, 6))])
def test_scale_factor(mode, scale, shape):
    assert F.interpolate(mv.zeros(1, 1, 3, 4), scale_factor=scale, mode=mode).shape[2:] == shape


def test_an_enlarged_constant_is_constant():
    assert_close(F.interpolate(mv.full((1, 1, 2, 3), 5.0), 7, mode="bilinear"), np.full((1, 1, 7, 7), 5.0))


def test_same_size_changes_nothing():
    x = normal(0, 1, 2, 3, 4)
    for options in ({}, {"mode": "bilinear"}, {"mode": "bilinear", "align_corners": True}):
        assert_close(F.interpolate(mv.tensor(x), (3, 4), **options), x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(dtype):
    for mode in ("nearest", "bilinear"):
        check_dtype(lambda x, mode=mode: F.interpolate(x, (3, 5), mode=mode), normal(0, 1, 2, 2, 3), dtype=dtype)


def test_empty_batch():
    x = mv.zeros(0, 2, 3, 3, requires_grad=True)
    for mode in ("nearest", "bilinear"):
        y = F.interpolate(x, 6, mode=mode)
        assert y.shape == (0, 2, 6, 6)
        y.sum().backward()
        assert x.grad.shape == x.shape
