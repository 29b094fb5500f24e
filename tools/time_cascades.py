"""Time detection with a cascade beside OpenCV's, whole calls on the sample photograph, in turns, on as many threads each.

    python tools/time_cascades.py [CASCADE ...]

`minivision bench --suite vision` has the same calls among others; here any cascade can be named. OpenCV has no part of a
detection that can be called by itself, so whole calls are compared.
"""

from __future__ import annotations

import argparse
import time
from functools import partial

import numpy as np

import minivision_kernels as mk
from minivision import vision

TURNS = 15
NAMES = ("haarcascade_frontalface_default", "haarcascade_frontalface_alt2", "haarcascade_eye")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cascades", nargs="*", default=NAMES, metavar="CASCADE", help="files, or names of installed ones")
    parser.add_argument("--threads", type=int, default=mk.get_num_threads())
    chosen = parser.parse_args()
    import cv2

    mk.set_num_threads(chosen.threads)
    cv2.setNumThreads(chosen.threads)
    photo = vision.to_gray(vision.sample("astronaut"), "opencv")
    print(f"512 x 512, scale_factor 1.05, min_neighbors 5, {chosen.threads} threads each, best of {TURNS} turns\n\n"
          "| cascade | minivision, ms | OpenCV, ms | OpenCV / minivision |\n|---|---|---|---|")
    for name in chosen.cascades:
        ours, theirs = vision.CascadeClassifier(name), cv2.CascadeClassifier(str(vision.find_cascade(name)))
        calls = partial(ours.detect_multi_scale, photo, 1.05, 5), partial(theirs.detectMultiScale, photo, 1.05, 5)
        times: list[list[float]] = [[], []]
        for _ in range(TURNS):
            for call, found in zip(calls, times):
                call()
                start = time.perf_counter()
                call()
                found.append(time.perf_counter() - start)
        a, b = (1000 * float(np.min(found)) for found in times)
        print(f"| {name} | {a:.1f} | {b:.1f} | {b / a:.2f} |", flush=True)


if __name__ == "__main__":
    main()
