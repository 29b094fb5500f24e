"""Adversarial training: a network that practises on attacked images learns to withstand them."""

from __future__ import annotations

from typing import Any

from ..data import DataLoader
from ..nn import Module
from ..optim import Optimizer
from ..tensor import Tensor
from ..training import Trainer, evaluating
from .attacks import pgd
from .inside import check_counts, check_numbers


class AdversarialTrainer(Trainer):
    """A `Trainer` that attacks the images of each step before it learns from them (Madry et al. 2018, equation 2.1).

        the weights with the least  mean over images of  max over |change| <= eps of  loss(image + change)

    Of 360 held-out digits of 8 x 8 pixels, attacked by 20 steps of `pgd` with eps 0.16, the network of example 15 that was
    trained against eps 0.18 gets 83.6 % right, and the one trained plainly 19.2 %; with eps 0.13 it is 88.9 and 39.2 %, and as
    they are both get 99 %.

    The inner maximum is looked for by `pgd` (linf) against the network as it is at that moment, from a random start. A step
    costs ``steps`` + 2 times as much as one of plain training. Like its parent it can be stopped and resumed at any step.

    Args:
        model: maps images (N, C, H, W) with values in [0, 1] to scores (N, classes).
        eps: the largest change of a pixel, 0 or more; what comes of it withstands changes up to about that size.
        steps: of the attack.
        loader, optimizer, others: as `Trainer` takes them.
    """

    def __init__(self, model: Module, loader: DataLoader, optimizer: Optimizer, eps: float, steps: int = 3, **others: Any):
        check_numbers(eps=eps)
        check_counts(steps=steps)
        super().__init__(model, loader, optimizer, **others)
        self.eps, self.steps = eps, steps

    def _step(self, images: Any, labels: Any) -> None:
        with evaluating(self.model):
            attack = pgd(self.model, images, labels, self.eps, steps=self.steps, seed=len(self.losses))
        super()._step(Tensor(attack.images), labels)
