"""A few freely licensed photographs that come with the package; ``samples/ATTRIBUTION.txt`` says whose they are."""

from __future__ import annotations

import difflib
from pathlib import Path

import numpy as np

from .files import imread

FOLDER = Path(__file__).parent / "samples"
SAMPLES = {
    "astronaut": "Eileen Collins, astronaut, 512 x 512 (NASA, public domain)",
    "camera": "a man with a camera, grey, 512 x 512 (Lav Varshney, CC0)",
    "chelsea": "Chelsea the cat, 451 x 300 (Stefan van der Walt, CC0)",
    "coffee": "a cup of coffee, 600 x 400 (Rachel Michetti, CC0)",
    "rocket": "launch of a Falcon 9, 640 x 427 (SpaceX, public domain)",
}


def sample(name: str) -> np.ndarray:
    """A photograph that comes with the package, by its name in ``SAMPLES``: H x W x 3 uint8, for "camera" H x W.

    Raises:
        ValueError: there is none of that name; the message lists those there are.
    """
    if name not in SAMPLES:
        near = difflib.get_close_matches(str(name), SAMPLES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"there is no sample picture {name!r}; {hint}There are {', '.join(SAMPLES)}")
    return imread(FOLDER / f"{name}.jpg")
