"""Tests marked gpu run where there is a device. The others need a C++ compiler, which CI must have."""

import os

import pytest

from minivision_kernels.cuda import emulator


def pytest_collection_modifyitems(items):
    from minivision.device import why_no_gpu

    reason = why_no_gpu()
    for item in items:
        if reason is not None and item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session", autouse=True)
def a_compiler():
    try:
        emulator.compiler()
    except emulator.NoCompiler as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
