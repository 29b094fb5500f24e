"""Modules: what they find of themselves, how their state is saved and loaded, hooks, modes."""

import copy

import numpy as np
import pytest
from oracle import assert_close, normal

import minivision as mv
from minivision import functional as F
from minivision import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.bn = nn.BatchNorm2d(2)
        self.body = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(2, 1, 2, bias=False), nn.InstanceNorm2d(1, affine=True))
        self.scale = nn.Parameter(np.ones(1, np.float32))
        self.register_buffer("mean", mv.zeros(3))

    def forward(self, x):
        return self.body(self.bn(self.conv(x))) * self.scale


NAMES = ["scale", "mean", "conv.weight", "conv.bias", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var",
         "bn.num_batches_tracked", "body.1.weight", "body.2.weight", "body.2.bias"]       # as PyTorch names and orders them


def test_state_dict_names_are_pytorchs():
    assert list(Net().state_dict()) == NAMES


@pytest.mark.parametrize("layer, shapes", [
    (nn.Linear(3, 2), {"weight": (2, 3), "bias": (2,)}),
    (nn.Linear(3, 2, bias=False), {"weight": (2, 3)}),
    (nn.Conv2d(4, 6, (2, 3), groups=2), {"weight": (6, 2, 2, 3), "bias": (6,)}),
    (nn.ConvTranspose2d(4, 6, (2, 3), groups=2), {"weight": (4, 3, 2, 3), "bias": (6,)}),
    (nn.BatchNorm2d(2), {"weight": (2,), "bias": (2,), "running_mean": (2,), "running_var": (2,), "num_batches_tracked": ()}),
    (nn.BatchNorm2d(2, affine=False, track_running_stats=False), {}),
    (nn.InstanceNorm2d(2), {}),
    (nn.InstanceNorm2d(2, affine=True), {"weight": (2,), "bias": (2,)}),
    (nn.ReLU(), {}), (nn.Dropout(), {}), (nn.Flatten(), {}), (nn.MaxPool2d(2), {}), (nn.CrossEntropyLoss(), {}),
])
def test_parameters_of_layers(layer, shapes):
    assert {k: v.shape for k, v in layer.state_dict().items()} == shapes


def test_parameters_and_modules():
    net = Net()
    assert [n for n, _ in net.named_parameters()] == ["scale", "conv.weight", "conv.bias", "bn.weight", "bn.bias",
                                                     "body.1.weight", "body.2.weight", "body.2.bias"]
    assert [n for n, _ in net.named_modules()] == ["", "conv", "bn", "body", "body.0", "body.1", "body.2"]
    assert [n for n, _ in net.named_children()] == ["conv", "bn", "body"]
    assert len(list(net.parameters())) == 8 and len(list(net.modules())) == 7
    assert all(p.requires_grad for p in net.parameters())
    assert isinstance(net.mean, mv.Tensor) and not net.mean.requires_grad


def test_shared_parameters_count_once():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)
            self.b.weight = self.a.weight
            self.again = self.a

    tied = Tied()
    assert [n for n, _ in tied.named_parameters()] == ["a.weight", "a.bias", "b.bias"]
    assert len(list(tied.modules())) == 3
    x = mv.ones(1, 2)
    tied.b(tied.a(x)).sum().backward()
    assert tied.a.weight.grad is tied.b.weight.grad


def test_state_of_a_shared_module_stands_under_each_of_its_names():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(1, 1, bias=False)
            self.second = self.first

    state = Twice().state_dict()
    assert list(state) == ["first.weight", "second.weight"]
    Twice().load_state_dict(state)


def test_a_buffer_can_be_given_a_new_value():
    net = Net()
    net.bn.running_mean = mv.ones(2)
    net.mean = None
    assert net.state_dict()["bn.running_mean"].tolist() == [1, 1] and net.bn.running_mean.tolist() == [1, 1]
    assert net.mean is None


def test_state_dict_is_a_copy():
    net = nn.Linear(2, 2)
    state = net.state_dict()
    state["weight"].data[...] = 7
    assert not (net.weight.numpy() == 7).any()
    assert not any(v.requires_grad for v in state.values())


def test_load_state_dict_takes_tensors_and_arrays():
    net, other = Net(), Net()
    net.load_state_dict(other.state_dict())
    for name, value in other.state_dict().items():
        assert np.array_equal(net.state_dict()[name].numpy(), value.numpy())
    net.load_state_dict({k: np.asarray(v.numpy(), dtype="float64") for k, v in other.state_dict().items()})
    assert net.conv.weight.dtype == np.float32
    same = net.conv.weight
    net.load_state_dict(other.state_dict())
    assert net.conv.weight is same                         # in place: optimisers keep their parameters


@pytest.mark.parametrize("change, text", [
    (lambda s: s.pop("conv.bias"), "missing: conv.bias (1)"),
    (lambda s: s.update(extra=mv.zeros(1)), "not in this model: extra (1)"),
    (lambda s: s.update({"body.1.weight": mv.zeros(2, 1, 3, 3)}),
     "body.1.weight has shape (2, 1, 3, 3), expected (2, 1, 2, 2)"),
    (lambda s: s.update({"body.2.bias": np.array(["x"])}), "body.2.bias"),
    (lambda s: s.update({"body.2.bias": np.array([1j])}), "body.2.bias"),
])
def test_load_state_dict_is_strict_and_takes_all_or_nothing(change, text):
    net = Net()
    before = {k: v.numpy().copy() for k, v in net.state_dict().items()}
    state = {k: mv.Tensor(v.numpy() + 1) for k, v in net.state_dict().items()}
    change(state)
    with pytest.raises((KeyError, ValueError, TypeError)) as caught:
        net.load_state_dict(state)
    assert text in str(caught.value)
    for name, value in net.state_dict().items():
        assert np.array_equal(value.numpy(), before[name]), name


def test_train_and_eval_reach_every_module():
    net = Net()
    assert net.training
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    net.body.train()
    assert not net.training and all(m.training for m in net.body.modules())


def test_to_changes_dtype_in_place():
    net = Net()
    weight = net.conv.weight
    assert net.to(dtype="float64") is net
    assert net.conv.weight is weight and weight.dtype == np.float64 and weight.requires_grad
    assert net.bn.running_mean.dtype == np.float64 and net.bn.num_batches_tracked.dtype == np.int64
    assert net(mv.zeros(2, 1, 5, 5, dtype="float64")).dtype == np.float64


def test_zero_grad():
    net = nn.Linear(2, 1)
    net(mv.ones(1, 2)).sum().backward()
    assert net.weight.grad is not None
    net.zero_grad()
    assert net.weight.grad is None and net.bias.grad is None


def test_deepcopy_is_independent():
    net = Net()
    twin = copy.deepcopy(net)
    twin.conv.weight.data[...] = 0
    assert net.conv.weight.numpy().any()
    assert list(twin.state_dict()) == NAMES and twin.conv.weight.requires_grad


# ---------------------------------------------------------------------------------------------- hooks


def test_forward_hook_sees_and_replaces():
    layer, seen = nn.Linear(2, 2), []
    x = mv.ones(1, 2)
    plain = layer(x)
    see = layer.register_forward_hook(lambda module, inputs, output: seen.append((module, inputs, output)))
    replace = layer.register_forward_hook(lambda module, inputs, output: output * 0.0)
    assert layer(x).tolist() == [[0, 0]]
    assert seen[0][0] is layer and seen[0][1][0] is x and np.array_equal(seen[0][2].numpy(), plain.numpy())
    replace.remove()
    assert np.array_equal(layer(x).numpy(), plain.numpy())
    see.remove()
    see.remove()                                            # twice is once
    layer(x)
    assert len(seen) == 2


def test_forward_hook_as_a_context():
    layer, seen = nn.ReLU(), []
    with layer.register_forward_hook(lambda *args: seen.append(1)):
        layer(mv.ones(1))
    layer(mv.ones(1))
    assert seen == [1]


def test_hooks_inside_a_network_and_removed_from_within():
    net, maps = Net(), {}

    def keep(module, inputs, output):
        maps[type(module).__name__] = output
        handles.pop().remove()

    handles = [net.bn.register_forward_hook(keep)]
    net(mv.ones(2, 1, 5, 5))
    net(mv.ones(2, 1, 5, 5))
    assert list(maps) == ["BatchNorm2d"] and maps["BatchNorm2d"].shape == (2, 2, 3, 3)


def test_hooked_output_can_be_differentiated():
    net, found = Net(), []
    with net.conv.register_forward_hook(lambda m, i, o: found.append(o)):
        out = net(mv.Tensor(normal(0, 2, 1, 5, 5, dtype="float32"), requires_grad=True))
    g, = mv.grad(out.sum(), found[0])
    assert g.shape == found[0].shape


# ---------------------------------------------------------------------------------------------- Sequential and looks


def test_sequential():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    assert len(net) == 3 and isinstance(net[1], nn.ReLU) and isinstance(net[-1], nn.Linear)
    assert [type(m).__name__ for m in net[1:]] == ["ReLU", "Linear"] and list(iter(net)) == list(net)
    assert list(net.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    named = nn.Sequential({"first": nn.Linear(2, 3), "last": nn.ReLU()})
    assert list(named.state_dict()) == ["first.weight", "first.bias"] and named.first.weight.shape == (3, 2)
    x = mv.Tensor(normal(0, 4, 2, dtype="float32"))
    assert_close(net(x), F.linear(F.relu(F.linear(x, net[0].weight, net[0].bias)), net[2].weight, net[2].bias))
    assert nn.Sequential()(x) is x


def test_repr():
    text = repr(nn.Sequential(nn.Conv2d(3, 6, 5, padding=2), nn.Linear(2, 3, bias=False), nn.Dropout(0.25),
                              nn.Sequential(nn.ReLU())))
    assert text == ("Sequential(\n  (0): Conv2d(3, 6, (5, 5), padding=2)\n  (1): Linear(2, 3, bias=False)\n"
                    "  (2): Dropout(p=0.25)\n  (3): Sequential(\n    (0): ReLU()\n  )\n)")


def test_module_without_super_init():
    class Lazy(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(1, 1)

        def forward(self, x):
            return self.fc(x)

    net = Lazy()
    handle = net.register_forward_hook(lambda m, i, o: o * 2.0)
    net.register_buffer("count", mv.zeros(1))
    assert list(net.state_dict()) == ["count", "fc.weight", "fc.bias"]
    net(mv.ones(1, 1))
    handle.remove()


@pytest.mark.parametrize("dtype", ["float64", np.float64, np.dtype("float64"), float])
def test_to_takes_a_dtype_in_the_first_place(dtype):
    net = Net().to(dtype)
    assert {k for k, v in net.state_dict().items() if v.dtype != np.float64} == {"bn.num_batches_tracked"}
    assert net.bn.num_batches_tracked.dtype == np.int64


def test_to_changes_all_or_nothing():
    net = Net()
    held = (net.body[2].bias * net.body[2].bias).sum()         # a backward still to come needs the last parameter
    with pytest.raises(mv.InPlaceError, match=r"body\.2\.bias"):
        net.to("float64")
    assert all(v.dtype != np.float64 for v in net.state_dict().values())
    held.backward()
    net.to("float64")
    assert net.body[2].bias.dtype == np.float64


def test_zero_grad_with_zeros():
    net = nn.Linear(2, 1)
    net.weight.grad = mv.ones(1, 2)
    net.zero_grad(set_to_none=False)
    assert net.weight.grad.tolist() == [[0, 0]] and net.bias.grad is None


def test_load_state_dict_of_another_model():
    net, before = Net(), Net().state_dict()
    state = {"conv.bias": mv.ones(2), "other.weight": mv.ones(3), "what": "ever"}
    kept = net.scale.tolist()
    missing, unexpected = net.load_state_dict(state, strict=False)
    assert net.conv.bias.tolist() == [1, 1] and net.scale.tolist() == kept
    assert unexpected == ["other.weight", "what"] and missing == [k for k in before if k != "conv.bias"]
    with pytest.raises(nn.ModelMismatchError, match=r"conv\.bias has shape"):
        net.load_state_dict({"conv.bias": mv.ones(3)}, strict=False)
    assert net.load_state_dict(before) == ([], [])


def test_what_may_stand_in_the_place_of_a_parameter():
    layer = nn.Linear(2, 2)
    layer.weight = nn.Parameter(np.ones((2, 2), np.float32))
    layer.bias = None
    assert list(layer.state_dict()) == ["weight"] and layer(mv.ones(1, 2)).tolist() == [[2, 2]]
    with mv.no_grad():
        layer.weight -= 1.0                                    # in place: the same Parameter
    assert layer.weight.tolist() == [[0, 0], [0, 0]]
    for value in (mv.zeros(2, 2), np.zeros((2, 2)), 3):
        with pytest.raises(TypeError, match=r"nn\.Parameter"):
            layer.weight = value
