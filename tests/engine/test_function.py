"""An operation of one's own: what the engine does for it, and how it answers to mistakes in it."""

import numpy as np
import pytest
from oracle import assert_close, check_gradients, normal

import minivision as mv


class Mul(mv.Function):
    """The example of Function's documentation."""

    def forward(self, x, y):
        return x * y

    def backward(self, grad):
        x, y = self.inputs
        return grad * y, grad * x


class Scale(mv.Function):
    keeps_inputs = False

    def forward(self, x, factor):
        self.factor = factor
        return x * factor

    def backward(self, grad):
        return grad * self.factor


class Square(mv.Function):
    """Reads its own output."""

    keeps_inputs, keeps_output = False, True

    def forward(self, x):
        return x * x

    def backward(self, grad):
        return grad * 2.0 * self.output ** 0.5


def test_the_documented_example():
    check_gradients(Mul.apply, normal(0, 2, 3), normal(1, 2, 3))


def test_broadcasting_comes_for_free():
    check_gradients(Mul.apply, normal(0, 2, 1, 3), normal(1, 4, 1))


def test_dtypes_and_scalars_come_for_free():
    x = mv.tensor([1.0, 2.0], requires_grad=True)
    y = Mul.apply(x, 3)
    assert y.dtype == np.float32
    y.sum().backward()
    assert x.grad.tolist() == [3, 3] and x.grad.dtype == np.float32


def test_options_are_not_differentiated():
    check_gradients(lambda x: Scale.apply(x, factor=3.0), normal(0, 3))


def test_output_can_be_read_and_differentiated():
    check_gradients(Square.apply, np.abs(normal(0, 4)) + 0.5)


def test_nothing_is_recorded_without_need():
    assert Mul.apply(mv.ones(2), mv.ones(2)).maker is None
    with mv.no_grad():
        assert Mul.apply(mv.ones(2, requires_grad=True), mv.ones(2)).maker is None
    assert type(Mul.apply(mv.ones(2, requires_grad=True), mv.ones(2)).maker) is Mul


def backward_of(result, keeps=True):
    """An operation x, y -> x * y whose backward returns ``result(grad, x, y)``."""
    class Student(mv.Function):
        keeps_inputs = keeps

        def forward(self, x, y):
            return x * y

        def backward(self, grad):
            return result(grad, *self.inputs)

    x, y = mv.ones(2, 3, requires_grad=True), mv.ones(3, requires_grad=True)
    return Student.apply(x, y), x, y


@pytest.mark.parametrize("result, error, text", [
    (lambda g, x, y: g * y, TypeError, r"Student\.backward returned 1 gradient\(s\) for 2 input\(s\)"),
    (lambda g, x, y: (g * y, g * x, None), TypeError, r"returned 3 gradient\(s\) for 2 input\(s\)"),
    (lambda g, x, y: ((g * y).numpy(), g * x), TypeError, r"returned ndarray for input 0; return a Tensor"),
    (lambda g, x, y: (1.0, g * x), TypeError, r"returned float for input 0"),
    (lambda g, x, y: ((g * y).T, g * x), ValueError, r"Student\.backward, input 0: got a gradient of shape \(3, 2\).*\(2, 3\)"),
    (lambda g, x, y: ((g * y).sum(), g * x), ValueError, r"input 0: got a gradient of shape \(\)"),
    (lambda g, x, y: (g * y, mv.ones(2)), ValueError, r"input 1: got a gradient of shape \(2,\).*\(3,\)"),
])
def test_mistakes_in_backward(result, error, text):
    out, _, _ = backward_of(result)
    with pytest.raises(error, match=text):
        out.sum().backward()


def test_none_means_no_gradient():
    out, x, y = backward_of(lambda g, x, y: (None, g * x))
    out.sum().backward()
    assert x.grad is None and y.grad.tolist() == [2, 2, 2]


def test_none_where_a_gradient_is_asked_for():
    out, x, _ = backward_of(lambda g, x, y: (None, g * x))
    with pytest.raises(mv.GraphError):
        mv.grad(out.sum(), x)


def test_a_list_of_gradients_will_do():
    out, x, _ = backward_of(lambda g, x, y: [g * y, g * x])
    out.sum().backward()
    assert x.grad.tolist() == [[1] * 3] * 2


def test_reading_what_was_not_kept():
    out, _, _ = backward_of(lambda g, x, y: (g, g), keeps=False)
    with pytest.raises(AttributeError, match="keeps_inputs"):
        out.sum().backward()

    class NoOutput(mv.Function):
        def forward(self, x):
            return x * 1

        def backward(self, grad):
            return self.output

    with pytest.raises(AttributeError, match="keeps_output"):
        NoOutput.apply(mv.ones(1, requires_grad=True)).backward()


def test_methods_that_are_missing():
    class Nothing(mv.Function):
        pass

    class NoBackward(mv.Function):
        def forward(self, x):
            return x * 1

    with pytest.raises(NotImplementedError, match="Nothing needs a forward"):
        Nothing.apply(mv.ones(1))
    with pytest.raises(NotImplementedError, match="NoBackward needs a backward"):
        NoBackward.apply(mv.ones(1, requires_grad=True)).backward()


def test_forward_may_return_its_input():
    class Identity(mv.Function):
        def forward(self, x):
            return x

        def backward(self, grad):
            return grad

    x = mv.ones(2, requires_grad=True)
    Identity.apply(x).sum().backward()
    assert x.grad.tolist() == [1, 1]


def test_backward_may_return_what_it_kept():
    """d(x·y) handed back without a copy: the gradient must still not alias the data."""
    class Dot(mv.Function):
        def forward(self, x, y):
            return (x * y).sum()

        def backward(self, grad):
            x, y = self.inputs
            return y, x

    x, y = mv.tensor([1.0, 2.0], requires_grad=True), mv.tensor([3.0, 4.0], requires_grad=True)
    Dot.apply(x, y).backward()
    assert x.grad.tolist() == [3, 4] and not np.shares_memory(x.grad.numpy(), y.numpy())
    x.grad.data[0] = 9
    assert y.tolist() == [3, 4]


def test_forward_that_returns_a_numpy_scalar():
    class Total(mv.Function):
        def forward(self, x):
            self.shape = x.shape
            return x.sum()

        def backward(self, grad):
            return grad.broadcast_to(self.shape)

    x = mv.ones(2, 2, requires_grad=True)
    y = Total.apply(x)
    assert y.shape == () and y.dtype == np.float32
    y.backward()
    assert x.grad.tolist() == [[1, 1], [1, 1]]


def test_forward_that_returns_whole_numbers():
    class Round(mv.Function):
        def forward(self, x):
            return np.rint(x).astype(int)

        def backward(self, grad):
            return grad

    with pytest.raises(TypeError, match="float"):
        Round.apply(mv.ones(2, requires_grad=True))


def test_a_function_that_trains():
    w = mv.tensor([2.0, -3.0], dtype="float64", requires_grad=True)
    for _ in range(50):
        loss = Mul.apply(w - 1.0, w - 1.0).sum()
        w.grad = None
        loss.backward()
        w.data -= 0.2 * w.grad.data
    assert_close(w, [1.0, 1.0], 1e-8)


def test_an_operations_own_mistake_is_not_called_broadcasting_of_its_inputs():
    class Odd(mv.Function):
        def forward(self, x, y):
            return x + y + np.ones(5)

    with pytest.raises(ValueError, match="could not be broadcast"):
        Odd.apply(mv.ones(3), mv.ones(3))
    with pytest.raises(ValueError, match=r"Mul: got shapes \(2, 3\) and \(2, 4\)"):
        mv.ones(2, 3) * mv.ones(2, 4)
    with pytest.raises(ValueError, match=r"\(3,\)"):
        mv.where(mv.ones(3) > 0, mv.ones(2), 1.0)


def test_a_list_of_tensors_would_lose_their_gradients():
    w = mv.tensor(1.0, requires_grad=True)
    with pytest.raises(TypeError, match=r"mv\.stack"):
        mv.ones(2) * [w, w]
