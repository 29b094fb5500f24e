"""Tests of the whole engine on a device: on a GPU where there is one, and on the stand-in for it everywhere."""

import pytest
import stand_in

from minivision.device import why_no_gpu


def pytest_collection_modifyitems(items):
    reason = why_no_gpu()
    for item in items:
        if reason is not None and item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(params=["stand-in", pytest.param("gpu", marks=pytest.mark.gpu)])
def device(request, monkeypatch):
    """The name of a device that is not the CPU."""
    if request.param == "stand-in":
        stand_in.install(monkeypatch)
    return "cuda"
