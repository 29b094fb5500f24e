"""`minivision bench` and `minivision warmup`: what they say and write, and what they refuse."""

import json
import platform
import subprocess
import sys

import pytest
from cli_process import start

from minivision_kernels import tuned
from minivision_kernels.cpu import cache

QUICK = ("--seconds", "0.001", "--no-peers")

REFUSED = {
    ("bench", "--suite", "alexnet"): "--suite",
    ("bench", "--batch", "0"): "--batch: got '0', expected a whole number >= 1",
    ("bench", "--op", "conv2d_foward"): "did you mean conv2d_forward?",
    ("bench", "--suite", "lenet", "--op", "relu", "--no-peers"): "suite lenet has none of the operations relu_forward",
    ("bench", "--seconds", "0"): "--seconds: got '0', expected a number > 0",
    ("bench", "--threads", "0"): "--threads",
    ("bench", "--no-peers", "--json", "."): "--json: . is a folder",
    ("bench", "--no-peers", "--tune", "--json", "x.json"): "--json cannot be chosen with --tune",
    ("bench", "--no-peers", "--tune", "--suite", "training"): "no operation to choose a rung for",
    ("warmup", "--model", "vgg"): "--model",
    ("warmup", "--batch", "none"): "--batch",
    ("warmup", "--model", "lenet5", "--image-size", "8"): "use SmallCNN",
}


@pytest.fixture
def table(monkeypatch, tmp_path_factory):
    """A table of tuned choices that is not the user's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.delenv("MINIVISION_TUNED")
    monkeypatch.setattr(cache, "folder", lambda: folder)
    monkeypatch.setattr(tuned, "table", None)
    monkeypatch.setattr(tuned, "_known", {})


@pytest.mark.parametrize("arguments", REFUSED, ids=" ".join)
def test_wrong_usage(refused, arguments):
    assert REFUSED[arguments] in refused(*arguments)


def test_bench_says_and_writes_what_it_measured(command, table, tmp_path):
    said = command("bench", "--suite", "lenet", "--batch", "1", "2", "--op", "forward", "--json", "rows.json", *QUICK)
    assert said.code == 0, said
    assert said.err == ""                                           # no bar where there is no terminal
    stored = json.loads((tmp_path / "rows.json").read_text())
    assert [(row["layer"], row["batch"], row["op"]) for row in stored["rows"]] == [
        (layer, batch, "conv2d_forward") for batch in (1, 2) for layer in ("1>6 5x5 @28", "6>16 5x5 @14")]
    for key in ("machine", "features", "versions", "date", "threads", "roofs", "exact", "keep_memory", "kernels"):
        assert key in stored
    for row in stored["rows"]:
        assert row["layer"] in said.out and row["rung"] in said.out
    assert "Roofs" in said.out and "written to rows.json" in said.out
    assert [path.name for path in tmp_path.iterdir()] == ["rows.json"]


def test_bench_starts_itself_again_for_what_is_read_at_the_start(tmp_path):
    process = start("bench", "--suite", "lenet", "--op", "conv2d_weight", "--batch", "1", "--seconds", "0.001",
                    "--threads", "1", "--keep-memory", "--exact", "--json", "rows.json", cwd=tmp_path)
    out, err = process.communicate()
    assert process.returncode == 0, err
    stored = json.loads((tmp_path / "rows.json").read_text())
    assert (stored["threads"], stored["keep_memory"], stored["exact"]) == (1, True, True)
    assert "malloc keeps memory" in out and "Winograd left out" in out


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="AVX2 is of x86 processors")
def test_bench_can_do_without_avx512(command, monkeypatch):
    from minivision.cli import bench

    asked = []
    monkeypatch.setattr(bench.subprocess, "call", lambda words, env: asked.append((words, env)) or 0)
    assert command("bench", "--avx2", "--suite", "lenet").code == 0
    (words, environment), = asked
    assert words[-4:] == ["bench", "--avx2", "--suite", "lenet"]
    assert "+avx2" in environment["NUMBA_CPU_FEATURES"] and environment["ONEDNN_MAX_CPU_ISA"] == "AVX2"


def test_bench_tune_is_followed_from_then_on(command, table):
    said = command("bench", "--tune", "--suite", "lenet", "--op", "conv2d_weight", "--batch", "1", *QUICK)
    assert said.code == 0, said
    assert str(tuned.path()) in said.out
    stored = json.loads(tuned.path().read_text())
    assert len(stored["choices"]) == 2 and stored["threads"] >= 1
    for names in stored["choices"].values():
        assert set(names) == {"any", "exact"} and names["exact"] != "winograd"
    assert tuned.table == stored["choices"]


def test_warmup_says_what_it_did_and_does_it_once(command):
    arguments = ("warmup", "--model", "smallcnn", "--image-size", "8", "--batch", "2")
    first, again = command(*arguments), command(*arguments)
    assert first.code == again.code == 0
    assert first.err == again.err == ""
    assert "smallcnn on 1 x 8 x 8 images, 2 at a time" in first.out
    assert "0 kernels compiled, 0 found in the cache" in again.out
    assert str(cache.cache_info().folder) in again.out


def test_warmup_works_where_the_cache_cannot_be_written(command, monkeypatch):
    from minivision_kernels.cpu.cache import CacheInfo

    nowhere = CacheInfo(cache.cache_info().folder, False, "read-only")
    for place in ("minivision_kernels.cache_info", "minivision_kernels.cpu.compile.cache_info"):
        monkeypatch.setattr(place, lambda: nowhere)
    said = command("warmup", "--model", "linear", "--image-size", "4", "--batch", "3")
    assert said.code == 0
    assert "cannot be written, so every process compiles anew: read-only" in said.out


def test_every_kernel_that_is_made_is_told_of():
    """In a process of its own, where no kernel has been met before."""
    program = """
from minivision.models import Linear
from minivision.warmup import FLOAT, warm_up
from minivision_kernels.cpu import compile
made, told = [], []
compile.watchers.append(made.append)
done = warm_up(Linear(image_size=4), (1, 4, 4), 2, lambda: told.append(1))
assert done.compiled + done.loaded == len(made) == len(told) > 0
assert all(FLOAT in kernel.forms for kernel in made)
assert len(compile.watchers) == 1
"""
    subprocess.run([sys.executable, "-c", program], check=True)
