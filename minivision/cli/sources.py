"""A data set by its name, or a folder of pictures: training and test images in memory, whatever they came from."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from ..data import ArrayDataset, ImageFolder

NAMES = ("digits", "mnist", "fashion-mnist", "cifar10")
INK_ON_BLACK = ("digits", "mnist", "fashion-mnist")     # sets whose pictures are bright on a black ground


class Source(NamedTuple):
    """The two halves of a data set, and what to call it: its name, or the path of its folder."""

    name: str
    train: ArrayDataset
    test: ArrayDataset


def load(name: str, root: str | None = None, image_size: int = 32) -> Source:
    """The data set of that name, or the folder at that path with pictures scaled to ``image_size``.

    A folder with the folders ``train`` and ``test`` is split as they say; in any other, each class's folder keeps a
    fifth of its pictures for the test, always the same ones.

    Raises:
        DataError: there is neither, or its files are missing or damaged.
    """
    from .. import data

    if name in NAMES:
        if name == "digits":
            return Source(name, data.digits("train"), data.digits("test"))
        read = {"mnist": data.mnist, "fashion-mnist": data.fashion_mnist, "cifar10": data.cifar10}[name]
        return Source(name, read(root, "train"), read(root, "test"))
    folder = Path(name).expanduser()
    if not folder.is_dir():
        near = difflib.get_close_matches(name.lower().replace("_", "-"), NAMES, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise data.DataError(f"there is no data set and no folder {name!r}{hint} The sets are {', '.join(NAMES)}; "
                             "a folder holds one folder of pictures per class")
    halves = [folder / "train", folder / "test"]
    if all(half.is_dir() for half in halves):
        train, test = (everything(half, image_size) for half in halves)
        if train.classes != test.classes:
            raise data.DataError(f"{halves[0]} and {halves[1]} have different class folders; both need {train.classes}")
        return Source(str(folder.resolve()), _mixed(train), test)
    return Source(str(folder.resolve()), *_split(everything(folder, image_size), folder))


def test_half(name: str, root: str | None = None, image_size: int = 32) -> ArrayDataset:
    """The test images alone."""
    from .. import data

    if name in ("mnist", "fashion-mnist", "cifar10"):
        read = {"mnist": data.mnist, "fashion-mnist": data.fashion_mnist, "cifar10": data.cifar10}[name]
        return read(root, "test")
    return load(name, root, image_size).test


def everything(folder: Path, image_size: int) -> ArrayDataset:
    """All pictures of a folder, decoded once and kept: small ones fit in memory, and epochs need not wait for them."""
    import numpy as np

    from ..data import ArrayDataset, ImageFolder
    from .output import progress

    pictures: ImageFolder = ImageFolder(folder, "RGB", image_size)
    images = np.empty((len(pictures), *pictures.image_shape), np.uint8)
    with progress(len(pictures), "reading pictures", "picture") as bar:
        for i in range(len(pictures)):
            images[i] = pictures[i][0]
            bar.update()
    return ArrayDataset(images, pictures.labels, pictures.classes, pictures.name)


def _split(whole: ArrayDataset, folder: Path) -> tuple[ArrayDataset, ArrayDataset]:
    import numpy as np

    from ..data import DataError

    if len(whole.classes) < 2:
        raise DataError(f"{folder} has one class folder only, {whole.classes[0]}; a classifier needs two or more")
    held_out = np.zeros(len(whole), bool)
    for label in range(len(whole.classes)):
        own = np.flatnonzero(whole.labels == label)
        count = max(1, len(own) // 5) if len(own) > 1 else 0
        held_out[own[_shuffled(len(own), label)[:count]]] = True
    if not held_out.any():
        raise DataError(f"{folder} has one picture per class, which leaves none to test with; add more")
    return _mixed(whole.subset(~held_out)), whole.subset(held_out)


def _mixed(images: ArrayDataset) -> ArrayDataset:
    """In a fixed mixed order: a folder is sorted by class, and its first N pictures should not be all of one."""
    return images.subset(_shuffled(len(images), len(images)))


def _shuffled(count: int, seed: int) -> np.ndarray:
    import numpy as np

    return np.argsort(np.random.PCG64(np.random.SeedSequence(seed)).random_raw(count), kind="stable")
