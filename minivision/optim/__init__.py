"""Optimisers, which turn gradients into steps, and schedules, which change the step size over time."""

from . import lr_scheduler
from .optimizers import SGD, Adam, Optimizer

__all__ = ["SGD", "Adam", "Optimizer", "lr_scheduler"]
