"""The training loop, and how it stops and goes on again without anyone noticing.

One step is four lines (scores, loss, backward, step); the rest of this file is bookkeeping. Everything that the next
step depends on is in `Trainer.state_dict`: weights, the optimiser's memory, the schedule, the random numbers, and the
place within the epoch. A run that is stopped anywhere and resumed from that state computes the same bits as one that
was never stopped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from . import functional as F
from . import random
from .autograd import no_grad
from .checkpoint import CheckpointError, load, save
from .data import DataLoader
from .nn import ModelMismatchError, Module
from .optim import Optimizer
from .optim.lr_scheduler import LRScheduler
from .tensor import Tensor


class Score(NamedTuple):
    """How well a model does on a data set: mean cross-entropy, and the share of right answers in 0 .. 1."""

    loss: float
    accuracy: float


class Progress(NamedTuple):
    """Where a run is after a step: epoch and step from 0, and this epoch's mean loss and accuracy so far."""

    epoch: int
    step: int
    images: int
    loss: float
    accuracy: float


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """The model in evaluation mode for a block; afterwards each of its modules has the mode it had before."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


def device_of_model(model: Module) -> str:
    """Where the model's parameters are, and its images must go."""
    return next((p.device for p in model.parameters()), "cpu")


def hits(scores: Tensor, labels: Tensor) -> int:
    """For how many rows the largest of ``scores`` (N, classes) is that of the label."""
    return int((scores.argmax(1).numpy() == labels.numpy()).sum())


def evaluate(model: Module, loader: DataLoader, on_batch: Callable[[int], None] | None = None) -> Score:
    """The model's score over the loader, in evaluation mode and without recording; its mode is restored afterwards.

    Args:
        model: maps images (N, C, H, W) to scores (N, classes).
        loader: yields images and whole-number labels.
        on_batch: called with the number of images after each batch, for a progress bar.
    """
    loss, right, seen = 0.0, 0, 0
    with evaluating(model), no_grad():
        for images, labels in loader:
            scores = model(images.to(device_of_model(model)))
            loss += F.cross_entropy(scores, labels, reduction="sum").item()
            right += hits(scores, labels)
            seen += len(images)
            if on_batch is not None:
                on_batch(len(images))
    if not seen:
        raise ValueError("evaluate: the loader gave no batch; use a smaller batch_size, or drop_last=False")
    return Score(loss / seen, right / seen)


class Trainer:
    """Trains a classifier, and can be stopped and resumed at any step.

    Args:
        model: maps images (N, C, H, W) to scores (N, classes); where its parameters are, the images go.
        loader: the training images and labels.
        optimizer: over the model's parameters.
        schedule: stepped at the end of each epoch, or None.
        about: what else a reader of the checkpoint needs (the model's name, the data set, ...), numbers and texts.

    Attributes:
        history: for each finished epoch a dict of numbers, ``epoch``, ``loss``, ``accuracy``, ``lr``, and whatever
            ``on_epoch`` adds.
        losses: the loss of every step so far.
        stopped: set it to True, from a signal handler for instance, to end `run` after the current step.
    """

    def __init__(self, model: Module, loader: DataLoader, optimizer: Optimizer, schedule: LRScheduler | None = None,
                 about: Mapping[str, Any] | None = None):
        self.model, self.loader, self.optimizer, self.schedule = model, loader, optimizer, schedule
        self.about = dict(about or {})
        self.epoch, self.step = 0, 0                      # the next one to do
        self.loss_sum, self.right, self.seen = 0.0, 0, 0  # of the epoch under way
        self.history: list[dict[str, float]] = []
        self.losses: list[float] = []
        self.stopped = False

    def run(self, epochs: int, on_step: Callable[[Progress], None] | None = None,
            on_epoch: Callable[[dict[str, float]], None] | None = None) -> None:
        """Train until ``epochs`` epochs are done in all, or until `stopped` is set."""
        self.stopped = False
        if not len(self.loader):
            raise ValueError("Trainer: the loader gives no batch; use a smaller batch_size, or drop_last=False")
        while self.epoch < epochs and not self.stopped:
            self.model.train()
            self.loader.epoch = self.epoch
            for step, (images, labels) in enumerate(self.loader):
                if step < self.step:
                    continue                              # done before the run was interrupted
                self._step(images, labels)
                if on_step is not None:
                    on_step(Progress(self.epoch, step, len(images), self.loss_sum / self.seen, self.right / self.seen))
                if self.stopped and self.step < len(self.loader):
                    return
            self._finish_epoch(on_epoch)

    def _step(self, images: Any, labels: Any) -> None:
        scores = self.model(images.to(device_of_model(self.model)))
        loss = F.cross_entropy(scores, labels)            # labels stay on the CPU, where looking at them is free
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

        value = loss.item()                               # on a GPU: the first wait, when all of the step is under way
        self.losses.append(value)
        self.loss_sum += value * len(images)
        self.right += hits(scores, labels)
        self.seen += len(images)
        self.step += 1

    def _finish_epoch(self, on_epoch: Callable[[dict[str, float]], None] | None) -> None:
        summary = {"epoch": self.epoch, "loss": self.loss_sum / self.seen, "accuracy": self.right / self.seen,
                   "lr": self.optimizer.lr}
        if self.schedule is not None:
            self.schedule.step()
        self.epoch, self.step = self.epoch + 1, 0
        self.loss_sum, self.right, self.seen = 0.0, 0, 0
        self.history.append(summary)
        if on_epoch is not None:
            on_epoch(summary)

    # ------------------------------------------------------------------------------------------ stop and go on

    def state_dict(self) -> dict[str, Any]:
        return {
            "about": self.about,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "loader": self.loader.state_dict(),
            "random": random.get_state(),
            "epoch": self.epoch, "step": self.step,
            "loss_sum": self.loss_sum, "right": self.right, "seen": self.seen,
            "history": self.history, "losses": self.losses,
        }

    def save(self, path: str | os.PathLike) -> None:
        """Write the whole state to a checkpoint."""
        save(self.state_dict(), path)

    def resume(self, path: str | os.PathLike) -> None:
        """Continue from a checkpoint that `save` wrote, for the same model, optimiser and data.

        Raises:
            CheckpointError: the file is damaged, or no training checkpoint.
            ModelMismatchError, ValueError: it is of another model, optimiser or schedule.
        """
        state = load(path)
        lacking = [key for key in self.state_dict() if key not in state]
        if lacking:
            raise CheckpointError(f"{path} is no training checkpoint: it lacks {', '.join(lacking)}. Weights alone can be "
                                  "loaded with load_weights, but not resumed from")
        if (state["schedule"] is None) != (self.schedule is None):
            raise CheckpointError(f"{path} was written {'without' if state['schedule'] is None else 'with'} a learning-rate "
                                  "schedule; resume with the same settings")
        before = self.state_dict()
        try:
            self._take(state)
        except Exception as problem:
            self._take(before)                            # all of the checkpoint, or nothing
            if isinstance(problem, ModelMismatchError):
                raise
            raise CheckpointError(f"{path} is damaged, or of another kind of run: {problem}") from problem

    def _take(self, state: Mapping[str, Any]) -> None:
        for name in ("epoch", "step", "right", "seen"):
            if isinstance(state[name], bool) or not isinstance(state[name], int) or state[name] < 0:
                raise ValueError(f"{name} is {state[name]!r}, expected a whole number >= 0")
        if state["step"] >= len(self.loader) or (state["step"] > 0) != (state["seen"] > 0):
            raise ValueError(f"step {state['step']} after {state['seen']} images does not fit an epoch of {len(self.loader)} "
                             "steps")
        numbers = [state["loss_sum"], *state["losses"]]
        if not all(isinstance(x, float) for x in numbers) or not all(isinstance(x, dict) for x in state["history"]):
            raise ValueError("the losses or the history are not numbers")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
            self.optimizer.lr = float(state["optimizer"]["lr"])
        self.loader.load_state_dict(state["loader"])
        random.set_state(state["random"])
        for name in ("epoch", "step", "loss_sum", "right", "seen"):
            setattr(self, name, state[name])
        self.history, self.losses = list(state["history"]), list(state["losses"])
