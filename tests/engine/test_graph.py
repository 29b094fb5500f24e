"""The graph and its walk: accumulation, repetition, release, parts of graphs, and very deep ones."""

import gc
import weakref

import numpy as np
import pytest
from oracle import assert_close, normal

import minivision as mv
from minivision import functional as F


def leaf(value, **options):
    return mv.tensor(value, requires_grad=True, **options)


def test_every_use_of_a_value_adds():
    """b = a + a; c = b + b: passing b's gradient on once per use would give 8 and not 4, or 2."""
    a = leaf(1.0)
    b = a + a
    (b + b).backward()
    assert a.grad.item() == 4


def test_a_diamond_of_uses():
    x = leaf(3.0)
    y = x * x
    (y * x + y + x).backward()                              # x³ + x² + x
    assert x.grad.item() == 3 * 9 + 2 * 3 + 1


def test_gradients_accumulate_over_calls_until_reset():
    x = leaf(2.0)
    for times in (1, 2, 3):
        (x * x).backward()
        assert x.grad.item() == 4 * times
    x.grad = None
    (x * x).backward()
    assert x.grad.item() == 4


def test_backward_twice_adds_the_right_value():
    """x * x + 1 at 3: 6, and 12 after a second call. Where inner gradients are not reset it becomes 18."""
    x = leaf(3.0)
    y = x * x + 1
    y.backward(retain_graph=True)
    assert x.grad.item() == 6
    y.backward()
    assert x.grad.item() == 12


def test_second_backward_after_release_is_an_error_that_helps():
    x = leaf(3.0)
    y = x * x
    y.backward()
    for again in (y.backward, lambda: mv.grad(y, x), lambda: (y + 1).backward()):
        with pytest.raises(mv.GraphError, match=r"already released.*retain_graph=True"):
            again()
    assert x.grad.item() == 6


def test_a_shared_part_that_was_released_is_noticed():
    x = leaf(2.0)
    shared = x * x
    (shared + 1).backward()
    with pytest.raises(mv.GraphError, match="released"):
        (shared * 3).backward()


def test_retained_graph_can_be_walked_any_number_of_times():
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    for _ in range(3):
        g, = mv.grad(y, x, retain_graph=True)
        assert g.tolist() == [2, 4]
    g, = mv.grad(y, x)
    with pytest.raises(mv.GraphError):
        mv.grad(y, x)


def test_backward_of_a_leaf():
    x = leaf(3.0)
    x.backward()
    x.backward(mv.tensor(2.0))
    assert x.grad.item() == 3
    assert mv.grad(x, x)[0].item() == 1


def test_backward_without_a_graph():
    with pytest.raises(mv.GraphError, match="requires_grad=True"):
        mv.tensor(1.0).backward()
    with pytest.raises(mv.GraphError, match="does not require grad"):
        (mv.tensor(1.0) * 2).backward()
    x = leaf(1.0)
    with mv.no_grad():
        y = x * 2
    with pytest.raises(mv.GraphError, match="no_grad"):
        y.backward()


def test_upstream_gradient():
    x = leaf([1.0, 2.0])
    y = x * x
    with pytest.raises(ValueError, match=r"\(2,\).*reduce to one number"):
        y.backward()
    with pytest.raises(ValueError, match=r"\(3,\).*\(2,\)"):
        y.backward(mv.ones(3))
    y.backward(mv.tensor([1.0, 10.0]))
    assert x.grad.tolist() == [2, 40]
    x.grad = None
    (x * x).backward([1.0, 10.0])                           # a list and another dtype will do
    (x * x).backward(np.array([1.0, 10.0]))
    assert x.grad.tolist() == [4, 80] and x.grad.dtype == np.float32


def test_one_element_of_any_shape_needs_no_upstream():
    x = leaf([[2.0]])
    (x * x).backward()
    assert x.grad.tolist() == [[4]]


def test_only_leaves_keep_grad():
    x = leaf(2.0)
    y = x * x
    (y * y).backward()
    assert y.grad is None and x.grad.item() == 32


def test_tensors_without_requires_grad_get_none():
    x, c = leaf(2.0), mv.tensor(3.0)
    (x * c).backward()
    assert x.grad.item() == 3 and c.grad is None


def test_detach_cuts_the_graph():
    x = leaf(2.0)
    (x * x.detach()).backward()
    assert x.grad.item() == 2
    assert not x.detach().requires_grad


# ---------------------------------------------------------------------------------------------- mv.grad


def test_grad_leaves_every_grad_alone():
    x, y = leaf(2.0), leaf(3.0)
    gx, gy = mv.grad(x * y, [x, y])
    assert (gx.item(), gy.item()) == (3, 2)
    assert x.grad is None and y.grad is None


def test_grad_of_tensors_in_between():
    x = leaf(2.0)
    y = x * x
    z = y * y
    gy, gx = mv.grad(z, [y, x])
    assert (gy.item(), gx.item()) == (8, 32)


def test_grad_stops_at_what_was_asked_for():
    """Nothing is computed below the target: an operation there that would fail is not reached."""
    class Fails(mv.Function):
        def forward(self, x):
            return x + 0

        def backward(self, grad):
            raise AssertionError("not needed")

    x = leaf(2.0)
    y = Fails.apply(x)
    assert mv.grad(y * 3, y)[0].item() == 3


def test_grad_of_several_outputs_is_that_of_their_sum():
    x = leaf([1.0, 2.0])
    g, = mv.grad([x * x, x.sum()], [x], [mv.tensor([1.0, 1.0]), None])
    assert g.tolist() == [3, 5]
    with pytest.raises(ValueError, match="1 grad_outputs for 2 outputs"):
        mv.grad([x * 1, x * 2], x, [mv.ones(2)])


def test_grad_of_one_output_given_twice():
    x = leaf(2.0)
    y = x * x
    assert mv.grad([y, y], x)[0].item() == 8


def test_grad_of_an_input_that_takes_no_part():
    x, z = leaf(1.0), leaf(2.0)
    with pytest.raises(mv.GraphError, match=r"input 1 .* takes no part"):
        mv.grad(x * 2, [x, z])
    with pytest.raises(mv.GraphError, match="input 0 does not require grad"):
        mv.grad(x * 2, mv.tensor(1.0))


def test_unneeded_gradients_are_not_computed():
    asked = []

    class Spy(mv.Function):
        def forward(self, x, y):
            return x * y

        def backward(self, grad):
            asked.append(self.needs_grad)
            x, y = self.inputs
            return grad * y, grad * x

    x, y = leaf(2.0), leaf(3.0)
    z = Spy.apply(x, y)
    mv.grad(z, x, retain_graph=True)
    mv.grad(z, [y, x], retain_graph=True)
    Spy.apply(x, 3.0).backward()
    assert asked == [(True, False), (True, True), (True, False)]


# ---------------------------------------------------------------------------------------------- higher orders


def test_derivatives_up_to_third_order():
    x = leaf([0.5, -1.5], dtype="float64")
    y = (x ** 4 + mv.sin(x)).sum()
    first, = mv.grad(y, x, create_graph=True)
    second, = mv.grad(first.sum(), x, create_graph=True)
    third, = mv.grad(second.sum(), x)
    v = x.numpy()
    assert_close(first, 4 * v ** 3 + np.cos(v), 1e-12)
    assert_close(second, 12 * v ** 2 - np.sin(v), 1e-12)
    assert_close(third, 24 * v - np.cos(v), 1e-12)


def test_third_order_through_convolution():
    """sum(conv(x, w)³): the third derivative along x in one direction, against differences of the second."""
    x, w = leaf(normal(0, 1, 1, 4, 4)), leaf(normal(1, 2, 1, 2, 2))
    d = mv.Tensor(normal(2, 1, 1, 4, 4))

    def second(x):
        y = (F.conv2d(x, w) ** 3).sum()
        g, = mv.grad(y, x, create_graph=True)
        return mv.grad((g * d).sum(), x, create_graph=True)[0]

    third, = mv.grad((second(x) * d).sum(), x)
    eps = 1e-5
    ahead, behind = (leaf(x.numpy() + s * eps * d.numpy()) for s in (1, -1))
    assert_close(third, (second(ahead).numpy() - second(behind).numpy()) / (2 * eps), 1e-6)


def test_backward_with_create_graph_fills_a_differentiable_grad():
    x = leaf(3.0)
    (x ** 3).backward(create_graph=True)
    assert x.grad.requires_grad and x.grad.item() == 27
    g, = mv.grad(x.grad, x)
    assert g.item() == 18


def test_gradients_do_not_require_grad_unless_asked():
    x = leaf(3.0)
    assert not mv.grad(x * x, x)[0].requires_grad
    (x * x).backward()
    assert not x.grad.requires_grad and x.grad.maker is None


def test_gradient_penalty():
    """A loss of a gradient's norm reaches the weights."""
    x, w = leaf([[1.0, 2.0]], dtype="float64"), leaf([[0.5, -1.0], [2.0, 0.1]], dtype="float64")
    g, = mv.grad(mv.tanh(x @ w).sum(), x, create_graph=True)
    (g * g).sum().backward()
    eps, slopes = 1e-6, np.zeros((2, 2))
    for i, j in np.ndindex(2, 2):
        ends = []
        for s in (eps, -eps):
            v = w.numpy().copy()
            v[i, j] += s
            h, = mv.grad(mv.tanh(x @ mv.Tensor(v)).sum(), x)
            ends.append((h.numpy() ** 2).sum())
        slopes[i, j] = (ends[0] - ends[1]) / (2 * eps)
    assert_close(w.grad, slopes, 1e-8)


# ---------------------------------------------------------------------------------------------- depth and memory


def chain(length):
    x = leaf(1.0, dtype="float64")
    y = x
    for _ in range(length):
        y = y + 1e-6
    return x, y


def test_a_very_deep_graph():
    x, y = chain(100_000)
    y.backward()
    assert x.grad.item() == 1


def test_a_very_deep_graph_is_dropped_without_backward():
    """Freeing link after link must not recurse either."""
    _, y = chain(100_000)
    last = weakref.ref(y.maker)
    del y
    gc.collect()
    assert last() is None


def test_a_deep_graph_that_keeps_arrays_is_dropped():
    x = leaf(1.0)
    y = x
    for _ in range(20_000):
        y = y * 1.0
    del y
    gc.collect()
    x.data[...] = 2.0                                       # free again
    assert x.item() == 2


def test_a_deep_graph_walked_with_create_graph():
    x, y = chain(5_000)
    g, = mv.grad(y * y, x, create_graph=True)
    assert mv.grad(g, x)[0].item() == 2


def test_saved_arrays_are_released_by_backward():
    x = leaf(normal(0, 100))
    hidden = mv.exp(x)
    kept = weakref.ref(hidden.data.base)                    # the array itself; .data shows a read-only look at it
    y = (hidden * 2).sum()
    del hidden
    assert kept() is not None                               # exp's backward needs its output
    y.backward()
    assert kept() is None
    assert y.maker.released


def test_saved_arrays_are_released_when_the_graph_is_dropped():
    x = leaf(normal(0, 100))
    hidden = mv.exp(x)
    kept = weakref.ref(hidden.data.base)
    y = hidden.sum()
    del hidden
    assert kept() is not None
    del y
    assert kept() is None


def test_nothing_is_saved_that_backward_does_not_need():
    x = leaf(normal(0, 100))
    hidden = x + 1
    kept = weakref.ref(hidden.data)
    y = hidden.sum()
    del hidden
    assert kept() is None                                   # neither + nor sum reads its values
    y.backward()


def test_the_graph_has_no_reference_cycles():
    """Dropping the result frees the graph at once, without waiting for the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        x = leaf(normal(0, 1, 2, 6, 6))
        w = leaf(normal(1, 3, 2, 3, 3))
        y = F.max_pool2d(F.conv2d(x, w).relu(), 2).softmax(1).logsumexp(1).sum()
        node = weakref.ref(y.maker)
        del y
        assert node() is None
    finally:
        gc.enable()


def test_deepcopy_of_a_leaf():
    import copy

    x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    y = copy.deepcopy(x)
    assert y.requires_grad and y.tolist() == [1, 2] and not np.shares_memory(x.data, y.data)


def test_only_what_ran_backward_is_released():
    """grad(y, h) needs no gradient of anything below h, so that part can still run backward."""
    x = leaf([1.0, 2.0])
    h = x * x
    y = (h * h).sum()
    g, = mv.grad(y, h)
    h.backward(g)
    assert x.grad.tolist() == [4, 32]
    with pytest.raises(mv.GraphError, match="retain_graph"):
        y.backward()


def test_a_branch_that_was_not_asked_for_stays():
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    shared = w * w
    dx, = mv.grad((x * x * shared).sum(), x)
    dw, = mv.grad((shared * 2).sum(), w)
    assert dx.tolist() == [18, 64] and dw.tolist() == [12, 16]


def test_a_computed_tensor_cannot_be_pickled():
    import pickle

    x = leaf([1.0, 2.0])
    y = x * x
    with pytest.raises(TypeError, match="detach"):
        pickle.dumps(y)
    y.sum().backward()
    assert x.grad.tolist() == [2, 4]
