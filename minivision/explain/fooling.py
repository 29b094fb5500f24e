"""Images made from nothing but a network's gradient: to fool it, or to see what a class looks like to it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..nn import Module
from .attacks import Attack
from .inside import (
    Progress,
    check_counts,
    check_images,
    check_labels,
    check_model,
    check_numbers,
    input_gradient,
    score_of,
    softmax,
)


def fooling_image(
    model: Module, image: Any, target: int, step: float = 1.0, most_steps: int = 200, confidence: float = 0.0, *,
    progress: Progress | None = None,
) -> Attack:
    """Change an image, or noise, until the network takes it for ``target`` (Nguyen, Yosinski and Clune 2015).

    Each step follows the gradient of the target's score, scaled to length ``step`` over all pixels, and is clipped to
    [0, 1]. It ends when the target is the first answer with at least ``confidence``.

    Args:
        image: (C, H, W) with values in [0, 1]: a photo of something else, or noise.
        target: the class it shall be taken for.
        most_steps: after that many it is given up; ``success`` says which.

    Returns:
        An `Attack` of one image. There is no bound on the perturbation but the range of pixels.
    """
    check_model(model)
    x = check_images(image, "image", single=True)
    label = check_labels(target, 1, "target")
    if not 0 < step < np.inf:
        raise ValueError(f"step is {step}; expected more than 0")
    check_counts(0, most_steps=most_steps)
    check_numbers(1, confidence=confidence)
    changed, fooled = x.copy(), False
    for taken in range(most_steps + 1):
        gradient, output = input_gradient(model, changed, score_of(label))
        fooled = bool(output.argmax() == label[0] and softmax(output)[0, label[0]] >= confidence)
        if fooled or taken == most_steps:
            break
        length = float(np.sqrt(np.square(gradient).sum()))
        changed = np.clip(changed + gradient * x.dtype.type(step / max(length, 1e-12)), 0, 1)
        if progress is not None:
            progress(1)
    return Attack(changed, np.array([fooled]), changed - x)


def class_image(
    model: Module, target: int, shape: tuple[int, int, int], steps: int = 100, step: float = 25 / 255, shrink: float = 1e-3,
    jitter: int = 16, blur_every: int = 10, seed: int = 0, *, progress: Progress | None = None,
) -> np.ndarray:
    """An image (C, H, W) in [0, 1] that the network is sure is of ``target`` (Simonyan et al. 2014, section 2).

    Gradient ascent on the score less ``shrink`` times the squared distance from grey, from noise. Rolling the image by up
    to ``jitter`` pixels before each step and blurring it now and then keep it from filling with noise that only this very
    network sees (Yosinski et al. 2015, section 3).
    """
    check_model(model)
    if len(shape) != 3:
        raise ValueError(f"shape is {shape}; expected (C, H, W)")
    check_counts(**dict(zip(("channels", "height", "width"), shape)))
    check_counts(0, steps=steps, jitter=jitter, blur_every=blur_every)
    check_numbers(step=step, shrink=shrink)
    generator = np.random.Generator(np.random.PCG64(seed))
    dtype = next((p.dtype.type for p in model.parameters()), np.float32)
    x = np.clip(0.5 + 0.1 * generator.standard_normal((1, *shape)), 0, 1).astype(dtype)
    label = check_labels(target, 1, "target")
    for i in range(steps):
        shift = tuple(generator.integers(-jitter, jitter + 1, 2)) if jitter else (0, 0)
        x = np.roll(x, shift, axis=(2, 3))
        gradient, _ = input_gradient(model, x, score_of(label))
        gradient = gradient - 2 * shrink * (x - dtype(0.5))
        scale = float(np.sqrt(np.square(gradient).mean()))
        x = np.roll(np.clip(x + dtype(step / max(scale, 1e-12)) * gradient, 0, 1), (-shift[0], -shift[1]), axis=(2, 3))
        if blur_every and i % blur_every == 0:
            x = blurred(x)
        if progress is not None:
            progress(1)
    return x[0]


def blurred(x: np.ndarray) -> np.ndarray:
    """Images (N, C, H, W) under the binomial filter (1, 2, 1) / 4 along both axes; the edge repeats."""
    for axis in (2, 3):
        width = [(0, 0)] * 4
        width[axis] = (1, 1)
        padded = np.moveaxis(np.pad(x, width, mode="edge"), axis, 0)
        x = np.moveaxis((padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4, 0, axis)
    return np.ascontiguousarray(x)
