"""Layers that learn: linear, convolution, and normalisation. Initial weights are PyTorch's default."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minivision_kernels import beside

from .. import functional as F
from .. import random
from ..tensor import Tensor
from .module import Module, Parameter


def _uniform(shape: tuple[int, ...], fan_in: int) -> Parameter:
    """Uniform in ±1/sqrt(fan_in), PyTorch's default: the output's size does not grow with the number of inputs."""
    bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
    return Parameter(random.generator().uniform(-bound, bound, shape).astype(np.float32))


class Linear(Module):
    """y = x Wᵀ + b with weight (out_features, in_features) and bias (out_features,)."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        super().__init__()
        _positive("Linear", in_features=in_features, out_features=out_features)
        self.weight = _uniform((out_features, in_features), in_features)
        self.bias = _uniform((out_features,), in_features) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}" + ("" if self.bias is not None else ", bias=False")


class Conv2d(Module):
    """`functional.conv2d` with weight (out_channels, in_channels / groups, KH, KW) and bias (out_channels,)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int | tuple[int, int], stride: Any = 1,
                 padding: Any = 0, dilation: Any = 1, groups: int = 1, bias: bool = True):
        super().__init__()
        _positive("Conv2d", in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"Conv2d: groups={groups} must divide in_channels={in_channels} and out_channels={out_channels}")
        kernel = F.checks.pair(kernel_size, "Conv2d: kernel_size", 1)
        if padding not in ("same", "valid"):
            F.checks.pair(padding, "Conv2d: padding", 0)
        F.checks.pair(stride, "Conv2d: stride", 1)
        F.checks.pair(dilation, "Conv2d: dilation", 1)
        fan_in = in_channels // groups * kernel[0] * kernel[1]
        self.weight = _uniform((out_channels, in_channels // groups, *kernel), fan_in)
        self.bias = _uniform((out_channels,), fan_in) if bias else None
        self.geometry = dict(stride=stride, padding=padding, dilation=dilation, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, **self.geometry)

    def extra_repr(self) -> str:
        f, c, kh, kw = self.weight.shape
        defaults = dict(stride=1, padding=0, dilation=1, groups=1)
        changed = "".join(f", {k}={v}" for k, v in self.geometry.items() if v != defaults[k])
        return f"{c * self.geometry['groups']}, {f}, ({kh}, {kw}){changed}" + ("" if self.bias is not None else ", bias=False")


class ConvTranspose2d(Module):
    """`functional.conv_transpose2d` with weight (in_channels, out_channels / groups, KH, KW) and bias (out_channels,)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int | tuple[int, int], stride: Any = 1,
                 padding: Any = 0, output_padding: Any = 0, groups: int = 1, bias: bool = True, dilation: Any = 1):
        super().__init__()
        _positive("ConvTranspose2d", in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"ConvTranspose2d: groups={groups} must divide in_channels={in_channels} and "
                             f"out_channels={out_channels}")
        kernel = F.checks.pair(kernel_size, "ConvTranspose2d: kernel_size", 1)
        fan_in = out_channels // groups * kernel[0] * kernel[1]
        self.weight = _uniform((in_channels, out_channels // groups, *kernel), fan_in)
        self.bias = _uniform((out_channels,), fan_in) if bias else None
        self.geometry = dict(stride=stride, padding=padding, output_padding=output_padding, groups=groups, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, self.weight, self.bias, **self.geometry)

    def extra_repr(self) -> str:
        c, f, kh, kw = self.weight.shape
        return f"{c}, {f * self.geometry['groups']}, ({kh}, {kw}), stride={self.geometry['stride']}"


class _Norm2d(Module):
    """What both normalisations hold: weight and bias if ``affine``, running averages if they are tracked, each (C,)."""

    function: Callable[..., Tensor]

    def __init__(self, num_features: int, eps: float, momentum: float, affine: bool, track_running_stats: bool):
        super().__init__()
        name = type(self).__name__
        _positive(name, num_features=num_features)
        _momentum(name, momentum)
        self.eps, self.momentum, self.num_features, self.tracks = eps, momentum, num_features, track_running_stats
        self.weight = Parameter(np.ones(num_features, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(num_features, np.float32)) if affine else None
        if track_running_stats:
            self.register_buffer("running_mean", Tensor(np.zeros(num_features, np.float32)))
            self.register_buffer("running_var", Tensor(np.ones(num_features, np.float32)))
            self.register_buffer("num_batches_tracked", Tensor(np.zeros((), np.int64)))

    def forward(self, x: Tensor) -> Tensor:
        F.checks.images(x, type(self).__name__)
        mean, var = (self.running_mean, self.running_var) if self.tracks else (None, None)
        own_statistics = self.training or not self.tracks
        return type(self).function(x, mean, var, self.weight, self.bias, own_statistics, self.momentum, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_features}"


class BatchNorm2d(_Norm2d):
    """`functional.batch_norm`, with PyTorch's defaults."""

    function = staticmethod(F.batch_norm)

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True,
                 track_running_stats: bool = True):
        super().__init__(num_features, eps, momentum, affine, track_running_stats)

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        if self.training and self.tracks:
            with beside(self.num_batches_tracked._data):
                self.num_batches_tracked._data += 1
        return y


class InstanceNorm2d(_Norm2d):
    """`functional.instance_norm`, with PyTorch's defaults: no weight or bias, no running averages."""

    function = staticmethod(F.instance_norm)

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False,
                 track_running_stats: bool = False):
        super().__init__(num_features, eps, momentum, affine, track_running_stats)


def _positive(layer: str, **sizes: int) -> None:
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{layer}: got {name}={value!r}, expected a whole number >= 1")


def _momentum(layer: str, value: Any) -> None:
    if value is None:
        raise ValueError(f"{layer}: momentum=None, an average of all batches alike, is not offered; give a number such as 0.1")
    F.checks.number(value, layer, "momentum")
