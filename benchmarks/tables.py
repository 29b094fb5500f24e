"""The tables of the README, rewritten from the numbers in ``results/``.

    minivision bench --suite resnet --json benchmarks/results/bench-resnet.json       # and other suites, then
    python benchmarks/tables.py

Each table stands between two marks, ``<!-- name -->`` and ``<!-- /name -->``, and below it the machine, the versions and
the date. ``results/bench-*.json``, measured with AVX2, make the tables "layers", "pictures", "steps" and
"looks", and those in ``results/avx512`` and ``results/amx`` a second and a third one each; the scripts beside this one write
their own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minivision.bench.bench import LOOK, STEP
from minivision.bench.report import conditions_line, summary

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
PEERS = {"pytorch": "PyTorch", "onnxruntime": "ONNX Runtime", "numpy": "NumPy", "pillow": "Pillow", "opencv": "OpenCV",
         "scikit-image": "scikit-image"}
PICTURES = "vision"             # the suite with a table of its own


def rewrite(path: Path, name: str, text: str) -> None:
    """Put ``text`` between the marks ``<!-- name -->`` and ``<!-- /name -->`` of a file."""
    content = path.read_text()
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if content.count(start) != 1 or content.count(end) != 1 or content.index(start) > content.index(end):
        raise SystemExit(f"{path} needs the marks {start} and {end}, once each and in this order")
    head, tail = content.split(start)[0], content.split(end)[1]
    path.write_text(f"{head}{start}\n{text}\n{end}{tail}")


def layers(results: Sequence[dict[str, Any]]) -> str:
    """For each suite and peer the geometric mean of our speed / theirs, and the worst case; the files tell more."""
    lines = ["| suite | beside | cases | our speed / theirs | worst |", "|---|---|---|---|---|"]
    for result in results:
        for entry in summary([row for row in result["rows"] if _table(result, row) == "layers"]):
            if entry["what"] != "all":
                continue
            lines.append(f"| {_suite(result)} | {PEERS[entry['peer']]} | {entry['count']} | "
                         f"{entry['mean']:.2f} | {entry['worst']:.2f}, {entry['worst_case']} |")
    lines += ["", "Geometric means; PyTorch in the layout that suits each case best.", ""]
    return "\n".join(lines + _conditions(results))


def pictures(results: Sequence[dict[str, Any]]) -> str:
    """What is done with pictures, operation by operation, beside those who do it too."""
    lines = ["| operation | beside | cases | our speed / theirs | worst |", "|---|---|---|---|---|"]
    for result in results:
        lines += [f"| {entry['what']} | {PEERS[entry['peer']]} | {entry['count']} | {entry['mean']:.2f} | "
                  f"{entry['worst']:.2f}, {entry['worst_case']} |" for entry in summary(result["rows"])
                  if entry["what"] != "all" and entry["peer"] != "numpy"]
    return "\n".join([*lines, "", "Geometric means.", "", *_conditions(results)])


def steps(results: Sequence[dict[str, Any]]) -> str:
    """Training steps beside PyTorch's."""
    lines = ["| training | batch | ours, images a second | PyTorch's | our speed / PyTorch's |", "|---|---|---|---|---|"]
    for row in (row for result in results for row in result["rows"] if row["op"] == STEP):
        speeds = row["images_per_second"]
        theirs = max((speed for name, speed in speeds.items() if name.startswith("pytorch")), default=None)
        lines.append(f"| {row['layer']} | {row['batch']} | {speeds['minivision']:,.0f} | "
                     + (f"{theirs:,.0f} | {row['ratio']:.2f} |" if theirs else " | |"))
    return "\n".join([*lines, "", *_conditions(results)])


def looks(results: Sequence[dict[str, Any]]) -> str:
    """Looks into networks beside the same loops in PyTorch."""
    lines = ["| look | images | ours, ms | PyTorch's | our speed / PyTorch's |", "|---|---|---|---|---|"]
    for row in (row for result in results for row in result["rows"] if row["op"] == LOOK):
        theirs = min((ms for name, ms in row["ms"].items() if name.startswith("pytorch")), default=None)
        lines.append(f"| {row['layer']} | {row['batch']} | {row['ms']['minivision']:,.1f} | "
                     + (f"{theirs:,.1f} | {row['ratio']:.2f} |" if theirs else " | |"))
    return "\n".join([*lines, "", *_conditions(results)])


def _suite(result: dict[str, Any]) -> str:
    return result["suite"] + ", Winograd left out" * result["exact"] + ", malloc keeps memory" * result["keep_memory"]


def _table(result: dict[str, Any], row: dict[str, Any]) -> str:
    """The table that a row of a result belongs to."""
    if result["suite"] == PICTURES:
        return "pictures"
    return {STEP: "steps", LOOK: "looks"}.get(row["op"], "layers")


def _conditions(results: Sequence[dict[str, Any]]) -> list[str]:
    """Where it was measured, once if all agree. Roofs differ from run to run; they are in the files."""
    told: dict[str, list[str]] = {}
    for result in results:
        told.setdefault(conditions_line(result).split(" Roofs:")[0], []).append(_suite(result))
    return [text if len(told) == 1 else f"{'; '.join(suites)}: {text}" for text, suites in told.items()]


def main() -> None:
    machines = [[json.loads(path.read_text()) for path in sorted(folder.glob("bench-*.json"))]
                for folder in (HERE / "results", HERE / "results" / "avx512", HERE / "results" / "amx")]
    for name, make in (("layers", layers), ("pictures", pictures), ("steps", steps), ("looks", looks)):
        texts = []
        for results in machines:
            chosen = [result for result in results if any(_table(result, row) == name for row in result["rows"])]
            texts += [make(chosen)] if chosen else []
        if texts:
            rewrite(README, name, "\n\n".join(texts))
            print(*texts, sep="\n\n")


if __name__ == "__main__":
    main()
