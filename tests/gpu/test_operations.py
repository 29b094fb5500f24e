"""Every operation of the engine on a device: the numbers of the CPU, and gradients that the checker accepts there."""

import pytest
from oracle import assert_close

import minivision as mv
from minivision.checking import catalogue

NAMES = [(case.op, case.note) for case in catalogue.cases()]
operations = pytest.mark.parametrize("op, note", NAMES, ids=[" ".join(filter(None, name)) for name in NAMES])


def results(case):
    """The output and the gradients of a case."""
    y = case.func(*case.inputs)
    return [y, *mv.grad(y, case.inputs, y.detach() * 0.5 + 1.0)]


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-12)])
@operations
def test_the_numbers_of_the_cpu(device, op, note, dtype, tolerance):
    here, there = (results(catalogue.case(op, note, device=place, dtype=dtype)) for place in ("cpu", device))
    assert len(here) == len(there)
    for ours, theirs in zip(there, here):
        assert ours.device == ("cpu" if op == "Move" and ours is there[0] else "cuda:0")
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        assert_close(ours.numpy(), theirs.numpy(), tolerance)


@operations
def test_gradients_are_right_on_the_device(device, op, note):
    case = catalogue.case(op, note, device=device)
    assert mv.gradcheck(case.func, case.inputs)


@pytest.mark.parametrize("op", ["Mul", "Linear", "Conv2d", "MaxPool2d", "BatchNorm", "CrossEntropy"])
def test_second_derivatives_too(device, op):
    case = catalogue.case(op, device=device)
    assert mv.gradgradcheck(case.func, case.inputs)
