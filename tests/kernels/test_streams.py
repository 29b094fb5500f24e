"""Operations limited by memory: every rung against its formula, and the same bits for every number of threads."""

import kernel_oracle as oracle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minivision_kernels as mk
from minivision_kernels.cpu import stream

dtypes = pytest.mark.parametrize("dtype", oracle.FLOATS)
LARGE_SHAPES = [(2, 3, 130, 129), (64, 5, 31, 30)]          # enough for threads, and no multiple of any vector
shapes = st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(1, 9), st.integers(1, 9)) | st.sampled_from(LARGE_SHAPES)


def normal(shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def both_thread_counts(call):
    """The results of ``call`` with one thread and with as many as there are."""
    before = mk.get_num_threads()
    results = []
    for n in (1, before):
        mk.set_num_threads(n)
        try:
            results.append(call())
        finally:
            mk.set_num_threads(before)
    return results


@dtypes
@pytest.mark.parametrize("rung", oracle.rungs("add"), ids=str)
@given(shape=shapes | st.sampled_from([(), (0,), (9,), (70_001,)]))
def test_add(rung, dtype, shape):
    x, y = normal(shape, dtype), normal(shape, dtype, 1)
    z = rung(oracle.guarded(x, readonly=True), oracle.guarded(y, readonly=True))
    assert z.dtype == dtype and z.shape == shape
    np.testing.assert_array_equal(z, x + y)


@dtypes
@pytest.mark.parametrize("rung", oracle.rungs("bias_add"), ids=str)
@given(shape=shapes, matrix=st.booleans())
def test_bias_add(rung, dtype, shape, matrix):
    shape = shape[:2] if matrix else shape
    y, bias = normal(shape, dtype), normal(shape[1], dtype, 1)
    walled = oracle.guarded(y)
    around, before = walled.base, walled.base.copy()
    assert rung(walled, oracle.guarded(bias, readonly=True)) is walled
    np.testing.assert_array_equal(walled, y + bias.reshape(-1, *(1,) * (y.ndim - 2)))
    np.testing.assert_array_equal(around[:64], before[:64])
    np.testing.assert_array_equal(around[-64:], before[-64:])


@dtypes
@pytest.mark.parametrize("rung", oracle.rungs("channel_sum"), ids=str)
@given(shape=shapes, matrix=st.booleans(), shift=st.sampled_from([0.0, 100.0]))
def test_channel_sum(rung, dtype, shape, matrix, shift):
    shape = shape[:2] if matrix else shape
    g = normal(shape, dtype) + dtype(shift)
    axes = (0, *range(2, len(shape)))
    expected, scale = (a.astype(np.float64).sum(axes) for a in (g, np.abs(g)))
    first, second = both_thread_counts(lambda: rung(oracle.guarded(g, readonly=True)))
    oracle.assert_close(first, expected, scale, dtype)
    np.testing.assert_array_equal(first, second)


@dtypes
@pytest.mark.parametrize("options", [
    ((2, 2), (2, 2), (0, 0), (1, 1)), ((3, 3), (2, 2), (1, 1), (1, 1)), ((3, 2), (1, 1), (1, 1), (1, 1)),
    ((3, 3), (2, 2), (0, 0), (2, 3)), ((2, 3), (3, 3), (1, 0), (1, 1)), ((5, 4), (1, 2), (2, 2), (1, 1)),
], ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 40, 37), (3, 2, 12, 10), (1, 1, 21, 50), (40, 9, 15, 28)])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_pooling_of_rows_longer_and_shorter_than_vectors(dtype, shape, options, ceil_mode):
    """The rung of plain loops has been held against the definition; here every rung is held against it, bit for bit."""
    x = oracle.guarded(np.random.default_rng(0).choice([np.nan, -np.inf, 0.0, 1.0, 2.0], shape).astype(dtype), readonly=True)
    loops = {op: next(r for r in mk.ladder(op) if r.name == "loops") for op in mk.ops() if "pool2d" in op}
    y, index = loops["max_pool2d_forward"](x, *options, ceil_mode)
    g = oracle.guarded(normal(y.shape, dtype))
    dx = loops["max_pool2d_backward"](g, index, shape, *options)
    for rung in oracle.rungs("max_pool2d_forward"):
        for got in both_thread_counts(lambda rung=rung: rung(x, *options, ceil_mode)):
            np.testing.assert_array_equal(got[0], y)
            np.testing.assert_array_equal(got[1], index)
    for rung in oracle.rungs("max_pool2d_backward"):
        for got in both_thread_counts(lambda rung=rung: rung(g, index, shape, *options)):
            np.testing.assert_array_equal(got, dx)
    if options[3] == (1, 1):
        x = oracle.guarded(normal(shape, dtype))
        arguments = *options[:3], ceil_mode, False, None
        for op, *args in ("avg_pool2d_forward", x), ("avg_pool2d_backward", g, shape):
            expected = loops[op](*args, *arguments)
            for rung in oracle.rungs(op):
                for got in both_thread_counts(lambda rung=rung, args=args: rung(*args, *arguments)):
                    oracle.assert_close(got, expected, np.full(expected.shape, 4.0), dtype)


@dtypes
@pytest.mark.parametrize("shape", [(2, 3, 7, 7), (40, 9, 12, 16), (1, 2, 30, 30)])
def test_average_over_whole_images_and_tiles(dtype, shape):
    size = shape[2:]
    for window in (size, (2, 2), (3, 2), (2, 4)):
        output = size[0] // window[0], size[1] // window[1]
        x = normal(shape, dtype)[:, :, :output[0] * window[0], :output[1] * window[1]].copy()
        tiles = x.reshape(*shape[:2], output[0], window[0], output[1], window[1])
        options = window, window, (0, 0), False, True, None
        for rung in oracle.rungs("avg_pool2d_forward"):
            y = rung(oracle.guarded(x, readonly=True), *options)
            oracle.assert_close(y, tiles.astype(float).mean((3, 5)), np.full(y.shape, 4.0), dtype)
        for rung in oracle.rungs("avg_pool2d_backward"):
            dx = rung(oracle.guarded(y, readonly=True), x.shape, *options)
            expected = np.repeat(np.repeat(y.astype(float), window[0], 2), window[1], 3) / (window[0] * window[1])
            oracle.assert_close(dx, expected, np.full(dx.shape, 4.0), dtype)


@dtypes
@pytest.mark.parametrize("past", [False, True])
def test_results_that_pass_the_caches_by(monkeypatch, dtype, past):
    """Whichever way numbers are written, they are the same, up to the last one."""
    monkeypatch.setattr(stream, "LARGE", 0 if past else 1 << 60)
    x, g = normal(100_003, dtype), normal(100_003, dtype, 1)
    for op, args, expected in [
        ("relu_forward", (x,), np.maximum(x, 0)), ("relu_backward", (g, x), np.where(x > 0, g, 0)), ("add", (x, g), x + g),
    ]:
        result = mk.run(op, *args)
        assert stream.past_caches(result) == past
        np.testing.assert_array_equal(result, expected)


def test_a_result_that_is_not_aligned_is_never_written_past_the_caches():
    assert not stream.past_caches(np.empty(stream.LARGE + 64, np.uint8)[1:])
