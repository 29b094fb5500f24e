"""Matrix products: every combination of dimensions, and the fully connected layer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import assert_close, broadcastable, check_dtype, check_gradients, dtypes, normal, seeds

import minivision as mv
from minivision import functional as F

small = st.integers(0, 3)


@given(stacks=broadcastable(2, max_ndim=2), n=small, k=small, m=small, seed=seeds, dtype=dtypes)
@settings(max_examples=40)
def test_matmul_of_stacks(stacks, n, k, m, seed, dtype):
    x, y = normal(seed, *stacks[0], n, k, dtype=dtype), normal(seed + 1, *stacks[1], k, m, dtype=dtype)
    z = mv.tensor(x) @ mv.tensor(y)
    assert z.dtype == np.dtype(dtype)
    expected = (x[..., :, :, None] * y[..., None, :, :]).sum(-2)      # no matrix product in the oracle
    assert_close(z, expected)
    check_gradients(mv.matmul, x, y, seed=seed)


@given(stack=st.lists(small, max_size=2), n=small, k=small, seed=seeds)
@settings(max_examples=20)
def test_matmul_with_vectors(stack, n, k, seed):
    matrix, right, left = normal(seed, *stack, n, k), normal(seed + 1, k), normal(seed + 2, n)
    assert_close(mv.tensor(matrix) @ mv.tensor(right), (matrix * right).sum(-1))
    assert_close(mv.tensor(left) @ mv.tensor(matrix), (matrix * left[:, None]).sum(-2))
    assert_close(mv.tensor(right) @ mv.tensor(right), (right * right).sum())
    check_gradients(mv.matmul, matrix, right, seed=seed)
    check_gradients(mv.matmul, left, matrix, seed=seed)
    check_gradients(mv.matmul, right, right + 1, seed=seed)


@given(rows=st.lists(small, max_size=3), inside=st.integers(1, 4), out=st.integers(1, 4), bias=st.booleans(), seed=seeds,
       dtype=dtypes)
@settings(max_examples=30)
def test_linear(rows, inside, out, bias, seed, dtype):
    x, w = normal(seed, *rows, inside, dtype=dtype), normal(seed + 1, out, inside, dtype=dtype)
    b = normal(seed + 2, out, dtype=dtype)
    y = F.linear(mv.tensor(x), mv.tensor(w), mv.tensor(b) if bias else None)
    assert y.dtype == np.dtype(dtype)
    assert_close(y, (x[..., None, :] * w).sum(-1) + (b if bias else 0))
    check_gradients(F.linear, *((x, w, b) if bias else (x, w)), seed=seed)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(dtype):
    check_dtype(mv.matmul, normal(0, 2, 3), normal(1, 3, 2), dtype=dtype)
    check_dtype(F.linear, normal(0, 2, 3), normal(1, 4, 3), normal(2, 4), dtype=dtype)


def test_transposed_and_strided_operands():
    x, w = normal(0, 6, 4)[::2, ::2], normal(1, 2, 5).T
    assert_close(F.linear(mv.Tensor(x), mv.Tensor(w)), (x[:, None, :] * w).sum(-1))
    check_gradients(F.linear, x, w)
