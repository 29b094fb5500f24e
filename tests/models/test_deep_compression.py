"""The reader of compressed networks: what a writer of the same format packs comes back, and nothing damaged passes."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivision.models import CompressedError, read_compressed

SHAPES = {"first": (4, 3, 3, 3), "second": (5, 4, 1, 1)}


def packed(layers):
    """The bytes of (weights, bias) pairs; weights are whole numbers in [-100, 100], which a codebook of 256 can hold."""
    counts, bodies = [], []
    for weights, bias in layers:
        codebook = np.zeros(256, np.float32)
        codebook[1:202] = np.arange(-100, 101)
        codes, gaps, last = [], [], -1
        for place in np.flatnonzero(weights):
            while place - last > 16:                    # a zero in between
                codes.append(0)
                gaps.append(15)
                last += 16
            codes.append(int(weights.ravel()[place]) + 101)
            gaps.append(place - last - 1)
            last = place
        gaps += [0] * (len(gaps) % 2)
        pairs = [low | high << 4 for low, high in zip(gaps[::2], gaps[1::2])]
        counts.append(len(codes))
        bodies.append(codebook.tobytes() + bias.astype("<f4").tobytes() + bytes(codes) + bytes(pairs))
    return struct.pack(f"<{len(counts)}I", *counts) + b"".join(bodies)


def network(seed, share):
    rng = np.random.default_rng(seed)
    return [(np.where(rng.random(shape) < share, rng.integers(-100, 101, shape), 0), rng.standard_normal(shape[0]))
            for shape in SHAPES.values()]


@given(seed=st.integers(0, 1000), share=st.sampled_from([0.0, 0.01, 0.05, 0.3, 1.0]))
def test_what_is_packed_comes_back(tmp_path_factory, seed, share):
    path = tmp_path_factory.mktemp("net") / "some.net"
    layers = network(seed, share)
    path.write_bytes(packed(layers))
    state = read_compressed(path, SHAPES)
    for name, (weights, bias) in zip(SHAPES, layers):
        np.testing.assert_array_equal(state[f"{name}.weight"], weights)
        np.testing.assert_allclose(state[f"{name}.bias"], bias, rtol=1e-6)


@given(seed=st.integers(0, 10_000))
def test_damaged_files_are_told(tmp_path_factory, seed):
    """Cut, lengthened, or with bytes changed: the documented error, or a network of the right shapes."""
    path = tmp_path_factory.mktemp("net") / "some.net"
    rng = np.random.default_rng(seed)
    content = bytearray(packed(network(seed, 0.3)))
    kind = rng.integers(3)
    if kind == 0:
        content = content[:rng.integers(len(content))]
    elif kind == 1:
        content += bytes(rng.integers(1, 50))
    else:
        for at in rng.integers(0, rng.choice([8, len(content)]), rng.integers(1, 6)):
            content[at] = rng.integers(256)
    path.write_bytes(content)
    try:
        state = read_compressed(path, SHAPES)
    except CompressedError as problem:
        assert str(path) in str(problem)
    else:
        assert kind == 2
        assert {name: w.shape for name, w in state.items() if name.endswith("weight")} == {
            f"{name}.weight": shape for name, shape in SHAPES.items()}


def test_every_count_is_checked_before_memory_is_taken(tmp_path):
    path = tmp_path / "huge.net"
    path.write_bytes(struct.pack("<2I", 2**32 - 1, 5))
    with pytest.raises(CompressedError, match="layer first keeps 4294967295 weights of 108"):
        read_compressed(path, SHAPES)
    path.write_bytes(b"ab")
    with pytest.raises(CompressedError, match="has 2 bytes, expected many more"):
        read_compressed(path, SHAPES)
    with pytest.raises(FileNotFoundError, match="no file"):
        read_compressed(tmp_path / "none.net", SHAPES)
