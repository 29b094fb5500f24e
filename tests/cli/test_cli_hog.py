"""`minivision hog`: a photo beside its stars, and what it refuses."""

import numpy as np
import pytest
from PIL import Image


def test_the_sample_picture(command):
    said = command("hog")
    assert said.code == 0
    path, *words = said.out.split()
    assert " ".join(words) == "64 x 64 cells of 8 x 8 pixels, 9 directions: 36,864 numbers"
    with Image.open(path) as picture:
        assert picture.size == (1024 + 8 + 1024, 1024)
        stars = np.asarray(picture)[:, 1032:]
    assert stars.max() == 255 and (stars == 0).mean() > 0.5


def test_a_photo_of_ones_own(command, tmp_path):
    x = np.mgrid[:50, :90][1]
    Image.fromarray((127 + 120 * np.sin(x / 3)).astype(np.uint8)).save(tmp_path / "stripes.png")
    said = command("hog", "stripes.png", "--cell", 10, "--bins", 4, "--out", "out/stars.png")
    assert said.code == 0 and said.out.startswith("out/stars.png   9 x 5 cells of 10 x 10 pixels, 4 directions: 180 numbers")
    with Image.open(tmp_path / "out" / "stars.png") as picture:
        stars = np.asarray(picture.convert("L"))[:, 188:].astype(int)
    assert picture.size == (180 + 8 + 180, 100)
    assert (stars > 0).sum(0).max() > 3 * (stars > 0).sum(1).min()          # upright stripes, upright lines


def test_a_blank_photo_has_no_stars(command, tmp_path):
    Image.new("RGB", (20, 20), "red").save(tmp_path / "red.png")
    assert command("hog", "red.png").code == 0


@pytest.mark.parametrize(("arguments", "message"), [
    (("hog", "missing.png"), "there is no file missing.png"),
    (("hog", "--cell", "1"), "--cell: got '1', expected a whole number >= 2"),
    (("hog", "--cell", "600"), "--cell: got 600, but the picture has 512 x 512 pixels"),
    (("hog", "--bins", "0"), "--bins: got '0'"),
    (("hog", "--bins", "1000"), "--bins: got 1000, expected at most 360"),
    (("hog", "--cells", "8"), "--cells"),
    (("hog", "text.png"), "text.png"),
    (("hog", "thin.png"), "the picture has 9 x 1 pixels and no gradient in it; expected at least 2 x 2"),
])
def test_wrong_usage(refused, tmp_path, arguments, message):
    Image.new("L", (9, 1)).save(tmp_path / "thin.png")
    (tmp_path / "text.png").write_text("no picture")
    assert message in refused(*arguments)


def test_help_has_an_example(command):
    said = command("hog", "--help")
    assert said.code == 0 and "minivision hog photo.jpg" in said.out
