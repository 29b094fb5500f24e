"""Cascades: what the reader refuses, what detection promises, and results recorded from OpenCV."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from cascade_cases import haar_xml, lbp_xml, picture

import minivision_kernels as mk
from minivision import vision
from minivision.vision.cascade import scales
from minivision.vision.cascade_file import parse_cascade, read_cascade

ROOT = Path(__file__).resolve().parents[2]


def tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GOOD = tool("fuzz_cascades").NEW.decode()
OLD = tool("fuzz_cascades").OLD.decode()

# What is changed in a good file, and what the error says: the element, and what is wrong with it.
WRONG = [
    ("<opencv_storage>", "<!DOCTYPE a [<!ENTITY b 'bb'>]><opencv_storage>", "document type declaration"),
    ('<?xml version="1.0"?>', '<!DOCTYPE a SYSTEM "file:///etc/passwd">', "document type declaration"),
    ("<height>8</height>", "<height>&b;</height>", "not well-formed XML|entities"),
    ("</cascade></opencv_storage>", "", "not well-formed XML"),
    ("opencv_storage>", "storage>", r"outermost element is <storage>"),
    ("HAAR", "HOG", "featureType: HOG cascades are not supported"),
    ("HAAR", "SURF", "featureType: expected HAAR or LBP, found 'SURF'"),
    ("BOOST", "TREE", "stageType: expected BOOST"),
    ("<height>8</height>", "", "has no <height>"),
    ("<height>8</height>", "<height>2</height>", "height: expected a whole number from 3 to 512, found '2'"),
    ("<height>8</height>", "<height>100000</height>", "height: expected a whole number from 3"),
    ("<height>8</height>", "<height>-8</height>", "height: expected a whole number from 3"),
    ("<height>8</height>", "<height>8 8</height>", "height: expected one whole number, found 2"),
    ("<height>8</height>", "<height><_>8</_></height>", "height: expected numbers, found <_>"),
    ("<maxCatCount>0", "<maxCatCount>256", "featureParams/maxCatCount: expected 0 for HAAR"),
    ("-0.5</stageThreshold>", "nan</stageThreshold>", r"stages/_\[0\]/stageThreshold: expected numbers.*'nan'"),
    ("-0.5</stageThreshold>", "1e99</stageThreshold>", r"stages/_\[0\]/stageThreshold: .*at most 1e30"),
    ("-0.5</stageThreshold>", "</stageThreshold>", r"stages/_\[0\]/stageThreshold: expected 1 number, found 0"),
    ("0 -1 0 0.01", "0 -1 0", r"stages/_\[0\]/weakClassifiers/_\[0\]/internalNodes: expected 4 numbers for each node"),
    ("0 -1 0 0.01", "0 -1 2 0.01", "internalNodes: expected a whole number from 0 to 1, found '2'"),
    ("0 -1 0 0.01", "0 -2 0 0.01", "internalNodes: expected a whole number from -1 to 0, found '-2'"),
    ("0 -1 0 0.01", "0 1 0 0.01", "internalNodes: expected a whole number from -1 to 0, found '1'"),
    ("0 -1 0 0.01", "0 -1 0 1_0", "internalNodes: expected a threshold"),
    ("1 0 1 -0.1 -1 -2 0 0.2", "1 0 1 -0.1 1 -2 0 0.2", r"node 1 has the child 1; .*no cycles"),
    ("0.1 0.2 0.3", "0.1", r"_\[1\]/leafValues: expected at least 2 numbers"),
    ("1 1 4 4 -1.", "1 1 4 8 -1.", r"features/_\[0\]/rects/_\[0\]: the rectangle 1 1 4 8 leaves the window of 9 x 8"),
    ("1 1 4 4 -1.", "1 1 -4 4 -1.", r"rects/_\[0\]: expected a whole number from 0"),
    ("1 1 4 4 -1.", "1 1 4 4", r"rects/_\[0\]: expected x, y, width, height and weight, found 4"),
    ("4 0 2 2 -1.", "1 0 2 2 -1.", r"features/_\[1\]/rects/_\[0\]: the tilted rectangle 1 0 2 2 leaves the window"),
    ("<tilted>1</tilted>", "<tilted>2</tilted>", "tilted: expected a whole number from 0 to 1"),
    ("<features>", "<features><a/>", "features/a: expected <_>"),
]


@pytest.mark.parametrize(("old", "new", "message"), WRONG, ids=[f"{new[:30]} for {old[:30]}" for old, new, _ in WRONG])
def test_broken_files(old, new, message, tmp_path):
    assert old in GOOD
    path = tmp_path / "broken.xml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(vision.CascadeError, match=message) as caught:
        vision.CascadeClassifier(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "message"), [
    (b"", "not well-formed"), (b"\x89PNG\r\n\x1a\n", "not well-formed"), (b"<opencv_storage/>", "is empty"),
    (b"<a>" * 100 + b"</a>" * 100, "at most 16 deep|16 deep"),
    (b"<opencv_storage>" + b"<_/>" * 600_000 + b"</opencv_storage>", "at most 500000 elements"),
    (b" " * (33 << 20), "larger than 32 MiB"),
    (b"<?xml version='1.0' encoding='utf-7'?><opencv_storage/>", "not well-formed"),
    ((GOOD[:GOOD.index("<stages>")] + "<stages></stages>" + GOOD[GOOD.index("<features>"):]).encode(), "stages: is empty"),
    (OLD.replace("<right_node>1<", "<right_node>2<").encode(), "right_node: expected a whole number from 1 to 1"),
    (OLD.replace("<right_node>1<", "<right_node>0<").encode(), "right_node: expected a whole number from 1"),
    (OLD.replace("<threshold>0.1</threshold>", "").encode(), "has no <threshold>"),
    (OLD.replace("8 8</size>", "8</size>").encode(), "size: expected width and height"),
])
def test_broken_texts(text, message):
    with pytest.raises(vision.CascadeError, match=message):
        parse_cascade(text)


def test_a_few_hundred_broken_files():
    read, refused = tool("fuzz_cascades").fuzz(400, seed=1)
    assert read > 20 and refused > 100


def test_a_cascade_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no cascade .*nothing\.xml; .*pip install 'opencv-python-headless<5'"):
        vision.CascadeClassifier(tmp_path / "nothing.xml")
    with pytest.raises(FileNotFoundError, match="is a folder"):
        vision.CascadeClassifier(tmp_path)


def test_installed_cascades_are_found_by_name(tmp_path, monkeypatch):
    """An install is a folder on the path with a package of that name; it is not imported."""
    (tmp_path / "cv2" / "data").mkdir(parents=True)
    (tmp_path / "cv2" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "cv2" / "data" / "my_cascade.xml").write_text(GOOD)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    importlib.invalidate_caches()
    for name in ("my_cascade", "my_cascade.xml"):
        assert vision.CascadeClassifier(name).path == tmp_path / "cv2" / "data" / "my_cascade.xml"


# ---- detection


@pytest.fixture(scope="module")
def cascade(tmp_path_factory):
    path = tmp_path_factory.mktemp("cascade") / "one.xml"
    path.write_text(GOOD)
    return vision.CascadeClassifier(path)


GRAY = np.zeros((20, 20), np.uint8)


@pytest.mark.parametrize(("image", "options", "error", "message"), [
    ([[1]], {}, TypeError, "expected a NumPy array"),
    (np.zeros((0, 5), np.uint8), {}, ValueError, "no pixel at all"),
    (np.zeros((5, 5, 4), np.uint8), {}, ValueError, "expected H x W or H x W x 3"),
    (np.full((9, 9), np.nan), {}, ValueError, "NaN"),
    (np.full((9, 9), 2.0), {}, ValueError, r"expected 0 \.\. 1"),
    (GRAY, dict(scale_factor=1.0), ValueError, "got scale_factor=1.0, expected a number above 1"),
    (GRAY, dict(scale_factor=0.5), ValueError, "got scale_factor=0.5"),
    (GRAY, dict(scale_factor=float("nan")), ValueError, "expected a finite number"),
    (GRAY, dict(scale_factor="2"), TypeError, "expected a number"),
    (GRAY, dict(scale_factor=1 + 1e-9), ValueError, "sizes, expected at most 10,000"),
    (GRAY, dict(min_neighbors=-1), ValueError, "got min_neighbors=-1, expected at least 0"),
    (GRAY, dict(min_neighbors=1.5), TypeError, "expected a whole number"),
    (GRAY, dict(min_size=(-1, 5)), ValueError, r"got min_size=\(-1, 5\)"),
    (GRAY, dict(max_size=5), TypeError, r"got max_size=5, expected \(width, height\)"),
    (GRAY, dict(max_size=(5, 5, 5)), TypeError, "expected"),
])
def test_bad_arguments(cascade, image, options, error, message):
    with pytest.raises(error, match=message):
        cascade.detect_multi_scale(image, **options)


def test_a_largest_size_of_zero_is_none():
    for most in ((0, 0), (0, 30), (30, 0)):
        assert scales((60, 70), (10, 10), 1.2, None, most) == scales((60, 70), (10, 10), 1.2)


def test_images_smaller_than_the_window_have_no_finds(cascade):
    for shape in ((1, 1), (7, 40), (40, 8)):
        boxes, counts, candidates = cascade.detect_multi_scale(
            np.full(shape, 9, np.uint8), return_counts=True, return_candidates=True)
        assert boxes.shape == (0, 4) and counts.shape == (0,) and candidates.shape == (0, 4)


def test_floats_and_colours_are_what_their_bytes_are(cascade):
    rng = np.random.default_rng(0)
    image = picture(rng, 60, 70)
    expected, raw = cascade.detect_multi_scale(image, 1.2, 0), cascade.detect_multi_scale(image, 1.2, 1, return_candidates=True)
    assert len(expected)
    np.testing.assert_array_equal(raw[1], expected)
    np.testing.assert_array_equal(cascade.detect_multi_scale(image / 255, 1.2, 0), expected)
    np.testing.assert_array_equal(cascade.detect_multi_scale(np.float32(image / 255), 1.2, 0), expected)
    gray_in_colour = np.repeat(image[..., None], 3, 2)
    np.testing.assert_array_equal(cascade.detect_multi_scale(gray_in_colour, 1.2, 0), expected)
    readonly = np.asfortranarray(image)
    readonly.flags.writeable = False
    np.testing.assert_array_equal(cascade.detect_multi_scale(readonly, 1.2, 0), expected)


def test_the_order_does_not_depend_on_threads(cascade):
    image, results = picture(np.random.default_rng(1), 150, 160), []
    before = mk.get_num_threads()
    for n in sorted({1, before}):
        mk.set_num_threads(n)
        results.append(cascade.detect_multi_scale(image, 1.1, 0))
    mk.set_num_threads(before)
    assert len(results[0]) > 100
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_scales():
    assert [scale.size for scale in scales((40, 50), (20, 20), 2.0)] == [(40, 50), (20, 25)]
    assert [scale.step for scale in scales((100, 100), (20, 20), 1.9)] == [2, 2, 1]
    assert [float(scale.factor) for scale in scales((100, 100), (20, 20), 2.0, (39, 39), (79, 79))] == [2.0]
    # None lies between: the nearest to the smallest is taken.
    assert [float(scale.factor) for scale in scales((100, 100), (20, 20), 2.0, (45, 45), (50, 50))] == [2.0]
    assert scales((10, 100), (20, 20), 1.1) == []


# ---- grouping


def test_grouping():
    boxes = [[10, 10, 20, 20], [11, 10, 20, 20], [10, 11, 20, 20], [80, 80, 20, 20]]
    grouped, counts = vision.group_rectangles(boxes, 1)
    np.testing.assert_array_equal(grouped, [[10, 10, 20, 20]])
    np.testing.assert_array_equal(counts, [3])
    same, ones = vision.group_rectangles(boxes, 0)
    np.testing.assert_array_equal(same, boxes)
    np.testing.assert_array_equal(ones, [1] * 4)
    assert vision.group_rectangles([], 2)[0].shape == (0, 4)


@pytest.mark.parametrize(("boxes", "threshold", "eps", "error"), [
    ([[1, 2, 3]], 1, 0.2, ValueError), ([[0.5, 1, 1, 1]], 1, 0.2, ValueError), ([[1, 1, 1, 1]], "1", 0.2, TypeError),
    ([[1, 1, 1, 1]], 1, -0.1, ValueError), ([[1, 1, 1, 1]], 1, float("nan"), ValueError),
])
def test_grouping_refuses(boxes, threshold, eps, error):
    with pytest.raises(error, match="expected"):
        vision.group_rectangles(boxes, threshold, eps)


# ---- recorded from OpenCV


def test_recorded_rectangles(tmp_path):
    """What OpenCV 4 found with random cascades (tests/vision/record_cascades.py)."""
    recorded = np.load(Path(__file__).with_name("cascades.npz"))
    rng, found = np.random.default_rng(7), 0
    for number in range(24):
        text, image, factor, neighbors, least, most = recorded_case(rng, number)
        path = tmp_path / f"{number}.xml"
        path.write_text(text)
        boxes, counts = vision.CascadeClassifier(path).detect_multi_scale(
            image, factor, neighbors, least, most, return_counts=True)
        np.testing.assert_array_equal(boxes, recorded[f"boxes{number}"])
        np.testing.assert_array_equal(counts, recorded[f"counts{number}"])
        found += len(boxes)
    assert found > 1000


def recorded_case(rng, number):
    width, height = int(rng.integers(6, 26)), int(rng.integers(6, 26))
    text = lbp_xml(rng, width, height) if number % 4 == 3 else haar_xml(rng, width, height, 2)
    image = picture(rng, int(rng.integers(height, 110)), int(rng.integers(width, 110)))
    least, most = (int(rng.integers(0, 40)),) * 2, (int(rng.integers(0, 90)),) * 2
    return text, image, float(rng.choice([1.1, 1.3, 2.0])), int(rng.integers(0, 2)) * 2, least, most


# ---- the one trained by us


def test_our_own_cascade_finds_the_astronaut():
    faces = vision.CascadeClassifier()
    boxes, counts = faces.detect_multi_scale(vision.sample("astronaut"), 1.05, 5, return_counts=True)
    x, y, w, h = boxes[counts.argmax()]
    assert abs(x + w / 2 - 224) < 25 and abs(y + h / 2 - 115) < 30 and 60 < w < 150


def test_the_file_of_a_cascade_brings_it_back(tmp_path):
    from minivision.vision.cascade import OWN
    from minivision.vision.training_cascade import cascade_xml

    cascade = read_cascade(OWN)
    path = tmp_path / "again.xml"
    path.write_text(cascade_xml(cascade, "again"))
    again = read_cascade(path)
    for before, after in zip((*cascade.features, *cascade.trees), (*again.features, *again.trees)):
        np.testing.assert_array_equal(before, after)
