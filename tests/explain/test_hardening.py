"""Adversarial training is training on what an attack makes of the images."""

import numpy as np
import pytest

import minivision as mv
from minivision import explain, nn, training


def trained(kind, **more):
    """The weights and losses after two epochs on forty small images, with dropout in between."""
    mv.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))
    rng = np.random.default_rng(0)
    images = mv.data.ArrayDataset(rng.random((40, 1, 3, 4), np.float32), rng.integers(0, 3, 40), ("a", "b", "c"), "noise")
    loader = mv.data.DataLoader(images, 8, shuffle=True, seed=0)
    trainer = kind(model, loader, mv.optim.SGD(model.parameters(), 0.1), **more)
    trainer.run(2)
    return trainer


def test_without_an_attack_it_is_plain_training():
    plain, hardened = trained(training.Trainer), trained(explain.AdversarialTrainer, eps=0.0)
    assert plain.losses == hardened.losses
    for name, value in plain.model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), hardened.model.state_dict()[name].numpy())


def test_what_it_learns_from_is_harder():
    plain, hardened = trained(training.Trainer), trained(explain.AdversarialTrainer, eps=0.3)
    assert hardened.losses[0] > plain.losses[0]                # the same weights and the same dropout in the first step
    assert hardened.model.training                          # as its parent leaves it


def test_bad_eps():
    with pytest.raises(ValueError, match="eps is -1; expected a number >= 0"):
        trained(explain.AdversarialTrainer, eps=-1)
