"""Let a network dream on a picture (DeepDream): what a layer sees a little of, it shall see more of.

`minivision layers` lists the layers. Early ones dream of edges and waves, late ones of things.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import whole

HELP = "let a network dream on a picture"
EXAMPLE = """\
examples:
  minivision dream                                      a sample picture
  minivision dream sky.jpg --layer features.10 --steps 20
  minivision dream sky.jpg --layer features.8 --channel 40 --gif dream.gif"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from .networks import add_network

    add_network(parser)
    parser.add_argument("--layer", metavar="NAME", help="the layer that dreams (one in the middle)")
    parser.add_argument("--channel", type=whole(0), metavar="N", help="one channel of the layer (all)")
    parser.add_argument("--steps", type=whole(0), default=10, help="in each octave (10)")
    parser.add_argument("--octaves", type=whole(1), help="sizes of the picture, each 1.4 times the one before (4; digits 1)")
    parser.add_argument("--gif", metavar="PATH", help="also write the dream growing, as an animation")
    parser.add_argument("-o", "--out", metavar="PATH", help="the picture to write (runs/dream/NAME-dream.png)")


def run(arguments: argparse.Namespace) -> int:
    from .. import explain
    from ..explain import pictures
    from .networks import open_network, output_path
    from .output import plural, progress

    path = output_path(arguments.out, arguments.photo, "dream")
    animation = output_path(arguments.gif, arguments.photo, "dream", ".gif") if arguments.gif else None
    network = open_network(arguments.model, arguments.root)
    image = network.whole(arguments.photo)
    layer = arguments.layer or network.dream_layer
    small = min(image.shape[1:]) < 64
    octaves = arguments.octaves or (1 if small else 4)
    frames: list = []
    with progress(octaves * arguments.steps, "dreaming", "step") as bar:
        dreamt = explain.deepdream(network.model, image, layer, arguments.channel, arguments.steps, octaves,
                                   jitter=1 if small else 32, progress=bar.update,
                                   step=(6 if small else 1.5) / 255, frame=frames.append if animation else None)
    what = f"layer {layer}" + (f", channel {arguments.channel}" if arguments.channel is not None else "")
    pictures.dream_page(path, image, dreamt, f"A dream of {network.name}",
                        f"{what}; {plural(octaves, 'octave')} of {plural(arguments.steps, 'step')}")
    print(f"{path}   {what}")
    if animation:
        print(_animation(animation, [image, *frames]))
    return 0


def _animation(path: Path, frames: list) -> str:
    import numpy as np
    from PIL import Image

    from ..checkpoint import write_whole
    from ..pictures import picture_of

    shown = [Image.fromarray((255 * picture_of(frame) + 0.5).astype(np.uint8)) for frame in frames]
    write_whole(path, lambda file: shown[0].save(file, format="GIF", save_all=True, append_images=shown[1:],
                                                 duration=[400, *[80] * (len(shown) - 2), 1500][:len(shown)], loop=0))
    return f"{path}   {len(shown)} frames"
