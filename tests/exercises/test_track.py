"""The track as its authors must leave it: open as shipped, solvable, and every mistake named."""

import pytest

from minivision.exercises import authors
from minivision.exercises.track import items


@pytest.mark.parametrize("item", items(), ids=lambda item: item.name)
def test_an_exercise_is_open_and_solvable_and_names_its_mistakes(item):
    verdict = authors.check_item(item)
    assert not verdict.problems, "\n".join(verdict.problems)
    assert verdict.named == verdict.mutants > 0


def test_names_are_unique_and_files_stand_in_order():
    names = [item.name for item in items()]
    assert len(set(names)) == len(names)
    paths = [item.path for item in items()]
    assert paths == sorted(paths)
