"""Occlusion by its definition, and where its patches lie."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivision import explain
from minivision.explain.occlusion import positions


@given(length=st.integers(1, 40), window=st.integers(1, 40), stride=st.integers(1, 12))
def test_positions_cover_the_axis(length, window, stride):
    window, stride = min(window, length), min(stride, window, length)
    found = positions(length, window, stride)
    assert len(found) == int(np.ceil((length - window) / stride)) + 1
    assert [start for start, _ in found] == [i * stride for i in range(len(found))]
    assert set().union(*(range(*place) for place in found)) == set(range(length))
    assert all(end - start == window for start, end in found[:-1])


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_the_map_holds_the_probability_with_the_patch_there(network, x, batch_size):
    seen = []
    found = explain.occlusion_map(network, x[1], 3, (5, 4), 2, 0.3, batch_size=batch_size, progress=seen.append)
    assert found.dtype == np.float32 and found.shape == (5, 4) and sum(seen) == found.size
    for i, j in np.ndindex(found.shape):
        covered = x[1:2].copy()
        covered[:, :, 2 * i:2 * i + 5, 2 * j:2 * j + 4] = 0.3
        assert found[i, j] == pytest.approx(explain.probabilities(network, covered)[0, 3], abs=1e-6)


def test_an_attribution_is_even_where_one_patch_covers_all(network, x):
    found = explain.occlusion(network, x[0], 1, (12, 10), (12, 10), 0.5)
    whole, grey = (explain.inside.scores(network, image)[0, 1] for image in (x[:1], np.full_like(x[:1], 0.5)))
    np.testing.assert_allclose(found, whole - grey, atol=1e-12)


@pytest.mark.parametrize("change, message", [
    (dict(window=13), "window is 13 x 13, larger than the image of 12 x 10"),
    (dict(window=0), "window"), (dict(stride=0), "stride"), (dict(target=5), "the model has 5 classes, 0 to 4"),
    (dict(target=-1), "target has class -1"), (dict(fill=1.5), "fill is 1.5; expected a number from 0 to 1"),
    (dict(fill=(0.1, 0.2, 0.3)), "fill is"), (dict(batch_size=0), "batch_size is 0"),
])
def test_bad_arguments(network, x, change, message):
    with pytest.raises(ValueError, match=message):
        explain.occlusion_map(network, x[0], **{"target": 1, "window": 4, "stride": 2, **change})


def test_gaps_between_patches_are_refused(network, x):
    with pytest.raises(ValueError, match="pixels between patches would never be covered"):
        explain.occlusion(network, x[0], 1, 3, 4)


@pytest.mark.parametrize("image, kind, message", [
    (np.zeros((3, 12, 10), np.uint8), TypeError, "image is uint8; expected float32 or float64"),
    (np.full((3, 12, 10), 1.5), ValueError, r"from 1.5 to 1.5; expected \[0, 1\]"),
    (np.full((3, 12, 10), np.nan), ValueError, r"expected \[0, 1\]"),
    (np.zeros((2, 3, 12, 10)), ValueError, r"expected \(C, H, W\)"), (np.zeros((3, 0, 10)), ValueError, "none of them 0"),
    (np.zeros((1, 12, 10)), ValueError, "channels"),
])
def test_bad_images(network, image, kind, message):
    with pytest.raises(kind, match=message):
        explain.occlusion_map(network, image, 1, 4, 2)


def test_a_model_in_training_mode_is_refused(network, x):
    network.train()
    with pytest.raises(ValueError, match="in training mode"):
        explain.occlusion_map(network, x[0], 1, 4, 2)
