"""What minivision finds on this machine, in words. Every answer is measured or looked up; none is guessed."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

Rows = list[tuple[str, str]]

# LLVM's names for what a kernel's speed hangs on, and how people call them.
FEATURES = {
    "x86_64": {"avx2": "AVX2", "fma": "FMA", "avx512f": "AVX-512", "amx-bf16": "AMX"},
    "aarch64": {"neon": "NEON", "sve": "SVE"},
}
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


def examine(root: str | None = None) -> list[tuple[str, Rows]]:
    """The whole report: sections of (what, found). Runs one small kernel, which may have to be compiled.

    Args:
        root: the folder of the data sets; `data.data_root` tells the default.
    """
    from .data import data_root

    return [
        ("versions", versions()),
        ("processor", processor()),
        ("kernels", kernels()),
        ("GPU", gpu()),
        (f"data sets in {data_root(root)}", data_sets(root)),
    ]


def versions() -> Rows:
    from . import __version__

    def found(name: str, without: str) -> str:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return f"not installed ({without})"

    rows = [("minivision", __version__), ("python", f"{platform.python_version()} ({platform.python_implementation()}, "
                                                    f"{platform.system()} {platform.machine()})")]
    rows += [(name, found(name, "needed")) for name in ("numpy", "numba", "llvmlite", "pillow", "safetensors")]
    rows.append(("matplotlib", found("matplotlib", "draws pictures; pip install 'minivision[plot]'")))
    cupy = metadata.packages_distributions().get("cupy", ["cupy"])[0]         # its wheels are named after CUDA versions
    rows.append(("cupy", found(cupy, "runs on the GPU; see below")))
    rows.append(("torch", found("torch", "only compared with, never used")))
    return rows


def processor() -> Rows:
    usable, all_cores = _usable_cores(), os.cpu_count() or 1
    return [
        ("name", _processor_name()),
        ("features", _features()),
        ("cores", f"{usable}" + (f" of the machine's {all_cores}" if usable != all_cores else "")),
    ]


def kernels() -> Rows:
    from minivision_kernels import cache_info, get_num_threads

    cache = cache_info()
    return [
        ("threads", str(get_num_threads())),
        ("threading layer", _threading_layer()),
        ("kernel cache", str(cache.folder)),
        ("", "writable" if cache.writable else f"not writable, so every run compiles anew: {cache.problem}"),
    ]


def gpu() -> Rows:
    from .device import gpu_module, why_no_gpu

    reason = why_no_gpu()
    if reason is not None:
        return [("none", reason), *_compiler_of_cuda()]
    runtime = gpu_module().cuda.runtime
    rows = []
    for number in range(runtime.getDeviceCount()):
        about = runtime.getDeviceProperties(number)
        rows.append((f"cuda:{number}", f"{about['name'].decode()}, {about['totalGlobalMem'] / 2**30:.0f} GiB, "
                                       f"compute capability {about['major']}.{about['minor']}"))
    driver = runtime.driverGetVersion()
    return [*rows, ("driver", f"for CUDA {driver // 1000}.{driver % 1000 // 10}"), *_compiler_of_cuda()]


def _compiler_of_cuda() -> Rows:
    """What compiles the CUDA kernels, and where their machine code is kept."""
    from minivision_kernels.cuda import launch, nvrtc

    try:
        major, minor = nvrtc.version()
        architectures = nvrtc.architectures()
    except nvrtc.NoCompiler:
        return [("NVRTC", "not found; it comes with 'minivision[cuda13]' or [cuda12]")]
    oldest = f"{architectures[0] // 10}.{architectures[0] % 10}"
    return [("NVRTC", f"{major}.{minor}, for compute capability {oldest} and newer"),
            ("machine code", str(launch.cache_folder()))]


def data_sets(root: str | None = None) -> Rows:
    """Each classic set and where its files are, or how to get them. Looks for names only and reads nothing."""
    from .data import data_root

    top = data_root(root)
    rows = [("digits", "here, ships with minivision")]
    idx = [[f"{half}-{what}", f"{half}-{what}.gz"] for half in ("train", "t10k")
           for what in ("images-idx3-ubyte", "labels-idx1-ubyte")]
    batches = [f"{name}.bin" for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")]
    archive = "cifar-10-binary.tar.gz"
    needed = {"mnist": idx, "fashion-mnist": idx,
              "cifar10": [[name, f"cifar-10-batches-bin/{name}", archive] for name in batches]}
    for name, files in needed.items():
        # Only the set's own folder can be trusted: loose files in the root may be those of either MNIST.
        folders = [top / name] + ([top] if name == "cifar10" else [])
        where = next((folder for folder in folders if _all_there(folder, files)), None)
        rows.append((name, f"here, {where}" if where else f"not here; minivision data fetch {name}"))
    weights = top / "squeezenet-v1.0"
    here = _all_there(weights, [["compressed_SqueezeNet.net"], ["imagenet-simple-labels.json"]])
    rows.append(("squeezenet", f"here, {weights}" if here else "not here; minivision data fetch squeezenet"))
    return rows


def _all_there(folder: Path, files: list[list[str]]) -> bool:
    return all(any((folder / name).is_file() for name in names) for names in files)


def _usable_cores() -> int:
    """The cores this process may run on, which a container or a job system may have made fewer."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor_name() -> str:
    """No interface for it is portable; each system tells it in its own way."""
    try:
        if sys.platform.startswith("linux"):
            for line in Path("/proc/cpuinfo").read_text().splitlines():
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
        elif sys.platform == "darwin":
            return subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True,
                                  timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        pass
    return platform.processor() or platform.machine() or "unknown"


def _features() -> str:
    """What LLVM, which compiles the kernels, sees in the processor, and what of it Numba was told to use."""
    names = FEATURES.get(MACHINES.get(platform.machine().lower(), platform.machine().lower()))
    if names is None:
        return f"not known for {platform.machine()}"
    try:
        from llvmlite.binding import get_host_cpu_features

        host = get_host_cpu_features()
    except (ImportError, RuntimeError) as problem:
        return f"cannot be asked: {problem}"
    told = os.environ.get("NUMBA_CPU_FEATURES")
    used = {part[1:]: part[0] == "+" for part in told.split(",") if part} if told else host
    return ", ".join(f"{name} {'no' if not host.get(key) else 'yes' if used.get(key) else 'not used'}"
                     for key, name in names.items())


def _threading_layer() -> str:
    """The layer that Numba starts, which shows only once a parallel kernel has run."""
    try:
        import numba
        import numpy as np

        from minivision_kernels import run

        run("relu_forward", np.zeros((1024, 1024), np.float32))
        return numba.threading_layer()
    except ImportError:
        return "none, since numba is not installed"
    except ValueError:                          # "Threading layer is not initialized."
        return "none started, kernels run on one thread"
