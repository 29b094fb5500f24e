"""Operations limited by memory: every rung against its formula, and the same bits for every number of threads."""

import warnings

import kernel_oracle as oracle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minivision_kernels as mk
from minivision_kernels.cpu import cross_entropy_vectors, stream
from minivision_kernels.cpu.compile import In1, Out1, compiled
from minivision_kernels.cpu.simd import lanes, load, put
from minivision_kernels.cpu.stream import exponential

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
@given(shape=shapes | st.sampled_from([(), (0,), (9,), (70_001,)]), relu=st.booleans())
def test_add(rung, dtype, shape, relu):
    x, y = normal(shape, dtype), normal(shape, dtype, 1)
    if x.size:
        x.flat[-1] = np.nan                                  # which ReLU passes on
    z = rung(oracle.guarded(x, readonly=True), oracle.guarded(y, readonly=True), relu=relu)
    assert z.dtype == dtype and z.shape == shape
    np.testing.assert_array_equal(z, np.where(x + y <= 0, 0, x + y) if relu else x + y)


@dtypes
@pytest.mark.parametrize("rung", oracle.rungs("bias_add"), ids=str)
@given(shape=shapes, matrix=st.booleans(), relu=st.booleans())
def test_bias_add(rung, dtype, shape, matrix, relu):
    shape = shape[:2] if matrix else shape
    y, bias = normal(shape, dtype), normal(shape[1], dtype, 1)
    walled = oracle.guarded(y)
    around, before = walled.base, walled.base.copy()
    if y.size:
        y.flat[-1] = walled.flat[-1] = np.nan                # which ReLU passes on
    assert rung(walled, oracle.guarded(bias, readonly=True), relu=relu) is walled
    expected = y + bias.reshape(-1, *(1,) * (y.ndim - 2))
    np.testing.assert_array_equal(walled, np.maximum(expected, 0) if relu else expected)
    np.testing.assert_array_equal(around[:64], before[:64])
    np.testing.assert_array_equal(around[-64:], before[-64:])


@dtypes
@pytest.mark.parametrize("rung", oracle.rungs("channel_affine"), ids=str)
@given(shape=shapes | st.just((1, 65, 256, 256)), matrix=st.booleans(), with_bias=st.booleans(), relu=st.booleans())
def test_channel_affine(rung, dtype, shape, matrix, with_bias, relu):
    shape = shape[:2] if matrix else shape
    x, weight, bias = normal(shape, dtype), normal(shape[1], dtype, 1), normal(shape[1], dtype, 2) * with_bias
    y = rung(*(oracle.guarded(a, readonly=True) for a in ((x, weight, bias) if with_bias else (x, weight))), relu=relu)
    assert y.dtype == dtype and y.shape == shape
    weight, bias = (a.astype(np.float64).reshape(-1, *(1,) * (x.ndim - 2)) for a in (weight, bias))
    exact = x * weight + bias
    oracle.assert_close(y, np.maximum(exact, 0) if relu else exact, abs(x * weight) + abs(bias), dtype)


@dtypes
@pytest.mark.parametrize("rung", oracle.rungs("relu_bias_backward"), ids=str)
@given(shape=shapes, matrix=st.booleans())
def test_relu_bias_backward(rung, dtype, shape, matrix):
    shape = shape[:2] if matrix else shape
    g, y = normal(shape, dtype), normal(shape, dtype, 1)
    passed, sums = rung(oracle.guarded(g, readonly=True), oracle.guarded(y, readonly=True))
    expected = np.where(y > 0, g, 0)
    assert passed.dtype == sums.dtype == dtype
    np.testing.assert_array_equal(passed, expected)
    axes = (0, *range(2, len(shape)))
    oracle.assert_close(sums, expected.astype(np.float64).sum(axes), abs(expected).astype(np.float64).sum(axes), dtype)
    same = next(other for other in mk.ladder("channel_sum") if (other.name, other.device) == (rung.name, rung.device))
    np.testing.assert_array_equal(sums, same(expected))


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


def batch_norm(x, weight, bias, g, eps):
    """Batch norm and its gradients in float64, and the spread of the channels."""
    x, weight, bias, g = (a.astype(np.float64) for a in (x, weight, bias, g))
    axes, column = (0, *range(2, x.ndim)), (-1, *(1,) * (x.ndim - 2))
    mean, var = x.mean(axes), x.var(axes)
    spread = np.sqrt(var + eps).reshape(column)
    z = (x - mean.reshape(column)) / spread
    n = x.size / x.shape[1]
    dbias, dweight = g.sum(axes), (g * z).sum(axes)
    dx = weight.reshape(column) / spread * (g - (dbias.reshape(column) + z * dweight.reshape(column)) / n)
    return (z * weight.reshape(column) + bias.reshape(column), mean, var), (dx, dweight, dbias), spread


@dtypes
@pytest.mark.parametrize("rung", oracle.rungs("batch_norm_forward"), ids=str)
@given(
    shape=st.sampled_from([(5, 3), (1, 2, 3, 3), (2, 4, 5), (3, 2, 7, 9), (2, 1, 100, 90), (64, 5, 31, 30), (2, 3, 4, 5, 6)]),
    shift=st.sampled_from([0.0, 100.0]), constant=st.booleans(),
)
def test_batch_norm(rung, dtype, shape, shift, constant):
    x = normal(shape, dtype) + dtype(shift)
    if constant:
        x[:, 0] = 3
    weight, bias, g = normal(shape[1], dtype, 1), normal(shape[1], dtype, 2), normal(shape, dtype, 3)
    forward, backward, spread = batch_norm(x, weight, bias, g, 1e-3)
    accuracy = (1 + shift) / spread                         # what is lost by taking the mean from numbers that large
    walled = [oracle.guarded(a, readonly=True) for a in (x, weight, bias)]
    first, second = both_thread_counts(lambda: rung(*walled, 1e-3))
    for got, again, expected, scale in zip(first, second, forward, (10 * accuracy, 1 + shift, 10 * (1 + shift))):
        oracle.assert_close(got, expected, np.broadcast_to(scale, expected.shape), dtype)
        np.testing.assert_array_equal(got, again)
    pull = next(r for r in mk.ladder("batch_norm_backward") if r.name == rung.name)
    walled = [oracle.guarded(a.astype(dtype), readonly=True) for a in (g, x, weight, *forward[1:])]
    first, second = both_thread_counts(lambda: pull(*walled, 1e-3))
    sums = np.sqrt(x.size) * 10 * accuracy.max()
    for got, again, expected, scale in zip(first, second, backward, (30 * accuracy / spread, sums, sums)):
        oracle.assert_close(got, expected, np.broadcast_to(scale, expected.shape), dtype)
        np.testing.assert_array_equal(got, again)


@pytest.mark.parametrize("op", ["batch_norm_forward", "batch_norm_backward"])
def test_batch_norm_of_nothing(op):
    x, c = np.zeros((0, 3, 4, 4), np.float32), np.ones(3, np.float32)
    for rung in oracle.rungs(op):
        args = (x, c, c, 1e-5) if op == "batch_norm_forward" else (x, x, c, c, c, 1e-5)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result, *numbers = rung(*args)
        assert result.shape == x.shape
        assert [a.shape for a in numbers] == [(3,), (3,)]


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
        for got in both_thread_counts(lambda rung=rung: rung(x, *options, ceil_mode, with_index=False)[0]):
            np.testing.assert_array_equal(got, y)
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


@dtypes
@pytest.mark.parametrize("rung", oracle.rungs("adam_update"), ids=str)
@given(shape=st.sampled_from([(), (0,), (7,), (3, 4, 5), (301, 203)]), weight_decay=st.sampled_from([0.0, 0.01]),
       step=st.sampled_from([1, 2, 1000]))
def test_adam(rung, dtype, shape, weight_decay, step):
    param, grad, m = (normal(shape, dtype, seed) for seed in range(3))
    v = np.abs(normal(shape, dtype, 3))
    p, g, mean, square = (a.astype(np.float64) for a in (param, grad, m, v))
    g = g + weight_decay * p
    mean, square = 0.9 * mean + 0.1 * g, 0.99 * square + 0.01 * g * g
    p = p - 0.1 * (mean / (1 - 0.9 ** step)) / (np.sqrt(square / (1 - 0.99 ** step)) + 1e-3)

    def update():
        walled = [oracle.guarded(a, readonly=a is grad) for a in (param, grad, m, v)]
        around = [a.base.copy() for a in walled]
        assert rung(*walled, 0.1, 0.9, 0.99, 1e-3, weight_decay, step) is None
        for array, before in zip(walled, around):
            np.testing.assert_array_equal(array.base[:64], before[:64])
            np.testing.assert_array_equal(array.base[-64:], before[-64:])
        np.testing.assert_array_equal(walled[1], grad)
        return [walled[0], *walled[2:]]

    first, second = both_thread_counts(update)
    for got, again, expected in zip(first, second, (p, mean, square)):
        oracle.assert_close(np.asarray(got), np.asarray(expected), np.full(shape, 20.0), dtype)
        np.testing.assert_array_equal(got, again)


@pytest.mark.parametrize("rung", oracle.rungs("adam_update"), ids=str)
def test_adam_refuses_what_it_cannot_update(rung):
    a = np.ones((3, 4))
    with pytest.raises(ValueError, match="m is updated in place"):
        rung(a.copy(), a, np.ones((4, 3)).T, a.copy(), 0.1, 0.9, 0.99, 1e-3, 0.0, 1)


@dtypes
def test_the_exponential(dtype):
    """Against the one of long doubles, in units of the last place."""
    exp = compiled(_exponentials)
    low = -87.3 if dtype == np.float32 else -708.3
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(low, 0, 1 << 14), rng.uniform(-1, 0, 1 << 14), [0.0, -1e-30, -0.5, low] * 16])
    x = x.astype(dtype)
    y = np.empty_like(x)
    exp(x, y)
    expected = np.exp(x.astype(np.longdouble))
    assert (np.abs(y - expected) / np.spacing(expected.astype(dtype))).max() < 2
    x = np.resize(np.array([np.nan, -np.inf, -1e4, 1.2 * low, 0.0, -0.0, -1e4, np.nan], dtype), 64)
    y = np.empty_like(x)
    exp(x, y)
    np.testing.assert_array_equal(y[:8], [np.nan, 0, 0, 0, 1, 1, 0, np.nan])


def _exponentials(x: In1, y: Out1):
    for at in range(0, x.shape[0], lanes(x)):
        put(y, at, exponential(load(x, at)))


@dtypes
@pytest.mark.parametrize("rung", oracle.rungs("cross_entropy_forward"), ids=str)
@pytest.mark.parametrize("shape", [(3, 37), (70, 1000), (1, 64), (2000, 10), (5, 1)])
def test_cross_entropy_of_many_classes(rung, dtype, shape):
    logits, g = 5 * normal(shape, dtype), normal(shape[0], dtype, 1)
    labels = np.random.default_rng(2).integers(0, shape[1], shape[0])
    p = np.exp(logits.astype(float) - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    first, second = both_thread_counts(lambda: rung(oracle.guarded(logits, readonly=True), labels))
    oracle.assert_close(first, -np.log(p[np.arange(len(labels)), labels]), np.full(len(labels), 20.0), dtype)
    np.testing.assert_array_equal(first, second)
    backward = next(r for r in mk.ladder("cross_entropy_backward") if r.name == rung.name)
    first, second = both_thread_counts(lambda: backward(oracle.guarded(logits, readonly=True), labels, oracle.guarded(g)))
    oracle.assert_close(first, (p - np.eye(shape[1])[labels]) * g[:, None], 10 * np.abs(g)[:, None], dtype)
    np.testing.assert_array_equal(first, second)


@dtypes
@pytest.mark.parametrize("classes", [1000, 999, 24])
def test_gradients_of_scores_past_the_caches(dtype, classes, monkeypatch):
    """Rows begin anywhere in a line of memory, and what is written past the caches has the bits of what is not."""
    backward = next(r for r in mk.ladder("cross_entropy_backward") if r.name == "vectors")
    logits, g, labels = normal((700, classes), dtype), normal(700, dtype, 1), np.arange(700) % classes
    near, asked = backward(logits, labels, g), []
    monkeypatch.setattr(cross_entropy_vectors, "past_caches", lambda result: asked.append(result.ctypes.data % 64) is None)
    np.testing.assert_array_equal(backward(logits, labels, g), near)
    assert asked == [0]


@pytest.mark.parametrize("rung", oracle.rungs("cross_entropy_forward"), ids=str)
@pytest.mark.parametrize("place", [0, 5, 19])
def test_a_score_that_is_nan_makes_its_row_nan(rung, place):
    logits, labels = normal((3, 20), np.float32), np.array([1, 2, 3])
    logits[1, place] = np.nan
    with np.errstate(all="ignore"):
        losses = rung(logits, labels)
        gradient = next(r for r in mk.ladder("cross_entropy_backward") if r.name == rung.name)(
            logits, labels, np.ones(3, np.float32))
    np.testing.assert_array_equal(np.isnan(losses), [False, True, False])
    assert np.isnan(gradient[1]).all() and not np.isnan(gradient[[0, 2]]).any()
