"""Batch and instance normalisation, and dropout."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import assert_close, check_dtype, check_gradients, dtypes, normal, seeds

import minivision as mv
from minivision import functional as F

SHAPES = [(3, 2), (2, 3, 2), (2, 1, 2, 2), (1, 2, 3, 1), (2, 2, 1, 2, 2)]


def standardised(x, axes, eps):
    """Group by group, with sums."""
    out = np.zeros(x.shape)
    kept = [i for i in range(x.ndim) if i not in axes]
    for place in np.ndindex(*[x.shape[i] for i in kept]):
        index = [slice(None)] * x.ndim
        for i, p in zip(kept, place):
            index[i] = p
        values = x[tuple(index)].astype("float64")
        mean = math.fsum(values.reshape(-1)) / values.size
        var = math.fsum(((values - mean) ** 2).reshape(-1)) / values.size
        out[tuple(index)] = (values - mean) / math.sqrt(var + eps)
    return out


def column(v, x):
    return v.reshape((1, -1) + (1,) * (x.ndim - 2))


@pytest.mark.parametrize("shape", SHAPES)
@given(seed=seeds, dtype=dtypes)
@settings(max_examples=8)
def test_batch_norm_training(shape, seed, dtype):
    x, w, b = (normal(seed + i, *s, dtype=dtype) for i, s in enumerate([shape, shape[1:2], shape[1:2]]))
    mean, var = mv.tensor(normal(seed, shape[1], dtype=dtype)), mv.tensor(np.ones(shape[1], dtype))
    before = mean.numpy().copy(), var.numpy().copy()
    y = F.batch_norm(mv.tensor(x), mean, var, mv.tensor(w), mv.tensor(b), training=True, momentum=0.3, eps=1e-3)
    axes = (0, *range(2, x.ndim))
    assert y.dtype == np.dtype(dtype) and mean.dtype == np.dtype(dtype)
    assert_close(y, standardised(x, axes, 1e-3) * column(w, x) + column(b, x), 5e-5 if dtype == "float32" else 1e-10)
    assert_close(mean, 0.7 * before[0] + 0.3 * x.mean(axes))
    assert_close(var, 0.7 * before[1] + 0.3 * x.var(axes, ddof=1))          # unbiased in the average, biased above


@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_gradients(shape):
    x, w, b = normal(0, *shape), normal(1, shape[1]), normal(2, shape[1])
    check_gradients(lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True, eps=1e-2), x, w, b, tolerance=1e-5)
    mean, var = mv.tensor(normal(3, shape[1])), mv.tensor(np.abs(normal(4, shape[1])) + 0.5)
    check_gradients(lambda x, w, b: F.batch_norm(x, mean, var, w, b), x, w, b)
    expected = (x - column(mean.numpy(), x)) / np.sqrt(column(var.numpy(), x) + 1e-5) * column(w, x) + column(b, x)
    assert_close(F.batch_norm(mv.tensor(x), mean, var, mv.tensor(w), mv.tensor(b)), expected)


def test_a_shift_of_the_batch_has_no_gradient():
    """The sum of a standardised batch is constant: a check with upstream ones could not tell a wrong backward."""
    x = mv.tensor(normal(0, 4, 2, 3, 3), requires_grad=True)
    g, = mv.grad(F.batch_norm(x, None, None, training=True), x, mv.Tensor(normal(1, 4, 2, 3, 3)))
    assert_close(g.numpy().sum((0, 2, 3)), np.zeros(2), 1e-12)
    assert np.abs(g.numpy()).max() > 0.1


@pytest.mark.parametrize("shape", [s for s in SHAPES if len(s) > 2])
@given(seed=seeds, dtype=dtypes)
@settings(max_examples=6)
def test_instance_norm(shape, seed, dtype):
    x, w, b = (normal(seed + i, *s, dtype=dtype) for i, s in enumerate([shape, shape[1:2], shape[1:2]]))
    axes = tuple(range(2, x.ndim))
    y = F.instance_norm(mv.tensor(x), weight=mv.tensor(w), bias=mv.tensor(b), eps=1e-3)
    assert y.dtype == np.dtype(dtype)
    assert_close(y, standardised(x, axes, 1e-3) * column(w, x) + column(b, x), 5e-5 if dtype == "float32" else 1e-10)


def test_instance_norm_gradients_and_averages():
    x, w, b = normal(0, 2, 3, 2, 2), normal(1, 3), normal(2, 3)
    check_gradients(lambda x, w, b: F.instance_norm(x, None, None, w, b, eps=1e-2), x, w, b, tolerance=1e-5)
    mean, var = mv.zeros(3, dtype="float64"), mv.ones(3, dtype="float64")
    F.instance_norm(mv.tensor(x), mean, var, momentum=0.25)
    assert_close(mean, 0.25 * x.mean((2, 3)).mean(0))
    assert_close(var, 0.75 + 0.25 * x.var((2, 3), ddof=1).mean(0))
    assert_close(F.instance_norm(mv.tensor(x), mean, var, use_input_stats=False),
                 (x - column(mean.numpy(), x)) / np.sqrt(column(var.numpy(), x) + 1e-5))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(dtype):
    x, w, b = normal(0, 3, 2, 2, 2), normal(1, 2), normal(2, 2)
    check_dtype(lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), x, w, b, dtype=dtype)
    check_dtype(lambda x, w, b: F.instance_norm(x, None, None, w, b), x, w, b, dtype=dtype)
    check_dtype(lambda x: F.dropout(x, 0.3), x, dtype=dtype)


def test_constant_channel_is_safe():
    x = mv.full((4, 1, 2, 2), 3.0, requires_grad=True)
    y = F.batch_norm(x, None, None, training=True)
    assert not y.numpy().any()
    y.sum().backward()
    assert np.isfinite(x.grad.numpy()).all()


# ---------------------------------------------------------------------------------------------- dropout


@given(p=st.sampled_from([0.1, 0.5, 0.8]), seed=st.integers(0, 1000))
@settings(max_examples=10)
def test_dropout_keeps_the_mean(p, seed):
    mv.manual_seed(seed)
    n = 20_000
    y = F.dropout(mv.ones(n), p).numpy()
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / (1 - p))}
    assert abs((y == 0).mean() - p) < 5 * math.sqrt(p * (1 - p) / n)        # five standard deviations


def test_dropout_gradient_is_its_mask():
    mv.manual_seed(0)
    x = mv.ones(1000, requires_grad=True)
    y = F.dropout(x, 0.4)
    y.sum().backward()
    assert np.array_equal(x.grad.numpy(), y.numpy())


def test_dropout_is_seeded():
    def draw(seed):
        mv.manual_seed(seed)
        return F.dropout(mv.ones(100), 0.5).tolist()

    assert draw(1) == draw(1) and draw(1) != draw(2)


def test_dropout_masks_differ_between_calls_and_dtypes_share_them():
    mv.manual_seed(0)
    first, second = F.dropout(mv.ones(100), 0.5).tolist(), F.dropout(mv.ones(100), 0.5).tolist()
    assert first != second
    mv.manual_seed(0)
    assert F.dropout(mv.ones(100, dtype="float64"), 0.5).tolist() == first


def test_dropout_extremes():
    x = mv.tensor([1.0, 2.0], requires_grad=True)
    assert F.dropout(x, 0.0) is x and F.dropout(x, 0.5, training=False) is x
    assert F.dropout(x, 1.0).tolist() == [0, 0]
    mv.manual_seed(0)
    state = mv.random.get_state()
    F.dropout(x, 0.5, training=False)
    assert mv.random.get_state() == state                 # evaluation draws no random numbers


def test_running_averages_in_plain_arrays_are_changed_in_place():
    x = mv.Tensor(np.arange(8, dtype="float32").reshape(4, 2))
    arrays, tensors = [np.zeros(2, "float32"), np.ones(2, "float32")], [mv.zeros(2), mv.ones(2)]
    assert F.batch_norm(x, *arrays, training=True).tolist() == F.batch_norm(x, *tensors, training=True).tolist()
    assert [a.tolist() for a in arrays] == [t.tolist() for t in tensors] != [[0, 0], [1, 1]]
    assert F.batch_norm(x, *arrays).tolist() == F.batch_norm(x, *tensors).tolist()


def test_inplace_changes_nothing_in_place():
    x = mv.tensor([-1.0, 2.0])
    assert F.relu(x, inplace=True).tolist() == [0, 2] and F.leaky_relu(x, 0.5, inplace=True).tolist() == [-0.5, 2]
    assert F.dropout(x, 1.0, inplace=True).tolist() == [0, 0] and x.tolist() == [-1, 2]
