"""Whatever is wrong with the input: code 2, one line that says what to do, no traceback, nothing left behind."""

import os

import numpy as np
import pytest
from cli_process import start
from PIL import Image

import minivision as mv
from minivision.cli import main

USAGE = {
    (): "which job",
    ("trian",): "did you mean train?",
    ("train", "--epochs", "0"): "--epochs: got '0', expected a whole number >= 1",
    ("train", "--epochs", "many"): "--epochs",
    ("train", "--batch-size", "0"): "--batch-size",
    ("train", "--lr", "-1"): "--lr: got '-1', expected a number > 0",
    ("train", "--lr", "nan"): "--lr",
    ("train", "--lr", "inf"): "--lr",
    ("train", "--momentum", "1"): "--momentum",
    ("train", "--weight-decay", "-0.1"): "--weight-decay",
    ("train", "--seed", "-1"): "--seed",
    ("train", "--limit", "0"): "--limit",
    ("train", "--threads", "1000000"): "1000000",
    ("train", "--model", "vgg"): "--model",
    ("train", "--epoch", "3"): "--epoch",
    ("train", "--device", "tpu"): "'tpu' cannot be used",
    ("train", "--device", "cuda"): "'cuda' cannot be used",
    ("train", "--data", "mnits"): "did you mean mnist?",
    ("train", "--data", "no/such/folder"): "no/such/folder",
    ("train", "--data", "mnist", "--root", "nowhere"): "minivision data fetch mnist",
    ("train", "--model", "lenet5"): "use SmallCNN",
    ("train", "--image-size", "8"): "--image-size is for folders",
    ("train", "--lr", "1e6", "--limit", "320", "--optimizer", "sgd"): "smaller --lr",
    ("train", "--resume", "missing.safetensors"): "there is no file missing.safetensors",
    ("evaluate",): "CHECKPOINT",
    ("evaluate", "missing.safetensors"): "there is no file missing.safetensors",
    ("predict", "x.png", "--model", "digits", "--checkpoint", "x"): "--model and --checkpoint name two networks",
    ("data",): "ACTION",
    ("data", "fetch", "fashion_mnist2"): "did you mean fashion-mnist?",
    ("gradcheck", "conv3d"): "did you mean conv2d?",
}


@pytest.mark.parametrize("arguments", USAGE, ids=" ".join)
def test_wrong_usage(refused, arguments):
    assert USAGE[arguments] in refused(*arguments)


def test_broken_checkpoints(refused, tmp_path, trained):
    whole = trained.read_bytes()
    (tmp_path / "short.safetensors").write_bytes(whole[:len(whole) // 2])
    (tmp_path / "text.safetensors").write_text("not weights")
    (tmp_path / "empty.safetensors").write_bytes(b"")
    mv.save({"weight": mv.zeros(3)}, tmp_path / "weights.safetensors")
    state = mv.load(trained)
    mv.save({**state, "about": {**state["about"], "model": "resnet"}}, tmp_path / "unknown.safetensors")
    mv.save({**state, "about": {**state["about"], "image_size": 16}}, tmp_path / "other.safetensors")
    mv.save({k: v for k, v in state.items() if k != "optimizer"}, tmp_path / "half.safetensors")
    for name in ("short", "text", "empty", "weights", "unknown", "other"):
        for job in (("evaluate",), ("train", "--resume"), ("predict", "x.png", "--checkpoint")):
            assert f"{name}.safetensors" in refused(*job, f"{name}.safetensors")
    assert "half.safetensors" in refused("train", "--resume", "half.safetensors", "--out", "new")
    assert "folder" in refused("evaluate", tmp_path)


def test_a_checkpoint_for_other_data(refused, trained, tmp_path):
    (tmp_path / "mine" / "cat").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "mine" / "cat" / "1.png")
    assert "(1, 8, 8)" in refused("evaluate", trained, "--data", "mine")
    assert "did you mean digits?" in refused("evaluate", trained, "--data", "digit")


def test_settings_cannot_change_on_resume(refused, trained):
    assert "--lr cannot be chosen with --resume" in refused("train", "--resume", trained, "--lr", "0.1")
    assert "has done 4 already" in refused("train", "--resume", trained, "--epochs", "3")


def test_files_that_are_no_pictures(refused, tmp_path, trained, digit_picture):
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "cut.png").write_bytes(digit_picture[0].read_bytes()[:40])
    Image.fromarray(np.full((8, 8), 60000, np.uint16)).save(tmp_path / "deep.png")
    Image.new("L", (30, 30), 200).save(tmp_path / "blank.png")
    for name, word in (("text.png", "not a picture"), ("cut.png", "cut.png"), ("deep.png", "8 bits"),
                       ("missing.png", "no file"), (".", "folder"), ("blank.png", "blank")):
        # A good picture before the bad one: nothing may be printed for it either.
        assert word in refused("predict", digit_picture[0], name, "--checkpoint", trained)


def test_folders_that_are_no_data(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "one" / "cat").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "one" / "cat" / "1.png")
    assert "empty" in refused("train", "--data", "empty")
    assert "one class folder only" in refused("train", "--data", "one")


def test_an_out_folder_that_cannot_be_written(refused, tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert "choose another folder with --out" in refused("train", "--out", "file/results", "--limit", "64")
    if os.geteuid():
        (tmp_path / "locked").mkdir(mode=0o500)
        assert "choose another folder with --out" in refused("train", "--out", "locked/results", "--limit", "64")


def test_tracebacks_on_request(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIVISION_TRACEBACK", "1")
    with pytest.raises(FileNotFoundError):
        main(["evaluate", str(tmp_path / "missing.safetensors")])


def test_errors_of_ours_are_not_swallowed(command, monkeypatch):
    from minivision.cli import doctor

    def broken(arguments):
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr(doctor, "run", broken)
    with pytest.raises(ZeroDivisionError):
        command("doctor")


def test_a_real_process_fails_as_promised(tmp_path):
    process = start("train", "--data", "mnits", cwd=tmp_path)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2 and out == "" and err.count("\n") == 1 and err.startswith("minivision: error: ")
