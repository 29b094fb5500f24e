"""What a run says: a table as it goes, a summary at the end, and a JSON file with all of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..checkpoint import write_whole
from .measure import geometric_mean
from .peers import OURS, TORCH
from .vision import PACKAGES

HEAD = (f"{'layer':<24}{'batch':>5}  {'operation':<24}{'rung':<10}{'ms':>9}{'PyTorch':>9}{'ONNX':>7}{'NumPy':>7}"
        f"{'GFLOP/s':>9}{'peak':>6}{'GB/s':>7}{'mem':>6}{'err/σ':>9}{'err/max':>9}")
LEGEND = ("PyTorch, ONNX, NumPy: their time / ours, PyTorch in its best layout. peak, mem: share of the measured roof (caches "
          "are faster than memory). err: largest difference from float64, by the spread and by the largest of the results.")
NAMES = {"pytorch": "PyTorch", "onnxruntime": "ONNX Runtime", "numpy": "NumPy", "pillow": "Pillow", "opencv": "OpenCV",
         "scikit-image": "scikit-image"}
FEW = 3                         # an operation of fewer rows is not summed up
FAR = 100                       # ns; cores that share their last cache are less far apart
GROUPS = {"conv2d": "conv2d", "linear": "linear"}


def line(row: dict[str, Any]) -> str:
    """A row of the table, and below it one for each rung if they were measured."""
    text = [_line(f"{row['layer']:<24}{row['batch']:>5}  {row['op']:<24}{row['rung'] or '':<10}", row["ms"][OURS], row["ratio"],
                  row["ratios"], row.get("gflops"), row.get("of_peak"), row.get("gbs"), row.get("of_bandwidth"),
                  _errors(row, OURS))]
    for name in row["ms"]:
        if name.startswith(OURS + " "):
            ms = row["ms"][name]
            theirs = {peer: row["ms"][peer] / ms for peer in row["ratios"]}
            text.append(_line(f"{'':<55}{name.removeprefix(OURS + ' '):<10}", ms,
                              min((value for peer, value in theirs.items() if peer in TORCH), default=None), theirs,
                              row["gflop"] / ms * 1e3 or None, None, None, None, _errors(row, name)))
    return "\n".join(text)


def _line(begin: str, ms: float, torch: float | None, ratios: Mapping[str, float], gflops: float | None, peak: float | None,
          gbs: float | None, memory: float | None, errors: str) -> str:
    def cell(value: float | None, form: str, width: int) -> str:
        return ("" if value is None else format(value, form)).rjust(width)

    others = "".join(f"   {NAMES[peer]} {ratios[peer]:.2f}" for peer in PACKAGES if peer in ratios)
    return (f"{begin}{ms:>9.3f}{cell(torch, '.2f', 9)}{cell(ratios.get('onnxruntime'), '.2f', 7)}"
            f"{cell(ratios.get('numpy'), '.2f', 7)}{cell(gflops, '.1f', 9)}{cell(peak, '.0%', 6)}{cell(gbs, '.1f', 7)}"
            f"{cell(memory, '.0%', 6)}{errors}{others}").rstrip()


def _errors(row: dict[str, Any], name: str) -> str:
    if "loss_difference" in row:
        return f"   losses differ by {row['loss_difference']:.0e}"
    if "difference" in row:
        return f"   results differ by {row['difference']:.0e}"
    return f"{row['error_by_spread'][name]:>9.0e}{row['error_by_largest'][name]:>9.0e}"


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Geometric means of our speed over that of each peer, for each operation and for each family, with the worst case."""
    result = []
    for peer, of in (("pytorch", lambda row: row["ratio"]), ("onnxruntime", lambda row: row["ratios"].get("onnxruntime")),
                     ("numpy", lambda row: row["ratios"].get("numpy")), ("pillow", lambda row: row["ratios"].get("pillow")),
                     ("opencv", lambda row: row["ratios"].get("opencv")),
                     ("scikit-image", lambda row: row["ratios"].get("scikit-image"))):
        told = [row for row in rows if of(row) is not None]
        for what, members in _groups(told):
            worst = min(members, key=of)
            result.append({"peer": peer, "what": what, "count": len(members), "mean": geometric_mean([*map(of, members)]),
                           "worst": of(worst), "worst_case": f"{worst['layer']}, batch {worst['batch']}, {worst['op']}",
                           "below_1": sum(of(row) < 1 for row in members)})
    return result


def _groups(rows: Sequence[dict[str, Any]]) -> Iterable[tuple[str, list[dict[str, Any]]]]:
    """All rows, those of a family of operations, and those of each operation; no group twice."""
    if not rows:
        return
    yield "all", list(rows)
    ops = list(dict.fromkeys(row["op"] for row in rows))
    families = {op: next((name for prefix, name in GROUPS.items() if op.startswith(prefix)), op) for op in ops}
    for family in dict.fromkeys(families.values()):
        members = [row for row in rows if families[row["op"]] == family]
        several = len({row["op"] for row in members}) > 1
        if several and len(members) < len(rows):
            yield family, members
        for op in ops:
            if families[op] == family and (several or len(members) < len(rows)):
                yield op, [row for row in rows if row["op"] == op]


def summary_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    text = []
    for entry in summary(rows):
        if entry["what"] != "all" and entry["count"] < FEW:
            continue
        worst = f"{entry['worst']:.2f} ({entry['worst_case']})"
        text.append(f"{NAMES[entry['peer']]:<14}{entry['what']:<24}{entry['count']:>4} rows   geometric mean "
                    f"{entry['mean']:.2f}   below 1.0: {entry['below_1']:<4} worst {worst}")
    return text


def apart_line(rows: Sequence[dict[str, Any]]) -> str:
    """How far apart the cores were, and how often they were so far that they share no cache."""
    found = sorted(row["apart_ns"] for row in rows if row.get("apart_ns"))
    if not found:
        return ""
    usual, far = found[len(found) // 2], sum(ns > FAR for ns in found)
    return (f"Two cores were {found[0]:.0f} to {found[-1]:.0f} ns apart, {usual:.0f} at half of the {len(found)} rows, "
            f"and more than {FAR} at {far}.")


def conditions_line(about: dict[str, Any]) -> str:
    """The machine, the versions and the roofs in a sentence."""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items() if version)
    roofs = about["roofs"]
    how = [", Winograd left out"] * about["exact"] + [", malloc keeps memory"] * about["keep_memory"]
    how += [f", {about['tuned']} choices tuned"] * bool(about["tuned"])
    unit = f", a matrix unit {roofs['tiles_gflops']:.0f}" if roofs.get("tiles_gflops") else ""
    return (f"{about['machine']} ({about['features']}), {about['threads']} threads, float32{''.join(how)}. {versions}. "
            f"{about['date']}. Roofs: {roofs['gflops']:.0f} GFLOP/s{unit}, copy {roofs['copy_gbs']:.1f} GB/s, "
            f"triad {roofs['triad_gbs']:.1f} GB/s.")


def save(path: str | os.PathLike, about: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    """Write the JSON file, whole or not at all."""
    text = json.dumps({**about, "summary": summary(rows), "rows": list(rows)}, indent=1) + "\n"
    write_whole(path, lambda file: file.write(text.encode()))
