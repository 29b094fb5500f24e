"""Cross entropy, the rows shared between threads."""

from __future__ import annotations

import numpy as np

from minivision_kernels.cpu.compile import In1, In2, IntIn1, Out1, Out2, Team, compiled, contiguous, floats, prange
from minivision_kernels.cpu.cross_entropy_loops import row_gradient, row_loss
from minivision_kernels.ladder import rung

EXP = 8             # an exponential costs about as much as this many multiply-adds


@rung("cross_entropy_forward", name="parallel", device="cpu", accepts=floats)
def cross_entropy_forward(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The rows are shared between the threads; most of the time goes into exponentials, which double with the cores."""
    losses = np.empty(len(logits), logits.dtype)
    _forward(contiguous(logits), contiguous(labels), losses, work=EXP * logits.size)
    return losses


@rung("cross_entropy_backward", name="parallel", device="cpu", accepts=floats)
def cross_entropy_backward(logits: np.ndarray, labels: np.ndarray, g: np.ndarray) -> np.ndarray:
    """The rows are shared between the threads."""
    gradient = np.empty(logits.shape, logits.dtype)
    _backward(contiguous(logits), contiguous(labels), contiguous(g), gradient, work=EXP * logits.size)
    return gradient


@compiled
def _forward(logits: In2, labels: IntIn1, losses: Out1, team: Team):
    for n in prange(logits.shape[0], team):
        losses[n] = row_loss(logits[n], labels[n])


@compiled
def _backward(logits: In2, labels: IntIn1, g: In1, gradient: Out2, team: Team):
    for n in prange(logits.shape[0], team):
        row_gradient(logits[n], labels[n], g[n], gradient[n])
