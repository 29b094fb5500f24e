"""Histograms of oriented gradients: a photo as the directions of its edges.

The traditional way to describe a picture to a classifier. Each cell of 8 x 8 pixels becomes a histogram of the directions
its edges have, 9 numbers that know nothing of colour or of exact places. A picture of 320 x 240 pixels has 40 x 30 cells:
10,800 numbers.

    python examples/11_hog.py                               a photo that comes with minivision
    python examples/11_hog.py --photo cat.jpg               a photo of your own
"""

import argparse
from pathlib import Path

import numpy as np

from minivision import pictures, vision

HEIGHT, WIDTH = 240, 320


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw a photo as histograms of oriented gradients.")
    parser.add_argument("--photo", type=Path, help="any picture file; its middle is scaled to 320 x 240")
    chosen = parser.parse_args()
    photo = vision.imread(chosen.photo, "rgb") if chosen.photo else vision.sample("coffee")
    photo = vision.resize(middle(photo), (HEIGHT, WIDTH))

    cells = vision.hog(photo, orientations=9, pixels_per_cell=(8, 8), block_norm=None, feature_vector=False)
    rows, columns, bins = cells.shape
    print(f"{WIDTH} x {HEIGHT} pixels, cells of 8 x 8, {bins} bins: {rows} x {columns} x {bins} = {cells.size:,} numbers")
    for style in ("skimage", "opencv", "dalal-triggs"):
        features = vision.hog(photo, cells_per_block=(2, 2), style=style)
        print(f"in overlapping blocks of 2 x 2 cells, as {style:<13} {features.size:,} numbers")

    path = pictures.output_folder() / "11_hog.png"
    draw(path, photo, cells)
    print(path)


def middle(photo: np.ndarray) -> np.ndarray:
    """The largest part in the middle that is 4 wide and 3 high."""
    H, W = photo.shape[:2]
    height, width = min(H, W * 3 // 4), min(W, H * 4 // 3)
    top, left = (H - height) // 2, (W - width) // 2
    return photo[top:top + max(height, 1), left:left + max(width, 1)]


def draw(path: Path, photo: np.ndarray, cells: np.ndarray) -> None:
    rows, columns, bins = cells.shape
    subtitle = f"{rows} x {columns} cells of 8 x 8 pixels, {bins} directions in each: {cells.size:,} numbers"
    with pictures.page(path, 12, 5.6, "Histograms of oriented gradients", subtitle) as figure:
        left, right = figure.add_axes((0.025, 0.04, 0.46, 0.76)), figure.add_axes((0.515, 0.04, 0.46, 0.76))
        left.set_title("the photo")
        pictures.show(left, photo.transpose(2, 0, 1) if photo.ndim == 3 else photo, limits=(0, 255))
        right.set_title("its edges, cell by cell: a line for each direction, as bright as there is of it")
        stars = vision.hog_image(np.sqrt(cells), (24, 24))
        pictures.show(right, stars, limits=(0, float(np.quantile(stars, 0.99)) or 1.0))
        right.images[0].set_interpolation("hanning")


if __name__ == "__main__":
    main()
