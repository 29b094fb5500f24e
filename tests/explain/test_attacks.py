"""Attacks keep their promises, whatever they are asked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivision import explain, nn


@pytest.fixture(scope="module")
def linear():
    """Scores that are linear in the pixels, where the best attack is known."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    weights = np.random.default_rng(1).standard_normal((3, 12)).astype(np.float32)
    model.load_state_dict({"1.weight": weights, "1.bias": np.zeros(3, np.float32)})
    return model.eval()


@given(eps=st.one_of(st.floats(0, 0.5), st.sampled_from([1 / 255, 8 / 255, 1e-9, 3.0, 1e308])),
       norm=st.sampled_from(["linf", "l2"]), targeted=st.booleans(), start=st.booleans(), seed=st.integers(0, 99))
def test_promises(linear, eps, norm, targeted, start, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.random((3, 1, 3, 4), np.float32), rng.integers(0, 3, 3)
    attack = explain.pgd(linear, x, y, eps, eps / 2, 3, start, targeted, norm, seed=seed)
    sizes = np.abs(attack.perturbation) if norm == "linf" else np.sqrt((attack.perturbation.astype(float) ** 2).sum((1, 2, 3)))
    assert float(sizes.max()) <= eps + float(np.spacing(np.float32(min(eps, 9))))     # the last bit of eps, not of a pixel
    assert attack.images.min() >= 0 and attack.images.max() <= 1 and attack.images.dtype == np.float32
    np.testing.assert_array_equal(attack.perturbation, attack.images - x)
    answers = explain.probabilities(linear, attack.images).argmax(1)
    np.testing.assert_array_equal(attack.success, answers == y if targeted else answers != y)


def test_fgsm_is_the_formula(linear):
    rng = np.random.default_rng(0)
    x, y = rng.random((4, 1, 3, 4), np.float32), np.array([0, 1, 2, 0])
    weights = linear.state_dict()["1.weight"].numpy()
    p = explain.probabilities(linear, x)
    gradient = ((p - np.eye(3)[y]) @ weights).reshape(x.shape)
    np.testing.assert_allclose(explain.fgsm(linear, x, y, 0.1).images, np.clip(x + 0.1 * np.sign(gradient), 0, 1), atol=1e-6)
    np.testing.assert_allclose(explain.fgsm(linear, x, y, 0.1, targeted=True).images,
                               np.clip(x - 0.1 * np.sign(gradient), 0, 1), atol=1e-6)


def test_a_zero_gradient_moves_nothing():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
    model.load_state_dict({"1.weight": np.zeros((2, 4), np.float32), "1.bias": np.zeros(2, np.float32)})
    x = np.full((1, 1, 2, 2), 0.5, np.float32)
    np.testing.assert_array_equal(explain.fgsm(model, x, 0, 0.2).images, x)


def test_more_steps_do_more(network, x, y):
    y = explain.probabilities(network, x).argmax(1)
    losses = [-np.log(explain.probabilities(network, explain.pgd(network, x, y, 0.1, 0.1 / 4, steps, False).images)[
        np.arange(4), y]).sum() for steps in (1, 4, 12)]
    assert losses[0] < losses[1] < losses[2]


def test_targets_are_reached(network, x):
    target = (explain.probabilities(network, x).argmax(1) + 1) % 5
    assert explain.pgd(network, x, target, 0.5, 0.1, 30, targeted=True).success.all()


def test_one_change_for_all_images(linear):
    x = np.random.default_rng(3).random((60, 1, 3, 4), np.float32)
    y = explain.probabilities(linear, x).argmax(1)
    change = explain.universal(linear, x, y, 0.3, 5, batch_size=20)
    assert change.shape == x.shape[1:] and np.abs(change).max() <= 0.3
    turned = (explain.probabilities(linear, np.clip(x + change, 0, 1)).argmax(1) != y).mean()
    chance = (explain.probabilities(linear, np.clip(x + 0.3 * np.sign(np.random.default_rng(0).standard_normal(
        change.shape)).astype(np.float32), 0, 1)).argmax(1) != y).mean()
    assert turned > 0.3 and turned > chance


def test_robustness_falls_with_eps(linear):
    x = np.random.default_rng(4).random((40, 1, 3, 4), np.float32)
    y = explain.probabilities(linear, x).argmax(1)
    curve = explain.robustness(linear, x, y, [0, 0.02, 0.1, 0.5], batch_size=16)
    assert curve[0] == 1 and curve[-1] < 0.4 and (np.diff(curve) <= 0).all()


def test_fooling_images(network, x):
    least, *_, second, _ = explain.probabilities(network, x[:1])[0].argsort()
    attack = explain.fooling_image(network, x[0], second, step=0.2, confidence=0.21)
    assert attack.success.all() and explain.probabilities(network, attack.images)[0, second] >= 0.21
    assert not explain.fooling_image(network, x[0], least, 1e-6, 2).success.any()
    shown = explain.class_image(network, 3, (3, 12, 10), steps=30, jitter=2)
    assert shown.shape == (3, 12, 10) and 0 <= shown.min() <= shown.max() <= 1
    noise = np.random.default_rng(0).random((20, 3, 12, 10))
    assert explain.probabilities(network, shown[None])[0, 3] > explain.probabilities(network, noise)[:, 3].max()


@pytest.mark.parametrize("change, kind, message", [
    (dict(eps=-0.1), ValueError, "eps is -0.1; expected a number >= 0"), (dict(eps=float("nan")), ValueError, "eps is nan"),
    (dict(eps=float("inf")), ValueError, "eps is inf"), (dict(alpha=float("nan")), ValueError, "alpha is nan"),
    (dict(y=[0, 1]), ValueError, r"y has shape \(2,\); expected \(4,\)"),
    (dict(y=[0.5] * 4), TypeError, "y is float64; expected whole numbers"),
    (dict(y=[0, 1, 2, 7]), ValueError, "y has class 7; the model has 5 classes"),
    (dict(norm="l1"), ValueError, "norm is 'l1'"), (dict(steps=0), ValueError, "steps is 0"),
    (dict(alpha=-1), ValueError, "alpha is -1"), (dict(x=np.full((4, 3, 12, 10), -0.1)), ValueError, "from -0.1 to -0.1"),
])
def test_bad_arguments(network, x, y, change, kind, message):
    with pytest.raises(kind, match=message):
        explain.pgd(network, **{"x": x, "y": y, "eps": 0.1, **change})


@pytest.mark.parametrize("call", [
    lambda m, x, y: explain.pgd(m, x, y, 0.1, steps=1), lambda m, x, y: explain.fgsm(m, x, y, 0.1),
    lambda m, x, y: explain.universal(m, x, y, 0.1), lambda m, x, y: explain.robustness(m, x, y, [0, 0.1]),
    lambda m, x, y: explain.fooling_image(m, x[0], 1), lambda m, x, y: explain.occlusion(m, x[0], 1, 3, 1),
    lambda m, x, y: explain.saliency(m, x[0], 1), lambda m, x, y: explain.deepdream(m, x[0], "0", steps=1, octaves=1),
])
def test_weights_that_are_not_finite_are_told(network, x, y, call):
    weights = network.state_dict()
    network.load_state_dict({**weights, "0.bias": np.full(4, np.nan)})
    with pytest.raises(ValueError, match="not finite"):
        call(network, x, y)


@pytest.mark.parametrize("call, message", [
    (lambda m, x, y: explain.universal(m, x, y, 0.1, steps=0), "steps is 0; expected a whole number, at least 1"),
    (lambda m, x, y: explain.universal(m, x, y, 0.1, batch_size=0), "batch_size is 0"),
    (lambda m, x, y: explain.robustness(m, x, y, [0.1, -1]), "eps is -1"),
    (lambda m, x, y: explain.fooling_image(m, x[0], 1, confidence=2), "confidence is 2; expected a number from 0 to 1"),
    (lambda m, x, y: explain.fooling_image(m, x[0], 1, step=float("nan")), "step is nan"),
    (lambda m, x, y: explain.fooling_image(m, x[0], 1, most_steps=-1), "most_steps is -1"),
    (lambda m, x, y: explain.class_image(m, 1, (12, 10)), r"shape is \(12, 10\); expected \(C, H, W\)"),
    (lambda m, x, y: explain.class_image(m, 1, (3, 12, 10), jitter=-2), "jitter is -2"),
    (lambda m, x, y: explain.probabilities(m, x, 0), "batch_size is 0"),
])
def test_numbers_that_make_no_sense(network, x, y, call, message):
    with pytest.raises(ValueError, match=message):
        call(network, x, y)
