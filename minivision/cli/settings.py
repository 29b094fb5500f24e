"""The settings of a training run: what the user chose, what suits the data, and what a checkpoint remembers."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ..data import DataLoader
    from ..models import Model
    from ..optim import Optimizer
    from ..optim.lr_scheduler import LRScheduler

MODEL_NAMES = ("smallcnn", "lenet5", "mlp", "linear")
OPTIMIZERS = ("sgd", "adam")
SCHEDULES = ("cosine", "step", "none")


class Recipe(NamedTuple):
    """What works well for a data set and `SmallCNN`, found by trying; the learning rate is for SGD with momentum."""

    epochs: int
    batch_size: int
    lr: float
    weight_decay: float


RECIPES = {
    "digits": Recipe(15, 32, 0.05, 1e-4),
    "mnist": Recipe(5, 64, 0.05, 1e-4),
    "fashion-mnist": Recipe(10, 64, 0.05, 1e-4),
    "cifar10": Recipe(20, 64, 0.03, 5e-4),
}
FOLDER_RECIPE = Recipe(20, 32, 0.02, 1e-4)
ADAM_LR = 1e-3                      # whatever the data: Adam's steps do not depend on the gradient's size


@dataclass(frozen=True)
class Settings:
    """Everything that decides what a run computes. Two runs with equal settings give the same weights, bit for bit."""

    data: str
    model: str
    epochs: int
    batch_size: int
    lr: float
    momentum: float
    weight_decay: float
    optimizer: str
    schedule: str
    seed: int
    limit: int | None
    image_size: int | None          # pictures of a folder are scaled to it

    @classmethod
    def chosen(cls, arguments: argparse.Namespace) -> Settings:
        """The command line's choices, the rest from the data set's recipe."""
        values = {field.name: getattr(arguments, field.name) for field in fields(cls)}
        values["data"] = values["data"] or "digits"
        recipe = RECIPES.get(values["data"], FOLDER_RECIPE)
        adam = values["optimizer"] == "adam"
        general = {"model": "smallcnn", "momentum": 0.9, "optimizer": "sgd", "schedule": "cosine", "seed": 0}
        for name, value in {**general, **recipe._asdict(), **({"lr": ADAM_LR} if adam else {})}.items():
            if values[name] is None:
                values[name] = value
        return cls(**values)

    @classmethod
    def remembered(cls, stored: dict[str, Any]) -> Settings:
        """The settings in a checkpoint.

        Raises:
            ValueError: the checkpoint was written by something else.
        """
        if set(stored) != {field.name for field in fields(cls)}:
            raise ValueError("the checkpoint's training settings are of another version of minivision; train anew")
        return cls(**stored)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def optimizer_for(self, model: Model) -> Optimizer:
        from ..optim import SGD, Adam

        if self.optimizer == "adam":
            return Adam(model.parameters(), self.lr, weight_decay=self.weight_decay)
        return SGD(model.parameters(), self.lr, momentum=self.momentum, weight_decay=self.weight_decay,
                   nesterov=self.momentum > 0)

    def schedule_for(self, optimizer: Optimizer) -> LRScheduler | None:
        from ..optim.lr_scheduler import CosineAnnealingLR, StepLR

        if self.schedule == "cosine":
            return CosineAnnealingLR(optimizer, self.epochs)
        return StepLR(optimizer, max(1, self.epochs // 3)) if self.schedule == "step" else None

    def loader_for(self, images: Any) -> DataLoader:
        from ..data import DataLoader

        return DataLoader(images, self.batch_size, shuffle=True, seed=self.seed)
