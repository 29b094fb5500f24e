"""Every rung held against PyTorch on random shapes."""

import itertools

import numpy as np
import pytest

import minivision_kernels as mk

torch = pytest.importorskip("torch")
F = torch.nn.functional

TOLERANCE = {np.float64: 1e-10, np.float32: 1e-5}       # relative to the largest number of the result
CASES = 60
RNG_SEEDS = range(CASES)


def close(got, expected, dtype):
    expected = expected.detach().numpy()
    assert got.dtype == dtype and got.shape == expected.shape
    scale = max(1.0, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[dtype] * scale)


def rungs(*names):
    return [rung for op in names for rung in mk.ladder(op) if rung.device == "cpu" and rung.exact]


def pair(rng, low, high):
    return tuple(int(v) for v in rng.integers(low, high + 1, 2))


dtypes = pytest.mark.parametrize("dtype", TOLERANCE)


@dtypes
@pytest.mark.parametrize("seed", RNG_SEEDS)
def test_conv(seed, dtype):
    rng = np.random.default_rng(seed)
    groups, depthwise = int(rng.integers(1, 5)), seed % 4 == 0
    window, stride, padding, dilation = pair(rng, 1, 5), pair(rng, 1, 4), pair(rng, 0, 5), pair(rng, 1, 3)
    H, W = (
        int(max(rng.integers(1, 20), d * (k - 1) + 1 - 2 * p)) for k, d, p in zip(window, dilation, padding))
    N, C, K = int(rng.integers(0, 6)), groups * (1 if depthwise else int(rng.integers(1, 5))), int(rng.integers(1, 5)) * groups
    x, w = (rng.standard_normal(s).astype(dtype) for s in ((N, C, H, W), (K, C // groups, *window)))
    tx, tw = (torch.tensor(a, requires_grad=True) for a in (x, w))
    ty = F.conv2d(tx, tw, None, stride, padding, dilation, groups)
    g = rng.standard_normal(tuple(ty.shape)).astype(dtype)
    ty.backward(torch.tensor(g))
    geometry = stride, padding, dilation, groups
    for op, args, expected in (("conv2d_forward", (x, w), ty), ("conv2d_input", (g, w, x.shape), tx.grad),
                               ("conv2d_weight", (x, g, w.shape), tw.grad)):
        for rung in rungs(op):
            if rung.accepts is None or rung.accepts(*args, *geometry):
                close(rung(*args, *geometry), expected, dtype)


@pytest.mark.parametrize(("taps", "stride"), [(3, 1), (5, 1), (3, 2), (4, 2), (5, 2)])
@pytest.mark.parametrize("seed", RNG_SEEDS[:8])
def test_winograd(seed, taps, stride):
    """In float64 as close as any; in float32 within 1e-4 of the spread of the results, from small patches 1e-5."""
    rng = np.random.default_rng(seed)
    N, C, K, padding = int(rng.integers(1, 4)), int(rng.integers(1, 70)), int(rng.integers(1, 40)), pair(rng, 0, taps - 1)
    if stride == 2:
        padding = ((taps - 1) // 2,) * 2
    H, W = pair(rng, taps, 40)
    x, w = rng.standard_normal((N, C, H, W)), rng.standard_normal((K, C, taps, taps))
    tx, tw = (torch.tensor(a, requires_grad=True) for a in (x, w))
    ty = F.conv2d(tx, tw, None, stride, padding)
    g = rng.standard_normal(tuple(ty.shape))
    ty.backward(torch.tensor(g))
    calls = (("conv2d_forward", (x, w), ty.detach().numpy()), ("conv2d_input", (g, w, x.shape), tx.grad.numpy()),
             ("conv2d_weight", (x, g, w.shape), tw.grad.numpy()))
    for op, args, expected in calls if stride == 1 else calls[:2]:
        names = ["winograd"] if stride == 2 else ["winograd", "winograd_amx", *["winograd2"] * (taps == 3)]
        rungs = [rung for rung in mk.ladder(op) if rung.name in names]
        for rung, dtype in itertools.product(rungs, (np.float64, np.float32)):
            bound = 1e-12 if dtype is np.float64 else 1e-5 if rung.exact else 1e-4
            cast = [a.astype(dtype) if isinstance(a, np.ndarray) else a for a in args]
            got = rung(*cast, (stride, stride), padding, (1, 1), 1)
            assert np.abs(got - expected).max() <= bound * expected.std()


@pytest.mark.parametrize("name", ["winograd", "winograd_amx"])
@pytest.mark.parametrize("taps", [3, 5])
def test_winograd_of_many_patches(taps, name):
    """Sums over thousands of patches are no less accurate than those over a few."""
    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal((8, channels, 56, 56)).astype(np.float32) for channels in (24, 40))
    w = torch.zeros((40, 24, taps, taps), dtype=torch.float64, requires_grad=True)
    F.conv2d(torch.tensor(x, dtype=torch.float64), w, None, 1, taps // 2).backward(torch.tensor(g, dtype=torch.float64))
    rung = next(rung for rung in mk.ladder("conv2d_weight") if rung.name == name)
    got = rung(x, g, tuple(w.shape), (1, 1), (taps // 2,) * 2, (1, 1), 1)
    assert np.abs(got - w.grad.numpy()).max() <= 1e-4 * w.grad.numpy().std()


@dtypes
@pytest.mark.parametrize("seed", RNG_SEEDS)
def test_pool(seed, dtype):
    rng = np.random.default_rng(seed)
    window, stride, dilation = pair(rng, 1, 5), pair(rng, 1, 4), pair(rng, 1, 2)
    padding = tuple(int(rng.integers(0, k // 2 + 1)) for k in window)
    ceil_mode, include_pad, divisor = bool(rng.integers(2)), bool(rng.integers(2)), [None, 3][rng.integers(2)]
    shape = int(rng.integers(1, 4)), int(rng.integers(1, 4)), *pair(rng, 9, 20)
    x = rng.integers(-3, 4, shape).astype(dtype)            # with ties
    x[rng.random(shape) < 0.05] = np.nan
    tx = torch.tensor(x, requires_grad=True)
    ty, places = F.max_pool2d(tx, window, stride, padding, dilation, ceil_mode, return_indices=True)
    g = rng.standard_normal(tuple(ty.shape)).astype(dtype)
    ty.backward(torch.tensor(g))
    for rung in rungs("max_pool2d_forward"):
        y, index = rung(x, window, stride, padding, dilation, ceil_mode)
        np.testing.assert_array_equal(y, ty.detach().numpy())
        np.testing.assert_array_equal(index, places.numpy())
    for rung in rungs("max_pool2d_backward"):
        close(rung(g, index, shape, window, stride, padding, dilation), tx.grad, dtype)

    x = rng.standard_normal(shape).astype(dtype)
    tx = torch.tensor(x, requires_grad=True)
    ty = F.avg_pool2d(tx, window, stride, padding, ceil_mode, include_pad, divisor)
    g = rng.standard_normal(tuple(ty.shape)).astype(dtype)
    ty.backward(torch.tensor(g))
    for rung in rungs("avg_pool2d_forward"):
        close(rung(x, window, stride, padding, ceil_mode, include_pad, divisor), ty, dtype)
    for rung in rungs("avg_pool2d_backward"):
        close(rung(g, shape, window, stride, padding, ceil_mode, include_pad, divisor), tx.grad, dtype)


@dtypes
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_cross_entropy(scale, dtype):
    rng = np.random.default_rng(0)
    logits, labels = (scale * rng.standard_normal((40, 17))).astype(dtype), rng.integers(0, 17, 40)
    tensor = torch.tensor(logits, requires_grad=True)
    losses = F.cross_entropy(tensor, torch.tensor(labels), reduction="none")
    g = rng.standard_normal(40).astype(dtype)
    losses.backward(torch.tensor(g))
    for rung in rungs("cross_entropy_forward"):
        close(rung(logits, labels), losses, dtype)
    for rung in rungs("cross_entropy_backward"):
        close(rung(logits, labels, g), tensor.grad, dtype)


@dtypes
@pytest.mark.parametrize("shape", [(1, 400, 120), (33, 70, 41)])
def test_linear(shape, dtype):
    N, I, O = shape
    rng = np.random.default_rng(0)
    x, w, g = (rng.standard_normal(s).astype(dtype) for s in ((N, I), (O, I), (N, O)))
    tx, tw = (torch.tensor(a, requires_grad=True) for a in (x, w))
    y = F.linear(tx, tw)
    y.backward(torch.tensor(g))
    for op, args, expected in (
        ("linear_forward", (x, w), y), ("linear_input", (g, w), tx.grad), ("linear_weight", (g, x), tw.grad),
    ):
        for rung in rungs(op):
            close(rung(*args), expected, dtype)


@dtypes
@pytest.mark.parametrize("options", [
    {}, {"momentum": 0.9}, {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
], ids=str)
def test_sgd(options, dtype):
    rng = np.random.default_rng(0)
    start, grads = rng.standard_normal((5, 7)).astype(dtype), rng.standard_normal((4, 5, 7)).astype(dtype)
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimiser = torch.optim.SGD([parameter], lr=0.1, **options)
    for grad in grads:
        parameter.grad = torch.tensor(grad)
        optimiser.step()
    given = {"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False, **options}
    for rung in rungs("sgd_update"):
        param, velocity = start.copy(), np.zeros_like(start) if given["momentum"] else None
        for step, grad in enumerate(grads):
            rung(param, grad, velocity, lr=0.1, first=step == 0, **given)
        close(param, parameter, dtype)


@dtypes
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_adam(weight_decay, dtype):
    rng = np.random.default_rng(0)
    start, grads = rng.standard_normal((50, 7)).astype(dtype), rng.standard_normal((4, 50, 7)).astype(dtype)
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimiser = torch.optim.Adam([parameter], lr=0.1, betas=(0.8, 0.95), eps=1e-6, weight_decay=weight_decay)
    for grad in grads:
        parameter.grad = torch.tensor(grad)
        optimiser.step()
    for rung in rungs("adam_update"):
        param, m, v = start.copy(), np.zeros_like(start), np.zeros_like(start)
        for step, grad in enumerate(grads, start=1):
            rung(param, grad, m, v, lr=0.1, beta1=0.8, beta2=0.95, eps=1e-6, weight_decay=weight_decay, step=step)
        close(param, parameter, dtype)


@dtypes
@pytest.mark.parametrize("shape", [(6, 4), (3, 5, 11), (4, 3, 9, 10), (2, 6, 40, 40)])
def test_batch_norm(shape, dtype):
    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal(shape).astype(dtype) + dtype(2) for _ in range(2))
    weight, bias = (rng.standard_normal(shape[1]).astype(dtype) for _ in range(2))
    tx, tw, tb = (torch.tensor(a, requires_grad=True) for a in (x, weight, bias))
    ty = F.batch_norm(tx, None, None, tw, tb, training=True, eps=1e-3)
    ty.backward(torch.tensor(g))
    for forward, backward in zip(rungs("batch_norm_forward"), rungs("batch_norm_backward")):
        y, mean, var = forward(x, weight, bias, 1e-3)
        close(y, ty, dtype)
        for got, expected in zip(backward(g, x, weight, mean, var, 1e-3), (tx.grad, tw.grad, tb.grad)):
            close(got, expected, dtype)
