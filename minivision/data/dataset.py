"""What a data set is: things that can be counted, and fetched by number as (image, label)."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np


class DataError(ValueError):
    """A file, a folder or an array that cannot be used as data. The text says what is wrong and what to change."""


@runtime_checkable
class Dataset(Protocol):
    """Anything with a length whose items are pairs (image, label).

    The image is an array, C x H x W for a picture: uint8 means 0..255, floats are taken as they are. The label is a
    whole number (or an array, for targets such as masks). No class needs to inherit from this one; having the two
    methods is enough.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Any, Any]: ...


class ArrayDataset:
    """A data set that lies in memory as two arrays.

    Args:
        images: (N, C, H, W), or any array whose first axis counts the samples; uint8 for 0..255, otherwise floats.
            Large sets stay uint8, a quarter of the memory; `DataLoader` turns each batch into float32 in [0, 1].
        labels: (N,) whole numbers; or (N, ...) targets of any kind.
        classes: the name of each label, in order; may stay empty.
        name: what to call the set in messages.

    Raises:
        DataError: for arrays of different length, without a first axis, or with an integer label that has no class.
    """

    def __init__(self, images: Any, labels: Any, classes: Sequence[str] = (), name: str = ""):
        self.images = np.asarray(images)
        self.labels = np.asarray(labels)
        self.classes = tuple(classes)
        self.name = name
        if self.images.ndim == 0 or self.labels.ndim == 0:
            raise DataError(f"images and labels need a first axis that counts the samples, got shapes "
                            f"{self.images.shape} and {self.labels.shape}")
        if len(self.images) != len(self.labels):
            raise DataError(f"{len(self.images)} images but {len(self.labels)} labels; there must be one label per "
                            "image")
        if self.classes and len(self.labels) and np.issubdtype(self.labels.dtype, np.integer):
            lowest, highest = self.labels.min(), self.labels.max()
            if lowest < 0 or highest >= len(self.classes):
                raise DataError(f"labels run from {lowest} to {highest}, but {len(self.classes)} classes allow "
                                f"0 to {len(self.classes) - 1}; correct the labels or name all classes")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int, /) -> tuple[np.ndarray, Any]:
        """The pair at ``index``: the image as stored, and its label as an int (as an array if it is more than one)."""
        label = self.labels[operator.index(index)]
        return self.images[operator.index(index)], label.item() if label.ndim == 0 else label

    def subset(self, indices: Any) -> ArrayDataset:
        """The samples at ``indices`` (a slice, an index array or a mask) as a data set: ``subset(slice(1000))``."""
        return ArrayDataset(self.images[indices], self.labels[indices], self.classes, self.name)

    def __repr__(self) -> str:
        return (f"ArrayDataset({self.name or 'unnamed'}: {len(self)} images of shape {self.images.shape[1:]} "
                f"{self.images.dtype}, {f'{len(self.classes)} classes' if self.classes else 'classes not named'})")
