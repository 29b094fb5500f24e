"""The engine on arrays that refuse to become NumPy arrays, as a GPU's do: those of a stand-in for CuPy (stand_in.py)."""

import numpy as np
import pytest
import stand_in
from oracle import assert_close, distinct
from stand_in import FakeArray

import minivision as mv
import minivision_kernels as mk
from minivision import functional as F
from minivision import nn, optim


@pytest.fixture(autouse=True)
def gpu(monkeypatch):
    return stand_in.install(monkeypatch)


def test_the_stand_in_refuses_numpy():
    x = mv.tensor([1.0, 2.0], device="cuda")._data
    assert type(x) is FakeArray and type(x).__module__ == "cupy"
    for call in (lambda: np.asarray(x), lambda: np.where(x > 0, x, x), lambda: np.zeros(2) + x,
                 lambda: x + np.zeros(2), lambda: x.max(initial=0), lambda: np.add(np.zeros(2), x)):
        with pytest.raises(TypeError):
            call()


OPS = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "div": lambda a, b: a / (b * b + 1.0),
    "pow": lambda a, b: (a * a + 0.5) ** b, "power of a number": lambda a, b: a ** 3 + 2.0 ** b, "neg": lambda a, b: -a,
    "scalars": lambda a, b: 2 * a + 1 - (3.0 - b) / 2, "numpy scalars": lambda a, b: np.float64(2) * a + np.float32(1),
    "exp": lambda a, b: mv.exp(a), "log": lambda a, b: mv.log(a * a + 1.0), "sqrt": lambda a, b: mv.sqrt(a * a + 1.0),
    "abs": lambda a, b: mv.abs(a), "sin": lambda a, b: mv.sin(a), "cos": lambda a, b: mv.cos(a),
    "tanh": lambda a, b: mv.tanh(a), "sigmoid": lambda a, b: mv.sigmoid(a), "softplus": lambda a, b: F.softplus(a),
    "leaky_relu": lambda a, b: F.leaky_relu(a, 0.1), "clip": lambda a, b: a.clip(-0.3, 0.4), "maximum": mv.maximum,
    "minimum": mv.minimum, "where": lambda a, b: mv.where(a > 0, a, b), "clone": lambda a, b: a.clone(),
    "cast": lambda a, b: a.to(dtype="float32").to(dtype="float64"),
    "sum": lambda a, b: a.sum(1), "mean": lambda a, b: a.mean(0, keepdim=True), "var": lambda a, b: a.var((0, 1)),
    "max": lambda a, b: a.max(1).values, "max of all": lambda a, b: a.max(), "min": lambda a, b: a.min(0).values,
    "logsumexp": lambda a, b: a.logsumexp(1), "softmax": lambda a, b: F.softmax(a, 1),
    "log_softmax": lambda a, b: F.log_softmax(a, 0),
    "reshape": lambda a, b: a.reshape(4, 3), "flatten": lambda a, b: a.flatten(), "permute": lambda a, b: a.permute(1, 0),
    "squeeze": lambda a, b: a.unsqueeze(1).squeeze(), "broadcast_to": lambda a, b: a.broadcast_to(2, 3, 4),
    "broadcasting": lambda a, b: a * b[0], "cat": lambda a, b: mv.cat([a, b], 1), "stack": lambda a, b: mv.stack([a, b]),
    "getitem": lambda a, b: a[1:, ::2], "getitem of a list": lambda a, b: a[[0, 0, 2]],
    "getitem of an array": lambda a, b: a[:, np.array([0, 3, 0])],
    "getitem of a mask": lambda a, b: a[a > 0], "flip": lambda a, b: a.flip(0, 1),
    "pad": lambda a, b: F.pad(a, (1, 2)), "pad reflect": lambda a, b: F.pad(a, (1, 2), "reflect"),
    "matmul": lambda a, b: a @ b.T, "matmul with a vector": lambda a, b: a @ b[0],
    "batch_norm": lambda a, b: F.batch_norm(a, None, None, b[0], b[1], training=True),
    "instance_norm": lambda a, b: F.instance_norm(a.reshape(2, 2, 3)),
    "dropout": lambda a, b: F.dropout(a, 0.5),
    "interpolate": lambda a, b: F.interpolate(a.reshape(1, 1, 3, 4), 5),
    "interpolate bilinear": lambda a, b: F.interpolate(a.reshape(1, 1, 3, 4), 5, mode="bilinear"),
    "adaptive_avg_pool2d": lambda a, b: F.adaptive_avg_pool2d(a.reshape(1, 1, 3, 4), (2, 3)),
    "mse_loss": F.mse_loss, "l1_loss": F.l1_loss,
    "binary_cross_entropy_with_logits": lambda a, b: F.binary_cross_entropy_with_logits(a, mv.sigmoid(b)),
    "cross_entropy with probabilities": lambda a, b: F.cross_entropy(a, F.softmax(b, 1)),
    "cross_entropy with smoothing": lambda a, b: F.cross_entropy(a, labels(a), label_smoothing=0.1),
    "cross_entropy with weights": lambda a, b: F.cross_entropy(a, labels(a), weight=b[0].detach()),
    "nll_loss": lambda a, b: F.nll_loss(a, labels(a)),
    "nll_loss that ignores": lambda a, b: F.nll_loss(a, labels(a), ignore_index=3),
}


def labels(like):
    return mv.tensor([0, 3, 1], device=like.device)


@pytest.mark.parametrize("name", OPS)
def test_forward_backward_and_second_order(name):
    """Same numbers as on the CPU; every result stays on the device."""
    op, found = OPS[name], {}
    for device in ("cpu", "cuda:0"):
        mv.manual_seed(0)
        a, b = (mv.tensor(distinct(i, 3, 4), device=device, requires_grad=True) for i in (0, 1))
        y = op(a, b)
        inputs = [t for t in (a, b) if takes_part(y, t)]
        upstream = mv.tensor(distinct(2, *y.shape), device=device)
        grads = mv.grad(y, inputs, upstream, create_graph=True)
        results = [y, *grads]
        total = sum((g * g).sum() for g in grads)
        if total.requires_grad:
            results += [mv.grad(total, t, retain_graph=True)[0] for t in inputs if takes_part(total, t)]
        for r in results:
            assert r.device == device and (type(r._data) is FakeArray) == (device != "cpu")
        found[device] = results
        y.backward(upstream)
        assert all(t.grad.device == device for t in inputs)
    for on_cpu, on_gpu in zip(found["cpu"], found["cuda:0"]):
        assert_close(on_gpu.numpy(), on_cpu.numpy(), 1e-12)


def takes_part(y, t):
    try:
        mv.grad(y, t, y.ones_like(), retain_graph=True)
    except mv.GraphError:
        return False
    return True


def test_without_gradients():
    x = mv.tensor(distinct(0, 3, 4), device="cuda")
    assert x.argmax(1).tolist() == mv.tensor(distinct(0, 3, 4)).argmax(1).tolist()
    assert x.argmin().device == "cuda:0"
    assert ((x > 0) == (x > 0.0)).numpy().all() and (~(x == x)).numpy().sum() == 0
    assert F.one_hot(mv.tensor([0, 2], device="cuda"), 3).tolist() == [[1, 0, 0], [0, 0, 1]]
    assert x.sum().item() == pytest.approx(x.numpy().sum())
    assert "device='cuda:0'" in repr(x) and 0.05 in x and 99.0 not in x
    assert x.ones_like().device == "cuda:0" and mv.zeros_like(x).device == "cuda:0"


def test_moving_there_and_back():
    x = mv.tensor([1.0, 2.0], requires_grad=True)
    y = x.to("cuda")
    assert y.device == "cuda:0" and y.to("cuda:0") is y and y.to("cuda") is y
    (y * y).sum().to("cpu").backward()
    assert x.grad.device == "cpu" and x.grad.tolist() == [2, 4]
    assert isinstance(y.numpy(), np.ndarray)


def test_devices_do_not_mix():
    here, there = mv.ones(2), mv.ones(2, device="cuda")
    with pytest.raises(ValueError, match=r"cpu and cuda:0.*\.to\(device\)"):
        here + there
    with pytest.raises(ValueError, match="cpu"):
        F.linear(mv.ones(1, 2), mv.ones(3, 2, device="cuda"))
    with pytest.raises(ValueError, match="device"):
        (there.requires_grad_() * 2.0).backward(mv.ones(2))
    with pytest.raises(mv.DeviceError, match=r"cuda:7.*1 CUDA"):
        here.to("cuda:7")


@pytest.mark.parametrize("optimizer", [lambda p: optim.SGD(p, 0.1, momentum=0.9), lambda p: optim.Adam(p, 0.1, eps=0.1)])
def test_a_step_on_the_second_gpu(monkeypatch, optimizer):
    """While the first one is the current one, where CuPy makes arrays that are not asked for elsewhere."""
    stand_in.install(monkeypatch, devices=2)
    found = []
    for device in ("cpu", "cuda:1"):
        mv.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 2, 2, bias=False),
            nn.BatchNorm2d(2, affine=False), nn.Dropout(0.5), nn.Flatten(), nn.Linear(2, 3)).to(device)
        x = mv.tensor(distinct(0, 4, 1, 4, 4, dtype="float32"), device=device)
        steps = optimizer(model.parameters())
        for at in ("cpu", device):
            loss = F.cross_entropy(model(x) * 2.0, mv.tensor([0, 2, 1, 1], device=at)) + (1.0 - x[[0, 1]] @ x[0, 0].T).mean()
            steps.zero_grad()
            loss.backward()
            steps.step()
        model.eval()
        y = F.interpolate(F.adaptive_avg_pool2d(x, 3), 5, mode="bilinear") + F.pad(x, (1, 0, 1, 0), "replicate")
        assert {t.device for t in (loss, y, *model.state_dict().values())} == {device}
        found.append([loss.item(), *(t.numpy() for t in (y, model(x), *model.state_dict().values()))])
    for ours, theirs in zip(*found):
        assert_close(theirs, ours, 1e-5)


def test_one_optimiser_for_parameters_on_two_gpus(monkeypatch):
    stand_in.install(monkeypatch, devices=2)
    params = [mv.tensor([1.0, 2.0], device=device, requires_grad=True) for device in ("cuda:1", "cuda:0", "cuda:1")]
    for p in params:
        p.grad = mv.tensor([4.0, 8.0], device=p.device)
    for rule in (optim.SGD(params, 0.25), optim.Adam(params, 0.25)):
        rule.step()
    assert [p.device for p in params] == ["cuda:1", "cuda:0", "cuda:1"]
    for p in params:
        assert_close(p.numpy(), np.float32([-0.25, -0.25]), 1e-5)


@pytest.mark.parametrize("index, axis", [
    ([0, 3], 0), (np.array([-4]), 0), ((slice(None), [4]), 1), ((None, [[3]]), 0), ((Ellipsis, [5]), 2),
    ((np.ones((3, 4), bool), [5]), 2), ((0, mv.tensor([1, 4])), 1),
])
def test_an_index_on_the_cpu_is_looked_at(index, axis):
    """CuPy would begin anew at the end of the axis."""
    for device in ("cpu", "cuda"):
        with pytest.raises(IndexError, match=f"out of bounds for axis {axis} with size {(3, 4, 5)[axis]}|broadcast"):
            mv.ones(3, 4, 5, device=device)[index]
    assert mv.ones(3, 4, 5, device="cuda")[:, [-4, 3]].shape == (3, 2, 5)


def test_bias_gradients_are_summed_by_our_kernel(monkeypatch):
    launched = []
    launch = stand_in.Function.__call__
    monkeypatch.setattr(stand_in.Function, "__call__", lambda self, *args, **options: (
        launched.append(self.kernel), launch(self, *args, **options))[1])
    x = mv.tensor(distinct(0, 2, 3, 4, 2), device="cuda")
    assert_close(x.sum((0, 2, 3)).numpy(), x.numpy().sum((0, 2, 3)), 1e-12)
    assert launched == ["channel_sum"]


def test_products_need_no_cublas():
    x, y = mv.tensor(distinct(0, 2, 1, 3, 4), device="cuda"), mv.tensor(distinct(1, 5, 4, 2), device="cuda")
    with pytest.raises(RuntimeError, match="cuBLAS"):
        x._data @ y._data
    for a, b in ((x, y), (x, y[0]), (x, y[0, :, 0]), (x[0, 0], y), (x[:, :, :, :0], y[0, :0])):
        assert_close((a @ b).numpy(), a.numpy() @ b.numpy(), 1e-12)


def test_layers_and_optimisers():
    found = []
    for device in ("cpu", "cuda"):
        mv.manual_seed(0)
        layer = nn.BatchNorm2d(3).to(device)
        x = mv.tensor(distinct(0, 2, 3, 2, 2, dtype="float32"), device=device)
        adam = optim.Adam(layer.parameters(), lr=0.1)
        for _ in range(3):
            loss = (layer(x) ** 3).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
        assert layer.running_mean.device == layer.weight.device == x.device
        saved = layer.state_dict()
        layer.load_state_dict({k: v.numpy() for k, v in saved.items()})
        adam.load_state_dict(adam.state_dict())
        adam.step()
        found.append({k: v.numpy() for k, v in layer.state_dict().items()})
    for name, value in found[0].items():
        assert_close(found[1][name], value, 1e-6)


@pytest.mark.parametrize("call", [
    lambda x, at: F.conv2d(x, mv.ones(1, 1, 2, 2, device=at)), lambda x, at: F.max_pool2d(x, 2),
    lambda x, at: F.avg_pool2d(x, 2), lambda x, at: mv.relu(x - 8), lambda x, at: F.linear(x, mv.ones(2, 4, device=at)),
    lambda x, at: F.cross_entropy(x.reshape(4, 4), mv.tensor([0, 1, 2, 3], device=at)),
])
def test_kernels_run_on_the_device_or_say_that_there_is_none(call):
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    try:
        y = call(mv.tensor(x, device="cuda"), "cuda")
    except NotImplementedError as problem:
        assert "has no rung on cuda" in str(problem) and "cpu" in str(problem)
    else:
        assert y.device == "cuda:0"
        assert_close(y.numpy(), call(mv.tensor(x), "cpu").numpy())


@pytest.mark.parametrize("op, shapes, options", [
    ("batch_norm_forward", [(2, 3, 4, 4), (3,), (3,)], (1e-5,)),
    ("batch_norm_backward", [(2, 3, 4, 4), (2, 3, 4, 4), (3,), (3,), (3,)], (1e-5,)),
    ("adam_update", [(5,)] * 4, (0.1, 0.9, 0.99, 1e-8, 0.01, 2)),
])
def test_rungs_of_array_expressions(op, shapes, options):
    """The lowest rungs on the device are NumPy's formulas, written so that CuPy's arrays can follow them."""
    rung = next(r for r in mk.ladder(op) if r.name == "cupy")
    arrays = [abs(distinct(i, *shape)) for i, shape in enumerate(shapes)]
    there = [mv.tensor(a, device="cuda")._data for a in arrays]
    here = rung.function(*arrays, *options), arrays
    assert rung.device == "cuda"
    for ours, theirs in zip((rung(*there, *options), there), here):
        for a, b in zip(ours or (), theirs or ()):
            assert_close(a.get(), b, 1e-12)
