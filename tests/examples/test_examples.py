"""Every example runs, says what it found, and leaves its picture."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SMALL = {                                       # constants and arguments that make a run short
    "01_linear_score": ({}, ()),
    "02_gradient_descent": ({"STEPS": 2}, ()),
    "03_two_layers": ({"EPOCHS": 5}, ()),
    "04_three_layers": ({"EPOCHS": 5}, ()),
    "05_one_convolution": ({}, ()),
    "06_cnn": ({}, ("--epochs", "1", "--limit", "320")),
    "07_image_as_function": ({}, ()),
    "08_sampling": ({}, ()),
    "09_grey_levels": ({}, ()),
    "10_load_and_rotate": ({}, ()),
    "13_faces": ({"SCALE_FACTOR": 1.2}, ()),
    "11_hog": ({}, ()),
    "12_pedestrians": ({"EPOCHS": 2, "ENLARGED": (1.0, 1.25)}, ()),
    "14_occlusion": ({}, ("--model", "digits")),
    "15_adversarial": ({"EPOCHS": 1, "HARD_EPOCHS": 1, "EPSILONS": (0.0, 0.15)}, ("--model", "digits")),
    "16_deepdream": ({"STEPS": 2}, ("--model", "digits")),
    "17_features": ({"CHANNELS": 3}, ("--model", "digits")),
}


def run(name, monkeypatch, folder, arguments=()):
    constants, small = SMALL[name]
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for constant, value in constants.items():
        assert hasattr(module, constant)
        monkeypatch.setattr(module, constant, value)
    monkeypatch.setattr(sys, "argv", [name, *small, *arguments])
    monkeypatch.chdir(folder)
    module.main()


def test_every_example_is_listed():
    assert sorted(SMALL) == sorted(path.stem for path in EXAMPLES.glob("[0-9][0-9]_*.py"))


@pytest.mark.parametrize("name", SMALL)
def test_example(name, monkeypatch, tmp_path, capsys, request):
    if name == "12_pedestrians":                # it needs photographs, which CI must have
        request.getfixturevalue("real_data")
    run(name, monkeypatch, tmp_path)
    path = Path(capsys.readouterr().out.splitlines()[-1])
    assert path.parent == Path("runs/examples") and path.name.startswith(name)
    with Image.open(tmp_path / path) as picture:
        assert min(picture.size) > 500
        assert len(picture.convert("L").resize((64, 64)).getcolors()) > 20          # not a blank page


@pytest.mark.parametrize("data", ["mnist", "fashion-mnist"])
def test_the_cnn_on_real_sets(data, monkeypatch, tmp_path, capsys):
    if not os.environ.get("MINIVISION_DATA"):
        if os.environ.get("CI"):
            pytest.fail("MINIVISION_DATA must name the folder with mnist and fashion-mnist")
        pytest.skip("MINIVISION_DATA does not name a folder with mnist and fashion-mnist")
    run("06_cnn", monkeypatch, tmp_path, ("--data", data))
    assert (tmp_path / f"runs/examples/06_cnn_{data}.png").exists()


def test_a_dream_by_hand_is_the_librarys(real_data, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(SMALL, "16_deepdream", ({"STEPS": 1, "OCTAVES": 1}, ("--model", "squeezenet")))
    run("16_deepdream", monkeypatch, tmp_path)
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 3 and all(float(line.split()[-3]) < 1e-5 for line in told[:2])
    assert (tmp_path / told[2]).exists()


def test_adversarial_training_visibly_helps(monkeypatch):
    """Already after a few epochs and with few filters; the whole training of the example says more, and takes minutes."""
    spec = importlib.util.spec_from_file_location("example_15", EXAMPLES / "15_adversarial.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, value in dict(EPOCHS=6, HARD_EPOCHS=6, WIDTH=8).items():
        monkeypatch.setattr(module, name, value)
    test = module.mv.data.digits("test")
    plain, hardened = (module.explain.robustness(network, test.images, test.labels, [module.SHOWN])[0]
                       for network in map(module.digits_network, (0, module.EPS)))
    assert hardened > plain + 0.15


def test_the_two_gradients_agree(monkeypatch, tmp_path, capsys):
    run("02_gradient_descent", monkeypatch, tmp_path)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:3]]
    assert all(abs(float(slow) - float(fast)) < 1e-6 for _, slow, fast in rows)
