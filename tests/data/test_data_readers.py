"""Readers: what they read, and that no file whatever makes them raise anything but DataError or reserve much memory."""

import gzip
import io
import os
import struct
import tarfile
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minivision.data import DataError, read_cifar_batch, read_idx
from minivision.data.readers import CIFAR_MOST, IDX_DTYPES, MAX_DIMS, read_cifar_archive

NATIVE = {code: np.dtype(big).newbyteorder("=") for code, big in IDX_DTYPES.items()}


def idx_bytes(array, code=None, shape=None):
    code = code if code is not None else next(c for c, dtype in NATIVE.items() if dtype == array.dtype)
    shape = array.shape if shape is None else shape
    header = struct.pack(f">HBB{len(shape)}I", 0, code, len(shape), *shape)
    return header + array.astype(IDX_DTYPES.get(code, array.dtype)).tobytes()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("readers") / "scratch"


def packed_bytes(content, level=9):
    """Without the time of day, which would be in the names of tests: two processes that test must agree on those."""
    return gzip.compress(content, level, mtime=0)


def written(path, content):
    path.write_bytes(content)
    return path


# ------------------------------------------------------------------------------------------------------------- IDX

@settings(deadline=None, max_examples=60)
@given(code=st.sampled_from(sorted(NATIVE)), shape=st.lists(st.integers(0, 4), min_size=1, max_size=4),
       packed=st.booleans(), seed=st.integers(0, 2**32))
def test_an_idx_file_gives_back_the_array_it_was_made_from(scratch, code, shape, packed, seed):
    array = np.random.default_rng(seed).normal(0, 60, shape).astype(np.int8).astype(NATIVE[code])
    content = idx_bytes(array, code)
    got = read_idx(written(scratch, packed_bytes(content, 1) if packed else content))
    assert got.dtype == array.dtype and got.dtype.isnative and got.flags.writeable
    np.testing.assert_array_equal(got, array)
    assert got.shape == array.shape


def test_many_dimensions(tmp_path):
    assert read_idx(written(tmp_path / "x", idx_bytes(np.ones((1,) * MAX_DIMS, np.uint8)))).ndim == MAX_DIMS
    with pytest.raises(DataError, match="not an IDX file"):
        read_idx(written(tmp_path / "x", idx_bytes(np.ones(1, np.uint8), shape=(1,) * (MAX_DIMS + 1))))


def test_gzip_is_told_from_the_content_not_from_the_name(tmp_path):
    content = idx_bytes(np.arange(6, dtype=np.int32).reshape(2, 3))
    plain_named_gz = written(tmp_path / "images.gz", content)
    gz_named_plain = written(tmp_path / "images", packed_bytes(content))
    np.testing.assert_array_equal(read_idx(plain_named_gz), read_idx(gz_named_plain))


SMALL = idx_bytes(np.arange(12, dtype=np.uint8).reshape(3, 2, 2))


@pytest.mark.parametrize(("content", "says"), [
    (b"", "is empty"),
    (SMALL[:2], "not an IDX file: it begins with 00 00"),
    (SMALL[:9], "ends inside its header: 3 dimensions take 12 bytes, got 5"),
    (SMALL[:-1], r"promises 3 x 2 x 2 items of uint8 \(12 bytes\) but holds 11 bytes"),
    (SMALL + b"\0", "goes on after them"),
    (b"\0\1" + SMALL[2:], "begins with 00 01 08 03"),
    (b"\0\0\x0a" + SMALL[3:], "begins with 00 00 0a 03"),
    (idx_bytes(np.ones(0, np.uint8), shape=()), "begins with 00 00 08 00"),
    (b"<!DOCTYPE html><title>404</title>", "a web page"),
    (b"PK\3\4" + SMALL, "a zip archive"),
    (packed_bytes(packed_bytes(SMALL)), "packed twice"),
    (packed_bytes(SMALL)[:-4], "middle of its gzip stream"),
    (packed_bytes(SMALL)[:20], "middle of its gzip stream"),
    (packed_bytes(SMALL)[:-8] + b"\0" * 8, "is damaged: CRC"),
    (packed_bytes(SMALL) + b"rubbish", "is damaged"),
    (packed_bytes(SMALL + b"\0"), "goes on after them"),
    (packed_bytes(SMALL[:-1]), "holds 11 bytes"),
    (packed_bytes(b""), "begins with nothing"),
    (idx_bytes(np.ones(0, np.uint8), shape=(0, 2**32 - 1, 2**32 - 1, 2**32 - 1)), "which no array can have"),
])
def test_what_is_wrong_with_an_idx_file_is_said(tmp_path, content, says):
    with pytest.raises(DataError, match=says) as caught:
        read_idx(written(tmp_path / "train-images", content))
    assert "train-images" in str(caught.value)


@pytest.mark.parametrize("read", [read_idx, read_cifar_batch])
def test_paths_that_are_no_files(tmp_path, read):
    with pytest.raises(DataError, match="is a folder"):
        read(tmp_path)
    with pytest.raises(DataError, match="there is no file"):
        read(tmp_path / "missing")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(DataError, match="not a regular file"):
            read(tmp_path / "pipe")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="this user may read everything")
def test_a_file_without_permission(tmp_path):
    written(tmp_path / "secret", SMALL).chmod(0)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        read_idx(tmp_path / "secret")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shape", [(2**31, 2**31), (2**32 - 1,) * MAX_DIMS, (2**20, 2**10)])
def test_a_header_alone_cannot_reserve_memory(tmp_path, packed, shape):
    content = idx_bytes(np.zeros(1000, np.uint8), shape=shape)
    path = written(tmp_path / "huge", packed_bytes(content) if packed else content)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="but holds 1000 bytes"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_gzip_bomb_behind_a_small_header_is_not_unpacked(tmp_path):
    path = written(tmp_path / "bomb", packed_bytes(SMALL + bytes(32 << 20), 1))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="goes on after them"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


# ----------------------------------------------------------------------------------------------------------- CIFAR-10

def cifar_bytes(count, seed=0):
    rng = np.random.default_rng(seed)
    images, labels = rng.integers(0, 256, (count, 3, 32, 32), np.uint8), rng.integers(0, 10, count, np.uint8)
    return np.column_stack([labels, images.reshape(count, -1)]).tobytes(), images, labels


def tar_bytes(members, mode="w:gz"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def test_a_cifar_batch(tmp_path):
    content, images, labels = cifar_bytes(5)
    for path in (written(tmp_path / "a.bin", content), written(tmp_path / "b.bin", packed_bytes(content))):
        got_images, got_labels = read_cifar_batch(path)
        np.testing.assert_array_equal(got_images, images)
        np.testing.assert_array_equal(got_labels, labels)
        assert got_images.dtype == np.uint8 and got_labels.dtype == np.int64 and got_images.flags.c_contiguous


@pytest.mark.parametrize(("content", "says"), [
    (cifar_bytes(2)[0][:-1], "holds 6145 bytes, expected a whole number of 3073-byte records"),
    (b"\x09" * 3074, "fits CIFAR-100"),
    (cifar_bytes(1)[0] + b"\x0a" + bytes(3072), r"record 1 has the label 10, expected 0\.\.9"),
    (packed_bytes(b""), "holds 0 bytes"),
    (packed_bytes(bytes(CIFAR_MOST + 1), 1), "longer than all 60,000 records"),
])
def test_what_is_wrong_with_a_cifar_batch_is_said(tmp_path, content, says):
    with pytest.raises(DataError, match=says) as caught:
        read_cifar_batch(written(tmp_path / "batch", content))
    assert "batch" in str(caught.value)


def test_batches_straight_out_of_the_archive(tmp_path):
    (one, images_one, _), (two, _, labels_two) = cifar_bytes(2, 1), cifar_bytes(3, 2)
    members = {"cifar-10-batches-bin/readme.html": b"hello", "cifar-10-batches-bin/data_batch_2.bin": two,
               "cifar-10-batches-bin/data_batch_1.bin": one, "data_batch_1.bin": two}
    for mode in ("w:gz", "w"):
        path = written(tmp_path / "cifar", tar_bytes(members, mode))
        (got_one, _), (_, got_two) = read_cifar_archive(path, ["data_batch_1.bin", "data_batch_2.bin"])
        np.testing.assert_array_equal(got_one, images_one)
        np.testing.assert_array_equal(got_two, labels_two)
    with pytest.raises(DataError, match=r"has no cifar-10-batches-bin/test_batch\.bin"):
        read_cifar_archive(path, ["test_batch.bin"])


def test_archives_that_are_something_else(tmp_path):
    names = ["data_batch_1.bin"]
    path = tmp_path / "x"
    cut_off = tar_bytes({"cifar-10-batches-bin/data_batch_1.bin": cifar_bytes(1)[0]})[:-2000]
    too_short = tar_bytes({"cifar-10-batches-bin/data_batch_1.bin": b"abc"})
    with pytest.raises(DataError, match="not a readable tar archive"):
        read_cifar_archive(written(path, packed_bytes(b"not a tar archive" * 100)), names)
    with pytest.raises(DataError, match="middle of its gzip stream"):
        read_cifar_archive(written(path, cut_off), names)
    with pytest.raises(DataError, match=r"data_batch_1\.bin in .* holds 3 bytes"):
        read_cifar_archive(written(path, too_short), names)

    link = io.BytesIO()
    with tarfile.open(fileobj=link, mode="w") as archive:
        info = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(DataError, match="has no"):
        read_cifar_archive(written(path, link.getvalue()), names)


def test_an_archive_cannot_make_us_read_more_than_cifar_holds(tmp_path):
    huge = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
    huge.size = 1 << 40
    with pytest.raises(DataError, match="more than all of CIFAR-10"):
        read_cifar_archive(written(tmp_path / "x", huge.tobuf()), ["data_batch_1.bin"])
    huge.name = "something else"
    path = tmp_path / "x"
    with gzip.open(path, "wb", compresslevel=1) as out:
        out.write(huge.tobuf())
        for _ in range(CIFAR_MOST // (1 << 20) + 4):
            out.write(bytes(1 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="unpacks to more than CIFAR-10 holds"):
            read_cifar_archive(path, ["data_batch_1.bin"])
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


# --------------------------------------------------------------------------------------------------------------- fuzz

ARCHIVE = {"cifar-10-batches-bin/a": cifar_bytes(1)[0]}
VALID = {
    "idx": (read_idx, SMALL),
    "idx.gz": (read_idx, packed_bytes(SMALL)),
    "cifar": (read_cifar_batch, cifar_bytes(2)[0]),
    "tar": (lambda path: read_cifar_archive(path, ["a"]), tar_bytes(ARCHIVE, "w")),
    "tar.gz": (lambda path: read_cifar_archive(path, ["a"]), tar_bytes(ARCHIVE)),
}


@st.composite
def damaged(draw, content):
    """``content`` after a few cuts, insertions and changed bytes, mostly near the beginning, where headers are."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        if not data:
            break
        at = draw(st.integers(0, min(len(data), 600) - 1) | st.integers(0, len(data) - 1))
        what = draw(st.sampled_from(["change", "insert", "remove", "cut"]))
        if what == "change":
            data[at] = draw(st.integers(0, 255))
        elif what == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=9))
        elif what == "remove":
            del data[at:at + draw(st.integers(1, 9))]
        else:
            del data[at:]
    return bytes(data)


@pytest.mark.parametrize("kind", sorted(VALID))
def test_a_damaged_file_is_read_or_refused_with_a_data_error(scratch, kind):
    read, content = VALID[kind]

    @settings(deadline=None, max_examples=200)
    @given(damaged(content) | st.binary(max_size=64))
    def check(data):
        written(scratch, data)
        tracemalloc.start()
        try:
            read(scratch)
        except DataError as error:
            assert str(scratch) in str(error)
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < 16 << 20

    check()
