"""Convolution and its transpose against five loops, over every kind of geometry."""

import numpy as np
import oracle
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracle import assert_close, check_dtype, check_gradients, dtypes, normal, seeds

import minivision as mv
from minivision import functional as F

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def convolutions(draw):
    """Arrays' shapes and a geometry for which at least one window fits."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    n, c, f = draw(st.integers(0, 2)), groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    kernel, stride, dilation = draw(pairs), draw(pairs), draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    size = tuple(max(1, d * (k - 1) + 1 - 2 * p + draw(st.integers(0, 3)))
                 for d, k, p in zip(dilation, kernel, padding))
    return (n, c, *size), (f, c // groups, *kernel), dict(stride=stride, padding=padding, dilation=dilation, groups=groups)


@given(case=convolutions(), seed=seeds, dtype=dtypes)
@settings(max_examples=40)
def test_conv2d_value(case, seed, dtype):
    x_shape, w_shape, geometry = case
    x, w, b = normal(seed, *x_shape, dtype=dtype), normal(seed + 1, *w_shape, dtype=dtype), normal(seed + 2, w_shape[0],
                                                                                                    dtype=dtype)
    y = F.conv2d(mv.tensor(x), mv.tensor(w), mv.tensor(b), **geometry)
    assert y.dtype == np.dtype(dtype)
    assert_close(y, oracle.conv2d(x, w, **geometry) + b[:, None, None])


@given(case=convolutions(), seed=seeds)
@settings(max_examples=15)
def test_conv2d_gradients(case, seed):
    x_shape, w_shape, geometry = case
    x, w, b = normal(seed, *x_shape), normal(seed + 1, *w_shape), normal(seed + 2, w_shape[0])
    assume(x.size + w.size < 150)
    check_gradients(lambda x, w, b: F.conv2d(x, w, b, **geometry), x, w, b, seed=seed)


@st.composite
def transposed(draw):
    groups = draw(st.sampled_from([1, 1, 2]))
    n, c, f = draw(st.integers(0, 2)), groups * draw(st.integers(1, 2)), draw(st.integers(1, 2))
    kernel, stride, dilation = draw(pairs), draw(pairs), draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation))
    size = draw(pairs)
    out = [(m - 1) * s - 2 * p + d * (k - 1) + e + 1
           for m, s, p, d, k, e in zip(size, stride, padding, dilation, kernel, extra)]
    assume(min(out) >= 1)
    return (n, c, *size), (c, f, *kernel), dict(stride=stride, padding=padding, output_padding=extra, groups=groups,
                                               dilation=dilation)


@given(case=transposed(), seed=seeds, dtype=dtypes)
@settings(max_examples=40)
def test_conv_transpose2d_value(case, seed, dtype):
    x_shape, w_shape, geometry = case
    x, w = normal(seed, *x_shape, dtype=dtype), normal(seed + 1, *w_shape, dtype=dtype)
    b = normal(seed + 2, w_shape[1] * geometry["groups"], dtype=dtype)
    y = F.conv_transpose2d(mv.tensor(x), mv.tensor(w), mv.tensor(b), **geometry)
    assert y.dtype == np.dtype(dtype)
    assert_close(y, oracle.conv_transpose2d(x, w, **geometry) + b[:, None, None])


@given(case=transposed(), seed=seeds)
@settings(max_examples=15)
def test_conv_transpose2d_gradients(case, seed):
    x_shape, w_shape, geometry = case
    x, w = normal(seed, *x_shape), normal(seed + 1, *w_shape)
    assume(x.size + w.size < 150)
    check_gradients(lambda x, w: F.conv_transpose2d(x, w, **geometry), x, w, seed=seed)


@given(case=convolutions(), seed=seeds)
@settings(max_examples=20)
def test_transposed_convolution_is_the_adjoint(case, seed):
    """<conv(x), y> = <x, conv_transpose(y)>, with the output padding that leads back to x's size."""
    x_shape, w_shape, geometry = case
    x, w = normal(seed, *x_shape), normal(seed + 1, *w_shape)
    y_shape = F.conv2d(mv.tensor(x), mv.tensor(w), **geometry).shape
    y = normal(seed + 2, *y_shape)
    back = [(m - 1) * s - 2 * p + d * (k - 1) + 1 for m, s, p, d, k in zip(
        y_shape[2:], geometry["stride"], geometry["padding"], geometry["dilation"], w_shape[2:])]
    extra = tuple(n - m for n, m in zip(x_shape[2:], back))
    z = F.conv_transpose2d(mv.tensor(y), mv.tensor(w), output_padding=extra, **geometry)
    left = (F.conv2d(mv.tensor(x), mv.tensor(w), **geometry).numpy() * y).sum()
    assert_close(left, (x * z.numpy()).sum(), 1e-10)


@given(kernel=pairs, dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)), seed=seeds)
@settings(max_examples=15)
def test_padding_same_keeps_the_size(kernel, dilation, seed):
    x, w = normal(seed, 1, 2, 4, 5), normal(seed + 1, 1, 2, *kernel)
    y = F.conv2d(mv.tensor(x), mv.tensor(w), padding="same", dilation=dilation)
    total = [d * (k - 1) for d, k in zip(dilation, kernel)]
    border = [(0, 0), (0, 0), *((t // 2, t - t // 2) for t in total)]      # an odd pixel goes to the bottom and right
    assert y.shape == (1, 1, 4, 5)
    assert_close(y, oracle.conv2d(np.pad(x, border), w, dilation=dilation))
    check_gradients(lambda x, w: F.conv2d(x, w, padding="same", dilation=dilation), x, w, seed=seed, order=1)


def test_geometry_in_numpy_integers():
    x, w, two = mv.tensor(normal(0, 1, 2, 5, 5)), mv.tensor(normal(1, 2, 1, 3, 3)), np.int64(2)
    expected = F.conv2d(x, w, None, 2, 2, 2, 2)
    assert np.array_equal(F.conv2d(x, w, None, two, (two, two), two, two).numpy(), expected.numpy())


def test_padding_valid_and_numbers_for_pairs():
    x, w = mv.tensor(normal(0, 1, 1, 5, 5)), mv.tensor(normal(1, 1, 1, 3, 3))
    assert np.array_equal(F.conv2d(x, w, padding="valid").numpy(), F.conv2d(x, w).numpy())
    assert np.array_equal(F.conv2d(x, w, stride=2, padding=1).numpy(), F.conv2d(x, w, stride=(2, 2), padding=[1, 1]).numpy())


def test_windows_that_overlap_add_their_gradients():
    """The mistake that a checker without overlapping windows misses."""
    x = mv.ones(1, 1, 3, 3, requires_grad=True)
    F.conv2d(x, mv.ones(1, 1, 2, 2)).sum().backward()
    assert x.grad.tolist() == [[[[1, 2, 1], [2, 4, 2], [1, 2, 1]]]]


def test_pixels_that_no_window_sees_have_gradient_zero():
    x = mv.ones(1, 1, 3, 3, requires_grad=True)
    F.conv2d(x, mv.ones(1, 1, 2, 2), stride=2).sum().backward()
    assert x.grad.tolist() == [[[[1, 1, 0], [1, 1, 0], [0, 0, 0]]]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(dtype):
    check_dtype(F.conv2d, normal(0, 1, 2, 4, 4), normal(1, 3, 2, 2, 2), normal(2, 3), dtype=dtype)
    check_dtype(F.conv_transpose2d, normal(0, 1, 2, 3, 3), normal(1, 2, 3, 2, 2), normal(2, 3), dtype=dtype)


def test_strided_views_as_operands():
    x, w = normal(0, 2, 3, 8, 9)[:, :, ::2, ::-2], normal(1, 2, 2, 3, 4).transpose(3, 2, 1, 0)
    assert_close(F.conv2d(mv.Tensor(x), mv.Tensor(w)), oracle.conv2d(x, w))


@pytest.mark.parametrize("op", [F.conv2d, F.conv_transpose2d])
def test_empty_batch(op):
    x, w = mv.zeros(0, 2, 4, 4, requires_grad=True), mv.ones(2, 2, 3, 3, requires_grad=True)
    y = op(x, w)
    assert y.shape[0] == 0
    y.sum().backward()
    assert x.grad.shape == x.shape and not w.grad.numpy().any()
