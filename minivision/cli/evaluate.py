"""Test a trained network: how often it is right, on which classes, and what it takes for what."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import add_device, add_root
from .output import blocks, percent, plural
from .sources import NAMES

if TYPE_CHECKING:
    import numpy as np

    from ..data import ArrayDataset
    from .trained import Trained

HELP = "test a trained network"
EXAMPLE = "example:\n  minivision evaluate runs/digits-smallcnn/model.safetensors"

MATRIX_MOST = 20            # classes; a wider matrix does not fit a terminal
PAIRS_MOST = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="model.safetensors that `minivision train` wrote")
    parser.add_argument("--data", metavar="NAME", help=f"{', '.join(NAMES)}, or a folder of pictures (what it was "
                        "trained on; of another folder all pictures are used)")
    add_root(parser)
    add_device(parser)


def run(arguments: argparse.Namespace) -> int:
    import numpy as np

    from .trained import load_trained, probabilities

    trained = load_trained(arguments.checkpoint)
    images = _images(trained, arguments.data, arguments.root)
    answers = probabilities(trained.model.to(arguments.device), images)
    labels, predicted = images.labels, answers.argmax(1)
    loss = float(-np.log(np.maximum(answers[np.arange(len(labels)), labels], 1e-30)).mean())
    right = int((predicted == labels).sum())
    counts = np.zeros((len(trained.class_names),) * 2, np.int64)         # truth x answer
    np.add.at(counts, (labels, predicted), 1)

    print(f"{trained.name}, {plural(trained.epoch, 'epoch')} on {trained.data}, tested on "
          f"{plural(len(images), 'image')} of {images.name}")
    print(f"test accuracy {percent(right / len(images))} ({right:,} of {len(images):,})   loss {loss:.4f}")
    _print_classes(counts, trained.class_names)
    _print_pairs(counts, trained.class_names)
    if len(counts) <= MATRIX_MOST:
        _print_matrix(counts, trained.class_names)
    return 0


def _images(trained: Trained, name: str | None, root: str | None) -> ArrayDataset:
    """The test images, if the model can be asked about them."""
    from .sources import everything, test_half

    own = name is None or name in NAMES or str(Path(name).expanduser().resolve()) == trained.data
    if own or not Path(name or "").is_dir():
        images = test_half(trained.data if name is None else name, root, trained.image_size)
    else:
        images = everything(Path(name or ""), trained.image_size)
    expected = (trained.channels, trained.image_size, trained.image_size)
    if images.images.shape[1:] != expected:
        raise ValueError(f"{trained.path} is of a model for images of shape {expected}, but those of {name} are "
                         f"{images.images.shape[1:]}; choose the data it was trained on, {trained.data}")
    if images.classes != trained.class_names:
        raise ValueError(f"{trained.path} is of a model for the classes {_some(trained.class_names)}, but {name} has "
                         f"{_some(images.classes)}; choose the data it was trained on, {trained.data}")
    return images


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (f" ... ({len(names)})" if len(names) > 4 else "")


def _print_classes(counts: np.ndarray, names: tuple[str, ...]) -> None:
    width = max(5, *map(len, names))
    print(f"\n{'class':<{width}}   {'right':>15}   accuracy")
    for name, row, right in zip(names, counts, counts.diagonal()):
        if row.sum():
            share = right / row.sum()
            print(f"{name:<{width}}   {f'{right:,} of {row.sum():,}':>15}   {percent(share):>7}  {blocks(share, 20)}")


def _print_pairs(counts: np.ndarray, names: tuple[str, ...]) -> None:
    size = range(len(names))
    mistakes = [(int(counts[truth, answer]), truth, answer) for truth in size for answer in size if truth != answer]
    pairs = sorted((pair for pair in mistakes if pair[0]), key=lambda pair: -pair[0])
    if not pairs:
        print("\nnothing was taken for anything else")
        return
    print("\nmost confused")
    for count, truth, answer in pairs[:PAIRS_MOST]:
        print(f"  {names[truth]} taken for {names[answer]}: {plural(count, 'time')}")
    if len(pairs) > PAIRS_MOST:
        print(f"  and {plural(len(pairs) - PAIRS_MOST, 'pair')} more")


def _print_matrix(counts: np.ndarray, names: tuple[str, ...]) -> None:
    """Rows are the truth, columns the answer; a dot is a zero, so that the mistakes stand out."""
    short = [name[:9] for name in names]
    left, cell = max(map(len, short)), max(len(str(counts.max())), *map(len, short)) + 1
    print("\nconfusion matrix (a row for what it is, a column for what the network says)")
    print(" " * left + "".join(name.rjust(cell) for name in short))
    for name, row in zip(short, counts):
        print(name.ljust(left) + "".join((str(n) if n else "·").rjust(cell) for n in row))
