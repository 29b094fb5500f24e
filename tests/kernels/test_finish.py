"""Convolutions that finish their sums before they write them: the bits of the passes over memory which that saves."""

import kernel_oracle as oracle
import numpy as np
import pytest
from conv_cases import EDGE_CASES, convolutions
from hypothesis import given
from hypothesis import strategies as st
from test_conv_winograd import go_by_panels

import minivision_kernels as mk
from minivision_kernels import finish as finishing
from minivision_kernels import ladder
from minivision_kernels.cpu import winograd_plan
from minivision_kernels.cpu.goal import Goal
from minivision_kernels.finish import Finish, run_finished

OPTIONS = ("stride", "padding", "dilation", "groups")
RUNGS = [rung for rung in ladder("conv2d_forward") if rung.device == "cpu" and rung.finishes]
LAYERS = [rung for rung in ladder("linear_forward") if rung.device == "cpu" and rung.finishes]
PRODUCTS = [rung for rung in ladder("linear_input") if rung.device == "cpu" and rung.finishes]
LARGER = {
    "a product of one image": ((1, 40, 13, 17), (72, 40, 1, 1), ((1, 1), (0, 0), (1, 1), 1)),
    "a narrow product that is turned over": ((1, 1100, 3, 4), (101, 1100, 1, 1), ((1, 1), (0, 0), (1, 1), 1)),
    "panels of several images": ((3, 40, 5, 9), (44, 40, 1, 1), ((1, 1), (0, 0), (1, 1), 1)),
    "two channels": ((2, 2, 6, 40), (4, 1, 5, 5), ((1, 1), (2, 2), (1, 1), 2)),
    "few rows": ((1, 20, 30, 31), (3, 20, 1, 1), ((1, 1), (0, 0), (1, 1), 1)),
    "stages": ((2, 130, 33, 30), (150, 130, 3, 3), ((1, 1), (1, 1), (1, 1), 1)),
    "stretches": ((1, 200, 15, 14), (75, 200, 3, 3), ((1, 1), (1, 1), (1, 1), 1)),
    "more groups than lanes": ((2, 36, 6, 9), (54, 2, 3, 3), ((1, 1), (1, 1), (1, 1), 18)),
    "windows with holes": ((2, 40, 20, 22), (36, 40, 3, 3), ((1, 1), (2, 2), (2, 2), 1)),
    "groups off the tile": ((3, 12, 10, 9), (30, 6, 3, 3), ((2, 2), (1, 1), (1, 1), 2)),
}


def rectified(y):
    return np.where(y <= 0, 0, y).astype(y.dtype)


def check(call, x, w, geometry, before=3, behind=2):
    """``call(finish)`` against the result without one: with and without ReLU, alone and among other channels."""
    y, bias = call(None), np.random.default_rng(1).standard_normal(len(w)).astype(x.dtype)
    if bias.size:
        bias[-1] = np.nan
    for relu in (False, True):
        expected = y + bias[:, None, None]
        expected = rectified(expected) if relu else expected
        walled = oracle.guarded(bias, readonly=True)
        np.testing.assert_array_equal(call(Finish(walled, relu)), expected)
        shape = (len(x), before + len(w) + behind, *y.shape[2:])
        into = oracle.guarded(np.full(shape, 7, x.dtype))
        part = call(Finish(walled, relu, into, before))
        np.testing.assert_array_equal(part, expected)
        np.testing.assert_array_equal(into[:, before:before + len(w)], expected)
        others = np.delete(into, range(before, before + len(w)), 1)
        assert (others == 7).all() and (others.size or not into.size)
        walls = into.base.ravel()
        assert np.isnan(walls[:64]).all() and np.isnan(walls[-64:]).all()


def images_and_filters(x_shape, w_shape, dtype):
    rng = np.random.default_rng(0)
    return rng.standard_normal(x_shape).astype(dtype), rng.standard_normal(w_shape).astype(dtype)


def check_rung(rung, dtype, x_shape, w_shape, geometry):
    x, w = images_and_filters(x_shape, w_shape, dtype)
    if rung.accepts is None or rung.accepts(x, w, *geometry):
        check(lambda finish: rung.function(x, w, *geometry, **({} if finish is None else {"finish": finish})), x, w, geometry)


def test_the_fast_rungs_finish():
    names = {"tile", "direct", "implicit", "product", "pixels", "dealt", "depthwise", "groups", "images", "whole", "amx",
             "dilated", "winograd2", "winograd", "winograd_amx"}
    assert names <= {rung.name for rung in RUNGS}
    assert {rung.name for rung in LAYERS} == {"small"}
    assert {rung.name for rung in PRODUCTS} == {"tile", "packed", "amx"}


@pytest.mark.parametrize("dtype", oracle.FLOATS)
@pytest.mark.parametrize("case", [*EDGE_CASES.values(), *LARGER.values()], ids=[*EDGE_CASES, *LARGER])
@pytest.mark.parametrize("rung", RUNGS, ids=str)
def test_finish_edge_cases(rung, case, dtype):
    check_rung(rung, dtype, *case)


@pytest.mark.parametrize("rung", RUNGS, ids=str)
@given(case=convolutions().filter(lambda case: min(oracle.conv_size(case[0][2:], case[1][2:], *case[2][:3])) > 0))
def test_finish(rung, case):
    check_rung(rung, np.dtype("float32"), *case)


@pytest.mark.parametrize("panels", [True, False])
@pytest.mark.parametrize("rung", [rung for rung in RUNGS if "winograd" in rung.name], ids=str)
def test_each_way_of_winograd_finishes(rung, panels, monkeypatch):
    """At stride 1, and at stride 2 where the rung knows it."""
    monkeypatch.setattr(winograd_plan, "SMALL", 0)              # so that what is not done by panels is done by stages
    go_by_panels(monkeypatch, panels)
    for stride in (1, 2)[:1 + (rung.name == "winograd")]:
        check_rung(rung, np.dtype("float32"), (2, 37, 9, 7), (70, 37, 3, 3), ((stride, stride), (1, 1), (1, 1), 1))


@pytest.mark.parametrize("rung", RUNGS, ids=str)
def test_one_thread_or_two_finish_alike(rung):
    window, padding, groups = {"pixels": (1, 0, 1), "depthwise": (3, 1, 24), "groups": (3, 1, 24), "whole": (3, 0, 1)}.get(
        rung.name, (3, 1, 1))
    stride, size = (2, 2) if rung.name == "dealt" else (1, 1), (3, 3) if rung.name == "whole" else (20, 21)
    dilation = 2 if rung.name == "dilated" else 1
    x, w = images_and_filters((3, 24, *size), (48, 24 // groups, window, window), np.float32)
    bias, before, results = np.ones(48, np.float32), mk.get_num_threads(), []
    geometry = stride, (padding * dilation,) * 2, (dilation, dilation), groups
    for n in (1, before):
        mk.set_num_threads(n)
        try:
            results.append(rung.function(x, w, *geometry, finish=Finish(bias, True)))
        finally:
            mk.set_num_threads(before)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("rung", LAYERS, ids=str)
@given(rows=st.integers(0, 40), terms=st.integers(0, 30), columns=st.integers(0, 130), relu=st.booleans())
def test_fully_connected_layers_finish(rung, rows, terms, columns, relu):
    x, w = (normal.astype(np.float32) for normal in images_and_filters((rows, terms), (columns, terms), np.float32))
    bias = np.random.default_rng(2).standard_normal(columns).astype(np.float32)
    expected = rung.function(x, w) + bias
    np.testing.assert_array_equal(rung.function(x, w, finish=Finish(bias, relu)), rectified(expected) if relu else expected)


@pytest.mark.parametrize("rung", PRODUCTS, ids=str)
@given(rows=st.integers(0, 20), terms=st.integers(0, 12), columns=st.integers(0, 70), relu=st.booleans())
def test_products_finish(rung, rows, terms, columns, relu):
    g, w = (normal.astype(np.float32) for normal in images_and_filters((rows, terms), (terms, columns), np.float32))
    bias = np.random.default_rng(2).standard_normal(rows + 64).astype(np.float32)
    expected = rung.function(g, w) + bias[:rows, None]
    flat = oracle.guarded(np.zeros(rows * columns, np.float32))
    rung.function(g, w, finish=Goal(flat, flat.size, bias, relu))
    np.testing.assert_array_equal(flat.reshape(rows, columns), rectified(expected) if relu else expected)


@pytest.mark.parametrize("name", ["numpy", "loops", "parallel", "depthwise", "direct"])
def test_it_is_finished_whatever_the_rung(name, monkeypatch):
    """One that cannot do it leaves it to passes over memory."""
    rung = next(rung for rung in ladder("conv2d_forward") if rung.name == name and rung.device == "cpu")
    monkeypatch.setattr(finishing, "best", lambda *_, **__: rung)
    x, w = images_and_filters((2, 5, 6, 7), (5, 1, 3, 3), np.float32)
    geometry = ((1, 1), (1, 1), (1, 1), 5)

    def call(finish):
        if finish is None:
            return rung.function(x, w, *geometry)
        return run_finished("conv2d_forward", x, w, finish, **dict(zip(OPTIONS, geometry)))

    check(call, x, w, geometry)
