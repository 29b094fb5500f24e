"""Graphs of launches: captured once, replayed with new values in the same arrays."""

import numpy as np
import pytest

import minivision as mv
from minivision import functional as F
from minivision import graph

X = np.random.default_rng(0).standard_normal((2, 1, 6, 6)).astype(np.float32)


def test_a_replay_computes_anew(device):
    x = mv.tensor(X, device=device, requires_grad=True)
    calls = []

    def step():
        calls.append(1)
        x.grad = None
        y = F.max_pool2d(mv.relu(x), 2)
        y.backward(mv.ones_like(y))
        return y

    captured = graph.capture(step)
    assert len(calls) == 3                          # two to warm up, one to be written down
    for scale in (1, -2, 3):
        with mv.no_grad():
            x.data[...] = mv.tensor(scale * X, device=device).data
        y = captured.replay()
        assert y is captured.result and len(calls) == 3
        expected = mv.tensor(scale * X, requires_grad=True)
        out = F.max_pool2d(mv.relu(expected), 2)
        out.backward(mv.ones_like(out))
        np.testing.assert_array_equal(y.numpy(), out.numpy())
        np.testing.assert_array_equal(x.grad.numpy(), expected.grad.numpy())


def test_what_waits_for_the_device_cannot_be_captured(device):
    x = mv.tensor(X, device=device)
    with pytest.raises(RuntimeError, match=r"cannot be captured: .*must not wait for the GPU, read from it"):
        graph.capture(lambda: mv.relu(x).sum().item())
    captured = graph.capture(lambda: mv.relu(x))    # the failure has left nothing behind
    np.testing.assert_array_equal(captured.replay().numpy(), np.maximum(X, 0))


def test_labels_are_not_looked_at_in_a_capture(device):
    scores, labels = mv.tensor(np.zeros((2, 3), np.float32), device=device), mv.tensor([0, 2], device=device)
    captured = graph.capture(lambda: F.cross_entropy(scores, labels, reduction="none"))
    np.testing.assert_allclose(captured.replay().numpy(), np.log([3, 3]), rtol=1e-6)
    labels.data[...] = mv.tensor([1, 3], device=device).data
    np.testing.assert_allclose(captured.replay().numpy(), [np.log(3), np.nan], rtol=1e-6)


def test_kernels_are_compiled_before_a_capture(device):
    with pytest.raises(ValueError, match="warm_up is 0, expected at least 1"):
        graph.capture(lambda: None, warm_up=0)
