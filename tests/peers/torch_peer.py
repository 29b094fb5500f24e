"""How the tests of this folder hold one function of minivision against the same function of PyTorch."""

import numpy as np
import pytest

import minivision as mv

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

TOLERANCE = {"float64": 1e-10, "float32": 1e-5}


def close(ours, theirs, dtype, what, factor=1.0):
    """Equal within the dtype's tolerance of the largest magnitude (at least 1); NaN and infinities in the same places."""
    ours = ours.numpy() if isinstance(ours, mv.Tensor) else np.asarray(ours)
    theirs = theirs.detach().numpy(force=True) if isinstance(theirs, torch.Tensor) else np.asarray(theirs)
    assert ours.shape == theirs.shape, f"{what}: shape {ours.shape}, PyTorch has {theirs.shape}"
    finite = np.abs(theirs[np.isfinite(theirs)])
    scale = max(1.0, float(finite.max())) if finite.size else 1.0
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE[dtype] * scale * factor, err_msg=what)


def compare(ours, theirs, *arrays, dtype="float64", order=2, seed=0, factor=1.0):
    """Values, gradients and (``order=2``) second gradients of ``ours(*Tensors)`` and ``theirs(*torch tensors)``.

    The second gradient is that of a random combination of the first ones, towards every input.
    """
    rng = np.random.default_rng(seed)
    arrays = [np.asarray(a, dtype) for a in arrays]
    a = [mv.tensor(x, requires_grad=True) for x in arrays]
    b = [torch.tensor(x, requires_grad=True) for x in arrays]
    with np.errstate(all="ignore"):
        y, z = ours(*a), theirs(*b)
        assert str(z.dtype) == f"torch.{y.dtype}", f"result is {y.dtype}, PyTorch's {z.dtype}"
        close(y, z, dtype, "value", factor)
        if order == 0 or not z.requires_grad:
            return
        upstream = rng.standard_normal(y.shape).astype(dtype)
        g = mv.grad(y, a, mv.tensor(upstream), create_graph=order > 1)
        h = torch.autograd.grad(z, b, torch.tensor(upstream), create_graph=order > 1)
        for i, (p, q) in enumerate(zip(g, h)):
            assert p.dtype == np.dtype(dtype)
            close(p, q, dtype, f"gradient of input {i}", factor)
        if order < 2 or not any(q.requires_grad for q in h):
            return
        weights = [rng.standard_normal(x.shape).astype(dtype) for x in arrays]
        s = sum((p * mv.tensor(w)).sum() for p, w in zip(g, weights))
        t = sum((q * torch.tensor(w)).sum() for q, w in zip(h, weights))
        second = torch.autograd.grad(t, b, allow_unused=True)
        for i, (x, q) in enumerate(zip(a, second)):
            try:
                p, = mv.grad(s, x, retain_graph=True)
            except mv.GraphError:
                p = mv.zeros(x.shape, dtype=dtype)
            close(p, torch.zeros(x.shape) if q is None else q, dtype, f"second gradient of input {i}", 10 * factor)
