"""How kernels are compiled: for which types, how often, kept where, and with how many threads."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import minivision_kernels as mk
from minivision_kernels.cpu import cache, threads
from minivision_kernels.cpu.compile import In1, Kernel, Out1, Out2, Team, compiled, helper, prange, rebuilt

PACKAGE = Path(mk.__file__).parent


def python(program, folder=PACKAGE.parent, cache_folder=None, **environment):
    """What a fresh process prints."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "NUMBA_NUM_THREADS": "2", **environment}
    environment.update({"MINIVISION_CACHE": str(cache_folder)} if cache_folder else {})
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], env=environment, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@helper
def doubled(value):
    return value + value


@compiled
def double(x: In1, y: Out1, team: Team):
    for i in prange(x.shape[0], team):
        y[i] = doubled(x[i])


def readonly(array):
    array.flags.writeable = False
    return array


def compilations(kernel: Kernel) -> int:
    return sum(len(form.overloads) for form in kernel.forms.values())


def test_one_compilation_per_float_type(monkeypatch):
    monkeypatch.setattr("minivision_kernels.cpu.compile.SERIAL_BELOW", 10)
    for dtype, work, count in ((np.float32, 5, 1), (np.float64, 5, 2), (np.float32, 10, 2), (np.float64, 99, 2)):
        y = np.empty(5, dtype)
        for _ in range(2):
            for x in (np.arange(5, dtype=dtype), readonly(np.arange(5, dtype=dtype))):
                double(x, y, work=work)
                assert y.tolist() == [0, 2, 4, 6, 8]
        assert compilations(double) == count


@helper
def add_one(row):
    for j in range(row.shape[0]):
        row[j] += 1


@compiled
def count_up(y: Out2, team: Team):
    for i in prange(y.shape[0], team):
        add_one(y[i])


@compiled
def count_up_apart(y: Out2, team: Team):
    for i in prange(y.shape[0], team):
        row = np.zeros(y.shape[1], y.dtype)
        for j in range(y.shape[1]):
            row[j] = y[i, j]
        add_one(row)
        for j in range(y.shape[1]):
            y[i, j] = row[j]


def test_references_are_counted_where_arrays_are_made():
    """And nowhere else: threads that slice one array would wait for each other's count."""
    for kernel, counted in ((count_up, False), (count_up_apart, True)):
        y = np.zeros((3, 4))
        kernel(y)
        assert (y == 1).all()
        code = "".join(kernel.form(np.dtype(np.float64)).inspect_llvm().values())
        assert ("NRT_" in code) == counted


def test_wrong_arguments_are_named():
    x = np.zeros(5)
    with pytest.raises(TypeError, match=r"y must be a writable C-contiguous float array of 1 axes.*got.*read-only"):
        double(x, readonly(np.zeros(5)))
    with pytest.raises(TypeError, match=r"y must be .* float meaning float64; got one that is float32"):
        double(x, np.zeros(5, np.float32))
    with pytest.raises(TypeError, match=r"x must be .* not contiguous"):
        double(np.zeros((5, 2))[:, 0], x)
    with pytest.raises(TypeError, match="double takes x, y; got 1 arguments"):
        double(x)
    with pytest.raises(TypeError, match="double takes float32 or float64 arrays, got int64"):
        double(np.zeros(5, np.int64), x)


def test_kernels_in_a_closure_work():
    """As in a notebook: no file, no cache, but compiled all the same."""
    @compiled
    def negate(x: In1, y: Out1):
        for i in range(x.shape[0]):
            y[i] = -x[i]

    y = np.empty(2)
    negate(np.array([1.0, -2.0]), y)
    assert y.tolist() == [-1, 2]


@helper
def tripled(value):
    return 3 * value


@compiled
def multiples(x: In1, y: Out1):
    for i in range(x.shape[0]):
        y[i] = doubled(x[i])


def test_a_kernel_is_rebuilt_with_other_words():
    """By name; the kernel itself stays what it was, and both have names of their own, by which the cache tells them apart."""
    thrice = rebuilt(multiples, {"doubled": tripled}, "_thrice")
    for kernel, factor in ((multiples, 2), (thrice, 3), (multiples, 2)):
        y = np.empty(2)
        kernel(np.array([1.0, -2.0]), y)
        assert y.tolist() == [factor, -2 * factor]
    assert (thrice.name, thrice.function.__qualname__) == ("multiples_thrice",) * 2


def test_no_kernel_compiles_twice_for_readonly_arrays():
    program = """
        import gc, numpy as np, minivision_kernels as mk
        from minivision_kernels.cpu.compile import Kernel
        x = np.ones((2, 2, 40, 40), np.float32); w = np.ones((2, 2, 3, 3), np.float32)
        geometry = (1, 1), (1, 1), (1, 1), 1
        def count():
            kernels = [k for k in gc.get_objects() if isinstance(k, Kernel)]
            return [len(f.overloads) for k in kernels for f in k.forms.values()]
        calls = {"conv2d_forward": (x, w), "conv2d_input": (x, w, x.shape), "conv2d_weight": (x, x, w.shape)}
        for _ in range(2):
            for op, args in calls.items():
                for rung in mk.ladder(op):
                    if rung.device == "cpu" and (rung.accepts is None or rung.accepts(*args, *geometry)):
                        rung(*args, *geometry)
            print(count())
            x.flags.writeable = w.flags.writeable = False
    """
    first, second = python(program).splitlines()
    assert first == second
    assert set(first.strip("[]").split(", ")) == {"1"}


# ---- the disk cache

RELU = """
    import numpy as np, minivision_kernels as mk
    from minivision_kernels.cpu import relu_loops
    y = mk.ladder("relu_forward")[1](np.array([-1.0, 3.0]))
    form = relu_loops._forward.forms[np.dtype(float)]
    print(y.tolist(), "hit" if form.stats.cache_hits else "compiled", mk.cache_info().writable)
    import numba; assert not numba.config.CACHE_DIR
"""
SGD = """
    import numpy as np, minivision_kernels as mk
    from minivision_kernels.cpu import sgd_parallel
    parallel = next(rung for rung in mk.ladder("sgd_update") if rung.name == "parallel")
    p = np.array([1.0, 2.0]); parallel(p, np.ones(2), None, 1.0, 0.0, 0.0, 0.0, False, True)
    form = sgd_parallel._update.forms[np.dtype(float)]
    print(p.tolist(), "hit" if form.stats.cache_hits else "compiled")
"""


def test_the_second_process_hits_the_cache(tmp_path):
    assert python(RELU, cache_folder=tmp_path) == "[0.0, 3.0] compiled True"
    assert python(RELU, cache_folder=tmp_path) == "[0.0, 3.0] hit True"


def test_an_edited_helper_in_another_file_is_never_answered_from_the_cache(tmp_path):
    """sgd_parallel calls update_one of sgd_loops: Numba's own cache would not look there."""
    shutil.copytree(PACKAGE, tmp_path / "src" / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    where = {"folder": tmp_path / "src", "cache_folder": tmp_path / "cache"}
    assert python(SGD, **where) == "[0.0, 1.0] compiled"
    assert python(SGD, **where) == "[0.0, 1.0] hit"
    edited = tmp_path / "src" / PACKAGE.name / "cpu" / "sgd_loops.py"
    text = edited.read_text()
    assert "param[i] -= lr * d" in text
    edited.write_text(text.replace("param[i] -= lr * d", "param[i] += lr * d"))
    assert python(SGD, **where) == "[2.0, 3.0] compiled"


def test_without_a_writable_folder_kernels_compile_in_memory(tmp_path):
    (tmp_path / "file").touch()                 # a file where the folder should be: not even root can write there
    assert python(RELU, cache_folder=tmp_path / "file") == "[0.0, 3.0] compiled False"


def test_a_damaged_cache_costs_only_time(tmp_path):
    python(RELU, cache_folder=tmp_path)
    for file in tmp_path.rglob("*.nb[ic]"):
        file.write_bytes(b"damaged")
    assert python(RELU, cache_folder=tmp_path).startswith("[0.0, 3.0]")


def test_old_folders_are_removed_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIVISION_CACHE", str(tmp_path))
    root = tmp_path / "kernels"
    for name, age_days in {"0" * 16: 40, "1" * 16: 1, "not-a-hash": 40}.items():
        (root / name).mkdir(parents=True)
        stamp = root / name / cache.STAMP
        stamp.touch()
        then = stamp.stat().st_mtime - age_days * 24 * 3600
        os.utime(stamp, (then, then))
    (root / ("2" * 16)).mkdir()                 # a hash, but without our stamp
    cache.cache_info.cache_clear()
    try:
        info = mk.cache_info()
    finally:
        cache.cache_info.cache_clear()
    assert info.writable and info.folder.parent == root
    assert sorted(p.name for p in root.iterdir()) == sorted(["1" * 16, "2" * 16, "not-a-hash", info.folder.name])


# ---- without a compiler

def test_with_the_jit_disabled_kernels_are_python():
    assert python("""
        import numpy as np, minivision_kernels as mk
        x = np.arange(9.0).reshape(1, 1, 3, 3); w = np.ones((1, 1, 2, 2)); a = (1, 1), (0, 0), (1, 1), 1
        able = [rung for rung in mk.ladder("conv2d_forward")
                if rung.device == "cpu" and (rung.accepts is None or rung.accepts(x, w, *a))]
        print([rung.name for rung in able], [rung(x, w, *a).tolist() for rung in able])
    """, NUMBA_DISABLE_JIT="1") == f"{['loops', 'numpy', 'parallel', 'depthwise']} {[[[[[8.0, 12.0], [20.0, 24.0]]]]] * 4}"


def test_without_numba_numpy_answers(tmp_path):
    program = """
        import sys
        sys.modules["numba"] = None             # importing it now raises ImportError
        import importlib.util
        import numpy as np, minivision_kernels as mk
        print(mk.best("conv2d_forward", np.zeros((1, 1, 3, 3))).name, mk.get_num_threads())
        try:
            next(rung for rung in mk.ladder("relu_forward") if rung.name == "parallel")(np.zeros(3))
        except ModuleNotFoundError as error:
            print(error)
    """
    assert python(program).splitlines() == [
        "numpy 1", "this rung is compiled by Numba, which is not installed; install numba, or call the 'numpy' rung"]


# ---- all operations

CALLS = """
    import hashlib, numpy as np, minivision_kernels as mk
    from minivision_kernels.cascades import LBP, Haar, Trees
    from minivision_kernels.cpu import compile
    compile.SERIAL_BELOW = 0
    rng = np.random.default_rng(0)
    def normal(*shape): return rng.standard_normal(shape).astype(np.float32)
    x, w, g = normal(4, 8, 20, 20), normal(16, 8, 3, 3), normal(4, 16, 20, 20)
    a, b, c = normal(64, 300), normal(200, 300), normal(64, 200)
    geometry = (1, 1), (1, 1), (1, 1), 1
    y, index = mk.run("max_pool2d_forward", x, (3, 3), (2, 2), (1, 1), (1, 1), False)
    labels = rng.integers(0, 200, 64)
    photo = rng.integers(0, 256, (50, 40, 3)).astype(np.uint8)
    sums, squares = mk.run("window_sums", np.ascontiguousarray(photo[..., 0]), True)
    weak, bits = np.float32([-0.1, 0.1, 0]), rng.integers(-(1 << 31), 1 << 31, (3, 8)).astype(np.int32)
    haar = Haar(np.int32([[[0, 0, 4, 4], [2, 0, 2, 4], [0, 0, 0, 0]], [[2, 0, 2, 2], [2, 1, 1, 1], [2, 0, 1, 1]]]),
                np.float32([[-1, 2, 0], [-1, 2, 1]]), np.array([False, True]))
    lbp = LBP(np.int32([[0, 0, 2, 1], [0, 2, 1, 1]]))
    trees = Trees(np.int32([[1, -1, 0], [-2, -3, 1], [-4, -5, 0]]), weak, bits[:0], np.float32([1, -1, 1, -1, 1]),
                  np.int32([0, 2]), np.int32([0, 1, 2]), np.float32([0, 0]))
    calls = {
        "conv2d_forward": (x, w, *geometry), "conv2d_input": (g, w, x.shape, *geometry),
        "conv2d_weight": (x, g, w.shape, *geometry),
        "max_pool2d_forward": (x, (3, 3), (2, 2), (1, 1), (1, 1), False),
        "max_pool2d_backward": (y, index, x.shape, (3, 3), (2, 2), (1, 1), (1, 1)),
        "avg_pool2d_forward": (g, (3, 3), (2, 2), (1, 1), False, True, None),
        "avg_pool2d_backward": (g, (4, 16, 40, 40), (2, 2), (2, 2), (0, 0), False, True, None),
        "relu_forward": (g,), "relu_backward": (g, g),
        "add": (g, g), "bias_add": (g.copy(), g[0, :, 0, 0].copy()), "channel_sum": (g,), "relu_bias_backward": (g, g),
        "channel_affine": (g, c[0, :16], c[1, :16]),
        "batch_norm_forward": (g, c[0, :16], c[1, :16], 1e-5),
        "batch_norm_backward": (g, g + 1, c[0, :16], c[1, :16], c[2, :16] ** 2, 1e-5),
        "linear_forward": (a, b), "linear_input": (c, b), "linear_weight": (c, a),
        "cross_entropy_forward": (c, labels), "cross_entropy_backward": (c, labels, c[:, 0]),
        "adam_update": (g, g.copy(), g.copy(), abs(g), 0.1, 0.9, 0.99, 1e-8, 0.1, 3),
        "sgd_update": (g, g.copy(), None, 0.1, 0.0, 0.0, 0.1, False, False),
        "resize": (photo, (31, 70), "lanczos", True),
        "affine": (photo, (0.9, 0.4, -3.0, -0.4, 0.9, 2.5), (50, 40), "bicubic"),
        "integral": (photo[..., 0], True), "integral_tilted": (photo[..., 0],),
        "shrink_exact": (photo[..., 0], (31, 70)), "window_sums": (photo[..., 0], True),
        "cascade_haar": (sums, squares, haar, trees, (5, 6), 1, 46),
        "cascade_lbp": (sums, lbp, trees._replace(thresholds=weak[:0], subsets=bits), (5, 6), 2, 23),
        "hog_cells": (x[0], (4, 3), 7), "hog_blocks": (abs(x[0]), (2, 3), "L2-Hys"),
        "hog_scores": (x[0], x[1, :3, :5], (1, 2), (2, 1)),
        "hog_votes": (x[0], abs(c[0, :4]), abs(c[1, :6]), (2, 3), (2, 3), (1, 0), 7, False, True),
    }
    def fingerprints():
        assert set(calls) == set(mk.ops())
        digests = []
        for op, args in calls.items():
            for rung in mk.ladder(op):
                if rung.device == "cpu" and rung.repeatable and (rung.accepts is None or rung.accepts(*args)):
                    given = [v.copy() if isinstance(v, np.ndarray) else v for v in args]
                    got = rung(*given)
                    arrays = [given[0]] if got is None else got if isinstance(got, tuple) else [got]
                    digests.append(hashlib.sha256(b"".join(v.tobytes() for v in arrays)).hexdigest()[:8])
        return digests
"""


def test_no_rung_leaves_its_arrays(tmp_path):
    """Compiled with a check of every index; only the words of vectors and tiles have none, for which walls of NaN must do.

    Nobody waits for these results, so LLVM need not make them fast, which takes half the time.
    """
    program = CALLS + "    print(len(fingerprints()))"
    assert int(python(program, cache_folder=tmp_path, NUMBA_BOUNDSCHECK="1", NUMBA_OPT="0")) > 50


def test_rows_that_do_not_exist_are_read_within_a_row_of_zeros(tmp_path):
    """The gradient to the image at stride 2 once read a little before it: zeros as a rule, at times a crash."""
    program = """
    import numpy as np, minivision_kernels as mk
    from minivision_kernels.cpu import sliding
    read, seen = sliding.Window.vector, []
    def vector(self, line, at, part, among=None):
        seen.append((at, at + self.lanes <= 4 * self.lanes))
        return read(self, line, at, part, among)
    sliding.Window.vector = vector
    for k, s in ((3, 1), (3, 2), (5, 1), (5, 2)):
        geometry = (s, s), (0, 0), (1, 1), 2
        x, w = np.ones((1, 2, 15, 40), np.float32), np.ones((2, 1, k, k), np.float32)
        for op, *args in (("conv2d_forward", x, w), ("conv2d_input", None, w, x.shape), ("conv2d_weight", x, None, w.shape)):
            g = np.ones((1, 2, (15 - k) // s + 1, (40 - k) // s + 1), np.float32)
            rung = [rung for rung in mk.ladder(op) if rung.name == "depthwise" and rung.device == "cpu"][0]
            rung(*(g if each is None else each for each in args), *geometry)
    print(min(at for at, _ in seen) >= -sliding.BEFORE, min(at for at, _ in seen), all(fits for _, fits in seen))
    """
    assert python(program, cache_folder=tmp_path, NUMBA_OPT="0") == "True -2 True"


# ---- threads

def test_results_have_the_same_bits_for_every_number_of_threads():
    program = CALLS + """
    results = []
    for n in (1, 2, 3):
        mk.set_num_threads(n)
        assert mk.get_num_threads() == n
        results.append(fingerprints())
    assert results[0] == results[1] == results[2], results
    import numba
    print(numba.get_num_threads(), " ".join(results[0]))
    """
    three, *bits = python(program, NUMBA_NUM_THREADS="3").split()
    assert three == "3"
    assert python(CALLS + "    print(*fingerprints())", NUMBA_NUM_THREADS="1").split() == bits


@compiled
def sign(y: Out1, team: Team):
    """Everybody writes who they are: member and size of the team."""
    for i in prange(y.shape[0], team):
        y[i] = 10 * (team >> 32) + (team & 0xffffffff)


@compiled
def fail_at(x: In1, y: Out1, team: Team):
    for i in prange(x.shape[0], team):
        y[i] = x[i]
        if x[i] > 1:
            raise ValueError("larger than one")


@compiled
def twice(y: Out1, team: Team):
    for i in prange(y.shape[0], team):
        y[i] = 1
    for i in prange(y.shape[0], team):
        y[i] += 1


def test_a_loop_is_shared_evenly_and_little_work_is_not():
    assert MOST > 1, "this machine has one core; set NUMBA_NUM_THREADS=2"
    for n in range(1, MOST + 1):
        mk.set_num_threads(n)
        for length in (0, 1, 5, 97):
            y, parts = np.zeros(length), [length * i // n for i in range(n + 1)]
            sign(y, work=10**9)
            assert y.tolist() == [10.0 * i + n for i in range(n) for _ in range(parts[i], parts[i + 1])]
    y = np.zeros(5)
    sign(y, work=-1)                                        # below any limit
    assert y.tolist() == [1.0] * 5


def test_parts_of_a_range():
    assert [list(prange(7, (i << 32) + 3)) for i in range(3)] == [[0, 1], [2, 3], [4, 5, 6]]
    assert list(prange(7, threads.ALONE)) == list(prange(7, threads.team())) == list(range(7))


@pytest.mark.parametrize("place", [0, 99])
def test_an_error_in_any_thread_is_the_callers(place):
    x = np.zeros(100)
    fail_at(x, x.copy(), work=10**9)
    x[place] = 2
    with pytest.raises(ValueError, match="larger than one"):
        fail_at(x, x.copy(), work=10**9)


def test_two_shared_loops_in_a_kernel_are_refused():
    with pytest.raises(Exception, match="twice has two pranges, and nobody would wait between them; make two kernels of it"):
        twice(np.zeros(5))


def test_every_python_thread_gets_the_count():
    assert python("""
        import threading, numpy as np, minivision_kernels as mk
        from minivision_kernels.cpu import threads
        seen = []
        def work():
            mk.run("relu_forward", np.zeros(100_000))
            seen.append(threads.team() == threads.ALONE)
        for n in (1, 2):
            mk.set_num_threads(n)
            workers = [threading.Thread(target=work) for _ in range(2)]
            for worker in workers: worker.start()
            for worker in workers: worker.join()
        print(seen)
    """) == "[True, True, False, False]"


@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_python_threads_may_call_at_once(layer):
    """Numba's own layer aborts the process when two threads enter it; the guard lets one in at a time."""
    assert python("""
        import threading, numpy as np, minivision_kernels as mk
        x = np.arange(-50_000.0, 50_000.0)
        def work():
            for _ in range(50):
                total.append(mk.run("relu_forward", x).sum())
        total = []
        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers: worker.start()
        for worker in workers: worker.join()
        print(len(total), len(set(total)))
    """, NUMBA_THREADING_LAYER=layer) == "200 1"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_a_forked_child_computes_the_same(layer):
    """GNU OpenMP kills such a child at its first parallel region; ours does not enter one."""
    program = CALLS + """
    import os, sys
    parent = fingerprints()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os._exit(0 if fingerprints() == parent else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert python(program, NUMBA_THREADING_LAYER=layer) == "0"


MOST = mk.get_num_threads()


def test_this_process_was_not_forked():
    assert not threads.serial_only
