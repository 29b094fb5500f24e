"""Picture files: Pillow decodes and encodes, and what it leaves to its callers is done here.

What a file may hold, and what ``imread`` makes of it:

    grey, 8 bits                H x W        uint8
    black and white, 1 bit      H x W        uint8, 0 and 255
    grey, 16 bits               H x W        uint16, 0..65535, as stored (image / 65535 gives what other functions take)
    floats (TIFF)               H x W        float32, as stored
    RGB, 8 bits                 H x W x 3    uint8
    palette                     H x W x 3    uint8, the colours looked up
    with transparency           H x W x 3    uint8, laid on white; mode="rgba" keeps it, H x W x 4
    CMYK, YCbCr, Lab, HSV       H x W x 3    uint8, converted by Pillow
    colour, 16 bits             H x W x 3    uint8: Pillow keeps the upper 8 bits
    several pictures            the first
"""

from __future__ import annotations

import os
import struct
import warnings
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checkpoint import write_whole
from . import checks

if TYPE_CHECKING:
    from PIL.Image import Image

MODES = ("gray", "rgb", "rgba")
MOST_PIXELS = 1 << 27           # of a file: half a gigabyte when decoded; the header tells before anything is decoded
QUALITY = 95                    # of JPEG and WebP
OPAQUE = ("BMP", "DIB", "GIF", "PPM")           # Pillow would drop transparency, or part of it, and say nothing


class ImageError(ValueError):
    """A file is no picture, is damaged, or claims an absurd size; or a picture cannot be written as asked."""


def imread(path: str | PathLike[str], mode: str | None = None) -> np.ndarray:
    """Read a picture, turned upright as the camera recorded it (EXIF orientation).

    Args:
        path: a file of any format that Pillow reads.
        mode: None gives what the file holds, see the table above this function's module. "gray" gives H x W uint8 (Pillow's
            weights, see `to_gray`), "rgb" H x W x 3 uint8, "rgba" H x W x 4 uint8; 16 bits are then reduced to their upper 8.

    Returns:
        A new array, H x W or H x W x 3 (H x W x 4 for "rgba"), mostly uint8.

    Raises:
        ImageError: it is no picture, is cut off or damaged, or its header claims more than 2^27 pixels.
        FileNotFoundError, OSError: there is no such file, or it cannot be read.
    """
    if mode is not None:
        checks.chosen(mode, MODES, "imread", "mode")
    from PIL import Image, ImageOps, UnidentifiedImageError

    file = Path(path)
    if not file.is_file():                  # also keeps us from waiting on a pipe for ever
        raise FileNotFoundError(f"{path} is a folder, expected a picture file" if file.is_dir() else
                                f"{path} is not a regular file, expected a picture file" if file.exists() else
                                f"there is no file {path}; check the path")
    if not os.access(file, os.R_OK):
        raise PermissionError(f"{path} cannot be read: permission denied")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")                     # of sizes we check ourselves, and of odd metadata
            with Image.open(file) as opened:
                if opened.width * opened.height > MOST_PIXELS:
                    raise ImageError(f"{path} says it has {opened.width} x {opened.height} pixels, expected at most "
                                     f"{MOST_PIXELS:,}; make it smaller before it is read")
                opened.load()
                return _pixels(ImageOps.exif_transpose(opened), mode, path)
    except (ImageError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise ImageError(f"{path} is not a picture that Pillow can read") from None
    except Image.DecompressionBombError:
        raise ImageError(f"{path} says it has more than {MOST_PIXELS:,} pixels; make it smaller before it is read") from None
    except Exception as problem:            # decoders raise what they please: SyntaxError, struct.error, IndexError ...
        raise ImageError(f"{path} is cut off or damaged and cannot be decoded: {problem}") from problem


def imwrite(path: str | PathLike[str], image: np.ndarray) -> None:
    """Write a picture; the suffix of the name says in which format (.png, .jpg, .webp, .tif, .bmp, .gif ...).

    The file takes its place only once it is complete. JPEG and WebP are written with quality 95.

    Args:
        image: H x W, H x W x 3 or H x W x 4 (with transparency), uint8; H x W uint16, for PNG and TIFF; or floats in
            0..1, H x W or H x W x 3, which are stored as round(255 v).

    Raises:
        ImageError: the suffix is unknown, or the format cannot hold such an image.
        TypeError, ValueError: it is no image, or has floats outside 0..1.
    """
    from PIL import Image

    path = Path(path)
    pixels = _storable(image)
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind is None or kind not in Image.SAVE:
        raise ImageError(f"{path} has the suffix {path.suffix!r}, which names no picture format that can be written; "
                         "use .png, .jpg, .webp, .tif, .bmp or .gif")
    if pixels.dtype == np.uint16 and kind not in ("PNG", "TIFF"):
        raise ImageError(f"{path}: {kind} cannot hold 16 bits; use .png or .tif, or image // 257 as uint8")
    if pixels.ndim == 3 and pixels.shape[2] == 4 and kind in OPAQUE:
        raise ImageError(f"{path}: {kind} cannot hold transparency; use .png, or three channels")
    picture = Image.fromarray(pixels)
    options = {"quality": QUALITY} if kind in ("JPEG", "WEBP") else {}
    try:
        write_whole(path, lambda file: picture.save(file, format=kind, **options))
    except OSError as problem:
        if problem.errno is not None or isinstance(problem, IsADirectoryError):         # not a matter of the format
            raise
        raise ImageError(f"{path} cannot be written as {kind}: {problem}; use .png") from problem
    except (ValueError, KeyError, OverflowError, RuntimeError, struct.error) as problem:     # a side too long, for instance
        raise ImageError(f"{path} cannot be written as {kind}: {problem}; use .png") from problem


def _pixels(picture: Image, mode: str | None, path: Any) -> np.ndarray:
    """The decoded picture as an array."""
    if picture.mode.startswith("I;16") or (picture.mode == "I" and _fits_16_bits(picture)):
        deep = np.array(picture).astype(np.uint16)
        if mode is None:
            return deep
        picture = _from_array((deep >> 8).astype(np.uint8))
    if picture.mode == "F" and mode is None:
        return np.array(picture, np.float32)
    if picture.mode in ("I", "F"):
        raise ImageError(f"{path} has pixels of 32 bits (Pillow mode {picture.mode}), expected 8 or 16"
                         + ("; read it without a mode" if picture.mode == "F" else ""))
    if picture.mode == "LAB":
        picture = picture.convert("RGB")                # the only mode that Pillow makes of it
    if mode == "rgba":
        return np.array(picture.convert("RGBA"))
    if picture.has_transparency_data:
        from PIL import Image

        upright = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright).convert("RGB")
    gray = mode == "gray" or (mode is None and picture.mode in ("1", "L"))
    return np.array(picture.convert("L" if gray else "RGB"))


def _fits_16_bits(picture: Image) -> bool:
    low, high = picture.getextrema()
    return 0 <= low <= high <= 65535        # type: ignore[operator]      # a pair of numbers, for one band


def _from_array(pixels: np.ndarray) -> Image:
    from PIL import Image

    return Image.fromarray(pixels)


def _storable(image: Any) -> np.ndarray:
    """The image as uint8 or uint16, contiguous."""
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 4 and image.size:
        return np.ascontiguousarray(image)
    if isinstance(image, np.ndarray) and image.dtype == np.uint16 and image.ndim == 2 and image.size:
        return np.ascontiguousarray(image)
    checks.image(image, "imwrite", unit=True)
    if image.dtype != np.uint8:
        image = np.rint(image * 255).astype(np.uint8)
    return np.ascontiguousarray(image)
