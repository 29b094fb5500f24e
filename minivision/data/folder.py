"""Your own pictures: one folder per class, the folder's name is the label."""

from __future__ import annotations

import os
from numbers import Integral
from os import PathLike
from pathlib import Path

import numpy as np

from .dataset import DataError

LONGEST = 1 << 14               # pixels along a side that pictures are scaled to
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}


class ImageFolder:
    """Pictures sorted into folders, decoded one at a time when asked for.

        root/cat/1.png       classes == ("cat", "dog"), in sorted order, so that the labels
        root/cat/2.jpg       0 and 1 are the same on every machine
        root/dog/a/3.png     folders inside a class may be as deep as they like

    Files that are not pictures by their suffix, and names that begin with a dot, are passed over.

    Args:
        root: the folder that holds the class folders.
        mode: "RGB" gives 3 channels, "L" gives 1 (grey; Pillow's weights, ITU-R 601-2 luma).
        size: (H, W), or one number for a square, to scale every picture to (bilinear, as Pillow does it). Without
            it all pictures must have the shape of the first.

    Items are (image, label): uint8 (C, H, W) in 0..255, turned upright as the camera recorded it, and an int.
    Transparency is dropped.

    Attributes:
        classes: the class names. paths: the files. labels: int64, one per file. name: the folder's name.

    Raises:
        DataError: for a folder that is missing, has no class folders, or a class without pictures; and, when a picture
            is asked for, one that cannot be decoded or has another shape, by its name.
    """

    def __init__(self, root: str | PathLike[str], mode: str = "RGB", size: int | tuple[int, int] | None = None):
        self.root = Path(root).expanduser()
        if mode not in ("RGB", "L"):
            raise DataError(f"mode is {mode!r}, expected 'RGB' or 'L' (grey)")
        self.mode = mode
        self.size = _checked_size(size)
        self.name = self.root.resolve().name
        if not self.root.is_dir():
            raise DataError(f"{root} is not a folder; pass the folder that holds one folder per class")
        self.classes = tuple(sorted(entry.name for entry in self.root.iterdir()
                                    if entry.is_dir() and not entry.name.startswith(".")))
        if not self.classes:
            raise DataError(f"{root} has no folder inside; expected one folder per class, {root}/cat/1.png and so on")
        self.paths: list[Path] = []
        labels: list[int] = []
        for label, name in enumerate(self.classes):
            pictures = _pictures(self.root / name)
            if not pictures:
                raise DataError(f"the class folder {self.root / name} holds no picture "
                                f"({' '.join(sorted(SUFFIXES))}); put some in, or remove the folder")
            self.paths += pictures
            labels += [label] * len(pictures)
        self.labels = np.array(labels, np.int64)
        # The first picture sets the shape for all; decoding it now also tells at once about a folder gone wrong.
        self.image_shape = self._decode(self.paths[0]).shape

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> tuple[np.ndarray, int]:
        path = self.paths[index]
        image = self._decode(path)
        if image.shape != self.image_shape:
            raise DataError(f"{path} has the shape {image.shape} (C, H, W), but {self.paths[0]} has "
                            f"{self.image_shape}; pass size=(H, W) to scale all pictures alike, for example "
                            f"size={self.image_shape[1:]}")
        return image, int(self.labels[index])

    def _decode(self, path: Path) -> np.ndarray:
        """One picture as uint8 (C, H, W)."""
        from PIL import Image, ImageOps, UnidentifiedImageError

        try:
            with Image.open(path) as opened:
                picture: Image.Image = ImageOps.exif_transpose(opened)
                if picture.mode[0] in "IF":     # I;16, I, F: Pillow would clip them at 255 and say nothing
                    raise DataError(f"{path} has pixels of more than 8 bits (Pillow mode {picture.mode}); save it "
                                    "with 8 bits per channel first")
                picture = picture.convert(self.mode)
                if self.size is not None:
                    picture = picture.resize(self.size[::-1], Image.Resampling.BILINEAR)
                pixels = np.array(picture, np.uint8)
        except DataError:
            raise
        except UnidentifiedImageError:
            raise DataError(f"{path} is not a picture that Pillow can read; replace it or remove it") from None
        except Exception as problem:        # decoders raise what they please: SyntaxError, struct.error, IndexError ...
            raise DataError(f"{path} cannot be decoded: {problem}; replace it or remove it") from problem
        return np.ascontiguousarray(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))

    def __repr__(self) -> str:
        return (f"ImageFolder({str(self.root)!r}: {len(self)} {self.mode} images of shape {self.image_shape}, "
                f"{len(self.classes)} classes)")


def _pictures(folder: Path) -> list[Path]:
    """Every picture below a class folder, in an order that does not depend on the file system."""
    found = [Path(parent, file) for parent, inside, files in os.walk(folder)
             if not any(part.startswith(".") for part in Path(parent).relative_to(folder).parts)
             for file in files if Path(file).suffix.lower() in SUFFIXES and not file.startswith(".")]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _checked_size(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    if len(pair) != 2 or not all(isinstance(side, Integral) and not isinstance(side, bool) and 0 < side <= LONGEST
                                 for side in pair):
        raise DataError(f"size is {size!r}, expected (H, W) or one whole number, from 1 to {LONGEST}")
    return int(pair[0]), int(pair[1])
