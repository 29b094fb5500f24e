"""Layers: Tensors that learn, and the functions they go through.

A `Module` finds its parameters, buffers and sub-modules by looking at its own attributes, so a layer is an ``__init__``
that makes them and a ``forward`` that uses them. Names in ``state_dict`` are attribute paths, as in PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from . import functional as F
from . import random
from .creation import zeros_like
from .device import move
from .saved import check_free
from .tensor import Tensor


class Parameter(Tensor):
    """A Tensor that a module learns."""

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True):
        super().__init__(data, requires_grad)


class Module:
    """The base of all layers: subclass it, make parameters and sub-modules in ``__init__``, use them in ``forward``."""

    training: bool = True

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}
        self._hooks: dict[int, Callable] = {}

    def forward(self, *inputs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} needs a forward(self, ...) method")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Run ``forward``, then the forward hooks."""
        output = self.forward(*inputs, **options)
        for hook in list(self.__dict__.get("_hooks", {}).values()):
            changed = hook(self, inputs, output)
            output = output if changed is None else changed
        return output

    def register_forward_hook(self, hook: Callable[[Module, tuple, Any], Any]) -> Handle:
        """Call ``hook(module, inputs, output)`` after each forward; what it returns, unless None, replaces the output.

        Returns:
            A handle whose ``remove()`` takes the hook off again; also a context manager that does so at the end.
        """
        handle = Handle(self.__dict__.setdefault("_hooks", {}))
        handle.hooks[id(handle)] = hook
        return handle

    def register_buffer(self, name: str, tensor: Tensor) -> None:
        """A Tensor that belongs to the state but is not learned, such as a running mean."""
        self.__dict__.setdefault("_buffers", {})[name] = tensor

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("_buffers", {}) and isinstance(value, Tensor):
            self._buffers[name] = value                      # a new value for a buffer, not an attribute in front of it
        elif isinstance(self.__dict__.get(name), Parameter) and not isinstance(value, (Parameter, Module, type(None))):
            raise TypeError(f"{type(self).__name__}.{name} is a Parameter; a {type(value).__name__} in its place would not be "
                            f"learned. Assign nn.Parameter(value) or None, or change {name}.data")
        else:
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        buffers = self.__dict__.get("_buffers", {})
        if name in buffers:
            return buffers[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    # ------------------------------------------------------------------------------------------ what it consists of

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly below, in the order in which they were made."""
        for name, value in self.__dict__.items():
            if isinstance(value, Module):
                yield name, value

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """This module (by the name ``prefix``) and all below it, each once, or under each of its names."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            path, module = stack.pop()
            if remove_duplicate and id(module) in seen:
                continue
            seen.add(id(module))
            yield path, module
            stack.extend(reversed([(f"{path}.{name}" if path else name, child) for name, child in module.named_children()]))

    def modules(self) -> Iterator[Module]:
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter with its path, each once."""
        seen: set[int] = set()
        for path, module in self.named_modules():
            for name, value in module.__dict__.items():
                if isinstance(value, Parameter) and id(value) not in seen:
                    seen.add(id(value))
                    yield f"{path}.{name}" if path else name, value

    def parameters(self) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters())

    def _state(self) -> dict[str, Tensor]:
        state: dict[str, Tensor] = {}
        for path, module in self.named_modules(remove_duplicate=False):
            own = {k: v for k, v in module.__dict__.items() if isinstance(v, Parameter)}
            for name, value in {**own, **module.__dict__.get("_buffers", {})}.items():
                state[f"{path}.{name}" if path else name] = value
        return state

    def state_dict(self) -> dict[str, Tensor]:
        """A copy of every parameter and buffer by its path; `mv.save` writes it."""
        return {name: Tensor(value._data.copy()) for name, value in self._state().items()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LoadedNames:
        """Take over values from a ``state_dict`` of the same structure; all of them or, on any error, none.

        Args:
            state: Tensors or arrays by name.
            strict: whether every name must be there, and no other; with False those that are in both are taken over.

        Returns:
            The names of this model that are not in ``state``, and those in it that are not in this model.

        Raises:
            KeyError: names are missing or left over.
            ValueError: a shape differs.
        """
        own = self._state()
        missing, extra = [k for k in own if k not in state], [k for k in state if k not in own]
        if strict and (missing or extra):
            parts = [f"{what}: {', '.join(names[:4])}{' ...' if len(names) > 4 else ''} ({len(names)})"
                     for what, names in (("missing", missing), ("not in this model", extra)) if names]
            raise ModelMismatchError(f"the weights are for another model than this {type(self).__name__}: {'; '.join(parts)}")
        arrays = {name: value.numpy() if isinstance(value, Tensor) else np.asarray(value)
                  for name, value in state.items() if name in own}
        wanted = {name: value for name, value in own.items() if name in arrays}
        for name, value in wanted.items():
            if arrays[name].shape != value.shape:
                raise ModelMismatchError(f"the weights are for another model than this {type(self).__name__}: {name} has shape "
                                         f"{arrays[name].shape}, expected {value.shape}")
            if arrays[name].dtype.kind not in "biuf":
                raise ModelMismatchError(f"{name} is {arrays[name].dtype}, expected numbers such as {value.dtype}")
            check_free(value._data, name)
        for name, value in wanted.items():
            value._data[...] = move(arrays[name].astype(value.dtype), value.device)
        return LoadedNames(missing, extra)

    # ------------------------------------------------------------------------------------------ what it does

    def train(self, mode: bool = True) -> Module:
        """Training mode for this module and all below: dropout drops, batch norm uses the batch."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Evaluation mode: dropout passes everything, batch norm uses its running averages."""
        return self.train(False)

    def to(self, device: Any = None, dtype: Any = None) -> Module:
        """Move every parameter and buffer, in place, to ``device`` and floating ones to ``dtype``; on any error, none.

        A dtype may stand in the first place, as in ``to("float64")``.
        """
        device, dtype = F.checks.destination(device, dtype, "to")
        if dtype is not None and dtype not in (np.float32, np.float64):
            raise TypeError(f"to: got {dtype} for a module, expected float32 or float64; its whole numbers stay as they are")
        changes = []
        for name, value in self._state().items():
            moved = value.detach().to(device, dtype if value.dtype.kind == "f" else None)._data
            if moved is not value._data:
                check_free(value._data, name)
                changes.append((value, moved))
        for value, moved in changes:
            value._data, value.grad = moved, None
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or fill them with zeros where ``set_to_none`` is False."""
        for parameter in self.parameters():
            parameter.grad = None if set_to_none or parameter.grad is None else zeros_like(parameter.grad)

    # ------------------------------------------------------------------------------------------ how it looks

    def extra_repr(self) -> str:
        """What stands in the brackets of a layer without children."""
        return ""

    def __repr__(self) -> str:
        children = [f"  ({name}): " + repr(child).replace("\n", "\n  ") for name, child in self.named_children()]
        if not children:
            return f"{type(self).__name__}({self.extra_repr()})"
        return "\n".join([f"{type(self).__name__}(", *children, ")"])


class LoadedNames(NamedTuple):
    """What `Module.load_state_dict` did not take over, by PyTorch's names; both empty where it is strict."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class ModelMismatchError(KeyError, ValueError):
    """Weights do not belong to the model they were given to."""

    def __str__(self) -> str:
        return str(self.args[0])


class Handle:
    """Takes a forward hook off again."""

    def __init__(self, hooks: dict[int, Callable]):
        self.hooks = hooks

    def remove(self) -> None:
        self.hooks.pop(id(self), None)

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class Sequential(Module):
    """Modules one after the other; named ``"0"``, ``"1"``, ... or by the keys of a dict."""

    def __init__(self, *modules: Module | Mapping[str, Module]):
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named = dict(modules[0])
        else:
            named = {str(i): module for i, module in enumerate(modules)}   # type: ignore[misc]
        for name, module in named.items():
            if not isinstance(module, Module):
                raise TypeError(f"Sequential: {name!r} is a {type(module).__name__}, expected a Module")
            setattr(self, name, module)

    def forward(self, x: Any) -> Any:
        for module in self:
            x = module(x)
        return x

    def __iter__(self) -> Iterator[Module]:
        return (child for _, child in self.named_children())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, index: int | slice) -> Any:
        children = list(self)
        return Sequential(*children[index]) if isinstance(index, slice) else children[index]


# ---------------------------------------------------------------------------------------------- layers with weights


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


class BatchNorm2d(Module):
    """`functional.batch_norm` with weight, bias, and running averages of mean and variance, each (num_features,)."""

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True,
                 track_running_stats: bool = True):
        super().__init__()
        _positive("BatchNorm2d", num_features=num_features)
        _momentum("BatchNorm2d", momentum)
        self.eps, self.momentum, self.num_features, self.tracks = eps, momentum, num_features, track_running_stats
        self.weight = Parameter(np.ones(num_features, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(num_features, np.float32)) if affine else None
        if track_running_stats:
            self.register_buffer("running_mean", Tensor(np.zeros(num_features, np.float32)))
            self.register_buffer("running_var", Tensor(np.ones(num_features, np.float32)))
            self.register_buffer("num_batches_tracked", Tensor(np.zeros((), np.int64)))

    def forward(self, x: Tensor) -> Tensor:
        F.checks.images(x, "BatchNorm2d")
        own_statistics = self.training or not self.tracks
        mean, var = (self.running_mean, self.running_var) if self.tracks else (None, None)
        y = F.batch_norm(x, mean, var, self.weight, self.bias, own_statistics, self.momentum, self.eps)
        if self.training and self.tracks:
            self.num_batches_tracked._data += 1
        return y

    def extra_repr(self) -> str:
        return f"{self.num_features}"


class InstanceNorm2d(Module):
    """`functional.instance_norm`; PyTorch's defaults: no weight or bias, no running averages."""

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False,
                 track_running_stats: bool = False):
        super().__init__()
        _positive("InstanceNorm2d", num_features=num_features)
        _momentum("InstanceNorm2d", momentum)
        self.eps, self.momentum, self.num_features, self.tracks = eps, momentum, num_features, track_running_stats
        self.weight = Parameter(np.ones(num_features, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(num_features, np.float32)) if affine else None
        if track_running_stats:
            self.register_buffer("running_mean", Tensor(np.zeros(num_features, np.float32)))
            self.register_buffer("running_var", Tensor(np.ones(num_features, np.float32)))
            self.register_buffer("num_batches_tracked", Tensor(np.zeros((), np.int64)))

    def forward(self, x: Tensor) -> Tensor:
        F.checks.images(x, "InstanceNorm2d")
        mean, var = (self.running_mean, self.running_var) if self.tracks else (None, None)
        own_statistics = self.training or not self.tracks
        return F.instance_norm(x, mean, var, self.weight, self.bias, own_statistics, self.momentum, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_features}"


def _positive(layer: str, **sizes: int) -> None:
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{layer}: got {name}={value!r}, expected a whole number >= 1")


def _momentum(layer: str, value: Any) -> None:
    if value is None:
        raise ValueError(f"{layer}: momentum=None, an average of all batches alike, is not offered; give a number such as 0.1")
    F.checks.number(value, layer, "momentum")


# ---------------------------------------------------------------------------------------------- layers without weights


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


# ---------------------------------------------------------------------------------------------- losses


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
