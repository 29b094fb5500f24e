"""Compile the kernels that training a model and using it need, so that the first run does not wait for the compiler."""

from __future__ import annotations

import argparse

from .arguments import whole
from .settings import MODEL_NAMES

HELP = "compile the kernels that a model needs"
EXAMPLE = """examples:
  minivision warmup
  minivision warmup --model lenet5 --batch 64"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", choices=MODEL_NAMES, default="smallcnn", help="(smallcnn)")
    parser.add_argument("--batch", type=whole(1), default=64, metavar="N", help="images in a step (64)")
    parser.add_argument("--image-size", type=whole(1), default=28, metavar="N", help="height and width (28)")
    parser.add_argument("--channels", type=whole(1), default=1, metavar="N", help="of the images (1)")


def run(arguments: argparse.Namespace) -> int:
    from minivision_kernels import cache_info

    from ..models import MODELS
    from ..warmup import warm_up
    from .output import plural, progress, say

    size, channels = arguments.image_size, arguments.channels
    model = MODELS[arguments.model](channels=channels, image_size=size)
    with progress(None, "compiling", "kernel") as bar:
        done = warm_up(model, (channels, size, size), arguments.batch, bar.update)
    say(f"{arguments.model} on {channels} x {size} x {size} images, {arguments.batch} at a time: "
        f"{plural(done.compiled, 'kernel')} compiled, {done.loaded:,} found in the cache, {done.seconds:.1f} s")
    cache = cache_info()
    say(f"the cache is {cache.folder}" if cache.writable else
        f"the cache {cache.folder} cannot be written, so every process compiles anew: {cache.problem}")
    return 0
