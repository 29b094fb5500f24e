"""The emulator models what kernels use, and shows planted mistakes: only then do the tests of the kernels mean something."""

from pathlib import Path

import numpy as np
import pytest
from cuda_mistakes import sanitized

from minivision_kernels.cuda import emulator
from minivision_kernels.cuda.launch import Kernel

HERE = Path(__file__).parent
ORDERS = ["forward", "backward", 7, 8]


def launch(name, grid, block, *arguments, shared=0, constants=()):
    Kernel("planted.cu", name, *constants, folder=HERE).launch(grid, block, *arguments, shared=shared)


def reversed_in_blocks(barrier, order, dtype=np.float32):
    x = np.arange(96, dtype=dtype)
    y = np.zeros_like(x)
    with emulator.threads(order):
        launch("reverse", 2, 48, x, y, barrier, shared=48 * x.itemsize)
    return np.array_equal(y, x.reshape(2, 48)[:, ::-1].ravel())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", ORDERS)
def test_barriers_hold_in_every_order(order, dtype):
    assert reversed_in_blocks(1, order, dtype)


def test_a_missing_barrier_shows_in_each_order():
    for order in ORDERS:
        assert not reversed_in_blocks(0, order)


def test_a_missing_second_barrier_shows():
    x = np.arange(64 * 3, dtype=np.float32)
    right = []
    for barrier in (1, 0):
        for order in ORDERS:
            y = np.zeros(64, np.float32)
            with emulator.threads(order):
                launch("window_sums", 1, 64, x, y, 3, barrier, shared=64 * 4)
            right.append(bool((y == x.sum()).all()))
    assert right == [True] * len(ORDERS) + [False] * len(ORDERS)


def test_threads_at_different_barriers():
    y = np.zeros(32, np.float32)
    launch("two_barriers", 1, 32, y, 0)
    assert y.all()
    with pytest.raises(emulator.EmulatorError, match=r"planted.cu, kernel two_barriers: block \(0, 0, 0\): thread 1 waits at "
                                                     r"__syncthreads in line \d+, thread 0 in line \d+"):
        launch("two_barriers", 1, 32, y, 1)


def test_a_warp_that_lacks_a_lane_hangs():
    x, y = np.ones(32, np.float32), np.zeros(32, np.float32)
    launch("warp_without_a_lane", 1, 32, x, y, -1)
    assert (y == 32).all()
    with pytest.raises(emulator.EmulatorError, match="of 32 threads wait for ever"):
        launch("warp_without_a_lane", 1, 32, x, y, 31)


def test_copies_arrive_when_they_are_waited_for():
    x, y = np.arange(1, 33, dtype=np.float32), np.zeros(32, np.float32)
    launch("late_copies", 1, 32, x, y, 1, shared=128)
    np.testing.assert_array_equal(y, np.where(np.arange(32) % 2 == 0, x, 0)[::-1])
    launch("late_copies", 1, 32, x, y, 0, shared=128)
    assert np.isnan(y).all()


def test_shared_memory_starts_as_nan():
    y = np.zeros(64, np.float32)
    launch("no_initial_value", 1, 64, y, shared=256)
    assert np.isnan(y).all()


@pytest.mark.parametrize("order", ORDERS)
def test_sums_over_warps_and_blocks(order):
    x = np.random.default_rng(0).standard_normal(96)
    y, largest = np.zeros(96), np.zeros(96)
    with emulator.threads(order):
        launch("sums", 1, 96, x, y, largest, shared=3 * 8)
    np.testing.assert_allclose(y, x.sum(), rtol=1e-14)
    assert len(set(y)) == 1
    np.testing.assert_array_equal(largest, np.repeat(x.reshape(3, 32).max(axis=1), 32))


def test_constants_make_a_kernel_of_their_own():
    for factor, offset in ((2, 5), (3, -1)):
        x, y = np.arange(4, dtype=np.float64), np.zeros(4)
        launch("scaled", 1, 4, x, y, constants=(factor, offset))
        np.testing.assert_array_equal(y, x * factor + offset)


def test_arguments_get_the_types_of_the_text():
    y = np.zeros(7)
    index = np.array([3, 4], np.int32)
    launch("arguments", 1, 1, y, (5, 6), 7 << 32, -8, 0.5, None, index)
    np.testing.assert_array_equal(y, [5, 6, 7, -8, 0.5, 1, 4])


def test_wrong_arguments_are_refused():
    y, index = np.zeros(7), np.array([3, 4], np.int32)
    with pytest.raises(TypeError, match=r"<kernel arguments of planted.cu> takes 7 arguments \(y, sizes, big, .*, got 1"):
        launch("arguments", 1, 1, y)
    with pytest.raises(TypeError, match="index is int64, expected an array of int32"):
        launch("arguments", 1, 1, y, (5, 6), 7, 8, 0.5, None, index.astype(np.int64))
    with pytest.raises(ValueError, match="small is 2147483648, which int cannot hold"):
        launch("arguments", 1, 1, y, (5, 6), 7, 2**31, 0.5, None, index)
    with pytest.raises(ValueError, match="y is not contiguous"):
        launch("arguments", 1, 1, np.zeros(14)[::2], (5, 6), 7, 8, 0.5, None, index)
    with pytest.raises(ValueError, match=r"planted\.cu has no kernel sqare"):
        launch("sqare", 1, 1, y)


def test_an_empty_grid_is_no_error():
    launch("reverse", 0, 32, np.zeros(0, np.float32), np.zeros(0, np.float32), 1)


def test_tensor_cores_and_the_split_in_three_products():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((16, 8), np.float32), rng.standard_normal((8, 8), np.float32)
    exact = a.astype(float) @ b.astype(float)
    error = []
    for split in (0, 1):
        c = np.zeros((16, 8), np.float32)
        launch("product", 1, 32, a, b, c, split)
        error.append(np.abs(c - exact).max())
    assert 1e-4 < error[0] < 1e-2           # 10 bits of mantissa
    assert error[1] < 2e-6                  # as good as float32


SANITIZED = """
import numpy as np
from pathlib import Path
from minivision_kernels.cuda.launch import Kernel
x, y = np.zeros(40, np.float32), np.zeros(40, np.float32)
Kernel("planted.cu", "{name}", folder=Path({folder!r})).launch(1, {block}, x, y, {arguments}, shared={shared})
print("came to its end")
"""


@pytest.mark.parametrize("name, block, shared, fine, planted", [
    ("overrun", 64, 0, "40, 0", "40, 1"),
    ("shared_overrun", 32, 128, "0", "40"),
])
def test_sanitizers_name_the_place_of_an_overrun(name, block, shared, fine, planted):
    results = [sanitized(SANITIZED.format(name=name, folder=str(HERE), block=block, arguments=arguments, shared=shared))
               for arguments in (fine, planted)]
    assert results[0].returncode == 0 and "came to its end" in results[0].stdout, results[0].stderr
    assert results[1].returncode != 0 and "came to its end" not in results[1].stdout
    assert "heap-buffer-overflow" in results[1].stderr and f"in {name}" in results[1].stderr, results[1].stderr[:3000]
