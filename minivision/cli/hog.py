"""Draw a picture as histograms of oriented gradients: in every cell a star, a line for each direction that edges have.

Without a PHOTO, a photograph that comes with minivision is used. The result, the photo beside its stars, is a new picture,
in runs/hog unless --out names another file. A line is as bright as the root of its share, so that faint edges show too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import whole

HELP = "draw a picture as histograms of oriented gradients"
EXAMPLE = """\
examples:
  minivision hog                                  a sample photograph
  minivision hog photo.jpg --cell 16 --bins 18 --out stars.png"""

FOLDER = Path("runs", "hog")
SAMPLE = "astronaut"
LONGEST = 512                   # pixels along the longer side of the photo that is described
STAR = 16                       # pixels of a star, at least
GAP = 8                         # white pixels between the two pictures


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photo", nargs="?", metavar="PHOTO", help=f"any picture file (the sample photograph {SAMPLE!r})")
    parser.add_argument("--cell", type=whole(2), default=8, metavar="N", help="pixels along a side of a cell (8)")
    parser.add_argument("--bins", type=whole(1), default=9, metavar="N", help="directions (9)")
    parser.add_argument("-o", "--out", metavar="PATH", help=f"the picture to write ({FOLDER}/NAME.png)")


def run(arguments: argparse.Namespace) -> int:
    import numpy as np

    from .. import vision

    photo = vision.sample(SAMPLE) if arguments.photo is None else vision.imread(arguments.photo, "rgb")
    H, W = photo.shape[:2]
    if max(H, W) > LONGEST:
        H, W = (max(1, round(side * LONGEST / max(H, W))) for side in (H, W))
        photo = vision.resize(photo, (H, W), "box")
    if min(H, W) < 2:
        raise ValueError(f"the picture has {W} x {H} pixels and no gradient in it; expected at least 2 x 2")
    if min(H, W) < arguments.cell:
        raise ValueError(f"--cell: got {arguments.cell}, but the picture has {W} x {H} pixels; expected at most {min(H, W)}")
    if arguments.bins > 360:
        raise ValueError(f"--bins: got {arguments.bins}, expected at most 360")
    cells = vision.hog(photo, arguments.bins, (arguments.cell,) * 2, block_norm=None, feature_vector=False)
    rows, columns, bins = cells.shape
    zoom = -(-STAR // arguments.cell)
    stars = np.sqrt(vision.hog_image(cells, (zoom * arguments.cell,) * 2))
    bright = float(np.quantile(stars[stars > 0], 0.98)) if (stars > 0).any() else 1.0
    drawn = (255 * np.clip(stars / bright, 0, 1)).round().astype(np.uint8)
    shown = photo[:rows * arguments.cell, :columns * arguments.cell].repeat(zoom, 0).repeat(zoom, 1)
    gap = np.full((len(drawn), GAP, 3), 255, np.uint8)
    stem = SAMPLE if arguments.photo is None else Path(arguments.photo).stem
    path = Path(arguments.out) if arguments.out else FOLDER / f"{stem}.png"
    vision.imwrite(path, np.concatenate([shown, gap, np.repeat(drawn[..., None], 3, 2)], axis=1))
    print(f"{path}   {columns} x {rows} cells of {arguments.cell} x {arguments.cell} pixels, {bins} directions: "
          f"{cells.size:,} numbers")
    return 0
