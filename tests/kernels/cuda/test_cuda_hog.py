"""Histograms of oriented gradients on the GPU, by the tests of the CPU's."""

import kernel_oracle as oracle
import numpy as np
import pytest
import test_hog_kernels as cpu
from cuda_mistakes import assert_clean, without_each
from cuda_oracle import PLACES, Placed, cuda_rungs

from minivision_kernels.cuda import emulator, hog

dtypes = pytest.mark.parametrize("dtype", oracle.FLOATS)
places = pytest.mark.parametrize("place", PLACES)


def placed(op, place):
    return [Placed(rung, place) for rung in cuda_rungs(op)]


@places
@dtypes
@pytest.mark.parametrize("op, test", [("hog_cells", cpu.test_cells), ("hog_votes", cpu.test_votes),
                                      ("hog_blocks", cpu.test_blocks)], ids=lambda value: getattr(value, "__name__", value))
def test_by_plain_loops(op, test, place, dtype):
    for rung in placed(op, place):
        test(rung, dtype)


@places
@dtypes
def test_cells_have_the_bits_of_the_definition(place, dtype):
    """Float32 sums in one order; many bins at edges of which gradients lie, and cells of more pixels than threads."""
    definition = oracle.rungs("hog_cells")[0]
    for rung in placed("hog_cells", place):
        for seed, cell, bins, levels in ((0, (8, 7), 9, 256), (1, (13, 14), 4, 3), (2, (3, 5), 300, 256)):
            image = cpu.picture(seed, 31, 29, 3, dtype, levels)
            np.testing.assert_array_equal(rung(image, cell, bins), definition(image, cell, bins))


@places
@dtypes
def test_votes_of_many_blocks(place, dtype):
    definition = oracle.rungs("hog_votes")[0]
    image, window = cpu.picture(7, 50, 42, 3, dtype), (np.exp(-(np.arange(16) - 8.0) ** 2 / 32) - 0.3).astype(dtype)
    for rung in placed("hog_votes", place):
        for polynomial in (False, True):
            args = image, window, window, (8, 8), (8, 8), (1, 2), 9, False, polynomial
            expected = definition(*args)
            np.testing.assert_allclose(rung(*args), expected, rtol=0, atol=oracle.TOLERANCE[dtype] * expected.max())


def test_no_kernel_leaves_its_arrays():
    shared = dict(block_stride=(3, 5), start=(1, 2), orientations=7, signed=True, polynomial=True)
    assert_clean([
        ("hog_cells", [(19, 23, 3)], dict(pixels_per_cell=(4, 3), orientations=9)),
        ("hog_cells", [(13, 14, 1)], dict(pixels_per_cell=(13, 14), orientations=360)),
        ("hog_votes", [(20, 31, 2), (8,), (9,)], dict(pixels_per_cell=(4, 3), **shared)),
        ("hog_votes", [(20, 31, 1), (16,), (16,)], dict(pixels_per_cell=(8, 8), **shared)),
        *(("hog_blocks", [(4, 5, 7)], dict(cells_per_block=(3, 2), norm=norm)) for norm in cpu.NORMS)])


def cells_right(kernel):
    image = cpu.picture(0, 20, 20, 1, np.float32)
    cells = np.zeros((1, 1, 9), np.float32)
    kernel.launch((1, 1), hog.THREADS, image, cells, (20, 20, 1), 20, 20, 1, 9)
    return np.array_equal(cells, oracle.rungs("hog_cells")[0](image, (20, 20), 9))


def votes_right(kernel):
    image, window = cpu.picture(0, 16, 16, 1, np.float32), np.ones(16, np.float32)
    votes, powers = np.zeros((1, 1, 2, 2, 9), np.float32), hog.ARCTAN.astype(np.float32)
    kernel.launch((1, 1), hog.THREADS, image, window, window, powers, votes, (16, 16, 1), (8, 8, 2, 2, 1, 8, 8, 0, 0, 9, 0, 1))
    expected = oracle.rungs("hog_votes")[0](image, window, window, (8, 8), (8, 8), (0, 0), 9, False, True)
    return np.allclose(votes, expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("kernel, is_right", [(hog._CELLS, cells_right), (hog._VOTES, votes_right)], ids=["cells", "votes"])
def test_every_barrier_is_needed(kernel, is_right, tmp_path):
    def holds(altered):
        found = []
        for order in ("forward", "backward"):
            with emulator.threads(order):
                found.append(is_right(altered))
        return all(found)

    assert holds(kernel)
    removed = list(without_each(kernel, kernel.name, tmp_path))
    assert len(removed) == 2
    for altered, what in removed:
        assert not holds(altered), f"is not missed: {what}"
