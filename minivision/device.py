"""Where an array lives, and how to move it. The only file of the engine that knows there is more than one device."""

from __future__ import annotations

from typing import Any

import numpy as np

from minivision_kernels import array_module


class DeviceError(RuntimeError):
    """A device was asked for that is not there, or not in a state to be used."""


def device_of(array: Any) -> str:
    """``"cpu"`` for a NumPy array, ``"cuda:<number>"`` for a CuPy array."""
    return "cpu" if isinstance(array, np.ndarray) else f"cuda:{array.device.id}"


def move(array: Any, device: str) -> Any:
    """``array`` on ``device``: itself if it is there already, otherwise a copy.

    Args:
        array: a NumPy or CuPy array.
        device: ``"cpu"``, ``"cuda"`` (the current GPU) or ``"cuda:<number>"``.

    Raises:
        TypeError, ValueError: ``device`` is none of these.
        DeviceError: there is no such GPU, or CuPy is not installed.
    """
    if not isinstance(device, str):
        raise TypeError(f"got device {device!r}, expected a text: 'cpu', 'cuda' or 'cuda:<number>'")
    if device == "cpu":
        return np.asarray(array) if array_module(array) is np else array_module(array).asnumpy(array)
    if device != "cuda" and not (device.startswith("cuda:") and device[5:].isdigit()):
        raise ValueError(f"unknown device {device!r}; expected 'cpu', 'cuda' or 'cuda:<number>'")
    cupy = gpu_module()
    if device == "cuda":
        return cupy.asarray(array)
    if int(device[5:]) >= cupy.cuda.runtime.getDeviceCount():
        raise DeviceError(f"{device} does not exist; this machine has {cupy.cuda.runtime.getDeviceCount()} CUDA device(s)")
    with cupy.cuda.Device(int(device[5:])):
        return cupy.asarray(array)


def why_no_gpu() -> str | None:
    """One sentence on why ``"cuda"`` cannot be used, or None if it can."""
    try:
        import cupy
    except Exception as problem:
        if isinstance(problem, ModuleNotFoundError):
            return "CuPy is not installed; pip install 'minivision[cuda13]' (or [cuda12] for an older driver)"
        return f"CuPy is installed but does not start: {problem}"
    try:
        if cupy.cuda.runtime.getDeviceCount() > 0:
            return None
        return "there is no CUDA device in this machine"
    except Exception as problem:
        return f"CuPy is installed, but there is no working driver or device: {problem}"


def gpu_module() -> Any:
    """The imported cupy module; `DeviceError` says in one sentence what is missing."""
    reason = why_no_gpu()
    if reason is not None:
        raise DeviceError(f"device 'cuda' cannot be used: {reason}")
    import cupy

    return cupy
