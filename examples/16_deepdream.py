"""DeepDream: what a layer sees a little of, it shall see more of.

Four steps, again and again (Mordvintsev, Olah and Tyka 2015):

    1. forward, from the image to a layer
    2. set the gradient there to the activation itself
    3. backward, from the layer to the image
    4. add the gradient to the image

They are written out below, in `four_steps`. Why step 2 is right: the gradient of 1/2 * sum of f_i(I)^2 to the activation f is
f, so the four steps climb I* = arg max of the sum of f_i(I)^2. Both ways are run beside each other here, and beside the
library's; they agree to the last digits. The library adds two things: it rolls the image a little before each step, so that
no grid shows, and dreams in several sizes, small ones first, so that things of every size appear.

    python examples/16_deepdream.py                                 a cat, if SqueezeNet's weights are here, else a digit
    python examples/16_deepdream.py --photo sky.jpg --layer features.10
"""

import argparse
from pathlib import Path

import numpy as np

import minivision as mv
from minivision import explain, pictures
from minivision.cli.networks import NAMES, Network, open_network
from minivision.cli.output import plural

STEPS, OCTAVES = 10, 4


def four_steps(model: mv.nn.Module, layer: str, image: np.ndarray, step: float) -> np.ndarray:
    """An image (1, C, H, W), dreamt on once."""
    pixels = mv.Tensor(image, requires_grad=True)
    activation = explain.activation(model, pixels, layer)           # 1. forward
    upstream = activation.detach()                                  # 2. the gradient is the activation itself
    activation.backward(upstream)                                   # 3. backward
    return climb(pixels, step)                                      # 4. add it


def ascent(model: mv.nn.Module, layer: str, image: np.ndarray, step: float) -> np.ndarray:
    """The same by the objective: up the gradient of half the sum of the squared activations."""
    pixels = mv.Tensor(image, requires_grad=True)
    objective = (explain.activation(model, pixels, layer) ** 2).sum() / 2
    objective.backward()
    return climb(pixels, step)


def climb(pixels: mv.Tensor, step: float) -> np.ndarray:
    """Along the gradient, so far that a pixel changes by ``step`` in the mean; kept in [0, 1]."""
    assert pixels.grad is not None
    gradient = pixels.grad.numpy()
    return np.clip(pixels.numpy() + gradient * np.float32(step / float(np.abs(gradient).mean())), 0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description="Let a network dream on a picture.")
    parser.add_argument("--photo", type=Path, help="any picture file (a sample picture)")
    parser.add_argument("--layer", help="the layer that dreams (one in the middle); `minivision layers` lists them")
    parser.add_argument("--model", choices=NAMES, help="which network (squeezenet if its weights are here, else digits)")
    chosen = parser.parse_args()
    network = open_network(chosen.model)
    image, layer = network.whole(chosen.photo), chosen.layer or network.dream_layer
    small = min(image.shape[1:]) < 64
    step = (6 if small else 1.5) / 255

    by_hand, climbed, library = image[None], image[None], image[None]
    for _ in range(STEPS):
        by_hand = four_steps(network.model, layer, by_hand, step)
        climbed = ascent(network.model, layer, climbed, step)
        library = explain.dream_step(network.model, library, layer, step=step)
    for name, other in (("the ascent of the squared activation", climbed), ("the library", library)):
        print(f"after {plural(STEPS, 'step')} by hand, {name} differs by {np.abs(other - by_hand).max():.0e} of 1")

    octaves = 1 if small else OCTAVES

    def dream(where: str) -> np.ndarray:
        return explain.deepdream(network.model, image, where, steps=STEPS, octaves=octaves,
                                 jitter=1 if small else 32, step=step)

    path = pictures.output_folder() / "16_deepdream.png"
    told = f"{layer}: {plural(STEPS, 'step')} in each of {plural(octaves, 'octave')}, with jitter"
    draw(path, network, image, {"awake": image, f"{layer}: {plural(STEPS, 'time')} the four steps": by_hand[0],
                                told: dream(layer),
                                **{name: dream(name) for name in others(network, layer)}})
    print(path)


def others(network: Network, layer: str) -> list[str]:
    """Three more layers to dream with: the first, one in the middle, and the last with pixels."""
    layers = [name for name in explain.outer_layers(network.model) if name != layer]
    return [layers[i * (len(layers) - 1) // 2] for i in (0, 1, 2)]


def draw(path: Path, network: Network, image: np.ndarray, shown: dict[str, np.ndarray]) -> None:
    aspect = image.shape[2] / image.shape[1]
    height = 1.2 + -(-len(shown) // 3) * (3.9 / aspect + 0.36)
    with pictures.page(path, 12.6, height, "DeepDream", f"what {network.name} sees a little of, it sees more of") as figure:
        area = (0.02, 0.01, 0.96, 1 - 0.95 / height)
        for axes, (name, one) in zip(pictures.rows_of(figure, area, len(shown), 3, 0.03, 0.09, aspect), shown.items()):
            pictures.show(axes, one, limits=(0, 1))
            axes.set_xlabel(name, labelpad=4)


if __name__ == "__main__":
    main()
