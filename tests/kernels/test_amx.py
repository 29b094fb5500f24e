"""The matrix unit: numbers split into three bfloat16, products made of six, and what becomes of numbers it cannot take.

Where there is no unit, its rungs are those below, and all other tests of kernels hold them to that; the tests here that need
one are skipped.
"""

import inspect
import os
import subprocess
import sys
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_oracle import guarded

import minivision_kernels as mk
from minivision_kernels.cpu import (
    amx,
    amx_panels,
    conv_amx,
    conv_amx_taps,
    conv_amx_taps_weight,
    conv_winograd_amx,
    linear_amx,
)
from minivision_kernels.cpu.compile import In1, Out1, compiled
from minivision_kernels.cpu.simd import load
from minivision_kernels.finish import Finish

unit = pytest.mark.skipif(not amx.present(), reason="this processor has no matrix unit (AMX)")
avx512 = pytest.mark.skipif(amx.BYTES < 64, reason="the vectors of this processor do not hold 16 numbers")
PRODUCTS = {"linear_forward": ((37, 70), (45, 70)), "linear_input": ((37, 70), (70, 45)), "linear_weight": ((70, 37), (70, 45))}
CONVOLUTIONS = ("conv2d_forward", "conv2d_input", "conv2d_weight")
GEOMETRY, UNPADDED = ((1, 1), (1, 1), (1, 1), 1), ((1, 1), (0, 0), (1, 1), 1)


@contextmanager
def left_to_vectors():
    """Products are computed again here."""
    before = amx.recomputed
    yield
    assert amx.recomputed > before
    amx.recomputed = before


def rung(op, name="amx"):
    return next(one for one in mk.ladder(op) if one.name == name and one.device == "cpu")


def convolution(x, w, g):
    """What the three operations are given."""
    return {"conv2d_forward": (x, w), "conv2d_input": (g, w, x.shape), "conv2d_weight": (x, g, w.shape)}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def go_by(patch, way):
    """Filters of several taps are multiplied by ``way``, whatever it costs: "taps", or "panels"."""
    patch.setattr(conv_amx_taps, "price", lambda *_: 0 if way == "taps" else np.inf)


def in_float64(op, a, b):
    a, b = a.astype(float), b.astype(float)
    return {"linear_forward": lambda: a @ b.T, "linear_input": lambda: a @ b, "linear_weight": lambda: a.T @ b}[op]()


@compiled
def _split(low: In1, high: In1, out: Out1):
    amx.put_split(load(low, 0), load(high, 0), out, 0)


def pieces(low, high):
    """The three bfloat16 of which each number was made, (3, 2, 16), as float32."""
    out = np.zeros(amx_panels.PANEL, np.float32)
    _split(low, high, out)
    words = out.view(np.uint32).reshape(amx.PIECES, 2, amx.SIDE, amx.SIDE)[:, 0, 0]
    return np.stack([words << 16, words & 0xFFFF0000], 1).view(np.float32)


@avx512
@given(st.lists(st.integers(0, 2**32 - 1), min_size=32, max_size=32))
def test_three_pieces_are_the_number(patterns):
    """Of every number, given by its bits, that is not too large, exactly; or, if it is very small, but for what is below the
    normal range. Two numbers share each word, and neither disturbs the other."""
    numbers = np.array(patterns, np.uint32).view(np.float32).reshape(2, 16)
    numbers = np.where(np.abs(numbers) < 3.38e38, numbers, np.float32(1.1))
    found = pieces(*numbers)
    for i, j in np.ndindex(numbers.shape):
        off = abs(sum(Fraction(float(piece)) for piece in found[:, i, j]) - Fraction(float(numbers[i, j])))
        assert off == 0 if abs(numbers[i, j]) > 2.0**-102 else off <= Fraction(1, 2**126), (numbers[i, j], found[:, i, j])
    normal_ = np.abs(numbers) > 2.0**-102
    assert (np.abs(found[1]) <= 2.0**-8 * np.abs(numbers))[normal_].all()
    assert (np.abs(found[2]) <= 2.0**-16 * np.abs(numbers))[normal_].all()


@avx512
@given(small=st.floats(0, 2.0**-100, width=32), which=st.integers(0, 1))
def test_small_numbers_do_not_disturb_others(small, which):
    pair = [np.full(16, np.float32(small)), np.full(16, np.float32(1.2345678))]
    found = pieces(*(pair if which else pair[::-1]))
    assert (found[:, which].sum(0, dtype=float) == np.float32(1.2345678)).all()


@avx512
@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan, np.uint32(0x7FFFFFFF).view(np.float32), np.float32(3.4e38)])
def test_what_cannot_be_split_gives_no_number(number):
    one = np.ones(16, np.float32)
    found = pieces(np.where(np.arange(16) == 3, np.float32(number), one), one)
    assert not np.isfinite(found[:, 0, 3]).all() and (found[:, 0, 2].sum(), found[:, 1, 3].sum()) == (1, 1)


@unit
@pytest.mark.parametrize("op", PRODUCTS)
@given(rows=st.integers(1, 100), columns=st.integers(1, 100), terms=st.integers(1, 200), seed=st.integers(0, 9))
def test_products_of_six_are_as_accurate_as_float32(op, rows, columns, terms, seed):
    """Within 2^-21 of the sum of the absolute values of the terms, and nothing beyond the arrays is read: that would be NaN."""
    a, b = {"linear_forward": ((rows, terms), (columns, terms)), "linear_input": ((rows, terms), (terms, columns)),
            "linear_weight": ((terms, rows), (terms, columns))}[op]
    a, b = normal(*a, seed=seed), normal(*b, seed=seed + 10)
    walled = [guarded(array, readonly=True) for array in (a, b)]
    assert (np.abs(rung(op)(*walled) - in_float64(op, a, b)) <= 2.0**-21 * in_float64(op, np.abs(a), np.abs(b))).all()


@unit
@pytest.mark.parametrize("terms", [32, 64, 100, 608, 1184])
@pytest.mark.parametrize("rows", [63, 64, 95, 96, 129])
@pytest.mark.parametrize("op", PRODUCTS)
def test_rows_are_split_while_others_are_multiplied(op, rows, terms):
    """From two whole panels of rows on, and for whole blocks of terms; one panel of columns or many, in several stretches."""
    for columns in (16, 33, 500):
        a, b = {"linear_forward": ((rows, terms), (columns, terms)), "linear_input": ((rows, terms), (terms, columns)),
                "linear_weight": ((terms, rows), (terms, columns))}[op]
        a, b = normal(*a), normal(*b, seed=1)
        assert (np.abs(rung(op)(a, b) - in_float64(op, a, b)) <= 2.0**-21 * in_float64(op, np.abs(a), np.abs(b))).all()


@unit
@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("op", ["conv2d_forward", "conv2d_input"])
@given(N=st.integers(1, 5), channels=st.one_of(st.integers(1, 150), st.sampled_from([300, 768])), filters=st.integers(1, 100),
       sides=st.tuples(*[st.integers(4, 19)] * 2))
def test_pixels_that_stream_by(op, finished, N, channels, filters, sides):
    """Vectors that begin earlier, the last ones of an image or of all; blocks and panels that are partly empty; groups of
    panels that come to an end. Nothing beyond the arrays is read, and nothing beyond the result written."""
    x, w = normal(N, channels, *sides), normal(filters, channels, 1, 1)
    x, w = (x, w) if op == "conv2d_forward" else (x, w.reshape(channels, filters, 1, 1))
    rows, product = w.size // channels, w.reshape(-1, channels) if op == "conv2d_forward" else w.reshape(channels, -1).T
    walled = [guarded(array, readonly=True) for array in (x, w)]
    expected, sizes = (np.einsum("fc,nchw->nfhw", *(of(a.astype(float)) for a in (product, x))) for of in (np.asarray, np.abs))
    if finished and op == "conv2d_forward":
        bias, into = normal(filters, seed=1), np.full((N, filters + 5, *sides), 7, np.float32)
        rung(op).function(*walled, *UNPADDED, finish=Finish(bias, True, into, 3))
        got, expected = into[:, 3:-2], np.maximum(expected + bias[:, None, None], 0)
        assert (into[:, :3] == 7).all() and (into[:, -2:] == 7).all()
    else:
        got = rung(op)(*walled, *([] if op == "conv2d_forward" else [(N, rows, *sides)]), *UNPADDED)
    assert (np.abs(got - expected) <= 2.0**-20 * (sizes + 1)).all()


@unit
@given(N=st.integers(1, 3), channels=st.integers(1, 40), filters=st.integers(64, 130), data=st.data())
def test_taps_folded_into_the_image(N, channels, filters, data):
    """Of even and odd sizes, any paddings and dilations; several lots of channels, and the last of them smaller."""
    taps, dilation = (data.draw(st.tuples(*[st.integers(1, most)] * 2)) for most in (5, 3))
    padding = tuple(data.draw(st.integers(0, k)) for k in taps)
    sizes = tuple(data.draw(st.integers(max(2, d * (k - 1) + 8 - 2 * p), most))
                  for k, p, d, most in zip(taps, padding, dilation, (24, 70)))
    geometry = (2, 2), padding, dilation, 1
    g_size = [(n + 2 * p - d * (k - 1) - 1) // 2 + 1 for n, k, p, d in zip(sizes, taps, padding, dilation)]
    w, g, shape = normal(filters, channels, *taps), normal(N, filters, *g_size, seed=1), (N, channels, *sizes)
    walled = [guarded(array, readonly=True) for array in (g, w)]
    expected, scale = (rung("conv2d_input", "numpy")(of(g).astype(float), of(w).astype(float), shape, *geometry)
                       for of in (np.asarray, np.abs))
    assert (np.abs(rung("conv2d_input")(*walled, shape, *geometry) - expected) <= 2.0**-20 * scale).all()


@unit
@pytest.mark.parametrize("op", CONVOLUTIONS)
@given(N=st.integers(1, 5), channels=st.integers(1, 150), filters=st.integers(1, 100), near=st.sampled_from([1, 30_000, 2**20]),
       terms=st.sampled_from([1, 576]), data=st.data())
def test_taps_that_see_split_pixels(op, N, channels, filters, near, terms, data):
    """Bands of one line, of several, of several images; stretches of one block of channels and of all; blocks, panels and tiles
    that are partly empty. Nothing beyond the arrays is read, and nothing beyond the result written."""
    taps, dilation, stride = (data.draw(st.tuples(*[st.integers(1, most)] * 2)) for most in (5, 3, 3))
    stride = (1, 1) if op == "conv2d_input" else stride         # others go by folding or in phases
    padding = tuple(data.draw(st.integers(0, k + 1)) for k in taps)
    sizes = tuple(data.draw(st.integers(max(1, d * (k - 1) + 1 - 2 * p), 24)) for k, p, d in zip(taps, padding, dilation))
    geometry = stride, padding, dilation, 1
    g_size = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, p, d, s in zip(sizes, taps, padding, dilation, stride)]
    x, w, g = normal(N, channels, *sizes), normal(filters, channels, *taps), normal(N, filters, *g_size, seed=1)
    args, seen = convolution(x, w, g)[op], amx.recomputed
    walled = [guarded(array, readonly=True) if isinstance(array, np.ndarray) else array for array in args]
    expected, scale = (rung(op, "numpy")(*(of(a).astype(float) if isinstance(a, np.ndarray) else a for a in args), *geometry)
                       for of in (np.asarray, np.abs))
    with pytest.MonkeyPatch.context() as patch:
        go_by(patch, "taps")
        for module in (conv_amx_taps, conv_amx_taps_weight):
            patch.setattr(module, "NEAR", near)
            patch.setattr(module, "plan", inspect.unwrap(module.plan))
        patch.setattr(conv_amx_taps, "TERMS", terms)
        if op == "conv2d_forward":
            bias, into = normal(filters, seed=2), np.full((N, filters + 5, *g_size), 7, np.float32)
            rung(op).function(*walled, *geometry, finish=Finish(bias, True, into, 3))
            got, expected = into[:, 3:-2], np.maximum(expected + bias[:, None, None], 0)
            assert (into[:, :3] == 7).all() and (into[:, -2:] == 7).all()
        else:
            got = rung(op)(*walled, *geometry)
    assert (np.abs(got - expected) <= 2.0**-20 * (scale + 1)).all() and amx.recomputed == seen


@unit
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("side", [1, 3])
def test_weights_that_are_turned_over_before(side, stride, groups, monkeypatch):
    """As for gradients of many pixels, for each block of which they would be turned over again."""
    go_by(monkeypatch, "panels")
    monkeypatch.setattr(conv_amx, "OFTEN", 0)
    monkeypatch.setattr(linear_amx, "OFTEN", 0)
    x, w = normal(2, 24 * groups, 11, 12), normal(70 * groups, 24, side, side)
    geometry = (stride, stride), (side // 2, side // 2), (1, 1), groups
    g = rung("conv2d_forward", "implicit")(x, w, *geometry)
    expected = rung("conv2d_input", "numpy")(g.astype(float), w.astype(float), x.shape, *geometry)
    np.testing.assert_allclose(rung("conv2d_input")(g, w, x.shape, *geometry), expected, atol=1e-6 * np.abs(expected).max())
    a, b = normal(90, 70), normal(90, 50, seed=1)
    np.testing.assert_allclose(rung("linear_weight")(a, b), in_float64("linear_weight", a, b), atol=1e-4)


@unit
@pytest.mark.parametrize("op", PRODUCTS)
def test_long_sums_lose_less_than_those_of_vectors(op):
    a, b = (normal(*(20 * n if n == 70 else n for n in shape), seed=k) for k, shape in enumerate(PRODUCTS[op]))
    off = {name: np.abs(rung(op, name)(a, b) - in_float64(op, a, b)).max() for name in ("amx", "packed")}
    assert off["amx"] < off["packed"], off


@unit
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan, 3.4e38])
@pytest.mark.parametrize("op", PRODUCTS)
def test_infinite_numbers_are_left_to_vectors(op, bad):
    a, b = (normal(*shape, seed=k) for k, shape in enumerate(PRODUCTS[op]))
    a[3, 5] = bad
    with left_to_vectors():
        np.testing.assert_array_equal(rung(op)(a, b), rung(op, "packed")(a, b))


@unit
@pytest.mark.parametrize(("channels", "groups"), [(9, 1), (140, 1), (10, 2)])      # a stretch, three of them; groups
@pytest.mark.parametrize(("side", "stride"), [(3, 1), (3, 2), (3, 3), (1, 1)])
@pytest.mark.parametrize("bad", [np.inf, np.nan, 3.4e38])
@pytest.mark.parametrize("way", ["taps", "panels"])
@pytest.mark.parametrize("op", ["conv2d_forward", "conv2d_input"])
def test_infinite_pixels_are_left_to_vectors(op, way, bad, side, stride, channels, groups, monkeypatch):
    go_by(monkeypatch, way if groups == 1 else "panels")
    x, w = normal(2, channels, 8, 8), normal(140, channels // groups, side, side)
    geometry = (stride, stride), (side // 2, side // 2), (1, 1), groups
    g = rung("conv2d_forward", "implicit")(x, w, *geometry)
    x[1, 3, 4, 4] = g[1, 3, 1, 1] = bad
    args = (x, w) if op == "conv2d_forward" else (g, w, x.shape)
    with left_to_vectors():
        np.testing.assert_array_equal(rung(op)(*args, *geometry), rung(op, "implicit")(*args, *geometry))


@unit
@pytest.mark.parametrize(("name", "below", "groups"), [
    ("amx", "implicit", 2), ("amx", "implicit", 1), ("winograd_amx", "winograd", 1)])
def test_infinite_pixels_are_finished_once(name, below, groups, monkeypatch):
    """A bias is added, and negative numbers become 0, only in what the vectors compute."""
    go_by(monkeypatch, "taps" if groups == 1 else "panels")
    x, w, bias = normal(2, 10, 8, 8), normal(14, 10 // groups, 3, 3), normal(14, seed=1)
    x[1, 3, 4, 5] = np.inf
    results = []
    for one in (name, below):
        into = np.full((2, 20, 8, 8), 7, np.float32)
        rung("conv2d_forward", one).function(x, w, (1, 1), (1, 1), (1, 1), groups, finish=Finish(bias, True, into, 3))
        results.append(into)
    np.testing.assert_array_equal(*results)
    amx.recomputed -= 1


@unit
@pytest.mark.parametrize("bad", [np.inf, np.nan, 3.4e38])
@pytest.mark.parametrize(("side", "below"), [(1, "packed"), (3, "direct")])
def test_infinite_gradients_are_left_to_vectors(side, below, bad):
    x, g = normal(3, 40, 9, 8), normal(3, 50, 9, 8, seed=1)
    g[2, 40, 4, 4] = bad
    geometry = (50, 40, side, side), (1, 1), (side // 2, side // 2), (1, 1), 1
    with left_to_vectors():
        np.testing.assert_array_equal(rung("conv2d_weight")(x, g, *geometry), rung("conv2d_weight", below)(x, g, *geometry))


@unit
@pytest.mark.parametrize("taps", [3, 5])
@pytest.mark.parametrize("bad", [np.inf, np.nan, 3.4e38])
@pytest.mark.parametrize("op", CONVOLUTIONS)
def test_infinite_patches_are_left_to_vectors(op, bad, taps):
    x, w = normal(2, 20, 9, 8), normal(40, 20, taps, taps)
    g = normal(2, 40, 10 - taps, 9 - taps)
    x[1, 3, 4, 3] = g[1, 3, 2, 1] = bad
    args = convolution(x, w, g)[op]
    with left_to_vectors():
        np.testing.assert_array_equal(rung(op, "winograd_amx")(*args, *UNPADDED), rung(op, "winograd")(*args, *UNPADDED))


@unit
@pytest.mark.parametrize("stage", [1, 2**30])               # 32 patches, or all of them
@pytest.mark.parametrize("block", [1, 2**30])               # one panel, or all of them
@pytest.mark.parametrize(("channels", "filters"), [(64, 100), (70, 40), (33, 16)])
@pytest.mark.parametrize("op", CONVOLUTIONS)
def test_patches_in_stages_and_panels_in_parts(op, channels, filters, block, stage, monkeypatch):
    """Whole blocks and panels, and others; rows that are split while others are multiplied, and the last ones of a stage."""
    monkeypatch.setattr(conv_winograd_amx, "STAGE", (stage, stage))
    monkeypatch.setattr(conv_winograd_amx, "plan", inspect.unwrap(conv_winograd_amx.plan))
    monkeypatch.setattr(amx_panels, "BLOCK", block)
    x, w, g = normal(2, channels, 39, 41), normal(filters, channels, 3, 3), normal(2, filters, 37, 39)
    args = convolution(x, w, g)[op]
    walled = [guarded(a, readonly=True) if isinstance(a, np.ndarray) else a for a in args]
    exactly = rung(op, "direct")(*(a.astype(float) if isinstance(a, np.ndarray) else a for a in args), *UNPADDED)
    assert np.abs(rung(op, "winograd_amx")(*walled, *UNPADDED) - exactly).max() <= 5e-5 * exactly.std()


@unit
def test_numbers_below_the_normal_range_lose_only_their_last_digits():
    a, b = normal(16, 64), normal(16, 64, seed=1)
    for power in (-90, -101, -110, -118):
        small = a * np.float32(2.0**power)
        off = np.abs(rung("linear_forward")(small, b) - in_float64("linear_forward", small, b)).max()
        assert off <= 64 * np.abs(b).max() * 2.0**-125 + 2.0**-21 * np.abs(small).max() * 64
    for power in (-50, -55, -60, -70):                  # their products are, or parts of them
        small, other = a * np.float32(2.0**power), b * np.float32(2.0**power)
        off = np.abs(rung("linear_forward")(small, other) - in_float64("linear_forward", small, other)).max()
        assert off <= 64 * 6 * 2.0**-126 + 2.0**-21 * np.abs(small).max() * np.abs(other).max() * 64


@unit
@pytest.mark.parametrize(("op", "name"), [
    *((op, "amx") for op in (*PRODUCTS, "conv2d_forward", "conv2d_input")), ("conv2d_forward", "pixels"),
    ("conv2d_input", "phases"), *((op, name) for op in CONVOLUTIONS for name in ("winograd_amx", "taps"))])
def test_one_thread_or_two(op, name, monkeypatch):
    x, w = normal(3, 40, 20, 21), normal(70, 40, 3, 3)
    go_by(monkeypatch, "taps" if name == "taps" else "panels")
    if name == "pixels":
        args, name = (x, w[..., :1, :1], *UNPADDED), "amx"
    elif name == "phases":
        args, name = (normal(3, 70, 10, 11), w[:, :20], x.shape, (2, 2), *GEOMETRY[1:3], 2), "amx"
    elif op in PRODUCTS:
        args = [normal(*(9 * n for n in shape), seed=k) for k, shape in enumerate(PRODUCTS[op])]
    elif (op, name) == ("conv2d_input", "amx"):
        args = normal(3, 70, 10, 11), w, x.shape, (2, 2), *GEOMETRY[1:]
    else:
        args, name = (*convolution(x, w, normal(3, 70, 20, 21, seed=1))[op], *GEOMETRY), name.replace("taps", "amx")
    before, results = mk.get_num_threads(), []
    for n in (1, before):
        mk.set_num_threads(n)
        try:
            results.append(rung(op, name)(*args))
        finally:
            mk.set_num_threads(before)
    np.testing.assert_array_equal(*results)


@unit
def test_large_products_go_to_the_unit_and_small_ones_do_not():
    large, small = np.zeros((512, 512), np.float32), np.zeros((32, 32), np.float32)
    for op in PRODUCTS:
        assert mk.best(op, large, large).name == "amx" != mk.best(op, small, small).name
        assert mk.best(op, large.astype(float), large.astype(float)).name == "packed"
    x, w = np.zeros((4, 256, 28, 28), np.float32), np.zeros((256, 256, 1, 1), np.float32)
    assert mk.best("conv2d_forward", x, w, (1, 1), (0, 0), (1, 1), 1).name == "amx"
    assert mk.best("conv2d_input", x, w, x.shape, (1, 1), (0, 0), (1, 1), 1).name == "amx"
    three = np.zeros((256, 256, 3, 3), np.float32)
    few = x[:1, :, :14, :14]
    for op in CONVOLUTIONS:
        assert mk.best(op, *convolution(x, three, x)[op], *GEOMETRY).name == "winograd_amx"
        assert mk.best(op, *convolution(few, three, few)[op], *GEOMETRY).name == "winograd"
    by_blocks = np.zeros((96, 256, 3, 3), np.float32)               # these transformed weights stay near
    assert mk.best("conv2d_forward", x, by_blocks, *GEOMETRY).name == "winograd"
    small, g = np.zeros((16, 128, 12, 12), np.float32), np.zeros((16, 256, 12, 12), np.float32)
    assert mk.best("conv2d_weight", small, g, (256, 128, 3, 3), *GEOMETRY).name == "winograd_amx"   # not the smallest patches
    wide = np.zeros((128, 128, 3, 3), np.float32)
    g = np.zeros((4, 128, 14, 14), np.float32)
    assert mk.best("conv2d_input", g, wide, (4, 128, 28, 28), (2, 2), (1, 1), (1, 1), 1).name == "amx"
    x = np.zeros((4, 128, 28, 28), np.float32)
    for images, name in ((4, "amx"), (1, "direct")):                # the sums of few pixels take longer to write than to form
        assert mk.best("conv2d_weight", x[:images], g[:images], wide.shape, (2, 2), (1, 1), (1, 1), 1).name == name
    x, few = np.zeros((8, 128, 56, 56), np.float32), np.zeros((48, 128, 3, 3), np.float32)      # for which panels are no use
    assert mk.best("conv2d_forward", x, few, (2, 2), (1, 1), (1, 1), 1).name == "amx"
    assert conv_amx_taps.price((4, 128), 32, (14, 14), (3, 3), (2, 2), (1, 1), 1) < np.inf
    assert conv_amx_taps.price((4, 128), 32, (14, 14), (3, 3), (2, 2), (1, 1), 2) == np.inf         # groups
    assert conv_amx_taps.price((4, 128), 32, (28, 28), (1, 1), (2, 2), (1, 1), 1) == np.inf
    assert mk.best("conv2d_forward", x[:0], few, (2, 2), (1, 1), (1, 1), 1).name != "amx"
    assert mk.best("conv2d_forward", small[:, :16], np.zeros((64, 16, 1, 1), np.float32), *UNPADDED).name != "amx"
    mk.set_exact(True)
    try:
        assert mk.best("conv2d_forward", x, three, *GEOMETRY).name in ("amx", "winograd2")
    finally:
        mk.set_exact(False)


def test_without_a_unit_the_rungs_are_those_below(monkeypatch):
    monkeypatch.setattr(amx, "present", lambda: False)
    for op, shapes in PRODUCTS.items():
        a, b = (normal(*(8 * n for n in shape)) for shape in shapes)
        np.testing.assert_array_equal(rung(op)(a, b), rung(op, "packed")(a, b))
        assert not rung(op).accepts(a, b)
    for side, stride in ((1, 1), (3, 1), (3, 2)):
        x, w = normal(2, 9, 8, 8), normal(17, 9, side, side)
        geometry = (stride, stride), (side // 2, side // 2), (1, 1), 1
        g = rung("conv2d_forward", "implicit")(x, w, *geometry)
        for op, args in convolution(x, w, g).items():
            alone = "implicit" if op != "conv2d_weight" else "packed" if side == 1 else "direct"
            below = {"amx": alone, "winograd_amx": "winograd"}
            for name in ["amx"] + ["winograd_amx"] * ((side, stride) == (3, 1)):
                np.testing.assert_array_equal(rung(op, name)(*args, *geometry), rung(op, below[name])(*args, *geometry))
                assert not rung(op, name).accepts(*args, *geometry)


@pytest.mark.parametrize("told", [
    {"NUMBA_CPU_NAME": "generic"},
    {"NUMBA_CPU_NAME": "skylake-avx512",
     "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+avx512f,+avx512dq,+avx512cd,+avx512bw,+avx512vl"},
])
def test_nobody_uses_a_unit_that_numba_was_told_to_leave_alone(told):
    program = "from minivision_kernels.cpu import amx; print(amx.present())"
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CPU_FEATURES"}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path), **told}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment,
                          cwd=Path(__file__).parent)
    assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize("terms", [1, 31, 32, 33, 288, 500, 512, 577, 1024, 4608])
@pytest.mark.parametrize("whole", [1, 9, 25, 700])
def test_stretches_have_whole_channels_and_few_empty_terms(terms, whole):
    terms *= whole
    size = amx_panels.stretches(terms, whole)
    assert size % whole == 0 and 0 < size <= max(amx_panels.TERMS, whole)
    used = sum(-(-min(size, terms - k) // amx_panels.DEEP) * amx_panels.DEEP for k in range(0, terms, size))
    assert used <= 1.13 * terms + 32 or whole > 512
