"""Histograms of oriented gradients: a picture as the directions of its edges, cell by cell."""

from __future__ import annotations

from typing import Any

import numpy as np

from minivision_kernels import run

from . import checks

STYLES = ("skimage", "opencv", "dalal-triggs")
NORMS = ("L1", "L1-sqrt", "L2", "L2-Hys")


def hog(
    image: np.ndarray, orientations: int = 9, pixels_per_cell: tuple[int, int] = (8, 8),
    cells_per_block: tuple[int, int] = (3, 3), block_norm: str | None = "L2-Hys", visualize: bool = False,
    transform_sqrt: bool = False, feature_vector: bool = True, *, channel_axis: int | None = None, style: str = "skimage",
) -> Any:
    """Histograms of oriented gradients of an image: numbers that say where edges run and how, and little else.

    Every pixel votes for the direction of its gradient, with the gradient's length. The votes are collected in cells, by
    default of 8 x 8 pixels and in 9 bins of 20 degrees; opposite directions are one. Neighbouring cells form a block, whose
    histograms are divided by their common size, so that a shadow changes little. Blocks overlap: they lie a cell apart.
    Source: Dalal and Triggs 2005, "Histograms of oriented gradients for human detection".

    Three authorities differ in what the paper leaves open, or changed it. ``style`` says whom to follow:

    =====================  ===========================  ==============================  ==============================
    .                      "skimage"                    "opencv"                        "dalal-triggs"
    =====================  ===========================  ==============================  ==============================
    a vote goes to         one bin of one cell          two bins, up to four cells      two bins, up to four cells
    angle                  exact                        a polynomial, to 0.01 degrees   exact
    weight in the block    1                            Gaussian, sigma a quarter of    Gaussian, sigma half of
                                                        the block, centre at n / 2      the block, centre in the middle
    a cell's votes are     divided by its pixels        not divided                     not divided
    first norm             sqrt(|v|^2 + 1e-10)          \\|v| + 0.1 len(v)               sqrt(|v|^2 + 1e-10)
    second norm (L2-Hys)   the same                     \\|v| + 1e-3                     the same
    norms                  L1, L1-sqrt, L2, L2-Hys      L2-Hys                          L1, L1-sqrt, L2, L2-Hys
    square root of pixels  off in its library           on in its library               recommended
    computed in            float64; float32 for         float32, of uint8 images        float64; float32 for
                           float32 images                                               float32 images
    order of the vector    blocks and cells by rows     blocks and cells by columns     blocks and cells by rows
    =====================  ===========================  ==============================  ==============================

    All three take the difference of the two neighbours as the gradient, 0 across the image's border, and of several channels
    the one with the longest gradient, the first of equals. "skimage" equals ``skimage.feature.hog``, "opencv" a
    ``cv2.HOGDescriptor`` with a window of as many whole cells as the image has; its Gaussian is set up as there.

    Args:
        image: H x W, or H x W x 3; uint8, or finite float32 or float64 (for "opencv" uint8). Its scale stays as it is.
        orientations: bins over 180 degrees, at least 1.
        pixels_per_cell: (height, width). Pixels beyond the last whole cell do not vote.
        cells_per_block: (rows, columns).
        block_norm: one of the table's norms, or None for histograms that are not divided: of cells, (rows, columns,
            orientations), for "skimage"; of blocks, before their division, for the others.
        visualize: also return the picture of the cells, see `hog_image`.
        transform_sqrt: first take the square root of every pixel, which must not be negative.
        feature_vector: return one row of numbers, in the order of the table.
        channel_axis: which axis holds the channels, of which there may then be any number; None for H x W and H x W x 3.

    Returns:
        (rows, columns, cell rows, cell columns, orientations), one block after the other by rows and then by columns; for
        ``feature_vector`` all in one axis. With ``visualize`` a pair of that and the picture, float H x W.

    Raises:
        TypeError, ValueError: what is no image, or is smaller than a block; an argument out of its range.
    """
    checks.chosen(style, STYLES, "hog", "style")
    orientations = checks.whole(orientations, "hog", "orientations", 1, 360)
    cell = checks.size(pixels_per_cell, "hog", "pixels_per_cell")
    block = checks.size(cells_per_block, "hog", "cells_per_block")
    norms = (None, "L2-Hys") if style == "opencv" else (None, *NORMS)
    if block_norm not in norms:
        known = ", ".join(map(repr, norms))
        raise ValueError(f"hog: got block_norm={block_norm!r}, expected one of {known} for style={style!r}")
    pixels = _channels_last(image, channel_axis)
    if style == "opencv" and pixels.dtype != np.uint8:
        raise TypeError(f"hog: image is {pixels.dtype}, but style='opencv' takes uint8, as OpenCV does, whose constants are "
                        "made for 0..255; convert floats in 0..1 with (255 * image).round().astype('uint8')")
    needs_block = block_norm is not None or style != "skimage"
    _large_enough(pixels.shape[:2], cell, block if needs_block else (1, 1))
    result_dtype = np.dtype(np.float32) if style == "opencv" or pixels.dtype == np.float32 else np.dtype(np.float64)
    # Differences of whole numbers are exact in float32 as well; roots are not.
    exact = pixels.dtype == np.uint8 and not (transform_sqrt and style != "opencv") and style != "dalal-triggs"
    wide = pixels.astype(np.float32 if exact else result_dtype)
    if transform_sqrt:
        if pixels.dtype != np.uint8 and float(wide.min()) < 0:
            raise ValueError(f"hog: image holds {float(wide.min()):g}, and transform_sqrt takes square roots; expected no "
                             "negative numbers")
        np.sqrt(wide, out=wide)

    if style == "skimage":
        cells = run("hog_cells", wide, cell, orientations).astype(result_dtype, copy=False)
        blocks = cells if block_norm is None else run("hog_blocks", cells, block, block_norm)
    else:
        down, right = gaussian_window(cell, block, style, wide.dtype)
        votes = run("hog_votes", wide, down, right, cell, cell, (0, 0), orientations, False, style == "opencv")
        cells = _cells_of(votes) if visualize else votes
        blocks = votes if block_norm is None else normalised(votes, "OpenCV" if style == "opencv" else block_norm)
    features = blocks
    if feature_vector:
        features = (opencv_order(blocks) if style == "opencv" else blocks).reshape(-1)
    if not visualize:
        return features
    return features, hog_image(cells, cell, pixels.shape[:2])


def hog_image(cells: np.ndarray, pixels_per_cell: tuple[int, int] = (8, 8), size: tuple[int, int] | None = None) -> np.ndarray:
    """A picture of histograms: in every cell a star of lines, one for each bin, as bright as the bin is full.

    A line runs along the edge that its gradients cross, at a right angle to the middle of the bin. Where lines of a star
    cross, their brightness adds up. With the cells of an image and its size this is scikit-image's picture, but for lines
    that end on the border of two pixels, where its stars differ from each other; larger ``pixels_per_cell`` than those of
    the histograms give larger stars.

    Args:
        cells: (rows, columns, orientations), from ``hog(image, ..., block_norm=None, feature_vector=False)``.
        pixels_per_cell: (height, width) of a star.
        size: (H, W) of the picture; pixels beyond the stars are 0. None: as many as the stars take.

    Returns:
        H x W, floats of the dtype of ``cells``, from 0 up.
    """
    if not isinstance(cells, np.ndarray) or cells.dtype not in checks.FLOATS:
        raise TypeError(f"hog_image: cells is {getattr(cells, 'dtype', type(cells).__name__)}, expected a float array (rows, "
                        "columns, orientations), from hog(image, block_norm=None, feature_vector=False)")
    if cells.ndim != 3 or not cells.size:
        raise ValueError(f"hog_image: cells has shape {cells.shape}, expected (rows, columns, orientations), none of them 0; "
                         "from hog(image, block_norm=None, feature_vector=False)")
    if not np.isfinite(cells).all():
        raise ValueError("hog_image: cells holds NaN or infinity, expected finite numbers")
    CH, CW = checks.size(pixels_per_cell, "hog_image", "pixels_per_cell")
    rows, columns, orientations = cells.shape
    H, W = (rows * CH, columns * CW) if size is None else checks.size(size, "hog_image", "size")
    if rows * CH > H or columns * CW > W:
        raise ValueError(f"hog_image: {rows} x {columns} cells of {CH} x {CW} pixels do not fit into size={(H, W)}; expected "
                         f"at least {(rows * CH, columns * CW)}")
    stars = np.zeros((rows, CH, columns, CW), cells.dtype)
    radius = max(min(CH, CW) // 2 - 1, 0)
    for o in range(orientations):
        middle = np.pi * (o + 0.5) / orientations
        down, right = radius * np.cos(middle), -radius * np.sin(middle)
        # A thousand-millionth decides for ends that lie on the border of two pixels, and not the rounding of the cosine.
        begin, end = ((int(CH // 2 + sign * down + 1e-9), int(CW // 2 + sign * right + 1e-9)) for sign in (-1, 1))
        for y, x in _line(begin, end):
            stars[:, y, :, x] += cells[:, :, o]
    picture = np.zeros((H, W), cells.dtype)
    picture[:rows * CH, :columns * CW] = stars.reshape(rows * CH, columns * CW)
    return picture


# ---------------------------------------------------------------------------------------------- shared with HOGDescriptor


def gaussian_window(cell: tuple[int, int], block: tuple[int, int], style: str, dtype: Any,
                    sigma: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The weight of a block's pixels as a product of one for its row and one for its column."""
    sides = [n * count for n, count in zip(cell, block)]
    if style == "opencv":
        sigmas, centres = [sigma or sum(sides) / 8] * 2, [n / 2 for n in sides]
    else:
        sigmas, centres = [n / 2 for n in sides], [(n - 1) / 2 for n in sides]
    down, right = (np.exp(-(np.arange(n) - centre) ** 2 / (2 * s ** 2)).astype(dtype)
                   for n, centre, s in zip(sides, centres, sigmas))
    return down, right


def normalised(votes: np.ndarray, norm: str) -> np.ndarray:
    """Blocks (rows, columns, BR, BC, orientations), each divided by its size."""
    rows, columns = votes.shape[:2]
    return run("hog_blocks", votes.reshape(rows, columns, -1), (1, 1), norm).reshape(votes.shape)


def opencv_order(blocks: np.ndarray) -> np.ndarray:
    """Blocks by columns and the cells in them by columns: (columns, rows, BC, BR, orientations)."""
    return np.ascontiguousarray(blocks.transpose(1, 0, 3, 2, 4))


# ---------------------------------------------------------------------------------------------- parts


def _channels_last(image: Any, channel_axis: Any) -> np.ndarray:
    """The checked image as (H, W, C)."""
    if channel_axis is None:
        return np.atleast_3d(checks.image(image, "hog"))
    if not isinstance(image, np.ndarray) or image.ndim != 3:
        raise ValueError(f"hog: image has {getattr(image, 'ndim', 'no')} axes, but channel_axis={channel_axis!r} is for three; "
                         "leave channel_axis out for H x W")
    axis = checks.whole(channel_axis, "hog", "channel_axis", -3, 2)
    moved = np.moveaxis(image, axis, -1)
    if not moved.shape[2]:
        raise ValueError(f"hog: image has shape {image.shape} and channel_axis={axis}; expected at least one channel")
    checks.image(moved.reshape(moved.shape[0], -1), "hog")
    return moved


def _large_enough(size: tuple[int, int], cell: tuple[int, int], block: tuple[int, int]) -> None:
    H, W = size
    if cell[0] > H or cell[1] > W:
        raise ValueError(f"hog: image is {H} x {W}, smaller than a cell of {cell[0]} x {cell[1]} pixels; pass a larger image "
                         "or smaller pixels_per_cell")
    height, width = cell[0] * block[0], cell[1] * block[1]
    if height > H or width > W:
        raise ValueError(f"hog: image is {H} x {W}, smaller than a block of {block[0]} x {block[1]} cells of {cell[0]} x "
                         f"{cell[1]} pixels; pass a larger image, smaller pixels_per_cell or fewer cells_per_block")


def _cells_of(votes: np.ndarray) -> np.ndarray:
    """One histogram for each cell of the image: the mean over the blocks that it is part of."""
    rows, columns, BR, BC, orientations = votes.shape
    cells = np.zeros((rows + BR - 1, columns + BC - 1, orientations), votes.dtype)
    count = np.zeros((*cells.shape[:2], 1), votes.dtype)
    for i in range(BR):
        for j in range(BC):
            cells[i:i + rows, j:j + columns] += votes[:, :, i, j]
            count[i:i + rows, j:j + columns] += 1
    return cells / count


def _line(begin: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
    """The pixels of a line from one to the other (Bresenham 1965): one for each step along its longer direction."""
    (y, x), (down, right) = begin, (abs(end[0] - begin[0]), abs(end[1] - begin[1]))
    step_y, step_x = (1 if end[k] > begin[k] else -1 for k in (0, 1))
    pixels, long, short = [], max(down, right), min(down, right)
    excess = 2 * short - long
    for _ in range(long):
        pixels.append((y, x))
        aside = excess >= 0
        excess += 2 * short - 2 * long * aside
        y += step_y if down > right or aside else 0
        x += step_x if down <= right or aside else 0
    return [*pixels, end]
