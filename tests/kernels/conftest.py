"""Kernels are tested as they run on large arrays: with all threads, however small the test's own arrays are."""

import pytest

from minivision_kernels.cpu import compile as compiler


@pytest.fixture(autouse=True)
def share_everything(monkeypatch):
    monkeypatch.setattr(compiler, "SERIAL_BELOW", 0)
