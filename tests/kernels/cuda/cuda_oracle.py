"""Where CUDA rungs are tested: in the emulator, with the threads of a block taken up in two orders, and on a GPU."""

from __future__ import annotations

import numpy as np
import pytest

from minivision_kernels import Rung, ladder
from minivision_kernels.cuda import emulator

GPU = pytest.param("gpu", marks=pytest.mark.gpu)
PLACES = ["forward", "backward", GPU]


def cuda_rungs(*names: str) -> list[Rung]:
    return [rung for op in names for rung in ladder(op) if rung.device == "cuda"]


class Placed:
    """A rung that takes NumPy arrays and runs in ``place``; so the tests of the CPU's rungs serve it as well."""

    def __init__(self, rung: Rung, place: str):
        self.rung, self.op, self.name, self.place = rung, rung.op, rung.name, place

    def __call__(self, *arguments, **options):
        if self.place != "gpu":
            with emulator.threads(self.place):
                return self.rung(*arguments, **options)
        import cupy

        def moved(value):
            if isinstance(value, tuple):                # of parameters, say, or of lengths
                return tuple(map(moved, value))
            return cupy.asarray(value) if isinstance(value, np.ndarray) else value

        there = list(map(moved, arguments))
        result = self.rung(*there, **options)
        for ours, theirs in zip(arguments, there):      # what an update writes in place
            for mine, written in zip(ours, theirs) if isinstance(ours, tuple) else [(ours, theirs)]:
                if isinstance(mine, np.ndarray) and mine.flags.writeable:
                    mine[...] = cupy.asnumpy(written)
        if isinstance(result, tuple):
            return tuple(map(cupy.asnumpy, result))
        return None if result is None else cupy.asnumpy(result)
