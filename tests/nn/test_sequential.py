"""Layers joined with the ReLU behind them: the same numbers, and nothing hidden from who looks."""

import numpy as np
import pytest

import minivision as mv
import minivision.functional as F
from minivision import nn
from minivision.autograd import Function

LAYERS = {
    "conv": lambda: nn.Conv2d(3, 4, 3, padding=1),
    "strided": lambda: nn.Conv2d(3, 6, 2, stride=2, groups=3),
    "named padding": lambda: nn.Conv2d(3, 4, 2, padding="same"),
    "no bias": lambda: nn.Conv2d(3, 4, 1, bias=False),
    "linear": lambda: nn.Linear(6, 5),
    "batch norm": lambda: nn.BatchNorm2d(3),
    "pool": lambda: nn.MaxPool2d(2),
}
JOINED = {"conv": "Conv2dRelu", "strided": "Conv2dRelu", "named padding": "Conv2dRelu", "linear": "LinearRelu",
          "batch norm": "BatchNormEvalRelu"}


@pytest.fixture
def layer(request):
    mv.manual_seed(0)
    layer = LAYERS[request.param]()
    if request.param == "batch norm":
        layer(mv.randn(4, 3, 5, 6) * 2.0 + 1.0)                  # averages to go by
        layer.weight.data, layer.bias.data = np.array([1.0, -2.0, 0.5], "f"), np.array([0.1, 0.2, -0.3], "f")
    return layer.eval()


def gradients(function, x, layer):
    """What comes out, and the gradients to the image and to the parameters."""
    x = mv.tensor(x, requires_grad=True)
    y = function(x)
    mv.manual_seed(1)
    return y, mv.grad(y, [x, *layer.parameters()], mv.randn(*y.shape))


@pytest.mark.parametrize(("layer", "op"), [(name, JOINED.get(name, "Relu")) for name in LAYERS], indirect=["layer"])
def test_joined_or_not_the_numbers_are_the_same(layer, op):
    x = mv.randn(*((4, 6) if op == "LinearRelu" else (2, 3, 5, 6))).numpy()
    apart, expected = gradients(lambda x: F.relu(layer(x)), x, layer)
    y, found = gradients(nn.Sequential(layer, nn.ReLU()), x, layer)
    assert type(y.maker).__name__ == op
    for a, b in zip((y, *found), (apart, *expected)):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("layer", ["conv", "linear"], indirect=True)
def test_a_second_derivative_goes_through(layer):
    layer.to(dtype="float64")
    x = mv.randn(2, 3, 4, 6, dtype="float64", requires_grad=True)
    last = nn.Linear(layer(x).size // 2, 1).to(dtype="float64")
    assert mv.gradgradcheck(nn.Sequential(layer, nn.ReLU(), nn.Flatten(), last), x)


@pytest.mark.parametrize("watched", [0, 1])
def test_who_watches_a_layer_is_shown_its_own_result(watched):
    net, seen = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), []
    x = mv.randn(1, 1, 6, 6)
    quiet = net(x).numpy()
    with net[watched].register_forward_hook(lambda module, inputs, output: seen.append((inputs[0].numpy(), output.numpy()))):
        np.testing.assert_array_equal(net(x).numpy(), quiet)
    (given, result), = seen
    between = F.conv2d(x, net[0].weight, net[0].bias).numpy()
    assert between.min() < 0
    np.testing.assert_array_equal(given if watched else result, between)


def test_a_hook_may_change_what_goes_on():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    net[0].register_forward_hook(lambda module, inputs, output: output * 0.0 + 7.0)
    assert (net(mv.randn(1, 1, 6, 6)).numpy() == 7).all()


def test_layers_of_users_are_called():
    class Doubled(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) * 2.0

    mv.manual_seed(0)
    mine = Doubled(1, 2, 3)
    x = mv.randn(1, 1, 6, 6)
    expected = F.relu(mine(x)).numpy()
    np.testing.assert_array_equal(nn.Sequential(mine, nn.ReLU())(x).numpy(), expected)
    plain = nn.Conv2d(1, 2, 3)
    plain.forward = lambda x: x * 0.0 + 3.0
    assert (nn.Sequential(plain, nn.ReLU())(x).numpy() == 3).all()


def test_batch_norm_in_training_goes_by_the_batch():
    net = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU())
    x = mv.randn(4, 3, 5, 5) + 5.0
    assert 0.3 < (net(x).numpy() == 0).mean() < 0.7
    assert int(net[0].num_batches_tracked.item()) == 1


def test_the_joined_functions_want_a_bias():
    x, w = mv.randn(1, 1, 4, 4), mv.randn(1, 1, 3, 3)
    with pytest.raises(TypeError, match=r"conv2d_relu: bias is None, expected \(F,\); without one, call relu\(conv2d"):
        F.conv2d_relu(x, w, None)
    with pytest.raises(TypeError, match=r"linear_relu: bias is None, expected \(O,\); without one, call relu\(linear"):
        F.linear_relu(x[0, 0], w[0, 0], None)


def test_what_lies_between_is_not_kept():
    """Nor does it stand in the graph."""
    net, x = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU()), mv.randn(2, 1, 9, 9)
    makers = []
    maker = net(x).maker
    while isinstance(maker, Function):
        makers.append(type(maker).__name__)
        maker = next((source for source in maker.sources if isinstance(source, Function)), None)
    assert makers == ["Conv2dRelu"]
