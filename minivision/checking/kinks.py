"""Kinks: places where a function has no derivative, and how to tell them from strong bends.

At x = 0, ReLU has slope 0 on one side and 1 on the other, and a central difference across it measures 1/2: a false
alarm for a correct backward. So do ties of max, and |x| at 0; this has made gradient tests flaky for years.
Chainer's ``gradient_check`` compares one-sided slopes and gives up; here the place is found, reported, and left.

The test is a magnifying glass. A smooth function looks straighter the closer one looks, its bending spread evenly over
the picture; a kink (or a jump) stays a single sharp point at every magnification.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

CELLS = 16                # grid cells in one picture
ZOOMS = 4                 # each magnifies about five times
SHARP = 10.0              # the sharpest point bends this many times more than the typical one
ROUNDS = 10               # how often inputs are redrawn before the checker gives up


@dataclass
class Kink:
    """One input number that sat within a step of a kink. ``moved_to`` is where it was checked instead."""

    input: int
    index: tuple[int, ...]
    value: float
    moved_to: float

    def __str__(self) -> str:
        return f"input {self.input} {list(self.index)} = {self.value:.6g}, redrawn to {self.moved_to:.6g}"


def has_kink(line: Callable[[float], float], reach: float) -> bool:
    """Whether ``line(t)`` has a kink or a jump for t within ``reach`` of 0.

    Zooms in on the sharpest bend. Rounding noise, like a smooth bend, is spread over the whole picture, so neither
    passes for a kink.
    """
    low, high = -reach, reach
    for _ in range(ZOOMS):
        places = np.linspace(low, high, CELLS + 1)
        values = np.array([line(float(t)) for t in places])
        if not np.isfinite(values).all():
            return False                              # the edge of the domain, not a kink
        bends = np.abs(values[:-2] - 2 * values[1:-1] + values[2:])
        sharpest = int(np.argmax(bends))
        if bends[sharpest] <= SHARP * np.median(bends):
            return False
        cell = (high - low) / CELLS
        low, high = float(places[sharpest + 1] - 1.5 * cell), float(places[sharpest + 1] + 1.5 * cell)
    return True


def move_away(value: float, eps: float, round_: int, random: np.random.Generator) -> float:
    """A new value near ``value``: a few steps away at first, further with every round."""
    distance = eps * max(1.0, abs(value)) * random.uniform(10, 40) * 2.0 ** round_
    return value + float(random.choice([-1.0, 1.0])) * distance
