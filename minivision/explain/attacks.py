"""Adversarial images: changes too small to see that change the network's answer.

A network is nearly linear in its pixels, so that many small steps, each to the side where the loss grows, add up to a
large one (Goodfellow, Shlens and Szegedy 2015). Every attack here keeps two promises, which it checks before it returns:
no pixel leaves [0, 1], and no pixel moves by more than ``eps`` (in the l2 norm: no image), but for the last bit of ``eps``.
A sum is rounded to the pixel's precision, which is far coarser: where that leads out of the ball, the next float inside is
taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..nn import Module
from .inside import (
    Progress,
    check_counts,
    check_images,
    check_labels,
    check_model,
    check_numbers,
    check_range,
    input_gradient,
    loss_of,
    scores,
)


class Attack(NamedTuple):
    """The images of an attack and what became of them."""

    images: np.ndarray              # (N, C, H, W) in [0, 1]
    success: np.ndarray             # (N,) bool: the answer is wrong, or, if targeted, the target
    perturbation: np.ndarray        # images - originals


def fgsm(model: Module, x: Any, y: Any, eps: float, targeted: bool = False) -> Attack:
    """One step of size ``eps`` in the direction of the gradient's sign (Goodfellow et al. 2015, section 4).

        x + eps * sign(d loss / d x), clipped to [0, 1]; sign(0) = 0

    Args:
        x: (N, C, H, W) with values in [0, 1].
        y: the true class of each image; if ``targeted``, the class it shall be taken for, and the step goes downhill.
        eps: the largest change of a pixel, 0 or more.

    Raises:
        TypeError, ValueError: images outside [0, 1], classes the model does not have, an eps that is negative or not
            finite, a model in training mode, or one whose scores are not finite.
    """
    x, labels, eps = _prepare(model, x, y, eps)
    gradient, _ = input_gradient(model, x, loss_of(labels))
    step = np.sign(gradient) * x.dtype.type(-eps if targeted else eps)
    return _finish(model, x, _projection(x, eps, "linf")(x + step), labels, eps, targeted, "linf")


def pgd(
    model: Module, x: Any, y: Any, eps: float, alpha: float | None = None, steps: int = 10, random_start: bool = True,
    targeted: bool = False, norm: str = "linf", *, seed: int = 0, progress: Progress | None = None,
) -> Attack:
    """``steps`` steps of size ``alpha``, each put back into the ball of radius ``eps`` (Madry et al. 2018, section 2.1).

    Ten steps with eps 8/255 leave ResNet-20 0 right of 1,000 test images of CIFAR-10, of which it gets 915 right as they are;
    with eps 2/255 they leave it about a dozen.

    Args:
        alpha: 2.5 eps / steps where left out, so that the edge of the ball can be reached and walked along.
        random_start: begin at a random point of the ball instead of its centre.
        norm: "linf": a step adds alpha times the gradient's sign, and no pixel moves by more than eps. "l2": a step has
            length alpha, and the whole change of an image at most length eps.
        seed: of the random start.
        progress: called with 1 after each step.
        x, y, targeted: as in `fgsm`, with its errors.
    """
    x, labels, eps = _prepare(model, x, y, eps)
    if norm not in ("linf", "l2"):
        raise ValueError(f'norm is {norm!r}; expected "linf" or "l2"')
    check_counts(steps=steps)
    alpha = 2.5 * eps / steps if alpha is None else alpha
    check_numbers(alpha=alpha)
    alpha = min(alpha, x[0].size)           # farther than any corner, and still a float32
    project = _projection(x, eps, norm)
    adversarial = project(_random_start(x, eps, norm, seed)) if random_start else x
    for _ in range(steps):
        gradient, _ = input_gradient(model, adversarial, loss_of(labels))
        moved = adversarial + _direction(gradient, norm) * x.dtype.type(-alpha if targeted else alpha)
        adversarial = project(moved)
        if progress is not None:
            progress(1)
    return _finish(model, x, adversarial, labels, eps, targeted, norm)


def universal(
    model: Module, x: Any, y: Any, eps: float, steps: int = 10, batch_size: int = 100, *, progress: Progress | None = None,
) -> np.ndarray:
    """One change (C, H, W), at most ``eps`` in each pixel, that turns as many of the images as it can.

    The images' mean gradient is followed, batch after batch, ``steps`` times over all of them (Shafahi et al. 2020,
    section 4; Moosavi-Dezfooli et al. 2017 found that such changes exist). Use: ``np.clip(images + change, 0, 1)``.
    """
    x, labels, eps = _prepare(model, x, y, eps)
    check_counts(steps=steps, batch_size=batch_size)
    change = np.zeros(x.shape[1:], x.dtype)
    alpha = x.dtype.type(2.5 * eps / steps)
    for _ in range(steps):
        for start in range(0, len(x), batch_size):
            part = slice(start, start + batch_size)
            gradient, _ = input_gradient(model, np.clip(x[part] + change, 0, 1), loss_of(labels[part]))
            change = np.clip(change + alpha * np.sign(gradient.sum(axis=0)), -eps, eps).astype(x.dtype)
        if progress is not None:
            progress(1)
    return change


def robustness(
    model: Module, x: Any, y: Any, epsilons: Sequence[float], steps: int = 10, batch_size: int = 100, *,
    progress: Progress | None = None, seed: int = 0,
) -> np.ndarray:
    """The share of images that the model still gets right under `pgd` (linf) with each of the ``epsilons``."""
    x, labels, _ = _prepare(model, x, y, 0)
    check_counts(steps=steps, batch_size=batch_size)
    for eps in epsilons:
        check_numbers(eps=eps)
    right = np.zeros(len(epsilons))
    for i, eps in enumerate(epsilons):
        for start in range(0, len(x), batch_size):
            part = slice(start, start + batch_size)
            if eps:
                right[i] += (~pgd(model, x[part], labels[part], eps, steps=steps, seed=seed).success).sum()
            else:
                rows = scores(model, x[part], batch_size)
                check_range(labels[part], rows)
                right[i] += (rows.argmax(1) == labels[part]).sum()
            if progress is not None:
                progress(1)
    return right / len(x)


def _prepare(model: Module, x: Any, y: Any, eps: float) -> tuple[np.ndarray, np.ndarray, float]:
    """The images, the labels, and eps, but no more than the way from the blackest image to the whitest."""
    check_model(model)
    x = check_images(x)
    check_numbers(eps=eps)
    return x, check_labels(y, len(x)), min(float(eps), x[0].size ** 0.5)


def _direction(gradient: np.ndarray, norm: str) -> np.ndarray:
    if norm == "linf":
        return np.sign(gradient)
    return gradient / np.maximum(_lengths(gradient), 1e-12).astype(gradient.dtype)


def _lengths(x: np.ndarray) -> np.ndarray:
    """The l2 norm of each image, (N, 1, 1, 1), added up in float64."""
    return np.sqrt(np.square(x, dtype=np.float64).sum(axis=(1, 2, 3), keepdims=True))


def _random_start(x: np.ndarray, eps: float, norm: str, seed: int) -> np.ndarray:
    generator = np.random.Generator(np.random.PCG64(seed))
    if norm == "linf":
        change = generator.uniform(-eps, eps, x.shape)
    else:                           # uniform in the ball: a direction, and a radius whose volume is uniform
        change = generator.standard_normal(x.shape)
        change *= eps * generator.uniform(0, 1, (len(x), 1, 1, 1)) ** (1 / x[0].size) / np.maximum(_lengths(change), 1e-12)
    return (x + change).astype(x.dtype)


def _projection(x: np.ndarray, eps: float, norm: str) -> Callable[[np.ndarray], np.ndarray]:
    """What brings an image to the nearest one within ``eps`` of ``x``, clipped to [0, 1], which brings it nearer still."""
    if norm == "linf":
        low, high = (np.clip(x.astype(np.float64) + way, 0, 1).astype(x.dtype) for way in (-eps, eps))
        low, high = (np.where(np.abs(np.subtract(edge, x, dtype=np.float64)) > eps, np.nextafter(edge, x), edge)
                     for edge in (low, high))
        return lambda moved: np.clip(moved, low, high)

    def project(moved: np.ndarray) -> np.ndarray:
        change = np.subtract(moved, x, dtype=np.float64)
        lengths = np.maximum(_lengths(change), 1e-12)
        share, less = np.minimum(1, eps / lengths), 2.0 ** -20
        while True:
            near = np.clip(x + change * share, 0, 1).astype(x.dtype)
            outside = _lengths(near - x) > eps                  # by rounding: such an image goes a little less far
            if not outside.any():
                return near
            share = np.where(outside, max(0, 1 - less) * eps / lengths, share)
            less *= 2

    return project


def _finish(
    model: Module, x: np.ndarray, adversarial: np.ndarray, labels: np.ndarray, eps: float, targeted: bool, norm: str,
) -> Attack:
    """Keep the promises, or say so: what is checked here is what a caller relies on."""
    change = adversarial - x
    sizes = np.abs(change) if norm == "linf" else _lengths(change)
    last_bit = float(np.spacing(x.dtype.type(eps)))
    if not (sizes.max() <= eps + last_bit and adversarial.min() >= 0 and adversarial.max() <= 1):      # NaN is neither
        raise AssertionError(f"an attack broke its promise: changed by {sizes.max()}, eps {eps}")
    answers = scores(model, adversarial).argmax(axis=1)
    return Attack(adversarial, answers == labels if targeted else answers != labels, change)
