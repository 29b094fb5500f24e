"""Fool a network: change a picture so little that nobody sees it, and have it called something else.

fgsm takes one step, pgd ten that stay within eps of the picture; fool changes the picture as far as it takes, in one
direction only: to the target.
"""

from __future__ import annotations

import argparse

from .arguments import number, whole

HELP = "change a picture so that a network is wrong"
EXAMPLE = """\
examples:
  minivision attack                                     a sample picture, pgd, eps 2/255
  minivision attack cat.jpg --method fgsm --eps 0.02
  minivision attack cat.jpg --target "sports car"       to be taken for something"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from .networks import add_network

    add_network(parser)
    parser.add_argument("--method", choices=("fgsm", "pgd", "fool"), default="pgd", help="how (pgd)")
    parser.add_argument("--target", metavar="CLASS", help="what it shall be taken for, by name or number (anything else)")
    parser.add_argument("--eps", type=number(least=0), metavar="X",
                        help="the largest change of a pixel, of 1 (2/255 for photographs, 0.2 for digits)")
    parser.add_argument("--steps", type=whole(1), help="of pgd (10)")
    parser.add_argument("-o", "--out", metavar="PATH", help="the picture to write (runs/attack/NAME-attack.png)")


def run(arguments: argparse.Namespace) -> int:
    import numpy as np

    from .. import explain
    from ..explain import pictures
    from .networks import open_network, output_path
    from .output import percent, progress

    if arguments.method != "pgd" and arguments.steps:
        raise ValueError(f"--steps are of pgd; --method {arguments.method} has none to choose")
    if arguments.method == "fool" and arguments.eps is not None:
        raise ValueError("--eps is of fgsm and pgd; --method fool changes pixels as far as it takes")
    steps = arguments.steps or 10
    path = output_path(arguments.out, arguments.photo, "attack")
    network = open_network(arguments.model, arguments.root)
    image = network.prepare(arguments.photo)
    before = explain.probabilities(network.model, image[None])[0]
    own = int(before.argmax())
    target = None if arguments.target is None else network.find_class(arguments.target)
    if target == own:
        raise ValueError(f"{network.name} takes it for {network.class_names[own]} as it is; name another class with --target")
    eps = network.eps if arguments.eps is None else arguments.eps
    label = own if target is None else target
    if arguments.method == "fgsm":
        attack = explain.fgsm(network.model, image[None], [label], eps, targeted=target is not None)
    elif arguments.method == "pgd":
        with progress(steps, "pgd", "step") as bar:
            attack = explain.pgd(network.model, image[None], [label], eps, steps=steps, targeted=target is not None,
                                 progress=bar.update)
    else:
        label = int(np.argsort(before)[-2]) if target is None else target
        with progress(200, "fooling", "step") as bar:
            attack = explain.fooling_image(network.model, image, label, confidence=0.5, progress=bar.update)
    after = explain.probabilities(network.model, attack.images)[0]
    now = int(after.argmax())
    names = network.class_names
    says = [f"{names[own]}, {percent(float(before[own]))}", f"{names[now]}, {percent(float(after[now]))}"]
    largest = float(np.abs(attack.perturbation).max())
    told = f"{arguments.method}: no pixel changed by more than {255 * largest:.1f} of 255"
    pictures.attack_page(path, image, attack.images[0], f"Before and after: {network.name}", told, says)
    print(f"{path}   {says[0]} -> {says[1]}; {told}" + ("" if attack.success[0] else "; it did not succeed"))
    return 0
