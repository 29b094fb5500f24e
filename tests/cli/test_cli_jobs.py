"""The other jobs, ``--help`` and ``--version``."""

import subprocess
import sys

import numpy as np
import pytest
from cli_process import start
from PIL import Image

import minivision as mv
from minivision.cli import JOBS
from minivision.cli.output import blocks, percent


def test_help_of_everything(command):
    assert all(job in command("--help").out for job in JOBS)
    for job in JOBS:
        said = command(job, "--help")
        assert said.code == 0 and "example" in said.out and f"minivision {job}" in said.out


def test_version(command):
    assert command("--version").out == f"minivision {mv.__version__}\n"


def test_the_command_is_light():
    code = ("import sys, minivision.cli; minivision.cli.build_parser(); "
            "print([m for m in ('matplotlib', 'numba', 'PIL', 'tqdm', 'cupy', 'torch') if m in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_evaluate(command, trained):
    said = command("evaluate", trained)
    assert said.code == 0 and said.err == ""
    accuracy = mv.load(trained)["history"][-1]["test_accuracy"]
    assert f"test accuracy {percent(accuracy)} ({round(360 * accuracy)} of 360)" in said.out
    assert "most confused" in said.out and "confusion matrix" in said.out
    rows = [line.split() for line in said.out.splitlines()[-10:]]
    counts = np.array([[0 if n == "·" else int(n) for n in row[1:]] for row in rows])
    assert counts.sum() == 360 and (counts.sum(1) == 36).all() and counts.trace() == round(360 * accuracy)


def test_predict_a_test_digit(command, trained, digit_picture):
    path, label = digit_picture
    said = command("predict", path, "--checkpoint", trained)
    assert said.code == 0
    lines = said.out.splitlines()
    assert len(lines) == 6 and lines[0].endswith("8 x 8") and lines[1].split()[0] == str(label) and "█" in lines[1]


@pytest.mark.parametrize("form", ["paper", "transparent", "rotated", "palette"])
def test_predict_pictures_of_all_sorts(command, trained, digit_picture, tmp_path, form):
    """Dark ink on a large bright sheet, on nothing, lying on its side as a camera leaves it, in a palette."""
    path, label = digit_picture
    ink = np.asarray(Image.open(path).resize((160, 160), Image.Resampling.BICUBIC))
    sheet = np.zeros((400, 300), np.uint8)
    sheet[90:250, 60:220] = ink
    paper = Image.fromarray(235 - (sheet * 0.8).astype(np.uint8))
    out = tmp_path / "mine.png"
    if form == "paper":
        paper.convert("RGB").save(out)
    elif form == "transparent":
        drawing = Image.new("RGBA", paper.size, (0, 0, 0, 0))
        drawing.putalpha(Image.fromarray(sheet))
        drawing.save(out)
    elif form == "palette":
        paper.convert("P").save(out)
    else:
        exif = Image.Exif()
        exif[0x0112] = 6                                        # turn by 90 degrees to the right to see it upright
        paper.transpose(Image.Transpose.ROTATE_90).save(out, exif=exif)
    said = command("predict", out, "--checkpoint", trained)
    lines = said.out.splitlines()
    assert "300 x 400, inverted (its border is bright), cut out and scaled to 8 x 8" in lines[0]
    assert lines[1].split()[0] == str(label)


def test_predict_takes_the_default_checkpoint(command, trained, digit_picture, tmp_path):
    (tmp_path / "runs" / "digits-smallcnn").mkdir(parents=True)
    (tmp_path / "runs" / "digits-smallcnn" / "model.safetensors").write_bytes(trained.read_bytes())
    assert command("predict", digit_picture[0]).code == 0


def test_gradcheck_of_two_operations(command):
    said = command("gradcheck", "relu", "max_pool2d")
    assert said.code == 0 and said.err == ""
    names = [line.split()[0] for line in said.out.splitlines()[1:5]]
    assert names == ["Relu", "ReluInput", "MaxPool2d", "MaxPool2dInput"]


def test_gradcheck_fails_for_a_wrong_backward(command, monkeypatch):
    from minivision.ops.elementwise import Exp

    monkeypatch.setattr(Exp, "backward", lambda self, grad: grad * 2.0)
    said = command("gradcheck", "exp")
    assert said.code == 1 and "FAILED" in said.out and "gradcheck failed" in said.out


def test_doctor(command, tmp_path):
    said = command("doctor", "--root", tmp_path)
    assert said.code == 0 and said.err == ""
    for word in ("python", "numpy", "numba", "llvmlite", "pillow", "safetensors", "matplotlib", "cupy", "torch",
                 "cores", "threads", "threading layer", "kernel cache", "GPU", "minivision data fetch mnist"):
        assert word in said.out
    assert np.__version__ in said.out


def test_data_list(command, tmp_path):
    names = [f"{half}-{what}-ubyte.gz" for half in ("train", "t10k") for what in ("images-idx3", "labels-idx1")]
    (tmp_path / "mnist").mkdir()
    for name in names[:-1]:
        (tmp_path / "mnist" / name).touch()
    rows = dict(line.split(maxsplit=1) for line in command("data", "list", "--root", tmp_path).out.splitlines())
    assert rows["digits"].startswith("here") and rows["mnist"].startswith("not here")
    (tmp_path / "mnist" / names[-1]).touch()
    rows = dict(line.split(maxsplit=1) for line in command("data", "list", "--root", tmp_path).out.splitlines())
    assert rows["mnist"] == f"here, {tmp_path / 'mnist'}" and rows["cifar10"].startswith("not here")
    assert "nothing to fetch" in command("data", "fetch", "digits").out


def test_nobody_listens(tmp_path):
    """``minivision doctor | head -1``: no traceback when the reader goes away."""
    process = start("gradcheck", cwd=tmp_path)
    process.stdout.close()
    err = process.stderr.read()
    process.wait(timeout=60)
    assert "Traceback" not in err and err.count("\n") <= 1


def test_bars_and_percentages():
    assert blocks(0.5, 4) == "██  " and blocks(1, 3) == "███" and blocks(0, 2) == "  " and blocks(1 / 16, 2) == "▏ "
    assert percent(0.99999) == "99.9 %" and percent(1) == "100.0 %"
    assert percent(1e-6) == "0.1 %" and percent(0) == "0.0 %"
