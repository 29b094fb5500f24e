"""What all tests share: one hypothesis profile, the same examples on every run, and the way to the real data."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("GOMP_SPINCOUNT", "0")    # two processes test at a time: threads that wait give the core away
os.environ["MINIVISION_TUNED"] = "0"        # which rungs are chosen is tested as the rules say, not as this machine was tuned

settings.register_profile(
    "minivision",
    deadline=None,              # the first call of a kernel compiles it
    derandomize=True,
    max_examples=40,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("minivision")


@pytest.fixture
def real_data() -> Path:
    """The folder with the real MNIST and Fashion-MNIST files. CI must have it: there a skip would look like a pass."""
    root = os.environ.get("MINIVISION_DATA")
    if root:
        return Path(root)
    if os.environ.get("CI"):
        pytest.fail("MINIVISION_DATA must name the folder with mnist and fashion-mnist")
    pytest.skip("MINIVISION_DATA does not name a folder with mnist and fashion-mnist")


def pytest_collection_modifyitems(items):
    """Tests marked gpu run where there is a device."""
    from minivision.device import why_no_gpu

    reason = why_no_gpu()
    for item in items:
        if reason is not None and item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason=reason))
