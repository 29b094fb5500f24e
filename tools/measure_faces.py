"""How many faces a cascade finds in photos of groups, and how often it errs: ours beside OpenCV's.

    python tools/measure_faces.py FOLDER

FOLDER holds photos and dlib's XML files of boxes around the faces in them. A face counts as found if a box overlaps its own
by at least a third of their union, or has its centre in the middle of it and at most twice or half its width; each box
counts for one face. What matches no face is a false alarm. The boxes dlib marked "ignore" count neither way.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from minivision import vision

SETTINGS = ((1.05, 2), (1.05, 5), (1.05, 10))
CASCADES = (None, "haarcascade_frontalface_default", "haarcascade_frontalface_alt2")


def truths(folder: Path) -> dict[Path, tuple[np.ndarray, np.ndarray]]:
    """For each photo the boxes of its faces and those to ignore, (n, 4) each."""
    found = {}
    for name in ("training.xml", "testing.xml"):
        for image in ElementTree.parse(folder / name).iter("image"):
            boxes = [[int(box.get(side)) for side in ("left", "top", "width", "height")] for box in image.iter("box")]
            ignored = [box.get("ignore") == "1" for box in image.iter("box")]
            boxes, ignored = np.array(boxes).reshape(-1, 4), np.array(ignored, bool)
            if (folder / image.get("file")).is_file():
                found[folder / image.get("file")] = boxes[~ignored], boxes[ignored]
    return found


def matches(box: np.ndarray, face: np.ndarray) -> bool:
    low, high = np.maximum(box[:2], face[:2]), np.minimum(box[:2] + box[2:], face[:2] + face[2:])
    shared = np.prod(np.maximum(high - low, 0))
    near = (np.abs(box[:2] + box[2:] / 2 - face[:2] - face[2:] / 2) < face[2:] / 4).all()
    return bool(shared >= (box[2:].prod() + face[2:].prod() - shared) / 3 or (near and 0.5 <= box[2] / face[2] <= 2))


def measure(cascade: vision.CascadeClassifier, photos: dict, factor: float, neighbors: int) -> tuple[int, int, int]:
    """Faces, faces found, false alarms."""
    faces = found = wrong = 0
    for path, (wanted, ignored) in photos.items():
        boxes, counts = cascade.detect_multi_scale(vision.imread(path), factor, neighbors, return_counts=True)
        left = list(wanted)
        for box in boxes[np.argsort(-counts, kind="stable")]:
            hit = next((i for i, face in enumerate(left) if matches(box, face)), None)
            if hit is not None:
                left.pop(hit)
            elif not any(matches(box, face) for face in ignored):
                wrong += 1
        faces, found = faces + len(wanted), found + len(wanted) - len(left)
    return faces, found, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    photos = truths(parser.parse_args().folder)
    print("| cascade | scale_factor, min_neighbors | faces found | false alarms |\n|---|---|---|---|")
    for name in CASCADES:
        cascade = vision.CascadeClassifier(name)
        for factor, neighbors in SETTINGS:
            faces, found, wrong = measure(cascade, photos, factor, neighbors)
            print(f"| {name or 'ours'} | {factor}, {neighbors} | {found} of {faces} | {wrong} |", flush=True)


if __name__ == "__main__":
    main()
