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
