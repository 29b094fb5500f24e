"""Change a picture: sample it, take away grey levels, make it grey, turn it, or give it another size.

Without a PHOTO, a photograph that comes with minivision is used. The result is a new picture, in runs/image unless --out
names another file.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import number, whole

if TYPE_CHECKING:
    import numpy as np

HELP = "sample, quantise, grey, turn or resize a picture"
EXAMPLE = """\
examples:
  minivision image sample                         a sample photograph in 256, 128, 64 and 32 pixels
  minivision image quantize photo.jpg --bits 3 2 1
  minivision image gray photo.jpg --out grey.png
  minivision image rotate photo.jpg --degrees 30 --expand
  minivision image resize photo.jpg --width 320 --method lanczos"""

FOLDER = Path("runs", "image")
SAMPLE = "astronaut"
LONGEST = 512                   # pixels along the longer side of a picture in a series
SIZES = (256, 128, 64, 32)
GAP = 8                         # white pixels between two pictures


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True, title="actions")

    sample = _action(actions, "sample", "fewer pixels, shown as large as before",
                     "minivision image sample photo.jpg --sizes 128 32 --method box")
    sample.add_argument("--sizes", nargs="+", type=whole(1), metavar="N",
                        help="pixels along the longer side (256 128 64 32, those the picture has)")
    sample.add_argument("--method", choices=("decimate", "box", "bilinear"), default="decimate",
                        help="which pixels stand for a block (decimate: its first, which aliases)")
    sample.set_defaults(action=_sample)

    quantize = _action(actions, "quantize", "fewer levels", "minivision image quantize photo.jpg --bits 4 2 1")
    quantize.add_argument("--bits", nargs="+", type=whole(1), default=[8, 4, 2, 1], metavar="N",
                          help="bits per pixel and channel, 1 to 8 (8 4 2 1)")
    quantize.add_argument("--gray", action="store_true", help="make the picture grey first")
    quantize.set_defaults(action=_quantize)

    gray = _action(actions, "gray", "brightness only", "minivision image gray photo.jpg --weights bt709")
    gray.add_argument("--weights", choices=("pillow", "opencv", "bt709"), default="pillow",
                      help="how red, green and blue are weighted (pillow)")
    gray.set_defaults(action=_gray)

    rotate = _action(actions, "rotate", "turned about its centre", "minivision image rotate photo.jpg --degrees 30 --expand")
    rotate.add_argument("--degrees", type=number(), default=30.0, help="counter-clockwise (30)")
    rotate.add_argument("--method", choices=("nearest", "bilinear", "bicubic"), default="bicubic",
                        help="how pixels are mixed (bicubic)")
    rotate.add_argument("--expand", action="store_true", help="make room for the corners")
    rotate.set_defaults(action=_rotate)

    resize = _action(actions, "resize", "another number of pixels", "minivision image resize photo.jpg --width 320")
    resize.add_argument("--width", type=whole(1), metavar="N", help="of the result (256, or in proportion to the height)")
    resize.add_argument("--height", type=whole(1), metavar="N", help="of the result (in proportion to the width)")
    resize.add_argument("--method", choices=("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"),
                        default="bicubic", help="how pixels are weighted (bicubic)")
    resize.add_argument("--no-antialias", action="store_true", help="when shrinking, skip pixels as OpenCV does")
    resize.set_defaults(action=_resize)


def _action(actions: argparse._SubParsersAction, name: str, what: str, example: str) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=what, allow_abbrev=False, description=f"Write a picture with {what}.",
                                epilog=f"example:\n  {example}", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", nargs="?", metavar="PHOTO", help=f"any picture file (the sample photograph {SAMPLE!r})")
    parser.add_argument("-o", "--out", metavar="PATH", help=f"the picture to write ({FOLDER}/NAME-{name}.png)")
    parser.set_defaults(name=name)
    return parser


def run(arguments: argparse.Namespace) -> int:
    from .. import vision

    image = vision.sample(SAMPLE) if arguments.photo is None else vision.imread(arguments.photo)
    if image.dtype not in ("uint8", "float32"):
        image = vision.imread(arguments.photo, "gray")
    result, what = arguments.action(arguments, image)
    if result.dtype == "float32" and image.min() >= 0 and image.max() <= 1:
        result = result.clip(0, 1)                      # bicubic and Lanczos weights overshoot at edges
    stem = SAMPLE if arguments.photo is None else Path(arguments.photo).stem
    path = Path(arguments.out) if arguments.out else FOLDER / f"{stem}-{arguments.name}.png"
    vision.imwrite(path, result)
    print(f"{path}   {what}")
    return 0


def _sample(arguments: argparse.Namespace, image: np.ndarray) -> tuple[np.ndarray, str]:
    from .. import vision

    image = _small(image)
    longest = max(image.shape[:2])
    wanted = arguments.sizes or [size for size in SIZES if size <= longest] or [longest]
    too_large = [size for size in wanted if size > longest]
    if too_large:
        raise ValueError(f"--sizes: got {too_large[0]}, but the picture is shown with {longest} pixels along its longer side; "
                         f"expected at most {longest}")
    sizes = [_scaled(image, size / longest) for size in wanted]
    shown = [vision.replicate(vision.subsample(image, size, arguments.method), image.shape[:2]) for size in sizes]
    return _series(shown), " > ".join(f"{width} x {height}" for height, width in sizes) + f", {arguments.method}"


def _quantize(arguments: argparse.Namespace, image: np.ndarray) -> tuple[np.ndarray, str]:
    from .. import vision

    if max(arguments.bits) > 8:
        raise ValueError(f"--bits: got {max(arguments.bits)}, expected 1 to 8")
    image = _small(vision.to_gray(image) if arguments.gray else image)
    levels = ", ".join(f"{1 << bits}" for bits in arguments.bits)
    return _series([vision.quantize(image, bits, "full") for bits in arguments.bits]), f"{levels} levels"


def _gray(arguments: argparse.Namespace, image: np.ndarray) -> tuple[np.ndarray, str]:
    from .. import vision

    return vision.to_gray(image, arguments.weights), f"grey, weights of {arguments.weights}"


def _rotate(arguments: argparse.Namespace, image: np.ndarray) -> tuple[np.ndarray, str]:
    from .. import vision

    turned = vision.rotate(image, arguments.degrees, arguments.method, arguments.expand)
    return turned, f"{arguments.degrees:g} degrees, {turned.shape[1]} x {turned.shape[0]}, {arguments.method}"


def _resize(arguments: argparse.Namespace, image: np.ndarray) -> tuple[np.ndarray, str]:
    from .. import vision

    H, W = image.shape[:2]
    height, width = arguments.height, arguments.width
    if height is None:
        width = width or 256
        height = max(1, round(H * width / W))
    elif width is None:
        width = max(1, round(W * height / H))
    resized = vision.resize(image, (height, width), arguments.method, not arguments.no_antialias)
    return resized, f"{W} x {H} > {width} x {height}, {arguments.method}"


def _small(image: np.ndarray) -> np.ndarray:
    """At most so many pixels as fit on a screen beside others."""
    from .. import vision

    longest = max(image.shape[:2])
    return image if longest <= LONGEST else vision.resize(image, _scaled(image, LONGEST / longest), "box")


def _scaled(image: np.ndarray, factor: float) -> tuple[int, int]:
    return max(1, round(image.shape[0] * factor)), max(1, round(image.shape[1] * factor))


def _series(images: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of one size beside each other, on white."""
    import numpy as np

    white = 255 if images[0].dtype == np.uint8 else 1
    gap = np.full((images[0].shape[0], GAP, *images[0].shape[2:]), white, images[0].dtype)
    return np.concatenate([part for image in images for part in (image, gap)][:-1], axis=1)
