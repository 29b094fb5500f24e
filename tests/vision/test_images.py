"""Images as arrays: values by definition, dtypes and ranges kept, arguments left alone, and every bad input told."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minivision import vision

GRAY = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))
COLOR = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))
IMAGES = st.one_of(GRAY, COLOR)
CALLS = {
    "to_gray": lambda x: vision.to_gray(x), "subsample": lambda x: vision.subsample(x, 1),
    "replicate": lambda x: vision.replicate(x, 40), "quantize": lambda x: vision.quantize(x, 3),
    "resize": lambda x: vision.resize(x, (3, 4)), "rotate": lambda x: vision.rotate(x, 30),
    "integral_image": lambda x: vision.integral_image(x), "draw_boxes": lambda x: vision.draw_boxes(x, [(0, 0, 2, 2)]),
    "imwrite": lambda x: vision.imwrite("never.png", x),
}


@given(IMAGES)
def test_dtypes_are_kept_and_arguments_left_alone(image):
    for name, call in CALLS.items():
        if name == "imwrite" or (name == "integral_image" and image.ndim == 3):
            continue
        for x in (image, (image / 255).astype(np.float32), image / 255):
            before = x.copy()
            y = call(x)
            assert y.dtype == (x.dtype if name not in ("integral_image", "quantize") else y.dtype), name
            np.testing.assert_array_equal(x, before)
            assert not np.shares_memory(x, y)
            if name in ("to_gray", "resize", "rotate") and x.dtype != np.uint8:
                assert y.min() >= 0 and y.max() <= 1 + 1e-6


# ---- grey

@given(COLOR)
def test_gray_weights(image):
    for weights, shares in (("pillow", (0.299, 0.587, 0.114)), ("opencv", (0.299, 0.587, 0.114)),
                            ("bt709", (0.2125, 0.7154, 0.0721))):
        exact = image @ np.array(shares)
        assert np.abs(vision.to_gray(image, weights) - exact).max() <= 0.52
        np.testing.assert_allclose(vision.to_gray(image / 255, weights), exact / 255, atol=1e-12)
    even = np.repeat(image[..., :1], 3, 2)
    for weights in ("pillow", "opencv", "bt709"):
        np.testing.assert_array_equal(vision.to_gray(even, weights), even[..., 0])


# ---- samples and levels

@given(GRAY, st.integers(1, 4))
def test_subsample_undoes_replicate(image, step):
    size = image.shape[0] * step, image.shape[1] * step
    large = vision.replicate(image, size)
    np.testing.assert_array_equal(large, np.repeat(np.repeat(image, step, 0), step, 1))
    np.testing.assert_array_equal(vision.subsample(large, image.shape), image)
    np.testing.assert_array_equal(vision.subsample(large, image.shape, "box"), image)
    np.testing.assert_array_equal(vision.subsample(image, image.shape), image)


def test_decimation_keeps_every_second_pixel():
    image = np.arange(48, dtype=np.uint8).reshape(6, 8)
    np.testing.assert_array_equal(vision.subsample(image, (3, 4)), image[::2, ::2])
    np.testing.assert_array_equal(vision.subsample(image, (2, 2)), image[::3, ::4])
    assert vision.subsample(image, 2).shape == (2, 2)
    checks = np.indices((8, 8)).sum(0) % 2 * 255.0
    assert vision.subsample(checks, 4).max() == 0                       # aliasing: the pattern is gone,
    np.testing.assert_array_equal(vision.subsample(checks, 4, "box"), np.full((4, 4), 127.5))   # and here its mean stays


def test_quantize_every_value():
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for bits in range(1, 9):
        codes, kept, full = (vision.quantize(values, bits, output) for output in ("codes", "truncate", "full"))
        assert [a.dtype for a in (codes, kept, full)] == [np.uint8] * 3
        assert len(np.unique(codes)) == len(np.unique(full)) == 1 << bits
        np.testing.assert_array_equal(codes, values // (256 >> bits))
        np.testing.assert_array_equal(kept, values - values % (256 >> bits))
        assert (full.min(), full.max()) == (0, 255)
        assert np.abs(full - 255 * codes.astype(float) / ((1 << bits) - 1)).max() <= 0.5
        floats = vision.quantize(values / 255, bits, "codes")
        assert floats.dtype == np.uint8 and floats.max() == (1 << bits) - 1
        np.testing.assert_allclose(vision.quantize(values / 255, bits, "full"), floats / ((1 << bits) - 1))
        np.testing.assert_allclose(vision.quantize(values / 255, bits, "truncate"), floats / (1 << bits))
    np.testing.assert_array_equal(vision.quantize(values, 8, "full"), values)


# ---- resize and rotate

@given(IMAGES)
def test_turns(image):
    for quarter in range(4):
        np.testing.assert_array_equal(vision.rotate(image, 90 * quarter, expand=True), np.rot90(image, quarter))
    np.testing.assert_array_equal(vision.rotate(image, -540), image[::-1, ::-1])
    np.testing.assert_array_equal(vision.rotate(image, 30), vision.rotate(image, 390))
    flat = np.full_like(image, 77)
    for method in ("nearest", "bilinear", "bicubic"):
        assert set(np.unique(vision.rotate(flat, 33, method, expand=True))) <= {0, 77}
        assert set(np.unique(vision.rotate(flat, 33, method))) <= {0, 77}


def test_rotation_is_counter_clockwise():
    image = np.zeros((21, 21), np.uint8)
    image[10, 18] = 255                         # to the right of the centre
    assert np.argwhere(vision.rotate(image, 45))[0].tolist() == [4, 16]         # now up and to the right
    assert vision.rotate(image, 45, expand=True).shape == (31, 31)


@given(IMAGES, st.sampled_from(["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]), st.booleans())
def test_resizing_keeps_what_is_even(image, method, antialias):
    flat = np.full_like(image, 77)
    resized = vision.resize(flat, (7, 11), method, antialias)
    assert resized.shape == (7, 11, *image.shape[2:])
    assert set(np.unique(resized)) == {77}
    np.testing.assert_array_equal(vision.resize(image, image.shape[:2], method), image)
    assert vision.resize(image, 5).shape[:2] == (5, 5)


def test_the_antialias_switch():
    stripes = np.tile(np.array([0.0, 1.0, 1.0, 0.0]), (16, 8))
    assert np.ptp(vision.resize(stripes, (4, 8), "bilinear")) < 0.2
    aliased = vision.resize(stripes, (16, 8), "nearest", antialias=False)
    np.testing.assert_array_equal(aliased, np.ones((16, 8)))
    sharp = vision.resize(stripes, (16, 6), "bilinear", antialias=False)
    assert np.ptp(sharp) > np.ptp(vision.resize(stripes, (16, 6), "bilinear"))
    larger = (vision.resize(stripes, 64, "bicubic", antialias) for antialias in (True, False))
    np.testing.assert_array_equal(*larger)


# ---- integral images and boxes

def test_integral_images():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    sums = vision.integral_image(image)
    assert sums.shape == (4, 5) and sums.dtype == np.int64 and not sums[0].any() and not sums[:, 0].any()
    assert sums[3, 4] - sums[1, 4] - sums[3, 1] + sums[1, 1] == image[1:, 1:].sum()
    assert vision.integral_image(image, "squared")[-1, -1] == (image.astype(int) ** 2).sum()
    assert vision.integral_image(image, "tilted")[2, 2] == image[1, 1] + image[0, :3].sum()
    assert vision.integral_image(image / 255).dtype == np.float64


def test_boxes():
    drawn = vision.draw_boxes(np.zeros((8, 10), np.uint8), [(1, 2, 5, 4)], (10, 20, 30), thickness=1)
    expected = np.zeros((8, 10), bool)
    expected[2:6, 1:6] = True
    expected[3:5, 2:5] = False
    np.testing.assert_array_equal(drawn, expected[..., None] * np.array([10, 20, 30], np.uint8))
    image = np.zeros((8, 10, 3), np.float32)
    np.testing.assert_array_equal(vision.draw_boxes(image, []), image)
    for box in [(-5, -5, 100, 100), (20, 20, 3, 3), (-9, 2, 4, 4), (2, 2, 0, 0), (0.4, 0.6, 2.2, 1.4)]:
        drawn = vision.draw_boxes(image, np.array([box]))
        assert drawn.shape == image.shape and drawn.max() <= 1 and drawn.dtype == np.float32
    assert not vision.draw_boxes(image, [(-5, -5, 100, 100)]).any()             # all of its outline is outside
    assert vision.draw_boxes(image, [(2, 2, 3, 1)], (255, 255, 255), thickness=9)[2, 2:5].all()


# ---- sample pictures

def test_samples():
    from minivision.vision.sample import SAMPLES

    for name in SAMPLES:
        image = vision.sample(name)
        assert image.dtype == np.uint8 and min(image.shape[:2]) >= 300
        assert image.std() > 30
    with pytest.raises(ValueError, match="did you mean 'chelsea'"):
        vision.sample("chelsee")


# ---- what is no image

@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_is_no_image(call, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)                 # nothing should be written; if it is, then here
    wrong_types = ([[1, 2], [3, 4]], None, "photo.jpg", np.zeros((4, 4), complex), np.zeros((4, 4), np.int64),
                   np.zeros((4, 4), bool), np.zeros((4, 4), np.float16), np.array([["a", "b"]]))
    for wrong in wrong_types:
        with pytest.raises(TypeError, match=r"image is (a|an)?.*expected"):
            call(wrong)
    for shape in ((4,), (4, 4, 2), (4, 4, 5), (3, 4, 7), (2, 4, 4, 3), ()):
        with pytest.raises(ValueError, match=r"image has shape .*expected H x W"):
            call(np.zeros(shape, np.uint8))
    for shape in ((0, 4), (4, 0), (0, 0)):
        with pytest.raises(ValueError, match=r"no pixel at all|expected H x W"):
            call(np.zeros(shape, np.uint8))
    for bad in (np.nan, np.inf, -np.inf):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(ValueError, match="NaN or infinity"):
                call(np.array([[0.5, bad], [0.0, 1.0]]))


def test_floats_out_of_range(tmp_path):
    for call in (lambda x: vision.quantize(x, 2), lambda x: vision.draw_boxes(x, []),
                 lambda x: vision.imwrite(tmp_path / "x.png", x)):
        for bad in (-0.1, 1.5, 255.0):
            with pytest.raises(ValueError, match=r"expected 0 \.\. 1; divide by"):
                call(np.array([[0.5, bad]]))


X = np.zeros((6, 8), np.uint8)
WRONG = [
    (lambda: vision.to_gray(X, "bt601"), ValueError, "weights='bt601', expected one of 'pillow', 'opencv', 'bt709'"),
    (lambda: vision.to_gray(np.zeros((6, 8, 4), np.uint8)), ValueError, "imread lays transparent pictures on white"),
    (lambda: vision.to_gray(np.zeros((3, 6, 8), np.uint8)), ValueError, "transpose"),
    (lambda: vision.to_gray(np.zeros((6, 8), np.uint16)), TypeError, "image / 65535"),
    (lambda: vision.resize(X, (0, 5)), ValueError, "at least 1"),
    (lambda: vision.resize(X, -5), ValueError, "at least 1"),
    (lambda: vision.resize(X, (5, -1)), ValueError, "at least 1"),
    (lambda: vision.resize(X, 2.5), TypeError, "(height, width)"),
    (lambda: vision.resize(X, (2, 3, 4)), TypeError, "(height, width)"),
    (lambda: vision.resize(X, True), TypeError, "(height, width)"),
    (lambda: vision.resize(X, "large"), TypeError, "(height, width)"),
    (lambda: vision.resize(X, (10**6, 10**6)), ValueError, "1,000,000,000,000 pixels"),
    (lambda: vision.resize(X, 5, "cubic"), ValueError, "expected one of 'nearest', 'box'"),
    (lambda: vision.resize(X, 5, antialias=1), TypeError, "expected True or False"),
    (lambda: vision.rotate(X, float("nan")), ValueError, "finite"),
    (lambda: vision.rotate(X, "30"), TypeError, "expected a number"),
    (lambda: vision.rotate(X, 30, "lanczos"), ValueError, "expected one of 'nearest', 'bilinear', 'bicubic'"),
    (lambda: vision.rotate(X, 30, expand=None), TypeError, "expected True or False"),
    (lambda: vision.subsample(X, 7), ValueError, "no more pixels than it has"),
    (lambda: vision.subsample(X, 0), ValueError, "at least 1"),
    (lambda: vision.subsample(X, 3, "mean"), ValueError, "'decimate', 'box', 'bilinear'"),
    (lambda: vision.replicate(X, 7), ValueError, "no fewer pixels than it has"),
    (lambda: vision.replicate(X, 10**6), ValueError, "at most"),
    (lambda: vision.quantize(X, 0), ValueError, "expected 1 .. 8"),
    (lambda: vision.quantize(X, 9), ValueError, "expected 1 .. 8"),
    (lambda: vision.quantize(X, 2.0), TypeError, "whole number"),
    (lambda: vision.quantize(X, 2, "levels"), ValueError, "'codes', 'truncate', 'full'"),
    (lambda: vision.integral_image(np.zeros((4, 4, 3), np.uint8)), ValueError, "to_gray makes a grey image"),
    (lambda: vision.integral_image(X, "cubed"), ValueError, "'plain', 'squared', 'tilted'"),
    (lambda: vision.draw_boxes(X, [(1, 2, 3)]), ValueError, "expected (n, 4)"),
    (lambda: vision.draw_boxes(X, [(1, 2, -3, 4)]), ValueError, "no side below 0"),
    (lambda: vision.draw_boxes(X, [(1, 2, np.nan, 4)]), ValueError, "NaN"),
    (lambda: vision.draw_boxes(X, [("a", "b", "c", "d")]), TypeError, "expected numbers"),
    (lambda: vision.draw_boxes(X, [(1, 2, 3, 4)], (1, 2)), ValueError, "red, green, blue"),
    (lambda: vision.draw_boxes(X, [(1, 2, 3, 4)], (1, 2, 300)), ValueError, "0 .. 255"),
    (lambda: vision.draw_boxes(X, [(1, 2, 3, 4)], thickness=0), ValueError, "at least 1"),
]


@pytest.mark.parametrize(("call", "kind", "message"), WRONG, ids=[message for _, _, message in WRONG])
def test_wrong_arguments(call, kind, message):
    with pytest.raises(kind) as caught:
        call()
    assert message in str(caught.value) and "\n" not in str(caught.value)
