"""Convolution of a single image as one matrix product: im2col, where it is cheap.

With one image of few pixels the filters are the large operand: a layer of 512 to 2048 channels of 7 x 7 pixels has a million
weights, each of which meets 49 pixels. The rungs below divide the work by pixels; the matrix products of the linear layer
choose by the shapes of both operands. And for 1 x 1 filters at stride 1 an image *is* the matrix of its windows, (C, H W),
so that nothing has to be written down. (``conv_pixels.py`` takes most of these; what stays here is short sums, images whose
channels lie whole pages apart, and gradients to so few pixels that it does not pay to turn the weights over.)

    y = W X              (F, T) (T, P)      T = C KH KW taps, P = OH OW outputs, X the windows, one in each column
    dX = Wᵀ G            (T, F) (F, P)      and every entry of dX is added to the pixel that it came from
"""

from __future__ import annotations

import math

import numpy as np

from minivision_kernels.cpu.goal import aim
from minivision_kernels.cpu.simd import vectors
from minivision_kernels.cpu.writer import BYTES
from minivision_kernels.finish import Finish, finished
from minivision_kernels.ladder import best, run, rung
from minivision_kernels.memory import empty, zeros
from minivision_kernels.shapes import Pair, conv_output_size

FEW = 64            # outputs of an image
PICKED = 1 << 14    # pixels that 1 x 1 filters with a larger stride see; more are sooner packed than picked out first


def _as_it_lies(window: tuple[int, ...], stride: Pair, padding: Pair) -> bool:
    """Whether an image is the matrix of its windows."""
    return window == (1, 1) and stride == (1, 1) and padding == (0, 0)


def _forward_worth(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1),
                   groups: int = 1) -> bool:
    """For one image and 1 x 1 filters, if what they see is cheap to write down: all pixels, or few of them.

    With AVX-512 filters whose stride leaves few pixels take 0.6 of the time here that they take in ``conv_implicit.py`` or
    ``conv_direct.py``. Larger filters are packed there at once, without being written down: 1.25 to 1.5 times as fast.
    """
    outputs = math.prod(conv_output_size(x.shape[2:], w.shape[2:], stride, padding, dilation))
    if len(x) * groups != 1 or w.shape[2:] != (1, 1) or padding != (0, 0):
        return False
    return stride == (1, 1) or x.shape[1] * outputs <= PICKED or (BYTES == 64 and outputs <= FEW)


def _input_worth(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                 dilation: Pair = (1, 1), groups: int = 1) -> bool:
    """For one image that is the matrix of its windows; with AVX2 many filters of few pixels are better off in panels."""
    if len(g) * groups != 1 or w.shape[2:] != (1, 1):
        return False
    few = g.shape[2] * g.shape[3] <= FEW
    if not _as_it_lies((1, 1), stride, padding):
        return few and BYTES == 64
    return not few or len(w) <= w.shape[1] or BYTES == 64


@rung("conv2d_forward", name="product", device="cpu", accepts=vectors, worth=_forward_worth)
def conv2d_forward(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int, finish: Finish | None = None,
) -> np.ndarray:
    """The matrix product of the linear layer that suits the shapes; with 1 x 1 filters at stride 1 there is nothing else to do.

    One image of ResNet-50's layers, the time of the rung below / this one's: 0.95 to 1.18 for 1 x 1 filters; 1.5 to 3 for 8 to
    128 channels of 13 to 55 pixels, where the others' arrangements take longer than the sums. For 1 x 1 filters at stride 2 it
    is 1.2 for 16 channels of 32 x 32, and 0.75 to 0.95 for more of them. With larger filters the windows cost more than they
    save: 0.5 to 0.85 for 5 x 5 to 8 x 8 pixels.
    """
    (N, _, H, W), (F, *shape) = x.shape, w.shape
    taps = math.prod(shape)
    if N * groups == 1 and _as_it_lies(w.shape[2:], stride, padding):
        return _of_one(w.reshape(F, taps), x.reshape(taps, H * W), (1, F, H, W), finish)
    size = conv_output_size((H, W), w.shape[2:], stride, padding, dilation)
    if N * groups == 1:
        return _of_one(w.reshape(F, taps), _windows(x[0], w.shape[2:], stride, padding, dilation, size), (1, F, *size), finish)
    y = empty((N, F, *size), x.dtype)
    for image, out in zip(_grouped(x, groups), _grouped(y, groups)):
        for pixels, weights, result in zip(image, w.reshape(groups, F // groups, taps), out):
            columns = _windows(pixels, w.shape[2:], stride, padding, dilation, size)
            result[...] = run("linear_input", weights, columns).reshape(result.shape)
    return y if finish is None else finished(y, finish)


def _of_one(weights: np.ndarray, columns: np.ndarray, shape: tuple[int, ...], finish: Finish | None) -> np.ndarray:
    """The product of one image, which the rung of the product finishes if it can."""
    rung = best("linear_input", weights, columns)
    if finish is None or not rung.finishes:
        y = rung.function(weights, columns).reshape(shape)
        return y if finish is None else finished(y, finish)
    y, goal = aim(shape, weights.dtype, finish)
    rung.function(weights, columns, finish=goal)
    return y


@rung("conv2d_input", name="product", device="cpu", accepts=vectors, worth=_input_worth)
def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The same with the weights transposed; then each product goes back to its pixel.

    1.05 to 1.18 for 1 x 1 filters; where 2048 filters meet 7 x 7 pixels 0.9 with AVX2, 1.6 to 2 with AVX-512; 0.8 for 3 x 3
    filters there.
    """
    (N, C, H, W), (F, channels, KH, KW), (OH, OW) = shape, w.shape, g.shape[2:]
    if N * groups == 1 and _as_it_lies((KH, KW), stride, padding):
        return run("linear_weight", w.reshape(F, C), g.reshape(F, H * W)).reshape(shape)
    (top, left), (down, across), (apart, aside) = padding, stride, dilation
    dx = empty(shape, g.dtype)
    for upstream, image in zip(_grouped(g, groups), _grouped(dx, groups)):
        for one, weights, result in zip(upstream, w.reshape(groups, F // groups, channels * KH * KW), image):
            parts = run("linear_weight", weights, one.reshape(len(one), OH * OW)).reshape(len(result), KH, KW, OH, OW)
            padded = zeros((len(result), H + 2 * top, W + 2 * left), g.dtype)
            for i in range(KH):
                for j in range(KW):
                    padded[:, i * apart:i * apart + down * OH:down, j * aside:j * aside + across * OW:across] += parts[:, i, j]
            result[...] = padded[:, top:top + H, left:left + W]
    return dx


def _grouped(images: np.ndarray, groups: int) -> np.ndarray:
    """(N, C, H, W) as (N, groups, C / groups, H, W)."""
    N, C, H, W = images.shape
    return images.reshape(N, groups, C // groups, H, W)


def _windows(
    pixels: np.ndarray, window: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, size: Pair,
) -> np.ndarray:
    """The matrix of the windows of an image (C, H, W), one in each column: (C KH KW, OH OW)."""
    C, H, W = pixels.shape
    if _as_it_lies(window, stride, padding):
        return pixels.reshape(C, H * W)
    (KH, KW), (top, left), (down, across), (apart, aside), (OH, OW) = window, padding, stride, dilation, size
    padded = pixels
    if padding != (0, 0):
        padded = zeros((C, H + 2 * top, W + 2 * left), pixels.dtype)
        padded[:, top:top + H, left:left + W] = pixels
    columns = empty((C, KH, KW, OH, OW), pixels.dtype)
    for i in range(KH):
        for j in range(KW):
            columns[:, i, j] = padded[:, i * apart:i * apart + down * OH:down, j * aside:j * aside + across * OW:across]
    return columns.reshape(C * KH * KW, OH * OW)
