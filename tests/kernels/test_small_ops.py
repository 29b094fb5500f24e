"""The rectifier, the linear layer, cross entropy and the SGD step: every rung against its formula."""

import math

import kernel_oracle as oracle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivision_kernels import ladder

dtypes = pytest.mark.parametrize("dtype", oracle.FLOATS)
sizes = st.integers(0, 20)
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-30, -1e-30, 3.0, -3.0]


@dtypes
@pytest.mark.parametrize("rung", oracle.rungs("relu_forward"), ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (9,), (3, 0, 2), (4, 9), (300, 200)])
def test_relu_forward(rung, dtype, shape):
    x = np.resize(np.array(SPECIAL, dtype), shape)
    y = rung(oracle.guarded(x, readonly=True))
    expected = np.array([v if v > 0 or math.isnan(v) else 0 for v in x.ravel()], dtype).reshape(shape)
    assert y.dtype == dtype and y.shape == shape
    np.testing.assert_array_equal(y, expected)


@dtypes
@pytest.mark.parametrize("rung", oracle.rungs("relu_backward"), ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (9,), (4, 9), (300, 200)])
def test_relu_backward(rung, dtype, shape):
    y = np.resize(np.array([0.0, 2.0, np.nan, np.inf, 1e-30], dtype), shape)
    g = np.resize(np.array(SPECIAL, dtype), shape)
    dx = rung(oracle.guarded(g, readonly=True), oracle.guarded(y, readonly=True))
    expected = np.array([a if b > 0 else 0 for a, b in zip(g.ravel(), y.ravel())], dtype).reshape(shape)
    assert dx.dtype == dtype and dx.shape == shape
    np.testing.assert_array_equal(dx, expected)


def linear_terms(op, a, b):
    """The products that each number of the result is the sum of, along the last axis."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return {
        "linear_forward": lambda: a[:, None, :] * b[None, :, :],            # x (N, I), w (O, I)
        "linear_input": lambda: a[:, None, :] * b.T[None, :, :],            # g (N, O), w (O, I)
        "linear_weight": lambda: a.T[:, None, :] * b.T[None, :, :],         # g (N, O), x (N, I)
    }[op]()


@dtypes
@pytest.mark.parametrize("rung", oracle.rungs("linear_forward", "linear_input", "linear_weight"), ids=str)
@given(N=sizes, I=sizes, O=sizes, turned=st.booleans())
def test_linear(rung, dtype, N, I, O, turned):
    check_linear(rung, dtype, N, I, O, turned)


@dtypes
@pytest.mark.parametrize("rung", oracle.rungs("linear_forward", "linear_input", "linear_weight"), ids=str)
@pytest.mark.parametrize("shape", [(1, 300, 200), (9, 70, 600), (150, 20, 60), (40, 20, 130)])
def test_linear_large_enough_for_strips_and_threads(rung, dtype, shape):
    """The last two have results that are narrow beside the panels of AVX-512: computed as a transpose, or from whole rows."""
    check_linear(rung, dtype, *shape, turned=False)


def check_linear(rung, dtype, N, I, O, turned):
    rng = np.random.default_rng(0)
    shapes = {"linear_forward": [(N, I), (O, I)], "linear_input": [(N, O), (O, I)], "linear_weight": [(N, O), (N, I)]}
    a, b = (rng.standard_normal(shape).astype(dtype) for shape in shapes[rung.op])
    terms = linear_terms(rung.op, a, b)
    args = [np.asfortranarray(v) if turned else oracle.guarded(v, readonly=True) for v in (a, b)]
    got = np.ascontiguousarray(rung(*args))
    oracle.assert_close(got, terms.sum(-1), np.abs(terms).sum(-1), dtype)


@dtypes
@pytest.mark.parametrize("rung", oracle.rungs("cross_entropy_forward"), ids=str)
@given(N=st.integers(0, 9), C=st.integers(1, 12), scale=st.sampled_from([1.0, 30.0, 1e4]))
def test_cross_entropy(rung, dtype, N, C, scale):
    rng = np.random.default_rng(0)
    logits, labels = (scale * rng.standard_normal((N, C))).astype(dtype), rng.integers(0, C, N)
    g = rng.standard_normal(N).astype(dtype)
    losses, gradient = np.zeros(N), np.zeros((N, C))
    for n in range(N):
        row = [float(v) for v in logits[n]]
        exponentials = [math.exp(v - max(row)) for v in row]
        total = math.fsum(exponentials)
        losses[n] = math.log(total) + max(row) - row[labels[n]]
        gradient[n] = [float(g[n]) * (e / total - (c == labels[n])) for c, e in enumerate(exponentials)]
    walled = oracle.guarded(logits, readonly=True), oracle.guarded(labels, readonly=True)
    oracle.assert_close(rung(*walled), losses, 1 + losses, dtype)
    backward = next(r for r in ladder("cross_entropy_backward") if r.name == rung.name)
    oracle.assert_close(backward(*walled, oracle.guarded(g)), gradient, 10 * np.abs(g)[:, None], dtype)


@pytest.mark.parametrize("rung", oracle.rungs("cross_entropy_forward"), ids=str)
def test_cross_entropy_of_many_rows(rung):
    """Enough rows for the threads; uniform logits give log C."""
    losses = rung(np.zeros((3000, 10), np.float32), np.arange(3000) % 10)
    np.testing.assert_allclose(losses, np.log(10), rtol=1e-6)


@pytest.mark.parametrize("rung", oracle.rungs("cross_entropy_forward"), ids=str)
def test_cross_entropy_refuses_labels_out_of_range(rung):
    with pytest.raises(ValueError, match=r"labels lie in \[0, 3\]; expected class numbers in \[0, 2\]"):
        rung(np.zeros((2, 3)), np.array([0, 3]))
    with pytest.raises(ValueError, match="one label per row"):
        rung(np.zeros((2, 3)), np.array([0, 1, 2]))


@pytest.mark.parametrize("place", ["forward", "backward"])
def test_without_a_check_a_label_that_is_no_class_gives_nan(place):
    """`run` does not look at labels; nothing beyond the arrays is read or written, as the walls around them say."""
    logits, labels = oracle.guarded(np.zeros((4, 20), np.float32), readonly=True), oracle.guarded(np.array([3, -1, 20, 10**12]))
    args = (logits, labels) if place == "forward" else (logits, labels, oracle.guarded(np.ones(4, np.float32)))
    for rung in oracle.rungs(f"cross_entropy_{place}"):
        if rung.name != "numpy":                                # which says that an index is out of bounds
            result = rung.function(*args)
            assert np.isfinite(result[0]).all() and np.isnan(result[1:]).all(), rung


def sgd_step(param, grad, velocity, lr, momentum, dampening, weight_decay, nesterov, first):
    """torch.optim.SGD, one number at a time."""
    d = grad + weight_decay * param
    if velocity is not None and momentum:
        velocity = d if first else momentum * velocity + (1 - dampening) * d
        d = d + momentum * velocity if nesterov else velocity
    return param - lr * d, velocity


@dtypes
@pytest.mark.parametrize("rung", oracle.rungs("sgd_update"), ids=str)
@given(
    shape=st.sampled_from([(), (0,), (7,), (3, 4, 5), (200, 200)]), momentum=st.sampled_from([0.0, 0.9]),
    dampening=st.sampled_from([0.0, 0.3]), weight_decay=st.sampled_from([0.0, 0.01]), nesterov=st.booleans(),
    first=st.booleans(), kept=st.booleans(),
)
def test_sgd(rung, dtype, shape, momentum, dampening, weight_decay, nesterov, first, kept):
    rng = np.random.default_rng(0)
    param, grad, velocity = (rng.standard_normal(shape).astype(dtype) for _ in range(3))
    velocity = velocity if kept or momentum else None
    options = 0.1, momentum, dampening, weight_decay, nesterov, first
    expected, expected_velocity = sgd_step(
        param.astype(float), grad.astype(float), None if velocity is None else velocity.astype(float), *options)
    walled = [a if a is None else oracle.guarded(a) for a in (param, grad, velocity)]
    around = walled[0].base
    before = around.copy()
    assert rung(*walled, *options) is None
    oracle.assert_close(np.asarray(walled[0]), np.asarray(expected), np.full(shape, 10.0), dtype)
    if velocity is not None:
        oracle.assert_close(np.asarray(walled[2]), np.asarray(expected_velocity), np.full(shape, 10.0), dtype)
    np.testing.assert_array_equal(walled[1], grad)
    np.testing.assert_array_equal(around[:64], before[:64])
    np.testing.assert_array_equal(around[-64:], before[-64:])


UPDATES = {"sgd_update": (3, (0.1, 0.9, 0.3, 0.01, True, False)), "adam_update": (4, (0.1, 0.9, 0.99, 1e-8, 0.01, 3))}
SIZES = (7, 0, 130_000, 40, 1, 16, 33, 5, 64, 200, 2)     # more small ones than a kernel takes at a time, and a large one


@dtypes
@pytest.mark.parametrize("rung", oracle.rungs("sgd_update", "adam_update"), ids=str)
def test_several_parameters_are_updated_like_each_alone(rung, dtype, sizes=SIZES):
    kinds, settings = UPDATES[rung.op]
    rng = np.random.default_rng(0)
    arrays = [[np.abs(rng.standard_normal(size)).astype(dtype) for size in sizes] for _ in range(kinds)]
    arrays[1][3] = np.repeat(arrays[1][3], 2)[::2]                      # a gradient that does not lie in order
    arrays[0][9], arrays[1][9], *_ = (each.reshape(4, 50) for each in (arrays[0][9], arrays[1][9]))
    for kind in arrays[2:]:
        kind[9] = kind[9].reshape(4, 50)
    alone = [[each.copy() for each in kind] for kind in arrays]
    for each in zip(*alone):
        rung(*each, *settings)
    together = [tuple(oracle.guarded(each) for each in kind) for kind in arrays]
    around = [each.base.copy() for each in together[0]]
    assert rung(*together, *settings) is None
    for kind, expected in zip(together, alone):
        for each, other in zip(kind, expected):
            np.testing.assert_array_equal(each, other)
    for each, before in zip(together[0], around):
        np.testing.assert_array_equal(each.base[:64], before[:64])
        np.testing.assert_array_equal(each.base[-64:], before[-64:])


@pytest.mark.parametrize("rung", oracle.rungs("sgd_update"), ids=str)
def test_several_parameters_without_momentum(rung):
    params, grads = tuple(np.ones(n, np.float32) for n in (3, 20)), tuple(np.full(n, 2, np.float32) for n in (3, 20))
    rung(params, grads, None, 0.25, 0.0, 0.0, 0.0, False, True)
    rung(params, grads, None, lr=0.25, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, first=True)
    for param in params:
        np.testing.assert_array_equal(param, np.zeros_like(param))


@pytest.mark.parametrize("rung", oracle.rungs("sgd_update", "adam_update"), ids=str)
def test_several_parameters_need_as_many_of_each_kind(rung):
    kinds, settings = UPDATES[rung.op]
    a = np.ones((3, 4), np.float32)
    with pytest.raises(ValueError, match=r"2 arrays, 1 arrays.*as many arrays of each kind"):
        rung((a, a.copy()), (a,), *[(a.copy(), a.copy())] * (kinds - 2), *settings)
    with pytest.raises(ValueError, match="1 arrays, one ndarray"):
        rung((a,), a, *[(a.copy(),)] * (kinds - 2), *settings)
    with pytest.raises(ValueError, match=r"grad is float32 \(4, 3\); expected float32 \(3, 4\)"):
        rung((a, a.copy()), (a, a.T.copy()), *[(a.copy(), a.copy())] * (kinds - 2), *settings)


@pytest.mark.parametrize("rung", oracle.rungs("sgd_update"), ids=str)
def test_sgd_refuses_what_it_cannot_update(rung):
    options = 0.1, 0.9, 0.0, 0.0, False, True
    a = np.ones((3, 4))
    with pytest.raises(ValueError, match="param is updated in place"):
        rung(np.ones((4, 3)).T, a, a.copy(), *options)
    with pytest.raises(ValueError, match="grad is float64"):
        rung(a, np.ones((4, 3)), a.copy(), *options)
    with pytest.raises(ValueError, match="velocity is None"):
        rung(a, a, None, *options)
