"""The kernels of minivision: arrays in, arrays out.

Nothing here knows of tensors, graphs or gradients of gradients. Each operation (``conv2d_forward``, ``relu_backward``,
...) is a pure function of arrays, and exists several times: once as its definition in NumPy, and again in each faster
way. These are the *rungs* of its ladder; they share one signature and pass the same tests.

    ops()                          the names of the operations
    ladder("conv2d_forward")       its rungs, slowest first; each is callable and says in ``.doc`` what it does better
    run("conv2d_forward", x, w, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1)      the best rung, called

Read ``ladder.py`` first, then ``reference/``, then the rungs of one operation in the order of its ladder. The letters
in every shape comment:

    N images  C channels  H x W pixels  F filters  KH x KW kernel window  OH x OW outputs  G groups
    I inputs and O outputs of a linear layer

Importing this package imports NumPy and nothing else; Numba is loaded when the rungs of an operation are first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minivision_kernels.cpu.threads import get_num_threads, set_num_threads
from minivision_kernels.ladder import (
    Rung,
    UnknownOperation,
    array_module,
    beside,
    best,
    elsewhere,
    ladder,
    ops,
    run,
    set_compiled,
    set_exact,
    set_tf32,
)

if TYPE_CHECKING:
    from minivision_kernels.cpu.cache import CacheInfo


def cache_info() -> CacheInfo:
    """Where compiled kernels are kept on disk, and whether that folder can be written."""
    from minivision_kernels.cpu import cache

    return cache.cache_info()


__all__ = [
    "Rung", "UnknownOperation", "array_module", "beside", "best", "cache_info", "elsewhere", "get_num_threads", "ladder", "ops",
    "run", "set_compiled", "set_exact", "set_num_threads", "set_tf32",
]
