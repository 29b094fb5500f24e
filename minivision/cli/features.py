"""See what each layer of a network makes of a picture: a contact sheet of its strongest channels, and the first filters.

With --patches LAYER it is asked the other way round: for each channel of the layer, which parts of many pictures it answers
most. They are looked for in a folder of pictures, or in those that come along: photographs, or for digits 360 test images.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import whole

if TYPE_CHECKING:
    import numpy as np

    from .networks import Network

MANY = 36                       # pictures of which one place each is enough
HELP = "see what each layer makes of a picture"
EXAMPLE = """\
examples:
  minivision features
  minivision features cat.jpg --layers features.0 features.4 features.12
  minivision features --patches features.5 --images holiday --channels 3 17 40"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from .networks import add_network

    add_network(parser)
    parser.add_argument("--layers", nargs="+", metavar="NAME", help="which (all outer ones; see `minivision layers`)")
    parser.add_argument("--patches", metavar="LAYER", help="instead: the parts of pictures that excite its channels most")
    parser.add_argument("--channels", nargs="+", type=whole(0), metavar="N", help="of that layer (the twelve choosiest)")
    parser.add_argument("--images", metavar="DIR", help="a folder of pictures to look in (pictures that come along)")
    parser.add_argument("-o", "--out", metavar="PATH", help="the picture to write (runs/features/NAME-features.png)")


def run(arguments: argparse.Namespace) -> int:
    from .. import explain
    from ..explain import pictures
    from .networks import open_network, output_path
    from .output import plural

    _check(arguments)
    path = output_path(arguments.out, arguments.images if arguments.patches else arguments.photo, "features")
    network = open_network(arguments.model, arguments.root)
    if arguments.patches:
        return _patches(arguments, network, path)
    image = network.prepare(arguments.photo)
    layers = arguments.layers or explain.outer_layers(network.model)
    maps = explain.feature_maps(network.model, image, layers)
    pictures.features_page(path, image, maps, explain.first_filters(network.model), f"What {network.name} makes of a picture",
                           "the filters of the first layer, then the channels that answer most, layer by layer")
    print(f"{path}   {plural(len(maps), 'layer')}")
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Options that belong to one of the two sheets are refused with the other."""
    for option, wanted in (("channels", True), ("images", True), ("layers", False), ("photo", False)):
        if getattr(arguments, option) and wanted != bool(arguments.patches):
            name = "PHOTO" if option == "photo" else f"--{option}"
            raise ValueError(f"{name} goes without --patches; name a folder with --images" if option == "photo" else
                             f"{name} goes {'only with' if wanted else 'without'} --patches LAYER")


def _patches(arguments: argparse.Namespace, network: Network, path: Path) -> int:
    from .. import explain
    from ..explain import pictures
    from .output import plural

    images = _pictures(network, arguments.images) if arguments.images else network.gallery()
    found = explain.exciting_patches_of(network.model, images, arguments.patches, arguments.channels,
                                        per_image=1 if len(images) >= MANY else 9)
    where = f"in {plural(len(images), 'picture')}" + (f" of {arguments.images}" if arguments.images else "")
    pictures.patches_page(path, images, found, f"What excites layer {arguments.patches} of {network.name}",
                          f"nine places {where} for each channel, as much of the picture as the answer depends on")
    print(f"{path}   {plural(len(found), 'channel')}, {where}")
    return 0


def _pictures(network: Network, folder: str) -> np.ndarray:
    """All pictures in a folder, each as the network takes it."""
    import numpy as np

    from ..data.folder import SUFFIXES
    from .output import progress

    if not Path(folder).is_dir():
        raise ValueError(f"--images: {folder} is not a folder")
    paths = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ValueError(f"--images: {folder} holds no pictures (files ending in {', '.join(sorted(SUFFIXES))})")
    images = []
    with progress(len(paths), "reading pictures", "picture") as bar:
        for path in paths:
            images.append(network.prepare(path))
            bar.update()
    return np.stack(images)
