"""DeepDream's four steps are gradient ascent on half the squared activation; layers and channels are found by name."""

import numpy as np
import pytest

import minivision as mv
from minivision import explain
from minivision.explain.dream import dream_step, zoom
from minivision.explain.inside import activation


@pytest.mark.parametrize("layer", ["0", "1", "3"])
def test_the_four_steps_follow_the_gradient_of_the_squared_activation(network, x, layer):
    pixels = mv.Tensor(x[:1], requires_grad=True)
    objective = (activation(network, pixels, layer) ** 2).sum() / 2
    (gradient,) = mv.grad(objective, pixels)
    g = gradient.numpy()
    expected = np.clip(x[:1] + 0.01 / np.abs(g).mean() * g, 0, 1)
    np.testing.assert_allclose(dream_step(network, x[:1], layer, step=0.01), expected, atol=1e-12)


def test_a_channel_alone(network, x):
    pixels = mv.Tensor(x[:1], requires_grad=True)
    objective = (activation(network, pixels, "3")[:, 2] ** 2).sum() / 2
    (gradient,) = mv.grad(objective, pixels)
    g = gradient.numpy()
    np.testing.assert_allclose(dream_step(network, x[:1], "3", 2, step=0.01),
                               np.clip(x[:1] + 0.01 / np.abs(g).mean() * g, 0, 1), atol=1e-12)


def test_a_shift_is_undone(network, x):
    """Away from the border, where the padding shows, it makes no difference to a network without pooling."""
    steps = [dream_step(network, x[:1], "0", step=1e-3, shift=shift) for shift in ((0, 0), (3, -2))]
    first, second = ((step - x[:1])[:, :, 4:-4, 4:-4].ravel() for step in steps)
    assert np.corrcoef(first, second)[0, 1] > 0.99


def test_the_dream_grows(network, x):
    frames = []
    dreamt = explain.deepdream(network, x[0], "3", steps=3, octaves=2, scale=1.2, jitter=2, step=0.02, frame=frames.append)
    assert dreamt.shape == x[0].shape and 0 <= dreamt.min() <= dreamt.max() <= 1
    assert len(frames) == 6 and all(frame.shape == x[0].shape for frame in frames)
    np.testing.assert_array_equal(frames[-1], dreamt)

    def size(image):
        return float((explain.feature_maps(network, image, ["3"])["3"] ** 2).sum())
    assert size(dreamt) > 1.2 * size(x[0])
    np.testing.assert_allclose(explain.deepdream(network, x[0], "3", steps=0, octaves=3), x[0], atol=1e-12)


def test_zoom_keeps_the_corners():
    x = np.arange(12.0).reshape(1, 1, 3, 4)
    large = zoom(x, (5, 7))
    np.testing.assert_allclose(large[0, 0, ::4, ::6], x[0, 0, ::2, ::3])
    np.testing.assert_allclose(large[0, 0, ::2, ::2], x[0, 0])


@pytest.mark.parametrize("change, message", [
    (dict(layer="conv9"), "has no layer 'conv9'; did you mean"), (dict(channel=6), "channels 0 to 5; got channel 6"),
    (dict(octaves=0), "octaves is 0"), (dict(scale=1.0), "scale is 1.0"), (dict(scale=float("nan")), "scale is nan"),
    (dict(step=float("nan")), "step is nan"), (dict(jitter=-1), "jitter is -1"), (dict(steps=-1), "steps is -1"),
    (dict(octaves=30), "leave nothing of 12 x 10 pixels; ask for fewer"),
])
def test_bad_arguments(network, x, change, message):
    with pytest.raises(ValueError, match=message):
        explain.deepdream(network, x[0], **{"layer": "3", "octaves": 1, "steps": 1, **change})


def test_features(network, x):
    maps = explain.feature_maps(network, x[0], ["0", "4", "6"])
    assert {name: y.shape for name, y in maps.items()} == {"0": (4, 12, 10), "4": (6, 4, 3), "6": (5,)}
    np.testing.assert_array_equal(maps["4"], explain.feature_maps(network, x[0], "4")["4"])
    np.testing.assert_array_equal(maps["4"], np.maximum(explain.feature_maps(network, x[0], ["3"])["3"], 0))
    assert explain.first_filters(network).shape == (4, 3, 3, 3)


def test_exciting_patches(network, x):
    patches = explain.exciting_patches(network, x, "0", 1, count=3, batch_size=3)
    strengths = np.stack([explain.feature_maps(network, image, ["0"])["0"][1].max() for image in x])
    assert [p.image for p in patches] == list(np.argsort(-strengths)[:3])
    for patch in patches:
        y = explain.feature_maps(network, x[patch.image], ["0"])["0"][1]
        row, column = np.unravel_index(y.argmax(), y.shape)
        assert patch.rows == (max(row - 1, 0), min(row + 2, 12)) and patch.columns == (max(column - 1, 0), min(column + 2, 10))
        assert patch.strength == pytest.approx(y.max())
    with pytest.raises(ValueError, match="a channel 4 among them"):
        explain.exciting_patches(network, x, "0", 4)


def test_several_patches_of_one_image(network, x):
    """None has its centre in the field of a stronger one, and all of them are where the channel answers as it says."""
    found = explain.exciting_patches(network, x[:2], "0", 1, count=9, per_image=4)
    assert sorted(p.image for p in found) == [0] * 4 + [1] * 4
    assert [p.strength for p in found] == sorted((p.strength for p in found), reverse=True)
    for number in (0, 1):
        y = explain.feature_maps(network, x[number], ["0"])["0"][1]
        seen = np.zeros(y.shape, bool)
        for patch in (p for p in found if p.image == number):
            assert patch.strength == pytest.approx(y[~seen].max())
            seen[slice(*patch.rows), slice(*patch.columns)] = True


def test_patches_of_several_channels(network, x):
    found = explain.exciting_patches_of(network, x, "0", [3, 0], count=2)
    assert found == {channel: explain.exciting_patches(network, x, "0", channel, count=2) for channel in (3, 0)}
    chosen = explain.exciting_patches_of(network, x, "0", count=1, batch_size=3, most=2)
    y = np.stack([explain.feature_maps(network, image, ["0"])["0"] for image in x])
    choosy = y.max(axis=(0, 2, 3)) / y.std(axis=(0, 2, 3))
    assert list(chosen) == sorted(np.argsort(-choosy)[:2])


def test_a_silent_channel_has_no_patches(network, x):
    network.load_state_dict({**network.state_dict(), "0.bias": np.full(4, -100.0)})
    assert explain.exciting_patches(network, x, "1", 2) == []


def test_patches_want_pixels(network, x):
    with pytest.raises(ValueError, match=r"layer '6' answers \(5,\); expected pixels"):
        explain.exciting_patches_of(network, x, "6")
    with pytest.raises(ValueError, match="per_image is 0"):
        explain.exciting_patches(network, x, "0", 1, per_image=0)
