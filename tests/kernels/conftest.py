"""Kernels are tested as they run on large arrays: with all threads, however small the test's own arrays are.

A product of a matrix unit with NaN in it is computed again with vectors. That would hide whatever makes NaN of good numbers: a
wall that was read, or a tile that was not cleared. So it must not happen but where a test says so (``amx.recomputed``).
"""

import pytest

from minivision_kernels.cpu import amx
from minivision_kernels.cpu import compile as compiler


@pytest.fixture(autouse=True)
def share_everything(monkeypatch):
    monkeypatch.setattr(compiler, "SERIAL_BELOW", 0)


@pytest.fixture(autouse=True)
def no_product_is_computed_again():
    before = amx.recomputed
    yield
    assert amx.recomputed == before
