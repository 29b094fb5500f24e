"""Layers that only apply a function, with its options fixed when they are made; and the losses, likewise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import functional as F
from ..tensor import Tensor
from .module import Module


class _Applied(Module):
    """A layer that calls one function with options fixed when it is made."""

    function: Callable[..., Any]

    def __init__(self, **options: Any):
        super().__init__()
        self.options = options

    def forward(self, x: Tensor) -> Tensor:
        return type(self).function(x, **self.options)

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v}" for k, v in self.options.items() if v is not None)


class ReLU(_Applied):
    """max(x, 0). ``inplace`` is PyTorch's; nothing is changed in place here."""

    function = staticmethod(F.relu)

    def __init__(self, inplace: bool = False):
        super().__init__()


class Sigmoid(_Applied):
    """1 / (1 + exp(-x))."""

    function = staticmethod(F.sigmoid)

    def __init__(self) -> None:
        super().__init__()


class Tanh(_Applied):
    """The hyperbolic tangent."""

    function = staticmethod(F.tanh)

    def __init__(self) -> None:
        super().__init__()


class LeakyReLU(_Applied):
    """x where x > 0, else ``negative_slope * x``. ``inplace`` is PyTorch's; nothing is changed in place here."""

    function = staticmethod(F.leaky_relu)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False):
        super().__init__(negative_slope=negative_slope)


class MaxPool2d(_Applied):
    """`functional.max_pool2d` with fixed options."""

    function = staticmethod(F.max_pool2d)

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
                 return_indices: bool = False, ceil_mode: bool = False):
        super().__init__(kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation,
                         return_indices=return_indices, ceil_mode=ceil_mode)


class AvgPool2d(_Applied):
    """`functional.avg_pool2d` with fixed options."""

    function = staticmethod(F.avg_pool2d)

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
                 count_include_pad: bool = True, divisor_override: int | None = None):
        super().__init__(kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode,
                         count_include_pad=count_include_pad, divisor_override=divisor_override)


class AdaptiveAvgPool2d(_Applied):
    """`functional.adaptive_avg_pool2d` to a fixed output size."""

    function = staticmethod(F.adaptive_avg_pool2d)

    def __init__(self, output_size: Any):
        super().__init__(output_size=output_size)


class Flatten(_Applied):
    """(N, C, H, W) to (N, C H W)."""

    function = staticmethod(F.flatten)

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__(start_dim=start_dim, end_dim=end_dim)


class Upsample(_Applied):
    """`functional.interpolate` with fixed options."""

    function = staticmethod(F.interpolate)

    def __init__(self, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None):
        super().__init__(size=size, scale_factor=scale_factor, mode=mode, align_corners=align_corners)


class Dropout(Module):
    """`functional.dropout` in training mode, nothing in evaluation mode; ``inplace`` changes nothing in place."""

    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__()
        F.checks.share(p, "Dropout", "p")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class _Loss(_Applied):
    def forward(self, input: Tensor, target: Any) -> Tensor:   # type: ignore[override]
        return type(self).function(input, target, **self.options)


class CrossEntropyLoss(_Loss):
    """`functional.cross_entropy` with fixed options."""

    function = staticmethod(F.cross_entropy)

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0):
        super().__init__(weight=weight, ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing)


class MSELoss(_Loss):
    """`functional.mse_loss`."""

    function = staticmethod(F.mse_loss)

    def __init__(self, reduction: str = "mean"):
        super().__init__(reduction=reduction)


class BCEWithLogitsLoss(_Loss):
    """`functional.binary_cross_entropy_with_logits` with fixed options."""

    function = staticmethod(F.binary_cross_entropy_with_logits)

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None):
        super().__init__(weight=weight, reduction=reduction, pos_weight=pos_weight)
