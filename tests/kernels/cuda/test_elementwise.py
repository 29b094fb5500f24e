"""The rectifier and the sum on the GPU, by the tests of the CPU's."""

import numpy as np
import pytest
import test_small_ops
from cuda_oracle import PLACES, Placed, cuda_rungs
from kernel_oracle import FLOATS

dtypes = pytest.mark.parametrize("dtype", FLOATS)
places = pytest.mark.parametrize("place", PLACES)


@places
@dtypes
@pytest.mark.parametrize("shape", [(), (0,), (9,), (3, 0, 2), (4, 9), (30, 101)])
@pytest.mark.parametrize("rung", cuda_rungs("relu_forward"), ids=str)
def test_relu_forward(rung, place, dtype, shape):
    test_small_ops.test_relu_forward(Placed(rung, place), dtype, shape)


@places
@dtypes
@pytest.mark.parametrize("shape", [(), (0,), (9,), (4, 9), (30, 101)])
@pytest.mark.parametrize("rung", cuda_rungs("relu_backward"), ids=str)
def test_relu_backward(rung, place, dtype, shape):
    test_small_ops.test_relu_backward(Placed(rung, place), dtype, shape)


@places
@dtypes
@pytest.mark.parametrize("rung", cuda_rungs("add"), ids=str)
def test_add(rung, place, dtype):
    rng = np.random.default_rng(0)
    for size in (0, 1, 4, 1025):
        x, y = rng.standard_normal((2, size)).astype(dtype)
        np.testing.assert_array_equal(Placed(rung, place)(x, y), x + y)
        np.testing.assert_array_equal(Placed(rung, place)(x, y, relu=True), np.maximum(x + y, 0))
