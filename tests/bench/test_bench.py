"""The measuring itself: that what is measured is right and complete. How fast anything is, no test asks."""

import json
import math
import time

import numpy as np
import pytest

import minivision_kernels as mk
from minivision.bench import finds, looks, peers, pictures, report, vision
from minivision.bench.bench import Request, chosen, look, measure, row, search
from minivision.bench.measure import GUESSES, Timing, geometric_mean, in_turns, ratio
from minivision.bench.problems import Reference, arguments, call_of, own
from minivision.bench.suites import (
    CONVS,
    SUITES,
    conv,
    conv_problems,
    hog_problems,
    linear_problems,
    memory_problems,
    problems,
    vision_problem,
)
from minivision.bench.training import NETWORKS, steps
from minivision.cli import bench as cli_bench

roofs = pytest.importorskip("minivision.bench.roofs")
apart = pytest.importorskip("minivision.bench.apart")
ROOFS = roofs.Roofs(100.0, 10.0, 12.0)
SMALL = [*conv_problems("small", conv(5, 9, 7, 3), 2), *conv_problems("small", conv(3, (6, 10), 20, 5, 2), 3),
         *conv_problems("small", conv(6, 8, 6, 3, groups=6), 2), *linear_problems("small", "4>5", 3, 4, 5)]


def small_memory_problems():
    """Those of the suite, with an image side of 6 instead of 112, so that tests take no time."""
    from dataclasses import replace

    def shrunk(shape):
        return tuple({112: 6, 56: 3, 1024: 8, 1000: 10, 800_000: 5000}.get(n, n) for n in shape)

    for problem in memory_problems(1):
        shapes = {name: shrunk(shape) for name, shape in problem.shapes.items()}
        options = {**problem.options, **({"shape": shrunk(problem.options["shape"])} if "shape" in problem.options else {})}
        yield replace(problem, shapes=shapes, options=options)


def named(problem):
    return f"{problem.op} {problem.layer}"


def small_vision_problems():
    for task in (vision.resizing((9, 12, 3), (5, 20), "box"), vision.resizing((9, 12, 1), (20, 5), "lanczos"),
                 vision.rotating((9, 12, 1), 17.0, "bicubic"),
                 *vision.integrals((7, 5))):
        yield vision_problem(task)


ALL = [*SMALL, *small_memory_problems(), *hog_problems((20, 35))]


def test_every_operation_is_measured():
    whole = {"shrink_exact", "window_sums", "cascade_haar", "cascade_lbp"}      # parts of what finds.py measures as a whole
    assert {problem.op for problem in problems("all", [1])} == set(mk.ops()) - whole


@pytest.mark.parametrize("suite", SUITES)
def test_suites(suite):
    shapes = [(problem.op, problem.layer, problem.batch) for problem in problems(suite, [1, 4])]
    assert len(shapes) == len(set(shapes))
    assert suite in ("training", "explain") or shapes


def test_the_command_offers_all_suites():
    assert set(cli_bench.SUITES) == set(SUITES)


def test_layers_and_their_work():
    assert (len(CONVS["vgg"]), len(CONVS["resnet"]), len(CONVS["mobilenet"])) == (9, 23, 9)
    first = next(conv_problems("vgg", CONVS["vgg"][1], 2))
    assert first.flops == 2 * 2 * 64 * 224 * 224 * 64 * 9
    assert first.traffic == 4 * (2 * 2 * 64 * 224 * 224 + 64 * 64 * 9)
    assert first.executed("direct") == first.flops
    assert [p.executed("winograd") * 4 for p in conv_problems("vgg", CONVS["vgg"][1], 2)] == [first.flops] * 3
    wide = list(conv_problems("none", conv(64, 28, 192, 5), 2))
    assert [p.executed("winograd") * 100 for p in wide] == [p.flops * 36 for p in wide]
    halved = list(conv_problems("none", conv(64, 64, 128, 3, stride=2), 2))[:2]
    assert [p.executed("winograd") * 144 for p in halved] == [p.flops * 81 for p in halved]


@pytest.mark.parametrize("problem", ALL, ids=named)
def test_arguments_fit_and_every_contestant_is_right(problem):
    """Each rung and each peer computes the same, so the peers are asked the same question."""
    given = arguments(problem)
    reference = Reference(problem, given)
    rungs = peers.usable_rungs(problem, given)
    contestants = [peers.ours(problem, given), *(peers.ours(problem, given, rung) for rung in rungs),
                   *peers.peers(problem, given, 1)]
    assert len({contestant.name for contestant in contestants}) == len(contestants)
    arrays, options = call_of(problem, own(problem.op, given))
    mk.best(problem.op, *arrays, **options)(*arrays, **options)             # checks the arguments
    for contestant in contestants:
        error = reference.error(contestant.result(contestant.call()))
        assert error.largest < 1e-4, contestant.name


@pytest.mark.parametrize("problem", list(small_vision_problems()), ids=named)
def test_work_on_pictures(problem):
    """Ours and Pillow's are the same to the last digit; OpenCV's are pictures of the same shape."""
    given = arguments(problem)
    reference = Reference(problem, given)
    found = {contestant.name: contestant.result(contestant.call()) for contestant in (
        peers.ours(problem, given), *peers.peers(problem, given, 1))}
    assert {"minivision", "numpy"} <= set(found)
    for name, result in found.items():
        if name not in ("opencv", "scikit-image") or "integral" in problem.op:
            assert reference.error(result).largest == 0, name
        assert result.shape == found["minivision"].shape, name


def test_a_wrong_result_has_a_large_error():
    problem = SMALL[0]
    given = arguments(problem)
    right = mk.run(problem.op, *call_of(problem, given)[0], **call_of(problem, given)[1])
    reference = Reference(problem, given)
    assert reference.error(right).spread < 1e-5
    assert reference.error(right + 1).spread > 0.1
    assert reference.error(np.full_like(right, np.nan)).spread == math.inf


def test_contestants_take_turns():
    order = []
    calls = {name: lambda name=name: order.append(name) or time.perf_counter() for name in ("a", "b", "c")}
    seen = {}
    timings = in_turns(calls, 1e-9, seen.__setitem__)
    assert set(seen) == set(timings) == {"a", "b", "c"}
    assert len({len(timing.turns) for timing in timings.values()}) == 1
    before = 1 + GUESSES                                                    # calls that are not counted
    assert order[:3 * before] == ["a"] * before + ["b"] * before + ["c"] * before
    assert order[3 * before] == "a" and order[-1] != "c"                    # each round begins with another
    assert ratio(Timing(0, [2.0, 4.0, 9.0]), Timing(0, [1.0, 2.0, 3.0])) == 2
    assert ratio(Timing(0, [6.0]), Timing(0, [1.0, 2.0, 3.0])) == 3
    assert geometric_mean([1.0, 4.0]) == pytest.approx(2)


def test_long_calls_are_timed_at_once(monkeypatch):
    monkeypatch.setattr("minivision.bench.measure.LONG", -1.0)               # every call is long,
    monkeypatch.setattr("minivision.bench.measure.TURN", 0.0)                # and one is enough for a turn
    calls = []
    timing = in_turns({"a": lambda: calls.append("a")}, 1e-9)["a"]
    assert len(calls) == 1 + GUESSES + len(timing.turns)


def test_a_row_says_what_the_issue_asks_for(tmp_path):
    request = Request("cifar", [1], [], rungs=True, peers=False, exact=False, seconds=1e-9)
    rows = [measure(problem, request, ROOFS) for problem in SMALL[:3]]
    for one in rows:
        assert min(one["gflops"], one["of_peak"], one["gbs"]) > 0
        assert {"minivision", "minivision loops", "minivision numpy"} <= set(one["ms"])
        assert one["error_by_spread"]["minivision"] < 1e-3
        assert one["ratio"] is None and not one["ratios"]
        assert "loops" in report.line(one)
    about = {"machine": "a machine", "threads": 2, "date": "today", "suite": "cifar",
             "roofs": {"gflops": 100.0, "copy_gbs": 10.0, "triad_gbs": 12.0}}
    report.save(tmp_path / "deep" / "rows.json", about, rows)
    stored = json.loads((tmp_path / "deep" / "rows.json").read_text())
    assert stored["machine"] == "a machine" and len(stored["rows"]) == 3
    pytest.importorskip("matplotlib")
    drawn = pictures.draw(tmp_path / "pictures", about, stored["rows"])
    assert [path.name for path in drawn] == ["roofline.png", *(f"ladder-{op}.png" for op in mk.ops()[:3])]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


def test_the_summary_names_the_worst():
    timings = [{"minivision": Timing(1, [2.0]), "pytorch": Timing(1, [a]), "pytorch channels_last": Timing(1, [b]),
                "onnxruntime": Timing(1, [1.0])} for a, b in ((4.0, 8.0), (1.0, 0.5))]
    rows = [row(problem, "direct", timing, {}, 100.0, 12.0) for problem, timing in zip(SMALL, timings)]
    whole, forward, weightless = report.summary(rows)[:3]
    assert (whole["peer"], whole["what"], whole["count"], whole["below_1"]) == ("pytorch", "all", 2, 1)
    assert whole["mean"] == pytest.approx(math.sqrt(2.0 * 0.25))             # PyTorch in its best layout
    assert whole["worst"] == 0.25 and "conv2d_input" in whole["worst_case"]
    assert (forward["what"], weightless["what"]) == ("conv2d_forward", "conv2d_input")


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_training_steps_are_the_same_for_everyone(network):
    contestants = list(steps(network, 2, 1, True))
    losses = [[contestant.call() for _ in range(3)] for contestant in contestants]
    np.testing.assert_allclose(losses, [losses[0]] * len(losses), rtol=1e-4)


@pytest.mark.parametrize("one", looks.looks([2]), ids=lambda one: one.name)
def test_looks_into_a_network_find_the_same(one):
    """At the smallest size that has all of it; the largest is measured, not tested."""
    found = {who.name: who.call() for who in looks.contestants(one._replace(batch=min(one.batch, 2)), 1, True, side=67)}
    mine = found["minivision"]
    for theirs in found.values():
        assert theirs.shape == mine.shape and np.abs(theirs - mine).mean() < 1e-4 * np.abs(mine).max()


def test_a_copy_that_has_its_turns_is_the_roof(monkeypatch):
    """Whatever was measured before; and it is not among the contestants."""
    def take_turns(calls, seconds, on_first):
        for name, call in calls.items():
            on_first(name, call())
        return {name: Timing(9.0, turns) for name, turns in zip(calls, ([2.0, 4.0, 8.0], [1.0, 2.0, 4.0]))}

    monkeypatch.setattr("minivision.bench.bench.in_turns", take_turns)
    problem = next(iter(memory_problems(1)))
    request = Request("memory", [1], [], False, False, False, 1.0)
    found = measure(problem, request, ROOFS, roofs.Copier(lambda: None, 6_000_000_000))
    assert list(found["ms"]) == list(found["error_by_spread"]) == ["minivision"]
    assert found["roof_gbs"] == pytest.approx(3)                # 6 GB in half of 4 seconds
    assert found["of_bandwidth"] == pytest.approx(problem.traffic / 4 / 3e9)
    assert measure(problem, request, ROOFS)["roof_gbs"] == 12


def test_a_look_makes_a_row():
    one = looks.Look("a look", "resnet20", 1, lambda model, x: x, lambda model, x: x + 1)
    made = look(one, Request("explain", [], [], False, True, False, 1e-9))
    assert made["op"] == "look inside" and set(made["ms"]) >= {"minivision"} and "a look" in report.line(made)
    assert chosen(Request("explain", [1], [], False, True, False, 1.0)) == looks.looks([1])


def test_roofs_are_measured():
    assert roofs.last_cache() >= 1 << 20
    x, y = np.arange(64, dtype=np.float32), np.empty(128, np.float32)
    roofs._multiply_adds(x, 3, y, work=roofs.BIG)
    lanes = roofs.lanes_of(x)
    sums = sum(x[i:i + lanes] + 9 * x[:lanes] for i in range(1, 13))
    np.testing.assert_allclose(y[:lanes], sums)
    a, b, c = np.arange(100, dtype=np.float32), np.ones(100, np.float32), np.zeros(100, np.float32)
    roofs._copy(a, 3, c, False, work=roofs.BIG)
    np.testing.assert_array_equal(c[:96], a[:96])
    roofs._triad(a, b, 1, c, False, work=roofs.BIG)
    np.testing.assert_array_equal(c[:96], a[:96] + 3)


def test_cores_are_some_way_apart(monkeypatch):
    many = mk.get_num_threads()
    found = apart.apart()
    assert found is None or (many > 1 and 0 < found < 1e6)      # on a busy machine there may be no core for the other player
    mk.set_num_threads(1)
    try:
        assert apart.apart() is None
    finally:
        mk.set_num_threads(many)
    ball = np.zeros((1, 8), np.int64)
    apart._play(ball, 10, 50)                               # alone: the second player never answers, and nobody waits for ever
    assert ball[0, 0] == 2
    assert report.apart_line([{"apart_ns": ns} for ns in (45.0, 50.0, 210.0, None)]) == (
        "Two cores were 45 to 210 ns apart, 50 at half of the 3 rows, and more than 100 at 1.")
    assert report.apart_line([{}, {"apart_ns": None}]) == ""


def test_a_matrix_unit_has_a_roof_of_its_own():
    with_unit = roofs.Roofs(100.0, 10.0, 12.0, 180.0)
    assert (with_unit.of("amx"), with_unit.of("packed"), ROOFS.of("amx")) == (180, 100, 100)
    if not roofs.amx.present():
        pytest.skip("this processor has no matrix unit")
    x, y = np.ones(64, np.float32), np.empty(128, np.float32)
    roofs._multiply_tiles(x, 3, 2, y, work=roofs.BIG)
    numbers = 1 / (np.arange(1536) + 3.0)
    columns = [20 * (2 * k + 1) + 7 * half + np.arange(16) for half in (0, 1) for k in range(16)]
    sums = 3 * sum(numbers[k % 16 + k // 16 * 7] * numbers[column] for k, column in enumerate(columns))
    np.testing.assert_allclose(y[:16], sums, rtol=1e-5)
    np.testing.assert_array_equal(y[64:80], y[:16])


def test_everyone_finds_the_same():
    """Whole detections, one of each kind, and what HoG says; a job is there if its cascade is."""
    pytest.importorskip("cv2")
    jobs = {one.name: one for one in finds.finds()}
    assert {one.op for one in jobs.values()} == {"find faces", "find people", "hog skimage", "hog opencv"}
    assert {"512x512 faces", "512x512 padding 0", "640x480 3x3", "640x480 rgb 2x2", "1920x1080 3x3"} <= set(jobs)
    for name in ("512x512 faces", "512x512 lbpcascade_frontalface", "512x512 padding 0", "640x480 3x3", "640x480 rgb 2x2"):
        ours, *others = [who.call() for who in finds.contestants(jobs[name], 1, True)]
        assert len(others) == 1 and (len(ours) or "faces" not in name)
        assert finds.difference(ours, others[0]) < (1e-5 if "x2" in name or "x3" in name else 1e-9), name
    assert finds.difference(np.zeros((0, 4)), np.zeros((1, 4))) == math.inf


def test_a_find_makes_a_row():
    one = finds.Find("a photo", "find nothing", lambda: lambda: np.zeros((0, 4)), {})
    made = search(one, Request("vision", [], [], False, True, False, 1e-9))
    assert made["difference"] == 0 and set(made["ms"]) == {"minivision"} and "a photo" in report.line(made)
    assert [one for one in chosen(Request("vision", [1], [], False, True, False, 1.0)) if isinstance(one, finds.Find)]
