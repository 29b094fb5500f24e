"""A cascade of boosted trees at every window of an image (Viola and Jones 2001), as OpenCV 4 evaluates it, to the last bit.

Windows begin at rows 0, step, 2 step, ... and at columns 0, step, 2 step, ... of the image. For each the answer is the
number of stages it passed: as many as there are, and it is a find. Two kinds of windows are not looked at:

    FLAT      its pixels deviate by less than 10 grey levels from their mean: there is nothing to see (Haar only)
    SKIPPED   its left neighbour was looked at and failed in the first stage, so this one would most likely fail too

The sums of pixels are int32, and int32 wraps around; differences of four corners come out right all the same.
"""

from __future__ import annotations

import numpy as np

from minivision_kernels.cascades import FLAT, LBP, SKIPPED, Haar, Trees
from minivision_kernels.ladder import rung

Pair = tuple[int, int]


@rung("shrink_exact", name="numpy", device="cpu")
def shrink_exact(image: np.ndarray, size: Pair) -> np.ndarray:
    """An image of 8 bits, (H, W) or (H, W, C), scaled to ``size`` without antialiasing: OpenCV's INTER_LINEAR_EXACT.

    Pixel d of m new ones lies at (d + 1/2) n / m - 1/2 among the n old ones, between two of them or at the border. Its
    weights are whole 256ths, so a pixel is a sum of whole numbers, rounded once at the end.
    """
    (top, lower, fy), (left, right, fx) = (linear_taps(n, m) for n, m in zip(image.shape, size))
    wide = np.moveaxis(image.astype(np.int64), 1, -1)              # the columns last
    across = np.moveaxis(wide[..., left] * (256 - fx) + wide[..., right] * fx, 0, -1)
    pixels = (across[..., top] * (256 - fy) + across[..., lower] * fy + (1 << 15)) >> 16
    return np.ascontiguousarray(np.moveaxis(pixels, -1, 0) if image.ndim == 2 else pixels.transpose(2, 1, 0), np.uint8)


def linear_taps(n: int, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of m new pixels of n: the old pixel before it, the one after it, and the weight of that in 256ths."""
    place = (np.arange(m) + 0.5) * (n / m) - 0.5
    before = np.floor(place).astype(np.int64)
    weight = np.rint((place - before) * 256).astype(np.int64)
    outside = (before < 0) | (before >= n - 1)
    before = np.clip(before, 0, n - 1)
    return before, np.minimum(before + 1, n - 1), np.where(outside, 0, weight)


@rung("window_sums", name="numpy", device="cpu")
def window_sums(image: np.ndarray, tilted: bool) -> tuple[np.ndarray, np.ndarray]:
    """Integral images of pixels (H, W) of 8 bits: sums int32 (1 or 2, H + 1, W + 1), squares int32 (H + 1, W + 1).

    sums[0][y, x] is the sum of all pixels above row y and left of column x, squares that of their squares. With ``tilted``,
    sums[1][y, x] is the sum of the pixels (i, j) above with |j - x + 1| <= y - i - 1: a triangle that opens upwards.
    """
    H, W = image.shape
    sums = np.zeros((1 + tilted, H + 1, W + 1), np.int32)
    squares = np.zeros((H + 1, W + 1), np.int32)
    for table, power in ((sums[0], 1), (squares, 2)):
        table[1:, 1:] = np.cumsum(np.cumsum(image.astype(np.int64) ** power, axis=0), axis=1).astype(np.int32)
    if tilted:
        # A triangle is the one above and to the left, the one above and to the right, less the one they share, plus the
        # two pixels that neither has. Beyond the image on both sides the triangles still overlap it: hence the margin.
        T = np.zeros((H + 2, W + 2 * H + 4), np.int64)      # T[y + 1, x + H + 1] is the triangle of (y, x)
        pixels = np.zeros((H + 1, W + 2 * H + 4), np.int64)
        pixels[1:, H + 2:H + 2 + W] = image                 # pixels[y, x + H + 1] is the pixel (y - 1, x - 1)
        for y in range(2, H + 2):
            above = pixels[y - 2] if y >= 2 else 0
            T[y, 1:-1] = T[y - 1, :-2] + T[y - 1, 2:] - T[y - 2, 1:-1] + (pixels[y - 1] + above)[1:-1]
        sums[1] = T[1:, H + 1:H + 2 + W].astype(np.int32)
    return sums, squares


@rung("cascade_haar", name="numpy", device="cpu")
def cascade_haar(
    sums: np.ndarray, squares: np.ndarray, features: Haar, trees: Trees, size: Pair, step: int, rows: int,
) -> np.ndarray:
    """The stages passed by each window: sums and squares as from ``window_sums``, int32 (rows, columns) out.

    ``size`` is (height, width) of the window. A feature is the weighted sum of its rectangles, in float32, divided by the
    window's standard deviation: n = 1 / sqrt(A sum(p^2) - sum(p)^2) over the window less a border of one pixel, of area A.
    (A itself is part of the thresholds that OpenCV trains.)
    """
    H, W = size
    y, x, passed = _windows(sums.shape, size, step, rows)
    area = (H - 2) * (W - 2)
    frame = [(y + i, x + j) for i in (1, H - 1) for j in (1, W - 1)]
    total = _corners(sums[0], *frame).astype(np.float64)
    total_of_squares = _corners(squares, *frame).view(np.uint32).astype(np.float64)
    spread = area * total_of_squares - total * total
    with np.errstate(divide="ignore", invalid="ignore"):
        norm = (1 / np.sqrt(spread)).astype(np.float32)
        flat = ~((spread > 0) & ((np.float32(area) * norm).astype(np.float64) < 0.1))

    def left(node: int, which: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        feature = trees.nodes[node, 2]
        top, start = step * which[0], step * which[1]
        value = np.zeros(len(top), np.float32)
        for (rx, ry, w, h), weight in zip(features.rects[feature].tolist(), features.weights[feature]):
            if features.tilted[feature]:
                places = (0, 0), (h, -h), (w, w), (w + h, w - h)
            else:
                places = (0, 0), (0, w), (h, 0), (h, w)
            if weight:
                table = sums[int(features.tilted[feature])]
                inside = _corners(table, *((top + ry + dy, start + rx + dx) for dy, dx in places))
                value = value + weight * inside.astype(np.float32)
        return value * norm[which] < trees.thresholds[node]

    return _cascade(passed, flat, trees, left)


@rung("cascade_lbp", name="numpy", device="cpu")
def cascade_lbp(sums: np.ndarray, features: LBP, trees: Trees, size: Pair, step: int, rows: int) -> np.ndarray:
    """The stages passed by each window; a node asks whether the window's pattern is in its subset of the 256 there are.

    A pattern has a bit for each of the eight blocks around the one in the middle, clockwise from the top left, 128 first:
    1 if the block's sum is at least that of the middle.
    """
    _, _, passed = _windows(sums.shape, size, step, rows)

    def left(node: int, which: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        rx, ry, w, h = features.rects[trees.nodes[node, 2]].tolist()
        top, start = step * which[0] + ry, step * which[1] + rx

        def block(i: int, j: int) -> np.ndarray:
            return _corners(sums[0], *((top + (i + di) * h, start + (j + dj) * w) for di in (0, 1) for dj in (0, 1)))

        ring = (0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)
        code = sum((block(i, j) >= block(1, 1)).astype(np.int64) << (7 - bit) for bit, (i, j) in enumerate(ring))
        return (trees.subsets[node][code >> 5] >> (code & 31)) & 1 == 1

    return _cascade(passed, np.zeros(passed.shape, np.bool_), trees, left)


def _windows(shape: tuple[int, ...], size: Pair, step: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the windows begin, and room for their answers."""
    y, x = np.arange(rows)[:, None] * step, np.arange(0, max(shape[2] - size[1], 0), step)[None]
    return y, x, np.zeros((rows, x.size), np.int32)


def _corners(table: np.ndarray, p: tuple, q: tuple, r: tuple, s: tuple) -> np.ndarray:
    with np.errstate(over="ignore"):
        return table[p] - table[q] - table[r] + table[s]


def _cascade(passed: np.ndarray, flat: np.ndarray, trees: Trees, left: object) -> np.ndarray:
    """Stage by stage, with the windows that are still in."""
    which = np.nonzero(~flat)
    for stage in range(len(trees.stage_thresholds)):
        total = np.zeros(len(which[0]))
        for root in trees.roots[trees.stages[stage]:trees.stages[stage + 1]]:
            at = np.full(len(total), root)
            while (at >= 0).any():
                for node in np.unique(at[at >= 0]):
                    here = np.flatnonzero(at == node)
                    goes_left = left(node, (which[0][here], which[1][here]))            # type: ignore[operator]
                    at[here] = np.where(goes_left, trees.nodes[node, 0], trees.nodes[node, 1])
            total += trees.leaves[-1 - at]                                              # float64
        through = ~(total < trees.stage_thresholds[stage])
        which = which[0][through], which[1][through]
        passed[which] = stage + 1
        if stage == 0:
            passed[flat] = FLAT
            _skip(passed)
            kept = passed[which] == 1
            which = which[0][kept], which[1][kept]
    return passed


def _skip(passed: np.ndarray) -> None:
    """Mark the right neighbour of every window that was looked at and failed in the first stage."""
    for row in passed:
        for column in range(1, len(row)):
            if row[column - 1] == 0:
                row[column] = SKIPPED
