"""Which pixels count: what a network goes by when it says what is on a picture.

Six ways to ask, drawn over the picture, and beside them whether the answer is right: pixels are taken away, and given
back, in the order of the map. A good map makes the network forget soon and recognise soon.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .arguments import whole

if TYPE_CHECKING:
    import numpy as np

    from .networks import Network

HELP = "see which pixels a network goes by"
EXAMPLE = """\
examples:
  minivision explain                                  a sample picture, by occlusion
  minivision explain dog.jpg --method gradcam
  minivision explain dog.jpg --target "tennis ball" --method occlusion --window 48 --stride 12"""

METHODS = ("occlusion", "saliency", "gradient", "smoothgrad", "integrated", "gradcam")
UNSIGNED = ("saliency", "smoothgrad")           # they say how much a pixel counts, not whether it speaks for the class


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from .networks import add_network

    add_network(parser)
    parser.add_argument("--method", choices=METHODS, default="occlusion", help="how to find out (occlusion)")
    parser.add_argument("--target", metavar="CLASS", help="the class to explain, by name or number (the network's answer)")
    parser.add_argument("--window", type=whole(1), metavar="N", help="side of occlusion's patch (a seventh of the picture)")
    parser.add_argument("--stride", type=whole(1), metavar="N", help="pixels between two patches (a quarter of the patch)")
    parser.add_argument("-o", "--out", metavar="PATH", help="the picture to write (runs/explain/NAME-explain.png)")


def run(arguments: argparse.Namespace) -> int:
    import numpy as np

    from .. import explain
    from ..explain import pictures
    from .networks import open_network, output_path
    from .output import percent, progress

    if arguments.method != "occlusion" and (arguments.window or arguments.stride):
        raise ValueError(f"--window and --stride are of occlusion's patch; --method {arguments.method} has none")
    path = output_path(arguments.out, arguments.photo, "explain")
    network = open_network(arguments.model, arguments.root)
    image = network.prepare(arguments.photo)
    answers = explain.probabilities(network.model, image[None])[0]
    target = int(answers.argmax()) if arguments.target is None else network.find_class(arguments.target)
    side = min(image.shape[1:])
    window = arguments.window or max(3, round(side / 7))
    stride = arguments.stride or max(1, window // 4)
    chance = None
    if arguments.method == "occlusion":
        count = np.prod([-(-(length - min(window, length)) // stride) + 1 for length in image.shape[1:]])
        with progress(int(count), "occlusion", "patch") as bar:
            chance, found = explain.occlude(network.model, image, target, window, stride, network.ground, progress=bar.update)
        heat = explain.to_map(explain.evidence(found))
    else:
        heat = explain.to_map(_gradients(arguments.method, network, image, target), image.shape[1:])
    deleted, inserted = (curve(network.model, image, target, heat, network.ground)
                         for curve in (explain.deletion, explain.insertion))
    name = network.class_names[target]
    pictures.explanation(path, image, heat, f"Why {network.name} says {name}: {arguments.method}" if target == answers.argmax()
                         else f"What speaks for {name}: {arguments.method}",
                         f"its probability is {percent(float(answers[target]))}", deleted, inserted, chance,
                         "what the score depends on" if arguments.method in UNSIGNED else "what speaks for the class")
    print(f"{path}   {name} {percent(float(answers[target]))}; area when pixels are taken away {deleted.area:.3f}, "
          f"given back {inserted.area:.3f}")
    return 0


def _gradients(method: str, network: Network, image: np.ndarray, target: int) -> np.ndarray:
    from .. import explain

    if method == "gradcam":
        return explain.grad_cam(network.model, image, target, network.cam_layer)
    if method == "integrated":
        return explain.evidence(explain.integrated_gradients(network.model, image, target, network.ground))
    if method == "gradient":
        return explain.evidence(explain.gradient_times_input(network.model, image, target))
    look = explain.saliency if method == "saliency" else explain.smooth_grad
    return look(network.model, image, target)
