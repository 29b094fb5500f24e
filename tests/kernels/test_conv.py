"""Convolution and its gradients: every rung against plain loops, and against each other as adjoints."""

import kernel_oracle as oracle
import numpy as np
import pytest
from conv_cases import ALL, EDGE_CASES, check, convolutions, pair
from hypothesis import assume, given
from hypothesis import strategies as st

import minivision_kernels as mk
from minivision_kernels.cpu import conv_folded, conv_pixels, conv_tiles, stream
from minivision_kernels.cpu.writer import BYTES
from minivision_kernels.shapes import conv_output_size

SPECIAL = ("depthwise", "groups", "images", "inner", "whole", "pixels", "dealt", "dilated", "packed", "winograd", "winograd2",
           "winograd_amx")                  # not for all
OF_ONE_PIXEL = [rung for rung in ALL if rung.op == "conv2d_weight" and rung.name in ("packed", "amx")]
RUNGS = [rung for rung in ALL if rung.name not in SPECIAL and (rung.name == "amx" or rung not in OF_ONE_PIXEL)]
PIXELS = [rung for rung in ALL if rung.name == "pixels"]


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


@pytest.mark.parametrize("rung", [rung for rung in RUNGS if (rung.op, rung.name) == ("conv2d_weight", "tile")], ids=str)
@pytest.mark.parametrize(("x", "w"), [
    ((5, 3, 9, 17), (21, 3, 3, 3)), ((2, 1, 70, 40), (40, 1, 5, 5)), ((3, 2, 4, 5), (3, 2, 2, 2)),
])
def test_tiles_of_lines_from_afar(rung, x, w, monkeypatch):
    monkeypatch.setattr(stream, "FAR", 0)
    check(rung, np.float32, x, w, ((1, 1), (1, 1), (1, 1), 1))


@pytest.mark.parametrize("rung", [rung for rung in RUNGS if rung.name == "tile" and rung.op != "conv2d_weight"], ids=str)
@pytest.mark.parametrize(("width", "stride", "padding"), [(32, 1, 1), (64, 2, 1), (48, 1, 0)])
def test_tiles_written_past_the_caches(rung, width, stride, padding, monkeypatch):
    """Lines of whole vectors, in results that are large enough to lie where lines of memory begin."""
    asked = []
    monkeypatch.setattr(conv_tiles, "past_caches", lambda y: asked.append(y.ctypes.data % BYTES) is None)
    for filters in (16, 21):
        geometry = (stride, stride), (padding, padding), (1, 1), 1
        check(rung, np.float32, (12, 5, 9, width), (filters, 5, 3, 3), geometry)
    assert set(asked) <= {0}
    assert bool(asked) == ((stride == 1) if rung.op == "conv2d_input" else (padding == 1))      # else lines end elsewhere


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
@pytest.mark.parametrize("sides", [(70, 24), (24, 70), (90, 33), (90, 6)], ids=str)
def test_slender_gradients(dtype, sides):
    """The short side of a product is turned over, be it channels or filters, if it fills panels."""
    rung, = [rung for rung in ALL if rung.op == "conv2d_weight" and rung.name == "direct"]
    check(rung, dtype, (3, sides[1], 9, 11), (*sides, 1, 1), ((1, 1), (0, 0), (1, 1), 1))


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
