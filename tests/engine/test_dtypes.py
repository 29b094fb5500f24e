"""Which dtype comes out: defaults, promotion, weak scalars, and what is refused."""

import numpy as np
import pytest

import minivision as mv


@pytest.mark.parametrize("data, dtype", [
    (1.0, "float32"), ([1.0, 2], "float32"), ([[0.5]], "float32"), (1, "int64"), ([1, 2], "int64"), (True, "bool"),
    ([], "float32"), (np.zeros(2), "float64"), (np.zeros(2, "float32"), "float32"), (np.zeros(2, "uint8"), "uint8"),
    (np.zeros(2, bool), "bool"), ([[1.0], [2.0]], "float32"),
])
def test_dtype_of_new_tensors(data, dtype):
    assert mv.tensor(data).dtype == dtype
    assert mv.Tensor(data).dtype == dtype


def test_dtype_can_be_chosen():
    assert mv.tensor([1, 2], dtype="float64").dtype == np.float64
    assert mv.tensor([1.7], dtype="int64").tolist() == [1]
    value = mv.tensor([0.1], dtype="float64").item()
    assert value == 0.1                                     # not rounded through float32 on the way


@pytest.mark.parametrize("dtype", ["float16", "complex64", "complex128", "object", "<U3", "datetime64[s]"])
def test_refused_dtypes(dtype):
    array = np.zeros(2, dtype)
    for make in (mv.Tensor, mv.tensor):
        with pytest.raises(TypeError, match=r"float32, float64, integers or bool"):
            make(array)
    with pytest.raises(TypeError):
        mv.tensor([1.0]) + array


def test_long_double_is_refused():
    if np.dtype("longdouble").itemsize > 8:
        with pytest.raises(TypeError, match="astype"):
            mv.Tensor(np.zeros(2, "longdouble"))


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
def test_whole_numbers_cannot_require_grad(dtype):
    with pytest.raises(TypeError, match=r"only float.*float32"):
        mv.tensor([1, 0], dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("left, right, dtype", [
    ("float32", "float32", "float32"), ("float32", "float64", "float64"), ("int64", "float32", "float32"),
    ("int64", "float64", "float64"), ("bool", "float32", "float32"), ("int32", "int64", "int64"),
    ("uint8", "int8", "int16"), ("bool", "int64", "int64"), ("int8", "float32", "float32"),
])
def test_promotion(left, right, dtype):
    a, b = mv.tensor([1, 1], dtype=left), mv.tensor([1, 1], dtype=right)
    assert (a + b).dtype == dtype and (b + a).dtype == dtype
    assert (a + b.numpy()).dtype == dtype and (a.numpy() + b).dtype == dtype


def test_gradients_return_to_their_inputs_dtype():
    a = mv.tensor([1.0, 2.0], requires_grad=True)
    b = mv.tensor([3.0, 4.0], dtype="float64", requires_grad=True)
    y = a * b
    assert y.dtype == np.float64
    y.sum().backward()
    assert a.grad.dtype == np.float32 and b.grad.dtype == np.float64
    assert a.grad.tolist() == [3, 4]


def test_integers_take_part_without_gradient():
    a, k = mv.tensor([1.0, 2.0], requires_grad=True), mv.tensor([2, 3])
    (a * k).sum().backward()
    assert a.grad.tolist() == [2, 3] and a.grad.dtype == np.float32 and k.grad is None
    assert not (k * k).requires_grad


@pytest.mark.parametrize("make", [mv.zeros, mv.ones, mv.rand, mv.randn])
def test_creation(make):
    assert make(2, 3).shape == make((2, 3)).shape == make([2, 3]).shape == (2, 3)
    assert make().shape == () and make(0).shape == (0,)
    assert make(2).dtype == np.float32 and make(2, dtype="float64").dtype == np.float64
    assert make(2, requires_grad=True).requires_grad
    for wrong in ((-1,), (1.5,), ("3",), (True,)):
        with pytest.raises(ValueError, match="whole numbers"):
            make(*wrong)


def test_more_creation():
    assert mv.full((2, 2), 0.5).dtype == np.float32 and mv.full((2,), 3).dtype == np.int64
    assert mv.full(3, True).dtype == bool and mv.full((), 2.0).shape == ()
    assert mv.arange(4).tolist() == [0, 1, 2, 3] and mv.arange(4).dtype == np.int64
    assert mv.arange(1, 2, 0.25).tolist() == [1, 1.25, 1.5, 1.75] and mv.arange(1, 2, 0.25).dtype == np.float32
    assert mv.arange(3, 0, -1).tolist() == [3, 2, 1] and mv.arange(0.0, 3).dtype == np.float32
    with pytest.raises(ValueError, match="step"):
        mv.arange(0, 3, 0)
    x = mv.zeros(2, 3, dtype="float64")
    assert mv.ones_like(x).dtype == np.float64 and mv.zeros_like(x).shape == (2, 3)


def test_seeding():
    def draw(seed):
        mv.manual_seed(seed)
        return mv.randn(3).tolist() + mv.rand(3).tolist()

    assert draw(0) == draw(0) != draw(1)
    state = mv.random.get_state()
    first = mv.randn(4).tolist()
    mv.random.set_state(state)
    assert mv.randn(4).tolist() == first
    for wrong in (-1, 0.5, "0", True):
        with pytest.raises(ValueError, match="whole number"):
            mv.manual_seed(wrong)
    for wrong in ("", "{}", "[]", "null", '{"bit_generator": "MT19937"}'):
        with pytest.raises(ValueError, match="not a random state"):
            mv.random.set_state(wrong)


def test_random_numbers_look_right():
    mv.manual_seed(0)
    x, u = mv.randn(20_000).numpy(), mv.rand(20_000).numpy()
    assert abs(x.mean()) < 0.04 and abs(x.std() - 1) < 0.03
    assert u.min() >= 0 and u.max() < 1 and abs(u.mean() - 0.5) < 0.02


def test_foreign_byte_order_is_made_native():
    x = mv.Tensor(np.arange(3, dtype=">f4"), requires_grad=True)
    assert x.dtype == np.float32 and x.dtype.isnative
    (x * x).sum().backward()
    assert x.grad.tolist() == [0, 2, 4] and mv.relu(x).tolist() == [0, 1, 2]
