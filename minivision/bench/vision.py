"""The vision suite: work on pictures, beside the libraries that people use for it.

Each operation on pictures is a `Task`: its name, the picture it starts from, and what others are called to do the same.
To add one, append it to ``TASKS``. All start from arrays and end with arrays, except that Pillow keeps pictures in a form
of its own; it is given them in that form, as it would have them when it has just read a file.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from minivision_kernels import run

Call = Callable[[], Any]
PACKAGES = {"pillow": "PIL", "opencv": "cv2", "scikit-image": "skimage"}
LARGE, SMALL = (1080, 1920), (480, 640)


class Task(NamedTuple):
    """One operation on one picture."""

    name: str
    op: str                                                 # of the ladder
    shape: tuple[int, ...]                                  # of the picture x
    options: dict[str, Any]
    result: tuple[int, ...]                                 # the shape of what comes out
    item: int                                               # bytes of each of its numbers
    peers: Mapping[str, Callable[[np.ndarray, int], Call]]  # name -> from the picture and the number of threads, a call

    @property
    def traffic(self) -> int:
        return math.prod(self.shape) + self.item * math.prod(self.result)


def tasks() -> Iterator[Task]:
    """All tasks of the suite."""
    for shape in ((*LARGE, 3), (*LARGE, 1), (*SMALL, 3)):
        for size in ((shape[0] // 3, shape[1] // 3), (shape[0] * 3 // 2, shape[1] * 3 // 2)):
            for method in ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"):
                yield resizing(shape, size, method)
        for method in ("nearest", "bilinear", "bicubic"):
            yield rotating(shape, 17.0, method)
    for size in (LARGE, SMALL):
        yield from integrals(size)


def resizing(shape: tuple[int, ...], size: tuple[int, int], method: str) -> Task:
    """OpenCV takes part where it has such a method: it never antialiases, and its cubic is another one."""
    peers: dict[str, Callable[[np.ndarray, int], Call]] = {"pillow": lambda x, threads: _pillow_resize(x, size, method)}
    name = f"{_size(shape)} > {size[1]}x{size[0]} {method}"
    if method in OPENCV:
        peers["opencv"] = lambda x, threads: _opencv_resize(x, size, method, threads)
    if method in SKIMAGE:
        peers["scikit-image"] = lambda x, threads: _skimage_resize(x, size, method)
    return Task(name, "resize", shape, {"size": size, "method": method, "antialias": True}, (*size, shape[2]), 1, peers)


def rotating(shape: tuple[int, ...], degrees: float, method: str) -> Task:
    from ..vision.resample import turn

    matrix, size = turn(-math.radians(degrees), (shape[0], shape[1]), False)
    return Task(f"{_size(shape)} rotate {method}", "affine", shape, {"matrix": matrix, "size": size, "method": method},
                (*size, shape[2]), 1, {"pillow": lambda x, threads: _pillow_rotate(x, degrees, method),
                                       "opencv": lambda x, threads: _opencv_rotate(x, degrees, method, threads),
                                       "scikit-image": lambda x, threads: _skimage_rotate(x, degrees, method)})


def integrals(size: tuple[int, int]) -> Iterator[Task]:
    result = (size[0] + 1, size[1] + 1)
    opencv = {"opencv": _opencv_integral}
    yield Task(f"{_size(size)} integral", "integral", size, {"squared": False}, result, 8, opencv)
    yield Task(f"{_size(size)} tilted", "integral_tilted", size, {}, result, 8, {"opencv": _opencv_tilted})


def picture(shape: tuple[int, ...]) -> np.ndarray:
    """A picture of bytes, the same one each time: smooth, since noise is nothing that people resize."""
    rng = np.random.default_rng(0)
    channels = shape[2] if len(shape) == 3 else 1
    coarse = rng.integers(0, 256, (9, 16, channels)).astype(np.uint8)
    return run("resize", coarse, size=shape[:2], method="bicubic", antialias=True).reshape(shape)


def available(peer: str) -> bool:
    return importlib.util.find_spec(PACKAGES[peer]) is not None


# ------------------------------------------------------------------------------------------------------------- Pillow

def _pillow(x: np.ndarray) -> Any:
    from PIL import Image

    return Image.fromarray(x[..., 0] if x.ndim == 3 and x.shape[2] == 1 else x)


def _pillow_filter(method: str) -> Any:
    from PIL import Image

    return Image.Resampling[method.upper()]


def _pillow_resize(x: np.ndarray, size: tuple[int, int], method: str) -> Call:
    image, kind = _pillow(x), _pillow_filter(method)
    return lambda: image.resize(size[::-1], kind)


def _pillow_rotate(x: np.ndarray, degrees: float, method: str) -> Call:
    image, kind = _pillow(x), _pillow_filter(method)
    return lambda: image.rotate(degrees, kind)


# ------------------------------------------------------------------------------------------------------------- OpenCV

OPENCV = {"nearest": "INTER_NEAREST", "box": "INTER_AREA", "bilinear": "INTER_LINEAR", "bicubic": "INTER_CUBIC",
          "lanczos": "INTER_LANCZOS4"}


def cv2_with(threads: int = 1) -> Any:
    """OpenCV, told how many threads it may use."""
    import cv2

    cv2.setNumThreads(threads)
    return cv2


def _opencv_resize(x: np.ndarray, size: tuple[int, int], method: str, threads: int) -> Call:
    cv2 = cv2_with(threads)
    kind = getattr(cv2, OPENCV[method])
    return lambda: cv2.resize(x, size[::-1], interpolation=kind)


def _opencv_rotate(x: np.ndarray, degrees: float, method: str, threads: int) -> Call:
    cv2 = cv2_with(threads)
    H, W = x.shape[:2]
    matrix = cv2.getRotationMatrix2D((W / 2 - 0.5, H / 2 - 0.5), degrees, 1)
    kind = getattr(cv2, OPENCV[method])
    return lambda: cv2.warpAffine(x, matrix, (W, H), flags=kind)


def _opencv_integral(x: np.ndarray, threads: int) -> Call:
    cv2 = cv2_with(threads)
    return lambda: cv2.integral(x)


def _opencv_tilted(x: np.ndarray, threads: int) -> Call:
    """OpenCV has no tilted integral without the two others."""
    cv2 = cv2_with(threads)
    return lambda: cv2.integral3(x)[2]


# ------------------------------------------------------------------------------------------------------- scikit-image

SKIMAGE = {"nearest": 0, "bilinear": 1, "bicubic": 3}       # orders of splines; its cubic is another one too


def _skimage_resize(x: np.ndarray, size: tuple[int, int], method: str) -> Call:
    from skimage.transform import resize

    return lambda: resize(x, size, SKIMAGE[method], preserve_range=True, anti_aliasing=method != "nearest")


def _skimage_rotate(x: np.ndarray, degrees: float, method: str) -> Call:
    from skimage.transform import rotate

    return lambda: rotate(x, degrees, order=SKIMAGE[method], preserve_range=True)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}" + " rgb" * (len(shape) == 3 and shape[2] == 3)
