"""Larger filters at stride 2 on one image: dealt to four phases once, and then left where it lies.

At stride 2 neighbours in a line of results see every second pixel. To pack them (``columns.py``) takes two loads and a
shuffle for each vector and each tap, nine times for 3 x 3 filters, and if two threads share the filters of a small image, both
do it. Here the pixels of even and odd lines and columns, with the zeros around them, are dealt to four planes first:

    plane (a, b) of a channel       pixels (2 i + a, 2 j + b)

Then all that a tap sees of neighbouring results lies side by side, and a tile takes its vectors from there, as those of 1 x 1
filters do (``conv_pixels.py``). Vectors run over the ends of lines, where they compute a few results that nobody wants.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from minivision_kernels.cpu.bands import forward, workers
from minivision_kernels.cpu.compile import In1, IntIn1, Out1, Team, compiled, contiguous, inlined, prange
from minivision_kernels.cpu.conv_implicit import left_matrix
from minivision_kernels.cpu.conv_pixels import meet_filters, shares
from minivision_kernels.cpu.goal import aim, fill
from minivision_kernels.cpu.panels import COLUMNS, ROWS, stretches
from minivision_kernels.cpu.simd import evens, lanes, lanes_of, load_between, none, odds, put_between, room, vectors
from minivision_kernels.finish import Finish
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair


def _accepts(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1),
             groups: int = 1) -> bool:
    return stride == (2, 2) and vectors(x)


def _worth(*args: Any, **options: Any) -> bool:
    """Never, unless somebody has measured: see the rung."""
    return False


@rung("conv2d_forward", name="dealt", device="cpu", accepts=_accepts, worth=_worth)
def conv2d_forward(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int, finish: Finish | None = None,
) -> np.ndarray:
    """Pixels are dealt to four phases once instead of being packed for every tap.

    For one image with 3 x 3 filters and sums of 1024 terms or more this took 0.8 to 0.96 of the time of `implicit` on two cores
    with AVX-512 (128 channels of 56 x 56, 256 of 28 x 28, 512 of 14 x 14), 0.94 to 0.99 with AVX2. But each thread reads what
    both have dealt, and where the two cores share no cache, what one has written takes the other 200 ns instead of 45: then it
    takes 1.1 to 1.6 times as long as `implicit`, of which every thread reads the image alone. So the rung is chosen only where
    ``bench --tune`` found it to be the fastest.
    """
    if stride != (2, 2):
        raise ValueError(f"this rung takes filters at stride 2, got {stride}; call the rung 'implicit'")
    shape, taps, weights = forward(x.shape, w.shape, stride, padding, dilation, groups)
    y, goal = aim(shape, x.dtype, finish, groups)
    (N, C, H, W), (F, OH, OW), K, L = x.shape, shape[1:], weights.offset.size, lanes_of(x)
    if not y.size:
        return y
    if not C:
        fill(y, goal)
        return y
    how = plan(C // groups, OH, OW, taps.down, taps.right)
    planes = empty((N, C * 4 * how.height * how.width + COLUMNS * L), x.dtype)
    _deal(contiguous(x).reshape(-1), N, C, H, W, *padding, how.height, how.width, planes.reshape(-1), work=planes.size)
    parts = shares(N * -(-OH * how.width // L), -(-weights.rows // ROWS), groups, workers(), 0.5)
    _multiply(planes.reshape(-1), N, C, how.height, how.width, how.place, *left_matrix(contiguous(w).reshape(-1), weights,
              stretches(K)), stretches(K), *goal, F, OH, OW, groups, parts, workers(), work=y.size * K // L)
    return y


class Plan(NamedTuple):
    """The planes of the phases, and where the taps of a group's channels find their pixels in them."""

    height: int
    width: int
    place: np.ndarray


@functools.lru_cache(maxsize=1024)
def plan(channels: int, OH: int, OW: int, down: tuple[int, ...], right: tuple[int, ...]) -> Plan:
    height, width = OH + max(down) // 2, OW + max(right) // 2
    c, h, w = np.arange(channels)[:, None, None], np.array(down, np.int64)[:, None], np.array(right, np.int64)
    place = ((((c * 2 + h % 2) * 2 + w % 2) * height + h // 2) * width + w // 2).ravel()
    place.flags.writeable = False
    return Plan(height, width, place)


@compiled
def _deal(x: In1, N: int, C: int, H: int, W: int, top: int, left: int, height: int, width: int, planes: Out1, team: Team):
    L, image = lanes(x), planes.shape[0] // N
    for item in prange(N * C, team):
        n, c = item // C, item % C
        for i in range(2 * height):
            h, to = i - top, n * image + ((c * 2 + i % 2) * 2 * height + i // 2) * width
            line = (item * H + h) * W - left
            for j in range(0, width, L):
                even, odd = none(x), none(x)
                if 0 <= h < H:
                    first, rest = left - 2 * j, W + left - 2 * j
                    near = load_between(x, line + 2 * j, first, rest)
                    far = load_between(x, line + 2 * j + L, first - L, rest - L)
                    even, odd = evens(near, far), odds(near, far)
                put_between(planes, to + j, even, 0, width - j)
                put_between(planes, to + height * width + j, odd, 0, width - j)


@inlined
def find_pieces(begin, end, L, OW, width, first, spot, goal, number):
    """Where results from ``begin`` to ``end`` of lines of ``width`` go, and how many: the first OW of each line are wanted."""
    pieces = 0
    for h in range(begin // width, (end - 1) // width + 1):
        stop = min(end, h * width + OW)
        for at in range(max(begin, h * width), stop, L):
            spot[pieces], goal[pieces], number[pieces] = at - begin, first + h * OW + at - h * width, min(L, stop - at)
            pieces += 1
    return pieces


@compiled
def _multiply(
    planes: In1, N: int, C: int, height: int, width: int, terms: IntIn1, left: In1, as_it_lies: bool, stretch: int,
    y: Out1, y_step: int, bias: In1, relu: bool, F: int, OH: int, OW: int, groups: int, parts: int, workers_: int, team: Team,
):
    L, image, K = lanes(planes), planes.shape[0] // N, terms.shape[0]
    filters, bands, wide = F // groups, (F // groups + ROWS - 1) // ROWS, COLUMNS * lanes(planes)
    outputs = (OH - 1) * width + OW
    panels, others = outputs // wide, N * groups * parts
    some = (outputs - panels * wide + L - 1) // L       # vectors of the panel that is not whole
    for worker in prange(workers_, team):
        sums, later = room(planes, ROWS * wide + L), np.empty(COLUMNS + 1, np.int64)
        place, spot = np.empty(COLUMNS, np.int64), np.empty(wide, np.int64)
        goal, number = np.empty(wide, np.int64), np.empty(wide, np.int64)
        for item in range(others * panels * worker // workers_, others * panels * (worker + 1) // workers_):
            part, group, n = item // panels % parts, item // (panels * parts) % groups, item // (panels * parts * groups)
            mine, begin = (bands * part // parts, bands * (part + 1) // parts), item % panels * wide
            pieces = find_pieces(begin, begin + wide, L, OW, width, n * y_step, spot, goal, number)
            for j in range(COLUMNS):
                place[j] = n * image + group * (C // groups) * 4 * height * width + begin + j * L
            meet_filters(planes, 1, terms, 0, left, as_it_lies, (K, stretch, filters, group), mine, place, later, 0, y, OH * OW,
                         goal, False, pieces, spot, number, bias, relu, sums, COLUMNS)
        for other in range(others * (workers_ - worker - 1) // workers_, others * (workers_ - worker) // workers_):
            if some == 0:
                continue
            part, group, n = other % parts, other // parts % groups, other // (parts * groups)
            mine, begin = (bands * part // parts, bands * (part + 1) // parts), panels * wide
            pieces = find_pieces(begin, outputs, L, OW, width, n * y_step, spot, goal, number)
            for j in range(COLUMNS):
                place[j] = n * image + group * (C // groups) * 4 * height * width + begin + j * L
            if some == 3:
                meet_filters(planes, 1, terms, 0, left, as_it_lies, (K, stretch, filters, group), mine, place, later, 0, y,
                             OH * OW, goal, False, pieces, spot, number, bias, relu, sums, 3)
            elif some == 2:
                meet_filters(planes, 1, terms, 0, left, as_it_lies, (K, stretch, filters, group), mine, place, later, 0, y,
                             OH * OW, goal, False, pieces, spot, number, bias, relu, sums, 2)
            else:
                meet_filters(planes, 1, terms, 0, left, as_it_lies, (K, stretch, filters, group), mine, place, later, 0, y,
                             OH * OW, goal, False, pieces, spot, number, bias, relu, sums, 1)
