"""Small pictures of arrays made of characters, for the notes of an exercise that is right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SHADES = " .:-=+*#%@"


def shades(picture: np.ndarray, low: float | None = None, high: float | None = None) -> list[str]:
    """An array (H, W) as H lines of 2 W characters: the lowest value is blank, the highest is @."""
    low = float(picture.min(initial=0)) if low is None else low
    high = float(picture.max(initial=0)) if high is None else high
    share = (np.clip(picture, low, high) - low) / ((high - low) or 1.0)
    rows = np.rint(share * (len(SHADES) - 1)).astype(int)
    return ["".join(SHADES[k] * 2 for k in row) for row in rows]


def beside(*pictures: Sequence[str], gap: str = "   ") -> list[str]:
    """Several pictures of any heights next to each other."""
    height, widths = max(map(len, pictures)), [max(map(len, lines)) for lines in pictures]
    padded = [[*lines, *[""] * (height - len(lines))] for lines in pictures]
    return [gap.join(line.ljust(width) for line, width in zip(row, widths)).rstrip() for row in zip(*padded)]
