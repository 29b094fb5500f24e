"""`minivision faces`: the cascade that comes along, on the photograph that comes along, and what it refuses."""

import numpy as np
import pytest
from PIL import Image

from minivision import vision


def test_the_sample_picture(command):
    said = command("faces")
    assert said.code == 0
    first, *boxes = said.out.splitlines()
    path, *words = first.split()
    assert (path, " ".join(words)) == ("runs/faces/astronaut-faces.png", "1 found: x, y, width, height, and how often")
    x, y, w, h, count, _ = (int(word) if word.isdigit() else word for word in boxes[0].split())
    assert x < 224 < x + w and y < 110 < y + h and w == h < 200 and count > 5          # her nose lies inside
    before, after = vision.sample("astronaut"), vision.imread(path)
    changed = (before != after).any(2)
    assert after.shape == before.shape and 0 < changed.mean() < 0.05                    # a frame, and nothing else
    assert changed[y - 3:y + h + 3, x - 3:x + w + 3].sum() == changed.sum()


def test_a_photo_of_ones_own(command, tmp_path):
    photo = vision.resize(vision.sample("astronaut")[:260, 90:350], (400, 400))
    vision.imwrite(tmp_path / "me.jpg", photo)
    said = command("faces", "me.jpg", "--scale", "1.1", "--neighbors", 3, "--smallest", 60, "--out", "out/found.png")
    assert said.code == 0 and said.out.startswith("out/found.png   1 found")
    with Image.open(tmp_path / "out" / "found.png") as picture:
        assert picture.size == (400, 400)


def test_where_there_is_no_face(command, tmp_path):
    vision.imwrite(tmp_path / "flat.png", np.full((60, 90), 128, np.uint8))
    said = command("faces", "flat.png")
    assert said.code == 0 and said.out == "runs/faces/flat-faces.png   0 found\n"


@pytest.mark.parametrize(("arguments", "message"), [
    (("missing.png",), "there is no file missing.png"),
    (("text.png",), "text.png"),
    (("cut.png",), "cut.png"),
    (("--cascade", "nowhere.xml"), "there is no cascade nowhere.xml"),
    (("--cascade", "text.png"), "text.png"),
    (("--cascade", "bomb.xml"), "bomb.xml"),
    (("--cascade", "."), "is a folder; expected a cascade"),
    (("--scale", "1"), "--scale: got '1', expected a number > 1"),
    (("--scale", "nan"), "--scale: got 'nan'"),
    (("--scale", "1.0000001"), "with which the window would have"),
    (("--neighbors", "-1"), "--neighbors: got '-1', expected a whole number >= 0"),
    (("--smallest", "0"), "--smallest: got '0', expected a whole number >= 1"),
    (("--out", "found.xyz"), "found.xyz"),
])
def test_wrong_usage(refused, tmp_path, arguments, message):
    (tmp_path / "text.png").write_text("no picture")
    vision.imwrite(tmp_path / "whole.png", vision.sample("astronaut"))
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:9000])
    (tmp_path / "bomb.xml").write_text('<!DOCTYPE x [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><opencv_storage>&b;'
                                       "</opencv_storage>")
    assert message in refused("faces", *arguments)


def test_help_has_an_example(command):
    said = command("faces", "--help")
    assert said.code == 0 and "minivision faces photo.jpg" in said.out
