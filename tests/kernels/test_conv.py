"""Convolution and its gradients: every rung against plain loops, and against each other as adjoints."""

import inspect

import kernel_oracle as oracle
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import minivision_kernels as mk
from minivision_kernels.cpu import conv_folded, conv_groups, conv_groups_weight, conv_images, conv_pixels, conv_winograd
from minivision_kernels.cpu.simd import lanes_of
from minivision_kernels.cpu.tile import TALL_COLUMNS
from minivision_kernels.cpu.winograd import SKEW
from minivision_kernels.cpu.writer import BYTES
from minivision_kernels.shapes import conv_output_size


def pair(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def convolutions(draw):
    """Shapes of x and w, and a geometry: odd ones are likely, windows that do not fit possible."""
    groups = draw(st.integers(1, 3))
    C, F = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    N, size, window = draw(st.integers(0, 5)), draw(pair(1, 9)), draw(pair(1, 4))
    geometry = draw(pair(1, 4)), draw(pair(0, 5)), draw(pair(1, 3)), groups
    return (N, C * groups, *size), (F * groups, C, *window), geometry


EDGE_CASES = {
    "1x1 image": ((2, 3, 1, 1), (4, 3, 3, 3), ((1, 1), (1, 1), (1, 1), 1)),
    "1x1 window, stride 2": ((2, 3, 6, 5), (4, 3, 1, 1), ((2, 2), (0, 0), (1, 1), 1)),
    "depthwise": ((2, 9, 6, 7), (9, 1, 3, 3), ((1, 1), (1, 1), (1, 1), 9)),
    "empty batch": ((0, 3, 5, 5), (4, 3, 3, 3), ((1, 1), (1, 1), (1, 1), 1)),
    "empty output": ((2, 3, 2, 2), (4, 3, 3, 3), ((1, 1), (0, 0), (1, 1), 1)),
    "no filters": ((2, 3, 5, 5), (0, 3, 3, 3), ((1, 1), (0, 0), (1, 1), 1)),
    "no channels": ((2, 0, 5, 5), (4, 0, 3, 3), ((1, 1), (0, 0), (1, 1), 1)),
    "stride over window": ((2, 2, 9, 9), (3, 2, 2, 2), ((4, 5), (0, 1), (1, 1), 1)),
    "padding over window": ((2, 2, 3, 4), (3, 2, 2, 3), ((1, 2), (3, 5), (1, 1), 1)),
    "several strips": ((1, 2, 70, 60), (3, 2, 3, 3), ((1, 1), (1, 1), (1, 1), 1)),
    "a row longer than a strip": ((1, 1, 2, 2100), (2, 1, 2, 3), ((1, 1), (0, 1), (1, 1), 1)),
    "channels off the tile": ((2, 37, 9, 11), (45, 37, 3, 3), ((1, 1), (1, 1), (1, 1), 1)),
    "many channels, stride 2": ((1, 70, 7, 7), (34, 70, 3, 3), ((2, 2), (1, 1), (1, 1), 1)),
    "a sum in several parts": ((1, 300, 4, 5), (20, 300, 2, 2), ((1, 1), (0, 0), (1, 1), 1)),
    "images side by side in tiles": ((9, 6, 3, 3), (40, 6, 3, 3), ((1, 1), (1, 1), (1, 1), 1)),
    "enough for threads": ((5, 8, 12, 12), (8, 4, 3, 3), ((1, 2), (1, 1), (1, 1), 2)),
}


def check(rung, dtype, x_shape, w_shape, geometry, slack=1, of_largest=False):
    """Within ``slack`` times the bound; with ``of_largest`` that of the largest sum: transforms mix the numbers of a patch."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(x_shape).astype(dtype), rng.standard_normal(w_shape).astype(dtype)
    output = oracle.conv_size(x_shape[2:], w_shape[2:], *geometry[:3])
    assert conv_output_size(x_shape[2:], w_shape[2:], *geometry[:3]) == output
    g = rng.standard_normal((x_shape[0], w_shape[0], *output)).astype(dtype)
    args = {
        "conv2d_forward": (x, w), "conv2d_input": (g, w, x_shape), "conv2d_weight": (x, g, w_shape),
    }[rung.op]
    expect = getattr(oracle, rung.op)
    sizes = [np.abs(a) if isinstance(a, np.ndarray) else a for a in args]
    walled = [oracle.guarded(a, readonly=True) if isinstance(a, np.ndarray) else a for a in args]
    scale = slack * expect(*sizes, *geometry)
    if of_largest:
        scale = scale.max(initial=0)
    oracle.assert_close(rung(*walled, *geometry), expect(*args, *geometry), scale, dtype)


ALL = oracle.rungs("conv2d_forward", "conv2d_input", "conv2d_weight")
SPECIAL = ("depthwise", "groups", "images", "inner", "whole", "pixels", "dealt", "dilated", "packed", "winograd", "winograd2",
           "winograd_amx")                  # not for all
OF_ONE_PIXEL = [rung for rung in ALL if rung.op == "conv2d_weight" and rung.name in ("packed", "amx")]
RUNGS = [rung for rung in ALL if rung.name not in SPECIAL and (rung.name == "amx" or rung not in OF_ONE_PIXEL)]
PIXELS = [rung for rung in ALL if rung.name == "pixels"]
IMAGES = [rung for rung in ALL if rung.name == "images"]
GROUPS = [rung for rung in ALL if rung.name == "groups"]
WHOLE = [rung for rung in ALL if rung.name == "whole"]
INNER, = [rung for rung in ALL if rung.name == "inner"]
DILATED = [rung for rung in ALL if rung.name == "dilated"]
DEPTHWISE = [rung for rung in ALL if rung.name == "depthwise"]
WINOGRAD = [rung for rung in ALL if rung.name.startswith("winograd")]
SIZES = [(rung, 3) for rung in WINOGRAD] + [(rung, 5) for rung in WINOGRAD if rung.name != "winograd2"]    # and taps each way


@pytest.mark.parametrize("dtype", oracle.FLOATS)
@pytest.mark.parametrize("rung", RUNGS, ids=str)
@given(case=convolutions())
def test_matches_the_formula(rung, dtype, case):
    check(rung, dtype, *case)


@pytest.mark.parametrize("dtype", oracle.FLOATS)
@pytest.mark.parametrize("case", EDGE_CASES)
@pytest.mark.parametrize("rung", RUNGS, ids=str)
def test_edge_cases(rung, case, dtype):
    check(rung, dtype, *EDGE_CASES[case])


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


@pytest.mark.parametrize("rung", DEPTHWISE, ids=str)
def test_depthwise_refuses_other_groups(rung):
    x, w, g = np.zeros((1, 4, 9, 9)), np.zeros((4, 2, 3, 3)), np.zeros((1, 4, 7, 7))
    first = {"conv2d_forward": (x, w), "conv2d_input": (g, w, x.shape), "conv2d_weight": (x, g, w.shape)}[rung.op]
    with pytest.raises(ValueError, match="as many groups as channels"):
        rung(*first, (1, 1), (0, 0), (1, 1), 2)


@st.composite
def narrow_convolutions(draw):
    """A vector of outputs lies in one to many lines; the filters fill tiles or do not, of one panel or more."""
    N, C, F = draw(st.integers(1, 5)), draw(st.integers(1, 9)), draw(st.sampled_from([5, 8, 16]))
    side, stride, padding, groups = (draw(st.sampled_from(few)) for few in ((1, 3), (1, 2), (0, 1), (1, 2)))
    size = draw(st.tuples(st.integers(3, 9), st.integers(3, 32)))
    return (N, C * groups, *size), (F * groups, C, side, side), ((stride, stride), (padding, padding), (1, 1), groups)


@pytest.mark.parametrize("dtype", oracle.FLOATS)
@pytest.mark.parametrize("rung", [rung for rung in RUNGS if rung.name == "implicit"], ids=str)
@given(case=narrow_convolutions())
def test_implicit_of_narrow_images(rung, dtype, case):
    check(rung, dtype, *case)


@st.composite
def convolutions_of_one_pixel(draw):
    """Filters of 1 x 1: images of less than a vector and more, off the tile's rows and columns."""
    groups, stride, padding = draw(st.integers(1, 2)), draw(pair(1, 3)), draw(pair(0, 2))
    C, F, N = draw(st.integers(1, 40)), draw(st.integers(1, 40)), draw(st.integers(0, 5))
    size = draw(st.tuples(st.integers(1, 7), st.integers(1, 35)))
    return (N, C * groups, *size), (F * groups, C, 1, 1), (stride, padding, (1, 1), groups)


@pytest.mark.parametrize("dtype", oracle.FLOATS)
@pytest.mark.parametrize("rung", OF_ONE_PIXEL, ids=str)
@given(case=convolutions_of_one_pixel())
def test_packed_matches_the_formula(rung, dtype, case):
    check(rung, dtype, *case)


@st.composite
def pixels_where_they_lie(draw):
    """One image, whose last vector overlaps, and several, whose last pixels are packed; off the tile, less than a vector."""
    groups, N = draw(st.integers(1, 2)), draw(st.sampled_from([0, 1, 1, 2, 5]))
    C, F = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    size, stride = draw(st.tuples(st.integers(1, 7), st.integers(1, 35))), draw(st.sampled_from([(1, 1), (1, 1), (2, 2)]))
    return (N, C * groups, *size), (F * groups, C, 1, 1), (stride, (0, 0), draw(st.sampled_from([(1, 1), (2, 3)])), groups)


@pytest.mark.parametrize("dtype", oracle.FLOATS)
@pytest.mark.parametrize("rung", PIXELS, ids=str)
@given(case=pixels_where_they_lie())
def test_pixels_match_the_formula(rung, dtype, case):
    check(rung, dtype, *case)


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
    conv_images.lines_of.cache_clear()
    try:
        check(rung, np.float32, (37, 3, 11, 13), (7, 3, 3, 5), ((1, 1), (1, 2), (1, 1), 1))
    finally:
        conv_images.lines_of.cache_clear()


@pytest.mark.parametrize("dtype", oracle.FLOATS)
@given(N=st.integers(0, 3), F=st.integers(6, 40), C=st.integers(6, 30),
       size=st.tuples(st.integers(1, 45), st.integers(1, 45)))
def test_inner_products_of_planes(dtype, N, F, C, size):
    """Filters and channels off the tile, more of either; images of less than a vector and of more than a stretch."""
    check(INNER, dtype, (N, C, *size), (F, C, 1, 1), ((1, 1), (0, 0), (1, 1), 1))


@pytest.mark.parametrize("dtype", oracle.FLOATS)
@pytest.mark.parametrize("sides", [(70, 24), (24, 70), (90, 33), (90, 6)], ids=str)
def test_slender_gradients(dtype, sides):
    """The short side of a product is turned over, be it channels or filters, if it fills panels."""
    rung, = [rung for rung in ALL if rung.op == "conv2d_weight" and rung.name == "direct"]
    check(rung, dtype, (3, sides[1], 9, 11), (*sides, 1, 1), ((1, 1), (0, 0), (1, 1), 1))


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


@st.composite
def convolutions_at_stride_2(draw):
    """Windows of all phases; images of odd and even sides, of less than a vector and of several panels."""
    groups, N = draw(st.integers(1, 2)), draw(st.sampled_from([0, 1, 1, 2]))
    C, F, window = draw(st.integers(1, 12)), draw(st.integers(1, 20)), draw(pair(1, 5))
    size = draw(st.tuples(st.integers(1, 15), st.integers(1, 60)))
    return (N, C * groups, *size), (F * groups, C, *window), ((2, 2), draw(pair(0, 3)), draw(pair(1, 3)), groups)


@pytest.mark.parametrize("dtype", oracle.FLOATS)
@pytest.mark.parametrize("rung", [rung for rung in ALL if rung.name == "dealt"], ids=str)
@given(case=convolutions_at_stride_2().filter(lambda case: min(oracle.conv_size(case[0][2:], case[1][2:], *case[2][:3])) > 0))
def test_dealt_matches_the_formula(rung, dtype, case):
    check(rung, dtype, *case)


@pytest.mark.parametrize("rung", [rung for rung in ALL if rung.name == "dealt"], ids=str)
def test_dealt_in_stretches_and_parts(rung):
    check(rung, np.float32, (1, 70, 15, 15), (90, 70, 3, 3), ((2, 2), (1, 1), (1, 1), 1))
    with pytest.raises(ValueError, match="at stride 2"):
        rung(np.zeros((1, 4, 9, 9)), np.zeros((4, 4, 3, 3)), (1, 1), (0, 0), (1, 1), 1)


@pytest.mark.parametrize("dtype", oracle.FLOATS)
@pytest.mark.parametrize("rung", PIXELS, ids=str)
@pytest.mark.parametrize("case", [(1, 600, 40, (7, 7)), (3, 40, 600, (7, 7)), (2, 1100, 9, (6, 8)), (1, 30, 300, (13, 20))])
def test_pixels_in_stretches_and_parts(rung, case, dtype):
    """Several stretches of a sum; few pixels, whose rows are shared; panels that begin in one image and end in the next."""
    N, C, F, size = case
    check(rung, dtype, (N, C, *size), (F, C, 1, 1), ((1, 1), (0, 0), (1, 1), 1))


@pytest.mark.parametrize("rung", PIXELS, ids=str)
@pytest.mark.parametrize("size", [(24, 24), (23, 25)])
def test_pixels_written_past_the_caches(rung, size, monkeypatch):
    """Of results that are large enough to lie where lines of memory begin."""
    asked = []
    monkeypatch.setattr(conv_pixels, "past_caches", lambda y: asked.append(y.ctypes.data % BYTES) is None)
    check(rung, np.float32, (3, 30, *size), (30, 30, 1, 1), ((1, 1), (0, 0), (1, 1), 1))
    assert asked == ([0] if size == (24, 24) else [])
    check(rung, np.float32, (3, 30, 32, 32), (30, 30, 1, 1), ((2, 2), (0, 0), (1, 1), 1))


@pytest.mark.parametrize("rung", PIXELS, ids=str)
def test_pixels_refuse_other_windows(rung):
    x, w, g = np.zeros((1, 4, 9, 9)), np.zeros((4, 4, 1, 1)), np.zeros((1, 4, 3, 3))
    first = {"conv2d_forward": (x, w), "conv2d_input": (g, w, x.shape)}[rung.op]
    with pytest.raises(ValueError, match="call the rung 'implicit'"):
        rung(*first, (3, 3), (0, 0), (1, 1), 1)


@pytest.mark.parametrize("dtype", oracle.FLOATS)
@pytest.mark.parametrize("rung", OF_ONE_PIXEL, ids=str)
@pytest.mark.parametrize(("stride", "size"), [((1, 1), (30, 31)), ((2, 2), (61, 60)), ((1, 1), (9, 9)), ((1, 1), (2, 500))])
def test_packed_in_stretches_parts_and_strips(rung, stride, size, dtype):
    """Several stretches of an image or images of a stretch, the last one smaller; two strips, with either side in the lanes."""
    for C, F in ((300, 30), (30, 300)):
        check(rung, dtype, (11, C, *size), (F, C, 1, 1), (stride, (0, 0), (1, 1), 1))


@pytest.mark.parametrize("rung", OF_ONE_PIXEL, ids=str)
def test_packed_is_the_same_for_any_number_of_threads(rung):
    rng, most = np.random.default_rng(0), mk.get_num_threads()
    x, g = rng.standard_normal((7, 70, 14, 14), np.float32), rng.standard_normal((7, 290, 14, 14), np.float32)
    found = []
    for threads in (most, 1):
        mk.set_num_threads(threads)
        found.append(rung(x, g, (290, 70, 1, 1), (1, 1), (0, 0), (1, 1), 1))
    mk.set_num_threads(most)
    assert np.array_equal(*found)


def test_packed_refuses_larger_filters():
    rung, x = next(rung for rung in OF_ONE_PIXEL if rung.name == "packed"), np.zeros((1, 2, 5, 5))
    with pytest.raises(ValueError, match="filters are 3 x 3, and this rung takes 1 x 1"):
        rung(x, np.zeros((1, 2, 3, 3)), (2, 2, 3, 3), (1, 1), (0, 0), (1, 1), 1)


@pytest.mark.parametrize("dtype", oracle.FLOATS)
@pytest.mark.parametrize("across", [13, 14, 15, 27, 28, 29, 55, 56, 57, 111, 113])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_direct_of_lines_of_whole_tiles(across, stride, dtype):
    """Lines that tiles of 14 or of 6 rows fill, or nearly, or not; their pixels next to each other and not, in the image and in
    the result; with one vector of filters in the last panel, and more."""
    for op in ("conv2d_forward", "conv2d_input"):
        direct, = (rung for rung in ALL if rung.op == op and rung.name == "direct")
        for few, padding in ((1, 0), (34, 1)):
            channels = (2, few) if op == "conv2d_forward" else (few, 2)
            pixels = (across - 1) * stride + 3 - 2 * padding
            check(direct, dtype, (2, channels[0], 4, pixels), (channels[1], channels[0], 3, 3),
                  ((1, stride), (padding, padding), (1, 1), 1))


@st.composite
def winograd_convolutions(draw, taps):
    """What Winograd's rungs take: off their grid of patches, of 8 filters and of whole vectors."""
    C, F, N = draw(st.integers(1, 3)), draw(st.integers(1, 9)), draw(st.integers(0, 3))
    padding = draw(pair(0, taps - 1))
    size = tuple(draw(st.integers(max(1, taps - 2 * p), 14)) for p in padding)
    return (N, C, *size), (F, C, taps, taps), ((1, 1), padding, (1, 1), 1)


@pytest.mark.parametrize("dtype", oracle.FLOATS)
@pytest.mark.parametrize(("rung", "taps"), SIZES, ids=str)
@given(data=st.data())
def test_winograd_matches_the_formula(rung, taps, dtype, data):
    check(rung, dtype, *data.draw(winograd_convolutions(taps)), of_largest=True)


@pytest.mark.parametrize(("rung", "taps"), SIZES, ids=str)
def test_winograd_of_many_patches(rung, taps):
    check(rung, np.float32, (2, 17, 33, 30), (19, 17, taps, taps), ((1, 1), (1, 1), (1, 1), 1), of_largest=True)


@st.composite
def wide_convolutions(draw, taps):
    """More weights than numbers of patches, so that each thread transforms those of its filters as it needs them.

    Sums of the gradient to filters have so many terms here, or more; transforms are off by more than a few terms are."""
    C, F, N = draw(st.integers(9, 80)), draw(st.integers(17, 110)), draw(st.integers(1, 2))
    padding = draw(pair(0, taps - 1))
    size = tuple(draw(st.integers(max(1, taps + 3 - 2 * p), 11)) for p in padding)
    return (N, C, *size), (F, C, taps, taps), ((1, 1), padding, (1, 1), 1)


@pytest.mark.parametrize("dtype", oracle.FLOATS)
@pytest.mark.parametrize(("rung", "taps"), SIZES, ids=str)
@given(data=st.data())
def test_winograd_of_few_patches(rung, taps, dtype, data):
    check(rung, dtype, *data.draw(wide_convolutions(taps)), of_largest=True)


@st.composite
def folded_gradients(draw):
    """Gradients to images at stride 2: several images together or not, channels off the panels, sums in several stretches, taps
    beyond the image."""
    N, C, F = draw(st.integers(1, 5)), draw(st.integers(8, 30)), draw(st.sampled_from([32, 33, 70, 530]))
    size, window = draw(st.tuples(st.integers(4, 12), st.integers(4, 21))), draw(pair(1, 4))
    padding, dilation = draw(pair(0, 2)), draw(st.sampled_from([(1, 1), (1, 1), (2, 1)]))
    return (N, C, *size), (F, C, *window), ((2, 2), padding, dilation, 1)


@pytest.mark.parametrize("dtype", oracle.FLOATS)
@given(case=folded_gradients())
def test_taps_folded_into_images(dtype, case):
    x_shape, w_shape, (stride, padding, dilation, groups) = case
    output = conv_output_size(x_shape[2:], w_shape[2:], stride, padding, dilation)
    assume(min(output) > 0)
    rng = np.random.default_rng(0)
    w = rng.standard_normal(w_shape).astype(dtype)
    g = rng.standard_normal((x_shape[0], w_shape[0], *output)).astype(dtype)
    expected = oracle.conv2d_input(g, w, x_shape, stride, padding, dilation, groups)
    scale = oracle.conv2d_input(np.abs(g), np.abs(w), x_shape, stride, padding, dilation, groups)
    walled = oracle.guarded(g, readonly=True), oracle.guarded(w, readonly=True)
    results = []
    for threads in {1, mk.get_num_threads()}:
        before = mk.get_num_threads()
        mk.set_num_threads(threads)
        try:
            results.append(conv_folded.conv2d_input(*walled, x_shape, padding, dilation))
        finally:
            mk.set_num_threads(before)
        oracle.assert_close(results[-1], expected, scale, dtype)
    np.testing.assert_array_equal(results[0], results[-1])


def test_taps_are_folded_where_that_is_faster():
    def fits(N, C, H, F, K, padding, groups=1):
        OH = (H + 2 * padding - K) // 2 + 1
        return conv_folded.fits((N, F, OH, OH), (F, C // groups, K, K), (H, H), (padding, padding), (1, 1), groups, 4)

    assert fits(1, 64, 14, 64, 3, 1) and fits(32, 512, 14, 512, 3, 1) and fits(0, 64, 14, 64, 3, 1)
    assert not fits(1, 64, 14, 64, 3, 1, groups=2)
    assert not fits(1, 64, 14, 16, 3, 1)                        # few filters
    assert not fits(1, 4, 14, 64, 3, 1)                         # few channels
    assert not fits(1, 64, 224, 512, 3, 1)                      # a large image
    assert not fits(1, 64, 112, 32, 7, 3)                       # and one that has many taps
    assert not fits(8, 1024, 14, 2048, 1, 0)                    # weights of which each image would read all
    assert not fits(32, 384, 7, 32, 7, 3)                       # most taps see nothing


@pytest.mark.parametrize("call", [(1, 512, 7, 512, 3, 2), (32, 128, 28, 128, 3, 2), (3, 64, 5, 20, 5, 3), (1, 32, 1, 8, 1, 1)])
def test_folded_work_is_shared(call):
    N, F, OH, C, K, threads = call
    how = conv_folded.plan((N, F, OH, OH), (F, C, K, K), 4, 16, threads)
    assert 1 <= how.images <= N and how.channels % conv_folded.ROWS == 0 and how.channels >= conv_folded.ROWS
    items = -(-N // how.images) * -(-C // how.channels)
    assert items >= min(threads, N * -(-C // conv_folded.ROWS))


def go_by_panels(monkeypatch, panels):
    """Whatever the rule says, and whatever was planned before."""
    monkeypatch.setattr(conv_winograd, "_by_panels", lambda *_: panels)
    for name in ("plan", "gradient_plan"):
        monkeypatch.setattr(conv_winograd, name, inspect.unwrap(getattr(conv_winograd, name)))


@pytest.mark.parametrize("dtype", oracle.FLOATS)
@pytest.mark.parametrize(("rung", "taps"), [
    (rung, taps) for rung, taps in SIZES if rung.op != "conv2d_weight" and rung.name != "winograd_amx"], ids=str)
def test_winograd_by_panels_is_bit_for_bit_the_same(rung, taps, dtype, monkeypatch):
    """Three blocks of channels, and tiles of all heights."""
    rng, C, F = np.random.default_rng(0), 130, 140
    shapes = (F, C, taps, taps), (1, C, 9, 13), (1, F, 12 - taps, 16 - taps)
    w, x, g = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    args = (x, w) if rung.op == "conv2d_forward" else (g, w, x.shape)
    ways = []
    for panels in (True, False):
        go_by_panels(monkeypatch, panels)
        ways.append(rung(*args, (1, 1), (1, 1), (1, 1), 1))
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
    monkeypatch.setattr(conv_winograd, "SMALL", 0)              # so that what is not done by panels is done by stages
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


@pytest.mark.parametrize(("rung", "taps"), [*SIZES, *((rung, 7) for rung in WINOGRAD)], ids=str)
def test_winograd_refuses_what_it_cannot_do(rung, taps):
    x, w = np.zeros((1, 2, 13, 13)), np.zeros((2, 2, taps, taps))
    g = np.zeros((1, 2, (15 - taps) // 2, (15 - taps) // 2))
    first = {"conv2d_forward": (x, w), "conv2d_input": (g, w, x.shape), "conv2d_weight": (x, g, w.shape)}[rung.op]
    with pytest.raises(ValueError, match="stride 1"):
        rung(*first, (2, 2), (0, 0), (1, 1), 1)


@pytest.mark.parametrize("name", [rung.name for rung in RUNGS if rung.op == "conv2d_weight"])
@given(case=convolutions())
def test_the_three_forms_are_adjoint(name, case):
    """<conv(x, w), g> = <x, conv_input(g, w)> = <w, conv_weight(x, g)>"""
    x_shape, w_shape, geometry = case
    forward, to_input, to_weight = (
        next(rung for rung in oracle.rungs(f"conv2d_{form}") if rung.name == name) for form in ("forward", "input", "weight"))
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal(x_shape), rng.standard_normal(w_shape)
    y = forward(x, w, *geometry)
    g = rng.standard_normal(y.shape)
    left = (y * g).sum()
    assert (x * to_input(g, w, x_shape, *geometry)).sum() == pytest.approx(left, abs=1e-9)
    assert (w * to_weight(x, g, w_shape, *geometry)).sum() == pytest.approx(left, abs=1e-9)


@pytest.mark.parametrize("rung", [rung for rung in RUNGS if rung.op == "conv2d_input"], ids=str)
def test_pixels_no_window_sees_get_zero(rung):
    """With stride 2, images of height 5 and 6 give outputs alike; the sixth row is never seen."""
    rng = np.random.default_rng(2)
    g, w = rng.standard_normal((2, 3, 2, 2)), rng.standard_normal((3, 2, 3, 3))
    geometry = (2, 2), (0, 0), (1, 1), 1
    small, large = rung(g, w, (2, 2, 5, 5), *geometry), rung(g, w, (2, 2, 6, 6), *geometry)
    np.testing.assert_allclose(large[:, :, :5, :5], small, atol=1e-12)
    assert not large[:, :, 5].any()
    assert not large[:, :, :, 5].any()


@pytest.mark.parametrize("rung", RUNGS, ids=str)
def test_takes_arrays_that_are_not_contiguous(rung):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((7, 6, 2, 3)).transpose(3, 2, 0, 1)[:, :, ::-1]
    w = rng.standard_normal((3, 3, 8, 2))[:, :, ::2].transpose(2, 3, 0, 1)
    g = rng.standard_normal((3, 5, 4, 4)).transpose(0, 3, 1, 2)
    geometry = (1, 1), (0, 0), (1, 1), 1
    args = {"conv2d_forward": (x, w), "conv2d_input": (g, w, x.shape), "conv2d_weight": (x, g, w.shape)}[rung.op]
    expected = getattr(oracle, rung.op)(*args, *geometry)
    np.testing.assert_allclose(rung(*args, *geometry), expected, atol=1e-12)
