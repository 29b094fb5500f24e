"""Sampling: how many pixels does a picture need?

A scene is everywhere, a picture only knows some points of it. Each step of the series 1024 -> 512 -> ... -> 32 keeps every
second pixel of every second row, and each picture is shown as large as the first, its pixels repeated. Patterns finer
than the pixels do not simply vanish: they come back as coarse false ones (aliasing), which the mean over each block avoids.
"""

import numpy as np

from minivision import pictures, vision

SIDE = 1024
SIDES = (1024, 512, 256, 128, 64, 32)


def rings(side: int) -> np.ndarray:
    """Rings that get finer towards the outside, where a period takes 2.5 pixels: a test of sampling."""
    y, x = np.mgrid[:side, :side] - side / 2
    return np.rint(127.5 + 127.5 * np.cos(np.pi * (x * x + y * y) / (1.25 * side))).astype(np.uint8)


def main() -> None:
    photo = vision.resize(vision.to_gray(vision.sample("astronaut")), SIDE, "bicubic")      # the sample has 512 pixels
    series = [vision.subsample(photo, side) for side in SIDES]
    print("side  bytes    difference from the first, shown at its size")
    for side, image in zip(SIDES, series):
        off = np.abs(vision.replicate(image, SIDE).astype(float) - photo).mean()
        print(f"{side:4d}  {image.size:7d}  {off:5.1f} grey levels")

    pattern = rings(512)
    path = pictures.output_folder() / "08_sampling.png"
    with pictures.page(path, 8.9, 10.6, "Sampling: 1024, 512, 256, 128, 64, 32",
                       "every second pixel of every second row is kept; pixels are repeated to show all at one size") as figure:
        axes = pictures.rows_of(figure, (0.03, 0.335, 0.94, 0.565), 6, 3, 0.05, 0.09)
        for one, side, image in zip(axes, SIDES, series):
            pictures.show(one, vision.replicate(image, SIDE), limits=(0, 255))
            one.set_xlabel(f"{side} x {side}", labelpad=4)
        pictures.caption(figure, 0.03, 0.285, "What is lost does not vanish",
                         "rings that get finer outwards, 512 pixels wide; then a quarter of the pixels, chosen in three ways")
        shown = [("512 x 512", pattern)] + [
            (f"128 x 128, {method}", vision.replicate(vision.subsample(pattern, 128, method), 512))
            for method in ("decimate", "box", "bilinear")]
        for one, (name, image) in zip(pictures.rows_of(figure, (0.03, 0.015, 0.94, 0.255), 4, 4, 0.05, 0.1), shown):
            pictures.show(one, image, limits=(0, 255))
            one.set_xlabel(name, labelpad=4)
    print(f"\n{path}")


if __name__ == "__main__":
    main()
