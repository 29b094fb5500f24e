"""The matrix products on the GPU: the tests of the CPU's, the accuracy of tensor cores, the choice of tiles."""

import json
import sys

import numpy as np
import pytest
import test_small_ops
from cuda_mistakes import assert_clean, without_each
from cuda_oracle import PLACES, Placed, cuda_rungs
from kernel_oracle import FLOATS, assert_close

from minivision_kernels import best, ladder, set_exact, set_tf32, tuned
from minivision_kernels.cuda import emulator, gemm
from minivision_kernels.cuda.launch import Facts
from minivision_kernels.cuda.tile import Study, by_rule, studied

RUNGS = cuda_rungs(*gemm.DIRECTIONS)
SHAPES = [(1, 1, 1), (5, 0, 3), (0, 3, 2), (4, 3, 0), (3, 70, 37), (37, 20, 68), (130, 33, 5), (65, 41, 132)]      # N, I, O
H100 = Facts((9, 0), 132, 227 << 10)
places = pytest.mark.parametrize("place", PLACES)
directions = pytest.mark.parametrize("op", gemm.DIRECTIONS)


@places
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("rung", [rung for rung in RUNGS if rung.exact], ids=str)
def test_products(rung, place, dtype):
    if not rung.accepts(np.zeros((1, 1), dtype), np.zeros((1, 1), dtype)):
        assert rung.name == "tf32x3" and dtype == np.float64
        return
    for shape in SHAPES:
        test_small_ops.check_linear(Placed(rung, place), dtype, *shape, turned=False)
    test_small_ops.check_linear(Placed(rung, place), dtype, 5, 9, 7, turned=True)


def operands(op, M, N, K, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    a_along, b_along = gemm.ALONG_K[op]
    a, b = rng.standard_normal((M, K)).astype(dtype), rng.standard_normal((K, N)).astype(dtype)
    exact = a.astype(np.longdouble) @ b.astype(np.longdouble)
    scale = np.abs(a).astype(np.float64) @ np.abs(b)
    given = a if a_along else a.T, b.T if b_along else b
    return [np.ascontiguousarray(array) for array in given], exact, scale


@pytest.mark.parametrize("place", ["forward", "backward"])
@pytest.mark.parametrize("tiles", [gemm.ORDINARY["float32"], gemm.SPLIT], ids=["ordinary", "tensor cores"])
@directions
def test_every_tile_and_slices(op, tiles, place):
    """More steps than stages, a last step that is not full, both kinds of copies, terms in slices."""
    for tile in tiles:
        for M, N, K, slices in ((tile.rows + 3, 36, 77, 1), (20, tile.columns + 4, 84, 3)):
            (a, b), exact, scale = operands(op, M, N, K)
            with emulator.threads(place):
                got = gemm.multiply(op, tile, slices, a, b)
            assert_close(got, exact, scale, np.float32)


def by_rung(op, a, b):
    return {rung.name: rung(a, b) for rung in ladder(op) if rung.name in ("stages", "tf32x3", "tf32")}


@directions
def test_three_products_are_as_accurate_as_float32(op):
    (a, b), exact, _ = operands(op, 24, 40, 600)
    errors = {name: np.sqrt(np.mean(np.square(y - exact))) / exact.std() for name, y in by_rung(op, a, b).items()}
    assert errors["stages"] < 1e-6
    assert errors["tf32x3"] < 2 * errors["stages"]
    assert 1e-4 < errors["tf32"] < 1e-3          # 10 bits of mantissa: two roundings by up to 2^-11


def test_numbers_that_tf32_holds_are_multiplied_exactly():
    a = np.arange(1024, 2048, dtype=np.float32)[:, None] * np.float32([1, -0.5, 2 ** -30])
    for y in by_rung("linear_input", a, np.eye(3, dtype=np.float32)).values():
        np.testing.assert_array_equal(y, a)


def test_one_product_errs_neither_way():
    """The tensor core cuts digits off, which by itself would make every product too small, by 7e-4 on average."""
    (a, b), _, _ = operands("linear_input", 24, 40, 600)
    a, b = abs(a), abs(b)
    exact = a.astype(np.float64) @ b
    assert abs((by_rung("linear_input", a, b)["tf32"] / exact - 1).mean()) < 1e-4


def test_numbers_at_the_edges_of_the_range():
    """NaN stays NaN, whatever its bits; infinity becomes NaN by three products alone. The last 13 bits
    of the tiniest numbers are lost."""
    nans = np.array([0x7fc00000, 0x7fffffff, 0xffffffff, 0x7f800001, 0xff800001], np.uint32).view(np.float32)
    edges = np.float32([np.inf, -np.inf, 3.4e38, -3.4e38, 1.5e-38, 3e-39, 0, -0.0])
    one = np.ones((1, 1), np.float32)
    for name, y in by_rung("linear_input", np.concatenate([nans, edges])[:, None], one).items():
        y = y[:, 0]
        assert np.isnan(y[:5]).all()
        if name == "tf32x3":
            assert np.isnan(y[5:7]).all()
        else:
            np.testing.assert_array_equal(y[5:7], edges[:2])
        near = dict(rtol=6e-4 if name == "tf32" else 1e-6, atol=0 if name == "stages" else 2 ** -136)
        np.testing.assert_allclose(y[7:], edges[2:], **near)


def test_the_same_bits_in_every_order():
    (a, b), _, _ = operands("linear_weight", 9, 70, 900)
    results = set()
    for order in ("forward", "backward", 5):
        with emulator.threads(order):
            results.add(gemm.multiply("linear_weight", gemm.SPLIT[1], 4, a, b).tobytes())
    assert len(results) == 1


def test_what_is_chosen(monkeypatch):
    """For arrays on a GPU, for which the emulator's facts stand in."""
    a, b = np.zeros((8, 8), np.float32), np.zeros((8, 8), np.float32)
    monkeypatch.setattr(sys.modules["minivision_kernels.ladder"], "_device", lambda op, first: "cuda")

    class OnDevice(np.ndarray):
        pass

    def name(dtype):
        return best("linear_forward", a.astype(dtype).view(OnDevice), b.astype(dtype).view(OnDevice)).name

    assert name(np.float32) == "tf32x3" and name(np.float64) == "stages"
    try:
        set_tf32(True)
        assert name(np.float32) == "tf32" and name(np.float64) == "stages"
        set_exact(True)
        assert name(np.float32) == "tf32x3"
    finally:
        set_tf32(False)
        set_exact(False)
    monkeypatch.setattr(gemm, "facts", lambda array: Facts((7, 5), 40, 64 << 10))
    assert name(np.float32) == "stages"


@pytest.mark.parametrize("M, N, K, rows, slices", [
    (4096, 4096, 4096, 128, 1),         # many full rounds
    (1024, 1024, 1024, 128, 2),         # 64 large tiles would leave half of it idle
    (512, 512, 512, 64, 2),             # 16 would leave most of it idle, slices or not
    (64, 64, 65536, 64, 256),           # one tile: its terms are shared out
    (64, 576, 100000, 64, 44),          # three blocks for each multiprocessor
    (300, 200, 100, 64, 1),             # too few terms to share
    (32, 32768, 288, 32, 1),            # half of each tile of 64 would be thrown away
])
def test_the_plan(M, N, K, rows, slices):
    tile, got = gemm.plan(gemm.SPLIT, "linear_forward", M, N, K, H100)
    assert (tile.rows, got) == (rows, slices)


@pytest.mark.parametrize("tiles", [*gemm.ORDINARY.values(), gemm.SPLIT, gemm.ROUNDED, [*gemm.TWO_STAGES.values()]])
def test_shared_memory_is_to_be_had(tiles):
    """On sm_75 a block gets 64 KiB, from sm_80 on 99 or more."""
    for tile in tiles:
        for op in gemm.DIRECTIONS:
            for real in tile.kernels[op].reals:
                room = 99 << 10 if tile.kernels[op].needs >= (8, 0) else 64 << 10
                assert tile.shared(gemm.ALONG_K[op], np.dtype(real).itemsize) <= room


@directions
def test_addresses_under_the_sanitizers(op):
    M, N, K = {"linear_forward": (37, 21, 70), "linear_input": (37, 70, 21), "linear_weight": (70, 21, 37)}[op]
    for sizes in ((M, N, K), (36, 20, 24)):
        (a, b), _, _ = operands(op, *sizes)
        assert_clean([(op, [a.shape, b.shape], {})], {"naive", "coalesced", "shared", "registers", "stages", "tf32x3"})


@pytest.mark.parametrize("name, function", [
    ("shared", "shared"), ("registers", "registers"), ("staged", "multiply_staged"), ("tensor", "multiply_staged"),
])
def test_every_barrier_is_needed(name, function, tmp_path, monkeypatch):
    """Less any of them, the result is wrong in some order of the threads, or threads wait for ever."""
    tile = gemm.SPLIT[1] if name == "tensor" else gemm.SMALL
    kernel = gemm.PLAIN[name] if name in gemm.PLAIN else tile.kernels["linear_forward"]
    (a, b), exact, scale = operands("linear_forward", 37, 45, 70)

    def is_right(altered, order):
        kernels = gemm.PLAIN if name in gemm.PLAIN else tile.kernels
        monkeypatch.setitem(kernels, name if name in gemm.PLAIN else "linear_forward", altered)
        try:
            with emulator.threads(order):
                got = getattr(gemm, name)("linear_forward", a, b) if name in gemm.PLAIN else gemm.multiply(
                    "linear_forward", tile, 1, a, b)
        except emulator.EmulatorError:
            return False
        return bool((np.abs(got - exact) <= 1e-5 * scale).all())        # NaN is not

    assert is_right(kernel, "forward")
    removed = list(without_each(kernel, function, tmp_path))
    assert len(removed) == (2 if name in gemm.PLAIN else 3)
    for altered, what in removed:
        assert not all(is_right(altered, order) for order in ("forward", "backward")), f"is not missed: {what}"


@pytest.fixture
def empty_table(monkeypatch, tmp_path):
    monkeypatch.setattr(tuned, "path", lambda: tmp_path / "tuned.json")
    monkeypatch.setattr(tuned, "table", None)
    monkeypatch.setattr(tuned, "_tiles", None)
    monkeypatch.delenv("MINIVISION_TUNED", raising=False)


def test_a_measured_tile_counts_before_the_rule_and_only_for_its_product(empty_table):
    sizes = 64, 64, 65536
    rule = by_rule(gemm.SPLIT, *sizes, H100)
    assert rule == (1, 256)
    with studied(Study()) as study:
        gemm.plan(gemm.SPLIT, "linear_input", *sizes, H100)
    assert study.rule == rule and set(study.choices) == {(i, 1 << n) for i in range(3) for n in range(6)}
    tuned.save({}, {study.key: (0, 8)})
    assert gemm.plan(gemm.SPLIT, "linear_input", *sizes, H100) == (gemm.SPLIT[0], 8)
    for op, other in (("linear_forward", sizes), ("linear_input", (64, 65, 65536))):
        assert gemm.plan(gemm.SPLIT, op, *other, H100) == (gemm.SPLIT[1], by_rule(gemm.SPLIT, *other, H100)[1])


@pytest.mark.parametrize("choice", [[9, 1], [-1, 1], [0, 0], [0], "large", [0, 1.5]])
def test_a_choice_that_cannot_be_is_passed_over(empty_table, choice):
    with studied(Study()) as study:
        gemm.plan(gemm.SPLIT, "linear_input", 64, 64, 512, H100)
    tuned.path().write_text(json.dumps({"tiles": {study.key: choice}}))
    assert gemm.plan(gemm.SPLIT, "linear_input", 64, 64, 512, H100) == (gemm.SPLIT[study.rule[0]], study.rule[1])


def test_the_fastest_tile_is_found_and_used(empty_table, monkeypatch):
    """In the emulator, by a clock that likes the large tile and four slices."""
    from minivision.bench import suites, tune

    problem = next(suites.linear_problems("gemm", "20x1100x24", 20, 1100, 24))
    used = []
    multiply = gemm.multiply
    monkeypatch.setattr(gemm, "multiply", lambda op, tile_, slices, a, b: used.append((tile_.rows, slices)) or multiply(
        op, tile_, slices, a, b))
    monkeypatch.setattr(tune.kernels, "run", lambda op, *arrays, **options: gemm._planned(op, gemm.SPLIT, *arrays))

    class Clock:
        def move(self, value):
            return value

        def time(self, call):
            call()
            return 1.0 if used[-1] == (128, 4) else 2.0

    found = tune.fastest_tile(problem, Clock(), 0.0)
    assert found.choice == (0, 4) and found.rule != (0, 4) and found.gain == 2.0
    tune.save_tiles([found])
    used.clear()
    tune.kernels.run(problem.op, *(np.ones(shape, np.float32) for shape in problem.shapes.values()))
    assert used == [(128, 4)]
