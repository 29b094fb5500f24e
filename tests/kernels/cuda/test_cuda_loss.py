"""Cross entropy and the optimisers' steps on the GPU, by the tests of the CPU's."""

import kernel_oracle as oracle
import numpy as np
import pytest
import test_small_ops
import test_streams
from cuda_oracle import PLACES, Placed, cuda_rungs

from minivision_kernels import ladder

dtypes = pytest.mark.parametrize("dtype", oracle.FLOATS)
places = pytest.mark.parametrize("place", PLACES)
entropies = pytest.mark.parametrize("rung", cuda_rungs("cross_entropy_forward"), ids=str)


def backward_of(rung):
    return next(r for r in ladder("cross_entropy_backward") if r.name == rung.name and r.device == "cuda")


@places
@dtypes
@entropies
def test_cross_entropy(monkeypatch, rung, place, dtype):
    monkeypatch.setattr(test_small_ops, "ladder", lambda op: [Placed(r, place) for r in ladder(op) if r.device == "cuda"])
    test_small_ops.test_cross_entropy(Placed(rung, place), dtype)


@places
@entropies
def test_cross_entropy_of_many_rows(rung, place):
    losses = Placed(rung, place)(np.zeros((300, 10), np.float32), np.arange(300) % 10)
    np.testing.assert_allclose(losses, np.log(10), rtol=1e-6)
    test_small_ops.test_cross_entropy_refuses_labels_out_of_range(Placed(rung, place))


@places
@dtypes
@entropies
def test_cross_entropy_of_many_classes(rung, place, dtype):
    rng = np.random.default_rng(0)
    logits, labels = (10 * rng.standard_normal((2, 1500))).astype(dtype), np.array([7, 1499])
    g = np.array([1, -2], dtype)
    shifted = logits.astype(float) - logits.max(1, keepdims=True)
    total = np.exp(shifted).sum(1, keepdims=True)
    losses = (np.log(total) - np.take_along_axis(shifted, labels[:, None], 1))[:, 0]
    expected = np.exp(shifted) / total
    expected[np.arange(2), labels] -= 1
    oracle.assert_close(Placed(rung, place)(logits, labels), losses, 1 + losses, dtype)
    oracle.assert_close(Placed(backward_of(rung), place)(logits, labels, g), expected * g[:, None],
                        np.full(logits.shape, 10.0), dtype)


@places
@entropies
def test_logits_that_are_infinite_or_no_numbers(rung, place):
    inf, nan = np.inf, np.nan
    logits = np.array([[0, -inf, 1], [-inf, 0, -inf], [0, nan, 0], [inf, 0, 0], [-inf, -inf, -inf]], np.float32)
    losses = Placed(rung, place)(logits, np.array([2, 1, 0, 0, 0]))
    np.testing.assert_allclose(losses, [np.log1p(np.exp(-1)), 0, nan, nan, nan], rtol=1e-6)
    dx = Placed(backward_of(rung), place)(logits, np.array([2, 1, 0, 0, 0]), np.ones(5, np.float32))
    share = 1 / (1 + np.exp(1))
    np.testing.assert_allclose(dx[:2], [[share, 0, -share], [0, 0, 0]], rtol=1e-6, atol=1e-7)
    assert np.isnan(dx[2:]).any(1).all()


@places
@entropies
def test_a_label_that_is_no_class_gives_nan_where_nobody_has_looked(rung, place):
    """``run`` does not look at labels, since that would make it wait for the GPU."""
    logits, labels = oracle.guarded(np.zeros((3, 4), np.float32)), np.array([0, 4, -1])
    plain = {r: Placed(type("", (), dict(op=r.op, name=r.name, __call__=staticmethod(r.function)))(), place)
             for r in (rung, backward_of(rung))}
    np.testing.assert_allclose(plain[rung](logits, labels), [np.log(4), np.nan, np.nan], rtol=1e-6)
    dx = plain[backward_of(rung)](logits, labels, np.ones(3, np.float32))
    np.testing.assert_allclose(dx[0], [-0.75, 0.25, 0.25, 0.25])
    assert np.isnan(dx[1:]).all()


@places
@dtypes
@pytest.mark.parametrize("rung", cuda_rungs("sgd_update"), ids=str)
def test_sgd(rung, place, dtype):
    test_small_ops.test_sgd(Placed(rung, place), dtype)


@places
@pytest.mark.parametrize("rung", cuda_rungs("sgd_update"), ids=str)
def test_sgd_refuses_what_it_cannot_update(rung, place):
    test_small_ops.test_sgd_refuses_what_it_cannot_update(Placed(rung, place))


@places
@dtypes
@pytest.mark.parametrize("rung", cuda_rungs("adam_update"), ids=str)
def test_adam(rung, place, dtype):
    test_streams.test_adam(Placed(rung, place), dtype)


@places
@dtypes
@pytest.mark.parametrize("rung", cuda_rungs("sgd_update", "adam_update"), ids=str)
def test_several_parameters_are_updated_like_each_alone(rung, place, dtype):
    sizes = [min(size, 1500) for size in test_small_ops.SIZES] * 2          # more than one launch takes
    test_small_ops.test_several_parameters_are_updated_like_each_alone(Placed(rung, place), dtype, sizes)


@places
@dtypes
@pytest.mark.parametrize("size", [1, 5, 1024, 1031])
@pytest.mark.parametrize("rung", ["vectors", "several"])
def test_parameters_that_start_anywhere(rung, place, dtype, size):
    """One array is a view that starts between multiples of 16 bytes, the gradient is a column of a matrix."""
    def arrays(count):
        made = [test_streams.normal(size + 1, dtype, seed)[1:] for seed in range(count)]
        made[-1] = np.abs(made[-1])
        return made

    grad = test_streams.normal((size, 2), dtype, 9)[:, 0]
    for op, count, options in (("sgd_update", 2, (0.1, 0.9, 0.1, 0.01, False, False)),
                               ("adam_update", 3, (0.1, 0.9, 0.99, 1e-3, 0.01, 3))):
        ours, theirs = arrays(count), arrays(count)
        Placed(next(r for r in cuda_rungs(op) if r.name == rung), place)(ours[0], grad, *ours[1:], *options)
        next(r for r in ladder(op) if r.name == "numpy")(theirs[0], grad, *theirs[1:], *options)
        for got, expected in zip(ours, theirs):
            oracle.assert_close(got, expected, np.full(size, 10.0), dtype)
