"""The pages that show what was found in a network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..pictures import BLUE, INK, ORANGE, PALE, page, rows_of, show, show_weights
from .faithful import Curve
from .features import Patch
from .fooling import blurred

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FLAT = 0.05                     # of probability; smaller differences are drawn on a scale of their own
SMALL = 40                      # pixels; an image whose parts are too small to be looked at alone


def heat_over(axes: Axes, image: np.ndarray, heat: np.ndarray) -> None:
    """The image in grey below its heat (H, W): from nothing at 0 to bright at 1. Of photos it is spread a little."""
    grey, heat = np.asarray(image).mean(axis=0), _spread(heat)
    axes.imshow(0.35 + 0.65 * grey, cmap="gray", vmin=0, vmax=1)
    axes.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=np.clip(0.15 + 0.75 * heat, 0, 0.9))
    _bare(axes)


def _spread(heat: np.ndarray) -> np.ndarray:
    """Heat that an eye can follow: blurred by a hundredth of its side, and as bright at its brightest as before."""
    soft = heat[None, None]
    for _ in range(round(2 * (min(heat.shape) / 100) ** 2)):        # n times binomial is a Gaussian of variance n / 2
        soft = blurred(soft)
    reach = float(np.quantile(soft, 0.995)) or float(soft.max()) or 1.0
    return np.clip(soft[0, 0] * (heat.max() / reach), 0, 1)


def explanation(
    path: str | os.PathLike, image: np.ndarray, heat: np.ndarray, title: str, subtitle: str, deleted: Curve, inserted: Curve,
    chance: np.ndarray | None = None, heading: str = "what speaks for the class",
) -> None:
    """The photo, the heat over it, for occlusion the map of probabilities, and whether the heat is right.

    Args:
        image: (C, H, W) in [0, 1]. heat: (H, W) in [0, 1].
        chance: the probability of the class with the patch at each position, from `occlusion_map`.
        heading: what the heat is.
    """
    panels = 3 + (chance is not None)
    with page(path, 3.6 * panels, 4.9, title, subtitle) as figure:
        width = 0.92 / panels
        places = [(0.03 + i * (width + 0.01), 0.1, width - 0.02, 0.64) for i in range(panels)]
        first = figure.add_axes(places[0])
        show(first, image, limits=(0, 1))
        first.set_title("what the network is shown")
        second = figure.add_axes(places[1])
        heat_over(second, image, heat)
        second.set_title(heading)
        if chance is not None:
            third = figure.add_axes(places[2])
            least, most = float(chance.min()), max(float(chance.max()), 1e-3)
            flat = most - least < FLAT          # from 0 on it would be one colour
            drawn = third.imshow(chance, cmap="viridis", vmin=least if flat else 0, vmax=most)
            _bare(third)
            third.set_title("probability: hardly less anywhere" if flat else "probability, the patch being there")
            bar = figure.colorbar(drawn, ax=third, fraction=0.046, pad=0.03)
            bar.outline.set_visible(False)
        left, bottom, wide, high = places[-1]
        _curves(figure.add_axes((left + 0.05, bottom + 0.06, wide - 0.05, high - 0.1)), deleted, inserted)


def _curves(axes: Axes, deleted: Curve, inserted: Curve) -> None:
    for curve, color, what in ((deleted, ORANGE, "taken away"), (inserted, BLUE, "given back")):
        axes.plot(100 * curve.shares, curve.probabilities, color=color, label=f"{what}, area {curve.area:.2f}")
    axes.set_title("the brightest pixels first")
    axes.set_xlabel("share of the pixels, %")
    axes.set_ylabel("probability of the class")
    axes.set_ylim(-0.02, 1.3)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.grid(axis="y")
    axes.legend(loc="upper center")


def attack_page(
    path: str | os.PathLike, before: np.ndarray, after: np.ndarray, title: str, subtitle: str, says: Sequence[str],
) -> None:
    """The image, the change magnified, and the changed image; ``says`` are the network's answers to the first and last."""
    change = after - before
    reach = float(np.abs(change).max())
    with page(path, 11, 5.0, title, subtitle) as figure:
        magnified = f"the change, {0.5 / reach:{'.0f' if reach < 0.05 else '.2g'}} times as large" if reach else "no change"
        for axes, shown, heading in zip(rows_of(figure, (0.03, 0.08, 0.94, 0.68), 3, 3, 0.08),
                                        (before, 0.5 + 0.5 * change / (reach or 1), after), (says[0], magnified, says[1])):
            show(axes, np.clip(shown, 0, 1), limits=(0, 1))
            axes.set_title(heading)


def dream_page(path: str | os.PathLike, before: np.ndarray, after: np.ndarray, title: str, subtitle: str) -> None:
    """The image and what was dreamt of it, side by side."""
    aspect = before.shape[2] / before.shape[1]
    with page(path, 12, 1.25 + 5.7 / aspect, title, subtitle) as figure:
        top = 1 - 0.85 / figure.get_size_inches()[1]
        for axes, shown in zip(rows_of(figure, (0.02, 0.02, 0.96, top - 0.02), 2, 2, 0.03, aspect=aspect), (before, after)):
            show(axes, shown, limits=(0, 1))


def features_page(
    path: str | os.PathLike, image: np.ndarray, maps: Mapping[str, np.ndarray], filters: np.ndarray, title: str,
    subtitle: str, columns: int = 12,
) -> None:
    """A contact sheet: the photo, the first filters, and for each layer its channels that answer most; of a layer without
    pixels all answers, as bars."""
    row = 0.96
    height = 1.0 + row * (len(maps) + 2.2)
    with page(path, 12.6, height, title, subtitle) as figure:
        def band(index: float, high: float = row) -> tuple[float, float, float, float]:
            return 0.16, 1 - (0.95 + index * row + high) / height, 0.82, (high - 0.08) / height

        first = figure.add_axes((0.02, 1 - (0.95 + 2.1 * row) / height, 2.0 * row / 12.6, 2.0 * row / height))
        show(first, image, limits=(0, 1))
        shown = filters[:2 * columns] if filters.ndim == 4 else filters[:0]
        if len(shown):
            for axes, one in zip(rows_of(figure, (0.22, 1 - (0.95 + 2.1 * row) / height, 0.76, 2.0 * row / height),
                                         len(shown), columns, 0.1), shown):
                show_weights(axes, one)
        for i, (name, y) in enumerate(maps.items()):
            left, bottom, width, high = band(2.2 + i)
            figure.text(0.02, bottom + high, name, fontsize=10, va="top", color=INK)
            figure.text(0.02, bottom + high - 0.2 / height, " x ".join(map(str, y.shape)), fontsize=8, va="top", color=PALE)
            if y.ndim < 3 or max(y.shape[1:]) == 1:
                axes = figure.add_axes((left, bottom, width, high))
                axes.bar(np.arange(y.size), y.ravel(), width=1.0, color=BLUE)
                axes.set_xlim(-0.5, y.size - 0.5)
                _bare(axes)
                continue
            most = np.argsort(-np.abs(y).mean(axis=(1, 2)), kind="stable")[:columns]
            for axes, channel in zip(rows_of(figure, (left, bottom, width, high), len(most), columns, 0.1), most):
                show(axes, y[channel], "inferno" if y.min() >= 0 else "gray")


def patches_page(
    path: str | os.PathLike, images: np.ndarray, patches: Mapping[int, Sequence[Patch]], title: str, subtitle: str,
) -> None:
    """A contact sheet: for each channel a square of nine, the parts of the ``images`` (N, C, H, W) that excite it most.

    Of photographs the parts are cut out; small images are shown whole, with a frame around the part.
    """
    from matplotlib.patches import Rectangle

    small = max(images.shape[2:]) <= SMALL
    across = min(4, len(patches))
    rows = -(-len(patches) // across)
    width, side = 12.4, 12.4 * 0.96 / (across + 0.1 * (across - 1))
    height = 1.0 + rows * (1.1 * side + 0.3)
    with page(path, width, height, title, subtitle) as figure:
        squares = rows_of(figure, (0.02, 0.01, 0.96, 1 - 1.0 / height), len(patches), across, 0.1, 0.3 / side)
        for square, (channel, found) in zip(squares, patches.items()):
            _bare(square)
            square.set_facecolor("none")
            square.set_xlabel(f"channel {channel}, up to {found[0].strength:,.1f}" if found else f"channel {channel}: silent",
                              labelpad=3)
            box = square.get_position()
            for axes, one in zip(rows_of(figure, (box.x0, box.y0, box.width, box.height), len(found), 3, 0.04), found):
                image = images[one.image]
                show(axes, image if small else image[:, slice(*one.rows), slice(*one.columns)], limits=(0, 1))
                if small:
                    high, wide = one.rows[1] - one.rows[0], one.columns[1] - one.columns[0]
                    corner = one.columns[0] - 0.5, one.rows[0] - 0.5
                    axes.add_patch(Rectangle(corner, wide, high, fill=False, edgecolor=ORANGE, linewidth=2, clip_on=False))


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
