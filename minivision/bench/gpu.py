"""Arrays and time on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

FLUSH = 256 << 20               # bytes: more than any cache, and about 100 us


class Gpu:
    """Arrays and time on the current CUDA device."""

    name = "cuda"

    def __init__(self) -> None:
        import cupy

        self.cupy = cupy
        self._flushed = cupy.zeros(FLUSH, cupy.uint8)

    def move(self, value: Any) -> Any:
        return self.cupy.asarray(value) if isinstance(value, np.ndarray) else value

    def numpy(self, value: Any) -> np.ndarray:
        return value.detach().cpu().numpy() if hasattr(value, "detach") else self.cupy.asnumpy(value)

    def time(self, call: Callable[[], Any]) -> float:
        """Milliseconds of one call on the device, with nothing in its cache."""
        start, end = self.cupy.cuda.Event(), self.cupy.cuda.Event()
        self._flushed.fill(0)
        start.record()
        call()
        end.record()
        end.synchronize()
        return self.cupy.cuda.get_elapsed_time(start, end)
