"""``minivision train``: what it writes, what it says, and that it stops and goes on without a trace."""

import signal
import sys

import numpy as np
import pytest
from cli_process import start
from PIL import Image

import minivision as mv
from minivision.cli.settings import Settings


def weights(path):
    return {name: value.numpy() for name, value in mv.load(path)["model"].items()}


def same_bits(a, b):
    return a.keys() == b.keys() and all(a[k].tobytes() == b[k].tobytes() for k in a)


def test_train_writes_a_checkpoint_and_a_picture(command, tmp_path):
    said = command("train", "--epochs", 2, "--limit", 320)
    assert said.code == 0 and said.err == ""
    assert "epoch 1/2" in said.out and "epoch 2/2" in said.out and "images/s" in said.out
    folder = tmp_path / "runs" / "digits-smallcnn"
    assert sorted(p.name for p in folder.iterdir()) == ["model.safetensors", "result.png"]
    with Image.open(folder / "result.png") as picture:
        assert min(picture.size) > 900
    about = mv.load(folder / "model.safetensors")["about"]
    assert about["model"] == "smallcnn" and about["data"] == "digits" and about["class_names"] == list("0123456789")
    assert about["settings"]["limit"] == 320 and about["settings"]["epochs"] == 2
    line = next(line for line in said.out.splitlines() if line.startswith("test accuracy"))
    assert line.endswith("of 360)") and " % (" in line


def test_the_digits_are_learned_in_few_epochs(trained):
    accuracy = mv.load(trained)["history"][-1]["test_accuracy"]
    assert accuracy > 0.93


@pytest.mark.parametrize("model, extra", [("mlp", ()), ("linear", ("--optimizer", "adam", "--schedule", "step"))])
def test_other_models_and_rules(command, model, extra):
    said = command("train", "--model", model, "--epochs", 1, "--limit", 200, "--out", "here", *extra)
    assert said.code == 0 and "here/result.png" in said.out


def test_the_same_seed_gives_the_same_bits(command):
    for out, seed in (("a", 3), ("b", 3), ("c", 4)):
        command("train", "--epochs", 1, "--limit", 64, "--no-picture", "--seed", seed, "--out", out)
    a, b, c = (weights(f"{out}/model.safetensors") for out in "abc")
    assert same_bits(a, b) and not same_bits(a, c)


def test_ctrl_c_saves_and_resume_gives_the_same_bits(command, tmp_path):
    settings = ("--epochs", 6, "--limit", 640, "--batch-size", 16)
    process = start("train", *settings, "--out", "stopped", cwd=tmp_path)
    for line in process.stdout:
        if line.startswith("epoch 1/6"):
            process.send_signal(signal.SIGINT)
            break
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert "minivision train --resume stopped/model.safetensors" in out and "Traceback" not in err
    state = mv.load(tmp_path / "stopped" / "model.safetensors")
    assert 1 <= state["epoch"] < 6

    assert command("train", "--resume", "stopped/model.safetensors", "--no-picture").code == 0
    assert command("train", *settings, "--out", "straight", "--no-picture").code == 0
    assert same_bits(weights("stopped/model.safetensors"), weights("straight/model.safetensors"))
    stopped, straight = (mv.load(f"{out}/model.safetensors") for out in ("stopped", "straight"))
    assert stopped["losses"] == straight["losses"]


def test_a_stop_in_the_middle_of_an_epoch(command, monkeypatch):
    from minivision.training import Trainer

    step, calls = Trainer._step, []

    def stopping(self, images, labels):
        step(self, images, labels)
        calls.append(self.step)
        if len(calls) == 7:
            self.stopped = True

    options = ("--epochs", 3, "--limit", 160, "--no-picture")           # 5 steps an epoch
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_step", stopping)
        assert command("train", *options, "--out", "a").code == 130
    assert (mv.load("a/model.safetensors")["epoch"], mv.load("a/model.safetensors")["step"]) == (1, 2)
    said = command("train", "--resume", "a/model.safetensors", "--no-picture")
    assert "going on at step 3 of epoch 2" in said.out
    command("train", *options, "--out", "b")
    assert same_bits(weights("a/model.safetensors"), weights("b/model.safetensors"))


def test_a_finished_run_can_be_prolonged(command):
    command("train", "--epochs", 1, "--limit", 64, "--no-picture", "--out", "a")
    said = command("train", "--resume", "a/model.safetensors", "--epochs", 2, "--no-picture")
    assert said.code == 0 and "epoch 2/2" in said.out and "epoch 1/2" not in said.out
    assert mv.load("a/model.safetensors")["epoch"] == 2
    assert "complete already" in command("train", "--resume", "a/model.safetensors", "--no-picture").out


def test_a_prolonged_run_can_be_resumed(command):
    command("train", "--epochs", 1, "--limit", 64, "--no-picture", "--out", "a")
    command("train", "--resume", "a/model.safetensors", "--epochs", 3, "--no-picture")
    assert mv.load("a/model.safetensors")["about"]["settings"]["epochs"] == 3


def test_a_folder_of_pictures(command, tmp_path):
    random = np.random.default_rng(0)
    for name, colour in (("red", 0), ("blue", 2)):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for i in range(10):
            pixels = random.integers(0, 60, (20, 24, 3), np.uint8)
            pixels[:, :, colour] += 150
            Image.fromarray(pixels).save(tmp_path / "mine" / name / f"{i}.png")
    said = command("train", "--data", "mine", "--epochs", 15, "--batch-size", 4, "--image-size", 16)
    assert said.code == 0 and "16 training images and 4 test images of 3 x 16 x 16, 2 classes" in said.out
    assert "test accuracy 100.0 % (4 of 4)" in said.out
    checkpoint = "runs/mine-smallcnn/model.safetensors"
    assert "tested on 4 images" in command("evaluate", checkpoint).out
    (tmp_path / "other").mkdir()
    (tmp_path / "mine" / "red").rename(tmp_path / "other" / "red")
    (tmp_path / "mine" / "blue").rename(tmp_path / "other" / "blue")
    assert "tested on 20 images" in command("evaluate", checkpoint, "--data", "other").out
    answer = command("predict", "other/blue/0.png", "--checkpoint", checkpoint).out
    assert answer.splitlines()[1].split()[0] == "blue"


def test_without_matplotlib_it_says_so_and_succeeds(command, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = command("train", "--epochs", 1, "--limit", 64)
    assert said.code == 0 and "pip install 'minivision[plot]'" in said.out


def test_resumed_settings_are_those_of_the_checkpoint(trained):
    settings = Settings.remembered(mv.load(trained)["about"]["settings"])
    assert (settings.epochs, settings.batch_size, settings.lr) == (4, 32, 0.05)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_real_sets(command, real_data, name):
    said = command("train", "--data", name, "--root", real_data, "--limit", 640, "--epochs", 1, "--no-picture")
    assert said.code == 0 and "of 10,000)" in said.out
