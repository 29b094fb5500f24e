"""Rungs of the cascade: the fast ones against the definition, bit for bit; the definition against plain loops."""

import sys
from pathlib import Path

import kernel_oracle as oracle
import numpy as np
import pytest

from minivision_kernels import ladder
from minivision_kernels.cascades import FLAT, SKIPPED

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "vision"))
from cascade_cases import haar_xml, lbp_xml, picture

from minivision.vision.cascade_file import parse_cascade

SHAPES = [(1, 1), (1, 9), (8, 1), (2, 2), (17, 23), (40, 131)]


def by_name(op, name):
    return next(rung for rung in ladder(op) if rung.name == name)


@pytest.mark.parametrize("rung", oracle.rungs("window_sums"), ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_window_sums(rung, shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    sums, squares = rung(oracle.guarded(image, readonly=True), True)
    wide = image.astype(np.int64)
    y, x = np.mgrid[:shape[0], :shape[1]]
    for Y, X in np.ndindex(shape[0] + 1, shape[1] + 1):
        assert sums[0, Y, X] == wide[:Y, :X].sum()
        assert squares[Y, X] == (wide[:Y, :X] ** 2).sum()
        if (Y + X) % 3 == 0:
            assert sums[1, Y, X] == wide[(y < Y) & (abs(x - X + 1) <= Y - y - 1)].sum()
    upright, _ = rung(image, False)
    np.testing.assert_array_equal(upright, sums[:1])


@pytest.mark.parametrize("rung", oracle.rungs("shrink_exact"), ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shrink_exact(rung, shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.testing.assert_array_equal(rung(image, shape), image)
    for size in ((1, 1), (5, 3), (11, 40)):
        got = rung(oracle.guarded(image, readonly=True), size)
        np.testing.assert_array_equal(got, by_name("shrink_exact", "numpy")(image, size))
        y = np.clip((np.arange(size[0]) + 0.5) * shape[0] / size[0] - 0.5, 0, shape[0] - 1)
        x = np.clip((np.arange(size[1]) + 0.5) * shape[1] / size[1] - 0.5, 0, shape[1] - 1)
        rows = np.stack([np.interp(x, np.arange(shape[1]), row) for row in image.astype(float)])
        exact = np.stack([np.interp(y, np.arange(shape[0]), column) for column in rows.T], 1)
        assert np.abs(got - exact).max() < 2            # weights are rounded to 256ths
        colours = np.stack([image, image[::-1], 255 - image], 2)
        np.testing.assert_array_equal(rung(oracle.guarded(colours, readonly=True), size), np.stack([
            by_name("shrink_exact", "numpy")(np.ascontiguousarray(colours[..., c]), size) for c in range(3)], 2))


@pytest.mark.parametrize("kind", ["haar", "stumps", "lbp"])
def test_every_rung_gives_the_same_answers(kind):
    """Windows of all proportions, in images barely larger than one and in wider ones, with steps of 1 and of 2."""
    rng, reached = np.random.default_rng(0), []
    for number in range(12):
        width, height = int(rng.integers(4, 20)), int(rng.integers(4, 20))
        text = lbp_xml(rng, width, height, 3) if kind == "lbp" else haar_xml(rng, width, height, 3, trees=kind == "haar")
        cascade = parse_cascade(text.encode())
        image = picture(rng, height + int(rng.integers(0, 9)), width + int(rng.integers(0, 60)) * (number % 3))
        if number == 0:
            image[:] = 90
        sums, squares = by_name("window_sums", "loops")(image, True)
        op = "cascade_lbp" if kind == "lbp" else "cascade_haar"
        arrays = (sums,) if kind == "lbp" else (sums, squares)
        for step in (1, 2):
            rows = len(range(0, image.shape[0] - height + 1, step))
            options = cascade.features, cascade.trees, (height, width), step, rows
            expected = by_name(op, "numpy")(*arrays, *options)
            assert expected.shape == (rows, len(range(0, image.shape[1] - width + 1, step)))
            for rung in oracle.rungs(op):
                got = rung(*(oracle.guarded(array, readonly=True) for array in arrays), *options)
                assert got.dtype == np.int32
                np.testing.assert_array_equal(got, expected, err_msg=str(rung))
            reached.append(expected.ravel())
    reached = np.concatenate(reached)
    expected_answers = {SKIPPED, 0, 1, 2, 3} | ({FLAT} if kind != "lbp" else set())
    assert set(reached.tolist()) == expected_answers


def test_a_window_after_a_failed_one_is_skipped():
    cascade = parse_cascade(haar_xml(np.random.default_rng(3), 8, 8).encode())
    image = picture(np.random.default_rng(0), 60, 200)
    sums, squares = by_name("window_sums", "numpy")(image, True)
    passed = by_name("cascade_haar", "numpy")(sums, squares, cascade.features, cascade.trees, (8, 8), 1, 53)
    skipped = passed == SKIPPED
    assert skipped.any()
    np.testing.assert_array_equal(skipped[:, 1:], passed[:, :-1] == 0)
    assert not skipped[:, 0].any()


@pytest.mark.parametrize("op", ["cascade_haar", "cascade_lbp"])
def test_no_windows(op):
    """An image smaller than the window, or no rows asked for."""
    cascade = parse_cascade((haar_xml if op == "cascade_haar" else lbp_xml)(np.random.default_rng(0), 8, 9).encode())
    for shape, rows, expected in (((9, 4), 1, (1, 0)), ((3, 20), 0, (0, 13)), ((20, 20), 0, (0, 13))):
        sums, squares = by_name("window_sums", "numpy")(np.zeros(shape, np.uint8), True)
        arrays = (sums, squares) if op == "cascade_haar" else (sums,)
        for rung in oracle.rungs(op):
            assert rung(*arrays, cascade.features, cascade.trees, (9, 8), 1, rows).shape == expected
