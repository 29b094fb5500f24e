"""Boxes: overlap, suppression, windows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivision.vision import iou, nms, sliding_windows

box = st.tuples(st.integers(-5, 20), st.integers(-5, 20), st.integers(0, 12), st.integers(0, 12))


def pixels(b):
    return {(x, y) for x in range(b[0], b[0] + b[2]) for y in range(b[1], b[1] + b[3])}


@given(a=st.lists(box, max_size=4), b=st.lists(box, max_size=4))
def test_overlap_is_that_of_sets_of_pixels(a, b):
    got = iou(a, b)
    assert got.shape == (len(a), len(b))
    for i, one in enumerate(a):
        for j, other in enumerate(b):
            both, either = pixels(one) & pixels(other), pixels(one) | pixels(other)
            assert got[i, j] == pytest.approx(len(both) / len(either) if either else 0)


@given(boxes=st.lists(box, max_size=12), allowed=st.sampled_from([0.0, 0.3, 0.5, 1.0]), least=st.sampled_from([None, 0.0, 0.5]))
def test_suppression_keeps_the_best_of_each_heap(boxes, allowed, least):
    scores = np.random.default_rng(len(boxes)).integers(-2, 8, len(boxes)) / 4
    kept = nms(boxes, scores, allowed, least)
    assert kept.dtype == np.int64
    assert (np.diff(scores[kept]) <= 0).all()
    overlap = iou(np.reshape(boxes, (-1, 4)), np.reshape(boxes, (-1, 4)))
    candidates = [i for i in range(len(boxes)) if least is None or scores[i] > least]
    assert set(kept) <= set(candidates)
    for i in kept:
        assert all(overlap[i, j] <= allowed for j in kept if j != i)
    for i in set(candidates) - set(kept.tolist()):
        assert any(overlap[i, j] > allowed and scores[j] >= scores[i] for j in kept)


@given(H=st.integers(1, 12), W=st.integers(1, 12), size=st.tuples(*[st.integers(1, 6)] * 2),
       stride=st.tuples(*[st.integers(1, 5)] * 2), colour=st.booleans())
def test_windows(H, W, size, stride, colour):
    image = np.random.default_rng(0).integers(0, 256, (H, W, 3) if colour else (H, W)).astype(np.uint8)
    if size[0] > H or size[1] > W:
        with pytest.raises(ValueError, match="smaller than a window"):
            sliding_windows(image, size, stride)
        return
    windows = sliding_windows(image, size, stride)
    rows, columns = range(0, H - size[0] + 1, stride[0]), range(0, W - size[1] + 1, stride[1])
    assert windows.shape == (len(rows), len(columns), *size, *image.shape[2:])
    for i, y in enumerate(rows):
        for j, x in enumerate(columns):
            np.testing.assert_array_equal(windows[i, j], image[y:y + size[0], x:x + size[1]])
    assert np.shares_memory(windows, image) and not windows.flags.writeable


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: iou([[0, 0, 1]], []), ValueError, r"a has shape \(1, 3\), expected \(n, 4\)"),
    (lambda: iou([[0, 0, -1, 2]], [[0, 0, 1, 1]]), ValueError, "no side below 0"),
    (lambda: iou([[0, 0, np.nan, 2]], [[0, 0, 1, 1]]), ValueError, "NaN"),
    (lambda: nms([[0, 0, 1, 1]], [1, 2]), ValueError, r"scores has shape \(2,\), expected \(1,\)"),
    (lambda: nms([[0, 0, 1, 1]], [np.inf]), ValueError, "NaN or infinity"),
    (lambda: nms([[0, 0, 1, 1]], ["a"]), TypeError, "expected numbers"),
    (lambda: nms([[0, 0, 1, 1]], [1], 1.5), ValueError, "iou_threshold=1.5, expected 0 .. 1"),
    (lambda: nms([[0, 0, 1, 1]], [1], score_threshold=np.nan), ValueError, "score_threshold"),
    (lambda: sliding_windows(np.zeros((4, 4)), (0, 1)), ValueError, "size=.0, 1., expected at least 1"),
    (lambda: sliding_windows(np.zeros((4, 4)), (1, 1), 0), ValueError, "stride=0"),
    (lambda: sliding_windows(np.zeros((4, 4, 2)), (1, 1)), ValueError, "expected H x W or H x W x 3"),
])
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
