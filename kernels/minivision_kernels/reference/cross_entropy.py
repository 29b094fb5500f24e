"""Cross entropy of class scores, and its gradient."""

from __future__ import annotations

import numpy as np

from minivision_kernels.ladder import rung


@rung("cross_entropy_forward", name="numpy", device="cpu")
def cross_entropy_forward(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The loss of each row: logits (N, C) and labels (N,), int64 in [0, C), give losses (N,).

    loss = -log softmax(logits)[label] = log(sum over c of exp(logit_c)) - logit_label. Subtracting the largest logit
    from all first changes nothing on paper and keeps exp from overflowing.
    """
    shifted = logits - logits.max(axis=1, keepdims=True, initial=-np.inf)
    return np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]


@rung("cross_entropy_backward", name="numpy", device="cpu")
def cross_entropy_backward(logits: np.ndarray, labels: np.ndarray, g: np.ndarray) -> np.ndarray:
    """The gradient to the logits (N, C), from the upstream g (N,): (softmax(logits) - one_hot(labels)) * g."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    difference = exponentials / exponentials.sum(axis=1, keepdims=True)
    difference[np.arange(len(labels)), labels] -= 1
    return difference * g[:, None]
