"""What is inside: the activation of each layer, the first filters, and the patches that excite a channel most."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..autograd import grad, no_grad
from ..nn import Module, Sequential
from ..tensor import Tensor
from .inside import activation, activations, check_counts, check_images, check_model


class Patch(NamedTuple):
    """A part of an image, and how much it excites a channel."""

    image: int                      # which image
    rows: tuple[int, int]           # from, to: the pixels that the answer depends on
    columns: tuple[int, int]
    strength: float


def feature_maps(model: Module, image: Any, layers: Sequence[str]) -> dict[str, np.ndarray]:
    """The activation of each of the layers (or of one, by its name) for one image (C, H, W): (channels, h, w), or (features,)
    behind a flattening."""
    check_model(model)
    x = check_images(image, "image", single=True)
    with no_grad():
        names = [layers] if isinstance(layers, str) else list(layers)
        return {name: y.numpy()[0] for name, y in activations(model, Tensor(x), names).items()}


def outer_layers(model: Module) -> list[str]:
    """The whole blocks, and the layers that are not parts of a block; without those that only prepare or classify."""
    outer = [name for name, module in model.named_modules() if name and not isinstance(module, Sequential)]
    tops = [name for name in outer if not any(name.startswith(other + ".") for other in outer)]
    return [name for name in tops if not name.startswith(("classifier", "normalize", "linear"))]


def first_filters(model: Module) -> np.ndarray:
    """The weights of the first layer that has any: (F, C, KH, KW) of a convolution, (O, I) of a linear layer."""
    for _, parameter in model.named_parameters():
        if parameter.ndim >= 2:
            return parameter.numpy()
    raise ValueError(f"{type(model).__name__} has no layer with weights")


def exciting_patches(
    model: Module, images: Any, layer: str, channel: int, count: int = 9, batch_size: int = 32, per_image: int = 1,
) -> list[Patch]:
    """The places in the images (N, C, H, W) where a channel of a layer answers most, strongest first.

    The pixels that a place depends on are those with a gradient: the receptive field, found by asking instead of by
    arithmetic, and without what lost in a max pooling (Zeiler and Fergus 2014, figure 2, show such patches).

    Args:
        count: at most so many, and fewer where the images have no more.
        per_image: at most so many of one image; none has its centre in the field of a stronger one.
    """
    return exciting_patches_of(model, images, layer, [channel], count, batch_size, per_image)[channel]


def exciting_patches_of(
    model: Module, images: Any, layer: str, channels: Sequence[int] | None = None, count: int = 9, batch_size: int = 32,
    per_image: int = 1, most: int = 12,
) -> dict[int, list[Patch]]:
    """`exciting_patches` for several channels, from one look at the images.

    Args:
        channels: which; left out, the ``most`` that are choosiest: those whose strongest answer is largest as a multiple of
            the spread of their answers.
    """
    check_model(model)
    x = check_images(images, "images")
    check_counts(count=count, per_image=per_image, batch_size=batch_size, most=most)
    if channels is None:
        channels = _choosiest(_answers(model, x, layer, batch_size), most)
    chosen, kept = list(channels), []
    for y in _answers(model, x, layer, batch_size):
        wrong = [channel for channel in chosen if not 0 <= channel < y.shape[1]]
        if wrong:
            raise ValueError(f"layer {layer!r} answers {y.shape[1:]}; expected pixels and a channel {wrong[0]} among them")
        kept.append(y[:, chosen])
    answers = np.concatenate(kept)
    return {channel: _strongest(model, x, layer, channel, answers[:, i].copy(), count, per_image)
            for i, channel in enumerate(chosen)}


def _answers(model: Module, x: np.ndarray, layer: str, batch_size: int) -> Iterator[np.ndarray]:
    """What the layer makes of the images, batch by batch: (n, channels, h, w)."""
    for start in range(0, len(x), batch_size):
        with no_grad():
            y = activation(model, Tensor(x[start:start + batch_size]), layer).numpy()
        if y.ndim != 4:
            raise ValueError(f"layer {layer!r} answers {y.shape[1:]}; expected pixels, so choose a layer before the flattening")
        yield y


def _choosiest(batches: Iterable[np.ndarray], most: int) -> list[int]:
    """The channels whose strongest answer is the most spreads from zero."""
    axes = 0, 2, 3
    seen = [(y.max(axes), y.sum(axes, np.float64), np.square(y, dtype=np.float64).sum(axes), y[:, 0].size) for y in batches]
    strongest = np.max([one[0] for one in seen], axis=0)
    total, squares, count = (sum(one[i] for one in seen) for i in (1, 2, 3))
    spread = np.sqrt(np.maximum(squares / count - (total / count) ** 2, 0))
    return np.sort(np.argsort(-strongest / np.maximum(spread, 1e-12), kind="stable")[:most]).tolist()


def _strongest(
    model: Module, x: np.ndarray, layer: str, channel: int, answers: np.ndarray, count: int, per_image: int,
) -> list[Patch]:
    """The best places of ``answers`` (N, h, w), which are crossed out as they are taken."""
    left = [per_image] * len(x)
    queue = [(-float(one.max()), i) for i, one in enumerate(answers)]       # the best place of each image
    heapq.heapify(queue)
    found: list[Patch] = []
    while queue and len(found) < count:
        strength, i = heapq.heappop(queue)
        if strength == 0:                                                   # a ReLU that is silent everywhere
            continue
        place = int(answers[i].argmax())
        rows, columns = _field(model, x[i:i + 1], layer, channel, place)
        found.append(Patch(i, rows, columns, -strength))
        left[i] -= 1
        if left[i]:
            (H, W), (h, w) = x.shape[2:], answers.shape[1:]
            down, across = (np.arange(h) + 0.5) * H / h, (np.arange(w) + 0.5) * W / w       # about where each place looks
            inside = np.ix_((down >= rows[0]) & (down < rows[1]), (across >= columns[0]) & (across < columns[1]))
            answers[i][inside] = answers[i].flat[place] = -np.inf
            if np.isfinite(answers[i]).any():
                heapq.heappush(queue, (-float(answers[i].max()), i))
    return found


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
