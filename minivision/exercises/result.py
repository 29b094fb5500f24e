"""What one run of a check came to, as it travels from the child process to the runner."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Result:
    """The outcome of one check.

    Attributes:
        passed: whether all is right.
        stages: those that passed, in order.
        stage: the one that failed.
        lines: the report, at most 25.
        diagnoses: the mistakes that explain it, best first, as the detectors say.
        known: the name of the known mistake whose numbers are the same, if there is one.
        case: the sizes that failed.
        notes: scores, pictures and medals of a run that passed.
        printed: what the student's code printed.
    """

    passed: bool
    stages: list[str] = field(default_factory=list)
    stage: str = ""
    lines: list[str] = field(default_factory=list)
    diagnoses: list[str] = field(default_factory=list)
    known: str = ""
    case: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
    printed: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Result:
        return cls(**json.loads(text))

    @property
    def first_guess(self) -> str:
        """What a student reads first: the known mistake, else the first diagnosis, else the stage that failed."""
        return self.known or next(iter(self.diagnoses), self.stage)
