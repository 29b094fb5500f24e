"""Pictures give what Pillow and OpenCV gave when `record_images.py` was run; neither library's present version counts."""

from pathlib import Path

import numpy as np
import pytest
from image_cases import ANGLES, METHODS, ROTATIONS, SIZES, picture

from minivision import vision

RECORDED = np.load(Path(__file__).with_name("images.npz"))


def answer(name):
    what, *rest = name.split("|")
    if what == "gray":
        return vision.to_gray(picture(3), rest[0])
    if what == "integral":
        return vision.integral_image(picture(1), rest[0])
    image, method = picture(int(rest[0])), rest[1]
    if what == "resize":
        return vision.resize(image, (int(rest[2]), int(rest[3])), method)
    return vision.rotate(image, float(rest[2]), method, rest[3] == "1")


@pytest.mark.parametrize("name", RECORDED.files)
def test_recorded(name):
    expected = RECORDED[name]
    got = answer(name)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


def test_every_case_is_recorded():
    assert len(RECORDED.files) == 2 * (len(METHODS) * len(SIZES) + len(ROTATIONS) * len(ANGLES) * 2) + 5
