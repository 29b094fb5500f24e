"""What gradient maps promise, beyond the numbers of others."""

import numpy as np
import pytest

from minivision import explain
from minivision.explain.inside import scores


def test_integrated_gradients_add_up_to_the_difference_of_scores(network, x):
    found = explain.integrated_gradients(network, x[0], 2, 0.1, steps=300)
    whole, start = scores(network, x[:1])[0, 2], scores(network, np.full_like(x[:1], 0.1))[0, 2]
    assert found.sum() == pytest.approx(whole - start, rel=1e-2)       # kinks on the way cost accuracy


def test_smooth_grad(network, x):
    gradient = explain.smooth_grad(network, x[0], 2, samples=3, noise=0.0)
    np.testing.assert_allclose(np.abs(gradient), explain.saliency(network, x[0], 2), atol=1e-12)
    first, again, other = (explain.smooth_grad(network, x[0], 2, 7, seed=seed, batch_size=size)
                           for seed, size in ((1, 25), (1, 25), (2, 25)))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("call, message", [
    (lambda m, x: explain.smooth_grad(m, x, 1, samples=0), "samples is 0"),
    (lambda m, x: explain.smooth_grad(m, x, 1, noise=-1), "noise is -1"),
    (lambda m, x: explain.integrated_gradients(m, x, 1, steps=0), "steps is 0"),
    (lambda m, x: explain.grad_cam(m, x, 1, "7"), "has no layer '7'; did you mean"),
    (lambda m, x: explain.grad_cam(m, x, 1, "6"), r"layer '6' has no pixels \(its activation is \(1, 5\)\)"),
    (lambda m, x: explain.saliency(m, x, 9), "the model has 5 classes"),
])
def test_bad_arguments(network, x, call, message):
    with pytest.raises(ValueError, match=message):
        call(network, x[0])


def test_baselines(network, x):
    whole = np.full_like(x[0], 0.5)
    for look in (explain.integrated_gradients, lambda m, x, t, baseline: explain.occlusion(m, x, t, 3, 1, baseline)):
        wanted = look(network, x[0], 1, baseline=0.5)
        np.testing.assert_array_equal(look(network, x[0], 1, baseline=whole), wanted)
        np.testing.assert_array_equal(look(network, x[:1], 1, baseline=whole[None]), wanted)
        with pytest.raises(ValueError, match=r"baseline has shape \(3,\); expected a number or an image of \(3, 12, 10\)"):
            look(network, x[0], 1, baseline=np.zeros(3))
        with pytest.raises(ValueError, match="not finite"):
            look(network, x[0], 1, baseline=np.nan)


def test_maps():
    attribution = np.array([[[1.0, -2.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, -4.0]]])
    np.testing.assert_allclose(explain.to_map(attribution)[0], np.array([1, 2]) / np.quantile([1, 2, 0, 8], 0.99), rtol=1e-6)
    assert explain.to_map(attribution, signed=True)[1, 1] == 0
    np.testing.assert_array_equal(explain.to_map(np.zeros((3, 4))), np.zeros((3, 4)))
    np.testing.assert_array_equal(explain.evidence(attribution), [[1, 0], [0, 0]])
    enlarged = explain.to_map(np.eye(3, dtype=np.float32), (9, 6))
    assert enlarged.shape == (9, 6) and enlarged.max() == 1 and enlarged.min() >= 0


def test_a_map_that_knows_loses_and_regains_the_class_sooner(network, x):
    label = int(explain.probabilities(network, x[:1]).argmax())
    heat = explain.to_map(explain.occlusion(network, x[0], label, 3, 1, 0.5))
    curves = [curve(network, x[0], label, order, steps=30, batch_size=7)
              for curve in (explain.deletion, explain.insertion) for order in (heat, -heat)]
    for curve in curves:
        assert curve.shares[0] == 0 and curve.shares[-1] == 1 and len(curve.probabilities) == 31
    whole, grey = explain.probabilities(network, np.stack([x[0], np.full_like(x[0], 0.5)]))[:, label]
    assert curves[0].probabilities[0] == pytest.approx(whole) and curves[0].probabilities[-1] == pytest.approx(grey)
    assert curves[2].probabilities[0] == pytest.approx(grey) and curves[2].probabilities[-1] == pytest.approx(whole)
    with pytest.raises(ValueError, match=r"heat has shape \(3, 12, 10\); expected \(12, 10\)"):
        explain.deletion(network, x[0], label, x[0])
