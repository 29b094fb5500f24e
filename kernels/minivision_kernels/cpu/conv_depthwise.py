"""Depthwise convolution: every channel has filters of its own (groups = C). An image of one channel is a group by itself.

The other rungs live on sums over channels: a vector of pixels, once loaded, serves many filters. Here a pixel meets the
few taps of one filter, nine multiply-adds for 3 x 3. What counts is to move little: to read each pixel from memory once,
lay nothing out anew, and load a vector once for all the taps and rows of results that want it. So a plane of the image
is read where it lies, and the words of ``sliding.py`` compute four rows of results at a time:

                            loads for 36 multiply-adds (3 x 3, stride 1)
    a sum of shifted rows   36, and 36 loads and stores of sums
    four rows at a time     18, sums and weights in registers

With so few multiply-adds for each pixel, images that do not lie near are waited for, longer than it takes to compute with them:
a processor foresees the next line of a plane, not the next plane. So, while a plane is done, the same lines of the one after
it are asked for: forward and to images 1.15 to 2.9 times as fast where images take 8 MB and more, and to filters 1.2 to 3.5
times, where large planes are also gone through line by line then, and not strip by strip.

Windows of 3 x 3, 5 x 5 and 7 x 7 with stride 1 and 2 have such kernels. All others, and machines for which there is no compiler
of vectors, have plain loops over rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivision_kernels.cpu.compile import In1, Out1, Out2, Team, compiled, contiguous, floats, helper, inlined, prange, rebuilt
from minivision_kernels.cpu.goal import NOTHING, aim
from minivision_kernels.cpu.rows import add_product, add_row, fold
from minivision_kernels.cpu.simd import lanes, lanes_of, vectors
from minivision_kernels.cpu.sliding import correlate, fan_out, get_rows, put_phases, put_rows, slide, spread_out
from minivision_kernels.cpu.stream import ask_lines, from_afar
from minivision_kernels.cpu.tile import MANY, add_totals, finish_rows, zeros
from minivision_kernels.finish import Finish, finished
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair, conv_output_size

SMALL = 32_000      # outputs of all filters
FEW = 12            # filters that see the one channel there is, of which no tile would be full
ROWS = 4            # rows of results at a time
TAPS = {3: 3, 5: 5 if MANY else 1, 7: 1}       # rows of taps whose gradients are summed together: all if there are registers
SIDE, STRIDE, TAP_ROWS = 3, 1, TAPS[3]          # of the kernels below, until they are rebuilt for all windows,
GO: Any = None                                  # and which way they go through a plane
SUM = 8192          # results that go into a vector of sums before its lanes are added up
LARGE = 1024        # results of a plane that comes from afar and is too large to be asked for at once


def _is_depthwise(C: int, F: int, groups: int) -> bool:
    return groups == C > 0 and F % C == 0


def _insist(possible: bool) -> None:
    if not possible:
        raise ValueError("depthwise convolution takes as many groups as channels; call the rung 'direct'")


def _forward_accepts(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1),
                     groups: int = 1) -> bool:
    return _is_depthwise(x.shape[1], len(w), groups) and floats(x)


def _input_accepts(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                   dilation: Pair = (1, 1), groups: int = 1) -> bool:
    return _is_depthwise(shape[1], len(w), groups) and floats(g)


def _weight_accepts(x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                    dilation: Pair = (1, 1), groups: int = 1) -> bool:
    return _is_depthwise(x.shape[1], shape[0], groups) and floats(x)


def words_fit(array: np.ndarray, window: Pair, stride: Pair, dilation: Pair) -> bool:
    """Whether there is a kernel made of words for this geometry. At stride 2 three vectors have to hold what all taps see."""
    enough = window == (3, 3) or stride == (1, 1) or lanes_of(array) >= window[0] - 1
    return window[0] == window[1] and window[0] in TAPS and stride in ((1, 1), (2, 2)) and dilation == (1, 1) and enough and (
        vectors(array))


def _forward_worth(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1),
                   groups: int = 1) -> bool:
    """Of images of one channel those that few filters see. 6 filters of 5 x 5 take 0.7, 8 of 3 x 3 0.8 of the time in tiles,
    and 16 take 1.0 to 1.3; but with 16 or 32, one image of 28 x 28 is over in 0.65 to 0.7 of the time, before its pixels are
    packed."""
    few = len(w) <= FEW or len(x) * len(w) * x.shape[2] * x.shape[3] <= SMALL
    return groups > 1 or (few and stride == (1, 1) and words_fit(x, w.shape[2:], stride, dilation))


@rung("conv2d_forward", name="depthwise", device="cpu", accepts=_forward_accepts, worth=_forward_worth)
def conv2d_forward(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int, finish: Finish | None = None,
) -> np.ndarray:
    """Each plane by itself, four rows at a time."""
    N, C, H, W = x.shape
    F, _, KH, KW = w.shape
    _insist(_is_depthwise(C, F, groups))
    OH, OW = conv_output_size((H, W), (KH, KW), stride, padding, dilation)
    if not words_fit(x, (KH, KW), stride, dilation):
        y = empty((N, F, OH, OW), x.dtype)
        if y.size:
            _forward(contiguous(x).reshape(-1), H, W, contiguous(w).reshape(-1), KH, KW, *stride, *padding, *dilation, F // C,
                     y.reshape(-1), OH, OW, work=y.size * KH * KW)
        return y if finish is None else finished(y, finish)
    y, goal = aim((N, F, OH, OW), x.dtype, finish)
    if y.size:
        SLIDE[KH, stride[0]](contiguous(x).reshape(-1), N, H, W, *padding, contiguous(w).reshape(-1), 1, F, 1, F // C, *goal,
                             OH, OW, from_afar(x), work=y.size * KH * KW)
    return y


def _input_worth(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                 dilation: Pair = (1, 1), groups: int = 1) -> bool:
    """Not for images of one channel: ``conv_fold.py`` takes as long for 6 filters, and less for more."""
    return groups > 1


@rung("conv2d_input", name="depthwise", device="cpu", accepts=_input_accepts, worth=_input_worth)
def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """At stride 1 the forward with the filters turned round; at stride 2 the four phases of the image at once."""
    N, C, H, W = shape
    F, _, KH, KW = w.shape
    _insist(_is_depthwise(C, F, groups))
    OH, OW = g.shape[2:]
    dx = empty(shape, g.dtype)
    if not dx.size:
        return dx
    g, w, work = contiguous(g).reshape(-1), contiguous(w).reshape(-1), N * F * H * W * KH * KW // (stride[0] * stride[1])
    if not words_fit(g, (KH, KW), stride, dilation) or (stride == (2, 2) and F > C):
        _input(g, OH, OW, w, KH, KW, *stride, *padding, *dilation, F // C, dx.reshape(-1), H, W, work=work)
    elif stride == (1, 1):
        SLIDE[KH, 1](g, N, OH, OW, KH - 1 - padding[0], KW - 1 - padding[1], w, -1, C, F // C, 1, dx.reshape(-1), C * H * W,
                     NOTHING[g.dtype], False, H, W, from_afar(g), work=work)
    else:
        FAN_OUT[KH, 2](g, OH, OW, *padding, w, dx.reshape(-1), H, W, work=work)
    return dx


def _weight_worth(x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                  dilation: Pair = (1, 1), groups: int = 1) -> bool:
    """Of images of one channel those whose planes stay in the first cache, since each filter's gradient reads them all; and
    not with 16 registers, which took 1.4 times as long as tiles."""
    _, _, KH, KW = shape
    small = MANY and stride == (1, 1) and g.shape[2] * g.shape[3] <= SUM and words_fit(x, (KH, KW), stride, dilation)
    return groups > 1 or small


@rung("conv2d_weight", name="depthwise", device="cpu", accepts=_weight_accepts, worth=_weight_worth)
def conv2d_weight(
    x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """A vector of sums for each tap, all in registers; threads share the filters, the batch is summed in order.

    Nothing is packed, turned over or padded: 6 filters of 5 x 5 on 64 images of 28 x 28 take a third of the time in tiles.
    """
    N, C, H, W = x.shape
    F, _, KH, KW = shape
    _insist(_is_depthwise(C, F, groups))
    OH, OW = g.shape[2:]
    dw = np.zeros(shape, x.dtype)
    if not g.size:
        return dw
    x, g, work = contiguous(x).reshape(-1), contiguous(g).reshape(-1), g.size * KH * KW
    if words_fit(x, (KH, KW), stride, dilation):
        far = from_afar(x)
        (BANDS if far and OH * OW > LARGE else STRIPS)[KH, stride[0]](
            x, H, W, *padding, g, N, C, F // C, OH, OW, far, dw.reshape(-1), work=work)
    else:
        _weight(x, H, W, g, N, KH, KW, *stride, *padding, *dilation, F // C, OH, OW, np.empty((F, OW), x.dtype), dw.reshape(-1),
                work=work)
    return dw


# ----------------------------------------------------------------------------- windows of 3 x 3, 5 x 5 and 7 x 7, in words

@inlined
def slide_plane(x, p, H, W, top, left, w, turn, planes, terms, share, y, y_step, bias, relu, OH, OW, asks, K, stride):
    """Plane p of N * planes, which are (OH, OW) in y: the sum of ``terms`` planes of x, each under its filter. If it ``asks``,
    the rows of the next plane are asked for meanwhile."""
    size, wide, finish, start = K * K, stride * lanes(x) + K, bias.shape[0] > 0, p // planes * y_step + p % planes * OH * OW
    for term in range(terms):
        weights = spread_out(w, (p % planes * terms + term) * size + (0 if turn > 0 else size - 1), turn, K, K)
        plane = (p * terms + term) // share * H
        for oh in range(0, OH, ROWS):
            row = oh * stride - top                     # what tap (0, 0) of the first result sees: this row and column
            if asks:
                ask_lines(x, (plane + H + oh * stride) * W, ROWS * stride * W)
            for ow in range(0, OW, lanes(x)):
                column, to = ow * stride - left, start + oh * OW + ow
                tile = zeros(x, ROWS, 1)
                if term > 0:
                    tile = get_rows(tile, ROWS, y, to, OW, oh, OH, OW - ow)
                at = (plane + row) * W + column
                if column >= 0 and column + wide <= W:
                    tile = slide(tile, ROWS, K, K, stride, 0, x, at, W, row, H, -column, W - column, weights)
                else:
                    tile = slide(tile, ROWS, K, K, stride, 1, x, at, W, row, H, -column, W - column, weights)
                if finish and term == terms - 1:
                    tile = finish_rows(tile, 1, ROWS, bias, p % planes, relu)       # all of them of one filter
                if ow + lanes(x) <= OW:
                    put_rows(tile, ROWS, 0, y, to, OW, oh, OH, OW - ow)
                else:
                    put_rows(tile, ROWS, 1, y, to, OW, oh, OH, OW - ow)


@compiled
def _slide(x: In1, N: int, H: int, W: int, top: int, left: int, w: In1, turn: int, planes: int, terms: int, share: int,
           y: Out1, y_step: int, bias: In1, relu: bool, OH: int, OW: int, asks: bool, team: Team):
    for p in prange(N * planes, team):
        slide_plane(x, p, H, W, top, left, w, turn, planes, terms, share, y, y_step, bias, relu, OH, OW, asks, SIDE, STRIDE)


@inlined
def fan_out_plane(g, p, OH, OW, top, left, w, dx, H, W, K):
    """Plane p of dx (N * C, H, W): two rows of two vectors at a time, which are pixels (2 q - top, 2 r - left) and on."""
    L = lanes(g)
    weights = spread_out(w, p % (w.shape[0] // (K * K)) * K * K, 1, K, K)
    for q in range(top // 2, (H + top + 1) // 2):
        for r in range(left // 2, (W + left + 1) // 2, L):
            tile, at = zeros(g, 4, 1), (p * OH + q) * OW + r
            if r >= K // 2 and r + L <= OW:
                tile = fan_out(tile, K, 0, g, at, OW, q, OH, -r, OW - r, weights)
            else:
                tile = fan_out(tile, K, 1, g, at, OW, q, OH, -r, OW - r, weights)
            h, column = 2 * q - top, 2 * r - left
            to = (p * H + h) * W + column
            if column >= 0 and column + 2 * L <= W:
                put_phases(tile, 0, dx, to, W, h, H, -column, W - column)
            else:
                put_phases(tile, 1, dx, to, W, h, H, -column, W - column)


@compiled
def _fan_out(g: In1, OH: int, OW: int, top: int, left: int, w: In1, dx: Out1, H: int, W: int, team: Team):
    for p in prange(dx.shape[0] // (H * W), team):
        fan_out_plane(g, p, OH, OW, top, left, w, dx, H, W, SIDE)


@inlined
def by_strips(tile, x, plane, H, W, top, left, g, upstream, OH, OW, x_step, g_step, asks, K, stride, tap, tap_rows):
    """The sums ``tile`` over a plane, a strip of vectors after the other. The planes ``x_step`` and ``g_step`` rows further on
    are asked for first if it ``asks``; small ones have come when their turn does."""
    L = lanes(x)
    if asks:
        ask_lines(x, (plane + x_step) * W, H * W)
        ask_lines(g, (upstream + g_step) * OW, OH * OW)
    for ow in range(0, OW, L):
        column = ow * stride - left
        inside = column >= 0 and column + stride * L + K <= W and ow + L <= OW
        for oh in range(0, OH - OH % ROWS, ROWS):
            row = oh * stride - top + tap
            at, gt = (plane + row) * W + column, (upstream + oh) * OW + ow
            if inside:
                tile = correlate(tile, ROWS, tap_rows, K, stride, 0, x, at, W, row, H, -column, W - column, g, gt, OW, OW - ow)
            else:
                tile = correlate(tile, ROWS, tap_rows, K, stride, 1, x, at, W, row, H, -column, W - column, g, gt, OW, OW - ow)
        for oh in range(OH - OH % ROWS, OH):
            row = oh * stride - top + tap
            at, gt = (plane + row) * W + column, (upstream + oh) * OW + ow
            tile = correlate(tile, 1, tap_rows, K, stride, 1, x, at, W, row, H, -column, W - column, g, gt, OW, OW - ow)
    return tile


@inlined
def by_rows(tile, x, plane, H, W, top, left, g, upstream, OH, OW, x_step, g_step, asks, K, stride, tap, tap_rows):
    """The same, some rows after the others, as memory has them; large planes far away are asked for so, too."""
    L = lanes(x)
    for oh in range(0, OH - OH % ROWS, ROWS):
        row = oh * stride - top + tap
        if asks:
            ask_lines(x, (plane + x_step + oh * stride) * W, ROWS * stride * W)
            ask_lines(g, (upstream + g_step + oh) * OW, ROWS * OW)
        for ow in range(0, OW, L):
            column = ow * stride - left
            at, gt = (plane + row) * W + column, (upstream + oh) * OW + ow
            if column >= 0 and column + stride * L + K <= W and ow + L <= OW:
                tile = correlate(tile, ROWS, tap_rows, K, stride, 0, x, at, W, row, H, -column, W - column, g, gt, OW, OW - ow)
            else:
                tile = correlate(tile, ROWS, tap_rows, K, stride, 1, x, at, W, row, H, -column, W - column, g, gt, OW, OW - ow)
    for oh in range(OH - OH % ROWS, OH):
        row = oh * stride - top + tap
        for ow in range(0, OW, L):
            column = ow * stride - left
            at, gt = (plane + row) * W + column, (upstream + oh) * OW + ow
            tile = correlate(tile, 1, tap_rows, K, stride, 1, x, at, W, row, H, -column, W - column, g, gt, OW, OW - ow)
    return tile


@compiled
def _correlate(x: In1, H: int, W: int, top: int, left: int, g: In1, N: int, C: int, share: int, OH: int, OW: int, asks: bool,
               dw: Out1, team: Team):
    """Threads share the filters. Of each, the weights of some rows of taps at a time are summed over all images."""
    F = C * share
    images = max(1, SUM // (OH * OW))
    for f in prange(F, team):
        for tap in range(0, SIDE, TAP_ROWS):
            for begin in range(0, N, images):
                tile = zeros(x, TAP_ROWS, SIDE)
                for n in range(begin, min(N, begin + images)):
                    tile = GO(tile, x, (n * C + f // share) * H, H, W, top, left, g, (n * F + f) * OH, OH, OW, C * H, F * OH,
                              asks and n + 1 < N, SIDE, STRIDE, tap, TAP_ROWS)
                add_totals(tile, TAP_ROWS, SIDE, dw, (f * SIDE + tap) * SIDE, SIDE)


def sized(kernel: Any, *strides: int, go: Any = None) -> dict[tuple[int, int], Any]:
    """The kernel for each window and stride: the same text with other constants, by which words are laid out in full."""
    return {(side, stride): rebuilt(kernel, {"SIDE": side, "STRIDE": stride, "TAP_ROWS": rows, "GO": go},
                                    f"_{side}_by_{stride}" + "_rows" * (go is by_rows))
            for side, rows in TAPS.items() for stride in strides}


SLIDE, FAN_OUT = sized(_slide, 1, 2), sized(_fan_out, 2)
STRIPS, BANDS = sized(_correlate, 1, 2, go=by_strips), sized(_correlate, 1, 2, go=by_rows)


# ------------------------------------------------------------------------------------------------ any window, plain loops

@helper
def seen(first, step, size, count):
    """The run of k in 0 ... count with 0 <= first + k step < size: its start and its end."""
    start = min(count, max(0, -(first // step)))
    return start, min(count, max(start, (size - 1 - first) // step + 1))


@compiled
def _forward(
    x: In1, H: int, W: int, w: In1, KH: int, KW: int, stride_h: int, stride_w: int, top: int, left: int,
    dilation_h: int, dilation_w: int, share: int, y: Out1, OH: int, OW: int, team: Team,
):
    F = w.shape[0] // (KH * KW)
    for p in prange(y.shape[0] // (OH * OW), team):
        weights = w[p % F * KH * KW:]
        for oh in range(OH):
            total = y[(p * OH + oh) * OW:(p * OH + oh + 1) * OW]
            total[:] = 0
            for kh in range(KH):
                h = oh * stride_h + kh * dilation_h - top
                if h < 0 or h >= H:
                    continue
                line = x[(p // share * H + h) * W:(p // share * H + h + 1) * W]
                for kw in range(KW):
                    begin = kw * dilation_w - left
                    first, end = seen(begin, stride_w, W, OW)
                    if first == end:
                        continue
                    if stride_w == 1:
                        add_row(total[first:end], weights[kh * KW + kw], line[first + begin:])
                    else:
                        add_row(total[first:end], weights[kh * KW + kw], line[first * stride_w + begin::stride_w])


@compiled
def _input(
    g: In1, OH: int, OW: int, w: In1, KH: int, KW: int, stride_h: int, stride_w: int, top: int, left: int,
    dilation_h: int, dilation_w: int, terms: int, dx: Out1, H: int, W: int, team: Team,
):
    C = w.shape[0] // (KH * KW * terms)
    for p in prange(dx.shape[0] // (H * W), team):
        weights = w[p % C * terms * KH * KW:]
        for h in range(H):
            total = dx[(p * H + h) * W:(p * H + h + 1) * W]
            total[:] = 0
            for k in range(terms * KH):
                term, kh = k // KH, k % KH
                oh = (h + top - kh * dilation_h) // stride_h
                if oh < 0 or oh >= OH or oh * stride_h + kh * dilation_h - top != h:
                    continue
                at = ((p * terms + term) * OH + oh) * OW
                line = g[at:at + OW]
                for kw in range(KW):
                    begin = kw * dilation_w - left      # the pixel that the first result sees
                    first, end = seen(begin, stride_w, W, OW)
                    if first == end:
                        continue
                    if stride_w == 1:
                        add_row(total[first + begin:end + begin], weights[k * KW + kw], line[first:])
                    else:
                        last = (end - 1) * stride_w + begin + 1
                        add_row(total[first * stride_w + begin:last:stride_w], weights[k * KW + kw], line[first:])


@compiled
def _weight(
    x: In1, H: int, W: int, g: In1, N: int, KH: int, KW: int, stride_h: int, stride_w: int, top: int, left: int,
    dilation_h: int, dilation_w: int, share: int, OH: int, OW: int, room_: Out2, dw: Out1, team: Team,
):
    """``room_`` (F, OW) holds sums of the lanes: a kernel that makes no arrays counts no references (``compile.py``)."""
    F = dw.shape[0] // (KH * KW)
    for f in prange(F, team):
        total = room_[f]
        for k in range(KH * KW):
            down, begin = k // KW * dilation_h - top, k % KW * dilation_w - left
            first, end = seen(begin, stride_w, W, OW)
            total[:] = 0
            if first == end:
                continue
            for n in range(N):
                for oh in range(OH):
                    h = oh * stride_h + down
                    if h < 0 or h >= H:
                        continue
                    at, to = ((n * F + f) // share * H + h) * W, ((n * F + f) * OH + oh) * OW
                    line = x[at:at + W]
                    if stride_w == 1:
                        add_product(total[:end - first], g[to + first:], line[first + begin:])
                    else:
                        add_product(total[:end - first], g[to + first:], line[first * stride_w + begin::stride_w])
            dw[f * KH * KW + k] = fold(total)
