"""prototype"""
from __future__ import annotations
import os
import numpy as np
from typing import Any
from minivision_kernels.cpu.compile import In1, Out1, Team, compiled, contiguous, helper, prange
from minivision_kernels.cpu.conv_direct import _meeting
from minivision_kernels.cpu.simd import ask, fetch, lanes, lanes_of, outer, plus, room, store, turn, turn_whole, vectors, zeros
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair

ROWS, COLUMNS = 13, 2
TERMS = int(os.environ.get("PK_TERMS", 256))
WIDE = int(os.environ.get("PK_WIDE", 384))     # columns at a time


def _small(x, g, shape, *_: Any, **__: Any) -> bool:
    return vectors(x) and shape[2:] == (1, 1)


@rung("conv2d_weight", name="packed", device="cpu", accepts=_small, worth=lambda *a, **k: False)
def conv2d_weight(
    x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    x, g = _meeting(x, g, stride, padding)
    (N, C, H, W), F = x.shape, g.shape[1]
    P, L = H * W, lanes_of(x)
    pieces = -(-P // TERMS)
    run = -(-P // pieces)
    images = max(1, min(N, TERMS // P))
    stretches = -(-N // images) * pieces
    rows, columns = F // groups, C // groups
    strips = -(-columns // WIDE)
    parts = max(1, min(stretches, -(-4 // (strips * groups))))
    while parts > 1 and stretches // parts < 4: parts //= 2
    chunks = 1 if strips * groups * parts > 1 else 2
    dw = empty((parts, *shape), x.dtype)
    _sum(contiguous(x).reshape(-1), C, contiguous(g).reshape(-1), F, N, P, groups, run, images, pieces, parts, strips, chunks, dw.reshape(-1),
         work=rows * C * N * P // L)
    return dw[0] if parts == 1 else dw.sum(axis=0)


@helper
def pack(a, at, rows, step, length, exist, images, image_step, out, to, width):
    """out[to + k * width + i] = a[at + i * step + k] for ``rows`` rows"""
    L = lanes(a)
    for m in range(images):
        from_, goal = at + m * image_step, to + m * length * width
        for i in range(0, rows, L):
            count = min(L, exist - i)
            for p in range(0, length, L):
                if count == L and length >= L:
                    q = min(p, length - L)
                    turn_whole(a, from_ + i * step + q, step, out, goal + q * width + i, width)
                else:
                    here = min(L, length - p)
                    turn(a, from_ + i * step + p, step, 0, here, max(0, count), out, goal + p * width + i, width, here, L)


@compiled
def _sum(
    x: In1, C: int, g: In1, F: int, N: int, P: int, groups: int, run: int, images: int, pieces: int, parts: int, strips: int,
    chunks: int, dw: Out1, team: Team,
):
    L = lanes(x)
    wide, size = COLUMNS * L, ROWS * COLUMNS * L
    rows, columns = F // groups, C // groups
    tiles, panels = (rows + ROWS - 1) // ROWS, (columns + wide - 1) // wide
    stretches = (N + images - 1) // images * pieces
    away = (g.ctypes.data - x.ctypes.data) // x.itemsize
    for item in prange(parts * groups * strips * chunks, team):
        chunk, other = item % chunks, item // chunks
        strip, group, part = other % strips, other // strips % groups, other // (strips * groups)
        first, end = panels * strip // strips, panels * (strip + 1) // strips
        top, bottom = tiles * chunk // chunks, tiles * (chunk + 1) // chunks
        most = images * run
        right = room(x, (end - first) * most * wide)
        left = room(x, (most + 2) * ROWS + L)
        sums = room(x, (end - first) * (bottom - top) * size)
        begin_s, end_s = stretches * part // parts, stretches * (part + 1) // parts
        for s in range(begin_s, end_s):
            n, p = s // pieces * images, s % pieces * run
            count, length = min(images, N - n), min(run, P - p)
            terms = count * length
            n_next, p_next = (s + 1) // pieces * images, (s + 1) % pieces * run
            for k in range(first, end):
                pack(x, (n * C + group * columns + k * wide) * P + p, wide, P, length, columns - k * wide, count, C * P, right,
                     (k - first) * terms * wide, wide)
            for t in range(top, bottom):
                pack(g, (n * F + group * rows + t * ROWS) * P + p, ROWS, P, length, rows - t * ROWS, count, F * P, left, 0, ROWS)
                for k in range(end - first):
                    keep = ((t - top) * (end - first) + k) * size
                    tile = zeros(x, ROWS, COLUMNS)
                    bt = k * terms * wide
                    if k < count:                  # the rows of the next tile, in image k
                        few = min(ROWS, rows - (t + 1) * ROWS)
                        ahead = away + ((n + k) * F + group * rows + (t + 1) * ROWS) * P + p
                        if t + 1 == bottom:
                            few, ahead = ROWS, away + ((n_next + k) * F + group * rows + top * ROWS) * P + p_next
                    else:
                        loops = (bottom - top) * (end - first - count)
                        q = (t - top) * (end - first - count) + k - count
                        mine = (min(columns, end * wide) - first * wide)
                        here = q * mine * images // loops
                        few = (q + 1) * mine * images // loops - here
                        ahead = ((n_next + here // mine) * C + group * columns + first * wide + here % mine) * P + p_next
                    few = min(terms, few * (length // L + 1))
                    stop, skip = ahead + length, P - (length // L + 1) * L
                    for i in range(few):
                        tile = outer(tile, ROWS, COLUMNS, left, i * ROWS, 1, right, bt + i * wide)
                        ask(right, bt + (i + 32) * wide, COLUMNS)
                        fetch(x, ahead)
                        ahead += L
                        if ahead > stop:
                            ahead += skip
                            stop += P
                    for i in range(few, terms):
                        tile = outer(tile, ROWS, COLUMNS, left, i * ROWS, 1, right, bt + i * wide)
                        ask(right, bt + (i + 32) * wide, COLUMNS)
                    if s > begin_s:
                        tile = plus(tile, ROWS, COLUMNS, sums, keep)
                    high, exist = min(ROWS, rows - t * ROWS), min(wide, columns - (first + k) * wide)
                    to = ((part * groups + group) * rows + t * ROWS) * columns + (first + k) * wide
                    if s + 1 == end_s and high == ROWS and exist == wide:
                        store(tile, ROWS, COLUMNS, dw, to, columns)
                        continue
                    store(tile, ROWS, COLUMNS, sums, keep, wide)
                    if s + 1 == end_s:
                        for i in range(high):
                            for j in range(exist):
                                dw[to + i * columns + j] = sums[keep + i * wide + j]
