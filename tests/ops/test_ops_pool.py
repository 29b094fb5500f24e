"""Pooling against loops: borders, ceil_mode, the divisor of the average, ties."""

import numpy as np
import oracle
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracle import assert_close, check_dtype, check_gradients, distinct, dtypes, normal, seeds

import minivision as mv
from minivision import functional as F

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def windows(draw, dilated):
    """An image shape and a window that fits: non-square, overlapping or with gaps, padded, reaching over the edge."""
    kernel, stride = draw(pairs), draw(pairs)
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2))) if dilated else (1, 1)
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    size = tuple(max(1, d * (k - 1) + 1 - 2 * p + draw(st.integers(0, 3)))
                 for d, k, p in zip(dilation, kernel, padding))
    shape = (draw(st.integers(0, 2)), draw(st.integers(1, 2)), *size)
    return shape, dict(stride=stride, padding=padding, ceil_mode=draw(st.booleans())), kernel, dilation


@given(case=windows(dilated=True), seed=seeds, dtype=dtypes)
@settings(max_examples=60)
def test_max_pool2d(case, seed, dtype):
    shape, options, kernel, dilation = case
    x = distinct(seed, *shape, dtype=dtype)
    try:
        values, places = oracle.max_pool2d(x, kernel, dilation=dilation, **options)
    except TypeError:                          # a dilated window whose every pixel lies in the border
        assume(False)
    y, index = F.max_pool2d(mv.tensor(x), kernel, dilation=dilation, return_indices=True, **options)
    assert y.dtype == np.dtype(dtype) and index.dtype == np.int64
    assert_close(y, values, 0)
    assert np.array_equal(index.numpy(), places)
    upstream = normal(seed + 1, *values.shape, dtype=dtype)
    t = mv.tensor(x, requires_grad=True)
    g, = mv.grad(F.max_pool2d(t, kernel, dilation=dilation, **options), t, mv.Tensor(upstream))
    expected = np.zeros(shape)
    for n, c, i, j in np.ndindex(values.shape):
        expected[n, c].reshape(-1)[places[n, c, i, j]] += upstream[n, c, i, j]
    assert_close(g, expected)


@given(case=windows(dilated=False), seed=seeds)
@settings(max_examples=12)
def test_max_pool2d_gradients(case, seed):
    shape, options, kernel, _ = case
    check_gradients(lambda x: F.max_pool2d(x, kernel, **options), distinct(seed, *shape), seed=seed)


def test_max_pool_pads_with_minus_infinity():
    x = mv.tensor(-np.ones((1, 1, 2, 2)), requires_grad=True)
    y = F.max_pool2d(x, 2, stride=1, padding=1)
    assert (y.numpy() == -1).all()
    y.sum().backward()
    assert x.grad.sum().item() == y.size                  # nothing was lost to the border
    assert F.max_pool2d(mv.full((1, 1, 2, 2), -np.inf), 2, padding=1).numpy().max() == -np.inf


def test_a_tie_in_a_window_goes_to_the_first_in_reading_order():
    x = mv.zeros(1, 1, 3, 3, requires_grad=True)
    y, index = F.max_pool2d(x, 2, stride=1, return_indices=True)
    assert index.tolist() == [[[[0, 1], [3, 4]]]]
    y.sum().backward()
    assert x.grad.tolist() == [[[[1, 1, 0], [1, 1, 0], [0, 0, 0]]]]


def test_nan_wins_its_window():
    x = np.array([[[[1.0, np.nan], [3.0, 4.0]]]])
    y, index = F.max_pool2d(mv.tensor(x), 2, return_indices=True)
    assert np.isnan(y.item()) and index.item() == 1


def test_pixel_that_wins_twice_gets_both_gradients():
    x = mv.tensor([[[[0.0, 9.0, 0.0]]]], requires_grad=True)
    F.max_pool2d(x, (1, 2), stride=1).sum().backward()
    assert x.grad.tolist() == [[[[0, 2, 0]]]]


@given(case=windows(dilated=False), seed=seeds, dtype=dtypes, include=st.booleans(),
       divisor=st.sampled_from([None, None, 1, 5]))
@settings(max_examples=60)
def test_avg_pool2d(case, seed, dtype, include, divisor):
    shape, options, kernel, _ = case
    x = normal(seed, *shape, dtype=dtype)
    y = F.avg_pool2d(mv.tensor(x), kernel, count_include_pad=include, divisor_override=divisor, **options)
    assert y.dtype == np.dtype(dtype)
    assert_close(y, oracle.avg_pool2d(x, kernel, count_include_pad=include, divisor=divisor, **options))


@given(case=windows(dilated=False), seed=seeds, include=st.booleans(), divisor=st.sampled_from([None, 3]))
@settings(max_examples=12)
def test_avg_pool2d_gradients(case, seed, include, divisor):
    shape, options, kernel, _ = case
    check_gradients(lambda x: F.avg_pool2d(x, kernel, count_include_pad=include, divisor_override=divisor, **options),
                    normal(seed, *shape), seed=seed)


def test_the_divisor_in_all_variants():
    x = mv.ones(1, 1, 3, 3)
    corner = lambda **options: F.avg_pool2d(x, 2, stride=2, padding=1, **options).numpy()[0, 0, 0, 0]
    assert corner() == 0.25
    assert corner(count_include_pad=False) == 1
    assert corner(divisor_override=2) == 0.5
    reaching = F.avg_pool2d(x, 2, stride=2, ceil_mode=True)         # the last window sees one pixel and nothing else
    assert reaching.shape == (1, 1, 2, 2) and reaching.numpy()[0, 0, 1, 1] == 1


@given(size=st.tuples(st.integers(1, 7), st.integers(1, 7)), out=pairs, seed=seeds, dtype=dtypes)
@settings(max_examples=40)
def test_adaptive_avg_pool2d(size, out, seed, dtype):
    x = normal(seed, 2, 2, *size, dtype=dtype)
    expected = np.zeros((2, 2, *out))
    for i, j in np.ndindex(*out):
        rows = slice(i * size[0] // out[0], -(-(i + 1) * size[0] // out[0]))
        cols = slice(j * size[1] // out[1], -(-(j + 1) * size[1] // out[1]))
        expected[:, :, i, j] = x[:, :, rows, cols].mean((2, 3))
    y = F.adaptive_avg_pool2d(mv.tensor(x), out)
    assert y.dtype == np.dtype(dtype)
    assert_close(y, expected)


@pytest.mark.parametrize("out", [1, (2, 3), (None, 2), 5])
def test_adaptive_avg_pool2d_gradients(out):
    check_gradients(lambda x: F.adaptive_avg_pool2d(x, out), normal(0, 1, 2, 4, 3))


@pytest.mark.parametrize("op", [lambda x: F.max_pool2d(x, 2, 1, 1), lambda x: F.avg_pool2d(x, 2, 1, 1),
                                lambda x: F.adaptive_avg_pool2d(x, 2), lambda x: F.adaptive_avg_pool2d(x, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(op, dtype):
    check_dtype(op, distinct(0, 1, 2, 4, 4), dtype=dtype)
    empty = mv.zeros(0, 2, 4, 4, dtype=dtype, requires_grad=True)
    op(empty).sum().backward()
    assert empty.grad.shape == empty.shape


def test_strided_view_as_input():
    x = normal(0, 2, 3, 8, 9)[:, :, ::2, ::-2]
    assert_close(F.max_pool2d(mv.Tensor(x), 2), oracle.max_pool2d(x, (2, 2), (2, 2))[0])
    assert_close(F.avg_pool2d(mv.Tensor(x), 2), oracle.avg_pool2d(x, (2, 2), (2, 2)))
