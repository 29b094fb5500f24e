"""Readers of two binary formats: IDX, which carries MNIST and its kin, and the batches of CIFAR-10.

A header is a claim. Both readers take in what the file really holds, piece by piece, and only then compare it with
what its header promised: a damaged or hostile header can make a reader refuse, never reserve memory. Whether a file is
packed with gzip is read from its first two bytes, since names lie: browsers unpack `.gz` files and keep the name.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from .dataset import DataError

# ------------------------------------------------------------------------------------------------------------- IDX

# The third byte of the magic number; several-byte items are stored with the high byte first.
# Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", section "File formats".
IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_DIMS = 64                    # NumPy's own limit


def read_idx(path: str | PathLike[str]) -> np.ndarray:
    """The array in an IDX file, plain or packed with gzip.

    An IDX file is a magic number (two zero bytes, a dtype code, the number of dimensions), the length of each dimension
    as an unsigned 32-bit integer, and the items in C order, all with the high byte first.

    Args:
        path: for example ``train-images-idx3-ubyte.gz``.

    Returns:
        A new, writable array in this machine's byte order; uint8, int8, int16, int32, float32 or float64.

    Raises:
        DataError: when the path is no readable file, is not IDX, is cut off, or holds more or fewer items than it says.
    """
    with _content(path) as stream:
        magic = stream.read(4)
        if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in IDX_DTYPES or not 1 <= magic[3] <= MAX_DIMS:
            raise DataError(f"{path} is not an IDX file: it begins with {_as_hex(magic)}{_looks_like(magic)}, "
                            f"expected 00 00, a dtype code ({', '.join(f'{code:02x}' for code in IDX_DTYPES)}) and "
                            "the number of dimensions; pass a file such as train-images-idx3-ubyte.gz")
        dtype = np.dtype(IDX_DTYPES[magic[2]])
        header = stream.read(4 * magic[3])
        if len(header) < 4 * magic[3]:
            raise DataError(f"{path} ends inside its header: {magic[3]} dimensions take {4 * magic[3]} bytes, got "
                            f"{len(header)}; the file is cut off, download it again")
        shape = tuple(int(length) for length in np.frombuffer(header, ">u4"))
        promised = math.prod(shape) * dtype.itemsize        # Python's integers: no overflow to fool the comparison
        payload = _read_at_most(stream, promised + 1)       # one more, to notice what should not be there
    if len(payload) != promised:
        claim = f"{' x '.join(map(str, shape))} items of {dtype.newbyteorder('=')} ({promised} bytes)"
        if len(payload) < promised:
            raise DataError(f"{path} promises {claim} but holds {len(payload)} bytes; the file is cut off or its "
                            "header is wrong, download it again")
        raise DataError(f"{path} promises {claim} but goes on after them; the header is wrong or something was "
                        "appended, download it again")
    try:
        array = np.frombuffer(payload, dtype).reshape(shape)
    except ValueError:                   # an empty array whose other lengths multiply beyond the address space
        raise DataError(f"{path} promises the shape {shape}, which no array can have; its header is wrong") from None
    return array.astype(dtype.newbyteorder("="), copy=False)


# ----------------------------------------------------------------------------------------------------------- CIFAR-10

# A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, and the page of the data set: each
# record is a label byte and 3 x 32 x 32 pixel bytes, red, green and blue planes in turn.
CIFAR_IMAGE = (3, 32, 32)
CIFAR_RECORD = 1 + math.prod(CIFAR_IMAGE)
CIFAR_MOST = 60_000 * CIFAR_RECORD       # all of CIFAR-10; a longer "batch" is something else
TAR_MOST = CIFAR_MOST + (1 << 20)        # the unpacked archive: those records and some headers


def read_cifar_batch(path: str | PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """The images and labels in one file of CIFAR-10's binary version, ``data_batch_1.bin`` and so on.

    Returns:
        Images, uint8 (N, 3, 32, 32), RGB in 0..255; labels, int64 (N,), 0..9. N is 10,000 in the original files.

    Raises:
        DataError: when the path is no readable file, is no whole number of records, or has a label above 9.
    """
    with _content(path) as stream:
        return _cifar_records(_read_at_most(stream, CIFAR_MOST + 1), str(path))


def read_cifar_archive(path: str | PathLike[str], names: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
    """The batches called ``names`` straight out of ``cifar-10-binary.tar.gz``; nothing is unpacked to disk.

    Members are recognised by their full expected name and read as bytes, so an archive cannot write anywhere; what it
    can make us read is bounded by the size of CIFAR-10.
    """
    import tarfile

    wanted = {f"cifar-10-batches-bin/{name}": name for name in names}
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    with _content(path) as stream:
        try:
            with tarfile.open(fileobj=cast(BinaryIO, _Bounded(stream, TAR_MOST, path)), mode="r|") as archive:
                for member in archive:
                    name = wanted.get(member.name.removeprefix("./"))
                    if name is None or not member.isreg() or name in found:
                        continue
                    if member.size > CIFAR_MOST:
                        raise DataError(f"{path} says its {name} has {member.size} bytes, more than all of CIFAR-10; "
                                        "it is not the original archive, download it again")
                    content = archive.extractfile(member)
                    assert content is not None, "a regular member has content"
                    found[name] = _cifar_records(bytearray(content.read()), f"{name} in {path}")
                    if len(found) == len(wanted):
                        break
        except DataError:
            raise
        except (tarfile.TarError, ValueError, OverflowError) as problem:
            raise DataError(f"{path} is not a readable tar archive ({problem}); expected cifar-10-binary.tar.gz, "
                            "download it again") from problem
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(f"{path} has no cifar-10-batches-bin/{missing[0]}; expected the binary version of CIFAR-10, "
                        "cifar-10-binary.tar.gz (there are others for Python and Matlab)")
    return [found[name] for name in names]


def _cifar_records(content: bytearray, where: str) -> tuple[np.ndarray, np.ndarray]:
    count, rest = divmod(len(content), CIFAR_RECORD)
    if len(content) > CIFAR_MOST:
        raise DataError(f"{where} is longer than all 60,000 records of CIFAR-10; pass one batch of its binary "
                        "version")
    if rest or not count:
        longer = len(content) > 0 and len(content) % (CIFAR_RECORD + 1) == 0
        hint = "; its length fits CIFAR-100, whose records are a byte longer" if longer else ""
        raise DataError(f"{where} holds {len(content)} bytes, expected a whole number of {CIFAR_RECORD}-byte records "
                        f"(a label and 3 x 32 x 32 pixels){hint}; pass data_batch_1.bin or another file of the "
                        "binary version")
    records = np.frombuffer(content, np.uint8).reshape(count, CIFAR_RECORD)
    labels = records[:, 0].astype(np.int64)
    if labels.max() > 9:
        bad = int(np.argmax(labels > 9))
        raise DataError(f"{where}: record {bad} has the label {labels[bad]}, expected 0..9; this is not a CIFAR-10 "
                        "batch")
    return np.ascontiguousarray(records[:, 1:]).reshape(count, *CIFAR_IMAGE), labels


# ------------------------------------------------------------------------------------------- what both readers share

@contextmanager
def _content(path: str | PathLike[str]) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked if they are gzip's; every way of not being readable becomes a DataError."""
    file = Path(path)
    if file.is_dir():
        raise DataError(f"{path} is a folder; pass the file itself")
    if not file.is_file():               # also keeps us from waiting on a pipe for ever
        raise DataError(f"{path} is not a regular file; check the path" if file.exists() else
                        f"there is no file {path}; check the path")
    try:
        with open(file, "rb") as raw:
            start = raw.read(2)
            if not start:
                raise DataError(f"{path} is empty; download it again")
            raw.seek(0)
            if start == b"\x1f\x8b":
                with gzip.GzipFile(fileobj=raw) as unpacked:
                    yield cast(BinaryIO, unpacked)
            else:
                yield raw
    except EOFError as problem:
        raise DataError(f"{path} ends in the middle of its gzip stream; the file is cut off, download it "
                        "again") from problem
    except (gzip.BadGzipFile, zlib.error) as problem:
        raise DataError(f"{path} is damaged: {problem}; download it again") from problem
    except OSError as problem:
        raise DataError(f"{path} cannot be read: {problem.strerror or problem}") from problem


def _read_at_most(stream: BinaryIO, limit: int) -> bytearray:
    """The next ``limit`` bytes, fewer if the stream ends; memory grows with what arrives, not with ``limit``."""
    content = bytearray()
    while len(content) < limit:
        piece = stream.read(min(1 << 20, limit - len(content)))
        if not piece:
            break
        content += piece
    return content


class _Bounded:
    """A stream that refuses to give more than ``most`` bytes, whatever the archive inside asks for."""

    def __init__(self, stream: BinaryIO, most: int, path: str | PathLike[str]):
        self.stream, self.left, self.path = stream, most, path

    def read(self, size: int) -> bytes:
        piece = self.stream.read(size)
        self.left -= len(piece)
        if self.left < 0:
            raise DataError(f"{self.path} unpacks to more than CIFAR-10 holds; it is not the original archive, "
                            "download it again")
        return piece


def _as_hex(data: bytes) -> str:
    return data.hex(" ") or "nothing"


def _looks_like(start: bytes) -> str:
    """What people save under the wrong name, told from its first bytes."""
    signatures = {b"<": "a web page?", b"PK": "a zip archive? unpack it first", b"\x89PNG": "a PNG picture?",
                  b"\x93NUM": "a .npy file? use numpy.load", b"\x1f\x8b": "packed twice? unpack it once"}
    return next((f" ({what})" for signature, what in signatures.items() if start.startswith(signature)), "")
