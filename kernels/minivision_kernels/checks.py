"""What a rung demands of its arguments: one check per operation, with the operation's own signature.

Compiled rungs do not look where they read: an array that is smaller than another one says gives numbers from somewhere
else in memory, or a crash. So calling a rung checks first, and whoever the rung, the error is the same: a TypeError for
what can never be right (a list, another dtype), a ValueError for a shape or a number that does not fit.

``run`` does not check: the functions of minivision have, before they call it. One check runs there too, since it is about
arrays that the caller keeps from step to step: ``check_update``, in ``reference/``. It stands in the rungs themselves.
"""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import numpy as np

from minivision_kernels.cascades import LBP, Haar, Trees
from minivision_kernels.resample import METHODS
from minivision_kernels.several import tuples
from minivision_kernels.shapes import Pair, conv_output_fits, conv_output_size, pool_output_size

IMAGES, FILTERS = "(N, C, H, W)", "(F, C // groups, KH, KW)"


def check(op: str, *args: Any, **options: Any) -> None:
    """Raise a TypeError or ValueError unless rungs of ``op`` can be called with these arguments."""
    try:
        globals()[op](*args, **options)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{op}: {error}") from None


# ------------------------------------------------------------------------------------------------- one per operation

def conv2d_forward(x: Any, w: Any, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> None:
    _alike(x=x, w=w)
    _axes("x", x.shape, IMAGES)
    _convolution(x.shape, w.shape, stride, padding, dilation, groups)


def conv2d_input(
    g: Any, w: Any, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> None:
    _alike(g=g, w=w)
    _lengths("shape", shape, IMAGES)
    _convolution(shape, w.shape, stride, padding, dilation, groups)
    _conv_upstream(g, shape, w.shape, stride, padding, dilation)


def conv2d_weight(
    x: Any, g: Any, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> None:
    _alike(x=x, g=g)
    _axes("x", x.shape, IMAGES)
    _lengths("shape", shape, FILTERS)
    _convolution(x.shape, shape, stride, padding, dilation, groups, filters="shape")
    _conv_upstream(g, x.shape, shape, stride, padding, dilation)


def max_pool2d_forward(
    x: Any, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool, with_index: bool = True,
) -> None:
    _alike("f", x=x)
    _axes("x", x.shape, IMAGES)
    _pooling(kernel_size, stride, padding, dilation)
    _truth(ceil_mode=ceil_mode, with_index=with_index)


def max_pool2d_backward(
    g: Any, index: Any, shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair,
) -> None:
    _alike("f", g=g)
    _array("index", index, g)
    if index.dtype != np.int32:
        raise TypeError(f"index is {index.dtype}; expected int32, as the forward returns it")
    _lengths("shape", shape, IMAGES)
    _pooling(kernel_size, stride, padding, dilation)
    N, C, H, W = shape
    down, up = (
        (N, C, *pool_output_size((H, W), kernel_size, stride, padding, dilation, ceil)) for ceil in (False, True))
    if g.shape not in (down, up):
        raise ValueError(f"g has shape {g.shape}; expected {down}" + f", or in ceil mode {up}" * (up != down))
    if index.shape != g.shape:
        raise ValueError(f"index has shape {index.shape}; expected {g.shape}, the shape of g")
    if index.size and not (index.min() >= -1 and index.max() < H * W):
        raise ValueError(
            f"index lies in [{index.min()}, {index.max()}]; expected places h * W + w in [0, {H * W - 1}], or -1 for none")


def avg_pool2d_forward(
    x: Any, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool, count_include_pad: bool,
    divisor: int | None,
) -> None:
    _alike("f", x=x)
    _axes("x", x.shape, IMAGES)
    _average(kernel_size, stride, padding, ceil_mode, count_include_pad, divisor)


def avg_pool2d_backward(
    g: Any, shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool,
    count_include_pad: bool, divisor: int | None,
) -> None:
    _alike("f", g=g)
    _lengths("shape", shape, IMAGES)
    _average(kernel_size, stride, padding, ceil_mode, count_include_pad, divisor)
    N, C, H, W = shape
    expected = (N, C, *pool_output_size((H, W), kernel_size, stride, padding, (1, 1), ceil_mode))
    if g.shape != expected:
        raise ValueError(f"g has shape {g.shape}; expected {expected}")


def relu_forward(x: Any) -> None:
    _alike(x=x)


def relu_backward(g: Any, y: Any) -> None:
    _alike(g=g, y=y)
    if g.shape != y.shape:
        raise ValueError(f"g has shape {g.shape} and y {y.shape}; expected the same shape")


def add(x: Any, y: Any, relu: bool = False) -> None:
    _alike(x=x, y=y)
    if x.shape != y.shape:
        raise ValueError(f"x has shape {x.shape} and y {y.shape}; expected the same shape")


def bias_add(y: Any, bias: Any, relu: bool = False) -> None:
    _alike("f", y=y, bias=bias)
    _per_channel("y", y, bias=bias)


def relu_bias_backward(g: Any, y: Any) -> None:
    relu_backward(g, y)
    _per_channel("g", g)


def channel_affine(x: Any, weight: Any, bias: Any = None, relu: bool = False) -> None:
    numbers = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    _alike("f", x=x, **numbers)
    _per_channel("x", x, **numbers)


def channel_sum(g: Any) -> None:
    _alike("f", g=g)
    _per_channel("g", g)


def batch_norm_forward(x: Any, weight: Any, bias: Any, eps: float) -> None:
    _alike("f", x=x, weight=weight, bias=bias)
    _per_channel("x", x, weight=weight, bias=bias)
    _numbers(eps=eps)


def batch_norm_backward(g: Any, x: Any, weight: Any, mean: Any, var: Any, eps: float) -> None:
    _alike("f", g=g, x=x, weight=weight, mean=mean, var=var)
    if g.shape != x.shape:
        raise ValueError(f"g has shape {g.shape} and x {x.shape}; expected the same shape")
    _per_channel("x", x, weight=weight, mean=mean, var=var)
    _numbers(eps=eps)


def linear_forward(x: Any, w: Any) -> None:
    _alike(x=x, w=w)
    _product(x, w, "inputs", x=("N", "I"), w=("O", "I"))


def linear_input(g: Any, w: Any) -> None:
    _alike(g=g, w=w)
    _product(g, w, "outputs", g=("N", "O"), w=("O", "I"))


def linear_weight(g: Any, x: Any) -> None:
    _alike(g=g, x=x)
    _product(g, x, "rows", g=("N", "O"), x=("N", "I"))


def cross_entropy_forward(logits: Any, labels: Any) -> None:
    _alike("f", logits=logits)
    _array("labels", labels, logits)
    _axes("logits", logits.shape, "(N, C)")
    if labels.dtype != np.int64:
        raise TypeError(f"labels are {labels.dtype}; expected int64; convert with .astype")
    N, C = logits.shape
    if labels.shape != (N,):
        raise ValueError(f"labels have shape {labels.shape}; expected one label per row of the logits, ({N},)")
    if N and not (labels.min() >= 0 and labels.max() < C):
        raise ValueError(f"labels lie in [{labels.min()}, {labels.max()}]; expected class numbers in [0, {C - 1}]")


def cross_entropy_backward(logits: Any, labels: Any, g: Any) -> None:
    cross_entropy_forward(logits, labels)
    _alike("f", logits=logits, g=g)
    if g.shape != logits.shape[:1]:
        raise ValueError(f"g has shape {g.shape}; expected one number per row of the logits, {logits.shape[:1]}")


def sgd_update(
    param: Any, grad: Any, velocity: Any, lr: float, momentum: float, dampening: float, weight_decay: float,
    nesterov: bool, first: bool,
) -> None:
    for param_, grad_, velocity_ in zip(*tuples(param, grad, velocity)):
        _alike("f", param=param_)
        _array("grad", grad_, param_)
        if velocity_ is not None:
            _array("velocity", velocity_, param_)
    _numbers(lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay)
    _truth(nesterov=nesterov, first=first)


def adam_update(
    param: Any, grad: Any, m: Any, v: Any, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float,
    step: int,
) -> None:
    for arrays in zip(*tuples(param, grad, m, v)):
        _alike("f", param=arrays[0])
        for name, array in zip(("grad", "m", "v"), arrays[1:]):
            _array(name, array, arrays[0])
    _numbers(lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay)
    if not _is_whole(step):
        raise TypeError(f"step is {step!r}; expected a whole number")
    if step < 1:
        raise ValueError(f"step is {step}; expected at least 1")


def resize(x: Any, size: Pair, method: str, antialias: bool) -> None:
    _image("x", x, "(H, W, C)")
    _pair("size", size, 1)
    _one_of("method", method, METHODS)
    _truth(antialias=antialias)


def affine(x: Any, matrix: tuple[float, ...], size: Pair, method: str) -> None:
    _image("x", x, "(H, W, C)")
    if not isinstance(matrix, tuple) or len(matrix) != 6:
        raise TypeError(f"matrix is {matrix!r}; expected a tuple of six numbers (a, b, c, d, e, f)")
    for value in matrix:
        _numbers(matrix=value)
        if not math.isfinite(value):
            raise ValueError(f"matrix is {matrix}; expected finite numbers")
    _pair("size", size, 1)
    _one_of("method", method, ("nearest", "bilinear", "bicubic"))


def integral(x: Any, squared: bool) -> None:
    _image("x", x, "(H, W)", least=0)
    _truth(squared=squared)


def integral_tilted(x: Any) -> None:
    _image("x", x, "(H, W)", least=0)


def shrink_exact(image: Any, size: Pair) -> None:
    _pixels(image, "(H, W)" if getattr(image, "ndim", 2) != 3 else "(H, W, C)")
    _pair("size", size, 1)


def window_sums(image: Any, tilted: bool) -> None:
    _pixels(image)
    _truth(tilted=tilted)


def cascade_haar(sums: Any, squares: Any, features: Haar, trees: Trees, size: Pair, step: int, rows: int) -> None:
    _of_dtype(np.int32, sums=sums, squares=squares)
    _windows(sums, trees, size, step, rows, subsets=False)
    if squares.shape != sums.shape[1:]:
        raise ValueError(f"squares has shape {squares.shape}; expected {sums.shape[1:]}, as each of the sums")
    if not isinstance(features, Haar):
        raise TypeError(f"features is of type {type(features).__name__}; expected Haar")
    _of_dtype(np.int32, rects=features.rects)
    _of_dtype(np.float32, weights=features.weights)
    _of_dtype(np.bool_, tilted=features.tilted)
    K = len(features.rects)
    if features.rects.shape != (K, 3, 4) or features.weights.shape != (K, 3) or features.tilted.shape != (K,):
        raise ValueError(f"features have shapes {[a.shape for a in features]}; expected (K, 3, 4), (K, 3) and (K,)")
    x, y, w, h = np.moveaxis(features.rects, 2, 0)
    lean = features.tilted[:, None]
    inside = (x >= np.where(lean, h, 0)) & (x + w <= size[1]) & (y >= 0) & (y + h + np.where(lean, w, 0) <= size[0])
    if not (inside & (w >= 0) & (h >= 0)).all():
        raise ValueError(f"features leave the window of size {size}")
    if lean.any() and len(sums) != 2:
        raise ValueError(f"sums has shape {sums.shape}; expected (2, H + 1, W + 1), the second tilted, as some features are")
    _features(trees, K)


def cascade_lbp(sums: Any, features: LBP, trees: Trees, size: Pair, step: int, rows: int) -> None:
    _of_dtype(np.int32, sums=sums)
    _windows(sums, trees, size, step, rows, subsets=True)
    if not isinstance(features, LBP):
        raise TypeError(f"features is of type {type(features).__name__}; expected LBP")
    _of_dtype(np.int32, rects=features.rects)
    if features.rects.ndim != 2 or features.rects.shape[1] != 4:
        raise ValueError(f"rects has shape {features.rects.shape}; expected (K, 4)")
    x, y, w, h = features.rects.T
    if not ((features.rects >= 0).all() and (x + 3 * w <= size[1]).all() and (y + 3 * h <= size[0]).all()):
        raise ValueError(f"features leave the window of size {size}")
    _features(trees, len(features.rects))


def hog_cells(image: Any, pixels_per_cell: Pair, orientations: int) -> None:
    _alike("f", image=image)
    _axes("image", image.shape, "(H, W, C)")
    _pair("pixels_per_cell", pixels_per_cell, 1)
    _count("orientations", orientations)
    if not image.shape[2]:
        raise ValueError(f"image has shape {image.shape}; expected at least one channel")


def hog_votes(
    image: Any, window_rows: Any, window_columns: Any, pixels_per_cell: Pair, block_stride: Pair, start: Pair,
    orientations: int, signed: bool, polynomial: bool,
) -> None:
    _alike("f", image=image, window_rows=window_rows, window_columns=window_columns)
    hog_cells(image, pixels_per_cell, orientations)
    _pair("block_stride", block_stride, 1)
    _pair("start", start, 0)
    _truth(signed=signed, polynomial=polynomial)
    for name, window, cell in zip(("window_rows", "window_columns"), (window_rows, window_columns), pixels_per_cell):
        if window.ndim != 1 or not len(window) or len(window) % cell:
            raise ValueError(f"{name} has shape {window.shape}; expected as many numbers as a block has pixels, a multiple "
                             f"of pixels_per_cell {pixels_per_cell}")


def hog_blocks(cells: Any, cells_per_block: Pair, norm: str) -> None:
    _alike("f", cells=cells)
    _axes("cells", cells.shape, "(R, C, L)")
    _pair("cells_per_block", cells_per_block, 1)
    if any(block > count for block, count in zip(cells_per_block, cells.shape)):
        raise ValueError(f"cells has shape {cells.shape}; expected at least one block of {cells_per_block} cells")
    norms = "L1", "L1-sqrt", "L2", "L2-Hys", "OpenCV"
    if not isinstance(norm, str) or norm not in norms:
        raise (ValueError if isinstance(norm, str) else TypeError)(f"norm is {norm!r}; expected one of {', '.join(norms)}")


def hog_scores(blocks: Any, weights: Any, far: Pair, apart: Pair) -> None:
    _alike("f", blocks=blocks, weights=weights)
    _axes("blocks", blocks.shape, "(R, C, L)")
    _axes("weights", weights.shape, "(R, C, L)")
    _pair("far", far, 1)
    _pair("apart", apart, 1)
    needed = tuple((count - 1) * step + 1 for count, step in zip(weights.shape, far))
    if not weights.size or blocks.shape[2] != weights.shape[2] or any(
            n < least for n, least in zip(blocks.shape, needed)):
        raise ValueError(f"blocks has shape {blocks.shape} and weights {weights.shape}; expected the same L, and blocks enough "
                         f"for one window, at least {needed}")


# ------------------------------------------------------------------------------------------ what several have in common

def _image(name: str, x: Any, letters: str, least: int = 1) -> None:
    """``x`` is an image of bytes or floats, with at least ``least`` pixels along both axes."""
    _array(name, x, x)
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        raise TypeError(f"{name} is {x.dtype}; expected uint8 or floats")
    _axes(name, x.shape, letters)
    if len(x.shape) == 3 and x.shape[2] > 4:
        raise ValueError(f"{name} has {x.shape[2]} channels; expected 1 to 4")
    if min(x.shape) < least:
        raise ValueError(f"{name} has shape {tuple(x.shape)}; expected at least {least} along every axis")


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(allowed)}")


def _array(name: str, value: Any, first: Any) -> None:
    """``value`` is an array, of the same library as ``first``."""
    if not is_array(value):
        raise TypeError(f"{name} is of type {type(value).__name__}; expected a NumPy or CuPy array")
    if isinstance(value, np.ndarray) != isinstance(first, np.ndarray):
        raise TypeError(f"{name} is a {_library(value)} array, others are {_library(first)}; expected all on one device")


def is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or (_library(value) == "cupy" and hasattr(value, "dtype"))


def _library(value: Any) -> str:
    return type(value).__module__.partition(".")[0]


def _alike(kinds: str = "iuf", **arrays: Any) -> None:
    """All are arrays of one dtype, of an allowed kind: "i" and "u" whole numbers, "f" floats."""
    (first_name, first), *others = arrays.items()
    for name, value in arrays.items():
        _array(name, value, first)
    if first.dtype.kind not in kinds:
        raise TypeError(f"{first_name} is {first.dtype}; expected {'floats' if kinds == 'f' else 'numbers'}")
    for name, value in others:
        if value.dtype != first.dtype:
            raise TypeError(f"{first_name} is {first.dtype} and {name} {value.dtype}; expected the same dtype")


def _axes(name: str, shape: tuple[int, ...], letters: str) -> None:
    if len(shape) != letters.count(",") + 1:
        raise ValueError(f"{name} has shape {tuple(shape)}; expected {letters}")


def _per_channel(name: str, x: Any, **arrays: Any) -> None:
    """``x`` has channels, and the other arrays a number for each of them."""
    if x.ndim < 2:
        raise ValueError(f"{name} has shape {tuple(x.shape)}; expected (N, C, ...)")
    for name, array in arrays.items():
        if array.shape != x.shape[1:2]:
            raise ValueError(f"{name} has shape {array.shape}; expected {x.shape[1:2]}, one number for each channel")


def _is_whole(value: Any) -> bool:
    return type(value) is int or (isinstance(value, Integral) and not isinstance(value, bool))      # the first is sooner said


def _lengths(name: str, shape: Any, letters: str) -> None:
    """``shape`` can be the shape of an array."""
    if not isinstance(shape, tuple) or not all(map(_is_whole, shape)):
        raise TypeError(f"{name} is {shape!r}; expected a tuple of whole numbers, {letters}")
    if len(shape) != letters.count(",") + 1 or min(shape) < 0:
        raise ValueError(f"{name} is {shape}; expected {letters}, none below 0")


def _pair(name: str, value: Any, least: int) -> None:
    if not isinstance(value, tuple) or len(value) != 2 or not all(map(_is_whole, value)):
        raise TypeError(f"{name} is {value!r}; expected a tuple of two whole numbers, (vertical, horizontal)")
    if min(value) < least:
        raise ValueError(f"{name} is {value}; expected at least {least} along both axes")


def _count(name: str, value: Any) -> None:
    if not _is_whole(value):
        raise TypeError(f"{name} is {value!r}; expected a whole number")
    if value < 1:
        raise ValueError(f"{name} is {value}; expected at least 1")


def _numbers(**values: Any) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{name} is {value!r}; expected a number")


def _truth(**values: Any) -> None:
    for name, value in values.items():
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(f"{name} is {value!r}; expected True or False")


def _pooling(kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> None:
    _window(kernel_size, stride, padding, dilation)
    if any(2 * p > k for p, k in zip(padding, kernel_size)):
        raise ValueError(f"padding is {padding}, more than half of kernel_size {kernel_size}; windows would see nothing else")


def _window(kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> None:
    for name, value, least in (
        ("kernel_size", kernel_size, 1), ("stride", stride, 1), ("padding", padding, 0), ("dilation", dilation, 1),
    ):
        _pair(name, value, least)


def _average(
    kernel_size: Any, stride: Any, padding: Any, ceil_mode: Any, count_include_pad: Any, divisor: Any,
) -> None:
    _pooling(kernel_size, stride, padding, (1, 1))
    _truth(ceil_mode=ceil_mode, count_include_pad=count_include_pad)
    if divisor is not None and not _is_whole(divisor):
        raise TypeError(f"divisor is {divisor!r}; expected a whole number or None")
    if divisor == 0:
        raise ValueError("divisor is 0; expected another number, or None to count pixels")


def _convolution(
    x: tuple[int, ...], w: tuple[int, ...], stride: Any, padding: Any, dilation: Any, groups: Any, filters: str = "w",
) -> None:
    """Filters of shape ``w``, which the caller calls ``filters``, can slide over images of shape ``x``."""
    _axes(filters, w, FILTERS)
    _window(tuple(w[2:]), stride, padding, dilation)
    if not _is_whole(groups):
        raise TypeError(f"groups is {groups!r}; expected a whole number")
    if groups < 1 or x[1] % groups or w[0] % groups:
        raise ValueError(f"groups is {groups}; expected a divisor of the {x[1]} channels and the {w[0]} filters")
    if w[1] * groups != x[1]:
        raise ValueError(
            f"{filters} has {w[1]} channels ({filters} {tuple(w)}, images {tuple(x)}, groups {groups}); "
            f"expected {x[1] // groups}, channels // groups")


def _conv_upstream(
    g: Any, x: tuple[int, ...], w: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair,
) -> None:
    """g can be the upstream gradient of a convolution of images of shape ``x`` with filters of shape ``w``."""
    _axes("g", g.shape, "(N, F, OH, OW)")
    geometry = (x[2], x[3]), (w[2], w[3]), stride, padding, dilation
    if g.shape[:2] != (x[0], w[0]) or not conv_output_fits(g.shape[2:], *geometry):
        raise ValueError(
            f"g has shape {g.shape}; expected {(x[0], w[0], *conv_output_size(*geometry))} for images {tuple(x)} and "
            f"filters {tuple(w)}")


def _product(a: Any, b: Any, shared: str, **letters: tuple[str, str]) -> None:
    """Both are matrices, and the axes that have one letter have one length."""
    (a_name, a_letters), (b_name, b_letters) = letters.items()
    for name, array, (rows, columns) in ((a_name, a, a_letters), (b_name, b, b_letters)):
        _axes(name, array.shape, f"({rows}, {columns})")
    (letter,) = set(a_letters) & set(b_letters)
    if a.shape[a_letters.index(letter)] != b.shape[b_letters.index(letter)]:
        raise ValueError(
            f"{a_name} {a.shape} and {b_name} {b.shape} differ in {letter}, the number of {shared}; expected "
            f"{a_name} ({', '.join(a_letters)}) and {b_name} ({', '.join(b_letters)})")


def _of_dtype(dtype: Any, **arrays: Any) -> None:
    first = next(iter(arrays.values()))
    for name, array in arrays.items():
        _array(name, array, first)
        if array.dtype != dtype:
            raise TypeError(f"{name} is {array.dtype}; expected {np.dtype(dtype)}")


def _pixels(image: Any, letters: str = "(H, W)") -> None:
    _of_dtype(np.uint8, image=image)
    _axes("image", image.shape, letters)
    if not image.size:
        raise ValueError(f"image has shape {image.shape}; expected at least one pixel")


def _windows(sums: Any, trees: Trees, size: Pair, step: int, rows: int, subsets: bool) -> None:
    """The windows asked for lie in the image, and the trees are trees."""
    if sums.ndim != 3 or sums.shape[0] not in (1, 2):
        raise ValueError(f"sums has shape {sums.shape}; expected (1, H + 1, W + 1), or 2 for tilted ones too")
    _pair("size", size, 3)
    for name, value in (("step", step), ("rows", rows)):
        if not _is_whole(value):
            raise TypeError(f"{name} is {value!r}; expected a whole number")
    if step not in (1, 2):
        raise ValueError(f"step is {step}; expected 1 or 2")
    most = len(range(0, max(sums.shape[1] - size[0], 0), step))
    if not 0 <= rows <= most:
        raise ValueError(f"rows is {rows}; expected 0 to {most}, the rows of windows of size {size} in sums {sums.shape}")
    if not isinstance(trees, Trees):
        raise TypeError(f"trees is of type {type(trees).__name__}; expected Trees")
    _trees(trees, subsets)


def _trees(trees: Trees, subsets: bool) -> None:
    """Every index of the trees points to something, and every child lies further on in its tree."""
    nodes, roots, stages = trees.nodes, trees.roots, trees.stages
    _of_dtype(np.int32, nodes=nodes, subsets=trees.subsets, roots=roots, stages=stages)
    _of_dtype(np.float32, thresholds=trees.thresholds, leaves=trees.leaves, stage_thresholds=trees.stage_thresholds)
    M, T, S = len(nodes), len(roots), len(trees.stage_thresholds)
    shapes = {"nodes": (M, 3), "subsets": (M * subsets, 8), "thresholds": (M * (not subsets),), "leaves": (len(trees.leaves),),
              "roots": (T,), "stages": (S + 1,), "stage_thresholds": (S,)}
    for name, shape in shapes.items():
        if getattr(trees, name).shape != shape:
            raise ValueError(f"{name} has shape {getattr(trees, name).shape}; expected {shape}")
    if not S or stages[0] != 0 or stages[-1] != T or (np.diff(stages) < 1).any():
        raise ValueError(f"stages are {stages.tolist()[:8]}...; expected 0 up to the {T} trees, growing by at least one")
    if roots[0] != 0 or (np.diff(roots) < 1).any() or roots[-1] >= M:
        raise ValueError(f"roots are {roots.tolist()[:8]}...; expected 0 and on, growing, below the {M} nodes")
    ends = np.repeat(np.append(roots[1:], M), np.diff(np.append(roots, M)))[:, None]
    children = nodes[:, :2]
    further = (children > np.arange(M)[:, None]) & (children < ends)
    if not np.where(children < 0, -1 - children < len(trees.leaves), further).all():
        raise ValueError("nodes have children that are neither leaves nor nodes further on in the same tree")


def _features(trees: Trees, count: int) -> None:
    which = trees.nodes[:, 2]
    if which.min() < 0 or which.max() >= count:
        raise ValueError(f"nodes ask about features {which.min()} to {which.max()}; expected 0 to {count - 1}")
