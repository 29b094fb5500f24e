"""Images as flat planes, so that every tap of a window is a shift.

Store an image plane with its zero padding as one long row, WQ numbers per image row. Then moving one pixel down is
moving WQ numbers along, every tap of the window is a *shift* of the whole plane, and convolution is

    y[n, f] = sum over channels c and taps t of  w[f, c, t] * (plane c of image n, from place[t] on)

over long contiguous rows, whatever the size of image and window. The price is WQ - OW junk columns in each row of sums,
computed and not stored.

A stride s is dealt out beforehand like cards: pixels whose padded place is r modulo s go to plane r. Each tap sees only
one of these *phases*, and sees it contiguously.

The gradient to the image is the same sum with the two channel axes of w exchanged and the shifts turned round, once for
every phase of the image.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from minivision_kernels.cpu.compile import In1, IntIn1, Out1, Team, compiled, contiguous, helper, prange
from minivision_kernels.cpu.simd import add, entry, evens, lanes, load, load_between, none, put_woven
from minivision_kernels.cpu.stream import put_first
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair

SLACK = 64          # numbers that may be read (never used) beyond the last plane, by a vector that starts within it


class Deal(NamedTuple):
    """How the pixels of an image are dealt out to planes, so that each tap sees one plane, contiguously."""

    rows: np.ndarray            # the vertical phases that some tap sees
    columns: np.ndarray         # the horizontal ones
    height: int                 # rows of one plane, HQ
    width: int                  # columns of one plane, WQ
    place: np.ndarray           # (channels * KH * KW,): where each tap of each channel starts in an image's planes


@functools.lru_cache(maxsize=1024)
def deal(channels: int, window: Pair, output: Pair, stride: Pair, dilation: Pair) -> Deal:
    """The deal for windows of this size and number."""
    (row_of, down), (column_of, right) = (
        np.divmod(np.arange(k) * d, s)[::-1] for k, s, d in zip(window, stride, dilation))
    rows, columns = np.unique(row_of), np.unique(column_of)
    height, width = output[0] + int(down.max(initial=0)), output[1] + int(right.max(initial=0))
    plane = np.searchsorted(rows, row_of)[:, None] * len(columns) + np.searchsorted(columns, column_of)     # (KH, KW)
    channel = np.arange(channels)[:, None, None] * (len(rows) * len(columns))
    place = ((channel + plane) * height + down[:, None]) * width + right
    return Deal(rows, columns, height, width, place.ravel())


def dealt(x: np.ndarray, how: Deal, stride: Pair, padding: Pair) -> np.ndarray:
    """The images x (N, C, H, W) with zero padding, dealt out: (N, C * phases * HQ * WQ)."""
    N, C, H, W = x.shape
    if stride == (1, 1) and padding == (0, 0) and (how.height, how.width) == (H, W):
        return contiguous(x).reshape(N, C * H * W)          # already one plane per channel, no copy
    size = C * len(how.rows) * len(how.columns) * how.height * how.width
    planes = empty((N * size + SLACK,), x.dtype)
    planes[N * size:] = 0
    planes = planes[:N * size].reshape(N, size)
    _deal_out(contiguous(x).reshape(-1), N * C, H, W, how.rows, how.columns, how.height, how.width, *stride, *padding,
              planes.reshape(-1), work=planes.size)
    return planes


@compiled
def _deal_out(
    x: In1, images: int, H: int, W: int, rows: IntIn1, columns: IntIn1, height: int, width: int, stride_h: int, stride_w: int,
    padding_h: int, padding_w: int, planes: Out1, team: Team,
):
    """planes[n, i, j, q, r] = x[n, q stride_h + rows[i] - padding_h, r stride_w + columns[j] - padding_w], or 0"""
    L, R, S = lanes(x), rows.shape[0], columns.shape[0]
    for n in prange(images, team):
        to = n * R * S * height * width
        for i in range(R):
            for j in range(S):
                for q in range(height):
                    h = q * stride_h + rows[i] - padding_h
                    at, here = (n * H + h) * W, W if 0 <= h < H else 0          # no pixel of a line that is not there
                    for r in range(0, width, L):
                        pixel, value = r * stride_w + columns[j] - padding_w, none(x)
                        if stride_w == 1:
                            value = load_between(x, at + pixel, -pixel, here - pixel)
                        elif stride_w == 2:
                            far = pixel + L
                            value = evens(load_between(x, at + pixel, -pixel, here - pixel),
                                          load_between(x, at + far, -far, here - far))
                        else:
                            for k in range(r, min(width, r + L)):
                                pixel = k * stride_w + columns[j] - padding_w
                                planes[to + k] = entry(x, at + pixel) if 0 <= pixel < here else 0
                            continue
                        put_first(planes, to + r, value, width - r)
                    to += width


@helper
def fold_plane(parts, at, apart, OH, OW, KH, KW, top, left, down, right, image, to, H, W, past):
    """A plane of an image (H, W) as the sum of what its taps have for it at stride 2: tap (kh, kw) of output (oh, ow) is pixel
    (2 oh + kh down - top, 2 ow + kw right - left), and those of a tap lie ``apart`` from those of the tap before, or with 0
    all taps have the same. Even columns of a line and odd ones are summed by themselves, and woven, and written past the caches
    if ``past``."""
    L = lanes(image)
    for h in range(H):
        for column in range(0, (W + 1) // 2, L):
            even, odd = none(image), none(image)
            for kh in range(KH):
                twice = h + top - kh * down
                if twice % 2 == 0 and 0 <= twice < 2 * OH:
                    for kw in range(KW):
                        shift = column + (left - kw * right + 1) // 2
                        from_ = at + (kh * KW + kw) * apart + twice // 2 * OW + shift
                        if shift >= 0 and shift + L <= OW:
                            part = load(parts, from_)
                        else:
                            part = load_between(parts, from_, -shift, OW - shift)
                        if (left - kw * right) % 2 == 0:
                            even = add(even, part)
                        else:
                            odd = add(odd, part)
            put_woven(image, to + h * W + 2 * column, even, odd, W - 2 * column, past)


def widened(g: np.ndarray, width: int) -> np.ndarray:
    """g (N, F, OH, OW) as rows of ``width`` numbers, (N, F, OH * width): zeros where the planes have junk columns."""
    N, F, OH, OW = g.shape
    if width == OW:
        return contiguous(g).reshape(N, F, OH * OW)
    wide = np.zeros((N, F, OH, width), g.dtype)
    wide[..., :OW] = g
    return wide.reshape(N, F, OH * width)


class Weights(NamedTuple):
    """Rows of weights, one for each plane of results, as they lie in the flat array of filters: nothing is moved.

    Weight k of row q of group g is ``flat[g * group_step + q * row_step + offset[k]]``.
    """

    rows: int                   # in each group
    groups: int
    row_step: int
    group_step: int
    offset: np.ndarray          # (K,)
    step: int                   # between the offsets, if they are even; else 0

    def matrix(self, flat: np.ndarray) -> np.ndarray:
        """The rows of all groups, (groups * rows, K)."""
        first = np.arange(self.groups)[:, None] * self.group_step + np.arange(self.rows) * self.row_step
        return flat[first.reshape(-1, 1) + self.offset]


Filters = tuple[np.ndarray, int, int, bool]     # weights, how far those of two filters and of two channels lie from each
                                                # other, and whether they run backward


def by_filters(w: np.ndarray) -> Filters:
    """Those of a convolution forward."""
    taps = math.prod(w.shape[2:])
    return contiguous(w).reshape(-1), taps * w.shape[1], taps, False


def by_channels(w: np.ndarray) -> Filters:
    """Those of the gradient to the image: channels take the place of filters, which are turned round."""
    taps = math.prod(w.shape[2:])
    return contiguous(w).reshape(-1), taps, taps * w.shape[1], True


class Phase(NamedTuple):
    """Every stride-th pixel along one axis of the image, and the taps through which windows see them."""

    first: int                  # the first of these pixels
    length: int                 # how many there are
    taps: np.ndarray            # which taps see them
    shifts: np.ndarray          # for each tap, the output that sees the first pixel; the next one sees the next, ...


@functools.lru_cache(maxsize=1024)
def phases(size: int, window: int, stride: int, padding: int, dilation: int) -> list[Phase]:
    """The phases of one axis of an image."""
    found = []
    for first in range(min(stride, size)):
        # Output o sees pixel o * stride + tap * dilation - padding through a tap.
        shifts, rest = np.divmod(first + padding - np.arange(window) * dilation, stride)
        taps = np.flatnonzero(rest == 0)
        found.append(Phase(first, len(range(first, size, stride)), taps, shifts[taps]))
    return found


def margins(along: list[Phase], outputs: int) -> tuple[int, int]:
    """Zeros to put in front of g along one axis so that no shift leaves it, and its length with those on both ends."""
    lowest = min((int(p.shifts.min(initial=0)) for p in along), default=0)
    end = max((int(p.shifts.max(initial=0)) + p.length for p in along), default=0)
    return -lowest, max(outputs, end) - lowest


class Part(NamedTuple):
    """The sum that gives one phase of the gradient to the image: which weights, where they find g, where the result goes."""

    weights: Weights
    place: np.ndarray           # of each weight, in the padded planes of a group of g
    row: Phase
    column: Phase


def gradient_parts(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> tuple[np.ndarray, int, list[Part]]:
    """The gradient to an image of ``shape`` as sums of shifted planes of g: those planes, their width, and the sums."""
    _, C, H, W = shape
    F, _, KH, KW = w.shape
    OH, OW = g.shape[2:]
    rows = phases(H, KH, stride[0], padding[0], dilation[0])
    columns = phases(W, KW, stride[1], padding[1], dilation[1])
    (top, height), (left, width) = margins(rows, OH), margins(columns, OW)
    whole = Deal(np.zeros(1, np.int64), np.zeros(1, np.int64), height, width, np.zeros(0, np.int64))
    planes = dealt(g, whole, (1, 1), (top, left))
    channels = C // groups
    filters = np.arange(F // groups)[:, None, None]
    parts = []
    for row in rows:
        for column in columns:
            # A row of weights for each channel of x: all filters of its group, with the taps that see this phase.
            offset = filters * (channels * KH * KW) + row.taps[:, None] * KW + column.taps
            weights = Weights(channels, groups, KH * KW, F // groups * channels * KH * KW, offset.ravel(), 0)
            shift = (row.shifts[:, None] + top) * width + column.shifts + left
            parts.append(Part(weights, (filters * (height * width) + shift).ravel(), row, column))
    return planes, width, parts
