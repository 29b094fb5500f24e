"""Winograd's convolution and its gradients against plain loops."""

import inspect

import kernel_oracle as oracle
import numpy as np
import pytest
from conv_cases import ALL, check
from hypothesis import given
from hypothesis import strategies as st

from minivision_kernels.cpu import conv_winograd, winograd_plan
from minivision_kernels.cpu.simd import lanes_of
from minivision_kernels.cpu.tile import TALL_COLUMNS
from minivision_kernels.cpu.winograd import SKEW
from minivision_kernels.shapes import conv_output_size

WINOGRAD = [rung for rung in ALL if rung.name.startswith("winograd")]
SIZES = [(rung, 3, 1) for rung in WINOGRAD] + [(rung, 5, 1) for rung in WINOGRAD if rung.name != "winograd2"] + [
    (rung, taps, 2) for rung in WINOGRAD if rung.name == "winograd" and rung.op != "conv2d_weight" for taps in (3, 4, 5)]
# Each with the taps of a filter along a side, and the stride.


def paddings(rung, taps, stride):
    """Less than a filter has taps; the gradient to the image knows only every second one at stride 2."""
    every = range(taps)
    return st.sampled_from(every[(taps - 1) // 2 % 2::2] if rung.op == "conv2d_input" and stride == 2 else every)


@st.composite
def winograd_convolutions(draw, rung, taps, stride):
    """What Winograd's rungs take: off their grid of patches, of 8 filters and of whole vectors."""
    C, F, N = draw(st.integers(1, 3)), draw(st.integers(1, 9)), draw(st.integers(0, 3))
    padding = draw(st.tuples(*[paddings(rung, taps, stride)] * 2))
    size = tuple(draw(st.integers(max(1, taps - 2 * p), 14 * stride)) for p in padding)
    return (N, C, *size), (F, C, taps, taps), ((stride, stride), padding, (1, 1), 1)


@pytest.mark.parametrize("dtype", oracle.FLOATS)
@pytest.mark.parametrize(("rung", "taps", "stride"), SIZES, ids=str)
@given(data=st.data())
def test_winograd_matches_the_formula(rung, taps, stride, dtype, data):
    check(rung, dtype, *data.draw(winograd_convolutions(rung, taps, stride)), of_largest=True)


@pytest.mark.parametrize(("rung", "taps", "stride"), SIZES, ids=str)
def test_winograd_of_many_patches(rung, taps, stride):
    padding = ((taps - 1) // 2,) * 2
    check(rung, np.float32, (2, 17, 33, 30), (19, 17, taps, taps), ((stride, stride), padding, (1, 1), 1), of_largest=True)


@st.composite
def wide_convolutions(draw, rung, taps, stride):
    """More weights than numbers of patches, so that each thread transforms those of its filters as it needs them.

    Sums of the gradient to filters have so many terms here, or more; transforms are off by more than a few terms are."""
    C, F, N = draw(st.integers(9, 80)), draw(st.integers(17, 110)), draw(st.integers(1, 2))
    padding = draw(st.tuples(*[paddings(rung, taps, stride)] * 2))
    size = tuple(draw(st.integers(max(1, taps + 3 * stride - 2 * p), 11 * stride)) for p in padding)
    return (N, C, *size), (F, C, taps, taps), ((stride, stride), padding, (1, 1), 1)


@pytest.mark.parametrize("dtype", oracle.FLOATS)
@pytest.mark.parametrize(("rung", "taps", "stride"), SIZES, ids=str)
@given(data=st.data())
def test_winograd_of_few_patches(rung, taps, stride, dtype, data):
    check(rung, dtype, *data.draw(wide_convolutions(rung, taps, stride)), of_largest=True)


def go_by_panels(monkeypatch, panels):
    """Whatever the rule says, and whatever was planned before."""
    monkeypatch.setattr(winograd_plan, "by_panels", lambda *_: panels)
    for name in ("plan", "gradient_plan"):
        monkeypatch.setattr(conv_winograd, name, inspect.unwrap(getattr(conv_winograd, name)))


@pytest.mark.parametrize("dtype", oracle.FLOATS)
@pytest.mark.parametrize(("rung", "taps", "stride"), [
    (rung, *size) for rung, *size in SIZES if rung.op != "conv2d_weight" and rung.name != "winograd_amx"], ids=str)
def test_winograd_by_panels_is_bit_for_bit_the_same(rung, taps, stride, dtype, monkeypatch):
    """Three blocks of channels, and tiles of all heights."""
    rng, C, F = np.random.default_rng(0), 130, 140
    shape, padding, strides = (1, C, 9 * stride, 13 * stride), ((taps - 1) // 2,) * 2, (stride, stride)
    shapes = (F, C, taps, taps), shape, (1, F, *conv_output_size(shape[2:], (taps, taps), strides, padding, (1, 1)))
    w, x, g = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    args = (x, w) if rung.op == "conv2d_forward" else (g, w, x.shape)
    ways = []
    for panels in (True, False):
        go_by_panels(monkeypatch, panels)
        ways.append(rung(*args, strides, padding, (1, 1), 1))
    assert np.array_equal(*ways)


@pytest.mark.parametrize(("op", "panels", "arrays"), [
    ("conv2d_forward", True, ("turned",)), ("conv2d_forward", False, ("weights", "turned", "products")),
    ("conv2d_weight", True, ("turned", "upstream"))])
def test_winograd_sums_nothing_that_memory_happens_to_hold(op, panels, arrays, monkeypatch):
    """Patches that only fill a tile and filters that only fill a panel are zeros: denormal numbers would cost much time."""
    held, F = [], 74                                            # so many that no panel has only one vector of them

    def empty(size, dtype):
        held.append(np.full(size, np.nan, dtype))
        return held[-1]

    monkeypatch.setattr(conv_winograd, "empty", empty)
    monkeypatch.setattr(winograd_plan, "SMALL", 0)              # so that what is not done by panels is done by stages
    go_by_panels(monkeypatch, panels)
    x, g, w = np.ones((1, 40, 13, 13)), np.ones((1, F, 11, 11)), np.ones((F, 40, 3, 3))
    rung = next(rung for rung in WINOGRAD if rung.op == op and rung.name == "winograd2")
    result = rung(*((x, w) if op == "conv2d_forward" else (x, g, w.shape)), (1, 1), (0, 0), (1, 1), 1)
    assert not np.isnan(result).any()
    of_filters = -(-F // (TALL_COLUMNS * lanes_of(x)))
    held = held[op == "conv2d_weight":]                         # without the result
    for name, array in zip(arrays, held):                       # the matrices of 16 places, each with room behind it
        matrices = array.reshape(16 * (1 if name == "turned" else of_filters), -1)
        assert not np.isnan(matrices[:, :-SKEW]).any(), name


@pytest.mark.parametrize(("taps", "geometry"), [
    (3, ((3, 3), (1, 1), (1, 1), 1)), (3, ((2, 1), (1, 1), (1, 1), 1)), (3, ((1, 1), (1, 1), (2, 2), 1)),
    (5, ((1, 1), (5, 1), (1, 1), 1)), (4, ((1, 1), (1, 1), (1, 1), 1)), (7, ((2, 2), (3, 3), (1, 1), 1)),
    (3, ((1, 1), (1, 1), (1, 1), 2))], ids=str)
@pytest.mark.parametrize("rung", WINOGRAD, ids=str)
def test_winograd_refuses_what_it_cannot_do(rung, taps, geometry):
    refuses(rung, taps, geometry)


@pytest.mark.parametrize("rung", [rung for rung in WINOGRAD if rung.op != "conv2d_forward"], ids=str)
def test_winograd_refuses_gradients_at_stride_2_that_it_does_not_know(rung):
    refuses(rung, 3, ((2, 2), (0, 0) if rung.op == "conv2d_input" else (1, 1), (1, 1), 1))


def refuses(rung, taps, geometry):
    x, w = np.zeros((1, 2, 13, 13)), np.zeros((2, 2 // geometry[3], taps, taps))
    g = np.zeros((1, 2, *conv_output_size(x.shape[2:], w.shape[2:], *geometry[:3])))
    first = {"conv2d_forward": (x, w), "conv2d_input": (g, w, x.shape), "conv2d_weight": (x, g, w.shape)}[rung.op]
    assert not rung.accepts(*first, *geometry)
    with pytest.raises(ValueError, match="at stride 1"):
        rung(*first, *geometry)
