"""Face detection: a window at a million places, and almost all of them given up at once.

A window of 20 x 20 pixels slides over the photo, which is shrunk again and again, so that faces of every size fit it. In each
place a cascade of stages asks whether this is a face. The first stage is a handful of comparisons, such as "is the strip of
the eyes darker than the cheeks?", and most windows fail it. Only where something looks like a face are the later stages
asked, and what passes them all is a find. A face is found many times, at neighbouring places and sizes; the last step makes
one box of them.

    python examples/13_faces.py --photo group.jpg --cascade haarcascade_frontalface_default
"""

import argparse
from pathlib import Path

import numpy as np

from minivision import pictures, vision

SCALE_FACTOR, MIN_NEIGHBORS = 1.05, 5


def main() -> None:
    parser = argparse.ArgumentParser(description="Find faces in a photo, and show how.")
    parser.add_argument("--photo", type=Path, help="any picture file (a photo that comes with minivision)")
    parser.add_argument("--cascade", help="an XML file of OpenCV's, or the name of one of an installed OpenCV")
    chosen = parser.parse_args()
    photo = vision.imread(chosen.photo, mode="rgb") if chosen.photo else vision.sample("astronaut")
    cascade = vision.CascadeClassifier(chosen.cascade)
    print(cascade)

    boxes, counts, candidates = cascade.detect_multi_scale(
        photo, SCALE_FACTOR, MIN_NEIGHBORS, return_counts=True, return_candidates=True)
    share = passed_share(cascade, photo)
    print(f"{share[0]:,.0f} windows looked at; {100 * share[1] / share[0]:.1f} % pass the first stage, "
          f"{100 * share[3] / share[0]:.1f} % the third, {len(candidates)} all {len(share) - 1}")
    for (x, y, w, h), count in zip(boxes, counts):
        print(f"a face at x {x}, y {y}, {w} x {h} pixels, found {count} times")

    path = pictures.output_folder() / "13_faces.png"
    draw(path, photo, candidates, boxes, cascade, share)
    print(path)


def passed_share(cascade: vision.CascadeClassifier, photo: np.ndarray) -> np.ndarray:
    """How many windows were looked at, and how many passed 1, 2, ... stages, in all sizes together."""
    stages = len(cascade.cascade.trees.stage_thresholds)
    passed = [stages_ for _, stages_ in cascade.stages_passed(photo, SCALE_FACTOR)]
    return np.array([sum(float((one >= stage).sum()) for one in passed) for stage in range(stages + 1)])


def depth(cascade: vision.CascadeClassifier, photo: np.ndarray, size: float) -> np.ndarray:
    """The stages passed around each pixel, by windows of about ``size`` pixels: the centre of a window is coloured."""
    H, W = photo.shape[:2]
    window = cascade.cascade.width
    scale, passed = min(cascade.stages_passed(photo, SCALE_FACTOR), key=lambda pair: abs(float(pair[0].factor) * window - size))
    step, factor = scale.step, float(scale.factor)
    rows, columns = (((np.arange(n) / factor - window / 2) / step).round().astype(int) for n in (H, W))
    inside = np.ix_((rows >= 0) & (rows < passed.shape[0]), (columns >= 0) & (columns < passed.shape[1]))
    stages = np.zeros((H, W), int)              # too near to the border no window has its centre
    stages[inside] = np.maximum(passed, 0)[np.ix_(rows[inside[0].ravel()], columns[inside[1].ravel()])]
    return stages


def draw(path: Path, photo: np.ndarray, candidates: np.ndarray, boxes: np.ndarray, cascade: vision.CascadeClassifier,
         share: np.ndarray) -> None:
    typical = float(np.median(boxes[:, 2])) if len(boxes) else min(photo.shape[:2]) / 5
    thickness = max(2, max(photo.shape[:2]) // 170)
    raw = vision.draw_boxes(photo, candidates, thickness=1)
    found = vision.draw_boxes(photo, boxes, thickness=thickness)
    subtitle = f"{share[0]:,.0f} windows, a cascade of {len(share) - 1} stages"
    with pictures.page(path, 14, 6.0, "Finding faces", subtitle) as figure:
        left, middle, right = (figure.add_axes((0.02 + 0.327 * i, 0.03, 0.307, 0.74)) for i in range(3))
        left.set_title(f"stages passed by windows of {typical:.0f} pixels")
        pictures.show(left, depth(cascade, photo, typical).astype(np.float32), limits=(0, len(share) - 1))
        middle.set_title(f"{len(candidates)} windows passed all")
        pictures.show(middle, raw.transpose(2, 0, 1), limits=(0, 255))
        right.set_title(f"merged: {len(boxes)} found more than {MIN_NEIGHBORS} times")
        pictures.show(right, found.transpose(2, 0, 1), limits=(0, 255))


if __name__ == "__main__":
    main()
