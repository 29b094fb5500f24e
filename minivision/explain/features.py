"""What is inside: the activation of each layer, the first filters, and the patches that excite a channel most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..autograd import grad, no_grad
from ..nn import Module
from ..tensor import Tensor
from .inside import activation, activations, check_images, check_model


class Patch(NamedTuple):
    """A part of an image, and how much it excites a channel."""

    image: int                      # which image
    rows: tuple[int, int]           # from, to: the pixels that the answer depends on
    columns: tuple[int, int]
    strength: float


def feature_maps(model: Module, image: Any, layers: Sequence[str]) -> dict[str, np.ndarray]:
    """The activation of each of the layers for one image (C, H, W): (channels, h, w), or (features,) behind a flattening."""
    check_model(model)
    x = check_images(image, "image", single=True)
    with no_grad():
        return {name: y.numpy()[0] for name, y in activations(model, Tensor(x), list(layers)).items()}


def first_filters(model: Module) -> np.ndarray:
    """The weights of the first layer that has any: (F, C, KH, KW) of a convolution, (O, I) of a linear layer."""
    for _, parameter in model.named_parameters():
        if parameter.ndim >= 2:
            return parameter.numpy()
    raise ValueError(f"{type(model).__name__} has no layer with weights")


def exciting_patches(model: Module, images: Any, layer: str, channel: int, count: int = 9, batch_size: int = 32) -> list[Patch]:
    """Where in the images (N, C, H, W) a channel of a layer answers most, one place per image, strongest first.

    The pixels that a place depends on are those with a gradient: the receptive field, found by asking instead of by
    arithmetic, and without what lost in a max pooling (Zeiler and Fergus 2014, figure 2, show such patches).
    """
    check_model(model)
    x = check_images(images, "images")
    best = []
    with no_grad():
        for start in range(0, len(x), batch_size):
            y = activation(model, Tensor(x[start:start + batch_size]), layer).numpy()
            if y.ndim != 4 or not 0 <= channel < y.shape[1]:
                raise ValueError(f"layer {layer!r} answers {y.shape[1:]}; expected pixels and a channel {channel} among them")
            best += [(float(one.max()), start + i, int(one.argmax())) for i, one in enumerate(y[:, channel])]
    best.sort(key=lambda found: (-found[0], found[1]))
    return [Patch(i, *_field(model, x[i:i + 1], layer, channel, place), strength) for strength, i, place in best[:count]]


def _field(model: Module, x: np.ndarray, layer: str, channel: int, place: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The rows and columns whose pixels one answer depends on."""
    pixels = Tensor(x, requires_grad=True)
    y = activation(model, pixels, layer)
    (gradient,) = grad(y[0, channel].reshape(-1)[place], pixels)
    touched = np.abs(gradient.numpy()[0]).sum(axis=0) > 0
    if not touched.any():                                   # a ReLU that answers zero passes no gradient
        return (0, x.shape[2]), (0, x.shape[3])
    rows, columns = np.flatnonzero(touched.any(axis=1)), np.flatnonzero(touched.any(axis=0))
    return (int(rows[0]), int(rows[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1)
