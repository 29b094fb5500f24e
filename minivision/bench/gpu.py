"""Arrays and time on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

FLUSH = 1 << 30         # bytes: more than any cache, and at least 220 us for the host to get ahead (an H200 writes 4.8 TB/s)


class Gpu:
    """Arrays and time on the current CUDA device."""

    name = "cuda"

    def __init__(self) -> None:
        import cupy

        self.cupy = cupy
        room = cupy.cuda.runtime.memGetInfo()[1] // 8
        self._flushed = cupy.zeros(min(FLUSH, room), cupy.uint8)

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
