"""Chapter 9: seeing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ....data import digits
from ...checks import Custom, Values
from ...checks.sizes import Sizes
from ...spec import Chapter, Exercise, Mutant
from ...work import Work
from ..pictures import beside, shades
from . import oracles

TEXT = """
What does a machine see in a picture? For a long time the answer was written by hand: edges, and in which direction they run.
Then networks found answers of their own, and the question had to be asked anew, of something that cannot speak.

There are three ways to ask it. Cover a part of the picture and see if it changes its mind. Compute how it should change for
the network to be wrong. Or let it paint: change the picture so that it sees more of what it sees. The last two are backward
passes like all the others of this track, only that they do not stop at the weights but go on, to the image.
"""

# ---------------------------------------------------------------------------------------------- HoG


def hog_inputs(random: np.random.Generator, h: int, w: int) -> tuple[Any, ...]:
    return (random.uniform(0, 1, (h, w)),)


def directions(work: Work) -> None:
    """The strongest direction of each cell of a disc, drawn as the edge that it belongs to."""
    with work.stage("a disc"):
        y, x = np.indices((96, 96)) - 47.5
        disc = np.clip(36.5 - np.hypot(y, x), 0, 1)
        cells = np.asarray(work.get("hog_cells")(disc))
        work.same("the cells of a disc", cells, oracles.hog_cells(disc), atol=1e-6, rtol=1e-5)
    strokes = [" ".join("|//---\\\\|"[int(cell.argmax())] if cell.max() > 0.02 else "." for cell in row) for row in cells]
    work.note("the strongest edge in each cell of a bright disc:")
    work.note("\n".join("  " + line for line in strokes))


hog_cells = Exercise(
    "hog_cells",
    "histograms of edge directions in cells of 8 x 8 pixels",
    ("down, right, magnitude and angle are (H, W) like the image; the result is (H // 8, W // 8, 9).",
     "bin = angle // 20 with angle = degrees of arctan2(down, right), modulo 180. The cell of pixel (y, x) is (y // 8, x // "
     "8). Sum the magnitudes, divide by 64.",
     "cells[y // 8, x // 8, int(angle[y, x] // 20)] += magnitude[y, x] / 64, for all pixels with y // 8 and x // 8 inside"),
    Values("hog_cells", oracles.hog_cells, hog_inputs, Sizes(dict(h=19, w=26), dict(h=(1, 20), w=(1, 20))),
           atol=1e-6, rtol=1e-5, also=(directions,)),
    (Mutant("each pixel counts as 1, not by its magnitude", "magnitude[here][bins[here] == o].sum()",
            "(bins[here] == o).sum()"),
     Mutant("rows and columns are mixed up in the angle", "np.arctan2(down, right)", "np.arctan2(right, down)"),
     Mutant("angles go up to 360, so that opposite gradients are told apart", "% 180\n    bins = (angle // 20)",
            "% 360\n    bins = (angle // 40)"),
     Mutant("it is not divided by the pixels of a cell", ".sum() / 64", ".sum()", "scaled by 64"),
     Mutant("the difference is divided by 2", "hypot(right, down)", "hypot(right, down) / 2", "scaled by 0.5"),
     Mutant("the nearest bin is taken, as if bins were centred on multiples of 20", "(angle // 20)",
            "(np.rint(angle / 20) % 9)"),
     Mutant("the border has differences of its own, to the one neighbour there is",
            "down[1:-1] = image[2:] - image[:-2]\n    right[:, 1:-1] = image[:, 2:] - image[:, :-2]",
            "padded = np.pad(image, 1, mode='edge')\n    down, right = padded[2:, 1:-1] - padded[:-2, 1:-1], padded[1:-1, 2:] "
            "- padded[1:-1, :-2]")))


# ---------------------------------------------------------------------------------------------- occlusion

def occlusion_inputs(random: np.random.Generator, h: int, w: int, size: int, stride: int) -> tuple[Any, ...]:
    weights = random.standard_normal((h, w))

    def probability(image: np.ndarray) -> float:
        return float(1 / (1 + np.exp(-(weights * image).sum() / 3)))

    return probability, random.uniform(0, 1, (h, w)), size, stride, 0.5


def what_a_digit_hangs_on(work: Work) -> None:
    with work.stage("a digit"):
        w, b = oracles.reader()
        image, label = digits("test").images[9, 0].astype(float), int(digits("test").labels[9])

        def probability(picture: np.ndarray) -> float:
            z = picture.ravel() @ w + b
            return float(np.exp(z[label] - z.max()) / np.exp(z - z.max()).sum())

        found = np.asarray(work.get("occlusion_map")(probability, image, 2, 1, 0.0))
    sure = f"{probability(image):.0%}"
    work.note(f"a digit, and what its being an {label} ({sure} sure) hangs on (bright: if hidden, it is lost):")
    work.note("\n".join("  " + line for line in beside(shades(image), shades(1 - found))))


occlusion = Exercise(
    "occlusion",
    "the probability of a class, with a patch at each place of the image",
    ("The map has ceil((H - size) / stride) + 1 rows and as many columns by W.",
     "Position (i, j): the patch covers rows i * stride up to i * stride + size, columns likewise; a slice that goes beyond "
     "the edge ends there by itself.",
     "covered = image.copy(); covered[i * stride:i * stride + size, j * stride:j * stride + size] = fill; "
     "found[i, j] = probability(covered)"),
    Values("occlusion_map", oracles.occlusion_map, occlusion_inputs,
           Sizes(dict(h=8, w=11, size=3, stride=2), dict(h=(1, 7), w=(1, 7), size=(1, 4), stride=(1, 4)),
                 lambda h, w, size, **_: size <= min(h, w)), also=(what_a_digit_hangs_on,)),
    (Mutant("the patches stay in the image", "covered = image.copy()", "covered = image", "input changed"),
     Mutant("only patches that lie in the image as a whole", "-(-(H - size) // stride) + 1, -(-(W - size) // stride) + 1",
            "(H - size) // stride + 1, (W - size) // stride + 1", "wrong shape"),
     Mutant("the stride is forgotten", "covered[i * stride:i * stride + size, j * stride:j * stride + size]",
            "covered[i:i + size, j:j + size]"),
     Mutant("the patch is black, whatever was asked for", "= fill", "= 0"),
     Mutant("the map is what is lost, not what is left", "probability(covered)", "probability(image) - probability(covered)"),
     Mutant("rows and columns of the patch are mixed up", "covered[i * stride:i * stride + size, j * stride:j * stride + size]",
            "covered[j * stride:j * stride + size, i * stride:i * stride + size]")))


# ---------------------------------------------------------------------------------------------- FGSM

def fgsm_inputs(random: np.random.Generator, n: int, d: int, m: int) -> tuple[Any, ...]:
    """The loss does not depend on the first pixel."""
    w = random.standard_normal((d, m))
    w[0] = 0
    return w, random.standard_normal(m), random.uniform(0, 1, (n, d)), random.integers(0, m, n), 0.125


def its_gradient(work: Work) -> None:
    with work.stage("input_gradient"):
        given = fgsm_inputs(np.random.default_rng(0), 3, 5, 4)[:4]
        work.same("input_gradient", work.get("input_gradient")(*given), oracles.input_gradient(*given), 1e-7, 1e-6)


def attack(work: Work) -> None:
    with work.stage("an attack"):
        data, (w, b) = digits("test"), oracles.reader()
        x, labels = data.images.reshape(-1, 64).astype(float), data.labels
        attacked = {eps: np.asarray(work.get("fgsm")(w, b, x, labels, eps)) for eps in (0.0, 0.05, 0.1, 0.2)}
    for eps, images in attacked.items():
        share = float(((images @ w + b).argmax(axis=1) == labels).mean())
        work.note(f"  eps {eps:<5}{share:6.1%} of the digits are read right {'#' * round(30 * share)}")
    k = int(np.flatnonzero((attacked[0.1] @ w + b).argmax(axis=1) != labels)[0])
    answers = [int((images[k] @ w + b).argmax()) for images in (attacked[0.0], attacked[0.1])]
    work.note(f"read as {answers[0]}, and with eps 0.1 as {answers[1]}:")
    pictures = [shades(attacked[eps][k].reshape(8, 8), 0, 1) for eps in (0.0, 0.1)]
    work.note("\n".join("  " + line for line in beside(*pictures)))


def check_fgsm(work: Work) -> None:
    its_gradient(work)
    Values("fgsm", oracles.fgsm, fgsm_inputs, Sizes(dict(n=2, d=5, m=3), dict(n=(0, 3), d=(1, 5), m=(2, 4))),
           also=(attack,)).run(work)


fgsm = Exercise(
    "fgsm",
    "an attack on a classifier: one step along the sign of the input's gradient",
    ("The input's gradient and the attacked images have the shape of x, (N, D).",
     "d loss / d z is p - onehot, of shape (N, M), and z = x @ w + b, so the gradient of x is that times w transposed. Then "
     "add eps times its sign, and clip to [0, 1].",
     "grad_x[n, d] = sum over m of (p[n, m] - (m == labels[n])) * w[d, m]; new[n, d] = clip(x[n, d] + eps * sign(grad_x[n, "
     "d]), 0, 1)"),
    Custom(check_fgsm),
    (Mutant("downhill: the loss gets smaller", "x + eps * np.sign", "x - eps * np.sign"),
     Mutant("the gradient itself, not its sign", "np.sign(input_gradient(w, b, x, labels))", "input_gradient(w, b, x, labels)"),
     Mutant("it is not clipped to [0, 1]", "np.clip(x + eps * np.sign(input_gradient(w, b, x, labels)), 0, 1)",
            "x + eps * np.sign(input_gradient(w, b, x, labels))"),
     Mutant("the 1 of the right class is not subtracted", "grad_z[np.arange(len(x)), labels] -= 1", "pass"),
     Mutant("zero counts as positive", "np.sign(input_gradient(w, b, x, labels))",
            "np.where(input_gradient(w, b, x, labels) >= 0, 1, -1)"),
     Mutant("the gradient is a mean, not that of the sum", "grad_z @ w.T", "grad_z @ w.T / len(x)", "divided by batch"),
     Mutant("the weights are not transposed", "grad_z @ w.T", "grad_z @ w", "ValueError")))


# ---------------------------------------------------------------------------------------------- DeepDream

def dream_inputs(random: np.random.Generator, h: int, w: int, f: int, k: int) -> tuple[Any, ...]:
    return random.uniform(0, 1, (h, w)), random.standard_normal((f, k, k)), 0.125


def nothing_to_see(work: Work) -> None:
    with work.stage("nothing to see"), np.errstate(all="ignore"):
        image = np.full((4, 5), 0.5)
        work.same("dream_step where the layer answers nothing, so that the gradient is 0",
                  work.get("dream_step")(image.copy(), -np.ones((1, 2, 2)), 0.1), image)


def dream(work: Work) -> None:
    """Noise, and a filter for diagonal stripes, forty steps later."""
    with work.stage("a dream"):
        step: Callable[..., np.ndarray] = work.get("dream_step")
        noise = np.random.default_rng(3).uniform(0.3, 0.7, (10, 20))
        filters = np.array([[[2.0, -1, -1], [-1, 2, -1], [-1, -1, 2]]])
        image = noise
        for _ in range(40):
            image = step(image, filters, 0.02)
        before, after = (oracles.energy(picture, filters) for picture in (noise, image))
        if not after > 2 * before:
            work.fail(f"forty steps took the energy from {before:.3g} to {after:.3g}; it should grow", "it does not climb")
    work.note(f"noise, and what a filter for diagonal lines made of it in forty steps (energy {before:.3g} to {after:.3g}):")
    work.note("\n".join("  " + line for line in beside(shades(noise, 0, 1), shades(image, 0, 1))))


deepdream = Exercise(
    "deepdream",
    "one step of DeepDream: the layer's answer is its own gradient",
    ("y has the shape of the layer's output, g and the result that of the image.",
     "The upstream gradient of 1/2 sum of y^2 is y. Then image + step * g / mean(|g|), clipped to [0, 1]; mind g = 0.",
     "g = layer_backward(image, filters, layer(image, filters)); divide by max(np.abs(g).mean(), 1e-12)"),
    Values("dream_step", oracles.dream_step, dream_inputs,
           Sizes(dict(h=5, w=7, f=2, k=3), dict(h=(1, 5), w=(1, 5), f=(1, 3), k=(1, 3)),
                 lambda h, w, k, **_: k <= min(h, w)), atol=1e-6, rtol=1e-5, also=(nothing_to_see, dream)),
    (Mutant("an upstream gradient of ones, which climbs the sum of the answers", "layer_backward(image, filters, y)",
            "layer_backward(image, filters, np.ones_like(y))"),
     Mutant("downhill: what it sees is taken away", "image + step", "image - step"),
     Mutant("the gradient is not brought to a mean size of 1", " / max(np.abs(g).mean(), 1e-12)", ""),
     Mutant("it is divided by the largest entry, not by the mean size", "np.abs(g).mean()", "np.abs(g).max()"),
     Mutant("positive and negative entries cancel in the mean", "np.abs(g).mean()", "abs(g.mean())"),
     Mutant("0 is divided by 0", "max(np.abs(g).mean(), 1e-12)", "np.abs(g).mean()", "NaN or inf"),
     Mutant("it is not clipped to [0, 1]", "np.clip(image + step * g / max(np.abs(g).mean(), 1e-12), 0, 1)",
            "image + step * g / max(np.abs(g).mean(), 1e-12)")))

CHAPTER = Chapter("seeing", TEXT, (hog_cells, occlusion, fgsm, deepdream))
