"""Every function of minivision.functional and every Tensor method, against PyTorch: values, gradients, second gradients."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from oracle import broadcastable, distinct, dtypes, full_shapes, normal, seeds, shape_and_dim
from torch_peer import compare, torch

import minivision as mv
from minivision import functional as F

T = torch.nn.functional
examples = settings(max_examples=12, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


def away(seed, *shape):
    """Normal numbers that keep clear of 0 and of each other's neighbourhood."""
    x = normal(seed, *shape)
    return np.where(np.abs(x) < 0.05, x + 0.2, x)


UNARY = {
    "exp": (mv.exp, torch.exp, None), "log": (mv.log, torch.log, np.abs), "sqrt": (mv.sqrt, torch.sqrt, np.abs),
    "abs": (mv.abs, torch.abs, None), "tanh": (mv.tanh, torch.tanh, None), "sigmoid": (mv.sigmoid, torch.sigmoid, None),
    "relu": (F.relu, T.relu, None), "sin": (mv.sin, torch.sin, None), "cos": (mv.cos, torch.cos, None),
    "softplus": (F.softplus, T.softplus, None), "neg": (lambda x: -x, lambda x: -x, None),
    "leaky_relu": (F.leaky_relu, T.leaky_relu, None),
    "leaky_relu 0.3": (lambda x: F.leaky_relu(x, 0.3), lambda x: T.leaky_relu(x, 0.3), None),
    "clip": (lambda x: x.clip(-0.5, 0.75), lambda x: x.clip(-0.5, 0.75), None),
    "clip below": (lambda x: x.clip(min=0.3), lambda x: x.clip(min=0.3), None),
    "square": (lambda x: x ** 2, lambda x: x ** 2, None), "inverse": (lambda x: x ** -1.0, lambda x: x ** -1.0, np.abs),
    "root": (lambda x: x ** 0.5, lambda x: x ** 0.5, np.abs), "3 ** x": (lambda x: 3.0 ** x, lambda x: 3.0 ** x, None),
    "sum": (lambda x: x.sum(), lambda x: x.sum(), None), "mean": (lambda x: x.mean(), lambda x: x.mean(), None),
}
BINARY = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "div": lambda a, b: a / b,
}


@pytest.mark.parametrize("name", UNARY)
@given(seed=seeds, shape=full_shapes, dtype=dtypes)
@examples
def test_unary(name, seed, shape, dtype):
    ours, theirs, bring = UNARY[name]
    x = away(seed, *shape)
    compare(ours, theirs, x if bring is None else bring(x) + 0.1, dtype=dtype, seed=seed)


@pytest.mark.parametrize("name", BINARY)
@given(seed=seeds, shapes=broadcastable(), dtype=dtypes)
@examples
def test_binary(name, seed, shapes, dtype):
    b = away(seed + 1, *shapes[1])
    compare(BINARY[name], BINARY[name], away(seed, *shapes[0]), np.sign(b) * (np.abs(b) + 0.3), dtype=dtype, seed=seed)


@given(seed=seeds, shapes=broadcastable(), dtype=dtypes)
@examples
def test_pow_maximum_minimum(seed, shapes, dtype):
    a, b = away(seed, *shapes[0]), away(seed + 1, *shapes[1])
    compare(lambda x, y: x ** y, lambda x, y: x ** y, np.abs(a) + 0.1, b, dtype=dtype, seed=seed, factor=5)
    compare(mv.maximum, torch.maximum, a, b, dtype=dtype, seed=seed)
    compare(mv.minimum, torch.minimum, a, b, dtype=dtype, seed=seed)
    condition = normal(seed + 2, *np.broadcast_shapes(*shapes)) > 0
    compare(lambda x, y: mv.where(condition, x, y), lambda x, y: torch.where(torch.tensor(condition), x, y), a, b,
            dtype=dtype, seed=seed)


def test_special_values():
    """Values everywhere, slopes but at NaN, where PyTorch's own differ from one operation to the next."""
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e4, -1e4])
    for name in ("exp", "abs", "tanh", "sigmoid", "relu", "sin", "cos", "softplus", "clip", "leaky_relu", "square"):
        ours, theirs, _ = UNARY[name]
        compare(ours, theirs, x, order=0)
        compare(ours, theirs, x[~np.isnan(x)], order=1)


def test_pow_at_zero():
    """Not the second slopes at 0 ** 0, where PyTorch has NaN and we have 0."""
    x, y = np.array([0.0, 0.0, 0.0, 2.0, -2.0]), np.array([2.0, 1.0, 0.0, 0.0, 2.0])
    compare(lambda a: a ** mv.tensor(y), lambda a: a ** torch.tensor(y), x, order=1)
    compare(lambda a, b: a ** b, lambda a, b: a ** b, x[:3], y[:3], order=1)
    for n in (0, 1, 2, 3, 0.5, -1):
        compare(lambda a, n=n: a ** n, lambda a, n=n: a ** n, np.array([0.0, 2.0]), order=1)


@given(case=shape_and_dim(least=1), seed=seeds, keepdim=st.booleans(), dtype=dtypes)
@settings(max_examples=30)
def test_reductions(case, seed, keepdim, dtype):
    shape, dim = case
    x = normal(seed, *shape)
    torch_dim = tuple(range(len(shape))) if dim is None else dim
    for name in ("sum", "mean", "logsumexp"):
        compare(lambda t, name=name: getattr(t, name)(dim, keepdim),
                lambda t, name=name: getattr(t, name)(torch_dim, keepdim), x, dtype=dtype, seed=seed)
    for correction in (0, 1):
        n = x.size // max(1, x.sum(axis=torch_dim).size)
        if n > correction:
            compare(lambda t, c=correction: t.var(dim, keepdim, c),
                    lambda t, c=correction: t.var(torch_dim, correction=c, keepdim=keepdim), x, dtype=dtype, seed=seed)
    if isinstance(dim, int):
        y = distinct(seed, *shape)
        for name in ("max", "min"):
            both = lambda t, name=name: getattr(t, name)(dim, keepdim).values
            compare(both, both, y, dtype=dtype, seed=seed)
            ours, theirs = (getattr(m(y), f"arg{name}")(dim, keepdim) for m in (mv.tensor, torch.tensor))
            assert ours.numpy().tolist() == theirs.tolist()
        compare(lambda t: F.softmax(t, dim), lambda t: T.softmax(t, dim), x, dtype=dtype, seed=seed)
        compare(lambda t: F.log_softmax(t, dim), lambda t: T.log_softmax(t, dim), x, dtype=dtype, seed=seed)


@given(shape=full_shapes, seed=seeds, data=st.data())
@examples
def test_shapes(shape, seed, data):
    x, n = normal(seed, *shape), len(shape)
    dims = data.draw(st.permutations(range(n)).map(tuple))
    i, j = data.draw(st.integers(-n, n - 1)), data.draw(st.integers(-n, n - 1))
    place = data.draw(st.integers(-n - 1, n))
    for op in (lambda t: t.permute(*dims), lambda t: t.transpose(i, j), lambda t: t.unsqueeze(place),
               lambda t: t.squeeze(), lambda t: t.squeeze(i), lambda t: t.reshape(-1), lambda t: t.flatten(0, i),
               lambda t: t.flip(dims[:1]), lambda t: t.broadcast_to((2, *shape)), lambda t: t[..., 0], lambda t: t[None, :1],
               lambda t: t.view(-1, 1), lambda t: t[t > 0]):
        compare(op, op, x, seed=seed)
    compare(lambda a, b: mv.cat([a, b], i), lambda a, b: torch.cat([a, b], i), x, x + 1, seed=seed)
    compare(lambda a, b: mv.stack([a, b], place), lambda a, b: torch.stack([a, b], place), x, x + 1, seed=seed)


@given(seed=seeds, widths=st.tuples(*[st.integers(0, 2)] * 4),
       mode=st.sampled_from(["constant", "reflect", "replicate", "circular"]))
@examples
def test_pad(seed, widths, mode):
    value = {"value": 1.5} if mode == "constant" else {}
    compare(lambda x: F.pad(x, widths, mode, **value), lambda x: T.pad(x, widths, mode, **value), normal(seed, 1, 2, 3, 4),
            seed=seed)


@given(seed=seeds, stacks=broadcastable(2, max_ndim=2, least=1), n=st.integers(1, 3), k=st.integers(0, 3), m=st.integers(1, 3),
       dtype=dtypes)
@examples
def test_matmul(seed, stacks, n, k, m, dtype):
    x, y = normal(seed, *stacks[0], n, k), normal(seed + 1, *stacks[1], k, m)
    compare(lambda a, b: a @ b, lambda a, b: a @ b, x, y, dtype=dtype, seed=seed)
    compare(lambda a, b: a @ b, lambda a, b: a @ b, x, normal(seed, k), dtype=dtype, seed=seed)
    compare(lambda a, b: a @ b, lambda a, b: a @ b, normal(seed, k), y, dtype=dtype, seed=seed)
    compare(F.linear, T.linear, normal(seed, *stacks[0], 2, k), normal(seed, m, k), normal(seed, m), dtype=dtype, seed=seed)


@given(seed=seeds, dtype=dtypes, groups=st.sampled_from([1, 2]), c=st.integers(1, 2), f=st.integers(1, 2), n=st.integers(1, 2),
       kernel=pairs, stride=pairs, dilation=pairs, padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
       more=st.tuples(st.integers(0, 3), st.integers(0, 3)))
@settings(max_examples=40)
def test_conv2d(seed, dtype, groups, c, f, n, kernel, stride, dilation, padding, more):
    size = [max(1, d * (k - 1) + 1 - 2 * p + m) for d, k, p, m in zip(dilation, kernel, padding, more)]
    x, w, b = normal(seed, n, c * groups, *size), normal(seed + 1, f * groups, c, *kernel), normal(seed + 2, f * groups)
    compare(lambda *t: F.conv2d(*t, stride, padding, dilation, groups),
            lambda *t: T.conv2d(*t, stride, padding, dilation, groups), x, w, b, dtype=dtype, seed=seed)
    compare(lambda *t: F.conv2d(*t, padding="same", dilation=dilation, groups=groups),
            lambda *t: T.conv2d(*t, padding="same", dilation=dilation, groups=groups), x, w, dtype=dtype, seed=seed)


@given(seed=seeds, dtype=dtypes, groups=st.sampled_from([1, 2]), c=st.integers(1, 2), f=st.integers(1, 2), n=st.integers(1, 2),
       kernel=pairs, stride=pairs, dilation=pairs, padding=st.tuples(st.integers(0, 1), st.integers(0, 1)), size=pairs,
       data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.filter_too_much])
def test_conv_transpose2d(seed, dtype, groups, c, f, n, kernel, stride, dilation, padding, size, data):
    extra = tuple(data.draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation))
    out = [(m - 1) * s - 2 * p + d * (k - 1) + e + 1
           for m, s, p, d, k, e in zip(size, stride, padding, dilation, kernel, extra)]
    assume(min(out) >= 1)
    x, w, b = normal(seed, n, c * groups, *size), normal(seed + 1, c * groups, f, *kernel), normal(seed + 2, f * groups)
    compare(lambda *t: F.conv_transpose2d(*t, stride, padding, extra, groups, dilation),
            lambda *t: T.conv_transpose2d(*t, stride, padding, extra, groups, dilation), x, w, b, dtype=dtype, seed=seed)


@given(seed=seeds, dtype=dtypes, kernel=pairs, stride=st.one_of(st.none(), pairs), dilation=pairs, ceil_mode=st.booleans(),
       include=st.booleans(), divisor=st.sampled_from([None, 3]), data=st.data())
@settings(max_examples=60)
def test_pools(seed, dtype, kernel, stride, dilation, ceil_mode, include, divisor, data):
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in kernel)
    size = [d * (k - 1) + 1 + data.draw(st.integers(0, 3)) for d, k in zip(dilation, kernel)]
    x = distinct(seed, 1, 2, *size)
    compare(lambda t: F.max_pool2d(t, kernel, stride, padding, dilation, ceil_mode),
            lambda t: T.max_pool2d(t, kernel, stride, padding, dilation, ceil_mode), x, dtype=dtype, seed=seed)
    _, ours = F.max_pool2d(mv.tensor(x), kernel, stride, padding, dilation, ceil_mode, return_indices=True)
    _, theirs = T.max_pool2d(torch.tensor(x), kernel, stride, padding, dilation, ceil_mode, return_indices=True)
    assert ours.numpy().tolist() == theirs.tolist()
    compare(lambda t: F.avg_pool2d(t, kernel, stride, padding, ceil_mode, include, divisor),
            lambda t: T.avg_pool2d(t, kernel, stride, padding, ceil_mode, include, divisor), x, dtype=dtype, seed=seed)


def test_max_pool_ties_and_nan():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, (2, 3, 6, 6)).astype(float)
    compare(lambda t: F.max_pool2d(t, 3, 2, 1), lambda t: T.max_pool2d(t, 3, 2, 1), x)
    x[0, 0, 1, 1] = x[1, 2, 3, 3] = np.nan
    compare(lambda t: F.max_pool2d(t, 3, 2, 1), lambda t: T.max_pool2d(t, 3, 2, 1), x, order=1)


@given(seed=seeds, dtype=dtypes, size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
       out=st.tuples(st.integers(1, 7), st.integers(1, 7)),
       align=st.booleans(),
       scale=st.tuples(st.sampled_from([0.5, 1.0, 1.3, 2.0, 2.7]), st.sampled_from([0.75, 1.0, 1.5, 3.0])))
@settings(max_examples=40)
def test_resampling(seed, dtype, size, out, align, scale):
    x = normal(seed, 1, 2, *size)
    compare(lambda t: F.adaptive_avg_pool2d(t, out), lambda t: T.adaptive_avg_pool2d(t, out), x, dtype=dtype, seed=seed)
    compare(lambda t: F.interpolate(t, out), lambda t: T.interpolate(t, out), x, dtype=dtype, seed=seed)
    compare(lambda t: F.interpolate(t, out, mode="bilinear", align_corners=align),
            lambda t: T.interpolate(t, out, mode="bilinear", align_corners=align), x, dtype=dtype, seed=seed, factor=10)
    if all(int(n * s) >= 1 for n, s in zip(size, scale)):
        for mode in ("nearest", "bilinear"):
            compare(lambda t, mode=mode: F.interpolate(t, scale_factor=scale, mode=mode),
                    lambda t, mode=mode: T.interpolate(t, scale_factor=scale, mode=mode), x, dtype=dtype, seed=seed, factor=10)


@given(seed=seeds, dtype=dtypes, more=st.sampled_from([(), (2,), (2, 3)]), weighted=st.booleans(),
       ignore=st.sampled_from([-100, 1]),
       smoothing=st.sampled_from([0.0, 0.2, 1.0]), reduction=st.sampled_from(["mean", "sum", "none"]))
@settings(max_examples=50)
def test_cross_entropy(seed, dtype, more, weighted, ignore, smoothing, reduction):
    x = 3 * normal(seed, 4, 3, *more)
    labels = np.random.default_rng(seed).integers(0, 3, (4, *more))
    w = np.abs(normal(seed, 3)).astype(dtype) + 0.1
    ours, theirs = (mv.tensor(w), torch.tensor(w)) if weighted else (None, None)
    compare(lambda t: F.cross_entropy(t, mv.tensor(labels), ours, ignore, reduction, smoothing),
            lambda t: T.cross_entropy(t, torch.tensor(labels), theirs, ignore_index=ignore, reduction=reduction,
                                      label_smoothing=smoothing), x, dtype=dtype, seed=seed)
    compare(lambda t: F.nll_loss(t, mv.tensor(labels), ours, ignore, reduction),
            lambda t: T.nll_loss(t, torch.tensor(labels), theirs, ignore_index=ignore, reduction=reduction), x,
            dtype=dtype, seed=seed)
    p = np.abs(normal(seed + 1, *x.shape)).astype(dtype)
    compare(lambda t: F.cross_entropy(t, mv.tensor(p), ours, reduction=reduction, label_smoothing=smoothing),
            lambda t: T.cross_entropy(t, torch.tensor(p), theirs, reduction=reduction, label_smoothing=smoothing), x,
            dtype=dtype, seed=seed)


@given(seed=seeds, dtype=dtypes, shape=full_shapes, reduction=st.sampled_from(["mean", "sum", "none"]), weighted=st.booleans())
@settings(max_examples=25)
def test_elementwise_losses(seed, dtype, shape, reduction, weighted):
    x, t = normal(seed, *shape), np.random.default_rng(seed).random(shape)
    compare(lambda a, b: F.mse_loss(a, b, reduction), lambda a, b: T.mse_loss(a, b, reduction=reduction), x, t,
            dtype=dtype, seed=seed)
    compare(lambda a, b: F.l1_loss(a, b, reduction), lambda a, b: T.l1_loss(a, b, reduction=reduction), x, t,
            dtype=dtype, seed=seed)
    w = [np.abs(normal(seed + i, *shape)).astype(dtype) if weighted else None for i in range(2)]
    ours, theirs = ([None if v is None else m(v) for v in w] for m in (mv.tensor, torch.tensor))
    compare(lambda a, b: F.binary_cross_entropy_with_logits(a, b, ours[0], reduction, ours[1]),
            lambda a, b: T.binary_cross_entropy_with_logits(a, b, theirs[0], reduction=reduction, pos_weight=theirs[1]),
            x, t, dtype=dtype, seed=seed)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_losses_of_large_scores(dtype):
    x = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [1e4, 1e4, 1.0]])
    for label in range(3):
        labels = np.array([label] * 3)
        compare(lambda t, v=labels: F.cross_entropy(t, mv.tensor(v)), lambda t, v=labels: T.cross_entropy(t, torch.tensor(v)),
                x, dtype=dtype)
    compare(F.binary_cross_entropy_with_logits, T.binary_cross_entropy_with_logits, x, np.full((3, 3), 0.3), dtype=dtype)
    compare(lambda t: t.logsumexp(1), lambda t: t.logsumexp(1), x, dtype=dtype)


@given(seed=seeds, dtype=dtypes, shape=st.sampled_from([(4, 2), (3, 2, 4), (2, 3, 2, 3), (1, 2, 3, 4)]), affine=st.booleans())
@settings(max_examples=25)
def test_normalisation(seed, dtype, shape, affine):
    x, c = normal(seed, *shape), shape[1]
    more = (normal(seed + 1, c), normal(seed + 2, c)) if affine else ()
    for training in (True, False):
        stats = [np.zeros(c, dtype), np.ones(c, dtype)]
        ours, theirs = [mv.tensor(s) for s in stats], [torch.tensor(s) for s in stats]
        compare(lambda x, w=None, b=None, s=ours, t=training: F.batch_norm(x, *s, w, b, t, 0.2, 1e-3),
                lambda x, w=None, b=None, s=theirs, t=training: T.batch_norm(x, *s, w, b, t, 0.2, 1e-3), x, *more,
                dtype=dtype, seed=seed, factor=20)
        for a, b in zip(ours, theirs):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5 if dtype == "float32" else 1e-12)
    if len(shape) > 2:
        compare(lambda x, w=None, b=None: F.instance_norm(x, None, None, w, b, eps=1e-3),
                lambda x, w=None, b=None: T.instance_norm(x, None, None, w, b, eps=1e-3), x, *more,
                dtype=dtype, seed=seed, factor=20)


@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=5))
@examples
def test_one_hot(labels):
    for n in (-1, 6):
        assert F.one_hot(tensor=mv.tensor(labels), num_classes=n).tolist() == T.one_hot(torch.tensor(labels), n).tolist()


def test_third_order():
    x, w = normal(0, 1, 1, 4, 4), normal(1, 2, 1, 2, 2)

    def ours(x, w):
        y = (mv.tanh(F.conv2d(x, w)) ** 2).sum()
        return mv.grad(y, x, create_graph=True)[0]

    def theirs(x, w):
        y = (torch.tanh(T.conv2d(x, w)) ** 2).sum()
        return torch.autograd.grad(y, x, create_graph=True)[0]

    compare(ours, theirs, x, w)


def test_dlpack_both_ways():
    x = mv.tensor([[1.0, 2.0], [3.0, 4.0]])
    t = torch.from_dlpack(x)
    assert t.tolist() == x.tolist() and t.data_ptr() == x.numpy().ctypes.data
    assert mv.Tensor(np.from_dlpack(torch.ones(2, 3))).shape == (2, 3)
    with pytest.raises(BufferError):
        torch.from_dlpack(mv.ones(2, requires_grad=True))


def test_dtype_promotion():
    kinds = ["float32", "float64", "int64", "int32", "uint8", "bool"]
    for a in kinds:
        for b in kinds:
            ours = (mv.tensor([1, 1], dtype=a) + mv.tensor([1, 1], dtype=b)).dtype
            theirs = (torch.ones(2, dtype=getattr(torch, a)) + torch.ones(2, dtype=getattr(torch, b))).dtype
            assert str(theirs) == f"torch.{ours}", (a, b)


def test_nearest_takes_the_same_pixels_at_every_size():
    """Where i H / OH is a whole number, rounding decides; counted in float32 as PyTorch does, it decides alike."""
    for n in range(1, 40):
        x = np.arange(n, dtype="float32").reshape(1, 1, 1, n)
        for m in range(1, 100):
            theirs = T.interpolate(torch.tensor(x), (1, m))
            assert F.interpolate(mv.tensor(x), (1, m)).tolist() == theirs.tolist(), (n, m)


NAMED = [
    *[(name, dict(input=[[0.5, 1.5], [2.0, 0.25]])) for name in (
        "relu", "sigmoid", "tanh", "exp", "log", "sqrt", "abs", "sin", "cos", "sum", "mean", "var", "max", "min", "argmax",
        "argmin", "flatten", "squeeze", "clone", "neg")],
    *[(name, dict(input=[[0.5, 1.5], [2.0, 0.25]], other=[[1.0, 2.0], [3.0, 4.0]])) for name in (
        "add", "sub", "mul", "div", "maximum", "minimum", "matmul")],
    ("pow", dict(input=[1.0, 2.0], exponent=3)), ("where", dict(condition=[True, False], input=[1.0, 2.0], other=[3.0, 4.0])),
    ("clip", dict(input=[1.0, 2.0], min=1.5, max=3.0)), ("reshape", dict(input=[1.0, 2.0], shape=(2, 1))),
    ("logsumexp", dict(input=[[1.0, 2.0]], dim=1, keepdim=True)), ("permute", dict(input=[[1.0, 2.0]], dims=(1, 0))),
    ("transpose", dict(input=[[1.0, 2.0]], dim0=1, dim1=0)), ("unsqueeze", dict(input=[1.0, 2.0], dim=0)),
    ("broadcast_to", dict(input=[1.0, 2.0], size=(2, 2))), ("flip", dict(input=[1.0, 2.0], dims=(0,))),
    ("softplus", dict(input=[1.0, 2.0])), ("leaky_relu", dict(input=[-1.0, 2.0], negative_slope=0.5, inplace=True)),
    ("relu", dict(input=[-1.0, 2.0], inplace=True)), ("dropout", dict(input=[1.0, 2.0], p=0.5, training=False, inplace=True)),
    ("pad", dict(input=[1.0, 2.0], pad=(1, 1), mode="constant", value=None)),
]


@pytest.mark.parametrize("name, options", NAMED)
def test_arguments_by_pytorchs_names(name, options):
    theirs = getattr(T if name in ("softplus", "leaky_relu", "relu", "dropout", "pad") else torch, name)
    ours, its = ({k: make(v) if isinstance(v, list) else v for k, v in options.items()} for make in (mv.tensor, torch.tensor))
    np.testing.assert_allclose(getattr(F, name)(**ours).numpy(), theirs(**its).numpy(), rtol=1e-6)


def test_sums_of_whole_numbers():
    for dtype in ("bool", "uint8", "int8", "int32", "int64"):
        ours, theirs = mv.ones(300, dtype=dtype).sum(), torch.ones(300, dtype=getattr(torch, dtype)).sum()
        assert f"torch.{ours.dtype}" == str(theirs.dtype) and ours.item() == theirs.item()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weight", [None, [1.0, 2.0, 3.0]])
def test_every_target_ignored(smoothing, weight):
    for m, f in ((mv, F), (torch, T)):
        x = m.ones(2, 3, requires_grad=True)
        w = None if weight is None else m.tensor(weight)
        loss = f.cross_entropy(x, m.tensor([-100, -100]), w, label_smoothing=smoothing)
        loss.backward()
        assert np.isnan(loss.item())
        assert x.grad.tolist() == [[0, 0, 0]] * 2
