"""See what each layer of a network makes of a picture: a contact sheet of its strongest channels, and the first filters."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..models import Model

HELP = "see what each layer makes of a picture"
EXAMPLE = "examples:\n  minivision features\n  minivision features cat.jpg --layers features.0 features.4 features.12"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from .networks import add_network

    add_network(parser)
    parser.add_argument("--layers", nargs="+", metavar="NAME", help="which (all outer ones; see `minivision layers`)")
    parser.add_argument("-o", "--out", metavar="PATH", help="the picture to write (runs/features/NAME-features.png)")


def run(arguments: argparse.Namespace) -> int:
    from .. import explain
    from ..explain import pictures
    from .networks import open_network, output_path

    network = open_network(arguments.model, arguments.root)
    image = network.prepare(arguments.photo)
    layers = arguments.layers or _some(network.model)
    maps = explain.feature_maps(network.model, image, layers)
    path = output_path(arguments.out, arguments.photo, "features")
    pictures.features_page(path, image, maps, explain.first_filters(network.model), f"What {network.name} makes of a picture",
                           "the filters of the first layer, then the channels that answer most, layer by layer")
    print(f"{path}   {len(layers)} layers")
    return 0


def _some(model: Model) -> list[str]:
    """The whole blocks and the layers with pixels that are not parts of a block."""
    from ..nn import Sequential

    outer = [name for name, module in model.named_modules() if name and not isinstance(module, Sequential)]
    tops = [name for name in outer if not any(name.startswith(other + ".") for other in outer)]
    return [name for name in tops if not name.startswith(("classifier", "normalize", "linear"))]
