"""Each elementwise operation: values, first and second gradients, dtypes, broadcasting, and the rules at the edges."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import assert_close, broadcastable, check_dtype, check_gradients, distinct, dtypes, normal, seeds, shapes

import minivision as mv
from minivision import functional as F

# name -> (operation, the same number by number, how to bring a normal number into its domain)
UNARY = {
    "neg": (lambda x: -x, lambda v: -v, None),
    "exp": (mv.exp, math.exp, None),
    "log": (mv.log, math.log, lambda x: np.abs(x) + 0.2),
    "sqrt": (mv.sqrt, math.sqrt, lambda x: np.abs(x) + 0.2),
    "abs": (mv.abs, abs, None),
    "sin": (mv.sin, math.sin, None),
    "cos": (mv.cos, math.cos, None),
    "tanh": (mv.tanh, math.tanh, None),
    "sigmoid": (mv.sigmoid, lambda v: 1 / (1 + math.exp(-v)), None),
    "softplus": (F.softplus, lambda v: math.log(1 + math.exp(v)), None),
    "relu": (mv.relu, lambda v: v if v > 0 else 0.0, None),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.2), lambda v: v if v > 0 else 0.2 * v, None),
    "clip": (lambda x: x.clip(-0.5, 0.7), lambda v: min(max(v, -0.5), 0.7), None),
    "clip from below": (lambda x: x.clip(min=0.1), lambda v: max(v, 0.1), None),
    "clip from above": (lambda x: x.clip(max=0.1), lambda v: min(v, 0.1), None),
    "square": (lambda x: x ** 2, lambda v: v * v, None),
    "cube": (lambda x: x ** 3, lambda v: v * v * v, None),
    "reciprocal": (lambda x: x ** -1, lambda v: 1 / v, lambda x: np.abs(x) + 0.5),
    "power 1.5": (lambda x: x ** 1.5, lambda v: v ** 1.5, lambda x: np.abs(x) + 0.2),
    "2 to the x": (lambda x: 2 ** x, lambda v: 2 ** v, None),
    "1 - x": (lambda x: 1 - x, lambda v: 1 - v, None),
    "1 / x": (lambda x: 1 / x, lambda v: 1 / v, lambda x: np.abs(x) + 0.5),
    "clone": (lambda x: x.clone(), lambda v: v, None),
}
KINKS = np.array([0.0, -0.5, 0.7, 0.1])          # where relu, abs and clip above bend

BINARY = {
    "add": (lambda x, y: x + y, lambda a, b: a + b, None),
    "sub": (lambda x, y: x - y, lambda a, b: a - b, None),
    "mul": (lambda x, y: x * y, lambda a, b: a * b, None),
    "div": (lambda x, y: x / y, lambda a, b: a / b, lambda x, y: (x, np.sign(y + 1e-9) * (np.abs(y) + 0.5))),
    "pow": (lambda x, y: x ** y, lambda a, b: a ** b, lambda x, y: (np.abs(x) + 0.3, y)),
    "maximum": (mv.maximum, max, None),
    "minimum": (mv.minimum, min, None),
}


def inputs(name, seed, shape, dtype="float64"):
    bring = UNARY[name][2]
    x = normal(seed, *shape)
    x = x if bring is None else bring(x)
    near = np.abs(x[..., None] - KINKS).min(-1) < 1e-3
    return np.where(near, x + 0.01, x).astype(dtype)


@pytest.mark.parametrize("name", UNARY)
@given(seed=seeds, shape=shapes, dtype=dtypes)
@settings(max_examples=12)
def test_unary_value(name, seed, shape, dtype):
    op, number, _ = UNARY[name]
    x = inputs(name, seed, shape, dtype)
    expected = np.array([number(float(v)) for v in x.reshape(-1)]).reshape(shape)
    y = op(mv.tensor(x))
    assert y.dtype == x.dtype
    assert_close(y, expected)


@pytest.mark.parametrize("name", UNARY)
@given(seed=seeds, shape=shapes)
@settings(max_examples=8)
def test_unary_gradients(name, seed, shape):
    check_gradients(UNARY[name][0], inputs(name, seed, shape), seed=seed)


@pytest.mark.parametrize("name", UNARY)
def test_unary_dtype_is_kept(name):
    for dtype in ("float32", "float64"):
        check_dtype(UNARY[name][0], inputs(name, 0, (2, 3)), dtype=dtype)


def pair(name, seed, shapes):
    x, y = normal(seed, *shapes[0]), normal(seed + 1, *shapes[1])
    return (x, y) if BINARY[name][2] is None else BINARY[name][2](x, y)


@pytest.mark.parametrize("name", BINARY)
@given(seed=seeds, shapes=broadcastable(), dtype=dtypes)
@settings(max_examples=15)
def test_binary_value(name, seed, shapes, dtype):
    op, number, _ = BINARY[name]
    x, y = (a.astype(dtype) for a in pair(name, seed, shapes))
    a, b = np.broadcast_arrays(x, y)
    expected = np.array([number(float(p), float(q)) for p, q in zip(a.reshape(-1), b.reshape(-1))]).reshape(a.shape)
    z = op(mv.tensor(x), mv.tensor(y))
    assert z.dtype == np.dtype(dtype)
    assert_close(z, expected)


@pytest.mark.parametrize("name", BINARY)
@given(seed=seeds, shapes=broadcastable())
@settings(max_examples=10)
def test_binary_gradients_sum_over_broadcast_axes(name, seed, shapes):
    check_gradients(BINARY[name][0], *pair(name, seed, shapes), seed=seed)


@pytest.mark.parametrize("name", BINARY)
def test_binary_dtype_is_kept(name):
    for dtype in ("float32", "float64"):
        check_dtype(BINARY[name][0], *pair(name, 0, [(2, 3), (3,)]), dtype=dtype)


@given(seed=seeds, shapes=broadcastable(3))
@settings(max_examples=15)
def test_where(seed, shapes):
    condition = normal(seed, *shapes[0]) > 0
    x, y = normal(seed + 1, *shapes[1]), normal(seed + 2, *shapes[2])
    assert_close(mv.where(mv.tensor(condition), mv.tensor(x), mv.tensor(y)), np.where(condition, x, y))
    check_gradients(lambda x, y: mv.where(condition, x, y), x, y, seed=seed)


def test_where_with_numbers_keeps_float32():
    x = mv.tensor([1.0, -2.0], requires_grad=True)
    y = mv.where(x > 0, x, 0.5)
    assert y.dtype == np.float32 and y.tolist() == [1.0, 0.5]
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 0.0]


# ---------------------------------------------------------------------------------------------- rules at the edges


def slope(func, *values, dtype="float64"):
    """The gradient of a sum of ``func`` at given values."""
    tensors = [mv.tensor(np.asarray(v, dtype), requires_grad=True) for v in values]
    return [g.tolist() for g in mv.grad(func(*tensors).sum(), tensors)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_slopes_at_the_kinks(dtype):
    assert slope(mv.relu, [0.0, -0.0], dtype=dtype) == [[0, 0]]
    assert slope(mv.abs, [0.0, -0.0], dtype=dtype) == [[0, 0]]
    assert slope(lambda x: F.leaky_relu(x, 0.25), [0.0], dtype=dtype) == [[0.25]]
    assert slope(lambda x: x.clip(-1, 1), [-1.5, -1.0, 0.0, 1.0, 1.5], dtype=dtype) == [[0, 1, 1, 1, 0]]


def test_a_tie_goes_to_the_first_argument():
    assert slope(mv.maximum, [1.0, 2.0, 0.0], [1.0, 1.0, 3.0]) == [[1, 1, 0], [0, 0, 1]]
    assert slope(mv.minimum, [1.0, 2.0, 0.0], [1.0, 1.0, 3.0]) == [[1, 0, 1], [0, 1, 0]]


def test_power_at_zero():
    assert slope(lambda x: x ** 2, [0.0]) == [[0.0]]
    assert slope(lambda x: x ** 1, [0.0]) == [[1.0]]
    assert slope(lambda x: x ** 0, [0.0, 2.0]) == [[0.0, 0.0]]
    with np.errstate(divide="ignore"):
        assert slope(lambda x: x ** 0.5, [0.0]) == [[np.inf]]
    assert slope(lambda x, y: x ** y, [0.0, 0.0, 0.0], [2.0, 1.0, 0.0]) == [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]


def test_power_of_negative_numbers():
    assert_close(mv.tensor([-2.0, -0.5]) ** 3, [-8.0, -0.125])
    assert slope(lambda x: x ** 3, [-2.0]) == [[12.0]]
    with np.errstate(invalid="ignore"):
        assert np.isnan((mv.tensor([-2.0]) ** 0.5).item())


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "clip", "exp", "tanh", "sigmoid", "abs", "softplus"])
def test_nan_stays_nan(name):
    y = UNARY[name][0](mv.tensor([np.nan, 1.0]))
    assert np.isnan(y.numpy()).tolist() == [True, False]


def test_nan_wins_maximum_and_minimum():
    for op in (mv.maximum, mv.minimum):
        for a, b in ((np.nan, 1.0), (1.0, np.nan)):
            assert np.isnan(op(mv.tensor([a]), mv.tensor([b])).item())


def test_infinities():
    with np.errstate(divide="ignore"):
        assert (mv.tensor([1.0, -1.0]) / mv.tensor([0.0, 0.0])).tolist() == [np.inf, -np.inf]
        assert mv.log(mv.tensor([0.0])).item() == -np.inf
    assert mv.tanh(mv.tensor([-np.inf, np.inf])).tolist() == [-1, 1]
    assert mv.sigmoid(mv.tensor([-np.inf, np.inf])).tolist() == [0, 1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1e2, 1e4])
def test_stable_for_large_arguments(dtype, size):
    """No overflow warning, finite values, and slopes that are 0 or 1 where the curve has become a line."""
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert_close(mv.sigmoid(mv.tensor([-size, size], dtype=dtype)), [0, 1])
        assert_close(F.softplus(mv.tensor([-size, size], dtype=dtype)), [0, size])
        assert_close(mv.tanh(mv.tensor([-size, size], dtype=dtype)), [-1, 1])
        assert_close(slope(F.softplus, [-size, size], dtype=dtype)[0], [0, 1])
        assert_close(slope(mv.sigmoid, [-size, size], dtype=dtype)[0], [0, 0])
        assert_close(slope(mv.tanh, [-size, size], dtype=dtype)[0], [0, 0])


def test_small_differences_survive():
    """softplus(-40) is exp(-40), not log(1 + 0) = 0."""
    assert F.softplus(mv.tensor([-40.0], dtype="float64")).item() == pytest.approx(math.exp(-40), rel=1e-12)


def test_slope_of_a_quotient_does_not_overflow_on_the_way():
    """-x / y² for y = 1e20 in float32: y² is no float32 number, the slope is."""
    x, y = mv.tensor([1e30]), mv.tensor([1e20], requires_grad=True)
    (x / y).backward()
    assert y.grad.item() == pytest.approx(-1e-10, rel=1e-5)


# ---------------------------------------------------------------------------------------------- weak scalars, integers


@pytest.mark.parametrize("scalar", [0.5, 2, True, np.float64(0.5), np.float32(0.5), np.int64(2)])
@pytest.mark.parametrize("name", BINARY)
def test_scalars_adapt_to_float32(name, scalar):
    x = mv.tensor([1.0, 2.0], requires_grad=True)
    op = BINARY[name][0]
    for y in (op(x, scalar), op(scalar, x)):
        assert y.dtype == np.float32
        assert mv.grad(y.sum(), x)[0].dtype == np.float32


def test_options_given_as_numpy_scalars_do_not_widen():
    x = mv.tensor([1.0, -2.0], requires_grad=True)
    for y in (x.clip(np.float64(-1), np.float64(1)), F.leaky_relu(x, np.float64(0.1)), x ** np.float64(2),
              F.dropout(x, np.float64(0.5)), x.pad((1, 1), value=np.float64(3))):
        assert y.dtype == np.float32
        y.sum().backward()
        assert x.grad.dtype == np.float32
        x.grad = None


def test_integers_stay_integers_where_the_result_is_whole():
    x = mv.tensor([3, -4])
    for y in (x + 1, x * 2, x - x, -x, mv.abs(x), mv.relu(x), x ** 2, mv.maximum(x, 0), x.clip(0, 2)):
        assert y.dtype == np.int64
    for y in (x / 2, mv.exp(x), mv.sqrt(mv.abs(x)), x + 0.5, x * 1.0, mv.abs(x) ** 0.5, mv.abs(x) ** -1, x.clip(0.5, 2)):
        assert y.dtype == np.float32


@given(seed=seeds, shapes=broadcastable())
@settings(max_examples=20)
def test_comparisons(seed, shapes):
    x, y = np.round(normal(seed, *shapes[0])), np.round(normal(seed + 1, *shapes[1]))
    a, b = mv.tensor(x, requires_grad=True), mv.tensor(y)
    for got, expected in ((a == b, x == y), (a != b, x != y), (a < b, x < y), (a <= b, x <= y), (a > b, x > y),
                          (a >= b, x >= y), (a == 0.0, x == 0), (np.float64(0) < a, x > 0), (~(a > b), ~(x > y))):
        assert got.dtype == bool and not got.requires_grad
        assert np.array_equal(got.numpy(), expected)


@given(seed=seeds, shape=shapes)
@settings(max_examples=10)
def test_methods_and_functions_are_the_same(seed, shape):
    x = mv.tensor(np.abs(distinct(seed, *shape)) + 0.1)
    for name in ("exp", "log", "sqrt", "abs", "tanh", "sigmoid", "relu", "sin", "cos"):
        assert np.array_equal(getattr(x, name)().numpy(), getattr(mv, name)(x).numpy())
        assert np.array_equal(getattr(F, name)(x).numpy(), getattr(mv, name)(x).numpy())


@settings(max_examples=20)
@given(low=st.floats(-2, 2), high=st.floats(-2, 2), seed=seeds)
def test_clip_limits(low, high, seed):
    x = normal(seed, 5)
    if low > high:
        with pytest.raises(ValueError, match="exchange"):
            mv.clip(x, low, high)
    else:
        y = mv.clip(mv.tensor(x), low, high).numpy()
        assert ((low <= y) & (y <= high)).all()
