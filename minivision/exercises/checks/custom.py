"""A check that goes its own way: a function that takes the `Work` and goes through stages of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..work import Work


@dataclass(frozen=True)
class Custom:
    """``function(work)`` raises `Failure` at the first thing that is wrong, mostly through ``work.same`` and ``work.fail``."""

    function: Callable[[Work], None]

    def run(self, work: Work) -> None:
        self.function(work)

    def debug(self, work: Work, case: dict[str, Any]) -> None:
        import pdb

        pdb.runcall(self.function, work)
