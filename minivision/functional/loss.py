"""Softmax and the losses. All are safe for scores of any size."""

from __future__ import annotations

from typing import Any

import numpy as np

from minivision_kernels import array_module

from ..ops import loss as ops
from ..ops import reduce as reduce_ops
from ..ops.elementwise import Where
from ..tensor import Tensor
from . import checks
from .elementwise import softplus

REDUCTIONS = ("mean", "sum", "none")


def softmax(input: Any, dim: int) -> Tensor:
    """exp(x) / sum(exp(x)) along ``dim``: scores to probabilities."""
    x = checks.tensor(input, "softmax")
    return ops.Softmax.apply(x, axis=checks.axis(dim, x.ndim, "softmax")) if x.ndim else x * 0.0 + 1.0


def log_softmax(input: Any, dim: int) -> Tensor:
    """log(softmax(x)) along ``dim``, without the loss of accuracy that taking the log afterwards would bring."""
    x = checks.tensor(input, "log_softmax")
    return ops.LogSoftmax.apply(x, axis=checks.axis(dim, x.ndim, "log_softmax")) if x.ndim else x * 0.0


def cross_entropy(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean",
                  label_smoothing: float = 0.0) -> Tensor:
    """-log softmax(scores)[label], averaged: the usual loss of a classifier.

    Args:
        input: scores (N, C) or (N, C, d1, ...), any size.
        target: whole-number labels (N,) or (N, d1, ...) in 0 .. C - 1; or probabilities in the shape of ``input``. Labels
            may stay on the CPU while the scores are on a GPU: they are checked there, and nobody waits for the GPU.
        weight: (C,) or None, how much each class counts; the mean is then weighted.
        ignore_index: targets with this label do not count.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        label_smoothing: in 0 .. 1, the share of the target that is spread evenly over all classes.
    """
    name = "cross_entropy"
    x = checks.floating(_scores(input, name), name)
    _reduction(reduction, x, name)
    checks.share(label_smoothing, name, "label_smoothing")
    given = target if isinstance(target, Tensor) else Tensor(target)
    if given.dtype.kind == "f" and given.shape == x.shape:
        return _soft_cross_entropy(x, given, weight, reduction, label_smoothing)
    classes = x.shape[1]
    labels, ignored = checks.labels(given, name, classes, (x.shape[0],) + x.shape[2:], x, ignore_index)
    if weight is None and label_smoothing == 0.0 and x.ndim == 2 and not ignored:
        return _reduce(ops.CrossEntropy.apply(x, labels=labels), reduction)
    logp = log_softmax(x, 1)
    if label_smoothing == 0.0:
        return nll_loss(logp, Tensor(labels), weight, ignore_index, reduction)
    hard = nll_loss(logp, Tensor(labels), weight, ignore_index, "none")
    counted = labels != ignore_index
    column = 1.0 if weight is None else _class_weights(weight, classes, x, name).reshape((1, -1) + (1,) * (x.ndim - 2))
    spread = -(logp * column).sum(1) * Tensor(counted.astype(x.dtype))
    mixed = hard * (1.0 - label_smoothing) + spread * (label_smoothing / classes)
    if reduction != "mean":
        return _reduce(mixed, reduction)
    return _mean(mixed, _total_weight(labels, counted, weight, x))


def _soft_cross_entropy(x: Tensor, target: Tensor, weight: Any, reduction: str, smoothing: float) -> Tensor:
    if smoothing:
        target = target * (1.0 - smoothing) + smoothing / x.shape[1]
    logp = log_softmax(x, 1)
    if weight is not None:
        logp = logp * _class_weights(weight, x.shape[1], x, "cross_entropy").reshape((1, -1) + (1,) * (x.ndim - 2))
    return _reduce(-(target * logp).sum(1), reduction)


def nll_loss(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Tensor:
    """-input[label] for log-probabilities (N, C) or (N, C, d1, ...); arguments as in `cross_entropy`."""
    name = "nll_loss"
    x = checks.floating(_scores(input, name), name)
    _reduction(reduction, x, name)
    classes = x.shape[1]
    labels, ignored = checks.labels(target, name, classes, (x.shape[0],) + x.shape[2:], x, ignore_index)
    counted = labels != ignore_index
    xp = array_module(x._data)
    safe = xp.where(counted, labels, 0)
    share = counted.astype(x.dtype)
    if weight is not None:
        share = share * _class_weights(weight, classes, x, name)._data[safe]
    picked = reduce_ops.TakeAlong.apply(x, index=xp.expand_dims(safe, 1), axis=1).squeeze(1)
    if ignored:
        picked = Where.apply(picked, 0.0, condition=counted)     # 0 * inf would be nan
    losses = -picked * Tensor(share)
    if reduction != "mean":
        return _reduce(losses, reduction)
    return _mean(losses, _total_weight(labels, counted, weight, x))


def _scores(input: Any, name: str) -> Tensor:
    x = checks.tensor(input, name)
    if x.ndim < 2:
        raise ValueError(f"{name}: input has shape {x.shape}, expected (N, C) or (N, C, d1, ...)")
    if x.shape[1] < 1:
        raise ValueError(f"{name}: input has shape {x.shape} with no classes, expected C >= 1")
    return x


def _class_weights(weight: Any, classes: int, x: Tensor, name: str) -> Tensor:
    w = checks.tensor(weight, name)
    if w.shape != (classes,):
        raise ValueError(f"{name}: weight has shape {w.shape}, expected ({classes},), one number for each class")
    return w.to(dtype=x.dtype)


def _total_weight(labels: Any, counted: Any, weight: Any, x: Tensor) -> float:
    if weight is None:
        return float(counted.sum())
    w = _class_weights(weight, x.shape[1], x, "cross_entropy")._data
    return float(w[labels[counted]].sum())


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """(x - t)²."""
    x, t = _same_shape(input, target, "mse_loss", reduction)
    return _reduce((x - t) ** 2, reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """|x - t|, with slope 0 where they are equal."""
    x, t = _same_shape(input, target, "l1_loss", reduction)
    return _reduce((x - t).abs(), reduction)


def binary_cross_entropy_with_logits(input: Any, target: Any, weight: Any = None, reduction: str = "mean",
                                     pos_weight: Any = None) -> Tensor:
    """-(t log p + (1 - t) log(1 - p)) with p = sigmoid(x), for scores of any size.

    Args:
        input: scores, any shape.
        target: in 0 .. 1, the same shape.
        weight: how much each element counts, broadcast to the shape; None for 1.
        pos_weight: how much more a positive counts, broadcast to the shape; None for 1.
    """
    x, t = _same_shape(input, target, "binary_cross_entropy_with_logits", reduction)
    # log(1 + exp(-x)) is what a positive pays; a negative pays x more.
    pays = softplus(-x)
    if pos_weight is not None:
        pays = pays * (1.0 + (checks.tensor(pos_weight, "pos_weight") - 1.0) * t)
    losses = (1.0 - t) * x + pays
    return _reduce(losses if weight is None else losses * weight, reduction)


def _same_shape(input: Any, target: Any, name: str, reduction: str) -> tuple[Tensor, Tensor]:
    x, t = checks.floating(checks.tensor(input, name), name), checks.tensor(target, name)
    if x.shape != t.shape:
        raise ValueError(f"{name}: input has shape {x.shape} and target {t.shape}; expected the same shape")
    _reduction(reduction, x, name)
    return x, t


def _reduction(reduction: str, x: Tensor, name: str) -> None:
    checks.chosen(reduction, REDUCTIONS, f"{name}: reduction")
    if reduction == "mean" and x.size == 0:
        raise ValueError(f"{name}: the batch is empty, so it has no mean; leave it out, or use reduction='sum'")


def _reduce(losses: Tensor, reduction: str) -> Tensor:
    return losses.mean() if reduction == "mean" else losses.sum() if reduction == "sum" else losses


def _mean(losses: Tensor, weight: float) -> Tensor:
    """The sum over the total weight; nan without slope where nothing counts, since every target is ignored."""
    return losses.sum() / weight if weight else losses.sum() + float("nan")


def one_hot(tensor: Any, num_classes: int = -1) -> Tensor:
    """Whole numbers (...) to int64 vectors (..., num_classes) with a single 1; -1 counts the classes itself."""
    t = checks.tensor(tensor, "one_hot")
    if t.dtype.kind not in "iu":
        raise TypeError(f"one_hot: tensor is {t.dtype}, expected whole-number labels")
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or (num_classes < 1 and num_classes != -1):
        raise ValueError(f"one_hot: got num_classes={num_classes!r}, expected a whole number >= 1, or -1 to count them")
    if t.size == 0 and num_classes == -1:
        raise ValueError("one_hot: cannot count the classes of an empty tensor; give num_classes")
    xp = array_module(t._data)
    count = int(t._data.max()) + 1 if num_classes == -1 else num_classes
    labels, _ = checks.labels(t, "one_hot", count, t.shape, t)
    return Tensor((labels[..., None] == xp.arange(count)).astype(np.int64))
