"""The one source of randomness: initial weights, dropout masks, shuffling. Seed it and a run repeats bit for bit."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

_generator: np.random.Generator | None = None        # made when first needed: importing numpy.random takes a while


def generator() -> np.random.Generator:
    """The generator that everything random in minivision draws from; seeded by chance until `manual_seed` is called."""
    global _generator
    if _generator is None:
        _generator = np.random.Generator(np.random.PCG64())
    return _generator


def manual_seed(seed: int) -> None:
    """Start the random numbers afresh from ``seed``, a whole number >= 0."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"manual_seed needs a whole number >= 0, got {seed!r}")
    generator().bit_generator.state = np.random.PCG64(int(seed)).state


def get_state() -> str:
    """The generator's state as JSON text, for a checkpoint."""
    return json.dumps(generator().bit_generator.state)


def set_state(state: str) -> None:
    """Continue from a state that `get_state` gave."""
    try:
        value: Any = json.loads(state)
        generator().bit_generator.state = value
    except (ValueError, TypeError, KeyError) as problem:
        raise ValueError(f"not a random state as get_state() gives it: {problem}") from problem
