"""A step of training as one launch: a graph of CUDA kernels, captured once and replayed.

Small layers finish before Python has launched the next one, and the GPU waits. Captured, the launches of a step are one
object in the driver, and replaying it costs a few microseconds whatever it holds.

    images, labels = mv.tensor(..., device="cuda"), mv.tensor(..., device="cuda")

    def gradients():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        return loss

    captured = graph.capture(gradients)
    for batch, targets in loader:
        images.data[...], labels.data[...] = cupy.asarray(batch.data), cupy.asarray(targets.data)
        loss = captured.replay()            # the same Tensor each time, with new values
        optimizer.step()                    # not captured: see below

What is captured is the kernels, with the addresses and the numbers they were launched with, and nothing of Python. Hence:

- Shapes are fixed, and inputs are written into the arrays that the capture saw.
- Nothing may wait for the GPU or read from it: no ``item()``, no printing, no choice by a value. Labels are not checked (a
  label that is no class gives NaN, and one to be ignored does as well).
- What Python computes anew for each step stays as it was: the masks of dropout, which come from the CPU, the learning rate,
  Adam's count of steps. So models with dropout cannot be captured, and optimisers step outside.
- Batch norm's running averages move with each replay, as they should.

(CUDA programming guide, "CUDA Graphs", "Creating a Graph Using Stream Capture"; CuPy, ``cupy.cuda.Stream.begin_capture``.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .device import gpu_module

__all__ = ["Captured", "capture"]


class Captured:
    """A function's kernels as a graph; made by `capture`."""

    def __init__(self, graph: Any, result: Any, stream: Any, pool: Any):
        self._graph, self._stream = graph, stream
        self._pool = pool                   # where the arrays of the graph live; nobody else may be given that memory
        self.result = result

    def replay(self) -> Any:
        """Launch the graph, let the current stream go on after it, and give the function's result, with new values."""
        import cupy

        current = cupy.cuda.get_current_stream()
        self._stream.wait_event(current.record())       # what was written into the inputs is there
        self._graph.launch(self._stream)
        current.wait_event(self._stream.record())
        return self.result


def capture(function: Callable[[], Any], warm_up: int = 2) -> Captured:
    """Run ``function`` a few times, so that its kernels are compiled, and then once to write down what it launches.

    Args:
        function: called without arguments; what this module's docstring says about it holds.
        warm_up: how often it is run before, at least once. These calls have their effects.

    Raises:
        DeviceError: there is no GPU.
        ValueError: ``warm_up`` is less than 1.
        RuntimeError: the function did something that cannot be captured.
    """
    if warm_up < 1:
        raise ValueError(f"capture: warm_up is {warm_up}, expected at least 1: kernels cannot be compiled during a capture")
    cupy = gpu_module()
    stream, pool = cupy.cuda.Stream(non_blocking=True), cupy.cuda.MemoryPool()
    stream.wait_event(cupy.cuda.get_current_stream().record())
    with stream, cupy.cuda.using_allocator(pool.malloc):
        for _ in range(warm_up):
            function()
        stream.begin_capture()
        try:
            result = function()
        except BaseException as problem:
            _abandon(stream)
            if isinstance(problem, Exception):
                raise RuntimeError(f"capture: the function cannot be captured: {problem}. It must not wait for the GPU, read "
                                   "from it or copy to it") from problem
            raise
        graph = stream.end_capture()
    cupy.cuda.get_current_stream().wait_event(stream.record())
    return Captured(graph, result, stream, pool)


def _abandon(stream: Any) -> None:
    """End a capture that failed, so that the stream can be used again."""
    import contextlib

    with contextlib.suppress(Exception):                # it reports the failure that is being reported already
        stream.end_capture()
