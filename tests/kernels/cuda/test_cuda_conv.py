"""Convolutions on the GPU: the tests of the CPU's, every tile, slices, accuracy of tensor cores."""

import dataclasses
import itertools

import conv_cases
import kernel_oracle as oracle
import numpy as np
import pytest
import test_conv
import test_conv_lanes
from cuda_mistakes import assert_clean, without_each
from cuda_oracle import GPU, PLACES, Placed, cuda_rungs
from hypothesis import given, settings

from minivision_kernels.cuda import conv, conv_staged, depthwise, emulator, tile
from minivision_kernels.cuda.launch import Facts
from minivision_kernels.shapes import conv_output_size

OPS = "conv2d_forward", "conv2d_input", "conv2d_weight"
RUNGS = [rung for rung in cuda_rungs(*OPS) if rung.name not in ("depthwise", "tf32")]
ROUNDED = [rung for rung in cuda_rungs(*OPS) if rung.name == "tf32"]
TENSOR = ("tf32x3", "tf32")
# Every rung in both orders of threads, and in both number types if it has them.
HERE = [("forward", np.float32), ("backward", np.float64), ("backward", np.float32), ("gpu", np.float32), ("gpu", np.float64)]
EACH = [
    pytest.param(rung, place, dtype, id=f"{rung.op}-{rung.name}-{place}-{dtype.__name__}",
                 marks=[pytest.mark.gpu] if place == "gpu" else [])
    for rung in RUNGS for place, dtype in HERE
    if (dtype == np.float32 or rung.name not in TENSOR) and ((place, dtype) != HERE[2] or rung.name in TENSOR)
]


@pytest.fixture(scope="module", autouse=True)
def remembered():
    """The definitions are slow, and every rung is compared with the same results."""
    with pytest.MonkeyPatch.context() as patch:
        for op in OPS:
            patch.setattr(oracle, op, _remembering(getattr(oracle, op)))
        yield


def _remembering(function):
    results = {}

    def call(*arguments):
        key = tuple((a.shape, a.dtype.str, a.tobytes()) if isinstance(a, np.ndarray) else a for a in arguments)
        if key not in results:
            results[key] = function(*arguments)
        return results[key]

    return call


@pytest.mark.parametrize("rung, place, dtype", EACH)
def test_edge_cases(rung, place, dtype):
    for case in conv_cases.EDGE_CASES.values():
        conv_cases.check(Placed(rung, place), dtype, *case)


@pytest.mark.parametrize("rung, place, dtype", EACH)
@settings(max_examples=12)
@given(case=conv_cases.convolutions())
def test_matches_the_formula(rung, place, dtype, case):
    conv_cases.check(Placed(rung, place), dtype, *case)


@pytest.mark.parametrize("place", ["forward", GPU])
@pytest.mark.parametrize("rung", [rung for rung in RUNGS if rung.name not in TENSOR], ids=str)
def test_takes_arrays_that_are_not_contiguous(rung, place):
    test_conv.test_takes_arrays_that_are_not_contiguous(Placed(rung, place))


@pytest.mark.parametrize("place", ["forward", GPU])
@pytest.mark.parametrize("rung", [rung for rung in RUNGS if rung.op == "conv2d_input" and rung.name not in TENSOR], ids=str)
def test_pixels_no_window_sees_get_zero(rung, place):
    test_conv.test_pixels_no_window_sees_get_zero(Placed(rung, place))


# ---------------------------------------------------------------------------------------------------------- depthwise

DEPTHWISE = [rung for rung in cuda_rungs(*OPS) if rung.name == "depthwise"]
DEPTHWISE_CASES = [                     # each kernel; filters that share a channel; sums in slices; more taps than nine
    ((3, 4, 9, 7), (4, 1, 3, 3), ((1, 1), (1, 1), (1, 1), 4)),
    ((2, 3, 13, 11), (6, 1, 5, 5), ((1, 1), (2, 3), (1, 1), 3)),
    ((9, 2, 8, 17), (4, 1, 3, 3), ((2, 2), (1, 1), (1, 1), 2)),
    ((2, 2, 9, 9), (2, 1, 5, 3), ((2, 3), (1, 0), (2, 1), 2)),
    ((1, 2, 30, 31), (2, 1, 7, 7), ((4, 4), (3, 3), (1, 1), 2)),
    ((0, 2, 5, 5), (2, 1, 3, 3), ((1, 1), (1, 1), (1, 1), 2)),
    ((2, 2, 2, 2), (2, 1, 3, 3), ((1, 1), (0, 0), (1, 1), 2)),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("dtype", oracle.FLOATS)
@pytest.mark.parametrize("rung", DEPTHWISE, ids=str)
def test_depthwise(rung, dtype, place):
    for case in DEPTHWISE_CASES:
        conv_cases.check(Placed(rung, place), dtype, *case)


@pytest.mark.parametrize("place", ["forward", GPU])
@pytest.mark.parametrize("rung", DEPTHWISE, ids=str)
@settings(max_examples=20)
@given(case=test_conv_lanes.depthwise_convolutions())
def test_depthwise_matches_the_formula(rung, place, case):
    conv_cases.check(Placed(rung, place), np.float32, *case)


@pytest.mark.parametrize("rung", DEPTHWISE, ids=str)
def test_depthwise_refuses_other_groups(rung):
    test_conv_lanes.test_depthwise_refuses_other_groups(rung)
    other = np.zeros((4, 2, 3, 3), np.float32)
    assert not rung.accepts(other, other, other.shape, (1, 1), (0, 0), (1, 1), 2)


def test_more_planes_than_a_grid_counts(monkeypatch):
    monkeypatch.setattr(depthwise, "MOST_PLANES", 3)
    for rung in DEPTHWISE:
        conv_cases.check(Placed(rung, "forward"), np.float32, *DEPTHWISE_CASES[0])
        conv_cases.check(Placed(rung, "forward"), np.float32, *DEPTHWISE_CASES[2])


# ------------------------------------------------------------------------------------------- addresses and barriers

def test_no_address_is_wrong():
    """All rungs under the sanitizers of the compiler."""
    for x, w, (stride, padding, dilation, groups) in (
            ((2, 5, 7, 6), (6, 5, 3, 3), ((2, 1), (1, 2), (1, 1), 1)),
            ((2, 3, 7, 5), (3, 1, 3, 3), ((1, 1), (1, 1), (1, 1), 3))):
        g = x[0], w[0], *oracle.conv_size(x[2:], w[2:], stride, padding, dilation)
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        assert_clean([("conv2d_forward", [x, w], options), ("conv2d_input", [g, w], {"shape": x, **options}),
                      ("conv2d_weight", [x, g], {"shape": w, **options})])


def wrong_in_some_order(call, expected):
    """Whether threads in some order, or the emulator's checks, show that something is missing."""
    for order in ("forward", "backward", 7):
        try:
            with emulator.threads(order):
                got = call()
        except emulator.EmulatorError:
            return True
        if not np.allclose(got, expected, rtol=1e-3, atol=1e-3):
            return True
    return False


@pytest.mark.parametrize("kernel, function, count", [
    ("shared", "shared_product", 2), ("registers", "registers_product", 2), ("sum", "multiply_staged", 3),
    ("sum", "WindowLoader", 1), ("weight", "TurnedLoader", 1),
])
def test_every_barrier_is_needed(kernel, function, count, tmp_path, monkeypatch):
    rng = np.random.default_rng(5)
    x, w, g = (rng.standard_normal(shape, np.float32) for shape in ((2, 20, 9, 9), (70, 20, 3, 3), (2, 70, 9, 9)))
    geometry = (1, 1), (1, 1), (1, 1), 1
    small = conv_staged.SMALL
    calls = {
        "shared": lambda: conv._forward(conv._SHARED, conv.SIDE, x, w, *geometry),
        "registers": lambda: conv._forward(conv._REGISTERS, conv.LARGE, x, w, *geometry),
        "sum": lambda: conv_staged._forward((small,), x, w, *geometry),
        "weight": lambda: conv_staged._weight((small,), x, g, w.shape, *geometry),
    }
    whole = {"shared": conv._SHARED, "registers": conv._REGISTERS}.get(kernel) or small.kernels[kernel]
    expected = calls[kernel]()
    assert not wrong_in_some_order(calls[kernel], expected)
    removed = []
    for altered, what in itertools.islice(without_each(whole, function, tmp_path), 1 if "Loader" in function else None):
        with monkeypatch.context() as patch:
            if kernel in small.kernels:
                patch.setitem(small.kernels, kernel, altered)
            else:
                patch.setattr(conv, f"_{kernel.upper()}", altered)
            assert wrong_in_some_order(calls[kernel], expected), f"{what} is not missed"
        removed.append(what)
    assert len(removed) == count


# ---------------------------------------------------------------------------------------------------------- the tiles

TILES = {"ordinary": conv_staged.ORDINARY["float32"], "split": conv_staged.SPLIT, "rounded": conv_staged.ROUNDED}
LARGE_CASES = [
    ((3, 20, 9, 8), (70, 20, 3, 3), ((1, 1), (1, 1), (1, 1), 1)),           # 216 pixels, 180 terms; copies of 16 bytes
    ((2, 13, 11, 13), (135, 13, 2, 3), ((2, 2), (1, 2), (1, 2), 1)),        # nothing divides anything
    ((2, 36, 7, 5), (140, 18, 3, 1), ((1, 2), (2, 0), (2, 1), 2)),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("number", [0, 1, 2], ids=["large", "small", "flat"])
@pytest.mark.parametrize("kind", TILES)
@pytest.mark.parametrize("op", OPS)
def test_each_tile(op, kind, number, place):
    """Which tile a rung takes depends on the device and the sizes; all are right for all sizes."""
    if number >= len(TILES[kind]):
        return

    @dataclasses.dataclass
    class WithOneTile:
        op: str

        def __call__(self, *arguments):
            work = {"conv2d_forward": conv_staged._forward, "conv2d_input": conv_staged._input,
                    "conv2d_weight": conv_staged._weight}[self.op]
            return work((TILES[kind][number],), *arguments)

        name, accepts = kind, None

    for case in LARGE_CASES:
        conv_cases.check(Placed(WithOneTile(op), place), np.float32, *case, slack=100 if kind == "rounded" else 1)


@pytest.mark.parametrize("tiles", [(conv_staged.SMALL,), conv_staged.SPLIT[1:2]], ids=["ordinary", "split"])
@pytest.mark.parametrize("op", OPS)
def test_sums_in_slices(op, tiles):
    """As many terms as a slice has, fewer in the last one, and phases of which some have none left for it."""
    for x_shape, w_shape, geometry in LARGE_CASES:
        rng = np.random.default_rng(2)
        x, w = rng.standard_normal(x_shape, np.float32), rng.standard_normal(w_shape, np.float32)
        output = conv_output_size(x_shape[2:], w_shape[2:], *geometry[:3])
        g = rng.standard_normal((x_shape[0], w_shape[0], *output), np.float32)
        args = {"conv2d_forward": (x, w), "conv2d_input": (g, w, x_shape), "conv2d_weight": (x, g, w_shape)}[op]
        work = {"conv2d_forward": conv_staged._forward, "conv2d_input": conv_staged._input,
                "conv2d_weight": conv_staged._weight}[op]
        results = []
        for order in ("forward", "backward"):
            with emulator.threads(order), tile.studied(tile.Study(forced=(0, 3))):
                results.append(work(tiles, *args, *geometry))
        np.testing.assert_array_equal(*results)
        expected = getattr(oracle, op)(*args, *geometry)
        assert abs(results[0] - expected).max() < 1e-5 * expected.std()


@pytest.mark.parametrize("place", ["forward", GPU])
@pytest.mark.parametrize("op", OPS)
def test_three_products_are_as_accurate_as_float32(op, place):
    """Against float64, on sums of a few thousand terms; one product of rounded numbers is a hundred times worse."""
    x_shape, w_shape, geometry = (2, 96, 8, 8), (16, 96, 5, 5), ((1, 1), (2, 2), (1, 1), 1)
    rng = np.random.default_rng(4)
    x, w, g = (rng.standard_normal(shape, np.float32) for shape in (x_shape, w_shape, (2, 16, 8, 8)))
    args = {"conv2d_forward": (x, w), "conv2d_input": (g, w, x_shape), "conv2d_weight": (x, g, w_shape)}[op]
    expected = getattr(oracle, op)(*args, *geometry)
    error = {rung.name: np.sqrt(np.mean((Placed(rung, place)(*args, *geometry) - expected) ** 2)) / expected.std()
             for rung in cuda_rungs(op) if rung.name in ("naive", *TENSOR)}
    assert error["tf32x3"] <= error["naive"] < 2e-6
    assert 1e-4 < error["tf32"] < 1e-3


# --------------------------------------------------------------------------------------------------- what is decided

def test_a_plan_fills_the_device():
    large, small, flat = conv_staged.SPLIT
    about = Facts((9, 0), 132, 227 << 10)

    def plan(way, M, N, K):
        return tile.plan(conv_staged.SPLIT, way, M, N, K, about)

    assert plan(conv_staged.SUM, 512, 32 * 28 * 28, 4608) == (large, 1)
    assert plan(conv_staged.SUM, 512, 32 * 7 * 7, 4608) == (large, 2)           # 52 tiles
    assert plan(conv_staged.SUM, 64, 64, 64) == (small, 1)
    assert plan(conv_staged.SUM, 3, 32 * 224 * 224, 576) == plan(conv_staged.SUM, 32, 64 * 32 * 32, 288) == (flat, 1)
    chosen, slices = plan(conv_staged.WEIGHT, 64, 576, 32 * 56 * 56)
    count = -(-64 // chosen.rows) * -(-576 // chosen.columns)
    assert chosen is small and 0.9 * 3 * 132 <= count * slices <= 3 * 132


@pytest.mark.parametrize("K, slices, depth", [(0, 1, 8), (1, 1, 8), (17, 2, 8), (1000, 7, 16), (1 << 20, 132, 16)])
def test_slices_cover_the_terms(K, slices, depth):
    terms, count = tile.slices_of(K, slices, depth)
    assert terms % depth == 0 and count <= slices
    assert (count - 1) * terms < max(K, 1) <= count * terms


def test_what_cannot_be_counted_is_refused():
    one = (1, 1), (0, 0), (1, 1), 1
    with pytest.raises(ValueError, match="there are 2147483648 numbers in an image; a convolution on the GPU counts to"):
        conv.forward_sum((1, 2, 1 << 15, 1 << 15), (1, 2, 1, 1), (1 << 15, 1 << 15), *one)
    with pytest.raises(ValueError, match="pixels in all images"):
        conv.input_sum((1 << 21, 1, 32, 32), (1, 1, 1, 1), (32, 32), *one)


@pytest.mark.parametrize("rung", RUNGS, ids=str)
def test_more_groups_than_a_grid_counts(rung):
    assert rung.accepts(np.zeros(1, np.float32), None, (1, 1), (0, 0), (1, 1), 1 << 16) == (rung.name == "naive")


@pytest.mark.parametrize("stride, dilation, window, padding", [
    (2, 1, 3, 1), (3, 2, 4, 0), (4, 2, 3, 1), (2, 2, 3, 5), (5, 1, 2, 0)])
def test_phases_waste_no_tap(stride, dilation, window, padding):
    """The phases' pixels times their taps are the places where a tap meets a pixel of the grid of windows, no more."""
    s = conv.input_sum((1, 1, 23, 1), (1, 1, window, 1), (9, 1), (stride, 1), (padding, 0), (dilation, 1), 1)
    met = 0
    for phase in range(s.rows_share):
        at = [tap for tap in range(s.rows_period) if (phase + s.rows_offset + tap * s.rows_reach) % s.rows_share == 0]
        pixels = len(range(phase, s.rows_out, s.rows_share))
        met += pixels * len(range(at[0], window, s.rows_period)) if at else 0
    assert met == sum((h + padding - i * dilation) % stride == 0 for h in range(23) for i in range(window))
