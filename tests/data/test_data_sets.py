"""The named sets: shapes, ranges, splits, where files are looked for, and the real MNIST files where there are any."""

import gzip
import io
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

import minivision.data as data
from minivision.data import ArrayDataset, DataError, Dataset


def write_idx(path, array, packed=True):
    path.parent.mkdir(parents=True, exist_ok=True)
    content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if packed else content)


def write_mnist(folder, labels=(3, 1, 4), prefix="train", packed=True, value=7):
    suffix = ".gz" if packed else ""
    write_idx(folder / f"{prefix}-images-idx3-ubyte{suffix}", np.full((len(labels), 28, 28), value, np.uint8), packed)
    write_idx(folder / f"{prefix}-labels-idx1-ubyte{suffix}", np.array(labels, np.uint8), packed)


# ------------------------------------------------------------------------------------------------------ ArrayDataset

def test_an_array_dataset_is_a_dataset_of_pairs():
    images, labels = np.arange(24, dtype=np.uint8).reshape(3, 1, 2, 4), np.array([2, 0, 1])
    dataset = ArrayDataset(images, labels, ("a", "b", "c"), "abc")
    assert isinstance(dataset, Dataset) and len(dataset) == 3
    image, label = dataset[-1]
    np.testing.assert_array_equal(image, images[2])
    assert label == 1 and type(label) is int
    assert [label for _, label in dataset] == [2, 0, 1]
    assert repr(dataset) == "ArrayDataset(abc: 3 images of shape (1, 2, 4) uint8, 3 classes)"
    small = dataset.subset(slice(1, None))
    assert len(small) == 2 and small.classes == dataset.classes and small[0][1] == 0
    assert dataset.subset([2, 2]).labels.tolist() == [1, 1]
    assert dataset.subset(labels > 0).labels.tolist() == [2, 1]


def test_targets_may_be_arrays():
    _, mask = ArrayDataset(np.zeros((2, 1, 4, 4)), np.ones((2, 4, 4), np.uint8))[0]
    assert mask.shape == (4, 4)


@pytest.mark.parametrize(("images", "labels", "classes", "says"), [
    (np.zeros((3, 2)), np.zeros(2), (), "3 images but 2 labels"),
    (np.zeros(()), np.zeros(1), (), "first axis"),
    (np.zeros((2, 2)), np.array([0, 2]), ("a", "b"), "labels run from 0 to 2, but 2 classes allow 0 to 1"),
    (np.zeros((2, 2)), np.array([-1, 0]), ("a", "b"), "labels run from -1"),
])
def test_arrays_that_do_not_fit(images, labels, classes, says):
    with pytest.raises(DataError, match=says):
        ArrayDataset(images, labels, classes)


# ------------------------------------------------------------------------------------------------------------- digits

def test_digits_is_the_uci_set():
    everything = data.digits("all")
    assert everything.images.shape == (1797, 1, 8, 8) and everything.images.dtype == np.float32
    assert everything.labels.dtype == np.int64 and everything.classes == tuple("0123456789")
    assert everything.images.min() == 0 and everything.images.max() == 1
    assert np.bincount(everything.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    # The first row of optdigits.tes: a zero.
    assert (everything.images[0, 0, 0] * 16).tolist() == [0, 0, 5, 13, 9, 1, 0, 0] and everything.labels[0] == 0


def test_digits_is_what_scikit_learn_has():
    datasets = pytest.importorskip("sklearn.datasets")
    theirs, ours = datasets.load_digits(), data.digits("all")
    np.testing.assert_array_equal(ours.images[:, 0] * 16, theirs.images)
    np.testing.assert_array_equal(ours.labels, theirs.target)


def test_the_split_of_digits_parts_the_set_and_never_moves():
    train, test, everything = data.digits(), data.digits("test"), data.digits("all")
    assert (len(train), len(test)) == (1437, 360)
    assert np.bincount(test.labels).tolist() == [36] * 10
    rows = {part: {image.tobytes() for image in dataset.images} for part, dataset in
            (("train", train), ("test", test), ("all", everything))}
    assert not rows["train"] & rows["test"] and rows["train"] | rows["test"] == rows["all"]
    keys = np.random.PCG64(0).random_raw(1797)
    rows_of = [np.flatnonzero(everything.labels == digit) for digit in range(10)]
    rule = [row[np.argsort(keys[row])[:36]] for row in rows_of]
    np.testing.assert_array_equal(test.images, everything.images[np.sort(np.concatenate(rule))])


def test_the_digits_file_holds_plain_arrays_and_its_licence_lies_beside_it():
    folder = Path(data.__file__).parent
    with np.load(folder / "digits.npz", allow_pickle=False) as file:
        assert {name: (file[name].dtype.name, file[name].shape) for name in file} == {
            "images": ("uint8", (1797, 8, 8)), "labels": ("uint8", (1797,)), "test_indices": ("int16", (360,))}
    text = (folder / "digits.txt").read_text(encoding="utf-8")
    assert "CC BY 4.0" in text and "10.24432/C50P49" in text and "Kaynak" in text


@pytest.mark.parametrize("load", [data.digits, data.mnist, data.fashion_mnist, data.cifar10])
def test_a_wrong_split_is_named(load):
    with pytest.raises(DataError, match="split is 'validation', expected 'train'"):
        load(split="validation")


# -------------------------------------------------------------------------------------------------- MNIST and Fashion

@pytest.mark.parametrize(("load", "name"), [(data.mnist, "mnist"), (data.fashion_mnist, "fashion-mnist")])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("inside", [True, False])
def test_files_are_found_in_root_and_in_the_folder_of_the_set(tmp_path, monkeypatch, load, name, packed, inside):
    folder = tmp_path / name if inside else tmp_path
    write_mnist(folder, packed=packed)
    write_mnist(folder, (9, 8), "t10k", packed)
    train, test = load(tmp_path), load(tmp_path, "test")
    assert train.images.shape == (3, 1, 28, 28) and train.images.dtype == np.uint8 and (train.images == 7).all()
    assert train.labels.tolist() == [3, 1, 4] and train.labels.dtype == np.int64
    assert test.labels.tolist() == [9, 8] and len(train.classes) == 10 and train.name == name
    monkeypatch.setenv("MINIVISION_DATA", str(tmp_path))
    assert load().labels.tolist() == [3, 1, 4]


def test_the_folder_of_the_set_comes_first(tmp_path):
    write_mnist(tmp_path, (0, 0))
    write_mnist(tmp_path / "mnist", (1, 1))
    assert data.mnist(tmp_path).labels.tolist() == [1, 1]


def test_without_root_and_environment_the_cache_of_the_user_is_used(tmp_path, monkeypatch):
    import platformdirs

    monkeypatch.delenv("MINIVISION_DATA", raising=False)
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name, appauthor: str(tmp_path / name))
    assert data.data_root() == tmp_path / "minivision" / "data"
    assert data.data_root("~") == Path.home()


def test_missing_files_are_listed_with_the_way_to_get_them(tmp_path):
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", np.zeros((1, 28, 28), np.uint8))     # its labels are not there
    with pytest.raises(DataError) as caught:
        data.mnist(tmp_path)
    for part in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", str(tmp_path / "mnist"),
                 "minivision data fetch mnist", "MINIVISION_DATA"):
        assert part in str(caught.value)
    with pytest.raises(DataError, match=r"test_batch\.bin or cifar-10-binary\.tar\.gz .*minivision data fetch cifar10"):
        data.cifar10(tmp_path, "test")


def test_files_that_do_not_belong_together(tmp_path):
    write_mnist(tmp_path)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.zeros(2, np.uint8))
    with pytest.raises(DataError, match=r"shape \(2,\), expected uint8 \(3,\)"):
        data.mnist(tmp_path)
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", np.zeros(2, np.uint8))
    with pytest.raises(DataError, match="swapped"):
        data.mnist(tmp_path)
    write_mnist(tmp_path, (1, 10))
    with pytest.raises(DataError, match=r"labels-idx1-ubyte\.gz holds the label 10"):
        data.mnist(tmp_path)


def test_one_set_lying_in_the_place_of_another_is_noticed(tmp_path):
    write_mnist(tmp_path, (9, 0, 0, 3, 0, 2, 7, 2, 5, 5, 0))
    assert len(data.fashion_mnist(tmp_path)) == 11
    with pytest.raises(DataError, match="belongs to fashion-mnist, not to mnist"):
        data.mnist(tmp_path)


def test_the_real_mnist(real_data):
    train, test = data.mnist(real_data), data.mnist(real_data, "test")
    assert train.images.shape == (60000, 1, 28, 28) and test.images.shape == (10000, 1, 28, 28)
    assert np.bincount(train.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert round(train.images.mean() / 255, 4) == 0.1307 and round(train.images.std() / 255, 4) == 0.3081


def test_the_real_fashion_mnist(real_data):
    train, test = data.fashion_mnist(real_data), data.fashion_mnist(real_data, "test")
    assert np.bincount(train.labels).tolist() == [6000] * 10 and np.bincount(test.labels).tolist() == [1000] * 10
    assert train.classes[train.labels[0]] == "ankle boot"
    assert round(train.images.mean() / 255, 4) == 0.2860 and round(train.images.std() / 255, 4) == 0.3530


# ----------------------------------------------------------------------------------------------------------- CIFAR-10

def cifar_files():
    """Six tiny batches; every pixel and label of batch i is i."""
    return {name: (bytes([i]) + bytes([i]) * 3072) * 2 for i, name in
            enumerate(["test_batch.bin", *(f"data_batch_{i}.bin" for i in range(1, 6))])}


@pytest.mark.parametrize("where", ["", "cifar10", "cifar-10-batches-bin", "cifar10/cifar-10-batches-bin"])
def test_cifar10_unpacked(tmp_path, where):
    (tmp_path / where).mkdir(parents=True, exist_ok=True)
    for name, content in cifar_files().items():
        (tmp_path / where / name).write_bytes(content)
    train, test = data.cifar10(tmp_path), data.cifar10(tmp_path, "test")
    assert train.images.shape == (10, 3, 32, 32) and train.labels.tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert (train.images[:, 0, 0, 0] == train.labels).all()
    assert test.labels.tolist() == [0, 0] and train.classes[5] == "dog"


def test_cifar10_as_it_was_downloaded(tmp_path):
    (tmp_path / "cifar10").mkdir()
    with tarfile.open(tmp_path / "cifar10" / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for name, content in cifar_files().items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    assert data.cifar10(tmp_path).labels.tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert data.cifar10(tmp_path, "test").labels.tolist() == [0, 0]


def test_importing_the_data_package_imports_nothing_heavy():
    heavy = "{'PIL', 'numba', 'tqdm', 'platformdirs', 'urllib.request', 'tarfile', 'sklearn'}"
    program = f"import sys, minivision.data.sets; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
