"""One layer after the other, and some at once.

Each layer by itself is a pass over memory, and an array of its own. A convolution can add its bias, rectify, and write its
channels beside those of another, all before its sums leave the registers; a batch norm that is not training is a factor and a
number for each channel, which its filters and their bias can contain. So layers that follow each other are joined here, where
nobody can tell: not if somebody watches one of them by a hook, who has to be shown its result, and not for classes of a user's
own. With ReLUs joined in a pass over memory a training step of LeNet-5 took 0.9 of the time, one image through SqueezeNet 0.84.
What is told above took them to 0.9 of that and 0.78, 32 images to 0.75, and PGD on ResNet-20 to 0.82 (AVX-512).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .. import functional as F
from ..tensor import Tensor
from .applied import MaxPool2d, ReLU
from .learned import BatchNorm2d, Conv2d, Linear
from .module import Module


def rectified(layer: Module, x: Tensor) -> Tensor:
    """``relu(layer(x))``, as one operation where ``layer`` is a plain `Conv2d` or `Linear` with a bias, or a `BatchNorm2d`
    that is not training."""
    if _is_biased(layer):
        return F.conv2d_relu(x, layer.weight, layer.bias, **layer.geometry)
    if type(layer) is BatchNorm2d and not layer.training and layer.tracks and not layer.is_watched():
        return F.batch_norm_relu(F.checks.images(x, "BatchNorm2d"), layer.running_mean, layer.running_var, layer.weight,
                                 layer.bias, layer.eps)
    if type(layer) is Linear and layer.bias is not None and not layer.is_watched():
        return F.linear_relu(x, layer.weight, layer.bias)
    return F.relu(layer(x))


def pooled(layer: Module, pool: Module, x: Tensor) -> Tensor:
    """``pool(relu(layer(x)))``, as one operation where ``layer`` is a plain `Conv2d` with a bias and ``pool`` a `MaxPool2d`."""
    if _is_biased(layer) and type(pool) is MaxPool2d and not (pool.options["return_indices"] or pool.is_watched()):
        options = {name: value for name, value in pool.options.items() if name != "return_indices"}
        return F.conv2d_relu_max_pool2d(x, layer.weight, layer.bias, options, **layer.geometry)
    return pool(rectified(layer, x))


def side_by_side(layers: Sequence[Module], x: Tensor) -> Tensor:
    """``cat([relu(layer(x)) for layer in layers], 1)``, as one operation where all are plain `Conv2d` with a bias."""
    if all(_is_biased(layer) for layer in layers):
        return F.conv2d_relu_cat(x, [{"weight": layer.weight, "bias": layer.bias, **layer.geometry} for layer in layers])
    return F.cat([rectified(layer, x) for layer in layers], 1)


def normalized(conv: Module, norm: Module, x: Tensor, relu: bool = False) -> Tensor:
    """``norm(conv(x))``, and ReLU if ``relu``; as one convolution where ``conv`` is a plain `Conv2d` and ``norm`` a plain
    `BatchNorm2d` that is not training, which multiplies each channel by a factor and adds a number: the filters can do that.

    The sums are the same but for their rounding. Gradients flow to all parameters as if the layers were apart.
    """
    if not (type(conv) is Conv2d and type(norm) is BatchNorm2d and norm.tracks and not norm.training
            and norm.weight is not None and norm.bias is not None and not conv.is_watched() and not norm.is_watched()):
        return rectified(norm, conv(x)) if relu else norm(conv(x))
    return F.conv2d_norm(x, conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.eps, relu,
                         **conv.geometry)


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
        """All modules in turn; `BatchNorm2d`, `ReLU` and `MaxPool2d` are joined with the layer before them (`normalized`,
        `rectified`, `pooled`)."""
        modules = list(self)
        while modules:
            layer = modules.pop(0)
            norm = _next(modules, BatchNorm2d) if type(layer) is Conv2d else None
            relu = _next(modules, ReLU)
            pool = _next(modules, MaxPool2d) if type(layer) is Conv2d and norm is None and relu is not None else None
            if norm is not None:
                x = normalized(layer, norm, x, relu is not None)
            elif pool is not None:
                x = pooled(layer, pool, x)
            else:
                x = layer(x) if relu is None else rectified(layer, x)
        return x

    def __iter__(self) -> Iterator[Module]:
        return (child for _, child in self.named_children())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, index: int | slice) -> Any:
        children = list(self)
        return Sequential(*children[index]) if isinstance(index, slice) else children[index]


def _next(modules: list[Module], kind: type[Module]) -> Module | None:
    """The first of the modules, taken away, if it is of this kind and nobody watches it."""
    return modules.pop(0) if modules and type(modules[0]) is kind and not modules[0].is_watched() else None


def _is_biased(layer: Any) -> bool:
    """Whether the layer is a plain `Conv2d` with a bias that nobody watches."""
    return type(layer) is Conv2d and layer.bias is not None and not layer.is_watched()
