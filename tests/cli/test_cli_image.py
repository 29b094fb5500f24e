"""`minivision image`: every action with its defaults and with a picture of one's own, and what is wrong with the input."""

import numpy as np
import pytest
from PIL import Image

from minivision import vision

ACTIONS = {"sample": (512, 2072), "quantize": (512, 2072), "gray": (512, 512), "rotate": (512, 512), "resize": (256, 256)}


@pytest.mark.parametrize("action", ACTIONS)
def test_without_a_photo(command, tmp_path, action):
    said = command("image", action)
    assert said.code == 0 and said.err == ""
    assert said.out.startswith(f"runs/image/astronaut-{action}.png ")
    written = vision.imread(tmp_path / f"runs/image/astronaut-{action}.png")
    assert written.shape[:2] == ACTIONS[action]
    assert written.ndim == (2 if action == "gray" else 3)


def test_with_a_photo(command, tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (60, 90, 3)).astype(np.uint8)
    vision.imwrite(tmp_path / "p.png", photo)
    results = {
        ("sample", "--sizes", "30", "--method", "box"): vision.replicate(vision.subsample(photo, (20, 30), "box"), (60, 90)),
        ("quantize", "--bits", "2"): vision.quantize(photo, 2, "full"),
        ("quantize", "--bits", "1", "--gray"): vision.quantize(vision.to_gray(photo), 1, "full"),
        ("gray", "--weights", "opencv"): vision.to_gray(photo, "opencv"),
        ("rotate", "--degrees", "-20", "--method", "nearest", "--expand"): vision.rotate(photo, -20, "nearest", True),
        ("resize", "--width", "45"): vision.resize(photo, (30, 45), "bicubic"),
        ("resize", "--height", "20", "--method", "box"): vision.resize(photo, (20, 30), "box"),
        ("resize", "--height", "20", "--width", "21", "--no-antialias"): vision.resize(photo, (20, 21), "bicubic", False),
    }
    for (action, *options), expected in results.items():
        said = command("image", action, "p.png", *options, "-o", "out/q.png")
        assert said.code == 0, said.err
        np.testing.assert_array_equal(vision.imread(tmp_path / "out" / "q.png"), expected)
    assert command("image", "gray", "p.png").out.startswith("runs/image/p-gray.png")


def test_unusual_pictures(command, tmp_path):
    Image.fromarray(np.full((5, 700), 40_000, np.uint16)).save(tmp_path / "deep.png")
    Image.new("RGBA", (1, 1)).save(tmp_path / "dot.png")
    for name in ("deep.png", "dot.png"):
        for action in ("quantize", "gray", "rotate", "resize"):
            assert command("image", action, name).code == 0
            assert vision.imread(tmp_path / "runs" / "image" / f"{name[:-4]}-{action}.png").size
    assert "1 x 1" in command("image", "sample", "dot.png").out
    assert "700 x 5" not in command("image", "sample", "deep.png").out


def test_pictures_of_floats(command, tmp_path):
    edge = np.zeros((40, 50), np.float32)
    edge[10:20] = 1                                     # where weights of both signs overshoot
    Image.fromarray(edge).save(tmp_path / "edge.tif")
    for action in ("resize", "rotate"):
        assert command("image", action, "edge.tif", "-o", "o.png").code == 0


def test_a_format_that_cannot_hold_the_size(refused):
    assert "o.sgi cannot be written as SGI" in refused("image", "resize", "--width", "70000", "--height", "2", "-o", "o.sgi")


@pytest.mark.parametrize("action", [(), *[(action,) for action in ACTIONS]], ids=str)
def test_help_has_an_example(command, action):
    said = command("image", *action, "--help")
    assert said.code == 0 and "example" in said.out and f"minivision image {' '.join(action)}" in said.out


def test_bad_input(refused, tmp_path):
    vision.imwrite(tmp_path / "p.png", np.zeros((6, 8), np.uint8))
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "cut.png").write_bytes((tmp_path / "p.png").read_bytes()[:40])
    assert "ACTION" in refused("image")
    assert "invalid choice" in refused("image", "turn")
    for action in ACTIONS:
        assert "not a picture" in refused("image", action, "text.png")
        assert "cut.png" in refused("image", action, "cut.png")
        assert "there is no file none.png" in refused("image", action, "none.png")
        assert "is a folder" in refused("image", action, ".")
    assert "suffix" in refused("image", "gray", "p.png", "--out", "x.doc")
    assert "expected at most 8" in refused("image", "sample", "p.png", "--sizes", "9")
    assert "--sizes" in refused("image", "sample", "--sizes", "0")
    assert "expected 1 to 8" in refused("image", "quantize", "--bits", "9")
    assert "--degrees" in refused("image", "rotate", "--degrees", "nan")
    assert "--width" in refused("image", "resize", "--width", "-3")
    assert "pixels" in refused("image", "resize", "p.png", "--width", "1000000")
    assert "--method" in refused("image", "resize", "--method", "cubic")
