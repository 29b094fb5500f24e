"""Every kernel compiles to machine code for the generations of GPUs, and keeps its numbers in registers."""

import importlib
import os
import pkgutil

import numpy as np
import pytest

import minivision_kernels.cuda
from minivision_kernels.cuda import conv_staged, gemm, nvrtc
from minivision_kernels.cuda.launch import HEADERS, HERE, Kernel, architecture

ARCHITECTURES = {"sm_75": (7, 5), "sm_80": (8, 0), "sm_90": (9, 0)}

for module in pkgutil.iter_modules(minivision_kernels.cuda.__path__):
    importlib.import_module(f"minivision_kernels.cuda.{module.name}")

# Kernels without template constants are compiled a file at a time, the others by themselves.
UNITS = sorted({
    (kernel.source, kernel.name if kernel.constants else "", tuple(kernel.options(np.dtype(real))), arch)
    for kernel in Kernel.known if kernel.folder == HERE for real in kernel.reals
    for arch, capability in ARCHITECTURES.items() if capability >= kernel.needs
})

# What a launch asks for, by file and constants, and what a block can have: on the smaller GPUs of a generation.
DYNAMIC = {
    (kernel.source, tuple(kernel.options(np.dtype(real)))): tile.shared(family.ALONG_K[way], np.dtype(real).itemsize)
    for family in (gemm, conv_staged) for tile in (*family.ORDINARY["float32"], *family.ORDINARY["float64"], *family.SPLIT)
    for way, kernel in tile.kernels.items() for real in kernel.reals
}
ROOM = {"sm_75": 64 << 10, "sm_80": 99 << 10, "sm_90": 99 << 10}


@pytest.fixture(scope="session", autouse=True)
def a_compiler():
    try:
        nvrtc.version()
    except nvrtc.NoCompiler as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))


def compiled(source, options, arch):
    headers = {name: (HERE / name).read_text() for name in HEADERS}
    return nvrtc.compile((HERE / source).read_text(), source, arch, headers, options)


@pytest.mark.parametrize("source, name, options, arch", UNITS, ids=" ".join)
def test_kernels_compile_and_do_not_spill(source, name, options, arch):
    machine = compiled(source, options, arch)
    assert machine.code[:4] == b"\x7fELF"
    uses = machine.uses()
    assert uses and (not name or name in uses)
    for kernel, used in uses.items():
        assert 0 < used["registers"] <= 255
        memory = {what: used[what] for what in ("stack", "spill stores", "spill loads")}
        assert not any(memory.values()), f"{kernel} of {source} keeps numbers in memory: {memory}"
        assert used["shared"] + DYNAMIC.get((source, options), 0) <= ROOM[arch]


def test_every_file_is_covered():
    assert {unit[0] for unit in UNITS} == {path.name for path in HERE.glob("*.cu")}


def test_a_mistake_is_told_in_the_compilers_words():
    with pytest.raises(nvrtc.CompileError, match=r'wrong\.cu does not compile for sm_90:\n[\s\S]*"cout" is undefined'):
        nvrtc.compile("__global__ void f() { cout; }", "wrong.cu", "sm_90", {})


def test_spills_are_seen():
    """The gate has to notice: an array indexed by what only the run knows lives in memory."""
    text = """extern "C" __global__ void f(float* y, int n) {
        float a[64];
        for (int i = 0; i < 64; ++i) a[i * n % 64] = y[i];
        for (int i = 0; i < 64; ++i) y[i] += a[i * i % n];
    }"""
    assert nvrtc.compile(text, "spill.cu", "sm_90", {}).uses()["f"]["stack"] == 256


@pytest.mark.parametrize("capability, expected", [
    ((7, 5), "sm_75"), ((8, 0), "sm_80"), ((8, 9), "sm_86"), ((9, 0), "sm_90"), ((12, 1), "compute_90"),
])
def test_the_architecture_for_a_device(capability, expected):
    assert architecture(capability, (75, 80, 86, 90)) == expected


def test_a_device_too_old():
    with pytest.raises(RuntimeError, match=r"compute capability 6\.1; minivision's kernels need 7\.5 or newer"):
        architecture((6, 1), (50, 60, 75))
    with pytest.raises(RuntimeError, match=r"7\.5; minivision's kernels need 8\.0 or newer"):
        architecture((7, 5), (80, 90))
