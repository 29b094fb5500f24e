"""Pictures as Pillow, OpenCV and scikit-image compute them, number for number."""

import numpy as np
import pytest
from PIL import Image, ImageOps, features

from minivision import vision
from minivision.vision.resample import ROTATIONS
from minivision_kernels.resample import BUMPS, METHODS

FILTERS = {name: Image.Resampling[name.upper()] for name in METHODS}
DTYPES = [np.uint8, np.float32]
NEW = tuple(map(int, features.version("pil").split(".")[:1])) >= (13,)      # sums along the columns may come first
SIZES = [((37, 53), (20, 31)), ((37, 53), (80, 61)), ((64, 64), (64, 32)), ((100, 3), (7, 50)), ((1, 1), (5, 6)),
         ((200, 150), (1, 1)), ((300, 451), (128, 97)), ((50, 60), (601, 487)), ((33, 47), (33, 47)), ((60, 50), (6, 49)),
         ((77, 30), (20, 3)), ((512, 512), (32, 32)), ((23, 53), (12, 45))]


def picture(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, shape).astype(np.uint8) if dtype == np.uint8 else rng.standard_normal(shape).astype(dtype)


def by_pillow(image, change):
    """Pillow has no colour pictures of floats: channel by channel."""
    if image.dtype == np.uint8 or image.ndim == 2:
        return np.asarray(change(Image.fromarray(image)))
    return np.stack([np.asarray(change(Image.fromarray(np.ascontiguousarray(image[..., c])))) for c in range(3)], -1)


def old_order(size, result):
    """Whether Pillow before 13 sums in the other order."""
    return not NEW and size[0] - result[0] > 2 * (size[1] - result[1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", METHODS)
def test_resize(method, dtype):
    rng = np.random.default_rng(1)
    random = [((int(a), int(b)), (int(c), int(d))) for a, b, c, d in rng.integers(1, 90, (120, 4))]
    for size, result in SIZES + random:
        if old_order(size, result):
            continue
        for channels in ((), (3,)):
            image = picture((*size, *channels), dtype, size[0])
            expected = by_pillow(image, lambda p: p.resize(result[::-1], FILTERS[method]))      # noqa: B023
            np.testing.assert_array_equal(vision.resize(image, result, method), expected, err_msg=f"{size} > {result}")


def test_nearest_of_many_sizes():
    """Steps are added up, which shows where they do not divide evenly."""
    image = picture((97, 211), np.uint8)
    for height, width in [(800, 700), *np.random.default_rng(2).integers(1, 1500, (60, 2)).tolist()]:
        expected = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.NEAREST))
        np.testing.assert_array_equal(vision.resize(image, (height, width), "nearest"), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("expand", [False, True])
@pytest.mark.parametrize("method", ROTATIONS)
def test_rotate(method, expand, dtype):
    angles = [0, 13, 30, -45.5, 45, 60, 90, 180, 270.0, 359.9, 89.999, 1e-14, 753, -1e6,
              *np.random.default_rng(3).uniform(-360, 360, 12)]
    for shape in ((37, 53), (40, 40, 3), (1, 1), (5, 90, 3), (90, 4)):
        image = picture(shape, dtype)
        for angle in angles:
            expected = by_pillow(image, lambda p: p.rotate(angle, FILTERS[method], expand=expand))      # noqa: B023
            np.testing.assert_array_equal(vision.rotate(image, angle, method, expand), expected, err_msg=f"{shape} {angle}")


def test_gray_levels_and_weights():
    every = np.stack(np.meshgrid(np.arange(0, 256, 3), np.arange(0, 256, 3), np.arange(0, 256, 5)), -1)
    colors = every.reshape(-1, 52, 3).astype(np.uint8)
    np.testing.assert_array_equal(vision.to_gray(colors), np.asarray(Image.fromarray(colors).convert("L")))
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for bits in range(1, 9):
        expected = np.asarray(ImageOps.posterize(Image.fromarray(values), bits))
        np.testing.assert_array_equal(vision.quantize(values, bits, "truncate"), expected)


def test_gray_of_opencv_and_scikit_image():
    cv2 = pytest.importorskip("cv2")
    color = pytest.importorskip("skimage.color")
    image = picture((500, 700, 3), np.uint8)
    np.testing.assert_array_equal(vision.to_gray(image, "opencv"), cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    for floats in (image / 255, picture((50, 70, 3), np.float32)):
        tolerance = 4 * np.finfo(floats.dtype).eps
        np.testing.assert_allclose(vision.to_gray(floats, "bt709"), color.rgb2gray(floats), rtol=0, atol=tolerance * 3)
    difference = vision.to_gray(image, "bt709") - 255 * color.rgb2gray(image)
    assert np.abs(difference).max() <= 0.5 + 1e-9
    floats = (image / 255).astype(np.float32)
    np.testing.assert_allclose(vision.to_gray(floats, "opencv"), cv2.cvtColor(floats, cv2.COLOR_RGB2GRAY), atol=2e-7)


def test_integrals():
    cv2 = pytest.importorskip("cv2")
    transform = pytest.importorskip("skimage.transform")
    for shape in ((37, 53), (1, 1), (1, 9), (9, 1), (2, 2), (300, 20), (20, 300)):
        image = picture(shape, np.uint8)
        for kind, expected in zip(("plain", "squared", "tilted"), cv2.integral3(image)):
            np.testing.assert_array_equal(vision.integral_image(image, kind), expected, err_msg=f"{shape} {kind}")
        np.testing.assert_array_equal(vision.integral_image(image)[1:, 1:], transform.integral_image(image.astype(np.int64)))
        floats = np.random.default_rng(0).random(shape)
        for kind, expected in zip(("plain", "squared", "tilted"), cv2.integral3(floats)):
            np.testing.assert_allclose(vision.integral_image(floats, kind), expected, rtol=1e-11)


def test_box_subsampling_is_area_interpolation():
    """OpenCV rounds the mean of a block once, we twice: as Pillow does."""
    cv2 = pytest.importorskip("cv2")
    image = picture((64, 96, 3), np.uint8)
    expected = cv2.resize(image, (24, 16), interpolation=cv2.INTER_AREA)
    assert np.abs(vision.subsample(image, (16, 24), "box").astype(int) - expected).max() <= 1


def test_files(tmp_path):
    """JPEG through OpenCV and through us is the same, up to the order of its channels."""
    cv2 = pytest.importorskip("cv2")
    from minivision.vision.sample import FOLDER, SAMPLES

    for name in SAMPLES:
        theirs = cv2.imread(str(FOLDER / f"{name}.jpg"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(vision.sample(name), theirs[..., ::-1] if theirs.ndim == 3 else theirs)
    image = picture((7, 9, 3), np.uint8)
    vision.imwrite(tmp_path / "x.png", image)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "x.png"))[..., ::-1], image)


@pytest.mark.parametrize("method", BUMPS)
def test_without_antialiasing_enlarging_is_the_same(method):
    image = picture((20, 30, 3), np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((75, 61), FILTERS[method]))
    np.testing.assert_array_equal(vision.resize(image, (61, 75), method, antialias=False), expected)


def test_plain_bilinear_is_opencvs():
    """Without antialiasing, bilinear takes the same two pixels along each axis as OpenCV does."""
    cv2 = pytest.importorskip("cv2")
    image = np.random.default_rng(0).random((40, 60)).astype(np.float32)
    for size in ((13, 17), (80, 90), (40, 7)):
        expected = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(vision.resize(image, size, "bilinear", antialias=False), expected, atol=2e-4)
