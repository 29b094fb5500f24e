"""The two pictures of a benchmark: the ladder of an operation, and the roofline.

A ladder has a bar for each rung and a line for each peer. The roofline (Williams, Waterman and Patterson 2009) has a
point for each layer: to the right, the more arithmetic there is for each byte that must be moved; upward, the faster. No
point can lie above the roofs. Winograd's convolution seems to, since its speed is counted in the multiply-adds of direct
summation; so it is drawn twice, hollow at that count and full at the multiply-adds that it really does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..pictures import BLUE, GREEN, INK, LIGHT_BLUE, ORANGE, PALE, page
from .peers import OURS, TORCH

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = dict[str, Any]
PANELS = 9                      # layers of an operation, at most
PEER_STYLES = {"pytorch": (ORANGE, "-"), "pytorch channels_last": (ORANGE, "--"), "pytorch fused": (ORANGE, ":"),
               "onnxruntime": (GREEN, "-"), "numpy": (PALE, "-")}
MARKERS = {"forward": "o", "input": "s", "weight": "^"}         # the directions; by the end of an operation's name


def draw(folder: Path, about: Row, rows: Sequence[Row]) -> list[Path]:
    """Draw what the rows allow: the roofline of what computes, a ladder for each operation of which rungs were measured."""
    drawn = []
    if any(row.get("gflops") for row in rows):
        drawn.append(folder / "roofline.png")
        roofline(drawn[-1], about, [row for row in rows if row.get("gflops")])
    climbed = [row for row in rows if any(name.startswith(OURS + " ") for name in row["ms"])]
    for op in dict.fromkeys(row["op"] for row in climbed):
        drawn.append(folder / f"ladder-{op}.png")
        ladder(drawn[-1], about, op, [row for row in climbed if row["op"] == op])
    return drawn


def ladder(path: Path, about: Row, op: str, rows: Sequence[Row]) -> None:
    """Bars by rung, slowest below, and lines for the peers: a panel for each layer, evenly chosen if there are many."""
    shown = [rows[i * len(rows) // min(PANELS, len(rows))] for i in range(min(PANELS, len(rows)))]
    computes = bool(rows[0]["gflop"])
    columns = min(3, len(shown))
    lines = -(-len(shown) // columns)
    most = max(len(_rungs(row)) for row in shown)
    height = 1.5 + lines * (0.75 + 0.22 * most)
    title = f"The ladder of {op}, in {'GFLOP/s' if computes else 'GB/s'}"
    with page(path, 12, height, title, _where(about)) as figure:
        for place, row in enumerate(shown):
            across, down = place % columns, place // columns
            room = (height - 1.4) / lines
            axes = figure.add_axes((0.09 + across * 0.91 / columns, (height - 1.05 - (down + 1) * room + 0.45) / height,
                                    0.91 / columns - 0.11, (room - 0.6) / height))
            _bars(axes, row, computes)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, loc="lower left", bbox_to_anchor=(0.02, 0), ncols=len(labels))


def _rungs(row: Row) -> list[str]:
    return [name for name in row["ms"] if name.startswith(OURS + " ")]


def _bars(axes: Axes, row: Row, computes: bool) -> None:
    amount = row["gflop"] * 1e3 if computes else row["mbytes"]
    names = _rungs(row)
    speeds = [amount / row["ms"][name] for name in names]
    labels = [name.removeprefix(OURS + " ") for name in names]
    axes.barh(labels, speeds, height=0.7, color=[BLUE if label == row["rung"] else LIGHT_BLUE for label in labels])
    for place, speed in enumerate(speeds):
        axes.annotate(f"{speed:.3g}", (speed, place), (4, 0), textcoords="offset points", va="center", fontsize=8, color=INK,
                      bbox=dict(facecolor="white", edgecolor="none", alpha=0.8, pad=0.6), zorder=3)
    for peer, (colour, dash) in PEER_STYLES.items():
        if peer in row["ms"]:
            axes.axvline(amount / row["ms"][peer], color=colour, linestyle=dash, linewidth=1.3, label=peer)
    axes.set_xlim(0, 1.15 * max(*speeds, *(amount / ms for ms in row["ms"].values())))
    axes.set_title(f"{row['layer']}, batch {row['batch']}", fontsize=10)
    axes.tick_params(axis="y", length=0)


def roofline(path: Path, about: Row, rows: Sequence[Row]) -> None:
    """The measured roofs, and every layer below them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    roofs = about["roofs"]
    bandwidth = max(roofs["copy_gbs"], roofs["triad_gbs"])
    with page(path, 12, 7, "Roofline: how near to the machine's limits", _where(about)) as figure:
        axes = figure.add_axes((0.06, 0.09, 0.92, 0.78))
        labelled: set[str] = set()

        def once(label: str) -> str:
            """The label for the legend, which takes each only once."""
            new = "" if label in labelled else label
            labelled.add(label)
            return new

        for row in rows:
            intensity = row["gflop"] * 1e3 / row["mbytes"]
            marker = MARKERS.get(row["op"].rpartition("_")[2], "o")
            theirs = min((row["ms"][name] for name in TORCH if name in row["ms"]), default=None)
            if theirs is not None:
                axes.plot(intensity, row["gflop"] / theirs * 1e3, "x", color=PALE, markersize=4,
                          label=once("PyTorch in its best layout"))
            executed = row["executed_gflop"][OURS] / row["ms"][OURS] * 1e3
            axes.plot(intensity, executed, marker, color=BLUE, markersize=5, linestyle="",
                      label=once(f"{OURS}, {row['op'].rpartition('_')[2]}"))
            if row["rung"].startswith("winograd"):
                axes.plot([intensity, intensity], [executed, row["gflops"]], color=LIGHT_BLUE, linewidth=0.8, zorder=1)
                axes.plot(intensity, row["gflops"], marker, markerfacecolor="white", markeredgecolor=BLUE, markersize=5,
                          linestyle="", label=once("the same, Winograd counted as if direct"))
        left, right = axes.get_xlim()
        left, right = min(0.5, max(left, 0.1)), max(right, 100.0) * 1.5
        ridge = roofs["gflops"] / bandwidth
        axes.plot([left, ridge, right], [left * bandwidth, roofs["gflops"], roofs["gflops"]], color=INK, linewidth=1.3)
        axes.text(right, roofs["gflops"] * 1.04, f"{roofs['gflops']:.0f} GFLOP/s of multiply-adds", ha="right", va="bottom")
        if roofs.get("tiles_gflops"):
            unit = roofs["tiles_gflops"]
            axes.plot([ridge, unit / bandwidth, right], [roofs["gflops"], unit, unit], color=INK, linewidth=1.3, linestyle="--")
            axes.text(right, unit * 1.04, f"{unit:.0f} GFLOP/s of a matrix unit, six products for one", ha="right", va="bottom")
        axes.text(left * 1.4, left * 1.25 * bandwidth, f"{bandwidth:.0f} GB/s of memory", va="top")
        axes.set(xscale="log", yscale="log", xlim=(left, right), xlabel="FLOP of direct summation per byte that must be moved",
                 ylabel="GFLOP/s")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.grid(which="major")
        axes.legend(loc="upper left")


def _where(about: Row) -> str:
    return f"{about['machine']}, {about['threads']} threads, float32, {about['date']}; suite {about['suite']}"
