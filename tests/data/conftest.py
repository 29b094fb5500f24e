"""Fixtures of the data tests: the real MNIST files where there are any, and no network anywhere."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def real_data() -> Path:
    """The folder with the real MNIST and Fashion-MNIST files. CI must have it: there a skip would look like a pass."""
    root = os.environ.get("MINIVISION_DATA")
    if root:
        return Path(root)
    if os.environ.get("CI"):
        pytest.fail("MINIVISION_DATA must name the folder with mnist and fashion-mnist")
    pytest.skip("MINIVISION_DATA does not name a folder with mnist and fashion-mnist")
