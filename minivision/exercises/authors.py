"""The check of the track itself: is every exercise open as shipped, solvable, and wrong in the right words?

``python -m minivision.exercises.authors [NAME ...]`` prints one line per exercise and ends with 1 if anything is amiss.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from .result import Result
from .runner import check_texts
from .track import Item, find, items

SECONDS = 5.0                    # a mutant that hangs is stopped after this time
PATIENCE = 120.0                 # and all else after this: a busy machine is no mistake of the exercise
LONGEST_GOAL = 100


@dataclass
class Verdict:
    """What was found out about one exercise."""

    item: Item
    problems: list[str] = field(default_factory=list)
    mutants: int = 0
    named: int = 0               # mutants whose first guess was right
    by_checker: int = 0          # of these, by a diagnosis of the checker or the stage, not by their own numbers
    failures: dict[str, Result] = field(default_factory=dict)


def check_item(item: Item) -> Verdict:
    """Check one exercise in all its faces."""
    verdict = Verdict(item, list(_text_problems(item)))
    try:
        mutants = item.mutants
    except ValueError as problem:
        verdict.problems.append(str(problem))
        return verdict
    hanging = [m.name for m in item.exercise.mutants if m.hangs]
    quick = {name: text for name, text in mutants.items() if name not in hanging}
    texts = [item.shipped, item.solution, *quick.values()]
    shipped, solved, *wrong = check_texts(item, texts, item.path, seconds=PATIENCE)
    slow = [check_texts(item, [mutants[name]], item.path, seconds=SECONDS)[0] for name in hanging]
    verdict.failures["as shipped"] = shipped
    if shipped.passed:
        verdict.problems.append("passes as shipped")
    elif "crash" in shipped.stage or not shipped.lines:
        verdict.problems.append(f"as shipped it fails without a sensible message: {shipped.stage} {shipped.lines}")
    if not solved.passed:
        verdict.problems.append("its solution fails at " + solved.stage + ":\n" + "\n".join(solved.lines))
    expectations = {m.name: m.expect for m in item.exercise.mutants}
    for name, result in zip([*quick, *hanging], [*wrong, *slow]):
        _judge(verdict, name, expectations[name], result)
    return verdict


def _judge(verdict: Verdict, name: str, expect: str, result: Result) -> None:
    verdict.mutants += 1
    verdict.failures[name] = result
    if result.passed:
        verdict.problems.append(f"mutant {name!r} survives")
        return
    if not 0 < len(result.lines) <= 25:
        verdict.problems.append(f"mutant {name!r}: the report has {len(result.lines)} lines, expected 1 to 25")
    said = [*result.diagnoses[:1], result.stage]
    if expect and any(text.startswith(expect) for text in said):
        verdict.by_checker += 1
        verdict.named += 1
    elif not expect and result.known == name:
        verdict.named += 1
    else:
        verdict.problems.append(f"mutant {name!r}: expected {expect or name!r}, it was called {said} "
                                f"(known mistake {result.known!r})")


def _text_problems(item: Item) -> Iterator[str]:
    exercise = item.exercise
    if not item.source.is_file():
        yield f"{item.source} is not there"
        return
    shipped, solution = item.shipped, item.solution
    if shipped == solution:
        yield "it has no hole"
    if len(exercise.hints) != 3 or any(len(hint.strip()) < 10 for hint in exercise.hints):
        yield "it needs three hints"
    if len(exercise.goal) > LONGEST_GOAL or exercise.goal.endswith("."):
        yield f"its goal should be one line of at most {LONGEST_GOAL} letters, without a full stop"
    if not exercise.mutants:
        yield "it has no mutants"
    if "TODO" not in shipped:
        yield "nothing says TODO"
    if len(re.findall(r"\w+", _words(shipped))) < 60:
        yield "its text is too short to explain anything"
    known = {other.name for other in items()}
    for name in re.findall(r"\[\[(\w+)\]\]", item.text):
        if name not in known:
            yield f"its text points to {name!r}, which is no exercise"


def _words(text: str) -> str:
    """The text at the head of a file: its docstring, or its leading comment."""
    if text.lstrip().startswith('"""'):
        return text.split('"""')[1]
    lines = []
    for line in text.splitlines():
        if not line.startswith("//"):
            break
        lines.append(line)
    return "\n".join(lines)


def main(names: list[str]) -> int:
    verdicts = []
    for item in [find(name) for name in names] or items():
        verdict = check_item(item)
        verdicts.append(verdict)
        state = "ok" if not verdict.problems else "NOT OK"
        print(f"{item.path:44} {verdict.named} of {verdict.mutants} mutants named   {state}", flush=True)
        for problem in verdict.problems:
            print("    " + problem.replace("\n", "\n      "))
    mutants, named = sum(v.mutants for v in verdicts), sum(v.named for v in verdicts)
    by_checker = sum(v.by_checker for v in verdicts)
    print(f"{len(verdicts)} exercises, {mutants} mutants, {named} named right at first guess ({by_checker} by the checker's "
          f"own diagnosis, {named - by_checker} by their numbers)")
    return 1 if any(verdict.problems for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
