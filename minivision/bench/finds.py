"""Whole jobs on a photograph: faces, people and histograms of gradients, beside OpenCV and scikit-image.

A detection is hundreds of small steps, at dozens of sizes of the image, and OpenCV offers none of them by itself. So the call
that people make is what is measured, on the photograph that comes with minivision. A job takes part if its cascade or its
detector is there: those of OpenCV and scikit-image are read from their installs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import vision

SAMPLE, SCALE, NEIGHBORS = "astronaut", 1.05, 5         # the lecture's parameters
CASCADES = ("haarcascade_frontalface_default.xml", "haarcascade_frontalface_alt2.xml", "haarcascade_eye.xml",
            "lbpcascade_frontalface_opencv.xml")        # and minivision's own
Call = Callable[[], np.ndarray]


class Find(NamedTuple):
    """One job: its photograph, what it does, and who does it; each from the number of threads makes a call."""

    name: str
    op: str
    ours: Callable[[], Call]
    peers: Mapping[str, Callable[[int], Call]]


class Contestant(NamedTuple):
    """Someone who does a job; calling it returns the result as an array, boxes in order."""

    name: str
    call: Call


def finds() -> Iterator[Find]:
    """All jobs for which there is what they need."""
    from ..vision.cascade import OWN, installed_cascades

    there = installed_cascades()
    for path in (OWN, *(there[name] for name in CASCADES if name in there)):
        yield Find(f"512x512 {path.stem.removeprefix('haarcascade_').removesuffix('_opencv')}", "find faces",
                   partial(_our_faces, path), {"opencv": partial(_opencv_faces, path)})
    if vision.available("opencv"):                      # whose detector it is
        for padding in (0, 16):
            yield Find(f"512x512 padding {padding}", "find people", partial(_our_people, padding),
                       {"opencv": partial(_opencv_people, padding)})
    for size in (vision.SMALL, vision.LARGE):
        for color in (False, True):
            name = f"{size[1]}x{size[0]}" + " rgb" * color
            yield Find(f"{name} 3x3", "hog skimage", partial(_our_hog, size, color, "skimage"),
                       {"scikit-image": partial(_skimage_hog, size, color)})
            yield Find(f"{name} 2x2", "hog opencv", partial(_our_hog, size, color, "opencv"),
                       {"opencv": partial(_opencv_hog, size, color)})


def contestants(find: Find, threads: int, with_peers: bool) -> Iterator[Contestant]:
    """Ours, and who else is installed and has what it takes."""
    from .peers import OURS

    yield Contestant(OURS, find.ours())
    for name, make in find.peers.items():
        if with_peers and vision.available(name) and (name != "opencv" or hasattr(vision.cv2_with(threads), "HOGDescriptor")):
            yield Contestant(name, make(threads))


@cache
def photo(size: tuple[int, int] | None = None, color: bool = True) -> np.ndarray:
    """The sample photograph, in a size and in grey if asked for."""
    from .. import vision as pixels

    image = pixels.sample(SAMPLE)
    image = image if size is None else pixels.resize(image, size, "bicubic")
    return image if color else pixels.to_gray(image, "opencv")


def in_order(boxes: Any) -> np.ndarray:
    """Boxes (n, 4) sorted: OpenCV's order depends on its threads."""
    array = np.reshape(np.asarray(boxes, np.float64), (-1, 4))
    return array[np.lexsort(array.T)]


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference of two results; infinite if there is another number of boxes."""
    if ours.size != theirs.size:
        return float("inf")
    return float(np.abs(ours.ravel() - theirs.ravel()).max(initial=0))


# ------------------------------------------------------------------------------------------------------------- cascades

def _our_faces(path: Path) -> Call:
    from .. import vision as pixels

    cascade, image = pixels.CascadeClassifier(path), photo(None, False)
    return lambda: in_order(cascade.detect_multi_scale(image, SCALE, NEIGHBORS))


def _opencv_faces(path: Path, threads: int) -> Call:
    cv2, image = vision.cv2_with(threads), photo(None, False)
    with tempfile.TemporaryDirectory() as folder:
        # scikit-image's file has a slip of the pen for which OpenCV refuses it.
        copy = Path(folder, path.name)
        copy.write_text(path.read_text().replace("featuhreParams", "featureParams"))
        cascade = cv2.CascadeClassifier(str(copy))
    return lambda: in_order(cascade.detectMultiScale(image, SCALE, NEIGHBORS))


# ------------------------------------------------------------------------------------------------------ people, and HoG

def _our_people(padding: int) -> Call:
    from .. import vision as pixels

    descriptor, image = pixels.HOGDescriptor(), photo()
    descriptor.set_svm_detector(vision.cv2_with().HOGDescriptor_getDefaultPeopleDetector())
    return lambda: in_order(descriptor.detect_multi_scale(image, 0.0, (8, 8), (padding, padding), SCALE)[0])


def _opencv_people(padding: int, threads: int) -> Call:
    cv2, image = vision.cv2_with(threads), photo()
    descriptor = cv2.HOGDescriptor()
    descriptor.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())
    return lambda: in_order(descriptor.detectMultiScale(image, winStride=(8, 8), padding=(padding, padding), scale=SCALE)[0])


def _our_hog(size: tuple[int, int], color: bool, style: str) -> Call:
    from .. import vision as pixels

    options: dict[str, Any] = dict(cells_per_block=(2, 2), transform_sqrt=True) if style == "opencv" else {}
    return partial(pixels.hog, photo(size, color), style=style, **options)


def _skimage_hog(size: tuple[int, int], color: bool, threads: int) -> Call:
    from skimage.feature import hog

    return partial(hog, photo(size, color), channel_axis=-1 if color else None)


def _opencv_hog(size: tuple[int, int], color: bool, threads: int) -> Call:
    image, window = photo(size, color), (size[1] // 8 * 8, size[0] // 8 * 8)
    descriptor = vision.cv2_with(threads).HOGDescriptor(window, (16, 16), (8, 8), (8, 8), 9, 1, -1, 0, 0.2, True)  # with roots
    return partial(descriptor.compute, image)
