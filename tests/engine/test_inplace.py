"""Arrays that a pending backward needs cannot be changed, by any way in, and the error names the operation."""

import contextlib

import numpy as np
import pytest
from oracle import normal

import minivision as mv
from minivision import functional as F
from minivision import nn, optim
from minivision.saved import holder


def held():
    """A leaf whose values the multiplication y = x * x still needs."""
    x = mv.tensor([1.0, 2.0], requires_grad=True)
    return x, x * x


def assign(t): t.data[0] = 9
def assign_all(t): t.data[:] = 9
def add_in_place(t): t.data += 1
def multiply_in_place(t): t.data *= 2
def add_with_out(t): np.add(t.data, 1, out=t.data)
def replace(t): t.data = np.zeros(2, np.float32)
def add_at(t): np.add.at(t.data, [0], 1)
def slice_then_assign(t): t.data[:1][0] = 9
def sgd(t): optim.SGD([with_grad(t)], lr=0.1).step()
def adam(t): optim.Adam([with_grad(t)], lr=0.1).step()


def with_grad(t):
    t.grad = mv.ones(2)
    return t


CHANGES = [assign, assign_all, add_in_place, multiply_in_place, add_with_out, replace, add_at, slice_then_assign, sgd, adam]


@pytest.mark.parametrize("change", CHANGES)
def test_every_way_to_change_a_held_array_names_the_operation(change):
    x, y = held()
    with pytest.raises(mv.InPlaceError, match=r"Mul.*backward\(\) first"):
        change(x)
    assert x.tolist() == [1, 2]
    x.grad = None
    y.sum().backward()
    assert x.grad.tolist() == [2, 4]                        # the right gradient, from the values that forward saw
    change(x)                                               # and now it may be changed
    assert x.tolist() != [1, 2]


@pytest.mark.parametrize("change", CHANGES)
def test_free_again_when_the_result_is_dropped(change):
    x, y = held()
    del y
    change(x)
    assert x.tolist() != [1, 2]


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_held_under_no_grad(change):
    x = mv.tensor([1.0, 2.0], requires_grad=True)
    with mv.no_grad():
        y = x * x
    change(x)
    assert x.tolist() != [1, 2] and y.tolist() == [1, 4]


@pytest.mark.parametrize("write", [
    lambda a: a.__setitem__(0, 9), lambda a: a.fill(0), lambda a: a.sort(), lambda a: np.copyto(a, 0),
    lambda a: a.__iadd__(1), lambda a: np.put(a, [0], 9), lambda a: a.partition(0), lambda a: np.add(a, 1, out=a),
    lambda a: a.reshape(2, 1).__setitem__(0, 9), lambda a: a.view().__setitem__(0, 9),
])
def test_raw_arrays_refuse_writes(write):
    """Whoever holds the array itself, taken before or after, gets NumPy's error."""
    array = np.array([2.0, 1.0], np.float32)
    x = mv.Tensor(array, requires_grad=True)
    before = x.data
    y = x * x
    for taken in (array, before, x.numpy(), np.asarray(x), x.data, x.detach().data):
        with pytest.raises(ValueError):
            write(taken)
    assert x.tolist() == [2, 1]
    y.sum().backward()
    array[0] = 5
    assert x.tolist() == [5, 1]


def test_held_data_reads_like_any_array():
    x, y = held()
    assert x.data.sum() == 3 and (x.data + 1).tolist() == [2, 3] and x.data[0] == 1 and x.data.mean() == 1.5
    copy = x.data.copy()
    copy[0] = 7                                             # a copy is nobody's business
    result = x.data * 2
    result += 1
    assert type(x.data + 1) is np.ndarray
    assert mv.Tensor(x.data).tolist() == [1, 2]
    del y


def test_every_array_stays_held_while_any_graph_needs_it():
    x = mv.tensor([1.0, 2.0], requires_grad=True)
    y, z = x * x, x * 3.0 * x
    y.sum().backward()
    with pytest.raises(mv.InPlaceError):
        assign(x)
    z.sum().backward()
    assign(x)


def test_retained_graph_keeps_holding():
    x, y = held()
    y.sum().backward(retain_graph=True)
    with pytest.raises(mv.InPlaceError):
        assign(x)
    del y
    assign(x)


def test_outputs_are_held_where_backward_reads_them():
    x = mv.tensor([1.0, 2.0], requires_grad=True)
    y = mv.exp(x)
    with pytest.raises(mv.InPlaceError, match="Exp"):
        assign(y.detach())
    assign(x)                                               # exp needs its output only
    y.sum().backward()
    assert y.detach().data.flags.writeable


def test_operations_that_need_no_values_hold_nothing():
    x = mv.tensor([1.0, 2.0], requires_grad=True)
    results = [x + 1, -x, x.sum(), x.reshape(2, 1), x[0], mv.cat([x, x]), F.pad(x, (1, 1)), x.clone()]
    assert holder(x._data) is None
    assign(x)
    assert len(results) == 8


@pytest.mark.parametrize("layer, shape", [(nn.Linear(3, 2), (4, 3)), (nn.Conv2d(1, 2, 2), (1, 1, 3, 3))],
                         ids=["linear", "conv2d"])
def test_a_bias_is_free_while_its_layer_waits_for_backward(layer, shape):
    """No gradient depends on it; the weight and the image are held."""
    x = mv.ones(*shape, requires_grad=True)
    y = layer(x)
    layer.bias.data[:] = 7
    for needed in (layer.weight, x):
        with pytest.raises(mv.InPlaceError):
            needed.data[:] = 7
    before = layer.weight.numpy().copy()
    y.sum().backward()
    assert np.array_equal(layer.weight.numpy(), before) and layer.bias.tolist() == [7, 7]
    outputs = y.size // 2
    assert layer.bias.grad.tolist() == [outputs, outputs]


def test_views_hold_the_array_they_look_at():
    x = mv.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    row = x[0]
    y = row * row
    for change in (lambda: x.data.__setitem__((0, 0), 9), lambda: row.data.__setitem__(0, 9),
                   lambda: x.numpy().__setitem__((0, 0), 9)):
        with pytest.raises(ValueError):
            change()
    with pytest.raises(mv.InPlaceError, match="Mul"):
        x.data += 1
    y.sum().backward()
    assert x.grad.tolist() == [[2, 4], [0, 0]]
    x.data[0, 0] = 9
    row.data[1] = 8
    assert x.tolist()[0] == [9, 8]


def test_an_array_that_was_read_only_stays_so():
    array = np.array([1.0, 2.0])
    array.flags.writeable = False
    x = mv.Tensor(array, requires_grad=True)
    (x * x).sum().backward()
    assert not array.flags.writeable


class Foreign:
    """Memory of somebody else, which NumPy may write to but not be told to protect and free again."""

    def __init__(self):
        self.memory = np.ones(3)
        self.__array_interface__ = self.memory.__array_interface__


def closed_base():
    base = np.ones(3)
    view = base[:]
    base.flags.writeable = False
    return view


@pytest.mark.parametrize("make", [
    lambda: np.asarray(Foreign()), lambda: np.asarray(Foreign())[1:], closed_base,
    lambda: np.lib.stride_tricks.as_strided(np.ones(8), (3,), (8,)), lambda: np.frombuffer(bytearray(24)),
], ids=["foreign", "view of foreign", "read-only base", "as_strided", "bytearray"])
def test_memory_whose_flag_cannot_be_set_again_is_left_writable(make):
    array = make()
    x = mv.Tensor(array, requires_grad=True)
    y = (x * x).sum()
    with pytest.raises(mv.InPlaceError):
        x.data[0] = 9                                       # guarded where we are asked
    y.backward()
    np.testing.assert_array_equal(x.grad.numpy(), 2 * array)
    assert array.flags.writeable and not holder(array)


def test_a_view_made_while_its_memory_was_held_is_told_from_other_mistakes():
    x, y = held()
    other = mv.Tensor(x.data, requires_grad=True)           # shares the memory, and NumPy never lets it be written to
    y.sum().backward()
    other.grad = mv.ones(2)
    with pytest.raises(ValueError, match="a view made while a pending backward needed the memory"):
        optim.SGD([other], lr=0.1).step()


def test_free_again_after_an_exception_in_forward():
    class Fails(mv.Function):
        def forward(self, x, y):
            self.keep(x)
            raise RuntimeError("halfway")

        def backward(self, grad):
            return grad, grad

    x = mv.tensor([1.0, 2.0], requires_grad=True)
    with contextlib.suppress(RuntimeError):
        Fails.apply(x, x)
    assert holder(x._data) is None
    assign(x)
    with pytest.raises(ValueError):
        x * mv.ones(3)                                      # the shapes do not go together
    assign(x)


def test_free_again_after_an_exception_in_backward():
    class Fails(mv.Function):
        def forward(self, x):
            return x * 2

        def backward(self, grad):
            raise RuntimeError("halfway")

    x = mv.tensor([1.0, 2.0], requires_grad=True)
    y = Fails.apply(x * x)
    with pytest.raises(RuntimeError, match="halfway"):
        y.sum().backward()
    del y
    assign(x)


def test_optimiser_changes_all_parameters_or_none():
    a, b = mv.tensor([1.0], requires_grad=True), mv.tensor([2.0], requires_grad=True)
    a.grad = b.grad = mv.ones(1)
    pending = b * b
    with pytest.raises(mv.InPlaceError):
        optim.SGD([a, b], lr=1.0).step()
    assert (a.item(), b.item()) == (1, 2)
    del pending


def test_load_state_dict_changes_all_or_nothing():
    layer = nn.Linear(2, 2)
    before = {k: v.tolist() for k, v in layer.state_dict().items()}
    y = layer(mv.ones(1, 2, requires_grad=True))
    with pytest.raises(mv.InPlaceError, match="weight"):
        layer.load_state_dict({"weight": mv.zeros(2, 2), "bias": mv.zeros(2)})
    assert {k: v.tolist() for k, v in layer.state_dict().items()} == before
    y.sum().backward()
    layer.load_state_dict({"weight": mv.zeros(2, 2), "bias": mv.zeros(2)})


def test_batch_norm_does_not_move_averages_that_are_needed():
    layer = nn.BatchNorm2d(1).eval()
    x = mv.Tensor(normal(0, 2, 1, 2, 2, dtype="float32"), requires_grad=True)
    y = layer(x) * layer.running_mean                       # backward of * reads the running mean
    with pytest.raises(mv.InPlaceError, match="running average"):
        layer.train()(x)
    y.sum().backward()
    layer.train()(x)


def test_labels_and_masks_are_held():
    labels, condition = np.array([0, 1]), np.array([True, False])
    x = mv.tensor(normal(0, 2, 3), requires_grad=True)
    loss = F.cross_entropy(x, mv.Tensor(labels))
    with pytest.raises(ValueError):
        labels[0] = 2
    loss.backward()
    labels[0] = 2
    v = mv.tensor([1.0, 2.0], requires_grad=True)
    y = mv.where(mv.Tensor(condition), v, 0.0)
    with pytest.raises(ValueError):
        condition[0] = False
    y.sum().backward()
    assert v.grad.tolist() == [1, 0]


def test_step_before_backward_of_another_loss_is_noticed():
    """Two losses through one weight; stepping between their backwards would silently spoil the second."""
    w = mv.tensor([[1.0, 2.0]], requires_grad=True)
    first, second = (w * w).sum(), (w * w * w).sum()
    first.backward()
    with pytest.raises(mv.InPlaceError, match="Mul"):
        optim.SGD([w], lr=0.1).step()
    second.backward()
    optim.SGD([w], lr=0.1).step()


def test_tensors_cannot_be_assigned_to():
    x = mv.tensor([1.0, 2.0])
    with pytest.raises(TypeError, match=r"mv\.where"):
        x[0] = 5


def test_augmented_assignment():
    """A computed tensor becomes a new one; a leaf is changed in place, under no_grad and if no graph needs it."""
    leaf = mv.tensor([1.0, 2.0], requires_grad=True)
    y = before = leaf * 2
    y += 1
    assert y is not before and before.tolist() == [2, 4] and y.tolist() == [3, 5]
    with pytest.raises(mv.InPlaceError, match="no_grad"):
        leaf += 1
    del y, before                                           # their backward needs the leaf
    w, array = leaf, leaf.data
    with mv.no_grad():
        w += 1
        w *= 2
        w -= [1.0, 0.0]
        w /= 2.0
    assert w is leaf and w.data is array and w.tolist() == [1.5, 3] and w.requires_grad
    pending = w * w
    with mv.no_grad(), pytest.raises(mv.InPlaceError, match="Mul"):
        w -= 1
    with mv.no_grad(), pytest.raises(ValueError, match="cannot grow"):
        w -= mv.zeros(2, 2)
    assert w.tolist() == [1.5, 3]
    del pending


def test_augmented_assignment_to_an_array():
    array = np.ones(2, np.float32)
    with pytest.raises(TypeError, match=r"step\.data"):
        array -= mv.ones(2)
    assert array.tolist() == [1, 1]


def test_a_view_that_was_a_tensor_before_is_guarded_too():
    x = mv.tensor([1.0, 2.0], requires_grad=True)
    view = x.reshape(-1)
    y = (x * x).sum()
    with pytest.raises(ValueError, match="read-only"):
        view.numpy()[0] = 100
    y.backward()
    assert x.grad.tolist() == [2, 4]
