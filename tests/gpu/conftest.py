"""Tests of the whole engine on a device: on a GPU where there is one, and on the stand-in for it everywhere."""

import pytest
import stand_in


@pytest.fixture(params=["stand-in", pytest.param("gpu", marks=pytest.mark.gpu)])
def device(request, monkeypatch):
    """The name of a device that is not the CPU."""
    if request.param == "stand-in":
        stand_in.install(monkeypatch)
    return "cuda"
