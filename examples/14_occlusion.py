"""Occlusion: which part of the picture does the network go by?

A grey patch is laid on the picture, and the network is asked again how probable its answer is. Then the patch moves on by a
few pixels, and so forth over the whole picture. Where the patch hides what the network goes by, the probability falls; the
probability at each position, drawn as a picture, is the map (Zeiler and Fergus 2014, section 4.2).

Nothing but forward passes is needed, several hundred of them. A gradient needs one, and tells of every pixel at once; which
of the maps is right is asked in the second row: pixels are given back to an empty picture in the order of the map, and a good
map has the network recognise it soon.

    python examples/14_occlusion.py                                a cat, if SqueezeNet's weights are here, else a digit
    python examples/14_occlusion.py --photo elephant.jpg --target "African bush elephant"
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from minivision import explain, pictures
from minivision.cli.networks import NAMES, Network, open_network
from minivision.cli.output import percent
from minivision.explain.pictures import heat_over

PARTS = 7                       # the patch's side is so many times smaller than the picture's
STEPS = 4                       # so many positions until the patch has moved on by its own side


def main() -> None:
    parser = argparse.ArgumentParser(description="Hide parts of a picture from a network.")
    parser.add_argument("--photo", type=Path, help="any picture file (a sample picture)")
    parser.add_argument("--target", help="the class to ask for, by name or number (the network's own answer)")
    parser.add_argument("--model", choices=NAMES, help="which network (squeezenet if its weights are here, else digits)")
    chosen = parser.parse_args()
    network = open_network(chosen.model)
    image = network.prepare(chosen.photo)
    answers = explain.probabilities(network.model, image[None])[0]
    target = int(answers.argmax()) if chosen.target is None else network.find_class(chosen.target)
    name, whole = network.class_names[target], float(answers[target])

    window = max(3, round(image.shape[1] / PARTS))
    stride = max(1, window // STEPS)
    chance, hidden = explain.occlude(network.model, image, target, window, stride, network.ground)
    print(f"{name}: {percent(whole)}; with a patch of {window} x {window} pixels at {chance.size} positions from "
          f"{percent(float(chance.min()))} to {percent(float(chance.max()))}")
    maps = {"occlusion": explain.to_map(explain.evidence(hidden)), **from_gradients(network, image, target)}
    path = pictures.output_folder() / "14_occlusion.png"
    draw(path, network, image, f"{name}: {percent(whole)}", target, chance, maps, window, stride)
    print(path)


def covered(image: np.ndarray, place: tuple[int, int], window: int, stride: int, ground: float) -> np.ndarray:
    """The picture with the patch at a position of the map."""
    top, left = place[0] * stride, place[1] * stride
    hidden = image.copy()
    hidden[:, top:top + window, left:left + window] = ground
    return hidden


def from_gradients(network: Network, image: np.ndarray, target: int) -> dict[str, np.ndarray]:
    """What speaks for the class by the gradient, asked in four ways; each (H, W) in [0, 1]."""
    model, size = network.model, image.shape[1:]
    return {
        "saliency": explain.to_map(explain.saliency(model, image, target)),
        "SmoothGrad": explain.to_map(explain.smooth_grad(model, image, target)),
        "integrated gradients": explain.to_map(explain.evidence(
            explain.integrated_gradients(model, image, target, network.ground))),
        "Grad-CAM": explain.to_map(explain.grad_cam(model, image, target, network.cam_layer), size),
    }


def outline(axes: Any, place: tuple[int, int], window: int, stride: int) -> None:
    """A frame around the patch, which may be as dark as what is around it."""
    from matplotlib.patches import Rectangle

    corner = place[1] * stride - 0.5, place[0] * stride - 0.5
    axes.add_patch(Rectangle(corner, window, window, fill=False, edgecolor=pictures.ORANGE, linewidth=2))


def draw(path: Path, network: Network, image: np.ndarray, says: str, target: int, chance: np.ndarray,
         maps: dict[str, np.ndarray], window: int, stride: int) -> None:
    worst, best = (np.unravel_index(find(chance), chance.shape) for find in (np.argmin, np.argmax))
    subtitle = f"{network.name}: the probability of its answer, with a patch of {window} x {window} pixels at each position"
    with pictures.page(path, 13, 8.1, "What does it go by?", subtitle) as figure:
        top = pictures.rows_of(figure, (0.025, 0.46, 0.925, 0.39), 4, 4, 0.09)
        for axes, (place, what) in zip(top, ((None, says), (worst, "it matters most here"), (best, "and least here"))):
            shown = image if place is None else covered(image, place, window, stride, network.ground)
            pictures.show(axes, shown, limits=(0, 1))
            if place is not None:
                outline(axes, place, window, stride)
            axes.set_title(what if place is None else f"{what}: {percent(float(chance[place]))}")
        pictures.show(top[3], chance, "viridis", (0, max(float(chance.max()), 1e-3)))
        top[3].set_title("the probability at each position")
        bar = figure.colorbar(top[3].images[0], cax=top[3].inset_axes((1.03, 0, 0.05, 1)))
        bar.outline.set_visible(False)

        pictures.caption(figure, 0.025, 0.415, "The same question, asked in other ways",
                         "and how soon the network recognises the picture if its pixels are given back in the order of the map "
                         "(mean probability on the way)")
        for axes, (name, heat) in zip(pictures.rows_of(figure, (0.025, 0.01, 0.95, 0.37), 5, 5, 0.08, 0.12), maps.items()):
            heat_over(axes, image, heat)
            area = explain.insertion(network.model, image, target, heat, network.ground).area
            axes.set_xlabel(f"{name}: {area:.2f}", labelpad=4)


if __name__ == "__main__":
    main()
