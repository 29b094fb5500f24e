"""Dilated convolution as ordinary convolutions of what lies between: pixels that no window puts together go to images apart.

With dilation 2 the windows that begin at even lines see even lines alone, and so it is with columns. Deal the pixels out to
2 x 2 images like cards, and each of them is convolved by itself, with a window without holes; then the results are woven back.
The images of a batch become four times as many, a quarter as large, and every rung for windows without holes serves, Winograd's
above all. (Wavelets "à trous" were computed so by Holschneider et al. 1989.)
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from minivision_kernels.cpu.compile import In1, Out1, Team, compiled, contiguous, prange
from minivision_kernels.cpu.goal import aim
from minivision_kernels.cpu.simd import evens, lanes, load_between, put_woven, vectors
from minivision_kernels.cpu.stream import put_first
from minivision_kernels.finish import Finish, run_finished
from minivision_kernels.ladder import best, run, rung
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair, conv_output_size

LEAST, MANY = 32, 128       # channels, and filters, whose products are worth moving all pixels twice,
PRODUCTS = 12_000_000       # and these products of all images


def _possible(array: np.ndarray, stride: Pair, padding: Pair, dilation: Pair) -> bool:
    """Padding must be as many pixels on all images that pixels are dealt to."""
    return vectors(array) and stride == (1, 1) and dilation != (1, 1) and all(p % d == 0 for p, d in zip(padding, dilation))


def _insist(possible: bool) -> None:
    if not possible:
        raise ValueError("this rung takes windows with stride 1 and a dilation above 1 that divides the padding; call the rung "
                         "'direct'")


class Dealt(NamedTuple):
    """What images (N, C, H, W) and their results are dealt to."""

    images: int
    size: Pair              # of the images,
    padding: Pair           # what is around them,
    results: Pair           # and the size of their results


def _dealt(shape: tuple[int, ...], window: tuple[int, ...], padding: Pair, dilation: Pair) -> Dealt:
    high, wide = (-(-size // d) for size, d in zip(shape[2:], dilation))
    around = padding[0] // dilation[0], padding[1] // dilation[1]
    return Dealt(shape[0] * math.prod(dilation), (high, wide), around,
                 conv_output_size((high, wide), (window[0], window[1]), (1, 1), around, (1, 1)))


def _worth(
    op: str, array: np.ndarray, call: tuple[Any, ...], w_shape: tuple[int, ...], size: tuple[int, ...], dilation: Pair,
) -> bool:
    """Whether Winograd's convolution would take over, results of this ``size`` fill half of its patches, or nearly so if there
    are `MANY` channels and filters, and pixels meet so many filters that it pays to move them twice."""
    patch, few = (4 if w_shape[2] == 3 else 2), LEAST if dilation[1] == 2 else 2 * LEAST
    patches = math.prod(-(-side // (d * patch)) * d * patch for side, d in zip(size, dilation))
    return min(w_shape[:2]) >= few and len(array) * math.prod(w_shape) * math.prod(size) >= PRODUCTS and (
        patches <= (2.25 if min(w_shape[:2]) >= MANY else 2) * math.prod(size)) and best(op, *call).name.startswith("winograd")


def _like(array: np.ndarray, *shape: int) -> np.ndarray:
    """An array of this shape that takes no memory: `best` asks for no more."""
    return np.broadcast_to(np.zeros((), array.dtype), shape)


def _forward_accepts(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1),
                     groups: int = 1) -> bool:
    return _possible(x, stride, padding, dilation)


def _gradient_accepts(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                      dilation: Pair = (1, 1), groups: int = 1) -> bool:
    return _possible(g, stride, padding, dilation)


def _forward_worth(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1),
                   groups: int = 1) -> bool:
    images, size, around, _ = _dealt(x.shape, w.shape[2:], padding, dilation)
    call = _like(x, images, x.shape[1], *size), w, (1, 1), around, (1, 1), groups
    return _worth("conv2d_forward", x, call, w.shape, conv_output_size(x.shape[2:], w.shape[2:], stride, padding, dilation),
                  dilation)


def _input_worth(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                 dilation: Pair = (1, 1), groups: int = 1) -> bool:
    images, size, around, results = _dealt(shape, w.shape[2:], padding, dilation)
    call = _like(g, images, len(w), *results), w, (images, shape[1], *size), (1, 1), around, (1, 1), groups
    return _worth("conv2d_input", g, call, w.shape, shape[2:], dilation)


def _weight_worth(x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                  dilation: Pair = (1, 1), groups: int = 1) -> bool:
    images, size, around, results = _dealt(x.shape, shape[2:], padding, dilation)
    call = _like(x, images, x.shape[1], *size), _like(g, images, g.shape[1], *results), shape, (1, 1), around, (1, 1), groups
    return _worth("conv2d_weight", x, call, shape, g.shape[2:], dilation)


@rung("conv2d_forward", name="dilated", device="cpu", exact=False, accepts=_forward_accepts, worth=_forward_worth)
def conv2d_forward(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int, finish: Finish | None = None,
) -> np.ndarray:
    """As many images as the dilation has phases, without holes.

    The time of the rung that was chosen before / this one's: 1.1 to 2.5 for dilation 2 from 32 channels on, 1.4 to 2 for larger
    ones from 64 on. Where phases are small, as of 28 x 28 pixels with dilation 12, patches reach far beyond them: 0.7.
    """
    _insist(_possible(x, stride, padding, dilation))
    shape = (len(x), len(w), *conv_output_size(x.shape[2:], w.shape[2:], stride, padding, dilation))
    _, size, around, _ = _dealt(x.shape, w.shape[2:], padding, dilation)
    images, geometry = deal_out(x, dilation, size), dict(stride=(1, 1), padding=around, dilation=(1, 1), groups=groups)
    if finish is None:
        return weave(run("conv2d_forward", images, w, **geometry), shape, dilation)
    alone = Finish(finish.bias, finish.relu)
    return weave(run_finished("conv2d_forward", images, w, alone, **geometry), shape, dilation, finish)


@rung("conv2d_input", name="dilated", device="cpu", exact=False, accepts=_gradient_accepts, worth=_input_worth)
def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The same for the gradient: g is dealt out, and the gradients to the images are woven."""
    _insist(_possible(g, stride, padding, dilation))
    images, size, around, results = _dealt(shape, w.shape[2:], padding, dilation)
    dx = run("conv2d_input", deal_out(g, dilation, results), w, (images, shape[1], *size), (1, 1), around, (1, 1), groups)
    return weave(dx, shape, dilation)


@rung("conv2d_weight", name="dilated", device="cpu", exact=False, accepts=_gradient_accepts, worth=_weight_worth)
def conv2d_weight(
    x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The same: images and gradients are dealt out, and the filters know nothing of it."""
    _insist(_possible(x, stride, padding, dilation))
    _, size, around, results = _dealt(x.shape, shape[2:], padding, dilation)
    images, upstream = deal_out(x, dilation, size), deal_out(g, dilation, results)
    return run("conv2d_weight", images, upstream, shape, (1, 1), around, (1, 1), groups)


def deal_out(x: np.ndarray, dilation: Pair, size: Pair) -> np.ndarray:
    """The images (N * phases, C, ...) that x (N, C, H, W) is dealt to, of this ``size``, with zeros where one is smaller."""
    N, C, H, W = x.shape
    out = empty((N * dilation[0] * dilation[1], C, *size), x.dtype)
    if out.size:
        _deal_out(contiguous(x).reshape(-1), N, C, H, W, *dilation, *size, out.reshape(-1), work=out.size)
    return out


def weave(images: np.ndarray, shape: tuple[int, ...], dilation: Pair, finish: Finish | None = None) -> np.ndarray:
    """Images of this shape from those they would be dealt to, in the place that ``finish`` has for them."""
    N, C, H, W = shape
    y, goal = aim(shape, images.dtype, finish)
    if y.size:
        _weave(images.reshape(-1), N, C, *images.shape[2:], *dilation, goal.flat, goal.step, H, W, work=y.size)
    return y


@compiled
def _deal_out(x: In1, N: int, C: int, H: int, W: int, down: int, right: int, high: int, wide: int, out: Out1, team: Team):
    L = lanes(x)
    for plane in prange(N * C, team):
        n, c = plane // C, plane % C
        for i in range(down):
            for j in range(right):
                to = (((n * down + i) * right + j) * C + c) * high * wide
                for q in range(high):
                    line, here = (plane * H + q * down + i) * W + j, W - j if q * down + i < H else 0
                    if right == 2:
                        for r in range(0, wide, L):
                            near, far = 2 * r, 2 * r + L
                            pixels = evens(load_between(x, line + near, 0, here - near),
                                           load_between(x, line + far, 0, here - far))
                            put_first(out, to + r, pixels, wide - r)
                    else:
                        for r in range(wide):
                            out[to + r] = x[line + r * right] if r * right < here else 0
                    to += wide


@compiled
def _weave(images: In1, N: int, C: int, high: int, wide: int, down: int, right: int, y: Out1, y_step: int, H: int, W: int,
           team: Team):
    L = lanes(images)
    for plane in prange(N * C, team):
        n, c = plane // C, plane % C
        for h in range(H):
            to, phase = n * y_step + (c * H + h) * W, (n * down + h % down) * right
            line, apart = ((phase * C + c) * high + h // down) * wide, C * high * wide
            if right == 2:
                for r in range(0, wide, L):
                    even, odd = load_between(images, line + r, 0, wide - r), load_between(images, line + apart + r, 0, wide - r)
                    put_woven(y, to + 2 * r, even, odd, W - 2 * r, False)
            else:
                for j in range(right):
                    for r in range((W - j + right - 1) // right):
                        y[to + r * right + j] = images[line + j * apart + r]
