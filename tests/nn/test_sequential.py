"""Layers joined with those behind and beside them: the same numbers, and nothing hidden from who looks."""

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


def test_a_sum_and_its_relu_are_the_same_numbers():
    for shapes in (((2, 3, 5, 6),) * 2, ((8, 8, 16, 17),) * 2, ((2, 3, 5, 6), (6,))):
        arrays = [mv.randn(*shape).numpy() for shape in shapes]
        results = []
        for function in (lambda x, y: F.relu(x + y), F.add_relu):
            x, y = (mv.tensor(each, requires_grad=True) for each in arrays)
            z = function(x, y)
            mv.manual_seed(1)
            results.append((z, *mv.grad(z, [x, y], mv.randn(*z.shape))))
        assert type(results[1][0].maker).__name__ == "AddRelu"
        for a, b in zip(*results):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
    with pytest.raises(TypeError, match="add_relu"):
        F.add_relu(np.arange(3), np.arange(3))


def beside(bias=True, second="padding"):
    """Two convolutions of one image, with results of one size."""
    mv.manual_seed(0)
    return [nn.Conv2d(3, 4, 1, bias=bias), nn.Conv2d(3, 5, 3, padding=1) if second == "padding" else
            nn.Conv2d(3, 5, 2, padding="same")]


@pytest.mark.parametrize(("layers", "op"), [
    (beside(), "Conv2dReluCat"), (beside(second="same"), "Cat"), (beside(bias=False), "Cat"),
], ids=["joined", "one side", "no bias"])
@pytest.mark.parametrize("batch", [1, 3])
def test_side_by_side_the_numbers_are_the_same(layers, op, batch):
    x, found, both = mv.randn(batch, 3, 5, 6).numpy(), [], nn.Sequential(*layers)
    for function in (lambda x: F.cat([F.relu(layer(x)) for layer in layers], 1), lambda x: nn.side_by_side(layers, x)):
        y, grads = gradients(function, x, both)
        found.append((y, *grads))
    assert type(y.maker).__name__ == op
    for a, b in zip(*found):
        if a.ndim == 1:                                          # a bias: the order in which its gradient is summed
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-5)
        else:
            np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_side_by_side_a_part_of_the_gradients():
    """Whatever is asked for, and nothing else."""
    layers = beside()
    x = mv.randn(2, 3, 5, 6, requires_grad=True)
    everything = [x, *(p for layer in layers for p in layer.parameters())]
    every = mv.grad(nn.side_by_side(layers, x).sum(), everything)
    for wanted, expected in zip(everything, every):
        (alone,) = mv.grad(nn.side_by_side(layers, x).sum(), [wanted])
        np.testing.assert_array_equal(alone.numpy(), expected.numpy())


def test_side_by_side_who_watches_is_shown():
    layers, seen = beside(), []
    x = mv.randn(1, 3, 4, 4)
    quiet = nn.side_by_side(layers, x).numpy()
    with layers[1].register_forward_hook(lambda module, inputs, output: seen.append(output.numpy())):
        np.testing.assert_array_equal(nn.side_by_side(layers, x).numpy(), quiet)
    np.testing.assert_array_equal(seen[0], layers[1](x).numpy())


def test_conv2d_relu_cat_says_what_is_wrong():
    x, w, b = mv.randn(1, 1, 4, 4), mv.randn(2, 1, 3, 3), mv.randn(2)
    with pytest.raises(ValueError, match=r"results of \(2, 2\) and \(4, 4\) pixels cannot lie in one array"):
        F.conv2d_relu_cat(x, [{"weight": w, "bias": b, "padding": 1}, {"weight": w, "bias": b}])
    for convolutions in ([], [{"weight": w, "bias": None}], [{"weight": w}]):
        with pytest.raises(ValueError, match=f"got {len(convolutions)} convolutions, not all with a bias"):
            F.conv2d_relu_cat(x, convolutions)


def conv_and_norm(bias, dtype="float64"):
    mv.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=bias), nn.BatchNorm2d(4))
    net(mv.randn(4, 3, 9, 8) * 3.0 + 1.0)                        # averages to go by
    net[1].weight.data, net[1].bias.data = np.array([1, -2, 0.5, 0], "f"), np.array([0.1, 0.2, -0.3, 1], "f")
    return net.to(dtype=dtype).eval()


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_batch_norm_goes_into_the_filters(bias, relu):
    net = conv_and_norm(bias)
    last = [nn.ReLU()] * relu
    x = mv.randn(2, 3, 9, 8, dtype="float64").numpy()
    apart, expected = gradients(lambda x: F.relu(net[1](net[0](x))) if relu else net[1](net[0](x)), x, net)
    y, found = gradients(nn.Sequential(*net, *last), x, net)
    assert type(y.maker).__name__ == "Conv2dNorm" + "Relu" * relu
    for a, b in zip((y, *found), (apart, *expected)):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=0, atol=1e-13)
    linear = nn.Linear(y.size // 2, 1).to(dtype="float64")
    assert mv.gradgradcheck(nn.Sequential(*net, *last, nn.Flatten(), linear), mv.tensor(x, requires_grad=True))


def test_batch_norm_stays_apart_while_it_learns_or_is_watched():
    net, seen = conv_and_norm(True, "float32"), []
    x = mv.randn(2, 3, 9, 8)
    joined = net(x).numpy()
    for watched in net:
        with watched.register_forward_hook(lambda module, inputs, output: seen.append(output.numpy())):
            np.testing.assert_allclose(net(x).numpy(), joined, rtol=0, atol=1e-5)
    np.testing.assert_allclose(seen[0], net[0](x).numpy())
    before = net[1].running_mean.numpy().copy()
    y = net.train()(x).numpy()
    assert abs(y.mean((0, 2, 3)) - net[1].bias.numpy()).max() < 1e-5 and (net[1].running_mean.numpy() != before).all()
    net.eval()[1].weight = None
    assert np.isfinite(net(x).numpy()).all()


def test_conv2d_norm_says_what_is_wrong():
    x, w, numbers = mv.randn(1, 1, 4, 4), mv.randn(2, 1, 3, 3), [mv.ones(2) for _ in range(3)]
    with pytest.raises(ValueError, match=r"norm_bias has shape \(3,\), expected \(2,\), one for each filter"):
        F.conv2d_norm(x, w, None, *numbers, mv.ones(3))


@pytest.mark.parametrize("pool", [
    nn.MaxPool2d(2), nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True), nn.MaxPool2d(2, dilation=2)])
def test_a_pool_behind_relu_is_joined_too(pool):
    mv.manual_seed(0)
    conv = nn.Conv2d(3, 4, 3, padding=1)
    conv.bias.data = np.array([-2, 0, 0.3, -0.5], "f")           # so that all of some windows is negative
    x = mv.randn(2, 3, 7, 9).numpy()
    apart, expected = gradients(lambda x: pool(F.relu(conv(x))), x, conv)
    y, found = gradients(nn.Sequential(conv, nn.ReLU(), pool), x, conv)
    assert type(y.maker).__name__ == "Conv2dReluMaxPool" and (y.numpy() == 0).any() and (y.numpy() > 0).any()
    for a, b in zip((y, *found[:2]), (apart, *expected[:2])):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    np.testing.assert_allclose(found[2].numpy(), expected[2].numpy(), rtol=1e-5, atol=1e-5)
    net = nn.Sequential(conv, nn.ReLU(), pool, nn.Flatten(), nn.Linear(y.size // 2, 1)).to(dtype="float64")
    assert mv.gradgradcheck(net, mv.randn(2, 3, 7, 9, dtype="float64", requires_grad=True))


@pytest.mark.parametrize("watched", [0, 1, 2])
def test_who_watches_what_is_pooled_is_shown(watched):
    net, seen = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2)), []
    x = mv.randn(1, 1, 8, 8)
    quiet = net(x).numpy()
    with net[watched].register_forward_hook(lambda module, inputs, output: seen.append(output.numpy())):
        np.testing.assert_array_equal(net(x).numpy(), quiet)
    between = F.conv2d(x, net[0].weight, net[0].bias)
    np.testing.assert_array_equal(seen[0], [between, F.relu(between), mv.tensor(quiet)][watched].numpy())


def test_a_pool_that_says_where_is_not_joined():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2, return_indices=True))
    y, where = net(mv.randn(1, 1, 8, 8))
    assert y.shape == where.shape == (1, 2, 3, 3)
    with pytest.raises(TypeError, match="conv2d_relu_max_pool2d: bias is None"):
        F.conv2d_relu_max_pool2d(mv.randn(1, 1, 8, 8), net[0].weight, None, {"kernel_size": 2})
