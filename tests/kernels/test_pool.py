"""Pooling: every rung against plain loops, with ties, NaN, infinities and windows over the edge."""

import contextlib

import kernel_oracle as oracle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivision_kernels import memory
from minivision_kernels.cpu import pool_rows, pool_rows_back, pool_vectors, stream
from minivision_kernels.shapes import pool_output_size


@st.composite
def poolings(draw, dilated):
    """A shape of x, and kernel_size, stride, padding, dilation, ceil_mode as PyTorch admits them."""
    pair = lambda low, high: st.tuples(st.integers(low, high), st.integers(low, high))
    kernel_size = draw(pair(1, 4))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel_size)
    dilation = draw(pair(1, 3)) if dilated else (1, 1)
    shape = draw(st.integers(0, 2)), draw(st.integers(1, 3)), *draw(pair(1, 9))
    return shape, (kernel_size, draw(pair(1, 5)), padding, dilation, draw(st.booleans()))


def images(shape, dtype, kind):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape) if kind == "smooth" else rng.integers(0, 3, shape).astype(float)     # ties
    if kind == "wild":
        x = rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0], shape)
    if kind == "lowest":
        x = np.full(shape, -np.inf)
    return oracle.guarded(x.astype(dtype), readonly=True)


dtypes = pytest.mark.parametrize("dtype", oracle.FLOATS)


@dtypes
@pytest.mark.parametrize("rung", oracle.rungs("max_pool2d_forward"), ids=str)
@given(case=poolings(dilated=True), kind=st.sampled_from(["smooth", "ties", "wild", "lowest"]))
def test_max_forward(rung, dtype, case, kind):
    shape, options = case
    x = images(shape, dtype, kind)
    y, index = rung(x, *options)
    expected, places = oracle.max_pool2d_forward(x, *options)
    assert y.dtype == dtype and index.dtype == np.int32
    assert y.shape[2:] == pool_output_size(shape[2:], *options)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(index, places)
    alone, nothing = rung(x, *options, False)
    assert nothing is None and np.array_equal(alone.view(np.uint8), y.view(np.uint8))


@st.composite
def by_rows(draw):
    """Windows of 2 x 2 or 3 x 3 at stride 2, one to several vectors of them in a row, the last one perhaps over the edge."""
    side = draw(st.integers(2, 3))
    padding = draw(st.tuples(st.integers(0, side - 2), st.integers(0, side - 2)))
    size = draw(st.integers(side - 2 * padding[0], 20)), draw(st.integers(side - 2 * padding[1], 70))
    shape = draw(st.integers(0, 2)), draw(st.integers(1, 9)), *size
    return shape, ((side, side), (2, 2), padding, (1, 1), draw(st.booleans()))


def the(name, op):
    """A rung of an operation."""
    return next(rung for rung in oracle.rungs(op) if rung.name == name)


@contextlib.contextmanager
def memory_is(distance, images):
    """Where it is far, images are large and results are not; and where it is past the caches, results are, too."""
    with pytest.MonkeyPatch.context() as patch:
        if distance != "near":
            patch.setattr(stream, "LARGE", images.nbytes if distance == "far" else 0)
            patch.setattr(pool_rows, "MANY", 0)
            patch.setattr(pool_rows_back, "MANY", 0)
        yield


@dtypes
@given(case=by_rows(), kind=st.sampled_from(["smooth", "ties", "wild", "lowest"]), include=st.booleans(),
       divisor=st.sampled_from([None, 5]), distance=st.sampled_from(["near", "far", "past"]))
def test_rows_of_windows(dtype, case, kind, include, divisor, distance):
    """Those that go down the image a row at a time, there and back."""
    shape, options = case
    x = images(shape, dtype, kind)
    with memory_is(distance, x):
        compare_rows(x, options, kind, include, divisor)


def compare_rows(x, options, kind, include, divisor):
    shape, dtype = x.shape, x.dtype.type
    y, index = the("vectors", "max_pool2d_forward")(x, *options)
    expected, places = oracle.max_pool2d_forward(x, *options)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(index, places)
    assert np.array_equal(the("vectors", "max_pool2d_forward")(x, *options, False)[0].view(np.uint8), y.view(np.uint8))

    means = *options[:3], options[4], include, divisor
    if kind in ("smooth", "ties"):
        expected = oracle.avg_pool2d_forward(x, *means)
        oracle.assert_close(the("vectors", "avg_pool2d_forward")(x, *means), expected, np.full(expected.shape, 9 * 4.0), dtype)

    g = images(y.shape, dtype, "smooth")
    expected, scale = (oracle.max_pool2d_backward(part, places, shape) for part in (g, np.abs(g)))
    dx = the("vectors", "max_pool2d_backward")(g, oracle.guarded(index), shape, *options[:4])
    oracle.assert_close(dx, expected, scale, dtype)
    expected, scale = (oracle.avg_pool2d_backward(part, shape, *means) for part in (g, np.abs(g)))
    oracle.assert_close(the("vectors", "avg_pool2d_backward")(g, shape, *means), expected, scale, dtype)


@dtypes
def test_planes_that_end_within_a_vector_go_past_the_caches(dtype):
    """Several of them fill whole vectors, and the last ones do not; results are those of planes that stay in the caches."""
    x = images((3, 7, 90, 86), dtype, "smooth")
    for options in ((2, 2), (2, 2), (0, 0)), ((3, 3), (2, 2), (1, 1)):
        y, index = near = the("vectors", "max_pool2d_forward")(x, *options, (1, 1), False)
        backwards = the("vectors", "max_pool2d_backward"), (y, index, x.shape, *options, (1, 1))
        near = *near, backwards[0](*backwards[1])
        with memory_is("past", x):
            assert pool_rows.together(y) > 1 and stream.past_caches(memory.empty(y.shape, dtype)) == memory.POSSIBLE
            far = *the("vectors", "max_pool2d_forward")(x, *options, (1, 1), False), backwards[0](*backwards[1])
        for expected, result in zip(near, far):
            np.testing.assert_array_equal(result, expected)


@dtypes
@pytest.mark.parametrize("rung", oracle.rungs("max_pool2d_backward"), ids=str)
@given(case=poolings(dilated=True), kind=st.sampled_from(["smooth", "ties", "wild"]))
def test_max_backward(rung, dtype, case, kind):
    shape, options = case
    _, index = oracle.max_pool2d_forward(images(shape, dtype, kind), *options)
    g = np.random.default_rng(1).standard_normal(index.shape).astype(dtype)
    expected = oracle.max_pool2d_backward(g, index, shape)
    scale = oracle.max_pool2d_backward(np.abs(g), index, shape)
    oracle.assert_close(rung(oracle.guarded(g), oracle.guarded(index), shape, *options[:4]), expected, scale, dtype)


averages = given(
    case=poolings(dilated=False), count_include_pad=st.booleans(), divisor=st.sampled_from([None, None, 1, 3, -2]))


@dtypes
@pytest.mark.parametrize("rung", oracle.rungs("avg_pool2d_forward"), ids=str)
@averages
def test_avg_forward(rung, dtype, case, count_include_pad, divisor):
    shape, (kernel_size, stride, padding, _, ceil_mode) = case
    options = kernel_size, stride, padding, ceil_mode, count_include_pad, divisor
    x = images(shape, dtype, "smooth")
    scale = oracle.avg_pool2d_forward(np.abs(x), *options)
    oracle.assert_close(rung(x, *options), oracle.avg_pool2d_forward(x, *options), scale, dtype)


@dtypes
@pytest.mark.parametrize("rung", oracle.rungs("avg_pool2d_backward"), ids=str)
@averages
def test_avg_backward(rung, dtype, case, count_include_pad, divisor):
    shape, (kernel_size, stride, padding, _, ceil_mode) = case
    options = kernel_size, stride, padding, ceil_mode, count_include_pad, divisor
    output = oracle.pool_size(shape[2:], kernel_size, stride, padding, (1, 1), ceil_mode)
    g = images((*shape[:2], *output), dtype, "smooth")
    scale = oracle.avg_pool2d_backward(np.abs(g), shape, *options)
    oracle.assert_close(rung(g, shape, *options), oracle.avg_pool2d_backward(g, shape, *options), scale, dtype)





@pytest.mark.parametrize("rung", oracle.rungs("max_pool2d_forward"), ids=str)
def test_a_tie_goes_to_the_first_and_nan_wins(rung):
    x = np.array([[1, 3, 3], [3, 0, np.nan]]).reshape(1, 1, 2, 3)
    y, index = rung(x, (2, 2), (1, 1), (0, 0), (1, 1), False)
    np.testing.assert_array_equal(y, [[[[3, np.nan]]]])
    np.testing.assert_array_equal(index, [[[[1, 5]]]])


@pytest.mark.parametrize("rung", oracle.rungs("max_pool2d_forward"), ids=str)
def test_a_window_without_pixels(rung):
    """Dilated by 2 around a single pixel, the window steps over it."""
    y, index = rung(np.ones((1, 1, 1, 1)), (2, 2), (1, 1), (1, 1), (2, 2), False)
    assert y.tolist() == [[[[-np.inf]]]]
    assert index.tolist() == [[[[-1]]]]


def test_ceil_mode_leaves_out_windows_of_padding_alone():
    assert pool_output_size((5, 5), (2, 2), (2, 2), (0, 0)) == (2, 2)
    assert pool_output_size((5, 5), (2, 2), (2, 2), (0, 0), ceil_mode=True) == (3, 3)
    assert pool_output_size((3, 3), (1, 1), (3, 3), (0, 0), ceil_mode=True) == (1, 1)
    assert pool_output_size((2, 2), (2, 2), (3, 3), (1, 1), ceil_mode=True) == (1, 1)      # it would start at pixel 2
    assert pool_output_size((1, 1), (3, 3), (1, 1), (0, 0)) == (0, 0)


@dtypes
@pytest.mark.parametrize("columns", [64, 66])
def test_means_of_other_windows_past_the_caches(columns, dtype, monkeypatch):
    """Rows of 66 numbers do not all begin where vectors may, and so are written as usual."""
    shape, options = (3, 5, 40, columns), ((4, 4), (2, 2), (1, 1), False, True, None)
    g = np.random.default_rng(1).standard_normal((3, 5, 20, columns // 2)).astype(dtype)
    near = pool_vectors.avg_pool2d_backward(g, shape, *options)
    monkeypatch.setattr(stream, "LARGE", 0)
    np.testing.assert_array_equal(pool_vectors.avg_pool2d_backward(g, shape, *options), near)
    assert pool_vectors._past(memory.empty(shape, dtype)) == (columns != 66 and memory.POSSIBLE)
