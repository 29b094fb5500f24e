"""Maps of what counts, from gradients: one pass backward tells for every pixel at once how the score would change."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import functional as F
from ..autograd import grad
from ..nn import Module
from ..tensor import Tensor
from .inside import (
    check_baseline,
    check_counts,
    check_images,
    check_labels,
    check_model,
    check_numbers,
    find_layer,
    input_gradient,
    score_of,
)


def saliency(model: Module, image: Any, target: int) -> np.ndarray:
    """|d score / d pixel| (Simonyan, Vedaldi and Zisserman 2014, section 3): (C, H, W).

    Args:
        image: (C, H, W) with values in [0, 1].
        target: the class whose score is meant, before the softmax.
    """
    x, label = _prepare(model, image, target)
    return np.abs(_gradient(model, x, label))[0]


def gradient_times_input(model: Module, image: Any, target: int) -> np.ndarray:
    """(d score / d pixel) * pixel: how much the pixel's brightness adds, if the score were linear; (C, H, W)."""
    x, label = _prepare(model, image, target)
    return (_gradient(model, x, label) * x)[0]


def smooth_grad(
    model: Module, image: Any, target: int, samples: int = 25, noise: float = 0.15, seed: int = 0, batch_size: int = 25,
) -> np.ndarray:
    """The mean of the gradients at ``samples`` noisy copies of the image (Smilkov et al. 2017): (C, H, W).

    Args:
        noise: the standard deviation, as a share of the image's range (10 to 20 % in the paper).
        seed: of the noise.
    """
    x, label = _prepare(model, image, target)
    check_counts(samples=samples, batch_size=batch_size)
    check_numbers(noise=noise)
    spread = noise * float(x.max() - x.min())
    generator = np.random.Generator(np.random.PCG64(seed))
    total = np.zeros(x.shape[1:], np.float64)
    for start in range(0, samples, batch_size):
        shape = (min(batch_size, samples - start), *x.shape[1:])
        noisy = x + spread * generator.standard_normal(shape).astype(x.dtype)
        total += _gradient(model, noisy.astype(x.dtype), np.repeat(label, len(noisy))).sum(axis=0)
    return (total / samples).astype(x.dtype)


def integrated_gradients(
    model: Module, image: Any, target: int, baseline: float | np.ndarray = 0.0, steps: int = 50, batch_size: int = 25,
) -> np.ndarray:
    """(image - baseline) * the mean gradient on the straight way from the baseline to the image: (C, H, W).

    Sundararajan, Taly and Yan 2017, equation 1. The attributions add up to the difference of the two scores. The integral
    is taken by Gauss and Legendre's rule with ``steps`` points, as captum does by default.
    """
    x, label = _prepare(model, image, target)
    check_counts(steps=steps, batch_size=batch_size)
    start = check_baseline(baseline, x)
    places, weights = np.polynomial.legendre.leggauss(steps)
    places, weights = (1 + places) / 2, weights / 2
    total = np.zeros(x.shape[1:], np.float64)
    for first in range(0, steps, batch_size):
        part = slice(first, first + batch_size)
        way = places[part].astype(x.dtype).reshape(-1, 1, 1, 1)
        gradient = _gradient(model, start + way * (x - start), np.repeat(label, len(way)))
        total += np.tensordot(weights[part], gradient, axes=1)
    return ((x - start)[0] * total).astype(x.dtype)


def grad_cam(model: Module, image: Any, target: int, layer: str) -> np.ndarray:
    """Where in a layer the evidence for a class is (Selvaraju et al. 2017, equations 1 and 2).

    Each channel of the layer's activation is weighted by the mean of its gradient; what is positive in the sum is kept.

    Args:
        layer: the path of a layer whose activation has pixels, such as the last convolution's.

    Returns:
        (h, w), the size of the layer's activation; `to_map` enlarges it.
    """
    x, label = _prepare(model, image, target)
    module = find_layer(model, layer)
    seen: list[Tensor] = []

    def keep(module: Module, inputs: tuple, output: Tensor) -> None:
        seen.append(output)

    with module.register_forward_hook(keep):
        output = model(Tensor(x, requires_grad=True))
    if not seen or seen[0].ndim != 4:
        raise ValueError(f"layer {layer!r} has no pixels (its activation is {seen[0].shape if seen else 'not there'}); "
                         "choose a convolution or a pooling layer")
    (gradient,) = grad(score_of(label)(output), seen[0])
    weights = gradient.numpy().mean(axis=(2, 3), keepdims=True)
    return np.maximum((weights * seen[0].numpy()).sum(axis=1)[0], 0)


def evidence(attribution: np.ndarray) -> np.ndarray:
    """What of an attribution (C, H, W) speaks for the class, (H, W): the sum over the channels, where it is positive.

    Of the brightest twentieth of the pixels that integrated gradients find in a photograph, half speak against the class. A map
    of their size alone mixes both; given back in its order, pixels brought a tenth of the probability that those for it bring.
    """
    return np.maximum(np.asarray(attribution).sum(axis=0), 0)


def to_map(attribution: np.ndarray, size: tuple[int, int] | None = None, signed: bool = False) -> np.ndarray:
    """An attribution as one number for each pixel, (H, W), in [0, 1], or in [-1, 1] if ``signed``.

    Channels are summed, after their absolute value is taken unless ``signed``. The largest hundredth of the values is cut
    off before scaling: a few single pixels would leave the rest of the map black. A map without any evidence is zeros.

    Args:
        attribution: (C, H, W) or (h, w).
        size: (H, W) to enlarge to, bilinearly.
    """
    heat = np.asarray(attribution, np.float32)
    heat = heat if signed else np.abs(heat)
    heat = heat.sum(axis=0) if heat.ndim == 3 else heat
    if size is not None and heat.shape != tuple(size):
        heat = F.interpolate(Tensor(heat[None, None].copy()), tuple(size), mode="bilinear").numpy()[0, 0]
    reach = float(np.quantile(np.abs(heat), 0.99)) or float(np.abs(heat).max())
    return np.clip(heat / reach, -1, 1) if reach > 0 else np.zeros_like(heat)


def _prepare(model: Module, image: Any, target: int) -> tuple[np.ndarray, np.ndarray]:
    check_model(model)
    x = check_images(image, "image", single=True)
    return x, check_labels(target, 1, "target")


def _gradient(model: Module, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return input_gradient(model, images, score_of(labels))[0]
