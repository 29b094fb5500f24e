"""Softmax and the losses, number by number from their definitions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import assert_close, check_dtype, check_gradients, dtypes, normal, seeds

import minivision as mv
from minivision import functional as F

reductions = st.sampled_from(["mean", "sum", "none"])


def reduce(values, reduction):
    return {"mean": np.mean, "sum": np.sum, "none": np.asarray}[reduction](values)


def log_softmax(scores):
    """One list of numbers, with exact sums."""
    top = max(scores)
    return [s - top - math.log(math.fsum(math.exp(t - top) for t in scores)) for s in scores]


def along(x, dim, func):
    return np.apply_along_axis(lambda v: np.array(func([float(e) for e in v])), dim, x)


@given(shape=st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple), seed=seeds, dtype=dtypes, data=st.data())
@settings(max_examples=30)
def test_softmax(shape, seed, dtype, data):
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = normal(seed, *shape, dtype=dtype)
    y, logy = F.softmax(mv.tensor(x), dim), F.log_softmax(mv.tensor(x), dim)
    assert y.dtype == logy.dtype == np.dtype(dtype)
    expected = along(x, dim, log_softmax)
    assert_close(logy, expected)
    assert_close(y, np.exp(expected))
    assert_close(y.numpy().sum(dim), np.ones(expected.sum(dim).shape))
    check_gradients(lambda x: F.softmax(x, dim), x, seed=seed)
    check_gradients(lambda x: F.log_softmax(x, dim), x, seed=seed)


@st.composite
def classified(draw):
    """Scores (N, C, ...), labels, class weights or None, an ignored label or -100, label smoothing."""
    n, c = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    more = draw(st.sampled_from([(), (), (2,), (1, 2)]))
    seed = draw(seeds)
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, c, (n, *more))
    weight = rng.random(c) + 0.1 if draw(st.booleans()) else None
    ignore = draw(st.sampled_from([-100, 0, -1]))
    if ignore == -1:
        labels.reshape(-1)[0] = -1
    smoothing = draw(st.sampled_from([0.0, 0.0, 0.2, 1.0]))
    return normal(seed + 1, n, c, *more), labels, weight, ignore, smoothing


def cross_entropy(x, labels, weight, ignore, smoothing, reduction):
    classes = x.shape[1]
    weight = np.ones(classes) if weight is None else weight
    losses, total = np.zeros(labels.shape), 0.0
    for place in np.ndindex(labels.shape):
        label = labels[place]
        if label == ignore:
            continue
        logp = log_softmax([float(v) for v in x[(place[0], slice(None), *place[1:])]])
        losses[place] = -(1 - smoothing) * weight[label] * logp[label] \
            - smoothing / classes * math.fsum(w * v for w, v in zip(weight, logp))
        total += weight[label]
    if reduction == "mean":
        return losses.sum() / total if total else np.nan
    return losses.sum() if reduction == "sum" else losses


@given(case=classified(), reduction=reductions, dtype=dtypes)
@settings(max_examples=60)
def test_cross_entropy(case, reduction, dtype):
    x, labels, weight, ignore, smoothing = case
    x = x.astype(dtype)
    options = dict(weight=None if weight is None else mv.tensor(weight.astype(dtype)), ignore_index=ignore,
                   reduction=reduction, label_smoothing=smoothing)
    with np.errstate(invalid="ignore"):
        loss = F.cross_entropy(mv.tensor(x), mv.tensor(labels), **options)
    assert loss.dtype == np.dtype(dtype)
    assert_close(loss, cross_entropy(x, labels, weight, ignore, smoothing, reduction))


@given(case=classified(), reduction=reductions)
@settings(max_examples=20)
def test_cross_entropy_gradients(case, reduction):
    x, labels, weight, ignore, smoothing = case
    if reduction == "mean" and (labels == ignore).all():
        reduction = "sum"
    check_gradients(lambda x: F.cross_entropy(x, labels, weight, ignore, reduction, smoothing), x)


@given(case=classified(), reduction=reductions)
@settings(max_examples=20)
def test_nll_loss_of_log_softmax_is_cross_entropy(case, reduction):
    x, labels, weight, ignore, _ = case
    with np.errstate(invalid="ignore"):
        left = F.nll_loss(F.log_softmax(mv.tensor(x), 1), labels, weight, ignore, reduction)
    assert_close(left, cross_entropy(x, labels, weight, ignore, 0.0, reduction))
    if not (labels == ignore).all():
        check_gradients(lambda x: F.nll_loss(x, labels, weight, ignore, reduction), x)


def test_nll_loss_ignores_even_infinite_scores():
    x = mv.tensor([[-np.inf, 0.0], [np.log(0.5), np.log(0.5)]], requires_grad=True)
    loss = F.nll_loss(x, mv.tensor([-100, 1]), reduction="none")
    assert_close(loss, [0.0, math.log(2)])
    loss.sum().backward()
    assert_close(x.grad, [[0, 0], [0, -1]])


@given(seed=seeds, reduction=reductions, smoothing=st.sampled_from([0.0, 0.3]), weighted=st.booleans())
@settings(max_examples=15)
def test_cross_entropy_with_probabilities(seed, reduction, smoothing, weighted):
    x, p = normal(seed, 3, 4), np.abs(normal(seed + 1, 3, 4)) + 0.1
    p /= p.sum(1, keepdims=True)
    weight = np.abs(normal(seed + 2, 4)) if weighted else None
    q = p * (1 - smoothing) + smoothing / 4
    losses = -(q * along(x, 1, log_softmax) * (1 if weight is None else weight)).sum(1)
    expected = losses.sum() / 3 if reduction == "mean" else reduce(losses, reduction)
    loss = lambda x, p: F.cross_entropy(x, p, weight, reduction=reduction, label_smoothing=smoothing)
    assert_close(loss(mv.tensor(x), mv.tensor(p)), expected)
    check_gradients(loss, x, p, seed=seed)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1e2, 1e4])
def test_stable_for_large_scores(dtype, size):
    """The loss of a confident wrong answer is the score's lead; gradients are probabilities, not NaN."""
    x = mv.tensor(np.array([[size, -size, 0.0]]), dtype=dtype, requires_grad=True)
    with np.errstate(over="raise", invalid="raise"):
        assert_close(F.softmax(x, 1), [[1, 0, 0]])
        assert_close(F.log_softmax(x, 1), [[0, -2 * size, -size]])
        for label, loss, grad in ((0, 0.0, [0, 0, 0]), (1, 2 * size, [1, -1, 0]), (2, size, [1, 0, -1])):
            for extra in ({}, {"label_smoothing": 0.0, "weight": mv.ones(3, dtype=dtype)}):
                y = F.cross_entropy(x, mv.tensor([label]), **extra)
                assert_close(y, loss)
                g, = mv.grad(y, x, create_graph=True)
                assert_close(g, [grad])
                assert np.isfinite(mv.grad(g[0, 0], x)[0].numpy()).all()
        g, = mv.grad(F.softmax(x, 1)[0, 0], x)
        assert_close(g, [[0, 0, 0]])


def elements(number):
    return lambda *arrays: np.array([number(*map(float, v)) for v in zip(*(a.reshape(-1) for a in arrays))]).reshape(
        arrays[0].shape)


SIMPLE = {
    "mse_loss": (F.mse_loss, elements(lambda x, t: (x - t) ** 2)),
    "l1_loss": (F.l1_loss, elements(lambda x, t: abs(x - t))),
    "binary_cross_entropy_with_logits": (
        F.binary_cross_entropy_with_logits,
        elements(lambda x, t: -t * math.log(1 / (1 + math.exp(-x))) - (1 - t) * math.log(1 / (1 + math.exp(x))))),
}


@pytest.mark.parametrize("name", SIMPLE)
@given(shape=st.lists(st.integers(1, 3), max_size=3).map(tuple), seed=seeds, reduction=reductions, dtype=dtypes)
@settings(max_examples=15)
def test_elementwise_losses(name, shape, seed, reduction, dtype):
    loss, definition = SIMPLE[name]
    x, t = normal(seed, *shape, dtype=dtype), np.random.default_rng(seed).random(shape).astype(dtype)
    y = loss(mv.tensor(x), mv.tensor(t), reduction=reduction)
    assert y.dtype == np.dtype(dtype)
    assert_close(y, reduce(definition(x, t), reduction))
    check_gradients(lambda x, t: loss(x, t, reduction=reduction), x, t, seed=seed)


@given(seed=seeds, reduction=reductions)
@settings(max_examples=15)
def test_binary_cross_entropy_weights(seed, reduction):
    x, t = normal(seed, 2, 3), np.random.default_rng(seed).random((2, 3))
    weight, positive = np.abs(normal(seed + 1, 3)), np.abs(normal(seed + 2, 2, 1))
    p = 1 / (1 + np.exp(-x))
    expected = weight * (-positive * t * np.log(p) - (1 - t) * np.log(1 - p))
    got = F.binary_cross_entropy_with_logits(mv.tensor(x), mv.tensor(t), weight, reduction, positive)
    assert_close(got, reduce(expected, reduction))
    check_gradients(lambda x, t: F.binary_cross_entropy_with_logits(x, t, weight, reduction, positive), x, t, seed=seed)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_binary_cross_entropy_is_stable(dtype):
    x = mv.tensor([-1e4, 1e4, -1e4, 1e4], dtype=dtype, requires_grad=True)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        loss = F.binary_cross_entropy_with_logits(x, mv.tensor([0.0, 1, 1, 0], dtype=dtype), reduction="none")
        loss.sum().backward()
    assert_close(loss, [0, 0, 1e4, 1e4])
    assert_close(x.grad, [0, 0, -1, 1])


def test_l1_slope_at_equality_is_zero():
    x = mv.tensor([1.0, 2.0], requires_grad=True)
    F.l1_loss(x, mv.tensor([1.0, 3.0]), "sum").backward()
    assert x.grad.tolist() == [0, -1]


@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=5), extra=st.integers(0, 2))
@settings(max_examples=20)
def test_one_hot(labels, extra):
    classes = max(labels) + 1 + extra
    y = F.one_hot(mv.tensor(labels), classes)
    assert y.dtype == np.int64 and y.tolist() == [[int(j == v) for j in range(classes)] for v in labels]
    assert F.one_hot(mv.tensor(labels)).shape == (len(labels), max(labels) + 1)


def test_one_hot_of_any_shape():
    assert F.one_hot(mv.tensor([[0, 1], [2, 0]]), 3).shape == (2, 2, 3)
    assert F.one_hot(mv.tensor(2), 4).tolist() == [0, 0, 1, 0]
    assert F.one_hot(mv.zeros(0, dtype="int64"), 4).shape == (0, 4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(dtype):
    x, t = normal(0, 3, 4), np.array([0, 1, 3])
    for loss in (lambda x: F.cross_entropy(x, t), lambda x: F.cross_entropy(x, t, label_smoothing=0.1),
                 lambda x: F.cross_entropy(x, t, weight=np.ones(4)), lambda x: F.nll_loss(x, t),
                 lambda x: F.softmax(x, 0), lambda x: F.log_softmax(x, 0)):
        check_dtype(loss, x, dtype=dtype)
    for name in SIMPLE:
        check_dtype(SIMPLE[name][0], x, normal(1, 3, 4), dtype=dtype)


@pytest.mark.parametrize("kind", ["int32", "uint8", "int64"])
def test_labels_of_any_integer_dtype(kind):
    x = mv.tensor(normal(0, 3, 4))
    expected = F.cross_entropy(x, mv.tensor([0, 3, 1])).item()
    assert F.cross_entropy(x, np.array([0, 3, 1], kind)).item() == expected


def test_empty_batches():
    x = mv.zeros(0, 3, requires_grad=True)
    none = mv.zeros(0, dtype="int64")
    assert F.cross_entropy(x, none, reduction="none").shape == (0,)
    loss = F.cross_entropy(x, none, reduction="sum")
    assert loss.item() == 0
    loss.backward()
    assert x.grad.shape == (0, 3)


@pytest.mark.parametrize("reduction, value", [("sum", 0.0), ("none", [])])
def test_losses_of_an_empty_batch(reduction, value):
    scores, flat = mv.zeros(0, 3, requires_grad=True), mv.zeros(0, requires_grad=True)
    labels = mv.zeros(0, dtype="int64")
    for loss in (F.cross_entropy(scores, labels, reduction=reduction), F.nll_loss(scores, labels, reduction=reduction),
                 F.cross_entropy(scores, mv.zeros(0, 3), reduction=reduction), F.mse_loss(flat, flat, reduction),
                 F.l1_loss(flat, flat, reduction), F.binary_cross_entropy_with_logits(flat, flat, reduction=reduction)):
        assert loss.tolist() == value
        loss.sum().backward()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"weight": mv.tensor([1.0, 2.0, 3.0])}])
def test_the_mean_where_every_target_is_ignored_is_nan(options):
    x = mv.ones(2, 3, requires_grad=True)
    loss = F.cross_entropy(x, mv.tensor([-100, -100]), **options)
    assert np.isnan(loss.item())
    loss.backward()
    assert x.grad.tolist() == [[0, 0, 0]] * 2
