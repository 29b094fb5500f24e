"""Pictures and their labels: the sets to learn from, the readers of their files, and the loader that hands out batches.

    dataset.py   what a data set is
    sets.py      the classic ones by name: digits (ships with the package), MNIST, Fashion-MNIST, CIFAR-10
    folder.py    your own pictures, one folder per class
    readers.py   the binary formats underneath: IDX and the batches of CIFAR-10
    fetch.py     where files lie on this machine, and how to get those that do not yet
    loader.py    batches, shuffled the same way every time
"""

from .dataset import ArrayDataset, DataError, Dataset
from .fetch import data_root, fetch
from .folder import ImageFolder
from .loader import DataLoader
from .readers import read_cifar_batch, read_idx
from .sets import cifar10, digits, fashion_mnist, mnist

__all__ = [
    "ArrayDataset",
    "DataError",
    "DataLoader",
    "Dataset",
    "ImageFolder",
    "cifar10",
    "data_root",
    "digits",
    "fashion_mnist",
    "fetch",
    "mnist",
    "read_cifar_batch",
    "read_idx",
]
