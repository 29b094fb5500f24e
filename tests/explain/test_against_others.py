"""The same numbers as captum's and torchattacks', recorded by tests/golden/record_explain.py."""

import numpy as np
import pytest

from minivision import explain

TARGET = 2


def test_occlusion(network, golden, x):
    ours = explain.occlusion(network, x[0], TARGET, (5, 4), (3, 3), 0.25, batch_size=5)
    np.testing.assert_allclose(ours, golden["occlusion"][0], atol=1e-12)


@pytest.mark.parametrize("name", ["saliency", "gradient_times_input"])
def test_gradients(network, golden, x, name):
    np.testing.assert_allclose(getattr(explain, name)(network, x[0], TARGET), golden[name][0], atol=1e-12)


def test_integrated_gradients(network, golden, x):
    ours = explain.integrated_gradients(network, x[0], TARGET, 0.1, steps=20, batch_size=7)
    np.testing.assert_allclose(ours, golden["integrated_gradients"][0], atol=1e-9)         # captum takes its steps in float32


def test_grad_cam(network, golden, x):
    np.testing.assert_allclose(explain.grad_cam(network, x[0], TARGET, "3"), golden["grad_cam"][0, 0], atol=1e-12)


def test_fgsm(network, golden, x, y):
    np.testing.assert_allclose(explain.fgsm(network, x, y, 0.03).images, golden["fgsm"], atol=1e-12)


def test_pgd(network, golden, x, y):
    ours = explain.pgd(network, x, y, 0.05, 0.02, 7, random_start=False)
    np.testing.assert_allclose(ours.images, golden["pgd"], atol=1e-12)
    ours = explain.pgd(network, x, y, 0.4, 0.15, 7, random_start=False, norm="l2")
    np.testing.assert_allclose(ours.images, golden["pgd_l2"], atol=1e-8)       # they add 1e-10 to the norm they divide by
