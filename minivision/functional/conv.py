"""Convolution and transposed convolution, with PyTorch's arguments."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minivision_kernels.shapes import conv_output_size

from ..autograd import Function
from ..ops import conv as ops
from ..tensor import Tensor
from . import checks
from .pool import pool_window
from .shape import cat
from .shape import pad as pad_border

Pair = int | tuple[int, int]


def conv2d(input: Any, weight: Any, bias: Any = None, stride: Pair = 1, padding: Pair | str = 0, dilation: Pair = 1,
           groups: int = 1) -> Tensor:
    """Slide every filter over the image and take a scalar product at each place.

        y[n, f, i, j] = b[f] + sum over c, u, v of  w[f, c, u, v] * x[n, c, i*stride + u*dilation - padding, ...]

    Strictly a cross-correlation: the filter is not flipped, as everywhere in this field.

    Args:
        input: (N, C, H, W).
        weight: (F, C / groups, KH, KW).
        bias: (F,) or None.
        stride: step between windows. As padding and dilation, a number or a (height, width) pair.
        padding: zeros around the image; or ``"valid"`` (none), or ``"same"`` (as many as keep H and W, at stride 1; an
            odd number puts the extra one at the bottom and right).
        dilation: distance between the pixels that one window reads.
        groups: split channels and filters into this many independent convolutions.

    Returns:
        (N, F, OH, OW) with OH = (H + 2 padding - dilation (KH - 1) - 1) // stride + 1.
    """
    return _conv2d(ops.Conv2d, input, weight, bias, stride, padding, dilation, groups)


def conv2d_relu(input: Any, weight: Any, bias: Any, stride: Pair = 1, padding: Pair | str = 0, dilation: Pair = 1,
                groups: int = 1) -> Tensor:
    """``relu(conv2d(...))`` as one operation, which needs no memory for what lies between. There must be a bias."""
    if bias is None:
        raise TypeError("conv2d_relu: bias is None, expected (F,); without one, call relu(conv2d(...))")
    return _conv2d(ops.Conv2dRelu, input, weight, bias, stride, padding, dilation, groups)


def conv2d_relu_max_pool2d(input: Any, weight: Any, bias: Any, pool: Mapping[str, Any], **geometry: Any) -> Tensor:
    """``max_pool2d(conv2d_relu(input, weight, bias, ...), **pool)`` as one operation.

    Args:
        pool: kernel_size, and if need be stride, padding, dilation and ceil_mode.
        geometry: stride, padding, dilation and groups of the convolution.
    """
    if bias is None:
        raise TypeError("conv2d_relu_max_pool2d: bias is None, expected (F,); without one, call the functions one by one")
    x, w, b, how, size = _checked(input, weight, bias, **geometry)
    return ops.Conv2dReluMaxPool.apply(x, w, b, pool=pool_window(size, "max_pool2d", **pool), **how)


def conv2d_relu_cat(input: Any, convolutions: Sequence[Mapping[str, Any]]) -> Tensor:
    """``cat([conv2d_relu(input, **each) for each in convolutions], 1)`` as one operation; each writes channels of the result.

    Args:
        convolutions: the arguments of each but the input, a dictionary with ``weight`` and ``bias``; all have one output size.
    """
    x = checks.tensor(input, "conv2d_relu_cat")
    if not convolutions or any(each.get("bias") is None for each in convolutions):
        raise ValueError(f"conv2d_relu_cat: got {len(convolutions)} convolutions, not all with a bias; expected one or more, "
                         "and a bias for each")
    xs, ws, biases, geometries, sizes = zip(*(_checked(x, **each) for each in convolutions))
    if len(set(sizes)) > 1:
        raise ValueError(f"conv2d_relu_cat: results of {' and '.join(map(str, sorted(set(sizes))))} pixels cannot lie in one "
                         "array; choose padding and stride so that they are equal")
    if any(padded is not x for padded in xs):           # "same" may pad one side more than the other
        return cat([ops.Conv2dRelu.apply(x, w, b, **how) for x, w, b, how in zip(xs, ws, biases, geometries)], 1)
    return ops.Conv2dReluCat.apply(x, *ws, *biases, size=sizes[0], geometries=geometries)


def conv2d_norm(input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, norm_weight: Any, norm_bias: Any,
                eps: float = 1e-5, relu: bool = False, **geometry: Any) -> Tensor:
    """``batch_norm(conv2d(input, weight, bias, ...), running_mean, running_var, norm_weight, norm_bias, eps=eps)``, and ReLU if
    ``relu``, as one convolution whose filters contain the norm. The sums are the same but for their rounding.

    Args:
        bias, running_mean, running_var, norm_weight, norm_bias: (F,); ``bias`` may be None.
        geometry: stride, padding, dilation and groups, as `conv2d` has them.
    """
    x, w, b, how, _ = _checked(input, weight, bias, **geometry)
    numbers = {name: checks.tensor(value, "conv2d_norm") for name, value in dict(
        running_mean=running_mean, running_var=running_var, norm_weight=norm_weight, norm_bias=norm_bias).items()}
    checks.together("conv2d_norm", input=x, **numbers)
    for name, value in numbers.items():
        if value.shape != (w.shape[0],):
            raise ValueError(f"conv2d_norm: {name} has shape {value.shape}, expected ({w.shape[0]},), one for each filter")
    mean, var, factor, shift = numbers.values()
    if b is not None:
        shift = shift + b * (factor / (var + eps).sqrt())
    return (ops.Conv2dNormRelu if relu else ops.Conv2dNorm).apply(x, w, factor, shift, mean=mean._data, var=var._data, eps=eps,
                                                                  **how)


def _conv2d(op: type[Function], *arguments: Any) -> Tensor:
    x, w, b, geometry, _ = _checked(*arguments)
    return op.apply(x, w, *(() if b is None else (b,)), **geometry)


def _checked(input: Any, weight: Any, bias: Any, stride: Pair = 1, padding: Pair | str = 0, dilation: Pair = 1,
             groups: int = 1) -> tuple[Tensor, Tensor, Tensor | None, dict[str, Any], tuple[int, int]]:
    """The Tensors, the geometry in the form that operations take, and the size of the result."""
    x, w, b, name = input, weight, bias, "conv2d"
    if not checks.usual(x, w, b):
        x, w = checks.images(checks.tensor(x, name), name), checks.tensor(w, name)
        b = None if b is None else checks.tensor(b, name)
        checks.together(name, input=x, weight=w, bias=b)
    how: tuple[Any, ...] = stride, padding, dilation, groups
    if not checks.whole(*how):
        checks.images(x, name)
        how = _pairs(*how)
    shapes = x._data.shape, w._data.shape, None if b is None else b._data.shape
    geometry, size, rest = _geometry(*shapes, *how)
    return x if rest == (0, 0) else pad_border(x, (0, rest[1], 0, rest[0])), w, b, geometry, size


def _pairs(
    stride: Pair, padding: Pair | str, dilation: Pair, groups: int,
) -> tuple[tuple[int, int], tuple[int, int] | str, tuple[int, int], int]:
    """A geometry in (height, width) pairs; the padding may be a name."""
    return checks.pair(stride, "conv2d: stride", 1), \
        padding if isinstance(padding, str) else checks.pair(padding, "conv2d: padding", 0), \
        checks.pair(dilation, "conv2d: dilation", 1), _groups(groups, "conv2d")


@functools.lru_cache(maxsize=4096)
def _geometry(
    x: tuple[int, ...], w: tuple[int, ...], bias: tuple[int, ...] | None, stride: Pair, padding: Pair | str, dilation: Pair,
    groups: int,
) -> tuple[dict[str, Any], tuple[int, int], tuple[int, int]]:
    """What depends on shapes alone, checked once for each kind of call: the geometry in the form that operations take, the size
    of the result, and how many zeros the image needs below and to the right besides its padding."""
    checks.four_axes(x, "conv2d")
    stride, padding, dilation, groups = _pairs(stride, padding, dilation, groups)
    _filters(w, "conv2d")
    if x[1] != w[1] * groups or w[0] % groups:
        last = x[3] == w[1] * groups
        raise ValueError(f"conv2d: input of shape {x} has {x[1]} channels and weight has shape {w} with groups={groups}; "
                         f"expected {w[1] * groups} channels"
                         + (", and a number of filters that groups divides" if w[0] % groups else "")
                         + ("; if the channels are last, (N, H, W, C), use .permute(0, 3, 1, 2)" if last else ""))
    _bias(bias, w[0], "conv2d")
    rest = (0, 0)
    if isinstance(padding, str):
        padding, rest = _named_padding(w, stride, padding, dilation)
    size, window = (x[2] + rest[0], x[3] + rest[1]), (w[2], w[3])
    result = conv_output_size(size, window, stride, padding, dilation)
    if min(result) < 1:
        reach = tuple(d * (k - 1) + 1 for d, k in zip(dilation, w[2:]))
        raise ValueError(f"conv2d: the kernel reaches over {reach} pixels, more than the input's {size} with padding "
                         f"{padding}; use a smaller kernel or dilation, or more padding")
    return {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}, result, rest


def conv_transpose2d(input: Any, weight: Any, bias: Any = None, stride: Pair = 1, padding: Pair = 0,
                     output_padding: Pair = 0, groups: int = 1, dilation: Pair = 1) -> Tensor:
    """The adjoint of `conv2d`: every input pixel paints the filter, scaled by its value, into the output.

    Args:
        input: (N, C, H, W).
        weight: (C, F / groups, KH, KW): that of the convolution which would lead from the output back to the input.
        bias: (F,) or None.
        stride, padding, groups, dilation: of that convolution.
        output_padding: rows and columns added at the bottom and right, to choose among the output sizes that the
            convolution maps to the same H and W; smaller than stride or dilation.

    Returns:
        (N, F, OH, OW) with OH = (H - 1) stride - 2 padding + dilation (KH - 1) + output_padding + 1.
    """
    name = "conv_transpose2d"
    x, w = checks.images(checks.tensor(input, name), name), checks.tensor(weight, name)
    b = None if bias is None else checks.tensor(bias, name)
    checks.together(name, input=x, weight=w, bias=b)
    stride, dilation = checks.pair(stride, f"{name}: stride", 1), checks.pair(dilation, f"{name}: dilation", 1)
    padding, extra = checks.pair(padding, f"{name}: padding", 0), checks.pair(output_padding, f"{name}: output_padding", 0)
    groups = _groups(groups, name)
    _filters(w.shape, name)
    if x.shape[1] != w.shape[0] or w.shape[0] % groups:
        raise ValueError(f"{name}: input has {x.shape[1]} channels and weight has shape {w.shape} with groups={groups}; "
                         f"expected {w.shape[0]} channels, a number that groups divides")
    filters = w.shape[1] * groups
    _bias(None if b is None else b.shape, filters, name)
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation)):
        raise ValueError(f"{name}: output_padding {extra} must be smaller than stride {stride} or dilation {dilation}")
    h, ww = ((n - 1) * s - 2 * p + d * (k - 1) + e + 1 for n, s, p, d, k, e in
             zip(x.shape[2:], stride, padding, dilation, w.shape[2:], extra))
    if h < 1 or ww < 1:
        raise ValueError(f"{name}: the output would be {h} x {ww} pixels; use less padding or a larger input")
    y = ops.Conv2dInput.apply(x, w, shape=(x.shape[0], filters, h, ww), stride=stride, padding=padding, dilation=dilation,
                              groups=groups)
    return y if b is None else y + b.reshape(1, -1, 1, 1)


def _groups(groups: Any, name: str) -> int:
    if isinstance(groups, bool) or not isinstance(groups, (int, np.integer)) or groups < 1:
        raise ValueError(f"{name}: got groups={groups}, expected a whole number >= 1")
    return int(groups)


def _filters(w: tuple[int, ...], name: str) -> None:
    if len(w) != 4 or min(w) < 1:
        raise ValueError(f"{name}: weight has shape {w}, expected four lengths >= 1: (filters, channels, KH, KW)")


def _bias(b: tuple[int, ...] | None, filters: int, name: str) -> None:
    if b is not None and b != (filters,):
        raise ValueError(f"{name}: bias has shape {b}, expected ({filters},), one number for each filter")


def _named_padding(
    w: tuple[int, ...], stride: tuple[int, int], padding: str, dilation: tuple[int, int],
) -> tuple[tuple[int, int], tuple[int, int]]:
    """The padding on all sides, and what is missing below and to the right."""
    checks.chosen(padding, ("same", "valid"), "conv2d: padding")
    if padding == "valid":
        return (0, 0), (0, 0)
    if stride != (1, 1):
        raise ValueError(f"conv2d: padding='same' needs stride 1, got {stride}; give padding as numbers")
    (down, right) = (d * (k - 1) for d, k in zip(dilation, w[2:]))
    return (down // 2, right // 2), (down % 2, right % 2)
