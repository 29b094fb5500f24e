"""The mistakes that people make in single operations: wrong backwards, each beside the diagnosis it should get.

Most are taken from life: assignment in col2im, the bias gradient of one sample, a softmax treated as if it worked on
each element by itself, weights of the second group that never learn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import Function
from ..ops.conv import (
    Conv2d,
    Conv2dInput,
    Conv2dNorm,
    Conv2dNormRelu,
    Conv2dRelu,
    Conv2dReluCat,
    Conv2dReluMaxPool,
    Conv2dWeight,
)
from ..ops.elementwise import (
    Abs,
    Add,
    AddRelu,
    Clip,
    Cos,
    Div,
    Exp,
    LeakyRelu,
    Log,
    Maximum,
    Minimum,
    Mul,
    Pow,
    PowNumber,
    Relu,
    ReluInput,
    Sigmoid,
    Sin,
    Softplus,
    Sqrt,
    Sub,
    Tanh,
    Where,
)
from ..ops.linear import Linear, LinearInput, LinearRelu, LinearWeight, Matmul
from ..ops.loss import CrossEntropy, CrossEntropyInput, LogSoftmax, Softmax
from ..ops.norm import BatchNorm, BatchNormEval, BatchNormEvalRelu, ChannelAffine, Standardize, pulled_back
from ..ops.pool import AvgPool2d, AvgPool2dInput, MaxPool2d, MaxPool2dInput
from ..ops.reduce import LogSumExp, Mean, PutAlong, Sum, TakeAlong
from ..ops.shape import BroadcastTo, Cat, GetItem, Pad, Permute, PutItem, Reshape
from ..tensor import Tensor

Mistake = tuple[str, str | None, Callable[[Any, Any], Any]]
MISTAKES: dict[type[Function], list[Any]] = {}

ASSIGNED = "assigned where windows overlap (= instead of +=)"
ONE_SLICE = "missing sum over broadcast axis"
OTHER = "gradient of another input"
PASSES, BLOCKS = "passes where it should block", "blocks where it should pass"
DIAGONAL, LOCAL = "cross terms missing", "local derivative missing"
TWICE, NEVER = "divided by batch twice", "missing division by batch"


def mistake(op: type[Function], name: str, expected: str | None, note: str = "") -> Callable:
    """Register a wrong ``backward(self, grad)`` of ``op``."""
    def register(backward: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        MISTAKES.setdefault(op, []).append((name, expected, backward, note))
        return backward
    return register


def wrong(op: type[Function], name: str, expected: str | None, backward: Callable[[Any, Any], Any],
          note: str = "") -> None:
    """The same for a backward that fits into one expression."""
    mistake(op, name, expected, note)(backward)


def mask(condition: Any) -> Tensor:
    return Tensor(np.asarray(condition).astype(np.float64))


# ---------------------------------------------------------------------------------------------- elementwise

wrong(Add, "one row of a broadcast bias", ONE_SLICE, lambda self, g: (g, g[0]))
wrong(Add, "the mean over a broadcast bias", TWICE, lambda self, g: (g, g.mean(0)))
wrong(AddRelu, "the mask forgotten", None, lambda self, g: (g, g))
wrong(AddRelu, "the mask forgotten for one of them", None, lambda self, g: (g * mask(self._output > 0), g))
wrong(AddRelu, "the mask taken from the gradient", None, lambda self, g: (g * mask(g._data > 0),) * 2)
wrong(Sub, "the minus forgotten", "sign flipped", lambda self, g: (g, g))
wrong(Mul, "factors exchanged", OTHER, lambda self, g: (g * self.inputs[0], g * self.inputs[1]))
wrong(Mul, "factors forgotten", LOCAL, lambda self, g: (g, g))
wrong(Div, "the minus forgotten", "sign flipped", lambda self, g: (
    g / self.inputs[1], g * self.inputs[0] / self.inputs[1] ** 2))
wrong(Div, "the square forgotten", None, lambda self, g: (g / self.inputs[1], -g * self.inputs[0] / self.inputs[1]))
wrong(Pow, "the exponent not reduced", None, lambda self, g: (
    g * self.inputs[1] * self.inputs[0] ** self.inputs[1], g * self.inputs[0] ** self.inputs[1] * self.inputs[0].log()))
wrong(Pow, "the logarithm forgotten", None, lambda self, g: (
    g * self.inputs[1] * self.inputs[0] ** (self.inputs[1] - 1.0), g * self.inputs[0] ** self.inputs[1]))
wrong(PowNumber, "the factor n forgotten", "scaled by 0.3333", lambda self, g: (
    g * self.inputs[0] ** (self.exponent - 1)))
wrong(PowNumber, "the exponent not reduced", None, lambda self, g: (
    g * (self.exponent * self.inputs[0] ** self.exponent)))
wrong(Exp, "treated as the identity", LOCAL, lambda self, g: g)
wrong(Exp, "exp of the output", None, lambda self, g: g * self.output.exp())
wrong(Log, "times x instead of divided by it", None, lambda self, g: g * self.inputs[0])
wrong(Sqrt, "the 2 forgotten", "scaled by 2", lambda self, g: g / self.output)
wrong(Sqrt, "times the root instead of divided by it", None, lambda self, g: g * self.output * 2.0)
wrong(Sin, "the minus of the cosine's derivative", "sign flipped", lambda self, g: -g * self.inputs[0].cos())
wrong(Sin, "sine instead of cosine", None, lambda self, g: g * self.inputs[0].sin())
wrong(Cos, "the minus forgotten", "sign flipped", lambda self, g: g * self.inputs[0].sin())
wrong(Tanh, "the square forgotten", None, lambda self, g: g * (1.0 - self.output))
wrong(Tanh, "tanh of the output", None, lambda self, g: g * (1.0 - self.output.tanh() ** 2))
wrong(Sigmoid, "only half of y (1 - y)", None, lambda self, g: g * self.output)
wrong(Sigmoid, "sigmoid of the output", None, lambda self, g: g * self.output.sigmoid() * (1.0 - self.output.sigmoid()))
wrong(Softplus, "the slope of the other side", None, lambda self, g: g * (1.0 - self.inputs[0].sigmoid()))
wrong(Softplus, "the slope of ReLU", None, lambda self, g: g * mask(self.inputs[0]._data > 0))
wrong(Abs, "the sign forgotten", "some entries scaled by -1", lambda self, g: g)
wrong(Abs, "no gradient from negative x", BLOCKS, lambda self, g: g * mask(self.inputs[0]._data > 0))
wrong(Relu, "passes negative x too", PASSES, lambda self, g: g)
wrong(Relu, "the mask the wrong way round", None, lambda self, g: g * mask(self._output <= 0))
wrong(Relu, "the mask taken from the gradient", None, lambda self, g: g * mask(g._data > 0))
wrong(ReluInput, "the mask forgotten", PASSES, lambda self, g: g)
wrong(LeakyRelu, "no slope on the negative side", BLOCKS, lambda self, g: g * mask(self.inputs[0]._data > 0))
wrong(LeakyRelu, "the slope on both sides", "some entries scaled by 0.1", lambda self, g: g * self.slope)
wrong(Clip, "passes outside the bounds", PASSES, lambda self, g: g)
wrong(Clip, "the lower bound forgotten", PASSES, lambda self, g: g * mask(self.inputs[0]._data <= self.high))
for extreme in (Maximum, Minimum):
    wrong(extreme, "both get everything", PASSES, lambda self, g: (g, g))
    wrong(extreme, "both get half", None, lambda self, g: (g * 0.5, g * 0.5))
wrong(Maximum, "the loser gets it", OTHER, lambda self, g: (
    g * mask(self.inputs[0]._data < self.inputs[1]._data), g * mask(self.inputs[0]._data >= self.inputs[1]._data)))
wrong(Minimum, "the loser gets it", OTHER, lambda self, g: (
    g * mask(self.inputs[0]._data > self.inputs[1]._data), g * mask(self.inputs[0]._data <= self.inputs[1]._data)))
wrong(Where, "both get everything", PASSES, lambda self, g: (g, g))
wrong(Where, "the condition the wrong way round", OTHER, lambda self, g: (
    g * mask(~self.condition), g * mask(self.condition)))

# ---------------------------------------------------------------------------------------------- reductions, shapes

wrong(Sum, "divided as in a mean", "scaled by 0.25", lambda self, g: (
    (g * 0.25).reshape(self.kept).broadcast_to(self.shape)))
wrong(Sum, "only the first element", "only the first group has a gradient", lambda self, g: (
    g.reshape(self.kept) * mask(np.arange(self.shape[1]) == 0)))
wrong(Mean, "not divided", "scaled by 4", lambda self, g: g.reshape(self.kept).broadcast_to(self.shape))
wrong(Mean, "divided by the size of the result", None, lambda self, g: (
    (g * (1 / g.size)).reshape(self.kept).broadcast_to(self.shape)))
wrong(LogSumExp, "exponentials not normalised", None, lambda self, g: g.reshape(self.kept) * self.inputs[0].exp())
wrong(LogSumExp, "the same share for all", None, lambda self, g: (
    (g * 0.25).reshape(self.kept).broadcast_to(self.inputs[0].shape)))
wrong(PutAlong, "reads one place further", None, lambda self, g: TakeAlong.apply(
    g, index=(self.index + 1) % g.shape[self.axis], axis=self.axis))


@mistake(TakeAlong, "index repeated, assigned", ASSIGNED)
def _(self, g):
    out = np.zeros((g.shape[0], self.length))
    np.put_along_axis(out, self.index, g._data, self.axis)
    return Tensor(out)


wrong(TakeAlong, "written one place further", "shifted by one", lambda self, g: PutAlong.apply(
    g, index=(self.index + 1) % self.length, axis=self.axis, length=self.length))
wrong(Reshape, "transposed before reshaping", "transposed", lambda self, g: g.T.reshape(self.shape))
wrong(Permute, "permuted again instead of back", "transposed", lambda self, g: g.permute(self.axes))
wrong(Permute, "reshaped instead of permuted", "transposed", lambda self, g: g.reshape(g.shape))
wrong(BroadcastTo, "one of the copies", ONE_SLICE, lambda self, g: g[:1])
wrong(BroadcastTo, "the mean of the copies", TWICE, lambda self, g: g.mean(0, keepdim=True))


@mistake(GetItem, "index repeated, assigned", ASSIGNED)
def _(self, g):
    out = np.zeros(self.shape)
    out[self.index] = g._data
    return Tensor(out)


wrong(GetItem, "written one row further", "shifted by one", lambda self, g: PutItem.apply(
    g, index=(self.index + 1) % self.shape[0], shape=self.shape))
wrong(PutItem, "the index ignored", None, lambda self, g: g[:len(self.index)])
wrong(Cat, "the second part begins one early", "shifted by one", lambda self, g: (g[:3], g[2:5]))
wrong(Cat, "parts exchanged", OTHER, lambda self, g: (g[3:], g[:3]))
wrong(Pad, "cut from the corner", "shifted by one", lambda self, g: g[:3, :4])
wrong(Pad, "one border forgotten", "shifted by one", lambda self, g: g[1:4, :4])

# ---------------------------------------------------------------------------------------------- products

wrong(Matmul, "y not transposed", "transposed", lambda self, g: (g @ self.inputs[1], self.inputs[0].T @ g))
wrong(Matmul, "results transposed", "transposed", lambda self, g: ((g @ self.inputs[1].T).T, (self.inputs[0].T @ g).T))
wrong(Linear, "w transposed", "transposed", lambda self, g: (g @ self.inputs[1].T, g.T @ self.inputs[0]))
wrong(Linear, "dw transposed", "transposed", lambda self, g: (g @ self.inputs[1], self.inputs[0].T @ g))
wrong(Linear, "dw divided by the batch", TWICE, lambda self, g: (g @ self.inputs[1], g.T @ self.inputs[0] * (1 / 3)))
wrong(Linear, "dw of the first sample", ONE_SLICE, lambda self, g: (g @ self.inputs[1], g[:1].T @ self.inputs[0][:1]))
wrong(Linear, "db of the first sample", ONE_SLICE, lambda self, g: (
    g @ self.inputs[1], g.T @ self.inputs[0], g[0]), "bias")
wrong(Linear, "db divided by the batch", TWICE, lambda self, g: (g @ self.inputs[1], g.T @ self.inputs[0], g.mean(0)), "bias")
wrong(LinearInput, "w not transposed", "transposed", lambda self, g: (g @ self.inputs[1], self.inputs[0].T @ g))
wrong(LinearInput, "dw transposed", "transposed", lambda self, g: (g @ self.inputs[1].T, g.T @ self.inputs[0]))
wrong(LinearWeight, "dx by the transpose", "transposed", lambda self, g: (self.inputs[1] @ g.T, self.inputs[0].T @ g))

# ---------------------------------------------------------------------------------------------- convolution


def overwritten(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], padding: tuple[int, int], groups: int) -> Tensor:
    """The input gradient of a convolution of stride 1 whose windows overwrite each other."""
    N, _, H, W = shape
    F, per_group, KH, KW = w.shape
    padded = np.zeros((N, groups, per_group, H + 2 * padding[0], W + 2 * padding[1]))
    filters = w.reshape(groups, F // groups, per_group, KH, KW)
    for oh in range(g.shape[2]):
        for ow in range(g.shape[3]):
            upstream = g[:, :, oh, ow].reshape(N, groups, F // groups)
            padded[..., oh:oh + KH, ow:ow + KW] = np.einsum("ngf,gfcij->ngcij", upstream, filters)
    inside = padded[..., padding[0]:padding[0] + H, padding[1]:padding[1] + W]
    return Tensor(np.ascontiguousarray(inside.reshape(shape)))


def rolled(g: Tensor) -> Tensor:
    return Tensor(np.roll(g._data, 1, -1))


def _dx(self: Any, g: Tensor) -> Tensor:
    return Conv2dInput.apply(g, self.inputs[1], shape=self.x_shape, **self.geometry)


def _dw(self: Any, g: Tensor) -> Tensor:
    return Conv2dWeight.apply(self.inputs[0], g, shape=self.w_shape, **self.geometry)


wrong(Conv2d, "windows of dx overwrite each other", ASSIGNED, lambda self, g: (
    overwritten(g._data, self.inputs[1]._data, self.x_shape, (1, 1), 2), _dw(self, g)))
wrong(Conv2d, "dx off by the padding", "shifted by one", lambda self, g: (rolled(_dx(self, g)), _dw(self, g)))
wrong(Conv2d, "kernel of dx not rotated", "transposed", lambda self, g: (
    Conv2dInput.apply(g, self.inputs[1].flip(2, 3), shape=self.x_shape, **self.geometry), _dw(self, g)))
wrong(Conv2d, "dw rotated", "flipped", lambda self, g: (_dx(self, g), _dw(self, g).flip(2, 3)))
wrong(Conv2d, "dw transposed", "transposed", lambda self, g: (_dx(self, g), _dw(self, g).transpose(2, 3)))
wrong(Conv2d, "dw divided by the batch", TWICE, lambda self, g: (_dx(self, g), _dw(self, g) * (1 / self.x_shape[0])))
wrong(Conv2d, "dw of the first group", "only the first group has a gradient", lambda self, g: (
    _dx(self, g), _dw(self, g) * mask([[[[1]]], [[[0]]]])))
wrong(Conv2d, "dw of the first image", ONE_SLICE, lambda self, g: (
    _dx(self, g), Conv2dWeight.apply(self.inputs[0][:1], g[:1], shape=self.w_shape, **self.geometry)))
wrong(Conv2d, "db of the first image", ONE_SLICE, lambda self, g: (
    _dx(self, g), _dw(self, g), g[0].sum((1, 2))), "bias")
wrong(Conv2d, "db divided by the batch", TWICE, lambda self, g: (
    _dx(self, g), _dw(self, g), g.mean(0).sum((1, 2))), "bias")


def _passed(self: Any, g: Tensor) -> Tensor:
    return g * mask(self._output > 0)


wrong(Conv2dRelu, "the mask forgotten", None, lambda self, g: (_dx(self, g), _dw(self, g), g.sum((0, 2, 3))))
wrong(Conv2dRelu, "the mask forgotten for the bias", None, lambda self, g: (
    _dx(self, _passed(self, g)), _dw(self, _passed(self, g)), g.sum((0, 2, 3))))
wrong(Conv2dRelu, "the mask taken from the gradient", None, lambda self, g: Conv2d.backward(self, g * mask(g._data > 0)))
wrong(Conv2dRelu, "db divided by the batch", TWICE, lambda self, g: (
    _dx(self, _passed(self, g)), _dw(self, _passed(self, g)), _passed(self, g).mean(0).sum((1, 2))))


def _pool_backward(self: Any, g: Tensor, bias: Tensor | None = None) -> Any:
    """The right backward for g that has passed the mask, if there is one; ``bias`` is what is summed for the bias instead."""
    spread = MaxPool2dInput.apply(g, index=self.index, shape=self.shape, **self.window)
    return _dx(self, spread), _dw(self, spread), (g if bias is None else bias).sum((0, 2, 3))


wrong(Conv2dReluMaxPool, "the mask forgotten", None, _pool_backward)
wrong(Conv2dReluMaxPool, "the mask forgotten for the bias", None, lambda self, g: _pool_backward(self, _passed(self, g), g))
wrong(Conv2dReluMaxPool, "the mask taken from the gradient", None, lambda self, g: _pool_backward(self, g * mask(g._data > 0)))
wrong(Conv2dReluMaxPool, "the mean over the windows", None, lambda self, g: _pool_backward(self, _passed(self, g) * 0.25))


def _cat_backward(self: Any, g: Tensor) -> list[Tensor]:
    """The right gradients for g that has passed the mask, if there is one."""
    x, one, other, *_ = self.inputs
    parts, hows = (g[:, :len(one)], g[:, len(one):]), self.geometries
    dx = [Conv2dInput.apply(part, w, shape=x.shape, **how) for part, w, how in zip(parts, (one, other), hows)]
    dws = [Conv2dWeight.apply(x, part, shape=w.shape, **how) for part, w, how in zip(parts, (one, other), hows)]
    return [dx[0] + dx[1], *dws, *(part.sum((0, 2, 3)) for part in parts)]


wrong(Conv2dReluCat, "the mask forgotten", None, _cat_backward)
wrong(Conv2dReluCat, "the mask forgotten for the biases", None, lambda self, g: (
    *_cat_backward(self, _passed(self, g))[:3], *_cat_backward(self, g)[3:]))
wrong(Conv2dReluCat, "biases changed places", None, lambda self, g: (
    *_cat_backward(self, _passed(self, g))[:3], *_cat_backward(self, _passed(self, g))[:2:-1]))
wrong(Conv2dReluCat, "the gradient of one convolution only", None, lambda self, g: _cat_backward(
    self, _passed(self, g) * mask(np.arange(4) < 2).reshape(-1, 1, 1)))


def _norm_backward(self: Any, g: Tensor, dx: Any = None, dw: Any = None, dweight: Any = None) -> Any:
    """The right backward, with one of its gradients replaced."""
    _, w, weight, _ = self.inputs
    scale, to_filters, db = Tensor(self.scale), _dw(self, g), g.sum((0, 2, 3))
    column = (weight * scale).reshape(-1, 1, 1, 1)
    to_weight = (to_filters * w).sum((1, 2, 3)) * scale - db * Tensor(self.middle)
    return Conv2dInput.apply(g, w * (column if dx is None else dx(weight, scale)), shape=self.x_shape, **self.geometry), \
        to_filters * (column if dw is None else dw(weight, scale)), \
        to_weight if dweight is None else dweight(to_filters, w, scale), db


wrong(Conv2dNorm, "the variance forgotten in dx", None, lambda self, g: _norm_backward(
    self, g, dx=lambda weight, scale: weight.reshape(-1, 1, 1, 1)))
wrong(Conv2dNorm, "the factor forgotten in dw", None, lambda self, g: _norm_backward(self, g, dw=lambda weight, scale: 1.0))
wrong(Conv2dNorm, "the mean forgotten in dweight", None, lambda self, g: _norm_backward(
    self, g, dweight=lambda dw, w, scale: (dw * w).sum((1, 2, 3)) * scale))
wrong(Conv2dNormRelu, "the mask forgotten", None, _norm_backward)
wrong(Conv2dNormRelu, "the mask the wrong way round", None, lambda self, g: _norm_backward(self, g * mask(self._output <= 0)))
wrong(Conv2dNormRelu, "the mask taken from the gradient", None, lambda self, g: _norm_backward(self, g * mask(g._data > 0)))
wrong(LinearRelu, "the mask forgotten", None, lambda self, g: Linear.backward(self, g))
wrong(LinearRelu, "the mask the wrong way round", None, lambda self, g: Linear.backward(self, g * mask(self._output <= 0)))
wrong(LinearRelu, "the mask taken from the gradient", None, lambda self, g: Linear.backward(self, g * mask(g._data > 0)))


def _input_dw(self: Any, g: Tensor) -> Tensor:
    return Conv2dWeight.apply(g, self.inputs[0], shape=self.w_shape, **self.geometry)


def _input_dg(self: Any, g: Tensor) -> Tensor:
    return Conv2d.apply(g, self.inputs[1], **self.geometry)


wrong(Conv2dInput, "dw rotated", "flipped", lambda self, g: (_input_dg(self, g), _input_dw(self, g).flip(2, 3)))
wrong(Conv2dInput, "dw divided by the batch", TWICE, lambda self, g: (_input_dg(self, g), _input_dw(self, g) * (1 / 3)))
wrong(Conv2dInput, "dg off by the padding", "shifted by one", lambda self, g: (
    rolled(_input_dg(self, g)), _input_dw(self, g)))


def _weight_dx(self: Any, g: Tensor) -> Tensor:
    return Conv2dInput.apply(self.inputs[1], g, shape=self.x_shape, **self.geometry)


def _weight_dg(self: Any, g: Tensor) -> Tensor:
    return Conv2d.apply(self.inputs[0], g, **self.geometry)


wrong(Conv2dWeight, "dg off by the padding", "shifted by one", lambda self, g: (
    _weight_dx(self, g), rolled(_weight_dg(self, g))))
wrong(Conv2dWeight, "dx rotated", "flipped", lambda self, g: (_weight_dx(self, g).flip(2, 3), _weight_dg(self, g)))

# ---------------------------------------------------------------------------------------------- pooling


@mistake(MaxPool2d, "a pixel that wins twice is assigned", ASSIGNED)
def _(self, g):
    n, c, h, w = self.shape
    out = np.zeros((n, c, h * w))
    np.put_along_axis(out, self.index.reshape(n, c, -1).astype(np.int64), g._data.reshape(n, c, -1), 2)
    return Tensor(out.reshape(self.shape))


wrong(MaxPool2d, "the winner's index off by one", "shifted by one", lambda self, g: MaxPool2dInput.apply(
    g, index=self.index + 1, shape=self.shape, **self.window))
wrong(MaxPool2d, "divided as in average pooling", "scaled by 0.1111", lambda self, g: MaxPool2dInput.apply(
    g * (1 / 9), index=self.index, shape=self.shape, **self.window))
wrong(MaxPool2dInput, "the winner's index off by one", None, lambda self, g: TakeAlong.apply(
    g.reshape(2, 1, 49), index=self.index.reshape(2, 1, 9) + 1, axis=2).reshape(self.index.shape))
wrong(AvgPool2d, "divided by the pixels inside the image", "wrong at the border (padding?)", lambda self, g: (
    AvgPool2dInput.apply(g, shape=self.shape, **{**self.window, "count_include_pad": False})))
wrong(AvgPool2d, "divisor forgotten", "scaled by 4", lambda self, g: (
    AvgPool2dInput.apply(g * 4.0, shape=self.shape, **self.window)))


@mistake(AvgPool2d, "overlapping windows assigned", ASSIGNED, "overlapping")
def _(self, g):
    out = np.zeros(self.shape)
    for oh in range(g.shape[2]):
        for ow in range(g.shape[3]):
            out[:, :, 2 * oh:2 * oh + 3, 2 * ow:2 * ow + 3] = g._data[:, :, oh, ow, None, None] / 9
    return Tensor(out)


wrong(AvgPool2dInput, "a sum instead of a mean", "scaled by 9", lambda self, g: AvgPool2d.apply(g * 9.0, **self.window))

# ---------------------------------------------------------------------------------------------- normalisation, losses


def _standardize(shift: float, stretch: float, correction: int = 0, eps: bool = True) -> Callable[[Any, Any], Tensor]:
    def backward(self: Any, g: Tensor) -> Tensor:
        (x,), z = self.inputs, self.output
        spread = (x.var(self.axes, keepdim=True, correction=correction) + (self.eps if eps else 0.0)).sqrt()
        moved = g.mean(self.axes, keepdim=True) * shift
        return (g - moved - z * (g * z).mean(self.axes, keepdim=True) * stretch) / spread
    return backward


wrong(Standardize, "mean and variance taken for constants", None, _standardize(0, 0))
wrong(Standardize, "the mean taken for a constant", "wrong by a constant", _standardize(0, 1))
wrong(Standardize, "the variance taken for a constant", None, _standardize(1, 0))
wrong(Standardize, "the unbiased variance", "scaled by 0.8944", _standardize(1, 1, correction=1))
wrong(Standardize, "eps forgotten", None, _standardize(1, 1, eps=False))


def _batch_norm(dx: Callable[..., Tensor] | None = None, dweight: Callable[..., Tensor] | None = None,
                dbias: Callable[[Tensor], Tensor] | None = None) -> Callable[[Any, Any], Any]:
    """The right backward of a batch norm of (N, C), with one of its three gradients replaced."""
    def backward(self: Any, g: Tensor) -> Any:
        x, w, _ = self.inputs
        z = Standardize.apply(x, axes=(0,), eps=self.eps)
        right = pulled_back(g * w, x, z, (0,), self.eps)
        return right if dx is None else dx(g, x, w, z, self.eps), (g * z).sum(0) if dweight is None else dweight(g, x, z), \
            g.sum(0) if dbias is None else dbias(g)
    return backward


wrong(BatchNorm, "mean and variance taken for constants", None, _batch_norm(
    dx=lambda g, x, w, z, eps: g * w / (x.var(0, correction=0) + eps).sqrt()))
wrong(BatchNorm, "the weight forgotten", None, _batch_norm(dx=lambda g, x, w, z, eps: pulled_back(g, x, z, (0,), eps)))
wrong(BatchNorm, "dweight from x instead of z", None, _batch_norm(dweight=lambda g, x, z: (g * x).sum(0)))
wrong(BatchNorm, "dweight of the first sample", ONE_SLICE, _batch_norm(dweight=lambda g, x, z: (g * z)[0]))
wrong(BatchNorm, "dbias divided by the batch", TWICE, _batch_norm(dbias=lambda g: g.mean(0)))


def _eval_backward(self: Any, dx: Tensor, g: Tensor) -> Any:
    """The right gradients to weight and bias beside the gradient ``dx``."""
    return dx, *BatchNormEval.backward(self, g)[1:]


wrong(BatchNormEval, "the weight forgotten", None, lambda self, g: _eval_backward(
    self, ChannelAffine.apply(g, Tensor(self.scale)), g))
wrong(BatchNormEval, "the variance forgotten", None, lambda self, g: _eval_backward(
    self, ChannelAffine.apply(g, self.inputs[1]), g))
wrong(BatchNormEval, "dweight from x instead of z", None, lambda self, g: (
    ChannelAffine.apply(g, self.inputs[1] * Tensor(self.scale)), (g * self.inputs[0]).sum((0, 2)), g.sum((0, 2))))
wrong(BatchNormEvalRelu, "the mask forgotten", None, lambda self, g: BatchNormEval.backward(self, g))
wrong(BatchNormEvalRelu, "the mask the wrong way round", None, lambda self, g: BatchNormEval.backward(
    self, g * mask(self._output <= 0)))
wrong(BatchNormEvalRelu, "the mask taken from the gradient", None, lambda self, g: BatchNormEval.backward(
    self, g * mask(g._data > 0)))
wrong(ChannelAffine, "the weight forgotten", None, lambda self, g: (
    g, (g * self.inputs[0]).sum((0, 2)), g.sum((0, 2))))
wrong(ChannelAffine, "dweight and dbias changed places", None, lambda self, g: (
    ChannelAffine.apply(g, self.inputs[1]), g.sum((0, 2)), (g * self.inputs[0]).sum((0, 2))))
wrong(ChannelAffine, "dbias of the first image", ONE_SLICE, lambda self, g: (
    ChannelAffine.apply(g, self.inputs[1]), (g * self.inputs[0]).sum((0, 2)), g[0].sum(1)))
wrong(Softmax, "each element by itself", DIAGONAL, lambda self, g: g * self.output * (1.0 - self.output))
wrong(Softmax, "the sum forgotten", None, lambda self, g: g * self.output)
wrong(Softmax, "the sum over the wrong axis", None, lambda self, g: (
    self.output * (g - (g * self.output).sum(0, keepdim=True))))
wrong(LogSoftmax, "the normalisation forgotten", LOCAL, lambda self, g: g)
wrong(LogSoftmax, "each element by itself", DIAGONAL, lambda self, g: g * (1.0 - self.output.exp()))
wrong(LogSoftmax, "the mean instead of the sum", None, lambda self, g: (
    g - self.output.exp() * g.mean(self.axis, keepdim=True)))
wrong(CrossEntropy, "divided by the batch once more", TWICE, lambda self, g: (
    CrossEntropyInput.apply(self.inputs[0], g * 0.25, labels=self.labels)), "mean")
wrong(CrossEntropy, "not divided by the batch", NEVER, lambda self, g: (
    CrossEntropyInput.apply(self.inputs[0], g * 4.0, labels=self.labels)), "mean")
wrong(CrossEntropy, "the label forgotten", None, lambda self, g: self.inputs[0].softmax(1) * g.unsqueeze(1))
wrong(CrossEntropy, "the label added", None, lambda self, g: (
    self.inputs[0].softmax(1) + mask(np.eye(3)[self.labels])) * g.unsqueeze(1))


@mistake(CrossEntropyInput, "softmax taken element by element", DIAGONAL)
def _(self, grad):
    x, g = self.inputs
    p = x.softmax(1)
    return g.unsqueeze(1) * p * (1.0 - p) * grad, (grad * (p - mask(np.eye(3)[self.labels]))).sum(1)


@mistake(CrossEntropyInput, "dg without the label", None)
def _(self, grad):
    x, g = self.inputs
    p = x.softmax(1)
    return g.unsqueeze(1) * p * (grad - (grad * p).sum(1, keepdim=True)), (grad * p).sum(1)
