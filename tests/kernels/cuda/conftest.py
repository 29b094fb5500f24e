"""The emulator needs a C++ compiler, which CI must have."""

import os

import pytest

from minivision_kernels.cuda import emulator


@pytest.fixture(autouse=True)
def a_compiler(request):
    if request.node.get_closest_marker("gpu"):          # runs on the device
        return
    try:
        emulator.compiler()
    except emulator.NoCompiler as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
