"""Many small parameters in one call of a kernel.

From Python a compiled kernel takes a microsecond to start, and what prepares its arguments several more; to change the 84
numbers of a bias takes a hundredth of that. So small parameters are handed over ``TOGETHER`` at a time, as tuples of arrays.
A kernel has one signature, hence the tuples one length: what is missing from the last is filled up with empty arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minivision_kernels.cpu.compile import SERIAL_BELOW, TOGETHER, Kernel


def update_several(
    kernel: Kernel, one: Kernel, kinds: Sequence[Sequence[np.ndarray]], *settings: Any, weight: int = 1,
) -> None:
    """Call ``kernel`` with the small parameters, and ``one`` with each that is large enough for several threads.

    Args:
        kernel: takes an array of the parameters' dtype, a tuple of flat arrays of each kind, and the settings.
        one: takes a flat array of each kind, and the settings.
        kinds: the parameters, their gradients and what else is kept for each, sequences of one length of contiguous arrays.
        settings: what else both are called with.
        weight: how much work a number is, in multiply-adds.
    """
    small = []
    for arrays in zip(*kinds):
        flat = [array.reshape(-1) for array in arrays]
        work = weight * flat[0].size
        if work < SERIAL_BELOW:
            small.append(flat)
        else:
            one(*flat, *settings, work=work)
    for start in range(0, len(small), TOGETHER):
        group = small[start:start + TOGETHER]
        like = group[0][0]
        group += [[like[:0]] * len(kinds)] * (TOGETHER - len(group))
        kernel(like, *zip(*group), *settings)
