"""DataLoader: a data set in batches of Tensors, shuffled the same way every time.

The order of epoch k depends on (seed, k) alone. A run that stops after epoch 7 and goes on from a checkpoint therefore
sees, from epoch 8 on, exactly the batches it would have seen; two numbers in the checkpoint are enough.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .dataset import ArrayDataset, DataError, Dataset

if TYPE_CHECKING:
    from ..tensor import Tensor


class DataLoader:
    """Iterates over a data set as pairs of Tensors (images, labels), one epoch per ``for`` loop.

    Args:
        dataset: a `Dataset`, or a tuple of two arrays (images, labels).
        batch_size: samples per batch, at least 1.
        shuffle: whether each epoch has an order of its own; otherwise the order is the data set's.
        drop_last: whether to leave out a last batch that is not full.
        seed: fixes the shuffling, a whole number >= 0; without it one is drawn from ``mv.manual_seed``'s generator.

    Yields:
        images: float32 (B, ...). uint8 images are divided by 255, into [0, 1]; floats are taken as they are.
        labels: int64 (B,) for whole numbers; float32 (B, ...) if the targets are floats.
        Both are copies: changing a batch leaves the data set alone.

    Attributes:
        epoch: the number of the next epoch to begin, from 0. It moves on when a loop begins, so that a loop left early
            is not repeated; set it to continue a run.

    Raises:
        DataError: for an argument out of range, an empty data set, images of an integer dtype other than uint8 (their
            range is anyone's guess), or images of different shapes in one batch.
    """

    def __init__(self, dataset: Dataset | tuple[Any, Any], batch_size: int, shuffle: bool = False,
                 drop_last: bool = False, seed: int | None = None):
        if isinstance(dataset, tuple):
            if len(dataset) != 2:
                raise DataError(f"a tuple as data set must be (images, labels), got {len(dataset)} things")
            dataset = ArrayDataset(*dataset)
        if not isinstance(dataset, Dataset):
            raise DataError(f"dataset is a {type(dataset).__name__}, expected something with __len__ and "
                            "__getitem__, or a tuple (images, labels)")
        if len(dataset) == 0:
            raise DataError("the data set is empty; there is nothing to iterate over")
        self.dataset = dataset
        self.batch_size = _whole("batch_size", batch_size, least=1)
        self.shuffle = bool(shuffle)
        self.drop_last = bool(drop_last)
        if seed is None:
            # Only a loader that shuffles may draw: one that does not must leave the generator where it was.
            seed = _fresh_seed() if self.shuffle else 0
        self.seed = _whole("seed", seed, least=0)
        self.epoch = 0

    @property
    def epoch(self) -> int:
        return self._epoch

    @epoch.setter
    def epoch(self, value: int) -> None:
        self._epoch = _whole("epoch", value, least=0)

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = self.order(self.epoch)
        self.epoch += 1
        return self._batches(order)      # a generator of its own: the lines above run now, not at the first batch

    def order(self, epoch: int) -> np.ndarray:
        """The indices of the samples in the order in which ``epoch`` visits them, int64 (N,).

        A shuffle is a sort by random keys. The keys are the raw output of PCG64, which NumPy keeps the same for ever,
        unlike its own shuffle; ties, one chance in 2^64, fall back to the data set's order.
        """
        if not self.shuffle:
            return np.arange(len(self.dataset))
        keys = np.random.PCG64(np.random.SeedSequence((self.seed, epoch))).random_raw(len(self.dataset))
        return np.argsort(keys, kind="stable")

    def state_dict(self) -> dict[str, int]:
        """What a checkpoint needs to continue with the next epoch: {"seed": ..., "epoch": ...}, plain ints."""
        return {"seed": self.seed, "epoch": self.epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken; whole numbers of any kind, such as 0-d arrays, will do."""
        if set(state) != {"seed", "epoch"}:
            raise DataError("the state of a DataLoader has the keys seed and epoch, got "
                            f"{', '.join(map(str, state)) or 'none'}")
        seed, epoch = _whole("seed", state["seed"], least=0), _whole("epoch", state["epoch"], least=0)
        self.seed, self.epoch = seed, epoch                 # both are sound, or neither is taken

    def _batches(self, order: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
        from ..tensor import Tensor

        for start in range(0, len(self) * self.batch_size, self.batch_size):
            images, labels = self._gather(order[start:start + self.batch_size])
            yield Tensor(images), Tensor(labels)

    def _gather(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if isinstance(self.dataset, ArrayDataset):          # one indexing for the whole batch instead of one per sample
            return _as_images(self.dataset.images[indices]), _as_labels(self.dataset.labels[indices])
        items = [self.dataset[int(i)] for i in indices]
        images = [_as_images(np.asarray(image)) for image, _ in items]
        for i, image in zip(indices, images):
            if image.shape != images[0].shape:
                raise DataError(f"item {i} of the data set has an image of shape {image.shape}, item {indices[0]} "
                                f"one of {images[0].shape}; a batch needs one shape, scale or crop the images alike")
        return np.stack(images), _as_labels(np.stack([np.asarray(label) for _, label in items]))


def _as_images(images: np.ndarray) -> np.ndarray:
    """float32; uint8 becomes [0, 1] by a division, which agrees bit for bit with PyTorch's ToTensor."""
    if images.dtype == np.uint8:
        return np.divide(images, np.float32(255), dtype=np.float32)
    if np.issubdtype(images.dtype, np.floating):
        return images.astype(np.float32, copy=False)
    raise DataError(f"images are {images.dtype}, expected uint8 (0..255) or floats; convert them, so that their "
                    "range is clear")


def _as_labels(labels: np.ndarray) -> np.ndarray:
    if np.issubdtype(labels.dtype, np.integer) or labels.dtype == bool:
        return labels.astype(np.int64, copy=False)
    if np.issubdtype(labels.dtype, np.floating):
        return labels.astype(np.float32, copy=False)
    raise DataError(f"labels are {labels.dtype}, expected whole numbers (or floats, for targets that are not "
                    "classes)")


def _fresh_seed() -> int:
    """A seed nobody chose, from minivision's one generator, so that ``mv.manual_seed`` fixes the shuffling too."""
    from ..random import generator

    return int(generator().integers(2**63))


def _whole(name: str, value: Any, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < least:
        raise DataError(f"{name} is {value!r}, expected a whole number, at least {least}")
    return number
