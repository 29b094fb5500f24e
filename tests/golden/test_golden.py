"""PyTorch's answers, recorded by `record.py`, held against minivision's: runs where PyTorch is not installed."""

from pathlib import Path

import numpy as np
import pytest
from golden_cases import EPOCHS, FUNCTIONS, OPTIMISERS, SCHEDULES, STEPS, inputs
from oracle import assert_close

import minivision as mv
from minivision import functional as F
from minivision import optim

HERE = Path(__file__).parent
answers = {name: np.load(HERE / f"{name}.npz", allow_pickle=False) for name in ("functions", "optimisers")}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name):
    """Value, gradients, second gradients."""
    call, shapes = FUNCTIONS[name]
    golden = answers["functions"]
    x = [mv.tensor(a, requires_grad=True) for a in inputs(name, shapes)]
    y = call(F, lambda v: mv.tensor(np.array(v)), *x)
    assert_close(y, golden[f"{name}|output"], 1e-11)
    upstream, = inputs(name + " upstream", [y.shape])
    first = mv.grad(y, x, mv.tensor(upstream), create_graph=True)
    total = sum((g * mv.tensor(w)).sum() for g, w in zip(first, inputs(name + " second", shapes)))
    for i, (t, g) in enumerate(zip(x, first)):
        assert_close(g, golden[f"{name}|gradient {i}"], 1e-11, f"gradient {i}")
        try:
            second, = mv.grad(total, t, retain_graph=True)
        except mv.GraphError:
            second = mv.zeros(t.shape)
        assert_close(second, golden[f"{name}|second {i}"], 1e-10, f"second gradient {i}")


@pytest.mark.parametrize("name", OPTIMISERS)
def test_optimiser(name):
    kind, settings = OPTIMISERS[name]
    start, *grads = inputs(name, [(3,)] * (STEPS + 1))
    p = mv.tensor(start, requires_grad=True)
    optimiser = getattr(optim, kind)([p], **settings)
    for g, expected in zip(grads, answers["optimisers"][name]):
        p.grad = mv.tensor(g)
        optimiser.step()
        assert_close(p, expected, 1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule(name):
    optimiser = optim.SGD([mv.zeros(1, requires_grad=True)], lr=0.3)
    schedule, rates = getattr(optim.lr_scheduler, name)(optimiser, **SCHEDULES[name]), []
    for _ in range(EPOCHS):
        schedule.step()
        rates.append(optimiser.lr)
    assert_close(rates, answers["optimisers"][name], 1e-14)


def test_every_recorded_answer_is_asked_for():
    asked = set(OPTIMISERS) | set(SCHEDULES)
    assert set(answers["optimisers"].files) == asked
    assert {k.split("|")[0] for k in answers["functions"].files} == set(FUNCTIONS)


def test_inputs_are_what_they_were():
    """If NumPy ever drew other bits, this would say so, and not sixty comparisons."""
    a, b = inputs("conv2d", [(2,), (1,)])
    assert_close(np.concatenate([a, b]), FIRST, 1e-15)


FIRST = [-0.5882060008661867, 1.8413996088116151, -0.25784172201011263]
