"""SqueezeNet in 676 kilobytes: the file that Deep Compression makes of 5 megabytes of weights (Han, Mao and Dally 2016).

Three ideas make a network small without making it worse:

1. *Pruning.* Weights near zero are set to zero and the others trained on. Two thirds of the 3x3 filters' are gone here.
2. *Sharing.* The weights that are left are clustered. A layer keeps a codebook of 256 floats, and for each weight one byte
   that says which of them it is.
3. *Distances.* Where a weight is, is told by its distance from the one before, less one, in 4 bits. Where the gap is wider
   than 16, a weight of value zero stands in between.

(The paper's fourth, a Huffman code for the bytes, is not in this file.) Little-endian:

    26 x uint32     how many weights each layer keeps
    then, layer by layer:
        256 x float32           the codebook
        filters x float32       the biases
        kept x uint8            a code for each weight that is kept
        kept / 2 bytes          two distances in each, the first one in the low half; an odd last one has a byte of its own

Filters are in the order (F, C, KH, KW). The file does not say how large they are: that is known from the network.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

CODES = 256
LARGEST = 64 << 20              # bytes; SqueezeNet's file has 676 thousand


class CompressedError(ValueError):
    """A file is not a network that Deep Compression wrote, or is damaged."""


def is_compressed(path: str | os.PathLike) -> bool:
    """Whether a file is called as the authors call theirs, ``*.net``."""
    return Path(path).suffix.lower() == ".net"


def read_compressed(path: str | os.PathLike, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The weights and biases of a compressed network, float32, as "NAME.weight" and "NAME.bias".

    Args:
        shapes: the name and the shape (F, C, KH, KW) of the filters of each layer, in the order of the file.

    Raises:
        FileNotFoundError: there is no such file.
        CompressedError: the file is too short or too long for what it says, or has a weight beyond the end of a layer.
            Everything is checked before memory is taken for it.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if Path(path).stat().st_size > LARGEST:
        raise CompressedError(f"{path} has {Path(path).stat().st_size} bytes; a compressed network has fewer than {LARGEST}")
    content = Path(path).read_bytes()
    kept = np.frombuffer(content, "<u4", len(shapes)).tolist() if len(content) >= 4 * len(shapes) else []
    sizes = [4 * CODES + 4 * shape[0] + count + (count + 1) // 2 for shape, count in zip(shapes.values(), kept)]
    for (name, shape), count in zip(shapes.items(), kept):
        if count > math.prod(shape):
            raise CompressedError(f"{path}: layer {name} keeps {count} weights of {math.prod(shape)}; the file is damaged or "
                                  "of another network")
    expected = 4 * len(shapes) + sum(sizes)
    if not kept or len(content) != expected:
        raise CompressedError(f"{path} has {len(content)} bytes, expected {expected if kept else 'many more'}; it is cut "
                              "short, damaged, or not a compressed network")
    state: dict[str, np.ndarray] = {}
    at = 4 * len(shapes)
    for (name, shape), count, size in zip(shapes.items(), kept, sizes):
        state[f"{name}.weight"], state[f"{name}.bias"] = _layer(content[at:at + size], name, shape, count, path)
        at += size
    return state


def _layer(
    content: bytes, name: str, shape: tuple[int, ...], kept: int, path: str | os.PathLike,
) -> tuple[np.ndarray, np.ndarray]:
    codebook = np.frombuffer(content, "<f4", CODES)
    bias = np.frombuffer(content, "<f4", shape[0], 4 * CODES)
    codes = np.frombuffer(content, np.uint8, kept, 4 * (CODES + shape[0]))
    pairs = np.frombuffer(content, np.uint8, offset=4 * (CODES + shape[0]) + kept)
    if not (np.isfinite(codebook).all() and np.isfinite(bias).all()):
        raise CompressedError(f"{path}: layer {name} has weights or biases that are not finite; the file is damaged")
    distances = np.stack([pairs & 15, pairs >> 4], axis=1).reshape(-1)[:kept]
    places = np.cumsum(distances.astype(np.int64) + 1) - 1
    weights = np.zeros(math.prod(shape), np.float32)
    if kept and places[-1] >= weights.size:
        raise CompressedError(f"{path}: layer {name} has a weight at place {places[-1]} of {weights.size}; the file is damaged")
    weights[places] = codebook[codes]
    return weights.reshape(shape), bias.astype(np.float32)
