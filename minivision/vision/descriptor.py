"""A detector that slides a window over an image and its smaller copies: OpenCV's HOGDescriptor, written to be read.

The paper's way to find people (Dalal and Triggs 2005): a window of 64 x 128 pixels has 7 x 15 blocks, which together are
3,780 numbers; a linear classifier gives each a weight, and a window with a positive sum is a person. The window stays as
large as it is, and the image shrinks.

A block looks the same in every window that it is part of. So the blocks of a whole image are computed once, and the sum of
a window is put together from what each of its blocks contributes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minivision_kernels import run

from . import checks
from .grouping import similar_groups, swallowed
from .hog import gaussian_window, normalised

Size = tuple[int, int]
EPS = 0.2                       # how different similar boxes may be


class HOGDescriptor:
    """Histograms of oriented gradients of windows, and a linear detector on them, with the numbers of OpenCV 4.

    All sizes here are (width, height), as in OpenCV; arrays are H x W or H x W x 3, uint8.

    Args:
        win_size: of a window; a whole number of block strides larger than a block.
        block_size: a whole number of cells.
        block_stride: from one block to the next.
        cell_size: of a cell.
        nbins: bins of a histogram, over 180 degrees, or 360 for signed gradients.
        win_sigma: of the Gaussian over a block; None for (block width + block height) / 8.
        gamma_correction: take the square root of every pixel first.
        nlevels: at most so many scales of an image are searched.
        signed_gradient: whether opposite directions are told apart.
    """

    def __init__(
        self, win_size: Size = (64, 128), block_size: Size = (16, 16), block_stride: Size = (8, 8), cell_size: Size = (8, 8),
        nbins: int = 9, *, win_sigma: float | None = None, gamma_correction: bool = True, nlevels: int = 64,
        signed_gradient: bool = False,
    ):
        self.win_size, self.block_size = _size(win_size, "win_size"), _size(block_size, "block_size")
        self.block_stride, self.cell_size = _size(block_stride, "block_stride"), _size(cell_size, "cell_size")
        self.nbins = checks.whole(nbins, NAME, "nbins", 1, 360)
        self.nlevels = checks.whole(nlevels, NAME, "nlevels", 1)
        self.win_sigma = None if win_sigma is None else checks.number(win_sigma, NAME, "win_sigma")
        if self.win_sigma is not None and self.win_sigma <= 0:
            raise ValueError(f"{NAME}: got win_sigma={win_sigma!r}, expected a number above 0, or None for OpenCV's")
        self.gamma_correction, self.signed_gradient = bool(gamma_correction), bool(signed_gradient)
        for axis, block, cell, window, stride in zip(
                ("width", "height"), self.block_size, self.cell_size, self.win_size, self.block_stride):
            if block % cell:
                raise ValueError(f"{NAME}: block_size {self.block_size} is no multiple of cell_size {self.cell_size} in "
                                 f"{axis}; expected whole cells in a block")
            if window < block or (window - block) % stride:
                raise ValueError(f"{NAME}: win_size {self.win_size} does not fit in {axis}; expected block_size "
                                 f"{self.block_size} and any number of times block_stride {self.block_stride} more")
        self.weights: np.ndarray | None = None
        self.bias = 0.0

    @property
    def blocks(self) -> Size:
        """How many blocks a window has, across and down."""
        across, down = ((w - b) // s + 1 for w, b, s in zip(self.win_size, self.block_size, self.block_stride))
        return across, down

    @property
    def descriptor_size(self) -> int:
        """How many numbers describe a window; 3,780 for the paper's."""
        cells = (self.block_size[0] // self.cell_size[0]) * (self.block_size[1] // self.cell_size[1])
        return self.blocks[0] * self.blocks[1] * cells * self.nbins

    def compute(self, image: np.ndarray, win_stride: Size | None = None, padding: Size = (0, 0)) -> np.ndarray:
        """The descriptors of all windows.

        Args:
            win_stride: from one window to the next; None for a cell.
            padding: pixels added at both sides of both axes, mirrored; rounded up as OpenCV does.

        Returns:
            (windows, descriptor_size) float32, the windows by rows. OpenCV returns the same numbers in one axis.
        """
        grid, _, _ = self._windows(image, win_stride or self.cell_size, padding, "compute")
        rows, columns = grid.shape[:2]
        by_columns = grid.transpose(0, 1, 3, 2, 5, 4, 6)            # (rows, columns, blocks across, blocks down, BC, BR, bins)
        return np.ascontiguousarray(by_columns).reshape(rows * columns, self.descriptor_size)

    def set_svm_detector(self, detector: Any) -> None:
        """The classifier: a weight for each number of a descriptor, and after them, if there is one more, the bias."""
        values = np.asarray(detector, np.float32).reshape(-1)
        size = self.descriptor_size
        if len(values) not in (size, size + 1):
            raise ValueError(f"{NAME}.set_svm_detector: got {len(values)} numbers, expected {size} weights, or {size + 1} with "
                             "the bias last")
        if not np.isfinite(values).all():
            raise ValueError(f"{NAME}.set_svm_detector: the detector holds NaN or infinity, expected finite numbers")
        self.weights = values[:size]
        self.bias = float(values[size]) if len(values) > size else 0.0

    def detect(
        self, image: np.ndarray, hit_threshold: float = 0.0, win_stride: Size | None = None, padding: Size = (0, 0),
    ) -> tuple[np.ndarray, np.ndarray]:
        """The windows of the image, as large as it is, with a score of at least ``hit_threshold``.

        Returns:
            places (n, 2) int64, x and y of each window's corner, by rows; scores (n,) float64.
        """
        scores, stride, origin = self._scores(image, win_stride or self.cell_size, padding, "detect")
        rows, columns = np.nonzero(scores >= checks.number(hit_threshold, f"{NAME}.detect", "hit_threshold"))
        places = np.stack([columns * stride[0] - origin[0], rows * stride[1] - origin[1]], 1).astype(np.int64)
        return places, scores[rows, columns]

    def detect_multi_scale(
        self, image: np.ndarray, hit_threshold: float = 0.0, win_stride: Size | None = None, padding: Size = (0, 0),
        scale: float = 1.05, group_threshold: float = 2.0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """What the detector finds in the image and its smaller copies.

        The image shrinks by ``scale`` from one level to the next while a window fits. Finds that are nearly the same become
        one, their mean, with the highest of their scores; groups of ``group_threshold`` or fewer are dropped, so that one
        strong find alone needs group_threshold=0, which leaves all finds as they are.

        Args:
            hit_threshold: the least score of a find.
            win_stride: from one window to the next, None for the stride of blocks.
            padding: pixels added around every level.
            scale: above 1.
            group_threshold: a group needs more finds than this.

        Returns:
            boxes (n, 4) int64 of x, y, width, height within the image; scores (n,) float64.
        """
        where = f"{NAME}.detect_multi_scale"
        self._check(image, "detect_multi_scale")
        if checks.number(scale, where, "scale") <= 1:
            raise ValueError(f"{where}: got scale={scale!r}, expected a number above 1; 1.05 makes each level 5 % smaller")
        least = checks.number(group_threshold, where, "group_threshold")
        H, W = image.shape[:2]
        boxes, scores, factor = [np.zeros((0, 4), np.int64)], [np.zeros(0)], 1.0
        for _ in range(self.nlevels):
            size = round(H / factor), round(W / factor)
            if size[0] < self.win_size[1] or size[1] < self.win_size[0]:
                break
            places, found = self.detect(shrunk(image, size), hit_threshold, win_stride or self.block_stride, padding)
            corners = np.rint(places * factor)
            sides = np.broadcast_to([round(side * factor) for side in self.win_size], corners.shape)
            boxes.append(np.concatenate([corners, sides], 1).astype(np.int64))
            scores.append(found)
            factor *= scale
        return _clipped(*_grouped(np.concatenate(boxes), np.concatenate(scores), int(least)), (W, H))

    # ------------------------------------------------------------------------------------------ blocks and windows

    def _check(self, image: np.ndarray, method: str) -> None:
        checks.image(image, f"{NAME}.{method}")
        if image.dtype != np.uint8:
            raise TypeError(f"{NAME}.{method}: image is {image.dtype}, expected uint8 (0..255); floats in 0..1 become that "
                            "with (255 * image).round().astype('uint8')")
        H, W = image.shape[:2]
        if self.win_size[0] > W or self.win_size[1] > H:
            raise ValueError(f"{NAME}.{method}: image is {W} x {H} (width x height), smaller than a window of "
                             f"{self.win_size[0]} x {self.win_size[1]}; enlarge the image, or take a "
                             "smaller win_size")

    def _windows(self, image: np.ndarray, win_stride: Size, padding: Size, method: str) -> tuple[np.ndarray, Size, Size]:
        """The blocks of every window, a view (rows, columns, blocks down, blocks across, BR, BC, bins); stride; padding."""
        grid, step, stride, origin = self._block_grid(image, win_stride, padding, method)
        across, down = self.blocks
        far = [b // g for b, g in zip(self.block_stride, step)]             # places in the grid from block to block
        apart = [s // g for s, g in zip(stride, step)]                      # and from window to window
        view = np.lib.stride_tricks.sliding_window_view(grid, ((down - 1) * far[1] + 1, (across - 1) * far[0] + 1), axis=(0, 1))
        view = view[::apart[1], ::apart[0], ..., ::far[1], ::far[0]]
        return view.transpose(0, 1, 5, 6, 2, 3, 4), stride, origin

    def _scores(self, image: np.ndarray, win_stride: Size, padding: Size, method: str) -> tuple[np.ndarray, Size, Size]:
        """The score of every window (rows, columns): a sum over its blocks of what each contributes."""
        if self.weights is None:
            raise ValueError(f"{NAME}.{method}: there is no detector yet; call set_svm_detector(weights) first")
        grid, step, stride, origin = self._block_grid(image, win_stride, padding, method)
        across, down = self.blocks
        BR, BC = grid.shape[2:4]
        by_rows = self.weights.reshape(across, down, BC, BR, self.nbins).transpose(1, 0, 3, 2, 4)
        far, apart = (tuple(s // g for s, g in zip(strides[::-1], step[::-1])) for strides in (self.block_stride, stride))
        scores = run("hog_scores", np.ascontiguousarray(grid).reshape(*grid.shape[:2], -1),
                     np.ascontiguousarray(by_rows).reshape(down, across, -1), far, apart)
        return scores + self.bias, stride, origin

    def _block_grid(
        self, image: np.ndarray, win_stride: Size, padding: Size, method: str,
    ) -> tuple[np.ndarray, Size, Size, Size]:
        """All blocks that windows are made of, ``step`` pixels apart; with step, stride and padding as (across, down)."""
        self._check(image, method)
        stride = _size(win_stride, "win_stride", method)
        added = _size(padding, "padding", method, least=0)
        step = math.gcd(stride[0], self.block_stride[0]), math.gcd(stride[1], self.block_stride[1])
        pad = -(-added[0] // step[0]) * step[0], -(-added[1] // step[1]) * step[1]
        pixels = np.atleast_3d(image)
        border = 1 if max(pad) else 0                   # one more, whose only part is in the gradients of its neighbours
        if border:
            pixels = np.pad(pixels, [(pad[1] + 1,) * 2, (pad[0] + 1,) * 2, (0, 0)], mode="reflect")
        wide = pixels.astype(np.float32)
        if self.gamma_correction:
            np.sqrt(wide, out=wide)
        cell, counts = self.cell_size[::-1], [b // c for b, c in zip(self.block_size[::-1], self.cell_size[::-1])]
        down, right = gaussian_window(cell, (counts[0], counts[1]), "opencv", np.float32, self.win_sigma)
        votes = run("hog_votes", wide, down, right, cell, step[::-1], (border, border), self.nbins, self.signed_gradient, True)
        rows, columns = ((n - 2 * border - b) // s + 1 for n, b, s in zip(wide.shape, self.block_size[::-1], step[::-1]))
        return normalised(votes, "OpenCV")[:rows, :columns], step, stride, pad


NAME = HOGDescriptor.__name__


def shrunk(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The image scaled to (H, W) as OpenCV does between levels, without antialiasing; itself if it has that size."""
    return image if image.shape[:2] == size else run("shrink_exact", image, size)


def _grouped(boxes: np.ndarray, scores: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Each group of similar boxes as its mean with its highest score, where it has more than ``least`` members."""
    if least <= 0 or not len(boxes):
        return boxes, scores
    groups = [group for group in similar_groups(boxes, EPS) if len(group) > least]
    means = np.array([np.rint(boxes[group].sum(0) * (1 / len(group))) for group in groups], np.int64).reshape(-1, 4)
    counts = np.array([len(group) for group in groups])
    kept = [i for i in range(len(means)) if not swallowed(i, means, counts, EPS)]
    return means[kept], np.array([scores[groups[i]].max() for i in kept])


def _clipped(boxes: np.ndarray, scores: np.ndarray, size: Size) -> tuple[np.ndarray, np.ndarray]:
    """The parts of boxes that lie in the image; those outside are dropped."""
    begin = np.maximum(boxes[:, :2], 0)
    sides = np.minimum(boxes[:, :2] + boxes[:, 2:], size) - begin
    inside = (sides > 0).all(1)
    return np.concatenate([begin, sides], 1)[inside], scores[inside]


def _size(value: Any, argument: str, method: str = "", least: int = 1) -> Size:
    """(width, height), each at least ``least``."""
    where = f"{NAME}.{method}" if method else NAME
    if not isinstance(value, (tuple, list, np.ndarray)) or len(value) != 2:
        raise TypeError(f"{where}: got {argument}={value!r}, expected (width, height)")
    return checks.whole(value[0], where, argument, least), checks.whole(value[1], where, argument, least)
