"""Optimisers and schedules, step by step against their formulas in plain Python numbers."""

import math

import numpy as np
import pytest
from oracle import assert_close, normal

import minivision as mv
from minivision import nn, optim

GRADS = [0.5, -1.0, 0.25, 2.0, 0.0, -0.125]


def run(make, dtype="float64", grads=GRADS):
    p = mv.tensor([1.0], dtype=dtype, requires_grad=True)
    optimizer = make([p])
    path = []
    for g in grads:
        p.grad = mv.tensor([g], dtype=dtype)
        optimizer.step()
        assert p.dtype == np.dtype(dtype)
        path.append(p.item())
    return path


def sgd(lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    p, v, path = 1.0, None, []
    for g in GRADS:
        g = g + weight_decay * p
        if momentum:
            v = g if v is None else momentum * v + (1 - dampening) * g
            g = g + momentum * v if nesterov else v
        p -= lr * g
        path.append(p)
    return path


@pytest.mark.parametrize("settings", [
    dict(lr=0.1), dict(lr=0.1, weight_decay=0.2), dict(lr=0.1, momentum=0.9), dict(lr=0.1, momentum=0.9, dampening=0.5),
    dict(lr=0.1, momentum=0.9, nesterov=True), dict(lr=0.1, momentum=0.5, weight_decay=0.1, nesterov=True), dict(lr=0.0),
    dict(lr=1, momentum=0.5, dampening=0.25, weight_decay=0.01),
])
def test_sgd(settings):
    assert_close(run(lambda p: optim.SGD(p, **settings)), sgd(**settings), 1e-13)
    assert_close(run(lambda p: optim.SGD(p, **settings), "float32"), sgd(**settings), 1e-6)


def adam(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    p, m, v, path = 1.0, 0.0, 0.0, []
    for t, g in enumerate(GRADS, 1):
        g += weight_decay * p
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g
        p -= lr * (m / (1 - betas[0] ** t)) / (math.sqrt(v / (1 - betas[1] ** t)) + eps)
        path.append(p)
    return path


@pytest.mark.parametrize("settings", [
    {}, dict(lr=0.1), dict(lr=0.1, betas=(0.5, 0.9)), dict(lr=0.01, eps=1e-3), dict(lr=0.1, weight_decay=0.3),
    dict(lr=0.1, betas=(0.0, 0.0)),
])
def test_adam(settings):
    assert_close(run(lambda p: optim.Adam(p, **settings)), adam(**settings), 1e-13)
    assert_close(run(lambda p: optim.Adam(p, **settings), "float32"), adam(**settings), 1e-6)


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam])
def test_parameters_without_gradient_stay(kind):
    a, b = mv.ones(2, requires_grad=True), mv.ones(2, requires_grad=True)
    optimizer = kind([a, b], lr=0.1, weight_decay=0.5)
    a.grad = mv.ones(2)
    optimizer.step()
    assert a.tolist() != [1, 1] and b.tolist() == [1, 1]
    optimizer.zero_grad()
    assert a.grad is None


def test_step_changes_the_array_in_place():
    array = np.ones(2, np.float32)
    p = mv.Tensor(array, requires_grad=True)
    p.grad = mv.ones(2)
    optim.SGD([p], lr=0.5).step()
    assert p.data is array and array.tolist() == [0.5, 0.5] and p.grad.tolist() == [1, 1]


@pytest.mark.parametrize("make", [
    lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.1, weight_decay=0.01), lambda p: optim.SGD(p, lr=0.1),
    lambda p: optim.Adam(p, lr=0.01, betas=(0.8, 0.9), weight_decay=0.1),
])
@pytest.mark.parametrize("through_a_file", [False, True])
def test_state_dict_continues_exactly(make, through_a_file, tmp_path):
    def start():
        return [mv.Tensor(normal(i, 3, dtype="float32"), requires_grad=True) for i in range(2)]

    def go_on(params, optimizer, steps):
        for k in steps:
            for i, p in enumerate(params):
                p.grad = mv.Tensor(normal(10 * k + i, 3, dtype="float32"))
            optimizer.step()

    whole = start()
    go_on(whole, make(whole), range(6))
    first = start()
    optimizer = make(first)
    go_on(first, optimizer, range(3))
    state = optimizer.state_dict()
    if through_a_file:
        mv.save(state, tmp_path / "optimizer.safetensors")
        state = mv.load(tmp_path / "optimizer.safetensors")
    second = [mv.tensor(p, requires_grad=True) for p in first]
    later = type(optimizer)(second, lr=9.0)                 # other settings, which the state replaces
    later.load_state_dict(state)
    go_on(second, later, range(3, 6))
    assert [p.tolist() for p in second] == [p.tolist() for p in whole]


def test_state_dict_is_a_copy():
    p = mv.ones(2, requires_grad=True)
    p.grad = mv.ones(2)
    optimizer = optim.SGD([p], lr=0.1, momentum=0.9)
    optimizer.step()
    state = optimizer.state_dict()
    state["0.velocity"].data[...] = 77
    assert optimizer.state_dict()["0.velocity"].tolist() == [1, 1]


@pytest.mark.parametrize("change, text", [
    (lambda s: s.update(name="Adam"), "for Adam, expected SGD"),
    (lambda s: s.pop("lr"), "lacks 'lr'"),
    (lambda s: s.pop("momentum"), "lacks 'momentum'"),
    (lambda s: s.update({"5.velocity": mv.zeros(2)}), "'5.velocity'"),
    (lambda s: s.update({"0.speed": mv.zeros(2)}), "'0.speed'"),
    (lambda s: s.update({"0.velocity": mv.zeros(3)}), "another model"),
    (lambda s: s.update({"0.velocity": "fast"}), "another model"),
])
def test_foreign_state_is_refused_whole(change, text):
    p = mv.ones(2, requires_grad=True)
    optimizer = optim.SGD([p], lr=0.1, momentum=0.9)
    state = optim.SGD([p], lr=0.7, momentum=0.5).state_dict()
    change(state)
    with pytest.raises(ValueError, match=text):
        optimizer.load_state_dict(state)
    assert optimizer.lr == 0.1 and optimizer.settings["momentum"] == 0.9 and optimizer.state == [{}]


# ---------------------------------------------------------------------------------------------- schedules


def rates(make, epochs, lr=0.8):
    optimizer = optim.SGD([mv.zeros(1, requires_grad=True)], lr=lr)
    schedule, seen = make(optimizer), [optimizer.lr]
    for _ in range(epochs):
        schedule.step()
        seen.append(optimizer.lr)
    return seen


def test_step_lr():
    assert_close(rates(lambda o: optim.lr_scheduler.StepLR(o, 2, 0.5), 5), [0.8, 0.8, 0.4, 0.4, 0.2, 0.2], 1e-15)
    assert_close(rates(lambda o: optim.lr_scheduler.StepLR(o, 1), 2), [0.8, 0.08, 0.008], 1e-15)


def test_cosine_annealing():
    seen = rates(lambda o: optim.lr_scheduler.CosineAnnealingLR(o, 4, 0.2), 8)
    down = [0.8, 0.2 + 0.3 * (1 + math.sqrt(0.5)), 0.5, 0.2 + 0.3 * (1 - math.sqrt(0.5)), 0.2]
    assert_close(seen, down + down[-2::-1], 1e-14)          # beyond T_max it rises again, as PyTorch's does
    assert rates(lambda o: optim.lr_scheduler.CosineAnnealingLR(o, 3), 3)[-1] == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("make", [lambda o: optim.lr_scheduler.StepLR(o, 2, 0.5),
                                  lambda o: optim.lr_scheduler.CosineAnnealingLR(o, 5)])
def test_schedule_state(make):
    optimizer = optim.SGD([mv.zeros(1, requires_grad=True)], lr=0.8)
    schedule = make(optimizer)
    schedule.step()
    schedule.step()
    other = optim.SGD([mv.zeros(1, requires_grad=True)], lr=0.1)
    later = make(other)
    later.load_state_dict(schedule.state_dict())
    assert other.lr == optimizer.lr
    schedule.step()
    later.step()
    assert other.lr == optimizer.lr
    with pytest.raises(ValueError, match="expected"):
        later.load_state_dict({**schedule.state_dict(), "name": "Other"})


def test_training_finds_a_line():
    mv.manual_seed(0)
    x = mv.randn(64, 1)
    y = x * 3.0 - 2.0
    for kind, lr in ((optim.SGD, 0.3), (optim.Adam, 0.2)):
        layer = nn.Linear(1, 1)
        optimizer = kind(layer.parameters(), lr=lr)
        for _ in range(150):
            loss = ((layer(x) - y) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert layer.weight.item() == pytest.approx(3, abs=1e-2) and layer.bias.item() == pytest.approx(-2, abs=1e-2)


@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, lr=0.1, momentum=0.9), lambda p: optim.Adam(p, lr=0.1)])
def test_parameters_of_all_kinds_in_one_optimiser_move_as_if_alone(make):
    """Of two dtypes, and one that gets its first gradient a step later than the others."""
    def params():
        return [mv.tensor(np.arange(n, dtype=dtype), requires_grad=True) for n, dtype in
                [(3, "float32"), (2, "float64"), (4, "float32"), (1, "float64")]]

    together, alone = params(), params()
    optimizer, each = make(together), [make([p]) for p in alone]
    for step in range(4):
        for i, (p, q) in enumerate(zip(together, alone)):
            if (i, step) != (2, 0):
                p.grad = q.grad = mv.tensor(np.full(p.shape, step + i), dtype=p.dtype)
        optimizer.step()
        for other in each:
            other.step()
    for p, q in zip(together, alone):
        np.testing.assert_array_equal(p.data, q.data)


def test_an_optimiser_of_ones_own_says_how_one_parameter_changes():
    class Sign(optim.Optimizer):
        def update(self, param, grad, state):
            param -= self.lr * np.sign(grad)

    p = mv.tensor([1.0, 2.0], requires_grad=True)
    p.grad = mv.tensor([0.3, -5.0])
    Sign([p], lr=0.5).step()
    np.testing.assert_array_equal(p.data, [0.5, 2.5])
