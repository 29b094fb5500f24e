"""No two gradients share memory, and none shares memory with a tensor's data or with the upstream gradient."""

import itertools

import numpy as np
import pytest
from oracle import distinct

import minivision as mv
from minivision import functional as F

OPS = {
    "add": (2, lambda a, b: a + b),
    "add itself": (1, lambda a: a + a),
    "sub": (2, lambda a, b: a - b),
    "mul": (2, lambda a, b: a * b),
    "neg": (1, lambda a: -a),
    "clone": (1, lambda a: a.clone()),
    "identity by reshape": (1, lambda a: a.reshape(a.shape)),
    "reshape": (1, lambda a: a.reshape(-1)),
    "flatten": (1, lambda a: a.flatten()),
    "permute": (1, lambda a: a.permute(1, 0)),
    "transpose": (1, lambda a: a.T),
    "squeeze": (1, lambda a: a.unsqueeze(0).squeeze(0)),
    "sum": (1, lambda a: a.sum()),
    "sum over one axis": (1, lambda a: a.sum(0)),
    "mean": (1, lambda a: a.mean()),
    "max": (1, lambda a: a.max()),
    "broadcast_to": (1, lambda a: a.broadcast_to(2, 3, 4)),
    "broadcast_to the same shape": (1, lambda a: a.broadcast_to(3, 4)),
    "broadcast add": (2, lambda a, b: a + b[0]),
    "cat": (2, lambda a, b: mv.cat([a, b])),
    "cat of one": (1, lambda a: mv.cat([a])),
    "cat with itself": (1, lambda a: mv.cat([a, a])),
    "stack": (2, lambda a, b: mv.stack([a, b])),
    "getitem": (1, lambda a: a[1:]),
    "getitem all": (1, lambda a: a[...]),
    "flip": (1, lambda a: a.flip(0)),
    "pad": (1, lambda a: F.pad(a, (1, 1))),
    "pad nothing": (1, lambda a: F.pad(a, (0, 0))),
    "where": (2, lambda a, b: mv.where(a > 0, a, b)),
    "maximum": (2, mv.maximum),
    "relu": (1, mv.relu),
    "exp": (1, mv.exp),
    "softmax": (1, lambda a: F.softmax(a, 0)),
    "matmul": (2, lambda a, b: a @ b.T),
    "linear": (2, F.linear),
    "dropout in evaluation": (1, lambda a: F.dropout(a, training=False)),
    "sum of three": (3, lambda a, b, c: a + b + c),
}


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("how", ["backward", "grad", "create_graph"])
def test_gradients_own_their_memory(name, how):
    count, op = OPS[name]
    leaves = [mv.tensor(distinct(i, 3, 4), requires_grad=True) for i in range(count)]
    y = op(*leaves)
    upstream = mv.Tensor(distinct(9, *y.shape))
    if how == "backward":
        y.backward(upstream)
        grads = [t.grad for t in leaves]
    else:
        grads = mv.grad(y, leaves, upstream, create_graph=how == "create_graph")
    arrays = [("upstream", upstream)] + [(f"gradient {i}", g) for i, g in enumerate(grads)] \
        + [(f"input {i}", t) for i, t in enumerate(leaves)]
    for (a, s), (b, t) in itertools.combinations(arrays, 2):
        assert not np.shares_memory(s.numpy(), t.numpy()), f"{a} and {b} share memory"
    if how == "backward":
        for g in grads:                                    # each can be changed without changing another
            g.data[...] = 0
        assert upstream.numpy().any()


def test_weight_decay_written_by_hand():
    """a.grad += 0.1 * a must not change b.grad. Where c = a + b leaves one array in both, it does."""
    a, b = mv.tensor(1.0, requires_grad=True), mv.tensor(5.0, requires_grad=True)
    (a + b).backward()
    assert a.grad is not b.grad
    for t in (a, b):
        t.grad.data += np.float32(0.1) * t.data
    assert (a.grad.item(), b.grad.item()) == (pytest.approx(1.1), pytest.approx(1.5))


def test_accumulated_gradient_is_new():
    x = mv.tensor([1.0, 2.0], requires_grad=True)
    x.sum().backward()
    first = x.grad
    x.sum().backward()
    assert first.tolist() == [1, 1] and x.grad.tolist() == [2, 2]


def test_grads_can_be_written():
    x = mv.tensor([[1.0, 2.0]], requires_grad=True)
    x.broadcast_to(3, 2).sum().backward()
    x.grad.data[0, 0] = 7
    assert x.grad.tolist() == [[7, 3]]


def test_results_that_are_views_share_memory_forward():
    """reshape and slices do not copy; detach and numpy() neither. clone and tensor() do."""
    x = mv.tensor(np.arange(6.0))
    for view in (x.reshape(2, 3), x[1:], x.detach(), x.reshape(2, 3).T):
        assert np.shares_memory(view.numpy(), x.numpy())
    for copy in (x.clone(), mv.tensor(x), x + 0):
        assert not np.shares_memory(copy.numpy(), x.numpy())


def test_tensor_copies_and_wrapping_does_not():
    array = np.zeros(3)
    assert not np.shares_memory(mv.tensor(array).numpy(), array)
    assert np.shares_memory(mv.Tensor(array).numpy(), array)
