"""Pooling and its gradients in vectors: the lanes hold neighbouring outputs of one row.

Windows of 2 x 2 and 3 x 3 at stride 2 have kernels of their own, both ways (``pool_rows.py``, ``pool_rows_back.py``). Here are
those for all others. With stride 1 the pixels that one tap of neighbouring windows sees lie side by side; with stride 2 they
are every second one, which two loads and a shuffle bring together (``load_second``). So a window is a handful of instructions
for 4, 8 or 16 outputs at a time, and no lane branches. Windows that reach over an edge, and other strides, are done one by one.

The gradient of max pooling is a loop over the outputs, each of which is added to a pixel.
"""

from __future__ import annotations

import math

import numpy as np

from minivision_kernels.cpu.compile import In4, Int32In4, Int32Out4, Out4, Team, compiled, contiguous, helper, prange, within
from minivision_kernels.cpu.planes import fold_plane
from minivision_kernels.cpu.pool_rows import avg_pool, by_rows, max_pool
from minivision_kernels.cpu.pool_rows_back import avg_pool_back, max_pool_back
from minivision_kernels.cpu.simd import (
    add,
    entry,
    lanes,
    lanes_of,
    load,
    load_between,
    none,
    room,
    vectors,
)
from minivision_kernels.cpu.stream import (
    arrived,
    better,
    div,
    larger_or_nan,
    load_second,
    mul,
    past_caches,
    places,
    put_first,
    run_sum,
    spread,
)
from minivision_kernels.cpu.windows import spread_plane, window_divisor
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair, pool_output_size

NARROW = 4                  # outputs in a row, which by themselves are no slower than as part of a vector, on the way back


@rung("max_pool2d_forward", name="vectors", device="cpu", accepts=vectors)
def max_pool2d_forward(
    x: np.ndarray, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool, with_index: bool = True,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Comparisons of vectors: the best values and their places are two registers, and each tap is two selections.

    In the rung below every comparison is a branch that the processor cannot foresee, since images are noisy: a wrong guess
    costs as much as a dozen outputs here.
    """
    N, C, H, W = x.shape
    shape = N, C, *pool_output_size((H, W), kernel_size, stride, padding, dilation, ceil_mode)
    y, index = empty(shape, x.dtype), empty(shape, np.int32) if with_index else None
    if by_rows(kernel_size, stride, padding, dilation):
        max_pool(contiguous(x), y, index, kernel_size[0], padding)
        return y, index
    window, work = (*kernel_size, *stride, *padding, *dilation, _parts(N * C, shape[2])), y.size * math.prod(kernel_size)
    if index is None:
        _max_values(contiguous(x), y, *window, work=work)
    else:
        _max_forward(contiguous(x), y, index, *window, work=work)
    return y, index


@rung("max_pool2d_backward", name="vectors", device="cpu", accepts=vectors)
def max_pool2d_backward(
    g: np.ndarray, index: np.ndarray, shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Pair,
    dilation: Pair,
) -> np.ndarray:
    """The index is used as it is. The rung below divides each place into row and column, which costs more than all the rest.

    A plane is cleared just before its gradients are added, and so is still in the first cache then.
    """
    dx = empty(shape, g.dtype)
    if by_rows(kernel_size, stride, padding, dilation) and g.shape[3] > NARROW:
        max_pool_back(contiguous(g), contiguous(index), dx, kernel_size[0], padding)
    else:
        _max_backward(contiguous(g), contiguous(index), dx, work=g.size + dx.size)
    return dx


@rung("avg_pool2d_forward", name="vectors", device="cpu", accepts=vectors)
def avg_pool2d_forward(
    x: np.ndarray, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool, count_include_pad: bool,
    divisor: int | None,
) -> np.ndarray:
    """Sums of vectors. A window as large as the image, at the end of many networks, is one long sum."""
    N, C, H, W = x.shape
    y = empty((N, C, *pool_output_size((H, W), kernel_size, stride, padding, (1, 1), ceil_mode)), x.dtype)
    if by_rows(kernel_size, stride, padding):
        avg_pool(contiguous(x), y, kernel_size[0], padding, count_include_pad, divisor)
        return y
    _avg_forward(contiguous(x), y, *kernel_size, *stride, *padding, count_include_pad, divisor or 0, _parts(N * C, y.shape[2]),
                 work=y.size * kernel_size[0] * kernel_size[1])
    return y


@rung("avg_pool2d_backward", name="vectors", device="cpu", accepts=vectors)
def avg_pool2d_backward(
    g: np.ndarray, shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool,
    count_include_pad: bool, divisor: int | None,
) -> np.ndarray:
    """Windows that tile the image fill rows of pixels, each with one number. Else, at stride 2, each pixel gathers its shares,
    even and odd columns by themselves, which takes a fifth of the time that windows take to add to their pixels.
    """
    dx = empty(shape, g.dtype)
    if by_rows(kernel_size, stride, padding):
        avg_pool_back(contiguous(g), dx, kernel_size[0], padding, count_include_pad, divisor)
        return dx
    _avg_backward(contiguous(g), dx, *kernel_size, *stride, *padding, count_include_pad, divisor or 0, _past(dx),
                  work=g.size * kernel_size[0] * kernel_size[1])
    return dx


def _past(dx: np.ndarray) -> bool:
    """Whether rows are written past the caches, which needs each of them to begin with a vector."""
    return past_caches(dx) and dx.shape[3] % lanes_of(dx) == 0


def _parts(planes: int, rows: int) -> int:
    """Into how many parts the rows of a plane are divided, so that there are enough of them for all threads. Dividing a number,
    to find the plane of a row, takes as long as a row of a small plane; so it is done for a part."""
    return max(1, min(rows, 16 // max(1, planes)))


@compiled
def _max_forward(
    x: In4, y: Out4, index: Int32Out4, KH: int, KW: int, stride_h: int, stride_w: int, pad_h: int, pad_w: int,
    dilation_h: int, dilation_w: int, parts: int, team: Team,
):
    N, C, H, W = x.shape
    OH, OW = y.shape[2:]
    pixels, best, where = x.reshape(x.size), y.reshape(y.size), index.reshape(index.size)
    first, end = inside(W, OW, KW, stride_w, pad_w, dilation_w)
    for item in prange(N * C * parts, team):
        plane, part = item // parts, item % parts
        for oh in range(OH * part // parts, OH * (part + 1) // parts):
            max_row(pixels, plane * H * W, best, where, (plane * OH + oh) * OW, H, W, OW, oh * stride_h - pad_h, KH, KW,
                    stride_w, pad_w, dilation_h, dilation_w, first, end)


@compiled
def _max_values(
    x: In4, y: Out4, KH: int, KW: int, stride_h: int, stride_w: int, pad_h: int, pad_w: int, dilation_h: int, dilation_w: int,
    parts: int, team: Team,
):
    """As ``_max_forward``, without the places."""
    N, C, H, W = x.shape
    OH, OW = y.shape[2:]
    pixels, best = x.reshape(x.size), y.reshape(y.size)
    first, end = inside(W, OW, KW, stride_w, pad_w, dilation_w)
    for item in prange(N * C * parts, team):
        plane, part = item // parts, item % parts
        for oh in range(OH * part // parts, OH * (part + 1) // parts):
            max_row(pixels, plane * H * W, best, None, (plane * OH + oh) * OW, H, W, OW, oh * stride_h - pad_h, KH, KW,
                    stride_w, pad_w, dilation_h, dilation_w, first, end)


@within
def max_row(pixels, start, best, where, to, H, W, OW, top, KH, KW, stride, pad, dilation_h, dilation_w, first, end):
    """One row of outputs, from ``to`` on, of the plane of pixels from ``start`` on; its windows begin at row ``top``.

    Without ``where`` the compiler leaves the places out.
    """
    top_tap, bottom_tap = seen(top, KH, dilation_h, H)
    step, line = lanes(pixels), dilation_h * W
    top_left = start + (top + top_tap * dilation_h) * W - pad
    behind = top_left + (bottom_tap - top_tap - 1) * line + (KW - 1) * dilation_w + first * stride + 2 * step
    if top_tap == bottom_tap or (end - first < step and behind > pixels.size):
        end = first
    for vector in range((end - first + step - 1) // step):
        ow, count = last_vector(first + vector * step, first, end, step)
        at = top_left + ow * stride
        value, place = taps(pixels, at, stride), places(pixels, at - start, stride)
        column, others = 0, (bottom_tap - top_tap) * KW
        if KH == KW == 3 and others == 9:                           # known taps are all written out
            others = 1
            for tap in range(1, 9):
                here = at + tap // 3 * line + tap % 3 * dilation_w
                if where is None:
                    value = larger_or_nan(value, taps(pixels, here, stride))
                else:
                    value, place = better(value, place, taps(pixels, here, stride), places(pixels, here - start, stride))
        for _ in range(1, others):                                  # the other taps, in reading order
            column += 1
            at += dilation_w
            if column == KW:
                column = 0
                at += line - KW * dilation_w
            if where is None:
                value = larger_or_nan(value, taps(pixels, at, stride))
            else:
                value, place = better(value, place, taps(pixels, at, stride), places(pixels, at - start, stride))
        put_first(best, to + ow, value, count)
        if where is not None:
            put_first(where, to + ow, place, count)
    ow = 0
    while ow < OW:
        if ow == first and first < end:
            ow = end
            continue
        left = ow * stride - pad
        left_tap, right_tap = seen(left, KW, dilation_w, W)
        highest, winner = pixels.dtype.type(-math.inf), -1
        for i in range(top_tap, bottom_tap):
            for j in range(left_tap, right_tap):
                at = (top + i * dilation_h) * W + left + j * dilation_w
                number = entry(pixels, start + at)
                wins = (number > highest) | (number != number) | (winner < 0)
                highest, winner = number if wins else highest, at if wins else winner
        best[to + ow] = highest
        if where is not None:
            where[to + ow] = winner
        ow += 1


@compiled
def _max_backward(g: In4, index: Int32In4, dx: Out4, team: Team):
    N, C, H, W = dx.shape
    upstream, where, pixels = g.reshape(g.size), index.reshape(index.size), dx.reshape(dx.size)
    outputs = g.shape[2] * g.shape[3]
    for plane in prange(N * C, team):
        own = pixels[plane * H * W:(plane + 1) * H * W]
        own[:] = 0
        for i in range(plane * outputs, (plane + 1) * outputs):
            if 0 <= where[i] < H * W:
                own[where[i]] += upstream[i]


@compiled
def _avg_forward(
    x: In4, y: Out4, KH: int, KW: int, stride_h: int, stride_w: int, pad_h: int, pad_w: int, count_include_pad: bool,
    divisor: int, parts: int, team: Team,
):
    N, C, H, W = x.shape
    OH, OW = y.shape[2:]
    pixels, means = x.reshape(x.size), y.reshape(y.size)
    first, end = inside(W, OW, KW, stride_w, pad_w, 1)
    for item in prange(N * C * parts, team):
        plane, part = item // parts, item % parts
        for oh in range(OH * part // parts, OH * (part + 1) // parts):
            start, to, top = plane * H * W, (plane * OH + oh) * OW, oh * stride_h - pad_h
            if KH == H and KW == W and top == 0 and pad_w == 0:
                share = window_divisor(0, 0, KH, KW, pad_h, pad_w, H, W, count_include_pad, divisor)
                means[to] = run_sum(pixels, start, start + H * W) / pixels.dtype.type(share)
            else:
                mean_row(pixels, start, means, to, H, W, OW, top, KH, KW, stride_w, pad_h, pad_w, count_include_pad, divisor,
                         first, end)


@within
def mean_row(pixels, start, means, to, H, W, OW, top, KH, KW, stride, pad_h, pad_w, count_include_pad, divisor, first, end):
    """As ``max_row``, with means."""
    top_tap, bottom_tap = seen(top, KH, 1, H)
    step = lanes(pixels)
    behind = start + (top + bottom_tap - 1) * W + KW - 1 - pad_w + first * stride + 2 * step
    if end - first < step and behind > pixels.size:
        end = first
    divided = pixels.dtype.type(
        window_divisor(top, first * stride - pad_w, KH, KW, pad_h, pad_w, H, W, count_include_pad, divisor))
    for vector in range((end - first + step - 1) // step):
        ow, count = last_vector(first + vector * step, first, end, step)
        at, sums = start + top * W + ow * stride - pad_w, none(pixels)
        if KH == KW == 3 and bottom_tap - top_tap == 3:             # known taps are all written out
            for tap in range(9):
                sums = add(sums, taps(pixels, at + tap // 3 * W + tap % 3, stride))
        else:
            for i in range(top_tap, bottom_tap):
                for j in range(KW):
                    sums = add(sums, taps(pixels, at + i * W + j, stride))
        put_first(means, to + ow, div(sums, spread(pixels, divided)), count)
    ow = 0
    while ow < OW:
        if ow == first and first < end:
            ow = end
            continue
        left = ow * stride - pad_w
        left_tap, right_tap = seen(left, KW, 1, W)
        sum_ = pixels.dtype.type(0)
        for i in range(top_tap, bottom_tap):
            for j in range(left_tap, right_tap):
                sum_ += entry(pixels, start + (top + i) * W + left + j)
        means[to + ow] = sum_ / pixels.dtype.type(
            window_divisor(top, left, KH, KW, pad_h, pad_w, H, W, count_include_pad, divisor))
        ow += 1


@compiled
def _avg_backward(
    g: In4, dx: Out4, KH: int, KW: int, stride_h: int, stride_w: int, pad_h: int, pad_w: int, count_include_pad: bool,
    divisor: int, past: bool, team: Team,
):
    N, C, H, W = dx.shape
    OH, OW = g.shape[2:]
    upstream, pixels = g.reshape(g.size), dx.reshape(dx.size)
    tiles = stride_h == KH and stride_w == KW and H == OH * KH and W == OW * KW and pad_h == 0 and pad_w == 0
    count = pixels.dtype.type(KH * KW if divisor == 0 else divisor)
    for plane in prange(N * C, team):
        if tiles:
            for h in range(H):
                fill_row(upstream, (plane * OH + h // KH) * OW, pixels, (plane * H + h) * W, OW, KW, count)
        elif stride_h == 2 and stride_w == 2:
            shares = room(pixels, OH * OW)
            find_shares(upstream, plane * OH * OW, OH, OW, H, W, KH, KW, pad_h, pad_w, count_include_pad, divisor, shares)
            fold_plane(shares, 0, 0, OH, OW, KH, KW, pad_h, pad_w, 1, 1, pixels, plane * H * W, H, W, past)
        else:
            spread_plane(g[plane // C, plane % C], dx[plane // C, plane % C], KH, KW, stride_h, stride_w, pad_h, pad_w,
                         count_include_pad, divisor)
        arrived(past)


@helper
def find_shares(upstream, start, OH, OW, H, W, KH, KW, pad_h, pad_w, count_include_pad, divisor, shares):
    """What each pixel of a window gets, at stride 2: an output divided by what `window_divisor` says, along one axis and along
    the other."""
    across = room(shares, OW)
    for ow in range(OW):
        across[ow] = window_divisor(0, 2 * ow - pad_w, 1, KW, 0, pad_w, 1, W, count_include_pad, divisor)
    for oh in range(OH):
        down = window_divisor(0, 2 * oh - pad_h, 1, KH, 0, pad_h, 1, H, count_include_pad, divisor) if divisor == 0 else 1
        for ow in range(0, OW, lanes(shares)):
            counts = mul(load_between(across, ow, 0, OW - ow), spread(shares, across.dtype.type(down)))
            share = div(load_between(upstream, start + oh * OW + ow, 0, OW - ow), counts)
            put_first(shares, oh * OW + ow, share, OW - ow)


@helper
def fill_row(upstream, start, pixels, to, OW, KW, count):
    """One row of pixels, KW for each of the OW outputs from ``start`` on."""
    for ow in range(OW):
        pixels[to + ow * KW:to + (ow + 1) * KW] = upstream[start + ow] / count


# ---------------------------------------------------------------------------------------------- who sees whom


@helper
def last_vector(ow, first, end, step):
    """Where the vector of outputs that should begin at ``ow`` does begin, and how many of its lanes are wanted.

    The last one of a row overlaps the one before it. In a row that is shorter than a vector, lanes are left over: they see
    pixels of the rows below or of the next plane, if there is anything behind the row in memory, and are not stored.
    """
    ow = max(first, min(ow, end - step))
    return ow, min(step, end - ow)


@helper
def taps(pixels, at, stride):
    """What one tap of as many neighbouring windows as there are lanes sees; the stride is 1 or 2."""
    return load(pixels, at) if stride == 1 else load_second(pixels, at)


@helper
def seen(start, count, dilation, size):
    """The taps, from the first to behind the last, at which a window that begins at ``start`` sees pixels."""
    if start >= 0 and start + (count - 1) * dilation < size:
        return 0, count                                 # most windows; a division takes as long as all their taps
    first = (max(0, -start) + dilation - 1) // dilation
    return first, max(first, min(count, (size - start + dilation - 1) // dilation))


@helper
def inside(W, OW, KW, stride, pad, dilation):
    """The outputs, from the first to behind the last, for which vectors are made: all taps see pixels, one or two apart."""
    first = (pad + stride - 1) // stride
    end = min(OW, (W - 1 - (KW - 1) * dilation + pad) // stride + 1)
    return first, end if stride <= 2 else first
