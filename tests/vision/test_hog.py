"""`hog` and `hog_image`: sizes, orders and errors. That the numbers are those of others stands in tests/peers."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivision.vision import hog, hog_image

GOLDEN = Path(__file__).parent / "golden" / "hog.npz"
STYLES = "skimage", "opencv", "dalal-triggs"


def photo(H, W, *channels, seed=0):
    """Waves in all directions and a little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:H, :W]
    waves = np.sin(np.hypot(y - H / 3, x - W / 2) / 3)
    grey = 120 + 100 * waves if not channels else 120 + 100 * waves[..., None] * np.linspace(0.6, 1, channels[0])
    return (grey + rng.integers(0, 20, grey.shape)).astype(np.uint8)


def test_the_slides_example():
    """320 x 240 pixels, cells of 8 x 8, 9 bins: 30 x 40 x 9 = 10,800 numbers, in each of the three styles."""
    image = photo(240, 320)
    assert hog(image, block_norm=None, feature_vector=False).shape == (30, 40, 9)
    assert hog(image, block_norm=None).shape == (10_800,)
    for style in STYLES:
        assert hog(image, cells_per_block=(1, 1), style=style).shape == (10_800,)
        assert hog(image, cells_per_block=(2, 2), style=style).shape == (40_716,)
    assert hog(image).shape == (86_184,)


@pytest.mark.parametrize("style", STYLES)
@given(H=st.integers(8, 40), W=st.integers(8, 40), cell=st.tuples(*[st.integers(1, 8)] * 2),
       block=st.tuples(*[st.integers(1, 3)] * 2), bins=st.integers(1, 10), colour=st.booleans(), root=st.booleans())
def test_shapes_and_ranges(style, H, W, cell, block, bins, colour, root):
    image = photo(H, W, *[3] * colour)
    rows, columns = H // cell[0] - block[0] + 1, W // cell[1] - block[1] + 1
    options = dict(orientations=bins, pixels_per_cell=cell, cells_per_block=block, transform_sqrt=root, style=style)
    if min(rows, columns) < 1:
        with pytest.raises(ValueError, match="smaller than a block"):
            hog(image, **options)
        return
    blocks = hog(image, feature_vector=False, **options)
    assert blocks.shape == (rows, columns, *block, bins)
    assert blocks.dtype == (np.float32 if style == "opencv" else np.float64)
    assert blocks.min() >= 0 and (blocks ** 2).sum((2, 3, 4)).max() <= 1 + 1e-6
    flat = hog(image, **options)
    in_order = blocks.transpose(1, 0, 3, 2, 4) if style == "opencv" else blocks
    np.testing.assert_array_equal(flat, in_order.ravel())


def test_axes_and_dtypes():
    image = photo(40, 48, 3)
    expected = hog(image)
    np.testing.assert_array_equal(hog(image, channel_axis=-1), expected)
    np.testing.assert_array_equal(hog(image.transpose(2, 0, 1), channel_axis=0), expected)
    np.testing.assert_array_equal(hog(image.astype(np.float64)), expected)
    np.testing.assert_array_equal(hog(np.asfortranarray(image)[:, :]), expected)
    assert hog(image.astype(np.float32)).dtype == np.float32
    np.testing.assert_array_equal(hog(image[..., :1], channel_axis=2), hog(image[..., 0]))
    kept = image.copy()
    hog(image, transform_sqrt=True, visualize=True)
    floats = image / 255
    hog(floats, transform_sqrt=True)
    np.testing.assert_array_equal(image, kept)
    np.testing.assert_array_equal(floats, kept / 255)


@pytest.mark.parametrize("style", STYLES)
def test_light_changes_little_and_turning_moves_bins(style):
    """Twice the contrast gives the same blocks; a quarter turn moves every vote by half of the bins."""
    image = (photo(64, 64) // 2).astype(np.uint8)
    once, twice = (hog(im, style=style, cells_per_block=(2, 2)) for im in (image, image * 2))
    assert np.abs(once - twice).max() < (1e-2 if style == "opencv" else 1e-6)
    assert np.abs(hog(image + np.uint8(50), style=style) - hog(image, style=style)).max() < 1e-6
    upright = hog(image, 8, style=style, block_norm=None, feature_vector=False, cells_per_block=(1, 1))
    turned = hog(np.ascontiguousarray(np.rot90(image, 2)), 8, style=style, block_norm=None, feature_vector=False,
                 cells_per_block=(1, 1))
    if style == "dalal-triggs":             # the others' windows and bins have no exact symmetry
        np.testing.assert_allclose(turned, upright[::-1, ::-1, ::-1, ::-1], atol=1e-9 * upright.max())


def test_numbers_recorded_before():
    """All three styles as they were recorded; how stands in record_hog below."""
    with np.load(GOLDEN) as golden:
        for name, features in golden.items():
            assert features.dtype == record_hog()[name].dtype
            np.testing.assert_allclose(record_hog()[name], features, rtol=0, atol=1e-6 if "opencv" in name else 1e-12)


def record_hog():
    """``np.savez_compressed("tests/vision/golden/hog.npz", **record_hog())`` records anew, after tests/peers have passed."""
    return {f"{style} {norm} {'colour' if colour else 'grey'}":
            hog(photo(43, 37, *[3] * colour), cells_per_block=(2, 2), block_norm=norm, style=style)
            for style in STYLES for colour in (False, True)
            for norm in (("L2-Hys", None) if style == "opencv" else ("L1", "L1-sqrt", "L2", "L2-Hys", None))}


def test_pictures_of_single_directions():
    """A horizontal edge is a horizontal line, a vertical one a vertical line; brightness adds up, size fills up with 0."""
    cells = np.zeros((1, 2, 9))
    cells[0, 0, 4], cells[0, 1, 0] = 2.0, 3.0                # gradients of 90 degrees (down) and of 10
    picture = hog_image(cells, (8, 8), (9, 20))
    assert picture.shape == (9, 20)
    assert picture[4, 1:8].tolist() == [2] * 7 and picture.sum() == 2 * 7 + 3 * 6
    assert (picture[1:7, 8:16] > 0).sum(1).tolist() == [1] * 6 and picture[8:].sum() == picture[:, 16:].sum() == 0
    assert hog_image(cells.astype(np.float32)).dtype == np.float32
    assert hog_image(cells, (1, 1)).shape == (1, 2)
    assert hog_image(np.ones((1, 1, 9)), (8, 8)).max() > 2   # in the middle, where lines cross
    features, drawn = hog(photo(30, 35), visualize=True)
    assert features.ndim == 1 and drawn.shape == (30, 35)


WRONG = [
    (np.zeros((0, 8), np.uint8), {}, ValueError, "no pixel at all"),
    (np.zeros((16, 0, 3), np.uint8), {}, ValueError, "no pixel at all"),
    (np.zeros((7, 16), np.uint8), {}, ValueError, "image is 7 x 16, smaller than a cell of 8 x 8 pixels"),
    (np.zeros((16, 16), np.uint8), {}, ValueError, "image is 16 x 16, smaller than a block of 3 x 3 cells"),
    (np.zeros((16, 16), np.uint8), dict(style="opencv", block_norm=None), ValueError, "smaller than a block"),
    (np.zeros((32, 32, 4), np.uint8), {}, ValueError, r"image has shape \(32, 32, 4\), expected H x W or H x W x 3"),
    (np.zeros((32, 32, 2), np.uint8), {}, ValueError, "expected H x W or H x W x 3"),
    (np.zeros(32, np.uint8), {}, ValueError, "expected H x W"),
    (np.zeros((32, 32), np.uint8), dict(channel_axis=-1), ValueError, "leave channel_axis out"),
    (np.zeros((32, 32, 3), np.uint8), dict(channel_axis=3), ValueError, "channel_axis=3, expected -3 .. 2"),
    (np.zeros((32, 32, 0), np.uint8), dict(channel_axis=2), ValueError, "at least one channel"),
    (np.full((32, 32), np.nan), {}, ValueError, "holds NaN or infinity"),
    (np.full((32, 32), np.inf, np.float32), dict(channel_axis=None), ValueError, "holds NaN or infinity"),
    (np.full((32, 32), -1.0), dict(transform_sqrt=True), ValueError, "square roots; expected no negative"),
    (np.zeros((32, 32), np.uint16), {}, TypeError, "image is uint16"),
    (np.zeros((32, 32), complex), {}, TypeError, "image is complex128"),
    (np.zeros((32, 32)), dict(style="opencv"), TypeError, "style='opencv' takes uint8"),
    ([[1, 2], [3, 4]], {}, TypeError, "image is a list"),
    (None, {}, TypeError, "image is a NoneType"),
    (np.zeros((32, 32), np.uint8), dict(block_norm="L3"), ValueError, "got block_norm='L3', expected one of None, 'L1'"),
    (np.zeros((32, 32), np.uint8), dict(style="opencv", block_norm="L1"), ValueError, "None, 'L2-Hys' for style='opencv'"),
    (np.zeros((32, 32), np.uint8), dict(style="matlab"), ValueError, "got style='matlab'"),
    (np.zeros((32, 32), np.uint8), dict(orientations=0), ValueError, "got orientations=0"),
    (np.zeros((32, 32), np.uint8), dict(orientations=9.5), TypeError, "got orientations=9.5"),
    (np.zeros((32, 32), np.uint8), dict(pixels_per_cell=(0, 8)), ValueError, "pixels_per_cell=.*at least 1"),
    (np.zeros((32, 32), np.uint8), dict(pixels_per_cell=(8, -8)), ValueError, "pixels_per_cell"),
    (np.zeros((32, 32), np.uint8), dict(pixels_per_cell=(8,)), TypeError, "pixels_per_cell"),
    (np.zeros((32, 32), np.uint8), dict(cells_per_block=(0, 1)), ValueError, "cells_per_block"),
    (np.zeros((32, 32), np.uint8), dict(cells_per_block="22"), TypeError, "cells_per_block"),
]


@pytest.mark.parametrize(("image", "options", "error", "message"), WRONG)
def test_bad_input_has_one_clear_error(image, options, error, message):
    with pytest.raises(error, match=message) as caught:
        hog(image, **options)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("hog: ")


@pytest.mark.parametrize(("cells", "options", "error", "message"), [
    (np.zeros((3, 3)), {}, ValueError, "expected .rows, columns, orientations"),
    (np.zeros((3, 0, 9)), {}, ValueError, "none of them 0"),
    (np.zeros((3, 3, 9), np.uint8), {}, TypeError, "expected a float array"),
    ("cells", {}, TypeError, "cells is str"),
    (np.full((3, 3, 9), np.nan), {}, ValueError, "NaN"),
    (np.zeros((3, 3, 9)), dict(size=(23, 24)), ValueError, r"do not fit into size=\(23, 24\)"),
    (np.zeros((3, 3, 9)), dict(pixels_per_cell=(0, 1)), ValueError, "pixels_per_cell"),
])
def test_pictures_of_nothing(cells, options, error, message):
    with pytest.raises(error, match=message):
        hog_image(cells, **options)
