"""HOGDescriptor: windows, detection, and what it refuses."""

import numpy as np
import pytest

from minivision.vision import HOGDescriptor, hog


def noise(H, W, *channels, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (H, W, *channels)).astype(np.uint8)


def test_the_papers_window():
    descriptor = HOGDescriptor()
    assert (descriptor.blocks, descriptor.descriptor_size) == ((7, 15), 3780)
    assert descriptor.compute(noise(128, 64)).shape == (1, 3780)
    assert descriptor.compute(noise(128, 64, 3), padding=(8, 16)).shape == (15, 3780)


def test_a_window_of_the_whole_image_is_hog():
    image = noise(64, 40, 3)
    got = HOGDescriptor((40, 64)).compute(image)
    np.testing.assert_allclose(got[0], hog(image, cells_per_block=(2, 2), transform_sqrt=True, style="opencv"), atol=1e-6)


@pytest.mark.parametrize(("stride", "padding"), [((8, 8), (0, 0)), ((4, 12), (0, 0)), ((16, 8), (5, 11))])
def test_scores_are_sums_over_descriptors(stride, padding):
    """The short cut, block by block, against descriptors of whole windows times the weights."""
    image, rng = noise(120, 100), np.random.default_rng(1)
    descriptor = HOGDescriptor((32, 48), (16, 16), (8, 8), (8, 8), 5, gamma_correction=False, signed_gradient=True)
    detector = rng.standard_normal(descriptor.descriptor_size + 1).astype(np.float32)
    descriptor.set_svm_detector(detector)
    expected = descriptor.compute(image, stride, padding) @ detector[:-1] + detector[-1]
    places, scores = descriptor.detect(image, -1e9, stride, padding)
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    assert len(np.unique(places, axis=0)) == len(places)
    assert places.min(0).tolist() == ([-8, -16] if max(padding) else [0, 0])        # rounded up to whole strides
    some, high = descriptor.detect(image, float(np.median(scores)), stride, padding)
    assert len(some) == (scores >= np.median(scores)).sum() and (high >= np.median(scores)).all()


def test_a_pattern_is_found_where_it_is():
    """A detector made of one window finds that window in a larger image, and twice as large at another scale."""
    pattern = np.kron(noise(8, 4), np.ones((16, 16), np.uint8))
    descriptor = HOGDescriptor()
    features = descriptor.compute(pattern)[0]
    descriptor.set_svm_detector(np.append(features, -0.75 * features @ features))
    image = np.full((300, 260), 128, np.uint8)
    image[40:168, 48:112] = pattern
    boxes, scores = descriptor.detect_multi_scale(image, group_threshold=0)
    best = boxes[scores.argmax()]
    assert best.tolist() == [48, 40, 64, 128] and boxes.dtype == np.int64
    large = np.full((400, 300), 128, np.uint8)
    large[80:336, 64:192] = np.kron(pattern, np.ones((2, 2), np.uint8))
    boxes, scores = descriptor.detect_multi_scale(large, group_threshold=0)
    assert np.abs(boxes[scores.argmax()] - [64, 80, 128, 256]).max() <= 12
    assert len(descriptor.detect_multi_scale(np.full((200, 200), 7, np.uint8))[0]) == 0


def test_groups_become_one_box_within_the_image():
    descriptor = HOGDescriptor((16, 16), (16, 16), (8, 8), (8, 8))
    descriptor.set_svm_detector(np.append(np.zeros(36), 1.0))                   # everything is a find
    boxes, scores = descriptor.detect_multi_scale(noise(20, 20), padding=(8, 8), scale=2, win_stride=(8, 8))
    assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] + boxes[:, 2:] <= 20).all()
    assert (scores == 1).all()
    single, _ = descriptor.detect_multi_scale(noise(16, 16), group_threshold=1)
    assert single.shape == (0, 4)
    single, _ = descriptor.detect_multi_scale(noise(16, 16), group_threshold=0)
    assert single.tolist() == [[0, 0, 16, 16]]


@pytest.mark.parametrize(("options", "error", "message"), [
    (dict(win_size=(64, 120), block_size=(16, 12)), ValueError, "block_size .* is no multiple of cell_size .* in height"),
    (dict(win_size=(8, 128)), ValueError, "win_size .8, 128. does not fit in width"),
    (dict(win_size=(60, 128)), ValueError, "any number of times block_stride"),
    (dict(block_stride=(0, 8)), ValueError, "block_stride=0, expected at least 1"),
    (dict(cell_size=(8, -8)), ValueError, "cell_size=-8"),
    (dict(cell_size=8), TypeError, "cell_size=8, expected .width, height."),
    (dict(win_size=(64.0, 128)), TypeError, "win_size=64.0, expected a whole number"),
    (dict(nbins=0), ValueError, "nbins=0"),
    (dict(nlevels=0), ValueError, "nlevels=0"),
    (dict(win_sigma=0), ValueError, "win_sigma=0"),
    (dict(win_sigma=np.nan), ValueError, "win_sigma=nan, expected a finite number"),
])
def test_sizes_that_do_not_fit(options, error, message):
    with pytest.raises(error, match=message) as caught:
        HOGDescriptor(**options)
    assert str(caught.value).startswith("HOGDescriptor: ")


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda d: d.compute(noise(127, 64)), ValueError, r"image is 64 x 127 .*smaller than a window of 64 x 128"),
    (lambda d: d.detect(noise(128, 63)), ValueError, "smaller than a window"),
    (lambda d: d.detect_multi_scale(noise(20, 20)), ValueError, "smaller than a window"),
    (lambda d: d.detect_multi_scale(np.zeros((0, 64), np.uint8)), ValueError, "no pixel at all"),
    (lambda d: d.detect_multi_scale(np.zeros((128, 64))), TypeError, "image is float64, expected uint8"),
    (lambda d: d.detect_multi_scale(noise(128, 64, 4)), ValueError, "expected H x W or H x W x 3"),
    (lambda d: d.detect_multi_scale(noise(128, 64), scale=1.0), ValueError, "scale=1.0, expected a number above 1"),
    (lambda d: d.detect_multi_scale(noise(128, 64), scale=np.inf), ValueError, "scale=inf"),
    (lambda d: d.detect_multi_scale(noise(128, 64), scale="2"), TypeError, "scale='2'"),
    (lambda d: d.detect_multi_scale(noise(128, 64), win_stride=(8, 0)), ValueError, "win_stride=0"),
    (lambda d: d.detect_multi_scale(noise(128, 64), padding=(-8, 0)), ValueError, "padding=-8, expected at least 0"),
    (lambda d: d.detect(noise(128, 64), hit_threshold=np.nan), ValueError, "hit_threshold=nan"),
    (lambda d: d.set_svm_detector(np.zeros(100)), ValueError, "got 100 numbers, expected 3780 weights, or 3781"),
    (lambda d: d.set_svm_detector(np.full(3780, np.nan)), ValueError, "NaN or infinity"),
])
def test_bad_input(call, error, message):
    descriptor = HOGDescriptor()
    descriptor.set_svm_detector(np.zeros(3780))
    with pytest.raises(error, match=message):
        call(descriptor)


def test_no_detector_no_detection():
    with pytest.raises(ValueError, match="there is no detector yet; call set_svm_detector"):
        HOGDescriptor().detect(noise(128, 64))
