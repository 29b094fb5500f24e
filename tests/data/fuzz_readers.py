"""Feed damaged files to the readers of IDX and CIFAR-10: whatever the bytes, only DataError may come out.

    python tests/data/fuzz_readers.py 100000        so many files, in a few minutes

Each file is a small valid one that has been mutated: bits flipped, bytes replaced by interesting ones, parts cut out,
repeated or swapped, lengths in headers blown up, packed with gzip before or after. Every seed gives the same file again.
"""

from __future__ import annotations

import gzip
import io
import struct
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from minivision.data import DataError, read_cifar_batch, read_idx
from minivision.data.readers import CIFAR_RECORD, IDX_DTYPES, read_cifar_archive

INTERESTING = (0, 1, 2, 3, 8, 9, 11, 13, 14, 64, 65, 127, 128, 254, 255)


def idx_file(rng: np.random.Generator) -> bytes:
    code = int(rng.choice(list(IDX_DTYPES)))
    shape = tuple(int(n) for n in rng.integers(0, 5, rng.integers(1, 5)))
    size = int(np.prod(shape)) * np.dtype(IDX_DTYPES[code]).itemsize
    return struct.pack(f">HBB{len(shape)}I", 0, code, len(shape), *shape) + rng.bytes(size)


def cifar_file(rng: np.random.Generator) -> bytes:
    return b"".join(bytes([int(rng.integers(0, 10))]) + rng.bytes(CIFAR_RECORD - 1) for _ in range(rng.integers(1, 3)))


def archive_file(rng: np.random.Generator) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("data_batch_1.bin", "test_batch.bin"):
            content = cifar_file(rng)
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def read_archive(path: Path) -> object:
    return read_cifar_archive(path, ["data_batch_1.bin", "test_batch.bin"])


FORMATS: tuple[tuple[Callable[[np.random.Generator], bytes], Callable[[Path], object], int], ...] = (
    (idx_file, read_idx, 24), (cifar_file, read_cifar_batch, 8), (archive_file, read_archive, 512))


def mutated(content: bytes, rng: np.random.Generator, head: int) -> bytes:
    """One to four changes; half of them in the first ``head`` bytes, where the headers are."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        most = min(len(data), head) if rng.random() < 0.5 else len(data)
        at = int(rng.integers(0, max(1, most)))
        length = int(rng.integers(1, 9))
        kind = rng.integers(0, 7)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1 and data:
            data[at % len(data)] = int(rng.choice(INTERESTING))
        elif kind == 2:
            data[at:at + 4] = struct.pack(">I", int(rng.choice([0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1])))
        elif kind == 3:
            del data[at:at + length]
        elif kind == 4:
            data[at:at] = rng.bytes(length)
        elif kind == 5:
            del data[at:]
        else:
            data += data[at:at + length * 64]
    return bytes(data)


def one(seed: int, path: Path) -> bool:
    """Read the damaged file of a seed; whether the reader accepted it."""
    rng = np.random.default_rng(seed)
    make, read, head = FORMATS[int(rng.choice(len(FORMATS), p=(0.6, 0.25, 0.15)))]
    content = make(rng)
    packing = rng.random()
    if packing < 0.2:
        content = mutated(gzip.compress(content, 1), rng, head)
    else:
        content = mutated(content, rng, head)
        if packing < 0.4:
            content = gzip.compress(content, 1)
    path.write_bytes(content)
    try:
        read(path)
    except DataError as error:
        assert str(error) and "\n" not in str(error), "an error is one line"
        return False
    return True


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        accepted = 0
        for seed in range(count):
            try:
                accepted += one(seed, path)
            except Exception:
                print(f"seed {seed}: an error that is no DataError")
                raise
    print(f"{count:,} damaged files: {accepted:,} were still readable, {count - accepted:,} were refused with a DataError")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
