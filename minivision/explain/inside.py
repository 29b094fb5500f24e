"""What every look into a network needs: checked images, its probabilities, and the activation of a layer."""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from .. import functional as F
from ..autograd import grad, no_grad
from ..nn import Module
from ..tensor import Tensor

Progress = Callable[[int], Any]         # called with the number of items that are done since the last call


def check_images(x: Any, name: str = "x", single: bool = False) -> np.ndarray:
    """``x`` as a float array (N, C, H, W); ``single`` takes one image, (C, H, W) or (1, C, H, W).

    Raises:
        TypeError: it is not an array of floats.
        ValueError: it has another shape, is empty, or has values outside [0, 1].
    """
    array = x.numpy() if isinstance(x, Tensor) else np.asarray(x)
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name} is {array.dtype}; expected float32 or float64 with values in [0, 1] (divide bytes by 255)")
    wanted = "(C, H, W)" if single else "(N, C, H, W)"
    if single and array.ndim == 3:
        array = array[None]
    if array.ndim != 4 or 0 in array.shape or (single and len(array) != 1):
        raise ValueError(f"{name} has shape {np.shape(x)}; expected {wanted}, none of them 0")
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):            # NaN fails both
        raise ValueError(f"{name} has values from {low:g} to {high:g}; expected [0, 1]")
    return np.ascontiguousarray(array)


def check_model(model: Any) -> None:
    """The model is a module in evaluation mode: in training mode dropout and batch statistics would change each answer."""
    if not isinstance(model, Module):
        raise TypeError(f"model is a {type(model).__name__}; expected an nn.Module")
    training = [name for name, module in model.named_modules() if module.training]
    if training:
        raise ValueError(f"the model is in training mode ({training[0] or 'as a whole'}); call model.eval() first")


def check_labels(y: Any, count: int, name: str = "y") -> np.ndarray:
    """One class number for each of ``count`` images, int64; a single number serves for all. See also `check_range`."""
    labels = y.numpy() if isinstance(y, Tensor) else np.asarray(y)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{name} is {labels.dtype}; expected whole numbers, the classes")
    labels = np.broadcast_to(labels, (count,)) if labels.ndim == 0 else labels
    if labels.shape != (count,):
        raise ValueError(f"{name} has shape {labels.shape}; expected ({count},), one class for each image")
    return labels.astype(np.int64)


def check_counts(least: int = 1, **counts: Any) -> None:
    """Each is a whole number, and not less than ``least``."""
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise ValueError(f"{name} is {value!r}; expected a whole number, at least {least}")


def check_numbers(most: float = math.inf, **numbers: Any) -> None:
    """Each is a finite number from 0 to ``most``."""
    for name, value in numbers.items():
        if not isinstance(value, Real) or not 0 <= float(value) <= min(most, sys.float_info.max):
            raise ValueError(f"{name} is {value!r}; expected a number {'>= 0' if most == math.inf else f'from 0 to {most:g}'}")


def check_baseline(baseline: Any, x: np.ndarray) -> np.ndarray:
    """What is shown instead of the image ``x`` (1, C, H, W): a number, or an image like it; finite. The image's shape."""
    shown = np.asarray(baseline, x.dtype)
    if shown.shape not in ((), x.shape[1:], x.shape):
        raise ValueError(f"baseline has shape {shown.shape}; expected a number or an image of {x.shape[1:]}")
    if not np.isfinite(shown).all():
        raise ValueError("baseline has values that are not finite")
    return np.broadcast_to(shown, x.shape)


def check_range(labels: np.ndarray, output: Any, name: str = "y") -> None:
    """The model, whose scores (N, classes) show how many classes it has, has all of these."""
    classes = output.shape[1]
    if labels.min() < 0 or labels.max() >= classes:
        wrong = labels[(labels < 0) | (labels >= classes)][0]
        raise ValueError(f"{name} has class {wrong}; the model has {classes} classes, 0 to {classes - 1}")


def scores(model: Module, images: np.ndarray, batch_size: int = 32, progress: Progress | None = None) -> np.ndarray:
    """The model's scores (N, classes), without recording."""
    check_counts(batch_size=batch_size)
    rows = []
    with no_grad():
        for start in range(0, len(images), batch_size):
            rows.append(model(Tensor(images[start:start + batch_size])).numpy())
            if progress is not None:
                progress(len(rows[-1]))
    return _finite(np.concatenate(rows))


def _finite(rows: np.ndarray) -> np.ndarray:
    """The scores, if they are numbers: what is not finite would go through every formula here and come out as a picture."""
    if not np.isfinite(rows).all():
        raise ValueError("the model's scores are not finite; its weights are not, or they are too large")
    return rows


def softmax(rows: np.ndarray) -> np.ndarray:
    """Scores (N, classes) as probabilities."""
    return F.softmax(Tensor(rows), 1).numpy()


def probabilities(model: Module, images: Any, batch_size: int = 32, progress: Progress | None = None) -> np.ndarray:
    """The model's probability of each class for each image, (N, classes)."""
    check_model(model)
    return softmax(scores(model, check_images(images), batch_size, progress))


def input_gradient(model: Module, images: np.ndarray, objective: Callable[[Tensor], Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """The gradient of ``objective`` (of the scores; a single number) to the images, and the scores."""
    x = Tensor(images, requires_grad=True)
    output = model(x)
    (gradient,) = grad(objective(output), x)
    return gradient.numpy(), _finite(output.numpy())


def score_of(labels: np.ndarray) -> Callable[[Tensor], Tensor]:
    """The sum of each image's score of its class. Images do not mix, so its gradient is each score's own."""
    def objective(output: Tensor) -> Tensor:
        check_range(labels, output, "target")
        return output[np.arange(len(labels)), labels].sum()

    return objective


def loss_of(labels: np.ndarray) -> Callable[[Tensor], Tensor]:
    """The sum of the images' cross-entropies with their classes."""
    def objective(output: Tensor) -> Tensor:
        check_range(labels, output)
        return F.cross_entropy(output, Tensor(labels), reduction="sum")

    return objective


# ----------------------------------------------------------------------------------------------------- layers

class _Reached(Exception):
    """The layer that was asked for has answered; the rest of the network need not run."""


def find_layer(model: Module, name: str) -> Module:
    """The module of that path, such as "features.3".

    Raises:
        ValueError: there is none; the nearest names are suggested.
    """
    modules = dict(model.named_modules())
    modules.pop("", None)
    if name in modules:
        return modules[name]
    near = difflib.get_close_matches(str(name), modules, n=3, cutoff=0.3) or list(modules)[:3]
    raise ValueError(f"the model has no layer {name!r}; did you mean {', '.join(near)}?")


def activation(model: Module, x: Tensor, layer: str) -> Tensor:
    """What ``layer`` makes of the images ``x``, with its graph if ``x`` requires a gradient. The network stops there."""
    (result,) = activations(model, x, [layer]).values()
    return result


def activations(model: Module, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """What each of the layers makes of the images ``x``; the network stops when the last of them has answered."""
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: Module, inputs: tuple, output: Any) -> None:
            found[name] = output
            if len(found) == len(set(layers)):
                raise _Reached
        return hook

    handles = [find_layer(model, name).register_forward_hook(keep(name)) for name in layers]
    try:
        model(x)
    except _Reached:
        pass
    finally:
        for handle in handles:
            handle.remove()
    missing = [name for name in layers if name not in found]
    if missing:
        raise ValueError(f"the model's forward does not call layer {missing[0]!r}; ask for another one")
    return {name: found[name] for name in layers}
