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
    if int(device[5:]) >= device_count():
        raise DeviceError(f"{device} does not exist; this machine has {device_count()} CUDA device(s)")
    with cupy.cuda.Device(int(device[5:])):
        return cupy.asarray(array)


def constant(value: Any, dtype: Any, module: Any) -> Any:
    """A number, or nested lists of numbers, as an array of ``module``.

    A number is written by a kernel of its device, which takes it as an argument: nothing is copied from the CPU, which would
    cost more and could not be captured in a graph of launches.
    """
    if module is np or isinstance(value, (list, tuple)):
        return module.asarray(value, dtype=dtype)
    return module.full((), value, dtype)


def is_capturing(array: Any) -> bool:
    """Whether work on the device of ``array`` is being written down instead of done (graph.py)."""
    module = array_module(array)
    return module is not np and module.cuda.get_current_stream().is_capturing()


_usable: Any = None          # CuPy, once it was found to be of use: every move to a GPU asks


def why_no_gpu() -> str | None:
    """One sentence on why ``"cuda"`` cannot be used, or None if it can."""
    global _usable
    try:
        import cupy
    except ModuleNotFoundError:
        return "CuPy is not installed; pip install 'minivision[cuda13]' (or [cuda12] for an older driver)"
    except Exception as problem:
        return f"CuPy is installed but does not start: {problem}"
    if cupy is not _usable:
        reason = _why_no_device(cupy.cuda.runtime) or _why_no_kernels(cupy.cuda.runtime)
        if reason is not None:
            return reason
        _usable = cupy
    return None


def _why_no_device(runtime: Any) -> str | None:
    try:
        if runtime.getDeviceCount() > 0:
            return None
    except Exception as problem:
        if "NoDevice" not in str(problem):
            return _why_no_driver(runtime, problem)
    return "there is no CUDA device in this machine, or CUDA_VISIBLE_DEVICES hides it"


def _why_no_driver(runtime: Any, problem: Exception) -> str:
    try:
        driver, needed = runtime.driverGetVersion(), runtime.runtimeGetVersion()
    except Exception:
        driver, needed = 0, 0
    if not driver:
        return "CuPy is installed, but there is no NVIDIA driver; install one, or use device 'cpu'"
    if driver < needed:
        return (f"the NVIDIA driver is for CUDA {driver // 1000}.{driver % 1000 // 10}, and CuPy for {needed // 1000}."
                f"{needed % 1000 // 10}; install a newer driver, or 'minivision[cuda{driver // 1000}]' instead")
    return f"the NVIDIA driver does not work: {problem}"


def _why_no_kernels(runtime: Any) -> str | None:
    """What the current device, which is there, lacks to run minivision's kernels."""
    from minivision_kernels.cuda import launch, nvrtc

    about = runtime.getDeviceProperties(runtime.getDevice())
    try:
        launch.architecture((about["major"], about["minor"]), tuple(nvrtc.architectures()))
    except RuntimeError as problem:              # a device too old, or no NVRTC; both say so in one sentence
        return str(problem)
    return None


def device_count() -> int:
    """How many GPUs there are; 0 where none can be used."""
    return 0 if why_no_gpu() is not None else gpu_module().cuda.runtime.getDeviceCount()


def gpu_module() -> Any:
    """The imported cupy module; `DeviceError` says in one sentence what is missing."""
    reason = why_no_gpu()
    if reason is not None:
        raise DeviceError(f"device 'cuda' cannot be used: {reason}")
    import cupy

    return cupy
