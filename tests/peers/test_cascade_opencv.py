"""Rectangles and counts of our cascades held against OpenCV's: every stock file, and cascades made up at random."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")
pytestmark = pytest.mark.skipif(not hasattr(cv2, "CascadeClassifier"), reason="this OpenCV has no CascadeClassifier")

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "vision"))
from cascade_cases import haar_xml, lbp_xml, picture  # noqa: E402

from minivision import vision  # noqa: E402

SHARED = Path(os.environ.get("MINIVISION_DATA", ".")) / "cascades"
STOCK = sorted({path.name: path for path in (*Path(cv2.__file__).parent.glob("data/*.xml"), *SHARED.glob("[hl]*cascade_*.xml"))
                if "pedestrians" not in path.name}.values())


@pytest.fixture(autouse=True)
def one_thread():
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)                        # with several its order changes from run to run
    yield
    cv2.setNumThreads(before)


def agree(path, image, factor, neighbors, least, most):
    theirs, counts = cv2.CascadeClassifier(str(path)).detectMultiScale2(
        image, factor, neighbors, minSize=least, maxSize=most)
    ours, ours_counts = vision.CascadeClassifier(path).detect_multi_scale(
        image, factor, neighbors, least, most, return_counts=True)
    np.testing.assert_array_equal(ours, np.array(theirs, int).reshape(-1, 4))
    np.testing.assert_array_equal(ours_counts, np.array(counts, int).reshape(-1))
    return len(ours)


def crop(rng, image, least, most):
    h, w = (int(rng.integers(low, min(most, side) + 1)) for low, side in zip(least, image.shape))
    y, x = (int(rng.integers(0, side - length + 1)) for side, length in zip(image.shape, (h, w)))
    return np.ascontiguousarray(image[y:y + h, x:x + w])


@pytest.mark.parametrize("path", STOCK, ids=lambda path: path.stem)
def test_stock_files_on_random_crops(path):
    rng = np.random.default_rng(len(path.name))
    window = vision.CascadeClassifier(path).cascade
    photo = vision.to_gray(vision.sample("astronaut"), "opencv")
    for turn in range(6):
        image = crop(rng, photo if turn % 3 else picture(rng, 200, 240), (window.height, window.width), 260)
        least, most = (int(rng.integers(0, 90)), int(rng.integers(0, 90))), (int(rng.integers(40, 200)),) * 2
        agree(path, image, float(rng.choice([1.05, 1.1, 1.37])), int(rng.integers(0, 4)), least if turn % 2 else (0, 0),
              most if turn > 2 else (0, 0))


def test_the_astronaut():
    path = next(path for path in STOCK if path.name == "haarcascade_frontalface_default.xml")
    photo = vision.to_gray(vision.sample("astronaut"), "opencv")
    assert agree(path, photo, 1.05, 5, (0, 0), (0, 0)) >= 1
    assert agree(path, photo, 1.05, 0, (0, 0), (0, 0)) > 50


def test_random_cascades(tmp_path):
    """Haar of all kinds and LBP, windows of any proportion, and pictures barely larger than the window."""
    rng, found = np.random.default_rng(0), 0
    for number in range(60):
        width, height = int(rng.integers(6, 30)), int(rng.integers(6, 30))
        text = lbp_xml(rng, width, height) if number % 4 == 3 else haar_xml(
            rng, width, height, int(rng.integers(1, 4)), tilted=number % 4 != 1, trees=number % 4 != 2)
        path = tmp_path / f"{number}.xml"
        path.write_text(text)
        image = picture(rng, int(rng.integers(height, 150)), int(rng.integers(width, 150)))
        least, most = (int(rng.integers(0, 60)),) * 2, (int(rng.integers(0, 100)),) * 2
        found += agree(path, image, float(rng.choice([1.1, 1.3, 2.0])), int(rng.integers(0, 2)) * 2, least, most)
    assert found > 5000


def test_our_own_cascade():
    """OpenCV reads the file that we trained and wrote, and finds with it what we find."""
    from minivision.vision.cascade import OWN

    photo = vision.to_gray(vision.sample("astronaut"), "opencv")
    assert agree(OWN, photo, 1.05, 0, (0, 0), (0, 0)) > 10
    assert agree(OWN, photo, 1.1, 3, (30, 30), (300, 300)) >= 1


def test_group_rectangles():
    rng = np.random.default_rng(0)
    for _ in range(60):
        centres = rng.integers(0, 300, (8, 4))
        boxes = centres[rng.integers(0, 8, int(rng.integers(0, 90)))] + rng.integers(-4, 5, (1, 4))
        boxes = np.abs(boxes + rng.integers(-9, 10, boxes.shape)) + [0, 0, 1, 1]
        threshold, eps = int(rng.integers(0, 5)), float(rng.choice([0.1, 0.2, 0.5]))
        theirs, counts = cv2.groupRectangles(boxes.tolist(), threshold, eps)
        ours, ours_counts = vision.group_rectangles(boxes, threshold, eps)
        np.testing.assert_array_equal(ours, np.array(theirs, int).reshape(-1, 4))
        if threshold:
            np.testing.assert_array_equal(ours_counts, np.array(counts, int).reshape(-1))


def test_tables_and_shrunk_images():
    from minivision_kernels import ladder

    rng = np.random.default_rng(0)
    for H, W in ((1, 1), (1, 7), (5, 1), (33, 70), (64, 130)):
        image = rng.integers(0, 256, (H, W), np.uint8)
        sums, squares, tilted = cv2.integral3(image, sdepth=cv2.CV_32S, sqdepth=cv2.CV_64F)
        for rung in ladder("window_sums"):
            ours, of_squares = rung(image, True)
            np.testing.assert_array_equal(ours, [sums, tilted])
            np.testing.assert_array_equal(of_squares.view(np.uint32), squares)
        for size in ((1, 1), (3, 7), (H, W), (2 * H, W), (50, 61)):
            expected = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR_EXACT)
            for rung in ladder("shrink_exact"):
                np.testing.assert_array_equal(rung(image, size), expected)
