"""How far a student has come: one readable file, ``progress.json``, in their folder."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from .track import Item, items

FILE = "progress.json"


@dataclass
class Progress:
    """What is remembered of a student.

    Attributes:
        passed: exercise -> when it was passed.
        hints: exercise -> how many of its hints were shown.
        given_up: the exercises whose solution was shown before they were passed.
        current: the exercise that a command without a name means.
    """

    folder: Path
    passed: dict[str, str] = field(default_factory=dict)
    hints: dict[str, int] = field(default_factory=dict)
    given_up: list[str] = field(default_factory=list)
    current: str = ""

    @classmethod
    def read(cls, folder: Path) -> Progress:
        """The progress in ``folder``.

        Raises:
            ValueError: the file is damaged.
        """
        path = folder / FILE
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if not (isinstance(data, dict) and isinstance(data.get("passed", {}), dict)
                    and isinstance(data.get("hints", {}), dict) and isinstance(data.get("given_up", []), list)):
                raise ValueError("it has other entries than expected")
        except ValueError as problem:
            raise ValueError(f"{path} is damaged ({problem}); repair it, or rename it and run `minivision exercises init "
                             f"{folder}` to begin a new one (no exercise file is touched)") from problem
        progress = cls(folder, data.get("passed", {}), data.get("hints", {}), data.get("given_up", []), data.get("current", ""))
        names = [item.name for item in items()]
        if progress.current not in names:
            progress.current = progress.first_open().name
        return progress

    def write(self) -> None:
        """Whole or not at all: into a file beside it, which then takes its place."""
        data = {name: value for name, value in asdict(self).items() if name != "folder"}
        handle, beside = tempfile.mkstemp(dir=self.folder, prefix=FILE)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps(data, indent=2) + "\n")
        os.replace(beside, self.folder / FILE)

    def pass_(self, item: Item) -> bool:
        """Note that an exercise is passed; whether that is new."""
        new = item.name not in self.passed
        if new:
            self.passed[item.name] = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return new

    def first_open(self, after: str = "") -> Item:
        """The first exercise that is not passed, beginning behind ``after``; the last one if all are."""
        order = list(items())
        start = next((i + 1 for i, item in enumerate(order) if item.name == after), 0)
        rest = [item for item in order[start:] + order[:start] if item.name not in self.passed]
        return rest[0] if rest else order[-1]


def find_folder(given: str | None) -> Path:
    """The student's folder: the one given, this one, one above it, or ``exercises`` in it.

    Raises:
        FileNotFoundError: none of them has a progress file.
    """
    here = Path(given) if given else Path.cwd()
    for folder in (here,) if given else (here, *here.parents, here / "exercises"):
        if (folder / FILE).is_file():
            return folder
    raise FileNotFoundError(f"{here} is not a folder of exercises (there is no {FILE}); make one with "
                            "`minivision exercises init DIR`, then work inside it or pass --dir DIR")
