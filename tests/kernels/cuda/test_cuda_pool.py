"""Pooling on the GPU, by the tests of the CPU's."""

import kernel_oracle as oracle
import numpy as np
import pytest
import test_pool
from cuda_oracle import PLACES, Placed, cuda_rungs

from minivision_kernels import ladder
from minivision_kernels.cuda import pool
from minivision_kernels.cuda.launch import grouped

dtypes = pytest.mark.parametrize("dtype", oracle.FLOATS)
places = pytest.mark.parametrize("place", PLACES)


def rungs(op):
    return pytest.mark.parametrize("rung", cuda_rungs(op), ids=str)


@places
@dtypes
@rungs("max_pool2d_forward")
def test_max_forward(rung, place, dtype):
    test_pool.test_max_forward(Placed(rung, place), dtype)


@places
@dtypes
@rungs("max_pool2d_backward")
def test_max_backward(rung, place, dtype):
    test_pool.test_max_backward(Placed(rung, place), dtype)


@places
@dtypes
@rungs("avg_pool2d_forward")
def test_avg_forward(rung, place, dtype):
    test_pool.test_avg_forward(Placed(rung, place), dtype)


@places
@dtypes
@rungs("avg_pool2d_backward")
def test_avg_backward(rung, place, dtype):
    test_pool.test_avg_backward(Placed(rung, place), dtype)


@places
@rungs("max_pool2d_forward")
def test_a_tie_goes_to_the_first_and_nan_wins(rung, place):
    test_pool.test_a_tie_goes_to_the_first_and_nan_wins(Placed(rung, place))
    test_pool.test_a_window_without_pixels(Placed(rung, place))


@places
@dtypes
@pytest.mark.parametrize("window", [w for w in pool.WINDOWS["max"] if any(w)], ids=str)
@pytest.mark.parametrize("padding, ceil_mode", [((0, 0), False), ((1, 1), True)])
def test_windows_known_to_the_compiler(place, dtype, window, padding, ceil_mode):
    """The kernels that only these windows reach; bit for bit the definition, since sums have its order."""
    shape, kernel_size, stride = (2, 3, 9, 10), window[:2], window[2:]
    x = test_pool.images(shape, dtype, "ties")
    options = kernel_size, stride, padding, (1, 1)
    numpy, ours = ({op: next(r for r in ladder(op) if r.name == name) for op in
                    ("max_pool2d_forward", "max_pool2d_backward", "avg_pool2d_forward", "avg_pool2d_backward")}
                   for name in ("numpy", "windows"))
    y, index = numpy["max_pool2d_forward"](x, *options, ceil_mode)
    g = oracle.guarded(np.random.default_rng(1).standard_normal(y.shape).astype(dtype))
    got = Placed(ours["max_pool2d_forward"], place)(x, *options, ceil_mode)
    np.testing.assert_array_equal(got[0], y)
    np.testing.assert_array_equal(got[1], index)
    dx = Placed(ours["max_pool2d_backward"], place)(g, index, shape, *options)
    np.testing.assert_array_equal(dx, numpy["max_pool2d_backward"](g, index, shape, *options))
    average = kernel_size, stride, padding, ceil_mode, False, None
    for op, *arguments in ("avg_pool2d_forward", x), ("avg_pool2d_backward", g, shape):
        expected = numpy[op](*arguments, *average)
        oracle.assert_close(Placed(ours[op], place)(*arguments, *average), expected, np.full(expected.shape, 4.0), dtype)


def test_planes_are_grouped_so_that_32_bits_count_them():
    assert grouped(7, 100) == (7, 1)
    together, groups = grouped(3_000_000, 1024)
    assert together * 1024 <= 1 << 30 and together * groups >= 3_000_000 > together * (groups - 1)
    assert grouped(2, (1 << 30) + 1) == (1, 2)
    assert grouped(0, 4) == (1, 0)


@places
@pytest.mark.parametrize("together", [1, 3])
def test_groups_of_planes(monkeypatch, place, together):
    """As with more than 2^30 numbers: the second axis of the grid counts groups, the last of which is not full."""
    monkeypatch.setattr(pool, "grouped", lambda count, size: (together, -(-count // together)))
    x = np.random.default_rng(0).standard_normal((2, 2, 5, 6)).astype(np.float32)
    options = (2, 2), (2, 2), (0, 0), (1, 1)
    forward, backward = (next(r for r in ladder(op) if r.name == "windows") for op in
                         ("max_pool2d_forward", "max_pool2d_backward"))
    y, index = Placed(forward, place)(x, *options, False)
    expected, where = oracle.max_pool2d_forward(x, *options, False)
    np.testing.assert_array_equal(y, expected)
    dx = Placed(backward, place)(y, index, x.shape, *options)
    np.testing.assert_array_equal(dx, oracle.max_pool2d_backward(y, where, x.shape).astype(np.float32))
