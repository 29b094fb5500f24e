"""Convolution rungs for layers of one kind: depthwise windows, a lane for each image or group, windows with holes or as large
as the image, gradients to few 1 x 1 filters."""

import kernel_oracle as oracle
import numpy as np
import pytest
from conv_cases import ALL, EDGE_CASES, check, pair
from hypothesis import given
from hypothesis import strategies as st

import minivision_kernels as mk
from minivision_kernels.cpu import conv_depthwise, conv_groups, conv_groups_weight, conv_images, stream

IMAGES = [rung for rung in ALL if rung.name == "images"]
GROUPS = [rung for rung in ALL if rung.name == "groups"]
WHOLE = [rung for rung in ALL if rung.name == "whole"]
INNER, = [rung for rung in ALL if rung.name == "inner"]
DILATED = [rung for rung in ALL if rung.name == "dilated"]
DEPTHWISE = [rung for rung in ALL if rung.name == "depthwise"]


@st.composite
def depthwise_convolutions(draw):
    """Windows that have kernels of words and others; lines that fill a few vectors or none."""
    C, share, N = draw(st.integers(1, 4)), draw(st.integers(1, 2)), draw(st.integers(0, 2))
    side, stride = draw(st.sampled_from([3, 3, 5, 7, 2])), draw(st.sampled_from([1, 1, 2, 3]))
    window = draw(st.sampled_from([(side, side), (side, 1)]))
    padding, dilation = draw(pair(0, 3)), draw(st.sampled_from([(1, 1), (1, 1), (2, 1)]))
    size = draw(st.tuples(st.integers(1, 13), st.integers(1, 37)))
    return (N, C, *size), (C * share, 1, *window), ((stride, stride), padding, dilation, C)


@pytest.mark.parametrize("dtype", oracle.FLOATS)
@pytest.mark.parametrize("rung", DEPTHWISE, ids=str)
@given(case=depthwise_convolutions())
def test_depthwise_matches_the_formula(rung, dtype, case):
    check(rung, dtype, *case)


@pytest.mark.parametrize("large", [0, 1 << 20], ids=["by rows", "by strips"])
@pytest.mark.parametrize(("side", "stride"), [(3, 1), (3, 2), (5, 1), (7, 2)])
@pytest.mark.parametrize("rung", DEPTHWISE, ids=str)
def test_depthwise_planes_from_afar(rung, side, stride, large, monkeypatch):
    """What is asked for changes no sum, nor does the way through a plane."""
    monkeypatch.setattr(stream, "FAR", 0)
    monkeypatch.setattr(conv_depthwise, "LARGE", large)
    for size in ((9, 41), (18, 7)):
        check(rung, np.float32, (3, 5, *size), (10 if stride == 1 else 5, 1, side, side), (
            (stride, stride), (side // 2, side // 2), (1, 1), 5))


@pytest.mark.parametrize("rung", DEPTHWISE, ids=str)
def test_depthwise_refuses_other_groups(rung):
    x, w, g = np.zeros((1, 4, 9, 9)), np.zeros((4, 2, 3, 3)), np.zeros((1, 4, 7, 7))
    first = {"conv2d_forward": (x, w), "conv2d_input": (g, w, x.shape), "conv2d_weight": (x, g, w.shape)}[rung.op]
    with pytest.raises(ValueError, match="as many groups as channels"):
        rung(*first, (1, 1), (0, 0), (1, 1), 2)


@pytest.mark.parametrize("dtype", oracle.FLOATS)
@pytest.mark.parametrize("rung", WHOLE, ids=str)
@given(N=st.integers(0, 20), C=st.integers(0, 5), F=st.integers(0, 20), size=pair(1, 7), stride=pair(1, 3))
def test_whole_matches_the_formula(rung, dtype, N, C, F, size, stride):
    check(rung, dtype, (N, C, *size), (F, C, *size), (stride, (0, 0), (1, 1), 1))


@pytest.mark.parametrize("rung", WHOLE, ids=str)
def test_whole_refuses_windows_that_slide(rung):
    x, w, g = np.zeros((1, 4, 9, 9)), np.zeros((4, 4, 8, 9)), np.zeros((1, 4, 2, 1))
    first = {"conv2d_forward": (x, w), "conv2d_input": (g, w, x.shape), "conv2d_weight": (x, g, w.shape)}[rung.op]
    with pytest.raises(ValueError, match="as large as the image"):
        rung(*first, (1, 1), (0, 0), (1, 1), 1)


@st.composite
def convolutions_of_many_images(draw):
    """Images that fill vectors or do not; filters that fill tiles of eight or six, or do not."""
    groups, N = draw(st.integers(1, 2)), draw(st.sampled_from([0, 1, 5, 16, 17, 35]))
    C, F, window = draw(st.integers(0, 5)), draw(st.sampled_from([1, 6, 8, 11, 16])), draw(pair(1, 5))
    size = draw(st.tuples(st.integers(1, 12), st.integers(1, 20)))
    return (N, C * groups, *size), (F * groups, C, *window), (draw(pair(1, 3)), draw(pair(0, 5)), draw(pair(1, 3)), groups)


def at_stride_1(rung, geometry):
    """Gradients to images go no other way there."""
    return ((1, 1), *geometry[1:]) if rung.op == "conv2d_input" else geometry


@pytest.mark.parametrize("dtype", oracle.FLOATS)
@pytest.mark.parametrize("rung", IMAGES, ids=str)
@given(case=convolutions_of_many_images())
def test_images_match_the_formula(rung, dtype, case):
    x_shape, w_shape, geometry = case
    check(rung, dtype, x_shape, w_shape, at_stride_1(rung, geometry))


@pytest.mark.parametrize("dtype", oracle.FLOATS)
@pytest.mark.parametrize("case", EDGE_CASES)
@pytest.mark.parametrize("rung", IMAGES, ids=str)
def test_images_edge_cases(rung, case, dtype):
    x_shape, w_shape, geometry = EDGE_CASES[case]
    check(rung, dtype, x_shape, w_shape, at_stride_1(rung, geometry))


@pytest.mark.parametrize("rung", IMAGES, ids=str)
def test_images_line_by_line(rung, monkeypatch):
    """Where no more lines than one stay near, and where the images are summed in as many parts as there may be."""
    monkeypatch.setattr(conv_images, "NEAR", 1)
    conv_images.plan.cache_clear()
    try:
        check(rung, np.float32, (37, 3, 11, 13), (7, 3, 3, 5), ((1, 1), (1, 2), (1, 1), 1))
    finally:
        conv_images.plan.cache_clear()


@pytest.mark.parametrize("dtype", oracle.FLOATS)
@given(N=st.integers(0, 3), F=st.integers(6, 40), C=st.integers(6, 30),
       size=st.tuples(st.integers(1, 45), st.integers(1, 45)))
def test_inner_products_of_planes(dtype, N, F, C, size):
    """Filters and channels off the tile, more of either; images of less than a vector and of more than a stretch."""
    check(INNER, dtype, (N, C, *size), (F, C, 1, 1), ((1, 1), (0, 0), (1, 1), 1))


def test_inner_products_refuse_few_filters():
    for shape, stride, size in (((2, 8, 1, 1), 1, 9), ((8, 8, 3, 3), 1, 7), ((8, 8, 1, 1), 2, 5)):
        x, g = np.zeros((1, 8, 9, 9)), np.zeros((1, shape[0], size, size))
        with pytest.raises(ValueError, match="or more 1 x 1 filters of as many channels, stride 1"):
            INNER(x, g, shape, (stride, stride), (0, 0), (1, 1), 1)


@st.composite
def dilated_convolutions(draw):
    """Images that divide into phases of the same size or do not, or that have fewer pixels than there are phases."""
    dilation, around = draw(pair(1, 4).filter(lambda dilation: dilation != (1, 1))), draw(pair(0, 2))
    groups, N, C, F = draw(st.integers(1, 2)), draw(st.integers(0, 3)), draw(st.integers(0, 3)), draw(st.integers(1, 4))
    size, window = draw(st.tuples(st.integers(1, 40), st.integers(1, 40))), draw(pair(1, 3))
    padding = tuple(d * a for d, a in zip(dilation, around))
    return (N, C * groups, *size), (F * groups, C, *window), ((1, 1), padding, dilation, groups)


@pytest.mark.parametrize("dtype", oracle.FLOATS)
@pytest.mark.parametrize("rung", DILATED, ids=str)
@given(case=dilated_convolutions().filter(lambda case: min(oracle.conv_size(case[0][2:], case[1][2:], *case[2][:3])) > 0))
def test_dilated_windows_match_the_formula(rung, dtype, case):
    check(rung, dtype, *case)


@pytest.mark.parametrize("rung", DILATED, ids=str)
def test_dilated_windows_go_by_winograd(rung):
    """Where that pays, in the place that a finish has for them, too, and only if accuracy is no matter."""
    shapes, geometry = ((2, 64, 33, 28), (72, 64, 3, 3)), ((1, 1), (2, 2), (2, 2), 1)
    check(rung, np.float32, *shapes, geometry, of_largest=True)
    x, w = (np.ones(shape, np.float32) for shape in shapes)
    args = {"conv2d_forward": (x, w), "conv2d_input": (np.ones((2, 72, 33, 28), np.float32), w, x.shape),
            "conv2d_weight": (x, np.ones((2, 72, 33, 28), np.float32), w.shape)}[rung.op]
    assert mk.best(rung.op, *args, *geometry).name == "dilated"
    mk.set_exact(True)
    try:
        assert mk.best(rung.op, *args, *geometry).name != "dilated"
    finally:
        mk.set_exact(False)


def test_dilated_refuses_padding_off_its_grid():
    x, w = np.zeros((1, 4, 9, 9)), np.zeros((4, 4, 3, 3))
    rung, = [rung for rung in DILATED if rung.op == "conv2d_forward"]
    for geometry in (((1, 1), (1, 2), (2, 2), 1), ((2, 2), (2, 2), (2, 2), 1), ((1, 1), (1, 1), (1, 1), 1)):
        with pytest.raises(ValueError, match="a dilation above 1 that divides the padding; call the rung 'direct'"):
            rung(x, w, *geometry)


@st.composite
def convolutions_of_many_groups(draw):
    """Groups that fill vectors or do not, of few channels and filters, of one each, or of none."""
    groups, N = draw(st.sampled_from([16, 17, 20, 24, 32])), draw(st.sampled_from([0, 1, 2, 3]))
    C, F, window = draw(st.integers(0, 4)), draw(st.integers(1, 4)), draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    size = draw(st.tuples(st.integers(1, 12), st.integers(1, 20)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 2)))
    return (N, C * groups, *size), (F * groups, C, *window), (stride, draw(pair(0, 5)), draw(pair(1, 3)), groups)


@pytest.mark.parametrize("dtype", oracle.FLOATS)
@pytest.mark.parametrize("rung", GROUPS, ids=str)
@given(case=convolutions_of_many_groups())
def test_groups_match_the_formula(rung, dtype, case):
    check(rung, dtype, *case)


@pytest.mark.parametrize("window", [1, 2, 3, 5, 7], ids=str)
@pytest.mark.parametrize("filters", [1, 2], ids=str)
@pytest.mark.parametrize("rung", GROUPS, ids=str)
def test_groups_in_every_tile(rung, filters, window):
    """All kernels: lines of several tiles, of four pixels and of fewer, at both strides."""
    for width in (23, 6, 3):
        for stride in (1, 2):
            check(rung, np.float32, (2, 32, 5, width), (32 * filters, 1, window, window),
                  ((stride, stride), (window // 2, window // 2), (1, 1), 32))


@pytest.mark.parametrize("rung", GROUPS, ids=str)
def test_groups_line_by_line(rung, monkeypatch):
    """Where no more lines than one stay near."""
    monkeypatch.setattr(conv_groups, "NEAR", 1)
    monkeypatch.setattr(conv_groups_weight, "NEAR", 1)
    for stride in (1, 2):
        check(rung, np.float32, (3, 48, 11, 13), (72, 2, 3, 5), ((stride, stride), (1, 2), (1, 1), 24))


def test_groups_refuse_few_groups_and_long_strides():
    x, w = np.zeros((1, 64, 9, 9)), np.zeros((64, 1, 3, 3))
    rung, = [rung for rung in GROUPS if rung.op == "conv2d_forward"]
    with pytest.raises(ValueError, match="strides along lines up to 2, got 64 and 3; call the rung 'direct'"):
        rung(x, w, (1, 3), (0, 0), (1, 1), 64)
    with pytest.raises(ValueError, match="got 1 and 1"):
        rung(x, np.zeros((64, 64, 3, 3)), (1, 1), (0, 0), (1, 1), 1)


def test_images_refuse_strides_of_the_gradient():
    rung, = [rung for rung in IMAGES if rung.op == "conv2d_input"]
    x, w, g = np.zeros((16, 4, 9, 9)), np.zeros((4, 4, 3, 3)), np.zeros((16, 4, 4, 4))
    with pytest.raises(ValueError, match="call the rung 'implicit'"):
        rung(g, w, x.shape, (2, 2), (0, 0), (1, 1), 1)
