"""The exercises of the folder a test file is in, as tests for pytest."""

from __future__ import annotations

from pathlib import Path

import pytest

from .course import check
from .screen import result
from .state import Progress, find_folder
from .track import items


@pytest.fixture
def exercise_files(request: pytest.FixtureRequest) -> Progress:
    """The student's progress: of the folder that the test file lies in."""
    return Progress.read(find_folder(str(Path(request.fspath).parent)))  # type: ignore[attr-defined]


@pytest.mark.parametrize("item", items(), ids=lambda item: item.name)
def test_exercise(item, exercise_files):
    found = check(exercise_files, item)
    if not found.passed:
        pytest.fail("\n" + result(found, item), pytrace=False)
