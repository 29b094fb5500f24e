"""Layers with the same weights, whole networks, optimisers over 20 steps, schedules and a training run, against PyTorch."""

import numpy as np
import pytest
from oracle import normal
from torch_peer import close, torch

import minivision as mv
from minivision import functional as F
from minivision import nn, optim

LAYERS = [
    ("Linear", (6, 3), {}), ("Linear", (6, 3), {"bias": False}),
    ("Conv2d", (4, 6, 3), {}), ("Conv2d", (4, 6, (3, 2)), dict(stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2)),
    ("Conv2d", (4, 6, 3), dict(padding="same", bias=False)),
    ("ConvTranspose2d", (4, 6, 3), {}), ("ConvTranspose2d", (4, 6, 3, 2, 1, 1), dict(groups=2)),
    ("ReLU", (), {}), ("LeakyReLU", (0.3,), {}), ("Sigmoid", (), {}), ("Tanh", (), {}), ("Flatten", (), {}),
    ("Flatten", (2,), {}),
    ("MaxPool2d", (3, 2, 1, 1, False, True), {}),
    ("MaxPool2d", (2,), {}), ("MaxPool2d", (3, 2, 1), dict(ceil_mode=True)),
    ("AvgPool2d", (3, 2, 1), dict(count_include_pad=False)),
    ("AdaptiveAvgPool2d", ((2, 3),), {}), ("AdaptiveAvgPool2d", ((None, 1),), {}),
    ("BatchNorm2d", (4,), {}), ("BatchNorm2d", (4, 1e-3, 0.3), {}), ("BatchNorm2d", (4,), dict(affine=False)),
    ("BatchNorm2d", (4,), dict(track_running_stats=False)),
    ("InstanceNorm2d", (4,), {}), ("InstanceNorm2d", (4,), dict(affine=True)),
    ("InstanceNorm2d", (4,), dict(track_running_stats=True)),
    ("Upsample", (), dict(scale_factor=2)), ("Upsample", ((5, 7),), dict(mode="bilinear")),
    ("Upsample", (), dict(scale_factor=2, mode="bilinear", align_corners=True)),
]


def copied(ours, theirs):
    """Copy PyTorch's weights over: that load_state_dict accepts them says the names and shapes agree."""
    state = {k: v.numpy() for k, v in theirs.state_dict().items()}
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict(state)
    return ours


@pytest.mark.parametrize("name, args, options", LAYERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layers(name, args, options, dtype):
    torch.manual_seed(0)
    theirs = getattr(torch.nn, name)(*args, **options).to(getattr(torch, dtype))
    ours = copied(getattr(nn, name)(*args, **options).to(dtype=dtype), theirs)
    for mode in (True, True, False):                       # twice in training: running averages move twice
        ours.train(mode)
        theirs.train(mode)
        x = normal(int(mode), 2, 4, 6, 6, dtype=dtype)
        a, b = mv.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        y, z = ours(a), theirs(b)
        upstream = normal(5, *y.shape, dtype=dtype)
        ours.zero_grad()
        theirs.zero_grad()
        y.backward(mv.tensor(upstream))
        z.backward(torch.tensor(upstream))
        close(y, z, dtype, "output", 5)
        close(a.grad, b.grad, dtype, "gradient", 5)
        for (n, p), (_, q) in zip(ours.named_parameters(), theirs.named_parameters()):
            close(p.grad, q.grad, dtype, n, 5)
        for (n, p), q in zip(ours.state_dict().items(), theirs.state_dict().values()):
            close(p, q, dtype, n)


@pytest.mark.parametrize("name, options", [
    ("CrossEntropyLoss", {}), ("CrossEntropyLoss", dict(label_smoothing=0.1, reduction="sum")),
    ("CrossEntropyLoss", dict(ignore_index=2)),
])
def test_classification_losses(name, options):
    x, labels = normal(0, 5, 3), np.array([0, 1, 2, 2, 0])
    close(getattr(nn, name)(**options)(mv.tensor(x), mv.tensor(labels)),
          getattr(torch.nn, name)(**options)(torch.tensor(x), torch.tensor(labels)), "float64", name)


@pytest.mark.parametrize("name", ["MSELoss", "BCEWithLogitsLoss"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_regression_losses(name, reduction):
    x, t = normal(0, 5, 3), np.random.default_rng(1).random((5, 3))
    close(getattr(nn, name)(reduction=reduction)(mv.tensor(x), mv.tensor(t)),
          getattr(torch.nn, name)(reduction=reduction)(torch.tensor(x), torch.tensor(t)), "float64", name)


def networks(library):
    return library.Sequential(
        library.Conv2d(1, 4, 3, padding=1), library.BatchNorm2d(4), library.ReLU(), library.MaxPool2d(2),
        library.Conv2d(4, 8, 3, stride=2), library.LeakyReLU(0.1), library.Flatten(), library.Linear(32, 10))


def test_state_dict_of_a_network():
    """Names, order and shapes; nested, with buffers, with a shared module."""
    class Ours(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = networks(nn)
            self.head = nn.Sequential(nn.Linear(2, 2), nn.Sequential(
                nn.InstanceNorm2d(2, affine=True, track_running_stats=True)))
            self.again = self.head

    class Theirs(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = networks(torch.nn)
            self.head = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Sequential(
                torch.nn.InstanceNorm2d(2, affine=True, track_running_stats=True)))
            self.again = self.head

    ours, theirs = Ours(), Theirs()
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: tuple(v.shape) for k, v in theirs.state_dict().items()}
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [k for k, _ in ours.named_parameters()] == [k for k, _ in theirs.named_parameters()]
    assert [k for k, _ in ours.named_modules()] == [k for k, _ in theirs.named_modules()]


def test_lenet5_has_as_many_parameters():
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(1, 6, 5, padding=2), torch.nn.MaxPool2d(2), torch.nn.Conv2d(6, 16, 5), torch.nn.MaxPool2d(2),
        torch.nn.Flatten(), torch.nn.Linear(400, 120), torch.nn.Linear(120, 84), torch.nn.Linear(84, 10))
    assert sum(p.size for p in mv.models.LeNet5().parameters()) == sum(p.numel() for p in theirs.parameters()) == 61_706


def test_initial_weights_are_drawn_alike():
    """Not the same numbers, the same distribution: standard deviation and bound of each parameter."""
    mv.manual_seed(0)
    torch.manual_seed(0)
    for name, args in (("Linear", (200, 300)), ("Conv2d", (16, 64, 5)), ("ConvTranspose2d", (16, 64, 5))):
        ours, theirs = getattr(nn, name)(*args), getattr(torch.nn, name)(*args)
        for p, q in ((ours.weight, theirs.weight), (ours.bias, theirs.bias)):
            p, q = p.numpy(), q.detach().numpy()
            assert abs(np.abs(p).max() / np.abs(q).max() - 1) < 0.1
            assert p.size < 1000 or abs(p.std() / q.std() - 1) < 0.05


OPTIMISERS = [
    ("SGD", dict(lr=0.1)), ("SGD", dict(lr=0.05, momentum=0.9)), ("SGD", dict(lr=0.05, momentum=0.9, dampening=0.3)),
    ("SGD", dict(lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01)), ("SGD", dict(lr=0.1, weight_decay=0.1)),
    ("Adam", dict()), ("Adam", dict(lr=0.05, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.02)),
]


@pytest.mark.parametrize("name, settings", OPTIMISERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_optimisers_over_20_steps(name, settings, dtype):
    start = [normal(i, *shape, dtype=dtype) for i, shape in enumerate([(3, 4), (4,), ()])]
    a = [mv.tensor(x, requires_grad=True) for x in start]
    b = [torch.tensor(x, requires_grad=True) for x in start]
    ours, theirs = getattr(optim, name)(a, **settings), getattr(torch.optim, name)(b, **settings)
    for step in range(20):
        for i, (p, q) in enumerate(zip(a, b)):
            skip = i == 1 and step % 3 == 0                # a parameter that sometimes has no gradient
            g = normal(100 * step + i, *p.shape, dtype=dtype) * 10.0 ** (step % 4 - 2)
            p.grad, q.grad = (None, None) if skip else (mv.tensor(g.astype(dtype)), torch.tensor(g.astype(dtype)))
        ours.step()
        theirs.step()
        for p, q in zip(a, b):
            close(p, q, dtype, f"step {step}")


@pytest.mark.parametrize("name, args", [
    ("StepLR", (3, 0.5)), ("StepLR", (1,)), ("CosineAnnealingLR", (7, 0.01)), ("CosineAnnealingLR", (20,)),
])
def test_schedules(name, args):
    a, b = mv.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    ours, theirs = optim.SGD([a], lr=0.3), torch.optim.SGD([b], lr=0.3)
    s, t = getattr(optim.lr_scheduler, name)(ours, *args), getattr(torch.optim.lr_scheduler, name)(theirs, *args)
    for _ in range(20):
        theirs.step()
        s.step()
        t.step()
        assert ours.lr == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-9), ("float32", 1e-3)])
def test_thirty_steps_of_training_give_the_same_losses(dtype, tolerance):
    torch.manual_seed(0)
    theirs = networks(torch.nn).to(getattr(torch, dtype))
    ours = copied(networks(nn).to(dtype=dtype), theirs)
    a = optim.SGD(ours.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    b = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    rng = np.random.default_rng(0)
    for step in range(30):
        images, labels = rng.standard_normal((8, 1, 12, 12)).astype(dtype), rng.integers(0, 10, 8)
        loss = F.cross_entropy(ours(mv.tensor(images)), mv.tensor(labels))
        other = torch.nn.functional.cross_entropy(theirs(torch.tensor(images)), torch.tensor(labels))
        assert loss.item() == pytest.approx(other.item(), rel=tolerance), f"step {step}"
        a.zero_grad()
        b.zero_grad()
        loss.backward()
        other.backward()
        a.step()
        b.step()
    for p, q in zip(ours.state_dict().values(), theirs.state_dict().values()):
        np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=0, atol=10 * tolerance)


def test_last_learning_rates():
    w, v = mv.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    ours = optim.lr_scheduler.StepLR(optim.SGD([w], lr=0.5), 1, 0.5)
    theirs = torch.optim.lr_scheduler.StepLR(torch.optim.SGD([v], lr=0.5), 1, 0.5)
    for _ in range(3):
        assert ours.get_last_lr() == theirs.get_last_lr()
        ours.optimizer.step()
        theirs.optimizer.step()
        ours.step()
        theirs.step()
