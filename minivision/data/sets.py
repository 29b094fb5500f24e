"""The classic data sets by name."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np

from .dataset import ArrayDataset, DataError
from .fetch import data_root
from .readers import read_cifar_archive, read_cifar_batch, read_idx

DIGIT_NAMES = tuple("0123456789")
FASHION_NAMES = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
                 "ankle boot")
CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def digits(split: str = "train") -> ArrayDataset:
    """Handwritten digits, small enough to ship with the package: nothing to download, a net learns them in seconds.

    Args:
        split: "train" (1,437 images), "test" (360, 36 of each digit, always the same ones) or "all".

    Returns:
        Images float32 (N, 1, 8, 8) in [0, 1], ink is 1; labels int64 (N,), 0..9.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998,
    https://doi.org/10.24432/C50P49, CC BY 4.0. The file digits.txt beside this one tells the rest.
    """
    _check_split(split, ("train", "test", "all"))
    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as file:
        images, labels, test = file["images"], file["labels"], file["test_indices"]
    held_out = np.zeros(len(images), bool)
    held_out[test] = True
    rows = {"train": ~held_out, "test": held_out, "all": slice(None)}[split]
    ink = images[rows, None].astype(np.float32) / 16
    return ArrayDataset(ink, labels[rows].astype(np.int64), DIGIT_NAMES, "digits")


def mnist(root: str | PathLike[str] | None = None, split: str = "train") -> ArrayDataset:
    """MNIST: handwritten digits.

    Args:
        root: the folder with the files, or with a folder ``mnist`` that has them; `data_root` tells the default.
        split: "train" (60,000 images) or "test" (10,000).

    Returns:
        Images uint8 (N, 1, 28, 28), 0..255, ink is 255; labels int64 (N,), 0..9.

    Raises:
        DataError: when the files are missing (it says how to fetch them) or damaged.

    Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition",
    Proceedings of the IEEE 86(11), 1998. CC BY-SA 3.0.
    """
    return _mnist_like("mnist", DIGIT_NAMES, root, split)


def fashion_mnist(root: str | PathLike[str] | None = None, split: str = "train") -> ArrayDataset:
    """Fashion-MNIST: pieces of clothing, in the same form as `mnist` and harder to tell apart.

    Arguments, shapes and errors are those of `mnist`; the folder is ``fashion-mnist``.

    Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
    algorithms", arXiv:1708.07747, 2017. MIT licence.
    """
    return _mnist_like("fashion-mnist", FASHION_NAMES, root, split)


def cifar10(root: str | PathLike[str] | None = None, split: str = "train") -> ArrayDataset:
    """CIFAR-10: small colour photographs of animals and vehicles.

    Args:
        root: the folder that has the binary version, unpacked (``data_batch_1.bin`` ...) or still packed
            (``cifar-10-binary.tar.gz``), itself or in ``cifar10``; `data_root` tells the default.
        split: "train" (50,000 images) or "test" (10,000).

    Returns:
        Images uint8 (N, 3, 32, 32), RGB in 0..255; labels int64 (N,), 0..9.

    Raises:
        DataError: when the files are missing (it says how to fetch them) or damaged.

    Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", technical report, University of
    Toronto, 2009. The authors state no licence.
    """
    _check_split(split, ("train", "test"))
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] if split == "train" else ["test_batch.bin"]
    folders = _folders("cifar10", root)
    for folder in folders:
        for inside in (folder, folder / "cifar-10-batches-bin"):
            if all((inside / name).is_file() for name in names):
                return _joined([read_cifar_batch(inside / name) for name in names])
        archive = folder / "cifar-10-binary.tar.gz"
        if archive.is_file():
            return _joined(read_cifar_archive(archive, names))
    raise _missing("cifar10", f"{' '.join(names)} or cifar-10-binary.tar.gz", folders)


def _joined(batches: list[tuple[np.ndarray, np.ndarray]]) -> ArrayDataset:
    images, labels = zip(*batches)
    return ArrayDataset(np.concatenate(images), np.concatenate(labels), CIFAR10_NAMES, "cifar10")


# The first labels of each set: enough to notice one lying where the other is looked for, since their files have the
# same names, and a net would train on the wrong pictures without a word.
FIRST_LABELS = {
    "mnist": {"train": [5, 0, 4, 1, 9, 2, 1, 3, 1, 4], "test": [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]},
    "fashion-mnist": {"train": [9, 0, 0, 3, 0, 2, 7, 2, 5, 5], "test": [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]},
}


def _mnist_like(name: str, classes: tuple[str, ...], root: str | PathLike[str] | None, split: str) -> ArrayDataset:
    _check_split(split, ("train", "test"))
    prefix = {"train": "train", "test": "t10k"}[split]
    stems = (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte")
    folders = _folders(name, root)
    for folder in folders:
        images_file, labels_file = (_packed_or_plain(folder / stem) for stem in stems)
        if images_file and labels_file:
            break
    else:
        raise _missing(name, " and ".join(f"{stem}[.gz]" for stem in stems), folders)

    images, labels = read_idx(images_file), read_idx(labels_file)
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (28, 28):
        raise DataError(f"{images_file} holds {images.dtype} of shape {images.shape}, expected uint8 (N, 28, 28); "
                        "are images and labels swapped?")
    if labels.dtype != np.uint8 or labels.shape != images.shape[:1]:
        raise DataError(f"{labels_file} holds {labels.dtype} of shape {labels.shape}, expected uint8 "
                        f"({len(images)},), one label for each image in {images_file.name}; take both from the same "
                        "download")
    if labels.max(initial=0) >= len(classes):
        raise DataError(f"{labels_file} holds the label {labels.max()}, expected 0..{len(classes) - 1}; download it "
                        "again")
    other = next(other for other in FIRST_LABELS if other != name)
    if labels[:10].tolist() == FIRST_LABELS[other][split]:
        raise DataError(f"{labels_file} belongs to {other}, not to {name}; put each set into a folder of its name, "
                        f"{folders[0]} for this one")
    return ArrayDataset(images[:, None], labels.astype(np.int64), classes, name)


def _packed_or_plain(path: Path) -> Path | None:
    return next((file for file in (path.with_name(f"{path.name}.gz"), path) if file.is_file()), None)


def _folders(name: str, root: str | PathLike[str] | None) -> list[Path]:
    """Where the files of a set may lie; the folder of its own name first, since sets share file names."""
    top = data_root(root)
    return [top / name, top]


def _missing(name: str, files: str, folders: list[Path]) -> DataError:
    return DataError(f"the files of {name} are not here. Looked for {files} in {' and '.join(map(str, folders))}. "
                     f"Fetch them with `minivision data fetch {name}`, or let the environment variable "
                     "MINIVISION_DATA (or root=) name the folder that has them.")


def _check_split(split: str, allowed: tuple[str, ...]) -> None:
    if split not in allowed:
        raise DataError(f"split is {split!r}, expected {', '.join(map(repr, allowed[:-1]))} or {allowed[-1]!r}")
