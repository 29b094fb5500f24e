"""The matrix products on the GPU: the tests of the CPU's, the accuracy of tensor cores, the choice of tiles."""

import numpy as np
import pytest
import test_small_ops
from cuda_oracle import PLACES, Placed, cuda_rungs
from kernel_oracle import FLOATS

RUNGS = cuda_rungs("linear_forward", "linear_input", "linear_weight")
EXACT = [rung for rung in RUNGS if rung.exact]
places = pytest.mark.parametrize("place", PLACES)


@places
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("rung", EXACT, ids=str)
def test_products(rung, place, dtype):
    if rung.accepts(np.zeros(1, dtype), None):
        for N, I, O in ((1, 1, 1), (5, 0, 3), (0, 3, 2), (1, 33, 70), (130, 41, 2), (37, 20, 68), (65, 12, 132)):
            test_small_ops.check_linear(Placed(rung, place), dtype, N, I, O, turned=False)
        test_small_ops.check_linear(Placed(rung, place), dtype, 5, 9, 7, turned=True)
