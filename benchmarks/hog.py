"""Histograms of oriented gradients beside scikit-image and OpenCV 4, in turns on the same photo, with two threads each.

    python benchmarks/hog.py

A number is how many times longer the other library takes: the median over pairs of turns. scikit-image is compared with
its own default, blocks of 3 x 3 cells; OpenCV with its own, 2 x 2 cells and roots of pixels. Both compute what we compute,
to the last digits (tests/peers/test_hog_peers.py).
"""

from __future__ import annotations

from functools import partial

import cv2
from skimage.feature import hog as skimage_hog

import minivision_kernels
from minivision import vision
from minivision.bench.measure import in_turns, ratio

THREADS = 2
SECONDS = 2.0


def main() -> None:
    minivision_kernels.set_num_threads(THREADS)
    cv2.setNumThreads(THREADS)
    print(f"{'photo':<20}{'ours ms':>9}{'scikit-image':>14}{'ours ms':>12}{'OpenCV':>9}")
    for width, height in ((640, 480), (1920, 1080)):
        photo = vision.resize(vision.sample("astronaut"), (height, width), "bicubic")
        for image in (vision.to_gray(photo), photo):
            axis = -1 if image.ndim == 3 else None
            window = width // 8 * 8, height // 8 * 8
            opencv = cv2.HOGDescriptor(window, (16, 16), (8, 8), (8, 8), 9, 1, -1, 0, 0.2, True)       # True: roots of pixels
            one = in_turns({"ours": partial(vision.hog, image), "theirs": partial(skimage_hog, image, channel_axis=axis)},
                           SECONDS)
            two = in_turns({"ours": partial(vision.hog, image, cells_per_block=(2, 2), transform_sqrt=True, style="opencv"),
                            "theirs": partial(opencv.compute, image)}, SECONDS)
            name = f"{width}x{height} {'rgb' if image.ndim == 3 else 'grey'}"
            print(f"{name:<20}{1e3 * one['ours'].median:>9.2f}{ratio(one['theirs'], one['ours']):>14.1f}"
                  f"{1e3 * two['ours'].median:>12.2f}{ratio(two['theirs'], two['ours']):>9.2f}")


if __name__ == "__main__":
    main()
