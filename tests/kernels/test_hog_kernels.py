"""Histograms of oriented gradients: every rung against plain loops in Python, written independently of them."""

import math

import kernel_oracle as oracle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

dtypes = pytest.mark.parametrize("dtype", oracle.FLOATS)
NORMS = ["L1", "L1-sqrt", "L2", "L2-Hys", "OpenCV"]


def picture(seed, H, W, C, dtype, levels=256):
    return np.random.default_rng(seed).integers(0, levels, (H, W, C)).astype(dtype)


def gradient(image, y, x):
    """(down, right) of the channel whose gradient is longest, the first of equals."""
    H, W, C = image.shape
    found = []
    for c in range(C):
        down = image[y + 1, x, c] - image[y - 1, x, c] if 0 < y < H - 1 else 0
        right = image[y, x + 1, c] - image[y, x - 1, c] if 0 < x < W - 1 else 0
        found.append((float(down), float(right)))
    return max(found, key=lambda g: g[0] ** 2 + g[1] ** 2)


def cells_of(image, CH, CW, bins):
    rows, columns = image.shape[0] // CH, image.shape[1] // CW
    cells = np.zeros((rows, columns, bins))
    for y in range(rows * CH):
        for x in range(columns * CW):
            down, right = gradient(image, y, x)
            angle = math.degrees(math.atan2(down, right)) % 180
            cells[y // CH, x // CW, int(angle * bins / 180 + 1e-9) % bins] += math.hypot(down, right) / (CH * CW)
    return cells


@dtypes
@pytest.mark.parametrize("rung", oracle.rungs("hog_cells"), ids=str)
@given(H=st.integers(1, 20), W=st.integers(1, 21), C=st.integers(1, 4), CH=st.integers(1, 7), CW=st.integers(1, 6),
       bins=st.integers(1, 12), levels=st.sampled_from([3, 256]))
def test_cells(rung, dtype, H, W, C, CH, CW, bins, levels):
    """With three levels most gradients lie on the edges of bins and many channels are equally steep."""
    image = picture(1, H, W, C, dtype, levels)
    got = rung(oracle.guarded(image, readonly=True), (CH, CW), bins)
    assert got.dtype == dtype and got.shape == (H // CH, W // CW, bins)
    np.testing.assert_allclose(got, cells_of(image, CH, CW, bins), rtol=2e-6, atol=1e-4)


@dtypes
@pytest.mark.parametrize("rung", oracle.rungs("hog_cells")[1:], ids=str)
@pytest.mark.parametrize("bins", [4, 7, 8, 9, 12])
def test_cells_to_the_last_digit(rung, dtype, bins):
    """Sums are rounded in the order of the definition: fractions, flat and sloping parts, threads at work."""
    definition = oracle.rungs("hog_cells")[0]
    for image in (picture(2, 67, 91, 3, dtype) / dtype(255), picture(3, 67, 91, 1, dtype, 3),
                  np.repeat(picture(4, 64, 40, 1, dtype), 3, 2), np.zeros((30, 30, 2), dtype)):
        np.testing.assert_array_equal(rung(image, (8, 7), bins), definition(image, (8, 7), bins))


@dtypes
@pytest.mark.parametrize("rung", oracle.rungs("hog_cells"), ids=str)
def test_a_gradient_that_rounding_turns_to_180_degrees_is_in_no_bin(rung, dtype):
    image = np.zeros((3, 3, 1), dtype)
    image[1] = np.array([[0], [0], [1]])
    image[0, 1] = np.finfo(dtype).tiny * 4                      # down is -tiny: an angle of 180 - 1e-36 degrees
    assert rung(image, (3, 3), 9)[0, 0, 8] * 9 < 1e-30


def votes_of(image, down, right, CH, CW, stride, start, bins, signed):
    H, W, _ = image.shape
    corners = [range(s, n - len(w) + 1, step) for s, n, w, step in zip(start, (H, W), (down, right), stride)]
    votes = np.zeros((len(corners[0]), len(corners[1]), len(down) // CH, len(right) // CW, bins))
    whole = 2 * math.pi if signed else math.pi
    for row, top in enumerate(corners[0]):
        for column, left in enumerate(corners[1]):
            for i in range(len(down)):
                for j in range(len(right)):
                    d, r = gradient(image, top + i, left + j)
                    place = math.atan2(d, r) % whole / whole * bins - 0.5
                    for cell_row in range(votes.shape[2]):
                        for cell_column in range(votes.shape[3]):
                            near = [max(0, 1 - abs((k + 0.5) / size - 0.5 - cell))
                                    for k, size, cell in ((i, CH, cell_row), (j, CW, cell_column))]
                            weight = near[0] * near[1] * float(down[i]) * float(right[j]) * math.hypot(d, r)
                            below = math.floor(place)
                            votes[row, column, cell_row, cell_column, below % bins] += weight * (below + 1 - place)
                            votes[row, column, cell_row, cell_column, (below + 1) % bins] += weight * (place - below)
    return votes


@dtypes
@pytest.mark.parametrize("rung", oracle.rungs("hog_votes"), ids=str)
@given(H=st.integers(1, 17), W=st.integers(1, 19), C=st.integers(1, 3), cell=st.tuples(*[st.integers(1, 4)] * 2),
       block=st.tuples(*[st.integers(1, 3)] * 2), stride=st.tuples(*[st.integers(1, 9)] * 2),
       start=st.tuples(*[st.integers(0, 2)] * 2), bins=st.integers(1, 9), signed=st.booleans(), polynomial=st.booleans())
def test_votes(rung, dtype, H, W, C, cell, block, stride, start, bins, signed, polynomial):
    rng = np.random.default_rng(5)
    image = picture(6, H, W, C, dtype)
    down, right = (rng.uniform(0.1, 1, n * m).astype(dtype) for n, m in zip(cell, block))
    got = rung(oracle.guarded(image, readonly=True), down, right, cell, stride, start, bins, signed, polynomial)
    expected = votes_of(image, down, right, *cell, stride, start, bins, signed)
    assert got.dtype == dtype and got.shape == expected.shape
    # The polynomial is off by 0.01 degrees: that part of a bin goes to the wrong neighbour.
    slack = 0.01 / (360 if signed else 180) * bins if polynomial else 1e-6 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(got, expected, atol=(slack + 2e-6 * (dtype == np.float32)) * (expected.sum() + 1))


@dtypes
@pytest.mark.parametrize("rung", oracle.rungs("hog_votes")[1:], ids=str)
def test_votes_of_many_blocks(rung, dtype):
    """More rows of blocks than a thread takes at a time, weights below 0, and the polynomial's rounding in every lane."""
    image, window = picture(7, 150, 90, 3, dtype), (np.exp(-(np.arange(16) - 8.0) ** 2 / 32) - 0.3).astype(dtype)
    args = image, window, window, (8, 8), (8, 8), (1, 2), 9, False, True
    expected = oracle.rungs("hog_votes")[0](*args)
    np.testing.assert_allclose(rung(*args), expected, rtol=0, atol=oracle.TOLERANCE[dtype] * expected.max())


def divided(v, norm):
    v, eps = [float(x) for x in v], 1e-5
    if norm.startswith("L1"):
        size = sum(map(abs, v)) + eps
        return [math.sqrt(x / size) if norm == "L1-sqrt" else x / size for x in v]
    length = lambda v, add: math.sqrt(sum(x * x for x in v) + (eps ** 2 if add is None else 0)) + (add or 0)
    first, second = (0.1 * len(v), 1e-3) if norm == "OpenCV" else (None, None)
    v = [x / length(v, first) for x in v]
    if norm != "L2":
        v = [min(x, 0.2) for x in v]
        v = [x / length(v, second) for x in v]
    return v


@dtypes
@pytest.mark.parametrize("rung", oracle.rungs("hog_blocks"), ids=str)
@given(R=st.integers(1, 6), C=st.integers(1, 7), L=st.integers(1, 10), block=st.tuples(*[st.integers(1, 4)] * 2),
       norm=st.sampled_from(NORMS), scale=st.sampled_from([0.0, 1e-3, 1.0, 100.0]))
def test_blocks(rung, dtype, R, C, L, block, norm, scale):
    BR, BC = min(block[0], R), min(block[1], C)
    cells = (scale * np.random.default_rng(8).random((R, C, L))).astype(dtype)
    got = rung(oracle.guarded(cells, readonly=True), (BR, BC), norm)
    expected = np.zeros((R - BR + 1, C - BC + 1, BR, BC, L))
    for i in range(R - BR + 1):
        for j in range(C - BC + 1):
            block_ = cells[i:i + BR, j:j + BC]
            expected[i, j] = np.reshape(divided(block_.ravel(), norm), block_.shape)
    oracle.assert_close(got, expected, 1 + 0 * expected, dtype)


@dtypes
@pytest.mark.parametrize("rung", oracle.rungs("hog_scores"), ids=str)
@given(more=st.tuples(*[st.integers(0, 9)] * 2), window=st.tuples(*[st.integers(1, 5)] * 2), L=st.integers(1, 40),
       far=st.tuples(*[st.integers(1, 3)] * 2), apart=st.tuples(*[st.integers(1, 4)] * 2))
def test_scores(rung, dtype, more, window, L, far, apart):
    rng = np.random.default_rng(9)
    R, C = ((count - 1) * step + 1 + n for count, step, n in zip(window, far, more))
    blocks, weights = (rng.standard_normal((*shape, L)).astype(dtype) for shape in ((R, C), window))
    got = rung(oracle.guarded(blocks, readonly=True), oracle.guarded(weights, readonly=True), far, apart)
    expected = [[sum((blocks[y + i * far[0], x + j * far[1]].astype(float) * weights[i, j]).sum()
                     for i in range(window[0]) for j in range(window[1]))
                 for x in range(0, more[1] + 1, apart[1])] for y in range(0, more[0] + 1, apart[0])]
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, expected, rtol=0, atol=oracle.TOLERANCE[dtype] * 10)


@pytest.mark.parametrize("rung", oracle.rungs("hog_cells", "hog_votes", "hog_blocks"), ids=str)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_what_is_not_a_number_stays_where_it_is(rung):
    """Nobody promises what comes out, but no vote may go to memory that is not its own."""
    image = picture(9, 20, 20, 3, np.float32)
    image[::3] = np.nan
    image[1::7, 1::5] = np.inf
    window = np.ones(8, np.float32)
    args = {"hog_cells": ((4, 4), 9), "hog_blocks": ((2, 2), "L2-Hys"),
            "hog_votes": (window, window, (4, 4), (4, 4), (0, 0), 9, False, True)}[rung.op]
    rung(oracle.guarded(image), *args)
