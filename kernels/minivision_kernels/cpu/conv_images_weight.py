"""The gradient to filters with a lane for each image; ``conv_images.py`` tells how pixels lie then.

A weight meets a pixel of the image and one of g, vectors of L images, and 4 filters x up to 5 taps of one line are summed in
registers over all outputs of some lines. What the lanes hold is added up at the end of these lines. The images are divided
into parts, each with sums of its own, as many for any number of threads.
"""

from __future__ import annotations

import numpy as np

from minivision_kernels.cpu.bands import window, workers
from minivision_kernels.cpu.compile import In1, IntIn1, Out1, Team, compiled, contiguous, helper, inlined, prange
from minivision_kernels.cpu.conv_images import fills_lanes, plan, turn_in
from minivision_kernels.cpu.simd import entry, lanes, lanes_of, vectors
from minivision_kernels.cpu.tile import MANY, add_totals, inner, zeros
from minivision_kernels.ladder import rung
from minivision_kernels.memory import scratch
from minivision_kernels.memory import zeros as cleared
from minivision_kernels.shapes import Pair

ROWS, MOST = 4, 5 if MANY else 2        # filters of a tile, and taps at most
PARTS = 16          # of the images, at most, each with sums of its own


def worth(x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
          dilation: Pair = (1, 1), groups: int = 1) -> bool:
    """For few filters and channels, and so many outputs that their products take longer than to add up the lanes."""
    filters, channels, KH, KW = shape[0] // groups, *shape[1:]
    pixels = g.shape[2] * g.shape[3]
    if MANY:
        return fills_lanes(x) and KH * KW > 1 and 3 <= filters <= (24 if pixels <= 1024 else 16) and channels <= 32 and (
            pixels >= 25)
    return fills_lanes(x) and KH * KW >= 25 and 3 <= filters <= 16 and channels <= 32 and pixels >= 49


@rung("conv2d_weight", name="images", device="cpu", accepts=vectors, worth=worth)
def conv2d_weight(
    x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """A lane for each image, and the lanes added up at the end.

    1.3 times the rung below for the second layer of LeNet-5 at batch 64, 1 to 3 times for up to 24 filters, with AVX-512; with
    AVX2 1 to 1.4 for 5 x 5 and larger filters. Tiles of 8 filters and 3 taps took 1.4 times as long: g did not stay in the
    first-level cache.
    """
    (N, C, H, W), (F, channels, KH, KW), (OH, OW), L = x.shape, shape, g.shape[2:], lanes_of(x)
    if not x.size * g.size:
        return np.zeros(shape, x.dtype)
    taps = window((KH, KW), padding, dilation)
    filters, blocks = F // groups, -(-N // L)
    rows = -(-filters // ROWS) * ROWS
    how = plan(blocks, channels, OH, OW, stride, taps, L * x.itemsize, 1, rows)
    parts, threads = min(PARTS, blocks * -(-OH // how.lines)), workers()
    sums = cleared((parts, groups, rows, channels * KH * KW), x.dtype)
    _correlate(contiguous(x).reshape(-1), N, C, H, W, contiguous(g).reshape(-1), F, OH, OW, groups, how.down, how.right,
               how.right * L, taps.top, taps.left, *stride, how.lines, how.high, how.width, parts, sums.reshape(-1),
               scratch(threads * L * how.room, x.dtype), threads, work=g.size * channels * KH * KW // L)
    total = sums[0] if parts == 1 else sums.sum(axis=0)
    return contiguous(total[:, :filters]).reshape(shape)


@inlined
def sum_outputs(taps, x, lines, columns, OW, g, at, g_step, pixels, to, line, step, place, j, sums, term, K):
    """A tile of so many taps of a line: their sums over the outputs in the ranges ``lines`` and ``columns`` of L images, which
    are added up and go to ``sums``."""
    tile = zeros(x, ROWS, taps)
    for h in range(lines[0], lines[1]):
        a, b = at + (h * OW + columns[0]) * lanes(x), to + h * line + columns[0] * step
        for _ in range(columns[0], columns[1]):
            tile = inner(tile, ROWS, taps, g, a, g_step, pixels, b, place, j)
            a += lanes(x)
            b += step
    add_totals(tile, ROWS, taps, sums, term, K)


@helper
def reaching(first, last, stride, count, size):
    """The range of ``count`` outputs, each ``stride`` pixels behind the one before, for which any of the taps sees one of
    ``size`` pixels; those of the first output lie at ``first`` to ``last``."""
    begin, end = 0, count
    while begin < end and last + begin * stride < 0:
        begin += 1
    while begin < end and first + (end - 1) * stride >= size:
        end -= 1
    return begin, end


@compiled
def _correlate(
    x: In1, N: int, C: int, H: int, W: int, g: In1, F: int, OH: int, OW: int, groups: int, down: IntIn1, right: IntIn1,
    place: IntIn1, top: int, left: int, stride_h: int, stride_w: int, lines: int, height: int, width: int, parts: int,
    sums: Out1, memory: Out1, workers_: int, team: Team,
):
    L, KH, KW = lanes(x), down.shape[0], right.shape[0]
    channels, filters = C // groups, F // groups
    K, bands = channels * KH * KW, (filters + ROWS - 1) // ROWS
    blocks, chunks, rows = (N + L - 1) // L, (OH + lines - 1) // lines, bands * ROWS
    items, g_step = blocks * chunks, lines * OW * L
    for worker in prange(workers_, team):
        mine = memory[memory.shape[0] // workers_ * worker:]
        pixels, upstream = mine[:channels * height * width * L], mine[channels * height * width * L:]
        upstream[:rows * g_step] = 0                # for filters that only fill a tile
        part, end = parts * worker // workers_, parts * (worker + 1) // workers_
        for item in range(items * part // parts, items * end // parts):
            while item >= items * (part + 1) // parts:
                part += 1
            n, line = item // chunks * L, item % chunks * lines
            images, count, first = min(L, N - n), min(lines, OH - line), line * stride_h - top
            for group in range(groups):
                turn_in(x, (n * C + group * channels) * H * W, channels, H, W, C * H * W, images, first, height, left, width,
                        pixels)
                turn_in(g, (n * F + group * filters) * OH * OW, filters, OH, OW, F * OH * OW, images, line, lines, 0, OW,
                        upstream)
                for band in range(bands):
                    at, row = band * ROWS * g_step, ((part * groups + group) * rows + band * ROWS) * K
                    for c in range(channels):
                        for i in range(KH):
                            above = first + down[i]
                            high = reaching(above, above, stride_h, count, H)
                            to, line_step, step = (c * height + entry(down, i)) * width * L, stride_h * width * L, stride_w * L
                            for j in range(0, KW, MOST):
                                term, some = row + (c * KH + i) * KW + j, min(MOST, KW - j)
                                wide = reaching(right[j] - left, right[j + some - 1] - left, stride_w, OW, W)
                                if some == 5:       # how large a tile is must be known while it is compiled
                                    sum_outputs(5, x, high, wide, OW, upstream, at, g_step, pixels, to, line_step, step, place,
                                                j, sums, term, K)
                                elif some == 4:
                                    sum_outputs(4, x, high, wide, OW, upstream, at, g_step, pixels, to, line_step, step, place,
                                                j, sums, term, K)
                                elif some == 3:
                                    sum_outputs(3, x, high, wide, OW, upstream, at, g_step, pixels, to, line_step, step, place,
                                                j, sums, term, K)
                                elif some == 2:
                                    sum_outputs(2, x, high, wide, OW, upstream, at, g_step, pixels, to, line_step, step, place,
                                                j, sums, term, K)
                                else:
                                    sum_outputs(1, x, high, wide, OW, upstream, at, g_step, pixels, to, line_step, step, place,
                                                j, sums, term, K)
