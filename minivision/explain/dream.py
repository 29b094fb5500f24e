"""DeepDream: what a layer sees a little of, it shall see more of (Mordvintsev, Olah and Tyka 2015).

Four steps, again and again: (1) forward to a layer; (2) set the gradient there to the activation itself; (3) backward to
the image; (4) add that to the image. Step 2 is the gradient of half the sum of the squared activations, so the image climbs
I* = arg max of the sum of f_i(I)^2 over everything the layer answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import functional as F
from ..autograd import grad
from ..nn import Module
from ..tensor import Tensor
from .inside import Progress, activation, check_counts, check_images, check_model, check_numbers

Frame = Callable[[np.ndarray], Any]


def deepdream(
    model: Module, image: Any, layer: str, channel: int | None = None, steps: int = 10, octaves: int = 4, scale: float = 1.4,
    jitter: int = 32, step: float = 1.5 / 255, *, seed: int = 0, progress: Progress | None = None, frame: Frame | None = None,
) -> np.ndarray:
    """The image (C, H, W) in [0, 1] as the network dreams it on.

    Args:
        image: (C, H, W) with values in [0, 1]; any size that the layers before ``layer`` take.
        layer: the path of a layer. Early ones dream of edges and waves, late ones of things.
        channel: dream of one channel of the layer only.
        steps: in each octave.
        octaves: sizes of the image, from ``scale`` ** (octaves - 1) times smaller up to its own: what is dreamt small
            grows large. An octave ends up in the next as a difference, so that the photo's detail stays.
        jitter: in each step the image is rolled by up to so many pixels, so that no grid shows.
        step: the mean change of a pixel in a step.
        seed: of the jitter.
        frame: called with the image (C, H, W) of the first octave's size after each step, for an animation.

    Raises:
        ValueError: no such layer or channel, or an octave too small for the network.
    """
    check_model(model)
    x = check_images(image, "image", single=True)
    check_counts(octaves=octaves)
    check_counts(0, steps=steps, jitter=jitter)
    check_numbers(step=step)
    if not 1 < scale < math.inf:
        raise ValueError(f"scale is {scale}; expected more than 1")
    generator = np.random.Generator(np.random.PCG64(seed))
    bases = [x]
    for _ in range(octaves - 1):
        size = tuple(round(length / scale) for length in bases[-1].shape[2:])
        if any(length >= before for length, before in zip(size, bases[-1].shape[2:])):
            raise ValueError(f"{octaves} octaves by {scale} leave nothing of {x.shape[2]} x {x.shape[3]} pixels; ask for fewer")
        bases.append(zoom(bases[-1], size))
    detail = np.zeros_like(bases[-1])
    for base in reversed(bases):
        detail = detail if detail.shape == base.shape else zoom(detail, base.shape[2:])
        dreamt = base + detail
        for _ in range(steps):
            down, across = generator.integers(-jitter, jitter + 1, 2) if jitter else (0, 0)
            dreamt = dream_step(model, dreamt, layer, channel, step, (int(down), int(across)))
            if progress is not None:
                progress(1)
            if frame is not None:
                frame(zoom(dreamt, x.shape[2:])[0])
        detail = dreamt - base
    return dreamt[0]


def dream_step(
    model: Module, x: np.ndarray, layer: str, channel: int | None = None, step: float = 1.5 / 255,
    shift: tuple[int, int] = (0, 0),
) -> np.ndarray:
    """The four steps, once, on an image (1, C, H, W) rolled by ``shift`` and rolled back."""
    rolled = Tensor(_rolled(x, shift), requires_grad=True)
    y = activation(model, rolled, layer)                                            # 1. forward to the layer
    upstream = y.detach() if channel is None else _only(y, channel, layer)          # 2. the gradient is the activation
    (gradient,) = grad(y, rolled, upstream)                                         # 3. backward to the image
    g = gradient.numpy()
    size = float(np.abs(g).mean())
    if not math.isfinite(size):
        raise ValueError(f"the gradient of layer {layer!r} is not finite; the model's weights are not, or they are too large")
    changed = rolled.numpy() + g * x.dtype.type(step / max(size, 1e-12))            # 4. update, a mean step of `step`
    return _rolled(np.clip(changed, 0, 1, out=changed), (-shift[0], -shift[1]))


def _rolled(x: np.ndarray, shift: tuple[int, int]) -> np.ndarray:
    return np.roll(x, shift, axis=(2, 3)) if any(shift) else x


def zoom(x: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Bilinear, corner pixels on corner pixels (scipy's ``ndimage.zoom`` of order 1): (1, C, H, W) to another size."""
    return F.interpolate(Tensor(np.ascontiguousarray(x)), tuple(size), mode="bilinear", align_corners=True).numpy()


def _only(y: Tensor, channel: int, layer: str) -> Tensor:
    if not 0 <= channel < y.shape[1]:
        raise ValueError(f"layer {layer!r} has channels 0 to {y.shape[1] - 1}; got channel {channel}")
    kept = np.zeros(y.shape, y.dtype)
    kept[:, channel] = y.numpy()[:, channel]
    return Tensor(kept)
