"""Kernels on pictures: every rung has the same bits, and they are those of a loop over pixels written from the definition."""

import math

import kernel_oracle as oracle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minivision_kernels as mk
from minivision_kernels.resample import METHODS, passes

DTYPES = [np.uint8, np.float32, np.float64]
side = st.integers(1, 30)


def picture(rng, shape, dtype):
    return rng.integers(0, 256, shape).astype(np.uint8) if dtype == np.uint8 else rng.standard_normal(shape).astype(dtype)


def usable(op, x, *options):
    return [rung for rung in oracle.rungs(op) if rung.accepts is None or rung.accepts(x, *options)]


def same(op, x, *options):
    """What all rungs answer, each between walls."""
    found = [rung(oracle.guarded(x), *options) for rung in usable(op, x, *options)]
    for result in found[1:]:
        assert result.dtype == found[0].dtype
        np.testing.assert_array_equal(result, found[0])
    return found[0]


# ---- resize

BUMPS = {                                       # by the textbook
    "box": lambda x: float(-0.5 < x <= 0.5),
    "bilinear": lambda x: max(0.0, 1 - abs(x)),
    "hamming": lambda x: float(np.sinc(x)) * (0.54 + 0.46 * math.cos(math.pi * x)) if abs(x) < 1 else 0.0,
    "bicubic": lambda x: 1.5 * abs(x) ** 3 - 2.5 * x * x + 1 if abs(x) < 1 else
                -0.5 * abs(x) ** 3 + 2.5 * x * x - 4 * abs(x) + 2 if abs(x) < 2 else 0.0,
    "lanczos": lambda x: float(np.sinc(x) * np.sinc(x / 3)) if abs(x) < 3 else 0.0,
}


def matrix(n, m, method, antialias):
    """The m x n matrix of weights."""
    stretch = max(n / m, 1) if antialias else 1
    rows = [[BUMPS[method]((k - (o + 0.5) * (n / m) + 0.5) * (1 / stretch)) for k in range(n)] for o in range(m)]
    return np.array(rows) / np.sum(rows, 1, keepdims=True)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("method", BUMPS)
@settings(max_examples=15)
@given(data=st.data())
def test_resize_is_two_sums(method, antialias, data):
    H, W, OH, OW = (data.draw(side) for _ in range(4))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    x = rng.standard_normal((H, W, data.draw(st.integers(1, 4))))
    got = same("resize", x, (OH, OW), method, antialias)
    expected = np.einsum("ph,hwc,qw->pqc", matrix(H, OH, method, antialias), x, matrix(W, OW, method, antialias))
    np.testing.assert_allclose(got, expected, atol=1e-6 if method == "hamming" else 1e-9)
    of_bytes = picture(rng, x.shape, np.uint8)
    wide = same("resize", of_bytes.astype(float), (OH, OW), method, antialias)
    difference = np.abs(same("resize", of_bytes, (OH, OW), method, antialias) - np.clip(wide, 0, 255))
    assert difference.max() <= (1.01 if method in ("box", "bilinear", "hamming") else 80)     # a sum beyond 0..255 is cut


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=12)
@given(data=st.data())
def test_resize_rungs_agree(method, dtype, data):
    H, W, OH, OW = (data.draw(st.integers(1, 130)) for _ in range(4))
    x = picture(np.random.default_rng(data.draw(st.integers(0, 1000))), (H, W, data.draw(st.integers(1, 4))), dtype)
    y = same("resize", x, (OH, OW), method, data.draw(st.booleans()))
    assert y.shape == (OH, OW, x.shape[2]) and y.dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES)
def test_resize_to_the_same_size_copies(dtype):
    x = picture(np.random.default_rng(0), (5, 6, 3), dtype)
    for method in ("nearest", "lanczos"):
        for rung in usable("resize", x, (5, 6), method, True):
            y = rung(x, (5, 6), method, True)
            np.testing.assert_array_equal(y, x)
            assert not np.shares_memory(x, y)


def test_a_rung_for_bytes_alone_refuses_the_rest():
    for op, options in (("resize", ((5, 6), "lanczos", True)), ("affine", ((1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (5, 6), "bicubic"))):
        words = next(rung for rung in oracle.rungs(op) if rung.name == "words")
        with pytest.raises(ValueError, match="by 'nearest', of uint8 and 1 or 3 channels; take another rung"):
            words(np.zeros((5, 6, 3), np.uint8), *options)


def test_the_order_of_the_sums():
    assert passes((10, 10), (5, 5)) == [1, 0]
    assert passes((10, 10), (2, 7)) == [0, 1]               # 8 rows go, and 3 columns
    assert passes((10, 10), (4, 7)) == [1, 0]               # not more than twice as many
    assert passes((10, 10), (2, 10)) == [0]
    assert passes((10, 10), (10, 10)) == []
    assert passes((4, 10), (5, 90)) == [1, 0]


# ---- affine maps

@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", ["nearest", "bilinear", "bicubic"])
@settings(max_examples=15)
@given(data=st.data())
def test_affine_rungs_agree(method, dtype, data):
    x = picture(np.random.default_rng(data.draw(st.integers(0, 1000))), (data.draw(side), data.draw(side),
                                                                         data.draw(st.integers(1, 4))), dtype)
    matrix = tuple(data.draw(st.floats(-3, 3)) for _ in range(6))
    y = same("affine", x, matrix, (data.draw(side), data.draw(side)), method)
    assert y.dtype == dtype and y.shape[2] == x.shape[2]


@pytest.mark.parametrize("method", ["nearest", "bilinear", "bicubic"])
def test_affine_moves_whole_pixels(method):
    x = np.arange(1.0, 61.0).reshape(4, 5, 3)
    y = same("affine", x, (1.0, 0.0, 2.0, 0.0, 1.0, -1.0), (4, 5), method)      # pixel (i, j) comes from (i - 1, j + 2)
    expected = np.zeros_like(x)
    expected[1:, :3] = x[:3, 2:]
    np.testing.assert_array_equal(y, expected)


def test_bilinear_keeps_a_ramp():
    """It is exact for f(x, y) = x + 2 y, away from the edges. (This bicubic is not: it makes slopes steeper.)"""
    i, j = np.mgrid[:12, :12]
    x = (j + 2.0 * i)[..., None]
    c, s = math.cos(0.3), math.sin(0.3)
    y = same("affine", x, (c, s, 2.0, -s, c, 4.0), (6, 6), "bilinear")[..., 0]
    for p, q in np.ndindex(6, 6):
        u, v = c * (q + 0.5) + s * (p + 0.5) + 2, -s * (q + 0.5) + c * (p + 0.5) + 4
        if 1 < u < 11 and 1 < v < 11:
            assert y[p, q] == pytest.approx((u - 0.5) + 2 * (v - 0.5))


def test_nearest_beyond_fixed_point():
    """Places of more than 16 bits are reckoned in floats."""
    x = np.arange(70_000, dtype=np.float64).reshape(1, -1, 1)
    y = same("affine", x, (2.0, 0.0, 0.0, 0.0, 1.0, 0.0), (1, 35_000), "nearest")
    np.testing.assert_array_equal(y[0, :, 0], np.arange(1, 70_000, 2))


# ---- integral images

def triangle(x, Y, X):
    H, W = x.shape
    return sum(x[y, c] for y in range(min(Y, H)) for c in range(W) if abs(c - X + 1) <= Y - y - 1)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=25)
@given(data=st.data())
def test_integrals(dtype, data):
    shape = data.draw(st.integers(0, 9)), data.draw(st.integers(0, 9))
    x = picture(np.random.default_rng(data.draw(st.integers(0, 1000))), shape, dtype)
    wide = x.astype(np.int64 if dtype == np.uint8 else np.float64)
    close = np.testing.assert_array_equal if dtype == np.uint8 else lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12)
    for squared in (False, True):
        sums = same("integral", x, squared)
        values = wide ** 2 if squared else wide
        close(sums, [[values[:Y, :X].sum() for X in range(shape[1] + 1)] for Y in range(shape[0] + 1)])
    close(same("integral_tilted", x), [[triangle(wide, Y, X) for X in range(shape[1] + 1)] for Y in range(shape[0] + 1)])


def test_integrals_do_not_overflow():
    x = np.full((300, 400), 255, np.uint8)
    assert mk.run("integral", x, True)[-1, -1] == 300 * 400 * 255 ** 2
