"""Faces and other things that always look alike, found with a cascade (Viola and Jones 2001), as OpenCV 4 finds them.

A window slides over the image at every place and, since the image is shrunk again and again, in every size. A cascade
decides for each of a million windows whether it shows a face, and it can afford to because most windows are dropped after
a few sums. What remains are several boxes on each face, which ``group_rectangles`` merges.

The rectangles are OpenCV's, exactly, with nothing of OpenCV installed: its rounding, its skipped windows, its grouping.
They come in a fixed order, whatever the number of threads: smaller windows first, then by rows.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Iterator
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minivision_kernels import run

from . import checks
from .cascade_file import Cascade, read_cascade
from .gray import to_gray
from .grouping import group_rectangles

OWN = Path(__file__).with_name("faces.xml")                # trained by examples/train_face_cascade.py
INSTALLS = (("cv2", "data"), ("skimage", "data"))           # packages that bring cascades, and where in them
MOST_SCALES = 10_000
STRIPE = 32                 # OpenCV cuts the image into stripes of rows, one for every so many columns of windows
DETECT = "detect_multi_scale"

Size = tuple[int, int]


class CascadeClassifier:
    """A cascade, ready to look for what it was trained on.

        faces = CascadeClassifier()                                         # the one trained by minivision
        faces = CascadeClassifier("haarcascade_frontalface_default.xml")    # OpenCV's, from a path or its install
        for x, y, w, h in faces.detect_multi_scale(imread("photo.jpg"), 1.05, 5):
            ...

    Args:
        path: an XML file of OpenCV's, old form or new, Haar or LBP. A name that is not a file is looked for in the
            installs of OpenCV and scikit-image. None is the face cascade that comes with minivision.

    Raises:
        FileNotFoundError: there is no such file; the message says where cascades are to be had.
        CascadeError: the file is not a cascade.
    """

    def __init__(self, path: str | os.PathLike | None = None):
        self.path = OWN if path is None else find_cascade(path)
        self.cascade: Cascade = read_cascade(self.path)

    def __repr__(self) -> str:
        stages = len(self.cascade.trees.stage_thresholds)
        return (f"<CascadeClassifier {self.path.name}: {self.cascade.kind}, window {self.cascade.width} x "
                f"{self.cascade.height}, {stages} stages, {len(self.cascade.trees.nodes)} nodes>")

    def detect_multi_scale(
        self, image: Any, scale_factor: float = 1.1, min_neighbors: int = 3, min_size: Size | None = None,
        max_size: Size | None = None, *, return_counts: bool = False, return_candidates: bool = False,
    ) -> Any:
        """Boxes around what the cascade was trained on, in every size: those of OpenCV's detectMultiScale.

        Args:
            image: H x W or H x W x 3 (turned to grey with OpenCV's weights), uint8 or floats 0..1.
            scale_factor: the window grows by this factor from one size to the next; > 1.
            min_neighbors: a box must have been found more often than this, at neighbouring places and sizes. 0 leaves the
                raw finds as they are.
            min_size, max_size: (width, height) of the boxes, at least and at most. If no size of the window lies between
                them, the one nearest to ``min_size`` is taken, as OpenCV does.
            return_counts: also return how many raw finds each box stands for.
            return_candidates: also return the raw finds, as ``min_neighbors=0`` would.

        Returns:
            int64 (n, 4): x, y, width, height. If asked for, a tuple of that, the counts int64 (n,) and the raw finds.

        Source: OpenCV 4's cascadedetect.cpp; P. Viola and M. Jones, Rapid object detection using a boosted cascade of
        simple features, CVPR 2001.
        """
        gray = _gray(image)
        min_neighbors = checks.whole(min_neighbors, DETECT, "min_neighbors", 0)
        found = [self._boxes(passed, scale) for scale, passed in self._looked_at(gray, scale_factor, min_size, max_size)]
        candidates = np.concatenate([np.zeros((0, 4), np.int64), *found])
        boxes, counts = _clipped(*group_rectangles(candidates, min_neighbors), gray.shape)
        raw, _ = _clipped(candidates, np.ones(len(candidates), np.int64), gray.shape)
        extra = [counts] * return_counts + [raw] * return_candidates
        return (boxes, *extra) if extra else boxes

    def stages_passed(
        self, image: Any, scale_factor: float = 1.1, min_size: Size | None = None, max_size: Size | None = None,
    ) -> Iterator[tuple[Scale, np.ndarray]]:
        """For each size of the window, how far each of its places got: where a cascade spends its work.

        Yields:
            the ``Scale``, and int32 (rows, columns): the stages passed by the window at (row, column), all of them for a
            find. Below 0 it was not looked at: ``minivision_kernels.cascades`` says why.
        """
        return self._looked_at(_gray(image), scale_factor, min_size, max_size)

    def _looked_at(
        self, gray: np.ndarray, scale_factor: float, min_size: Size | None, max_size: Size | None,
    ) -> Iterator[tuple[Scale, np.ndarray]]:
        window = self.cascade.width, self.cascade.height
        for scale in scales(gray.shape, window, scale_factor, min_size, max_size):
            shrunk = gray if scale.size == gray.shape else run("shrink_exact", gray, scale.size)
            sums, squares = run("window_sums", shrunk, self._tilted)
            size = self.cascade.height, self.cascade.width
            if self.cascade.kind == "HAAR":
                arrays = sums, squares, self.cascade.features, self.cascade.trees, size
                yield scale, run("cascade_haar", *arrays, scale.step, scale.rows)
            else:
                yield scale, run("cascade_lbp", sums, self.cascade.features, self.cascade.trees, size, scale.step, scale.rows)

    def _boxes(self, passed: np.ndarray, scale: Scale) -> np.ndarray:
        """The finds of one scale, in the pixels of the image."""
        rows, columns = np.nonzero(passed == len(self.cascade.trees.stage_thresholds))
        places = np.stack([columns * scale.step, rows * scale.step], 1).astype(np.float32)
        size = np.array([self.cascade.width, self.cascade.height], np.float32)
        corners = np.rint(places * scale.factor)
        return np.concatenate([corners, np.broadcast_to(np.rint(size * scale.factor), corners.shape)], 1).astype(np.int64)

    @cached_property
    def _tilted(self) -> bool:
        return self.cascade.kind == "HAAR" and bool(self.cascade.features.tilted.any())     # type: ignore[union-attr]


class Scale(NamedTuple):
    """One size of the window, and the shrunk image in which the window has its own size.

    factor: float32, by which the window is larger than the cascade's. size: (height, width) of the shrunk image.
    step: windows lie so many of its pixels apart. rows: how many rows of windows are looked at.
    """

    factor: np.float32
    size: Size
    step: int
    rows: int


def scales(
    shape: Size, window: Size, scale_factor: float, min_size: Size | None = None, max_size: Size | None = None,
) -> list[Scale]:
    """The sizes in which OpenCV looks through an image of ``shape`` (height, width) with a ``window`` (width, height)."""
    least, most = _size("min_size", min_size), _size("max_size", max_size)
    every = _factors((shape[1], shape[0]), window, scale_factor)
    sizes = [tuple(int(np.rint(side * factor)) for side in map(np.float32, window)) for factor in every]
    if not all(most):                   # no limit, as for OpenCV, also if only one side is 0
        most = shape[1], shape[0]
    fitting = [factor for factor, (w, h) in zip(every, sizes) if least[0] <= w <= most[0] and least[1] <= h <= most[1]]
    if not fitting and every:
        distances = [(w - least[0]) ** 2 + (h - least[1]) ** 2 for w, h in sizes]
        fitting = [every[distances.index(min(distances))]]
    found: list[Scale] = []
    stripes = 0
    for factor in fitting:
        height, width = (int(np.rint(np.float32(side) / factor)) for side in shape)
        rows, columns = max(height + 1 - window[1], 0), max(width + 1 - window[0], 0)
        stripes = stripes or -(-columns // STRIPE)
        step = 1 if factor >= 2 else 2
        # Every scale is cut into as many stripes as the first, of whole steps: the last, odd row may be left over.
        stripe = max(-(-(rows // step) // max(stripes, 1)), 1) * step
        found.append(Scale(factor, (height, width), step, -(-min(stripes * stripe, rows) // step)))
    return found


def _factors(size: Size, window: Size, scale_factor: float) -> list[np.float32]:
    """1, f, f^2, ... while the window fits into an image of ``size`` (width, height)."""
    growth = checks.number(scale_factor, DETECT, "scale_factor")
    if growth <= 1:
        raise ValueError(f"{DETECT}: got scale_factor={scale_factor!r}, expected a number above 1, such as 1.1")
    largest = min(side / of for side, of in zip(size, window)) + 1
    if (count := math.log(max(largest, 1)) / math.log(growth)) > MOST_SCALES:
        raise ValueError(f"{DETECT}: got scale_factor={scale_factor!r}, with which the window would have {count:.0f} sizes, "
                         f"expected at most {MOST_SCALES:,}; take one further above 1")
    factors, factor = [], 1.0
    while all(round(of * factor) <= side for side, of in zip(size, window)):
        factors.append(np.float32(factor))
        factor *= growth
    return factors


def _size(name: str, value: Any) -> Size:
    if value is None:
        return 0, 0
    if not isinstance(value, (tuple, list, np.ndarray)) or len(value) != 2 or not all(
            isinstance(side, Integral) and not isinstance(side, bool) for side in value):
        raise TypeError(f"{DETECT}: got {name}={value!r}, expected (width, height), two whole numbers, or None")
    if min(value) < 0:
        raise ValueError(f"{DETECT}: got {name}={value!r}, expected a width and a height of at least 0")
    return int(value[0]), int(value[1])


def _gray(image: Any) -> np.ndarray:
    """The image as the cascade sees it: uint8, H x W."""
    image = checks.image(image, DETECT, unit=True)
    if image.dtype != np.uint8:
        image = np.rint(image * 255).astype(np.uint8)
    return np.ascontiguousarray(to_gray(image, weights="opencv") if image.ndim == 3 else image)


def _clipped(boxes: np.ndarray, counts: np.ndarray, shape: Size) -> tuple[np.ndarray, np.ndarray]:
    """Boxes cut off at the border of the image; those of which nothing is left are dropped."""
    begin = np.maximum(boxes[:, :2], 0)
    end = np.minimum(boxes[:, :2] + boxes[:, 2:], shape[::-1])
    kept = (end > begin).all(1)
    return np.concatenate([begin, end - begin], 1)[kept], counts[kept]


def find_cascade(name: str | os.PathLike) -> Path:
    """The file of that path or, if it is a bare name, the one of OpenCV's or scikit-image's install."""
    path = Path(name)
    if path.is_file():
        return path
    if path.is_dir():
        raise FileNotFoundError(f"{path} is a folder; expected a cascade, an XML file of OpenCV's")
    there = installed_cascades()
    if path.name == str(name):
        found = there.get(path.name) or there.get(path.name + ".xml")
        if found is not None:
            return found
    have = f"installed are {', '.join(sorted(there))}" if there else "no install of OpenCV or scikit-image has any"
    raise FileNotFoundError(
        f"there is no cascade {path}; {have}. OpenCV's come with `pip install 'opencv-python-headless<5'` (5 brings none); "
        "without a name, minivision's own face cascade is taken")


def installed_cascades() -> dict[str, Path]:
    """The cascades in the installs of OpenCV and scikit-image, by file name; neither is imported."""
    found: dict[str, Path] = {}
    for package, folder in INSTALLS:
        try:
            spec = importlib.util.find_spec(package)
        except (ImportError, ValueError):
            spec = None
        for place in (spec.submodule_search_locations or []) if spec is not None else []:
            for path in sorted(Path(place, folder).glob("*cascade*.xml")):
                found.setdefault(path.name, path)
    return found
