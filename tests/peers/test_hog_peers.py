"""HoG and suppression beside scikit-image and OpenCV 4."""

import math
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivision import vision

sk = pytest.importorskip("skimage.feature")
cv2 = pytest.importorskip("cv2")
if not hasattr(cv2, "HOGDescriptor"):
    pytest.skip("OpenCV 5 has no HOGDescriptor; install opencv-python-headless<5", allow_module_level=True)
data = pytest.importorskip("skimage.data")


def photo(H, W, top=90, left=170):
    return np.ascontiguousarray(data.astronaut()[top:top + H, left:left + W])


def skimage_hog(image, **options):
    """scikit-image's HoG, with the arc tangent of the C library, as ours. With AVX-512 NumPy has its own, which may be off
    by the last bit; a pixel whose angle is the border of two bins then votes for the other one."""
    atan2 = np.frompyfunc(math.atan2, 2, 1)
    with mock.patch.object(np, "arctan2", lambda y, x: atan2(y, x).astype(float)):
        return sk.hog(image, **options)


@pytest.mark.parametrize("norm", ["L1", "L1-sqrt", "L2", "L2-Hys"])
@given(H=st.integers(27, 90), W=st.integers(27, 90), cell=st.tuples(*[st.integers(2, 9)] * 2),
       block=st.tuples(*[st.integers(1, 3)] * 2), bins=st.sampled_from([1, 4, 7, 8, 9, 12]), colour=st.booleans(),
       root=st.booleans(), kind=st.sampled_from(["uint8", "float64", "fractions"]), visualize=st.booleans())
def test_skimage(norm, H, W, cell, block, bins, colour, root, kind, visualize):
    ends = (min(cell) // 2 - 1) * np.array([[np.sin(a), np.cos(a)] for a in np.pi * (np.arange(bins) + 0.5) / bins])
    off = np.abs(ends - ends.round())
    visualize = visualize and not ((off > 0) & (off < 1e-9) & (ends.round() != 0)).any()       # on the border of two pixels
    image = photo(H, W) if colour else photo(H, W)[..., 1]
    image = image if kind == "uint8" else image.astype(float) if kind == "float64" else image / 255
    options = dict(orientations=bins, pixels_per_cell=cell, cells_per_block=block, block_norm=norm, transform_sqrt=root,
                   visualize=visualize, channel_axis=-1 if colour else None)
    ours, theirs = vision.hog(image, **options), skimage_hog(image, **options)
    for one, other in zip(ours, theirs) if visualize else [(ours, theirs)]:
        assert one.dtype == other.dtype and one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12 * max(1, np.abs(other).max()))


def test_skimage_on_whole_photos():
    for image in (data.astronaut(), data.chelsea(), data.camera(), data.coffee()):
        axis = -1 if image.ndim == 3 else None
        np.testing.assert_allclose(vision.hog(image), sk.hog(image, channel_axis=axis), rtol=0, atol=1e-12)
        np.testing.assert_allclose(vision.hog((image / 255).astype(np.float32)),
                                   sk.hog((image / 255).astype(np.float32), channel_axis=axis), rtol=0, atol=2e-6)


@given(H=st.integers(24, 90), W=st.integers(24, 90), cell=st.tuples(*[st.integers(3, 8)] * 2),
       block=st.tuples(*[st.integers(1, 3)] * 2), bins=st.sampled_from([4, 8, 9]), colour=st.booleans(), root=st.booleans())
def test_opencv(H, W, cell, block, bins, colour, root):
    image = photo(H, W) if colour else np.ascontiguousarray(photo(H, W)[..., 1])
    across, down = W // cell[1] * cell[1], H // cell[0] * cell[0]
    theirs = cv2.HOGDescriptor((across, down), (cell[1] * block[1], cell[0] * block[0]), cell[::-1], cell[::-1], bins, 1, -1, 0,
                               0.2, root).compute(image)
    ours = vision.hog(image, bins, cell, block, transform_sqrt=root, style="opencv")
    np.testing.assert_allclose(ours, theirs.ravel(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize(("stride", "padding"), [((8, 8), (0, 0)), ((16, 4), (5, 9)), ((12, 8), (3, 0)), ((8, 16), (32, 32))])
def test_windows(colour, stride, padding):
    image = photo(190, 133) if colour else np.ascontiguousarray(photo(190, 133)[..., 0])
    for signed in (False, True):
        theirs = cv2.HOGDescriptor((64, 128), (16, 16), (8, 8), (8, 8), 9, 1, -1, 0, 0.2, True, 64, signed)
        ours = vision.HOGDescriptor(signed_gradient=signed).compute(image, stride, padding)
        np.testing.assert_allclose(ours.ravel(), theirs.compute(image, winStride=stride, padding=padding).ravel(), atol=1e-6)


DETECTIONS = [dict(), dict(win_stride=(8, 8), padding=(16, 16)), dict(group_threshold=0),
              dict(win_stride=(4, 4), padding=(8, 8), scale=1.1), dict(scale=1.2, group_threshold=1, hit_threshold=-0.3)]
NAMES = dict(win_stride="winStride", group_threshold="groupThreshold", hit_threshold="hitThreshold")


@pytest.mark.parametrize("options", DETECTIONS, ids=str)
@pytest.mark.parametrize("picture", ["astronaut", "astronaut grey", "street"])
def test_the_people_detector_finds_the_same(picture, options, request):
    image = data.astronaut() if picture != "street" else vision.imread(
        request.getfixturevalue("real_data") / "inria-person-subset" / "opencv-hog" / "road.png", mode="rgb")
    image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if "grey" in picture else image
    people = cv2.HOGDescriptor_getDefaultPeopleDetector()
    theirs, ours = cv2.HOGDescriptor(), vision.HOGDescriptor()
    theirs.setSVMDetector(people)
    ours.set_svm_detector(people)
    boxes, scores = ours.detect_multi_scale(image, **options)
    expected, weights = theirs.detectMultiScale(image, **{NAMES.get(name, name): value for name, value in options.items()})
    expected, weights = np.reshape(expected, (-1, 4)), np.ravel(weights)
    assert boxes.shape == expected.shape and len(boxes)

    def in_order(b, s):                             # OpenCV's order depends on its threads
        return np.lexsort((s.round(3), *b.T))

    ours_first, theirs_first = in_order(boxes, scores), in_order(expected, weights)
    np.testing.assert_array_equal(boxes[ours_first], expected[theirs_first])
    np.testing.assert_allclose(scores[ours_first], weights[theirs_first], atol=1e-5)


@pytest.mark.parametrize("channels", [(), (3,)])
def test_the_levels_of_the_pyramid(channels):
    from minivision.vision.descriptor import shrunk

    image = np.random.default_rng(0).integers(0, 256, (97, 131, *channels)).astype(np.uint8)
    for size in ((92, 125), (50, 66), (97, 80), (31, 17), (1, 1)):
        np.testing.assert_array_equal(shrunk(image, size),
                                      cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR_EXACT))


@pytest.mark.parametrize("seed", range(50))
def test_suppression_is_opencvs(seed):
    rng = np.random.default_rng(seed)
    boxes = np.concatenate([rng.integers(0, 60, (80, 2)), rng.integers(1, 40, (80, 2))], 1)
    boxes = boxes if seed % 2 else boxes + rng.random((80, 4))
    scores = rng.integers(0, 12, 80) / 10 if seed % 3 else rng.standard_normal(80)
    for allowed in (0.1, 0.3, 0.5, 1.0):
        theirs = cv2.dnn.NMSBoxes(boxes.astype(float).tolist(), scores.tolist(), 0.25, allowed)
        assert vision.nms(boxes, scores, allowed, 0.25).tolist() == np.ravel(theirs).tolist()
