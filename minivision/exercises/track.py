"""The track: all exercises in their order, and the three faces of each exercise's file.

A file holds an exercise and its solution, each hole written like this (in a .cu file with // for #)::

    def backward(self, grad):
        #: stub
        # TODO: the gradient of the input.
        raise NotImplementedError
        #: solution
        return grad * (self.x > 0)
        #: end

`Item.shipped` keeps the stubs and is what a student is given; `Item.solution` keeps the solutions; a mutant is the
solution with a mistake in it. So the three cannot drift apart.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import re
from dataclasses import dataclass
from pathlib import Path

from .spec import Chapter, Exercise

CHAPTERS = ("numbers", "chain", "tensors", "layers", "convolution", "learning", "bugs", "kernels", "seeing")
HERE = Path(__file__).resolve().parent / "chapters"
MARK = re.compile(r"\s*(?:#|//): (stub|solution|end)\s*$")


@dataclass(frozen=True)
class Item:
    """An exercise in its place. ``number`` counts from 1 within its chapter, ``chapter_number`` the chapters."""

    exercise: Exercise
    chapter: Chapter
    folder: str                 # the chapter's name
    chapter_number: int
    number: int
    source: Path                # the author's file

    @property
    def name(self) -> str:
        return self.exercise.name

    @property
    def path(self) -> str:
        """Where the student's file is, from the student's folder: ``05_convolution/03_conv_weight.py``."""
        return f"{self.chapter_number:02}_{self.folder}/{self.number:02}_{self.name}{self.source.suffix}"

    @property
    def text(self) -> str:
        return self.source.read_text(encoding="utf-8")

    @property
    def shipped(self) -> str:
        return _face(self.text, "stub", self.source)

    @property
    def solution(self) -> str:
        return _face(self.text, "solution", self.source)

    @property
    def mutants(self) -> dict[str, str]:
        """The text of each mutant, by its name."""
        return {mutant.name: mutant.applied(self.solution) for mutant in self.exercise.mutants}


def _face(text: str, keep: str, source: Path) -> str:
    lines, part = [], ""
    order = {"": "stub", "stub": "solution", "solution": "end"}
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        mark = MARK.match(line)
        if mark is None:
            if part in ("", keep):
                lines.append(line)
        elif mark[1] != order[part]:
            raise ValueError(f"{source}, line {number}: got the mark {mark[1]!r}, expected {order[part]!r}")
        else:
            part = "" if mark[1] == "end" else mark[1]
    if part:
        raise ValueError(f"{source}: the last hole has no end")
    return "".join(lines)


@functools.cache
def items() -> tuple[Item, ...]:
    """All exercises in their order."""
    found = []
    for place, folder in enumerate(CHAPTERS, 1):
        chapter: Chapter = importlib.import_module(f"{__package__}.chapters.{folder}").CHAPTER
        for number, exercise in enumerate(chapter.exercises, 1):
            source = HERE / folder / f"{exercise.name}.py"
            if not source.is_file():
                source = source.with_suffix(".cu")
            found.append(Item(exercise, chapter, folder, place, number, source))
    return tuple(found)


def find(name: str) -> Item:
    """The exercise of that name, or of that file.

    Raises:
        ValueError: there is none; the nearest names are given.
    """
    wanted = re.sub(r"^\d+_", "", Path(name).stem)
    by_name = {item.name: item for item in items()}
    if wanted in by_name:
        return by_name[wanted]
    near = difflib.get_close_matches(wanted, by_name, n=3)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    raise ValueError(f"there is no exercise {name!r}{hint} (`minivision exercises list` names all)")
