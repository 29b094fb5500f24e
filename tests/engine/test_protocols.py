"""Tensors among NumPy's functions and Python's protocols: what works, and what says why it does not."""

import copy
import pickle

import numpy as np
import pytest
from oracle import assert_close

import minivision as mv


def leaf(value=(1.0, 4.0)):
    return mv.tensor(list(value), requires_grad=True)


@pytest.mark.parametrize("name", ["sin", "cos", "exp", "log", "sqrt", "tanh", "abs", "negative"])
def test_numpy_functions_of_one_argument_record(name):
    x = leaf()
    y = getattr(np, name)(x)
    assert isinstance(y, mv.Tensor) and y.requires_grad
    assert_close(y, getattr(np, name)(x.numpy()))
    y.sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum"])
def test_numpy_functions_of_two_arguments_record(name):
    array = np.array([2.0, 3.0], np.float32)
    for args in ((leaf(), array), (array, leaf()), (leaf(), leaf()), (2.0, leaf())):
        y = getattr(np, name)(*args)
        assert isinstance(y, mv.Tensor) and y.requires_grad
        assert_close(y, getattr(np, name)(*[np.asarray(a) for a in args]))


@pytest.mark.parametrize("op", [lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a / b,
                                lambda a, b: a ** b, lambda a, b: a @ b])
def test_operators_between_arrays_and_tensors(op):
    array = np.array([2.0, 3.0], np.float32)
    for left, right in ((array, leaf()), (leaf(), array), (leaf(), [2.0, 3.0])):
        y = op(left, right)
        assert isinstance(y, mv.Tensor) and y.requires_grad
        assert_close(y, op(np.asarray(left), np.asarray(right)))
    assert (array < leaf()).tolist() == [False, True]
    assert (np.float64(2) * leaf()).dtype == np.float32


@pytest.mark.parametrize("call, name", [
    (lambda t: np.cbrt(t), "np.cbrt"),
    (lambda t: np.sum(t), "np.sum"),
    (lambda t: np.mean(t), "np.mean"),
    (lambda t: np.concatenate([t, t]), "np.concatenate"),
    (lambda t: np.where(t > 0, t, t), "np.where"),
    (lambda t: np.dot(t, t), "np.dot"),
    (lambda t: np.add.reduce(t), "np.add.reduce"),
    (lambda t: np.multiply.outer(t, t), "np.multiply.outer"),
    (lambda t: np.sin(t, where=[True, False]), "np.sin"),
    (lambda t: np.add(np.zeros(2), 1, out=t), "np.add with out="),
])
def test_what_would_lose_the_gradient_says_so(call, name):
    with pytest.raises(TypeError, match=name.replace(".", r"\.")) as caught:
        call(leaf())
    assert "detach().numpy()" in str(caught.value).replace("detach().\nnumpy()", "detach().numpy()")
    if name in ("np.sum", "np.mean", "np.where"):
        assert "mv." + name[3:] in str(caught.value)


def test_an_array_as_out_is_refused():
    array = np.zeros(2)
    with pytest.raises(TypeError, match=r"changed in place by a Tensor.*\.data"):
        np.add(leaf(), 1, out=array)
    assert not array.any()


def test_questions_are_answered():
    x = leaf()
    assert np.allclose(x, [1, 4]) and np.array_equal(x, x) and np.shape(x) == (2,) and np.ndim(x) == 1
    assert np.size(x) == 2 and not np.shares_memory(x, x.clone())
    np.testing.assert_array_equal(x, [1, 4])
    np.testing.assert_allclose(x, [1, 4])


def test_conversion_to_arrays():
    x = leaf()
    assert np.asarray(x).dtype == np.float32 and np.shares_memory(np.asarray(x), x.numpy())
    assert not np.shares_memory(np.array(x), x.numpy())
    assert np.asarray(x, dtype="float64").dtype == np.float64
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(x, dtype="float64", copy=False)
    assert np.asarray([mv.tensor(1.0), mv.tensor(2.0)]).tolist() == [1, 2]


def test_dlpack():
    x = mv.tensor([[1.0, 2.0], [3.0, 4.0]])
    array = np.from_dlpack(x)
    assert np.shares_memory(array, x.numpy()) and array.tolist() == x.tolist()
    assert x.__dlpack_device__() == (1, 0)
    with pytest.raises(BufferError, match="detach"):
        np.from_dlpack(leaf())
    assert np.from_dlpack(leaf().detach()).tolist() == [1, 4]


# ---------------------------------------------------------------------------------------------- Python


def test_repr():
    assert repr(mv.tensor([1.0, 2.5])) == "tensor([1. , 2.5])"
    assert repr(leaf([1.0])) == "tensor([1.], requires_grad=True)"
    assert "maker=Mul" in repr(leaf() * 2.0)
    assert "dtype=float64" in repr(mv.zeros(2, dtype="float64"))
    assert repr(mv.tensor([1, 2])) == "tensor([1, 2])"
    assert "shape=(0, 3)" in repr(mv.zeros(0, 3))
    assert len(repr(mv.zeros(100, 100))) < 2000


def test_one_element():
    for x in (mv.tensor(2.0), mv.tensor([2.0]), mv.tensor([[2.0]])):
        assert float(x) == x.item() == 2.0 and int(x) == 2 and bool(x)
        assert isinstance(x.item(), float)
    assert isinstance(mv.tensor(2).item(), int) and isinstance(mv.tensor(True).item(), bool)
    assert not mv.tensor(0.0)
    for call in (lambda t: t.item(), bool, float, int):
        with pytest.raises(ValueError, match=r"\(2,\)"):
            call(leaf())


def test_length_and_iteration():
    x = mv.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    assert len(x) == 2 and [row.tolist() for row in x] == [[1, 2], [3, 4]]
    a, b = x
    (a * b).sum().backward()
    assert x.grad.tolist() == [[3, 4], [1, 2]]
    with pytest.raises(TypeError, match="no length"):
        len(mv.tensor(1.0))
    with pytest.raises(TypeError):
        iter(mv.tensor(1.0))


def test_index():
    assert [10, 20, 30][mv.tensor(1)] == 20
    assert list(range(mv.tensor(3))) == [0, 1, 2]
    for wrong in (mv.tensor(1.0), mv.tensor(True)):
        with pytest.raises(TypeError, match="integer"):
            [1, 2][wrong]


def test_contains():
    x = mv.tensor([1.0, 2.0])
    assert 2.0 in x and 3.0 not in x and mv.tensor(1.0) in x


def test_hash_is_identity():
    a, b = mv.tensor(1.0), mv.tensor(1.0)
    assert len({a, b, a}) == 2


def test_attributes():
    x = mv.zeros(2, 3, requires_grad=True)
    assert (x.shape, x.ndim, x.size, x.dtype, x.device) == ((2, 3), 2, 6, np.float32, "cpu")
    assert x.T.shape == (3, 2) and x.tolist() == [[0.0] * 3] * 2
    with pytest.raises(AttributeError):
        x.shaep = 1


def test_requires_grad_can_be_switched_for_leaves_only():
    x = mv.zeros(2)
    x.requires_grad = True
    y = x * 2.0
    x.requires_grad = False
    with pytest.raises(ValueError, match="detach"):
        y.requires_grad = False
    assert x.requires_grad_().requires_grad


def test_data_can_be_replaced_by_the_same_kind_only():
    x = leaf()
    x.data = np.array([5.0, 6.0], np.float32)
    assert x.tolist() == [5, 6]
    for wrong in (np.zeros(3, np.float32), np.zeros(2)):
        with pytest.raises(ValueError, match=r"float32 of shape \(2,\)"):
            x.data = wrong


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_copying(duplicate):
    x = leaf()
    y = duplicate(x)
    assert y.tolist() == [1, 4] and y.requires_grad and y is not x
