"""Train the face cascade that comes with minivision, and write it to minivision/vision/faces.xml.

    pip install scikit-image
    python tools/train_face_cascade.py

The faces are the hundred of scikit-image's ``lfw_subset`` (25 x 25 pixels of Labeled Faces in the Wild), each turned,
mirrored, shifted and scaled a little, at random, twenty times; so a hundred people must stand for all. What is no face
comes from the other hundred patches of that subset and from the photos without people that scikit-image brings along. It
takes a few minutes, and ends with the same file each time.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from minivision import vision
from minivision.vision.training_cascade import WINDOW, cascade_xml, train_cascade

PHOTOS = ("brick", "cell", "chelsea", "clock", "coffee", "colorwheel", "grass", "gravel", "hubble_deep_field",
          "immunohistochemistry", "moon", "page", "retina", "rocket", "text", "stereo_motorcycle", "horse", "logo")
COPIES = 20                     # of each face
STAGES = 16
OUTPUT = Path(vision.__file__).with_name("faces.xml")
COMMENT = ("A cascade for upright frontal faces, trained by tools/train_face_cascade.py of minivision on scikit-image's "
           "lfw_subset and on its photos without people. Same licence as minivision.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"the file to write ({OUTPUT.name} of the package)")
    output = parser.parse_args().output
    rng = np.random.default_rng(0)
    faces, others = examples(rng)
    start = time.perf_counter()
    cascade = train_cascade(faces, others, photos(), STAGES, tell=lambda line: print(
        f"{time.perf_counter() - start:6.1f} s  {line}", flush=True))
    temporary = output.with_suffix(".part")
    temporary.write_text(cascade_xml(cascade, COMMENT))
    temporary.replace(output)
    print(f"{output}: {len(cascade.trees.stage_thresholds)} stages, {len(cascade.trees.nodes)} stumps")


def examples(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Faces (2000, 20, 20) and other patches (400, 20, 20), uint8."""
    from skimage import data

    subset = data.lfw_subset() * 255.0
    faces = [varied(face, rng) for face in subset[:100] for _ in range(COPIES)]
    others = [varied(other, rng) for other in subset[100:] for _ in range(4)]
    return np.stack(faces), np.stack(others)


def varied(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A 20 x 20 cut-out of a 25 x 25 picture, turned by up to 8 degrees, scaled, shifted, perhaps mirrored."""
    turn, scale = np.deg2rad(rng.uniform(-8, 8)), rng.uniform(0.88, 1.0) * picture.shape[0] / WINDOW
    shift = rng.uniform(-0.7, 0.7, 2)
    y, x = (np.mgrid[:WINDOW, :WINDOW] - (WINDOW - 1) / 2) * scale
    x = x * rng.choice([-1, 1])
    centre = (picture.shape[0] - 1) / 2
    return sampled(picture, np.cos(turn) * y - np.sin(turn) * x + centre + shift[0],
                   np.sin(turn) * y + np.cos(turn) * x + centre + shift[1])


def sampled(picture: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The picture between its pixels: bilinear, and beyond its border the border's pixels."""
    y, x = np.clip(y, 0, picture.shape[0] - 1.001), np.clip(x, 0, picture.shape[1] - 1.001)
    i, j = y.astype(int), x.astype(int)
    v, u = y - i, x - j
    mixed = ((1 - v) * (1 - u) * picture[i, j] + (1 - v) * u * picture[i, j + 1]
             + v * (1 - u) * picture[i + 1, j] + v * u * picture[i + 1, j + 1])
    return np.rint(mixed).astype(np.uint8)


def photos() -> list[np.ndarray]:
    """Photos without faces, grey, each also mirrored and in its quarter turns: an upside-down wall is a wall."""
    from skimage import data

    found = []
    for name in PHOTOS:
        loaded = getattr(data, name)()
        image = np.asarray(loaded[0] if isinstance(loaded, tuple) else loaded)
        if image.dtype == np.bool_:
            image = image.astype(np.uint8) * 255
        grey = vision.to_gray(np.ascontiguousarray(image[..., :3]), weights="opencv") if image.ndim == 3 else image
        found += [np.ascontiguousarray(np.rot90(side, turns)) for side in (grey, grey[:, ::-1]) for turns in range(4)]
    return found


if __name__ == "__main__":
    main()
