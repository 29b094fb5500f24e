"""Biases, sums over channels and batch normalisation on the GPU, against their formulas."""

import kernel_oracle as oracle
import numpy as np
import pytest
import test_streams
from cuda_oracle import PLACES, Placed, cuda_rungs

from minivision_kernels import ladder
from minivision_kernels.cuda import channels

dtypes = pytest.mark.parametrize("dtype", oracle.FLOATS)
places = pytest.mark.parametrize("place", PLACES)
# Few and many pixels, planes of multiples of 4 and others, matrices, channels split between blocks, nothing at all.
SHAPES = [(5, 3), (3, 70), (1, 2, 3, 3), (3, 2, 4, 2), (2, 3, 7, 5), (2, 1, 48, 48), (3, 2, 37, 39), (2, 3, 2, 3, 4)]


def kernels(op):
    """The rungs made of kernels; the one of array expressions is NumPy's, which is tested there."""
    return pytest.mark.parametrize("rung", [rung for rung in cuda_rungs(op) if rung.name != "cupy"], ids=str)


@places
@dtypes
@pytest.mark.parametrize("shape", [*SHAPES, (0, 3, 4, 4), (2, 3, 0)])
@kernels("bias_add")
def test_bias_add(rung, place, dtype, shape):
    y, bias = test_streams.normal(shape, dtype), test_streams.normal(shape[1], dtype, 1)
    if y.size:
        y.flat[-1] = np.nan                     # which ReLU passes on
    sums = y + bias.reshape(-1, *(1,) * (y.ndim - 2))
    for start, relu in ((64, False), (63, True), (64, True)):       # aligned as an array is, and a view that starts anywhere
        expected = np.maximum(sums, 0) if relu else sums
        wall = np.full(y.size + 128, np.nan, dtype)
        walled = wall[start:start + y.size].reshape(shape)
        walled[...] = y
        Placed(rung, place)(walled, bias, relu=relu)
        np.testing.assert_array_equal(walled, expected)
        assert np.isnan(wall[:start]).all() and np.isnan(wall[start + y.size:]).all()


@places
@pytest.mark.parametrize("together", [1, 2])
def test_bias_add_to_groups_of_images(monkeypatch, place, together):
    monkeypatch.setattr(channels, "grouped", lambda count, size: (together, -(-count // together)))
    y, bias = test_streams.normal((3, 4, 5), np.float32), test_streams.normal(4, np.float32, 1)
    expected = y + bias[:, None]
    Placed(next(r for r in ladder("bias_add") if r.name == "vectors" and r.device == "cuda"), place)(y, bias)
    np.testing.assert_array_equal(y, expected)


@places
@dtypes
@pytest.mark.parametrize("shape", [*SHAPES, (0, 3, 4, 4), (2, 3, 0)])
@kernels("channel_affine")
def test_channel_affine(rung, place, dtype, shape):
    x, weight, bias = (test_streams.normal(size, dtype, seed) for size, seed in ((shape, 0), (shape[1], 1), (shape[1], 2)))
    column = (-1, *(1,) * (x.ndim - 2))
    for numbers, relu in (((weight,), False), ((weight, bias), False), ((weight, bias), True)):
        y = Placed(rung, place)(*(oracle.guarded(a, readonly=True) for a in (x, *numbers)), relu=relu)
        factor, number = [a.astype(np.float64).reshape(column) for a in (*numbers, bias * 0)][:2]
        exact = x * factor + number
        oracle.assert_close(y, np.maximum(exact, 0) if relu else exact, abs(x * factor) + abs(number), dtype)


@places
@dtypes
@pytest.mark.parametrize("shape", [*SHAPES, (0, 3, 4, 4), (2, 3, 0)])
@kernels("channel_sum")
def test_channel_sum(rung, place, dtype, shape):
    g = test_streams.normal(shape, dtype) + dtype(100)
    axes = (0, *range(2, len(shape)))
    expected, scale = (a.astype(np.float64).sum(axes) for a in (g, np.abs(g)))
    oracle.assert_close(Placed(rung, place)(oracle.guarded(g, readonly=True)), expected, scale, dtype)


@places
@dtypes
@pytest.mark.parametrize("shape", [*SHAPES, (0, 3, 4, 4), (2, 3, 0)])
@kernels("relu_bias_backward")
def test_relu_bias_backward(rung, place, dtype, shape):
    g, y = test_streams.normal(shape, dtype), test_streams.normal(shape, dtype, 1)
    passed, sums = Placed(rung, place)(oracle.guarded(g, readonly=True), oracle.guarded(y, readonly=True))
    expected, axes = np.where(y > 0, g, 0), (0, *range(2, len(shape)))
    np.testing.assert_array_equal(passed, expected)
    oracle.assert_close(sums, expected.astype(np.float64).sum(axes), abs(expected).astype(np.float64).sum(axes), dtype)


@places
@dtypes
@pytest.mark.parametrize("shift", [0.0, 100.0])
@pytest.mark.parametrize("shape", SHAPES)
@kernels("batch_norm_forward")
def test_batch_norm(rung, place, dtype, shape, shift):
    x = test_streams.normal(shape, dtype) + dtype(shift)
    x[:, 0] = 3                                             # a channel without variance
    weight, bias, g = (test_streams.normal(size, dtype, seed) for size, seed in ((shape[1], 1), (shape[1], 2), (shape, 3)))
    forward, backward, spread = test_streams.batch_norm(x, weight, bias, g, 1e-3)
    accuracy = (1 + shift) / spread
    walled = [oracle.guarded(a, readonly=True) for a in (x, weight, bias)]
    results = Placed(rung, place)(*walled, 1e-3)
    for got, expected, scale in zip(results, forward, (10 * accuracy, 1 + shift, 10 * (1 + shift))):
        oracle.assert_close(got, expected, np.broadcast_to(scale, expected.shape), dtype)
    pull = next(r for r in ladder("batch_norm_backward") if r.name == rung.name and r.device == "cuda")
    walled = [oracle.guarded(a.astype(dtype), readonly=True) for a in (g, x, weight, *forward[1:])]
    sums = np.sqrt(x.size) * 10 * accuracy.max()
    for got, expected, scale in zip(Placed(pull, place)(*walled, 1e-3), backward, (30 * accuracy / spread, sums, sums)):
        oracle.assert_close(got, expected, np.broadcast_to(scale, expected.shape), dtype)


@places
@kernels("batch_norm_forward")
def test_a_variance_far_from_0_loses_nothing(rung, place):
    """A sum of squares, less the square of the sum, would have no digit left here."""
    x = (test_streams.normal((2, 2, 40, 41), np.float32) + 10_000).astype(np.float32)
    var = Placed(rung, place)(x, np.ones(2, np.float32), np.zeros(2, np.float32), 1e-5)[2]
    np.testing.assert_allclose(var, x.astype(float).var((0, 2, 3)), rtol=1e-4)


@kernels("batch_norm_forward")
def test_batch_norm_of_nothing(rung):
    pull = next(r for r in ladder("batch_norm_backward") if r.name == rung.name and r.device == "cuda")
    for shape in ((0, 3, 4, 4), (2, 3, 0)):
        x, c = np.zeros(shape, np.float32), np.ones(3, np.float32)
        for result, *numbers in (rung(x, c, c, 1e-5), pull(x, x, c, c, c, 1e-5)):
            assert result.shape == shape
            assert [a.tolist() for a in numbers] == [[0, 0, 0]] * 2


@pytest.mark.parametrize("shape, multiprocessors", [
    ((64, 64, 32, 32), 132), ((2, 1, 48, 48), 2), ((1, 3, 5, 7), 132), ((256, 3, 224, 224), 132), ((3, 2, 37, 39), 2),
    ((4096, 2, 9), 16),
])
def test_shares_cover_a_channel(monkeypatch, shape, multiprocessors):
    monkeypatch.setattr(channels, "facts", lambda x: type("", (), {"multiprocessors": multiprocessors}))
    N, _, P, splits, each = channels.shares(np.broadcast_to(np.float32(0), shape))
    assert each % 4 == 0 and 1 <= splits <= channels.MOST_SPLITS
    assert (splits - 1) * each < N * P <= splits * each
    assert splits == 1 or each >= channels.LEAST_SHARE // 2


def test_layers_that_are_split_are_among_the_shapes():
    assert {channels.shares(np.zeros(shape))[3] for shape in SHAPES if np.prod(shape)} >= {1, 2}


def test_matrices_are_left_to_threads():
    matrix, images = np.zeros((5, 3)), np.zeros((5, 3, 4, 4))
    for op in ("channel_sum", "batch_norm_forward", "batch_norm_backward"):
        fast = next(r for r in ladder(op) if r.name == "blocks")
        assert fast.worth(images) and not fast.worth(matrix)
