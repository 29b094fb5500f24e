"""Sums, means, variances, extremes and logsumexp over any axes."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import assert_close, check_dtype, check_gradients, distinct, dtypes, normal, seeds, shape_and_dim

import minivision as mv
from minivision.ops.reduce import TakeAlong


def groups(x, dim, keepdim, summarise):
    """``summarise`` (list of floats -> number) applied to each group of elements that a reduction merges."""
    axes = range(x.ndim) if dim is None else [d % x.ndim for d in (dim if isinstance(dim, tuple) else (dim,))]
    kept = [i for i in range(x.ndim) if i not in axes]
    out = np.zeros([x.shape[i] for i in kept])
    for place in np.ndindex(out.shape):
        where = dict(zip(kept, place))
        ranges = [[where[i]] if i in where else range(x.shape[i]) for i in range(x.ndim)]
        out[place] = summarise([float(x[index]) for index in itertools.product(*ranges)])
    return out.reshape([1 if i in axes else n for i, n in enumerate(x.shape)]) if keepdim else out


def mean(values):
    return math.fsum(values) / len(values)


def biased(values):
    return mean([(v - mean(values)) ** 2 for v in values])


def logsumexp(values):
    return math.log(math.fsum(math.exp(v) for v in values)) if values else -math.inf


@given(case=shape_and_dim(), seed=seeds, keepdim=st.booleans(), dtype=dtypes)
@settings(max_examples=40)
def test_sum(case, seed, keepdim, dtype):
    shape, dim = case
    x = normal(seed, *shape, dtype=dtype)
    y = mv.tensor(x).sum(dim, keepdim)
    assert y.dtype == np.dtype(dtype)
    assert_close(y, groups(x, dim, keepdim, math.fsum))


@given(case=shape_and_dim(least=1), seed=seeds, keepdim=st.booleans(), dtype=dtypes)
@settings(max_examples=40)
def test_mean_var_logsumexp(case, seed, keepdim, dtype):
    shape, dim = case
    x = normal(seed, *shape, dtype=dtype)
    t = mv.tensor(x)
    for got, expected in ((t.mean(dim, keepdim), mean), (t.var(dim, keepdim, correction=0), biased),
                          (t.logsumexp(dim, keepdim), logsumexp)):
        assert got.dtype == np.dtype(dtype)
        assert_close(got, groups(x, dim, keepdim, expected))


@given(case=shape_and_dim(least=1), seed=seeds)
@settings(max_examples=20)
def test_var_is_unbiased_by_default(case, seed):
    shape, dim = case
    x = normal(seed, *shape)
    n = x.size // max(x.sum(axis=dim if dim is not None else tuple(range(x.ndim))).size, 1)
    if n < 2:
        assert np.isnan(mv.tensor(x).var(dim).numpy()).all()
    else:
        assert_close(mv.tensor(x).var(dim), groups(x, dim, False, lambda v: biased(v) * n / (n - 1)))


@pytest.mark.parametrize("name", ["sum", "mean", "var", "logsumexp"])
@given(case=shape_and_dim(least=1), seed=seeds, keepdim=st.booleans())
@settings(max_examples=12)
def test_gradients(name, case, seed, keepdim):
    shape, dim = case
    options = {"correction": 0} if name == "var" else {}
    check_gradients(lambda x: getattr(x, name)(dim, keepdim, **options), normal(seed, *shape), seed=seed)


@pytest.mark.parametrize("name", ["max", "min"])
@given(case=shape_and_dim(least=1, tuples=False), seed=seeds, keepdim=st.booleans(), dtype=dtypes)
@settings(max_examples=20)
def test_extremes(name, case, seed, keepdim, dtype):
    shape, dim = case
    x = distinct(seed, *shape, dtype=dtype)
    pick = max if name == "max" else min
    got, place = getattr(mv.tensor(x), name)(dim, keepdim), getattr(mv.tensor(x), f"arg{name}")(dim, keepdim)
    values = got if dim is None else got.values
    assert values.dtype == np.dtype(dtype) and place.dtype == np.int64
    assert_close(values, groups(x, dim, keepdim, pick))
    assert np.array_equal(place.numpy(), groups(x, dim, keepdim, lambda v: v.index(pick(v))))
    if dim is not None:
        assert np.array_equal(got.indices.numpy(), place.numpy())
        assert len(got) == 2                               # a pair, as in PyTorch


@pytest.mark.parametrize("name", ["max", "min"])
@given(case=shape_and_dim(least=1, tuples=False), seed=seeds, keepdim=st.booleans())
@settings(max_examples=12)
def test_gradients_of_extremes(name, case, seed, keepdim):
    shape, dim = case

    def func(x):
        found = getattr(x, name)(dim, keepdim)
        return found if dim is None else found.values

    check_gradients(func, distinct(seed, *shape), seed=seed)


@pytest.mark.parametrize("name", ["max", "min"])
def test_a_tie_goes_to_the_first(name):
    x = mv.tensor([[2.0, 2.0, 2.0], [1.0, 1.0, 1.0]], requires_grad=True)
    found = getattr(x, name)(dim=1)
    assert found.indices.tolist() == [0, 0]
    assert getattr(x, f"arg{name}")(1).tolist() == [0, 0]
    found.values.sum().backward()
    assert x.grad.tolist() == [[1, 0, 0], [1, 0, 0]]
    x.grad = None
    getattr(x, name)().backward()
    row = 0 if name == "max" else 1
    assert x.grad.numpy()[row].tolist() == [1, 0, 0] and x.grad.sum().item() == 1


@pytest.mark.parametrize("name", ["max", "min"])
def test_nan_is_the_extreme(name):
    x = mv.tensor([1.0, np.nan, 3.0])
    assert np.isnan(getattr(x, name)().item()) and getattr(x, f"arg{name}")().item() == 1


@given(case=shape_and_dim(), seed=seeds, keepdim=st.booleans())
@settings(max_examples=20)
def test_empty_axes(case, seed, keepdim):
    """A sum over nothing is 0, a log of a sum of nothing -inf; gradients have the input's (empty) shape."""
    shape, dim = case
    x = mv.tensor(normal(seed, *shape), requires_grad=True)
    for name, nothing in (("sum", 0.0), ("logsumexp", -np.inf)):
        y = getattr(x, name)(dim, keepdim)
        if x.size == 0:
            assert (y.numpy() == nothing).all()
        g, = mv.grad(y, x, mv.Tensor(np.ones(y.shape)))
        assert g.shape == x.shape


@pytest.mark.parametrize("name", ["sum", "mean", "logsumexp", "max", "min", "argmax", "argmin"])
def test_no_dimensions(name):
    x = mv.tensor(2.5)
    assert getattr(x, name)().item() == (0 if name.startswith("arg") else 2.5)
    assert getattr(x, name)().shape == ()


@pytest.mark.parametrize("axis", [0, 1])
def test_taking_along_an_axis_adds_where_an_element_is_taken_twice(axis):
    """What losses, extremes and the gradients of pooling are made of."""
    x, index = normal(0, 3, 3), np.array([[0, 2, 2], [2, 0, 2], [2, 1, 1]])
    check_gradients(lambda x: TakeAlong.apply(x, index=index, axis=axis), x)


@pytest.mark.parametrize("name", ["sum", "mean", "var", "logsumexp", "max", "min"])
def test_dtype_is_kept(name):
    for dtype in ("float32", "float64"):
        check_dtype(lambda x: getattr(x, name)(), distinct(0, 2, 3), dtype=dtype)


def test_integers_and_bools():
    assert mv.tensor([1, 2]).sum().dtype == np.int64
    assert mv.tensor([True, True]).sum().item() == 2
    assert mv.tensor([3, 1]).max().item() == 3
    with pytest.raises(TypeError, match="float"):
        mv.tensor([1, 2]).mean()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shift", [-1e4, 0, 1e4])
def test_logsumexp_neither_overflows_nor_underflows(dtype, shift):
    x = mv.tensor(np.array([0.0, 1.0]) + shift, dtype=dtype, requires_grad=True)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y = x.logsumexp()
        y.backward()
    assert_close(y, shift + math.log(1 + math.e), 1e-3 if dtype == "float32" else 1e-12)
    assert_close(x.grad, [1 / (1 + math.e), math.e / (1 + math.e)], 1e-3 if dtype == "float32" else 1e-11)


def test_logsumexp_of_infinities():
    assert mv.logsumexp(mv.tensor([-np.inf, -np.inf])).item() == -np.inf
    assert mv.logsumexp(mv.tensor([-np.inf, 1.0])).item() == 1.0
    assert mv.logsumexp(mv.tensor([np.inf, 1.0])).item() == np.inf


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int32", "uint32", "uint64", "int64"])
def test_whole_numbers_are_summed_as_int64(dtype):
    x = mv.ones(300, 2, dtype=dtype)
    assert x.sum().dtype == np.int64 and x.sum().item() == 600
    assert x.sum(0).dtype == np.int64 and x.sum(0).tolist() == [300, 300]
