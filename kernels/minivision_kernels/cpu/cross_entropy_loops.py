"""Cross entropy, one row of logits at a time."""

from __future__ import annotations

import math

import numpy as np

from minivision_kernels.cpu.compile import In1, In2, IntIn1, Out1, Out2, compiled, contiguous, floats, helper
from minivision_kernels.ladder import rung


@rung("cross_entropy_forward", name="loops", device="cpu", accepts=floats)
def cross_entropy_forward(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Each row is read twice, for its maximum and for its sum; NumPy writes two arrays as large as the logits.

    For a few classes that decides. With hundreds the exponentials do, and NumPy's, which are vectorised, win.
    """
    losses = np.empty(len(logits), logits.dtype)
    _forward(contiguous(logits), contiguous(labels), losses)
    return losses


@rung("cross_entropy_backward", name="loops", device="cpu", accepts=floats)
def cross_entropy_backward(logits: np.ndarray, labels: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Each row is finished while it is in the cache, with no array but the result."""
    gradient = np.empty(logits.shape, logits.dtype)
    _backward(contiguous(logits), contiguous(labels), contiguous(g), gradient)
    return gradient


@compiled
def _forward(logits: In2, labels: IntIn1, losses: Out1):
    for n in range(logits.shape[0]):
        losses[n] = row_loss(logits[n], labels[n])


@compiled
def _backward(logits: In2, labels: IntIn1, g: In1, gradient: Out2):
    for n in range(logits.shape[0]):
        row_gradient(logits[n], labels[n], g[n], gradient[n])


@helper
def row_loss(row, label):
    """log(sum of exp(row)) - row[label], both measured from the largest logit; NaN if there is no such class."""
    if label < 0 or label >= row.shape[0]:
        return row.dtype.type(math.nan)
    top = largest(row)
    total = row.dtype.type(0)
    for c in range(row.shape[0]):
        total += math.exp(row[c] - top)
    return math.log(total) - (row[label] - top)


@helper
def row_gradient(row, label, g, gradient):
    """gradient = (softmax(row) - one_hot(label)) * g; NaN if there is no such class."""
    if label < 0 or label >= row.shape[0]:
        gradient[:] = math.nan
        return
    top = largest(row)
    total = row.dtype.type(0)
    for c in range(row.shape[0]):
        gradient[c] = math.exp(row[c] - top)
        total += gradient[c]
    for c in range(row.shape[0]):
        gradient[c] = gradient[c] / total
    gradient[label] -= row.dtype.type(1)
    for c in range(row.shape[0]):
        gradient[c] *= g


@helper
def largest(row):
    top = row.dtype.type(-math.inf)
    for c in range(row.shape[0]):
        if row[c] > top or row[c] != row[c]:            # NaN stays on top, and with it the loss
            top = row[c]
    return top
