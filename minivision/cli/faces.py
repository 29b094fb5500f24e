"""Find faces in a picture and draw boxes around them.

The cascade is the one that minivision's authors trained on a hundred faces, unless --cascade names another: an XML file of
OpenCV's, or the name of one that an installed OpenCV brings along, such as haarcascade_frontalface_default. Without a PHOTO,
a photograph that comes with minivision is used. The result is a new picture, in runs/faces unless --out names another file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import number, whole

HELP = "find faces in a picture"
EXAMPLE = """\
examples:
  minivision faces                                a sample photograph, and minivision's own cascade
  minivision faces photo.jpg --out found.png
  minivision faces photo.jpg --cascade haarcascade_frontalface_default --neighbors 5"""

FOLDER = Path("runs", "faces")
SAMPLE = "astronaut"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photo", nargs="?", metavar="PHOTO", help=f"any picture file (the sample photograph {SAMPLE!r})")
    parser.add_argument("-o", "--out", metavar="PATH", help=f"the picture to write ({FOLDER}/NAME-faces.png)")
    parser.add_argument("--cascade", metavar="XML", help="what to look for (minivision's own face cascade)")
    parser.add_argument("--scale", type=number(above=1), default=1.05, metavar="F",
                        help="the window grows by this factor from one size to the next (1.05)")
    parser.add_argument("--neighbors", type=whole(0), default=5, metavar="N",
                        help="a face must be found more often than this, at nearby places and sizes (5); fewer finds more, "
                             "and more that is none")
    parser.add_argument("--smallest", type=whole(1), default=None, metavar="PIXELS", help="the least width of a face")


def run(arguments: argparse.Namespace) -> int:
    from .. import vision

    image = vision.sample(SAMPLE) if arguments.photo is None else vision.imread(arguments.photo)
    if image.dtype not in ("uint8", "float32"):             # more than 8 bits: the cascade wants 256 levels anyway
        image = vision.imread(arguments.photo, "gray")
    cascade = vision.CascadeClassifier(arguments.cascade)
    smallest = None if arguments.smallest is None else (arguments.smallest, arguments.smallest)
    boxes, counts = cascade.detect_multi_scale(image, arguments.scale, arguments.neighbors, smallest, return_counts=True)
    stem = SAMPLE if arguments.photo is None else Path(arguments.photo).stem
    path = Path(arguments.out) if arguments.out else FOLDER / f"{stem}-faces.png"
    vision.imwrite(path, vision.draw_boxes(image, boxes, thickness=max(2, max(image.shape[:2]) // 200)))
    print(f"{path}   {len(boxes)} found" + (": x, y, width, height, and how often" if len(boxes) else ""))
    for (x, y, w, h), count in zip(boxes, counts):
        print(f"  {x:5} {y:5} {w:5} {h:5}   {count} times")
    return 0
