"""Pooling: every rung against plain loops, with ties, NaN, infinities and windows over the edge."""

import kernel_oracle as oracle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minivision_kernels as mk
from minivision_kernels import memory
from minivision_kernels.cpu import pool_vectors, stream
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
def overlapping(draw):
    """Windows of 3 x 3 at stride 2, in lines of one to several vectors of them, whose last one may reach over the edge."""
    padding = draw(st.tuples(st.integers(0, 1), st.integers(0, 1)))
    size = draw(st.integers(3 - 2 * padding[0], 9)), draw(st.integers(3 - 2 * padding[1], 70))
    return (draw(st.integers(0, 2)), draw(st.integers(1, 3)), *size), padding, draw(st.booleans())


@dtypes
@given(case=overlapping(), kind=st.sampled_from(["smooth", "ties", "wild", "lowest"]), include=st.booleans(),
       divisor=st.sampled_from([None, 5]))
def test_overlapping_windows(dtype, case, kind, include, divisor):
    """Those that go down the image a row at a time."""
    shape, padding, ceil_mode = case
    options, x = ((3, 3), (2, 2), padding, (1, 1), ceil_mode), images(shape, dtype, kind)
    rung, = (rung for rung in oracle.rungs("max_pool2d_forward") if rung.name == "vectors")
    y, index = rung(x, *options)
    expected, places = oracle.max_pool2d_forward(x, *options)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(index, places)
    assert np.array_equal(rung(x, *options, False)[0].view(np.uint8), y.view(np.uint8))
    if kind in ("smooth", "ties"):
        rung, = (rung for rung in oracle.rungs("avg_pool2d_forward") if rung.name == "vectors")
        means = (3, 3), (2, 2), padding, ceil_mode, include, divisor
        expected = oracle.avg_pool2d_forward(x, *means)
        oracle.assert_close(rung(x, *means), expected, np.full(expected.shape, 9 * 4.0), dtype)


def test_overlapping_windows_from_afar(monkeypatch):
    """They ask for rows beyond the last one, too."""
    monkeypatch.setattr(stream, "FAR", 0)
    x, options = images((2, 3, 9, 70), np.float32, "smooth"), ((3, 3), (2, 2), (1, 1))
    rung, = (rung for rung in oracle.rungs("max_pool2d_forward") if rung.name == "vectors")
    for result, expected in zip(rung(x, *options, (1, 1), False), oracle.max_pool2d_forward(x, *options, (1, 1), False)):
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
    passes_back(rung, dtype, case, count_include_pad, divisor)


def passes_back(rung, dtype, case, count_include_pad, divisor):
    shape, (kernel_size, stride, padding, _, ceil_mode) = case
    options = kernel_size, stride, padding, ceil_mode, count_include_pad, divisor
    output = oracle.pool_size(shape[2:], kernel_size, stride, padding, (1, 1), ceil_mode)
    g = images((*shape[:2], *output), dtype, "smooth")
    scale = oracle.avg_pool2d_backward(np.abs(g), shape, *options)
    oracle.assert_close(rung(g, shape, *options), oracle.avg_pool2d_backward(g, shape, *options), scale, dtype)


@dtypes
@pytest.mark.parametrize("rung", oracle.rungs("avg_pool2d_backward"), ids=str)
@given(case=overlapping(), include=st.booleans(), divisor=st.sampled_from([None, 5]))
def test_overlapping_windows_backward(rung, dtype, case, include, divisor):
    shape, padding, ceil_mode = case
    passes_back(rung, dtype, (shape, ((3, 3), (2, 2), padding, (1, 1), ceil_mode)), include, divisor)


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


@pytest.mark.parametrize("dtype", oracle.FLOATS)
@pytest.mark.parametrize("kernel_size", [(2, 2), (3, 3)])
@pytest.mark.parametrize("columns", [64, 96, 66])
def test_gradients_past_the_caches_are_the_same(kernel_size, columns, dtype, monkeypatch):
    """Rows of 66 numbers do not all begin where vectors may, and so are written as usual."""
    shape, padding = (3, 5, 40, columns), ((kernel_size[0] - 1) // 2,) * 2
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    y, index = mk.run("max_pool2d_forward", x, kernel_size, (2, 2), padding, (1, 1), False)
    g = np.random.default_rng(1).standard_normal(y.shape).astype(dtype)
    asked = []

    def gradients():
        asked.append(pool_vectors._past(memory.empty(shape, dtype)))
        return (pool_vectors.max_pool2d_backward(g, index, shape, kernel_size, (2, 2), padding, (1, 1)),
                pool_vectors.avg_pool2d_backward(g, shape, kernel_size, (2, 2), padding, False, True, None))

    near = gradients()
    monkeypatch.setattr(stream, "LARGE", 0)
    for before, after in zip(near, gradients()):
        np.testing.assert_array_equal(before, after)
    assert asked == [False, columns != 66 and memory.POSSIBLE]


@pytest.mark.parametrize("name", ["max", "avg"])
def test_large_images_are_asked_for(name):
    """Beyond the size from which on lines are asked for before they are needed, results are those of each image by itself."""
    x = np.random.default_rng(0).standard_normal((3, 8, 250, 258)).astype(np.float32)
    assert x.nbytes >= pool_vectors.MANY > x[0].nbytes
    rest = ((2, 2), (2, 2), (0, 0), (1, 1), False) if name == "max" else ((2, 2), (2, 2), (0, 0), False, True, None)
    results = [mk.run(f"{name}_pool2d_forward", part, *rest) for part in (x, x[:1], x[1:2], x[2:])]
    whole, *parts = results if name == "avg" else [np.stack([y, index]) for y, index in results]
    np.testing.assert_array_equal(whole, np.concatenate(parts, axis=-4))
