"""The gradients of pooling by windows of 2 x 2 or 3 x 3 at stride 2, two rows of pixels at a time.

Each pixel asks the windows that see it what they pass on. Those of 2 x 2 do not meet: four pixels have one. Of those of 3 x 3,
every other column and every other row is *shared* by two neighbours, and the ones between are *alone* with one. So two rows of
pixels are made from two rows of outputs, as many even and odd ones as a vector has lanes at a time; then the second row of
outputs is the first for the next two. No pixel is written twice, none is cleared first, and if there are more than the caches
hold they go to memory in whole lines, as the outputs do on the way there (``pool_rows.py``).

What was there before went the other way, from each output to its pixels. For maxima that is one number at a time.
"""

from __future__ import annotations

import numpy as np

from minivision_kernels.cpu import stream
from minivision_kernels.cpu.compile import In1, In4, Int32In4, Out4, Team, compiled, inlined, prange
from minivision_kernels.cpu.pool_rows import FAR, MANY, ROWS, SIDE, Forms, divisors, forms, itself, nothing, nowhere, together
from minivision_kernels.cpu.simd import add, lanes, load, load_between, prefetch, put_woven
from minivision_kernels.cpu.stream import (
    arrived,
    div,
    load_places,
    mul,
    past_caches,
    places,
    put_first,
    send,
    spread,
    where_there,
)
from minivision_kernels.shapes import Pair

FAR_ROWS = 8        # of pixels that are made before those beside them if they go far
AHEAD = 16          # rows of outputs further on are asked for then


def max_pool_back(g: np.ndarray, index: np.ndarray, dx: np.ndarray, side: int, padding: Pair) -> None:
    """What the outputs g pass on to the pixels dx that were their maxima, at the places of ``index``."""
    _run(MAXIMA, g, index, dx, side, padding, nothing(g.dtype), nothing(g.dtype))


def avg_pool_back(
    g: np.ndarray, dx: np.ndarray, side: int, padding: Pair, count_include_pad: bool, divisor: int | None,
) -> None:
    """What they pass on to all pixels that they are the means of."""
    _run(MEANS, g, nowhere(), dx, side, padding, *divisors(dx, g, side, padding, count_include_pad, divisor))


def _run(
    kernels: Forms, g: np.ndarray, index: np.ndarray, dx: np.ndarray, side: int, padding: Pair, down: np.ndarray,
    across: np.ndarray,
) -> None:
    past = past_caches(dx)
    kernels[side, dx.nbytes >= stream.LARGE](
        g, index, dx, *padding, down, across, together(dx) if past else 1, dx.nbytes >= MANY, past, work=4 * g.size)


@inlined
def chosen_by_two(upstream, index, line, left, OW, down, across, k):
    """Windows ``left``, left + 1, ... of a row of OW of them that begins at ``line``, and the next one of each: what they pass
    on, and to where."""
    a, b = load_between(upstream, line + left, -left, OW - left), load_between(upstream, line + left + 1, 0, OW - left - 1)
    return (a, load_places(index, line + left, -left, OW - left, a),
            b, load_places(index, line + left + 1, 0, OW - left - 1, b))


@inlined
def passed_by_two(one, both, windows, alone, shared, pad):
    """Add what they pass on to pixels that one of them sees, and to those that both do, in the order of the outputs. Without
    padding, the one is the next."""
    a, of_a, b, of_b = windows
    one = add(one, where_there(a, of_a, alone) if pad == 1 else where_there(b, of_b, alone))
    return one, add(add(both, where_there(a, of_a, shared)), where_there(b, of_b, shared))


@inlined
def chosen_by_one(upstream, index, line, left, OW, down, across, k):
    """The next ones only: windows of 2 x 2."""
    b = load_between(upstream, line + left + 1, 0, OW - left - 1)
    return b, load_places(index, line + left + 1, 0, OW - left - 1, b)


@inlined
def passed_by_one(one, both, windows, alone, shared, pad):
    """What they pass on to odd pixels, and to even ones."""
    b, of_b = windows
    return where_there(b, of_b, alone), where_there(b, of_b, shared)


@inlined
def shares_of_two(upstream, index, line, left, OW, down, across, k):
    """The same for means, which are shared by all pixels."""
    a, b = load_between(upstream, line + left, -left, OW - left), load_between(upstream, line + left + 1, 0, OW - left - 1)
    count = spread(upstream, down[k])
    a, b = div(a, mul(load(across, left + 1), count)), div(b, mul(load(across, left + 2), count))
    return a, b, add(a, b)


@inlined
def shared_by_two(one, both, windows, alone, shared, pad):
    """Add them."""
    a, b, sum_ = windows
    return add(one, a if pad == 1 else b), add(both, sum_)


@inlined
def shares_of_one(upstream, index, line, left, OW, down, across, k):
    """The next ones only."""
    b = load_between(upstream, line + left + 1, 0, OW - left - 1)
    return div(b, mul(load(across, left + 2), spread(upstream, down[k])))


@inlined
def shared_by_one(one, both, windows, alone, shared, pad):
    """All four pixels of a window get the same."""
    return windows, windows


@inlined
def put_pair(out, to, alone, shared, pad, count):
    """Write the even and the odd pixels of a row; without padding, the first is a shared one."""
    if pad == 1:
        put_woven(out, to, alone, shared, count, False)
    else:
        put_woven(out, to, shared, alone, count, False)


@compiled
def _back(
    g: In4, index: Int32In4, dx: Out4, pad_h: int, pad_w: int, down: In1, across: In1, planes: int, asks: bool,
    past: bool, team: Team,
):
    N, C, H, W = dx.shape
    OH, OW = g.shape[2:]
    upstream, places_, pixels, L = g.reshape(g.size), index.reshape(index.size), dx.reshape(dx.size), lanes(g)
    rows = ROWS if FAR or W > 2 * L else H + 1
    start = spread(pixels, pixels.dtype.type(-0.0))             # x - 0.0 is x, of which the compiler makes nothing
    out = made_in(pixels, rows * W)
    for item in prange((N * C + planes - 1) // planes, team):
        sent = item * planes * H * W
        made = 0 if FAR else sent
        for plane in range(item * planes, min(N * C, item * planes + planes)):
            first = 0
            while first < H:
                end = min(H, first + rows)
                for ow in range(0, (W + 1) // 2, L):
                    count, left = W - 2 * ow, ow - 1 + pad_w
                    upper = first // 2 - 1 + pad_h              # row of windows; the next one is the lower
                    line, to, place = (plane * OH + upper) * OW, made + 2 * ow, first * W + 2 * ow
                    if SIDE == 3:
                        a = seen(upstream, places_, line, left, OW if 0 <= upper < OH else 0, down, across, upper + 1)
                    for h in range(first, end, 2):
                        if asks:
                            prefetch(upstream, line + AHEAD * OW + left)
                            if index.size > 0:
                                prefetch(places_, line + AHEAD * OW + left)
                        line, upper = line + OW, upper + 1
                        b = seen(upstream, places_, line, left, OW if upper < OH else 0, down, across, upper + 1)
                        here = place + pad_h * W                # in a row shared by windows above and below, or by columns only
                        alone, shared = places(upstream, here + 1 - pad_w, 2), places(upstream, here + pad_w, 2)
                        one, both = start, start
                        if SIDE == 3:
                            one, both = passed(one, both, a, alone, shared, pad_w)
                        one, both = passed(one, both, b, alone, shared, pad_w)
                        if h + pad_h < H:
                            put_pair(out, to + pad_h * W, one, both, pad_w, count)
                        here = place + W - pad_h * W
                        alone, shared = places(upstream, here + 1 - pad_w, 2), places(upstream, here + pad_w, 2)
                        one, both = passed(start, start, a if SIDE == 3 and pad_h == 1 else b, alone, shared, pad_w)
                        if h + 1 - pad_h < H:
                            put_pair(out, to + W - pad_h * W, one, both, pad_w, count)
                        to, place, a = to + 2 * W, place + 2 * W, b
                made += (end - first) * W
                first = end
                if FAR:
                    size = send(out, made, pixels, sent, past, pixels)
                    sent, made = sent + size, made - size
        if FAR:
            put_first(pixels, sent, load(out, 0), made)
            arrived(past)


seen, passed = chosen_by_two, passed_by_two                     # what the kernel calls so; its other forms mean something else
made_in = itself


MAXIMA = forms(_back, {2: {"seen": chosen_by_one, "passed": passed_by_one},
                       3: {"seen": chosen_by_two, "passed": passed_by_two}}, "maxima", FAR_ROWS)
MEANS = forms(_back, {2: {"seen": shares_of_one, "passed": shared_by_one},
                      3: {"seen": shares_of_two, "passed": shared_by_two}}, "means", FAR_ROWS)
