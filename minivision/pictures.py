"""The pictures that the command line and the examples draw. matplotlib is loaded by the first one, not before.

One look for all: dark grey text on white, thin lines, blue for what is measured and right, orange for what is wrong,
and a title that says what one sees. Figures are drawn by their own canvas, so that pyplot, its windows and its global
state have no part in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .checkpoint import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, PALE, GRID = "#2b2f36", "#7d838c", "#e3e5e8"
BLUE, LIGHT_BLUE, ORANGE, GREEN = "#2f6db3", "#b9d0ea", "#d9541e", "#3b8f66"
DPI = 130
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif", "font.size": 10, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": PALE,
    "axes.linewidth": 0.8, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 11,
    "axes.titlelocation": "left", "axes.titlepad": 8, "axes.labelsize": 10, "xtick.color": PALE, "ytick.color": PALE,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK, "xtick.labelsize": 9, "ytick.labelsize": 9, "grid.color": GRID,
    "grid.linewidth": 0.8, "axes.axisbelow": True, "legend.frameon": False, "legend.fontsize": 9,
    "lines.linewidth": 1.6, "image.interpolation": "nearest",
}


class NoMatplotlib(ImportError):
    """matplotlib is not installed; the text says how to get it."""

    def __init__(self) -> None:
        super().__init__("matplotlib is not installed; pip install 'minivision[plot]' brings it")


@contextmanager
def page(path: str | os.PathLike, width: float, height: float, title: str, subtitle: str = "") -> Iterator[Figure]:
    """A figure of ``width`` x ``height`` inches to draw on; at the end it is written to ``path``, whole or not at all.

    Raises:
        NoMatplotlib: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as problem:
        raise NoMatplotlib from problem
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
        canvas = FigureCanvasAgg(figure)
        figure.text(0.3 / width, 1 - 0.22 / height, title, fontsize=14, fontweight="bold", va="top")
        if subtitle:
            figure.text(0.3 / width, 1 - 0.52 / height, subtitle, fontsize=10, color=PALE, va="top")
        yield figure
        write_whole(path, lambda file: canvas.print_png(file))


# ---------------------------------------------------------------------------------------------- images in rows


def picture_of(image: np.ndarray) -> np.ndarray:
    """An image (C, H, W), (H, W) or uint8 (H, W, 3) as matplotlib wants it: (H, W), or (H, W, 3) for three channels."""
    image = np.asarray(image)
    if image.ndim == 3 and not (image.dtype == np.uint8 and image.shape[2] == 3):
        return image.transpose(1, 2, 0) if image.shape[0] == 3 else image.mean(0)
    return image


def show(axes: Axes, image: np.ndarray, cmap: str = "gray", limits: tuple[float, float] | None = None,
         frame: str | None = None) -> None:
    """One image without ticks; grey ones from black at ``limits[0]`` to white at ``limits[1]``, or in another map."""
    low, high = limits if limits is not None else (None, None)
    axes.imshow(picture_of(image), cmap=cmap, vmin=low, vmax=high)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(frame is not None)
        spine.set_color(frame or PALE)
        spine.set_linewidth(2.5)


def show_weights(axes: Axes, weights: np.ndarray) -> None:
    """One filter (C, KH, KW): blue for positive, red for negative, white for zero; three channels make a colour."""
    weights = np.asarray(weights)
    reach = float(np.abs(weights).max()) or 1.0
    if weights.ndim == 3 and weights.shape[0] == 3:
        show(axes, 0.5 + 0.5 * weights / reach)
    else:
        show(axes, weights, "RdBu", (-reach, reach))


def rows_of(figure: Figure, area: tuple[float, float, float, float], count: int, columns: int, space: float = 0.12,
            below: float = 0.0, aspect: float = 1.0) -> list[Axes]:
    """``count`` axes in rows of ``columns``, as large as fit into ``area``, from its upper left corner on.

    Args:
        area: left, bottom, width, height, as shares of the figure.
        space: between neighbours, as a share of an image's width.
        below: more space below each row, for captions, as a share of an image's width.
        aspect: width / height of the images.
    """
    rows = -(-count // columns)
    left, bottom, width, height = area
    across, down = figure.get_size_inches()
    side = min(width * across / (columns + space * (columns - 1)),
               height * down / (rows / aspect + space * (rows - 1) + below * rows))
    axes = []
    for i in range(count):
        row, column = divmod(i, columns)
        x = left * across + column * side * (1 + space)
        y = (bottom + height) * down - side * (row * (1 / aspect + space + below) + 1 / aspect)
        axes.append(figure.add_axes((x / across, y / down, side / across, side / aspect / down)))
    return axes


def caption(figure: Figure, left: float, bottom: float, text: str, small: str = "") -> None:
    """A heading on the page with a smaller line below it, both above ``bottom`` (shares of the figure)."""
    inch = 1 / figure.get_size_inches()[1]
    figure.text(left, bottom + (0.25 if small else 0.06) * inch, text, fontsize=11, va="bottom")
    if small:
        figure.text(left, bottom + 0.2 * inch, small, fontsize=9, color=PALE, va="top")


# ---------------------------------------------------------------------------------------------- curves


def loss_curve(axes: Axes, losses: Sequence[float], width: int, per_step: float = 1.0) -> None:
    """The loss of every step, thin, and its mean over the last ``width`` steps; a step is ``per_step`` long."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    at = np.arange(1, len(losses) + 1) * per_step
    axes.plot(at, losses, color=LIGHT_BLUE, linewidth=0.7)
    axes.plot(at, smoothed(losses, width), color=BLUE)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("step")
    axes.set_ylabel("loss (cross-entropy)")
    axes.grid(axis="y")


def smoothed(values: Sequence[float], width: int) -> np.ndarray:
    """The mean of each value and the ``width`` - 1 before it (of as many as there are, at the start)."""
    total = np.concatenate([[0.0], np.cumsum(np.asarray(values, float))])
    ends = np.arange(1, len(total))
    starts = np.maximum(ends - width, 0)
    return (total[ends] - total[starts]) / (ends - starts)


def _loss_and_accuracy(axes: Axes, losses: Sequence[float], history: Sequence[Mapping[str, float]]) -> None:
    """Loss of every step, thin and smoothed; test accuracy after each epoch on an axis of its own."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    epochs = max(len(history), 1)
    loss_curve(axes, losses, max(1, min(50, len(losses) // epochs // 2)), epochs / max(len(losses), 1))
    axes.set_xlim(0, epochs * 1.02)
    axes.set_xlabel("epoch")
    axes.set_ylabel("training loss (cross-entropy)", color=BLUE)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))

    right = axes.twinx()
    accuracy = [100 * entry["test_accuracy"] for entry in history]
    right.plot(np.arange(1, len(accuracy) + 1), accuracy, "o-", color=GREEN, markersize=4, linewidth=1.3)
    lost = max(1.0, 100 - min(accuracy, default=0.0))
    right.set_ylim(100 - 1.08 * lost, 100 + 0.06 * lost)
    right.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %" if value <= 100 else ""))
    right.set_ylabel("test accuracy", color=GREEN)
    right.spines["right"].set_visible(True)


# ---------------------------------------------------------------------------------------------- the result of training


def training_result(path: str | os.PathLike, *, title: str, losses: Sequence[float],
                    history: Sequence[Mapping[str, float]], weights: np.ndarray, images: np.ndarray,
                    labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]) -> None:
    """A page on a trained classifier: its curves, the filters of its first layer, and its answers, wrong ones first.

    Args:
        losses: of every step. history: of every epoch, with "test_accuracy".
        weights: of the first layer, (F, C, KH, KW), or (F, C H W) of a linear one, whose rows are shown as images.
        images: the test images (N, C, H, W); labels (N,); probabilities (N, classes), the model's answers.
    """
    predicted = probabilities.argmax(1)
    wrong = np.flatnonzero(predicted != labels)
    right = len(labels) - len(wrong)
    subtitle = (f"{100 * right / len(labels):.1f} % of {len(labels):,} test images right after {len(history)} "
                f"epoch{'s' * (len(history) != 1)}")
    with page(path, 12, 8.4, title, subtitle) as figure:
        caption(figure, 0.025, 0.845, "Loss and accuracy",
                "the loss of each step and its running mean; the accuracy after each epoch")
        _loss_and_accuracy(figure.add_axes((0.075, 0.505, 0.475, 0.335)), losses, history)
        _filters(figure, weights, images.shape[1:])
        _answers(figure, images, labels, probabilities, wrong, class_names)


def _filters(figure: Figure, weights: np.ndarray, image_shape: tuple[int, ...]) -> None:
    linear = weights.ndim == 2
    shown = weights.reshape(len(weights), *image_shape)[:15] if linear else weights[:32]
    columns = 5 if len(shown) in (10, 15) else 4 if 6 < len(shown) <= 16 else 8 if len(shown) > 16 else 3
    kind = f"{'rows of W' if linear else 'filters'} of the first layer"
    count = f"The {len(weights)} {kind}" if len(shown) == len(weights) else f"{len(shown)} of the {len(weights)} {kind}"
    colours = "in their own colours" if shown.shape[1] == 3 else "blue positive, red negative"
    caption(figure, 0.665, 0.845, count, colours)
    for axes, one in zip(rows_of(figure, (0.665, 0.45, 0.31, 0.39), len(shown), columns, 0.12), shown):
        show_weights(axes, one)


def _answers(figure: Figure, images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, wrong: np.ndarray,
             class_names: Sequence[str]) -> None:
    """Two rows of test images with the answer below; at most a row of wrong ones, the surest mistake first."""
    columns, rows = 10, 2
    certainty = probabilities.max(1)
    wrong = wrong[np.argsort(-certainty[wrong], kind="stable")]
    right = np.setdiff1d(np.arange(len(labels)), wrong)
    spread = right[np.linspace(0, len(right) - 1, min(len(right), columns * rows)).astype(int)] if len(right) else right
    shown = wrong[:max(columns, columns * rows - len(spread))]
    chosen = np.concatenate([shown, spread])[:columns * rows].astype(int)
    told = f"first what it got wrong ({len(wrong):,} in all, the surest mistake first), in orange and with the truth"
    caption(figure, 0.025, 0.37, "Its answers", told if len(wrong) else "it got everything right")
    bright = 255 if images.dtype == np.uint8 else 1
    for axes, i in zip(rows_of(figure, (0.025, 0.01, 0.95, 0.355), len(chosen), columns, 0.2, 0.28), chosen):
        mistaken = probabilities[i].argmax() != labels[i]
        show(axes, images[i] / bright, limits=(0, 1), frame=ORANGE if mistaken else None)
        says = f"{class_names[probabilities[i].argmax()]}  {100 * certainty[i]:.0f} %"
        axes.set_xlabel(says + (f"\nis {class_names[labels[i]]}" if mistaken else ""), fontsize=9,
                        color=ORANGE if mistaken else INK, labelpad=4)


def output_folder() -> Path:
    """Where the examples put their pictures: runs/examples below the working folder, made if it is not there."""
    folder = Path("runs", "examples")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
