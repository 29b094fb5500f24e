"""Layers: each calls its function with its options; normalisation and dropout know their mode; initial weights."""

import math

import numpy as np
import pytest
from oracle import assert_close, normal

import minivision as mv
from minivision import functional as F
from minivision import nn

x = mv.Tensor(normal(0, 2, 4, 6, 6, dtype="float32"))


@pytest.mark.parametrize("layer, function", [
    (nn.ReLU(), F.relu), (nn.LeakyReLU(0.2), lambda x: F.leaky_relu(x, 0.2)), (nn.Sigmoid(), F.sigmoid), (nn.Tanh(), F.tanh),
    (nn.LeakyReLU(), lambda x: F.leaky_relu(x, 0.01)), (nn.ReLU(inplace=True), F.relu),
    (nn.LeakyReLU(0.2, inplace=True), lambda x: F.leaky_relu(x, 0.2)), (nn.Dropout(0.0, inplace=True), lambda x: x),
    (nn.MaxPool2d(3, 2, 1), lambda x: F.max_pool2d(x, 3, 2, 1)), (nn.MaxPool2d(2), lambda x: F.max_pool2d(x, 2, 2)),
    (nn.MaxPool2d(2, ceil_mode=True, dilation=2), lambda x: F.max_pool2d(x, 2, dilation=2, ceil_mode=True)),
    (nn.AvgPool2d(3, 2, 1, count_include_pad=False), lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)),
    (nn.AdaptiveAvgPool2d((1, 2)), lambda x: F.adaptive_avg_pool2d(x, (1, 2))),
    (nn.Flatten(), lambda x: x.reshape(2, -1)), (nn.Flatten(2), lambda x: x.reshape(2, 4, 36)),
    (nn.Upsample(scale_factor=2), lambda x: F.interpolate(x, scale_factor=2)),
    (nn.Upsample((3, 5), mode="bilinear"), lambda x: F.interpolate(x, (3, 5), mode="bilinear")),
    (nn.InstanceNorm2d(4), lambda x: F.instance_norm(x)),
])
def test_layers_without_weights(layer, function):
    assert np.array_equal(layer(x).numpy(), function(x).numpy())


def test_layers_with_weights():
    conv = nn.Conv2d(4, 6, 3, 2, 1, 1, 2)
    assert np.array_equal(conv(x).numpy(), F.conv2d(x, conv.weight, conv.bias, 2, 1, 1, 2).numpy())
    conv = nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, 2)
    assert np.array_equal(conv(x).numpy(), F.conv_transpose2d(x, conv.weight, conv.bias, 2, 1, 1, 2).numpy())
    linear = nn.Linear(6, 3)
    assert np.array_equal(linear(x).numpy(), F.linear(x, linear.weight, linear.bias).numpy())


@pytest.mark.parametrize("layer, fan_in", [
    (lambda: nn.Linear(50, 200), 50), (lambda: nn.Conv2d(8, 64, 5), 200), (lambda: nn.Conv2d(8, 64, 5, groups=4), 50),
    (lambda: nn.ConvTranspose2d(64, 8, 5), 200),
])
def test_initial_weights_are_uniform_within_one_over_root_fan_in(layer, fan_in):
    mv.manual_seed(0)
    made = layer()
    bound = 1 / math.sqrt(fan_in)
    for p in (made.weight.numpy(), made.bias.numpy()):
        assert p.dtype == np.float32 and np.abs(p).max() <= bound
    assert np.abs(made.weight.numpy()).max() > 0.99 * bound
    assert abs(made.weight.numpy().std() - bound / math.sqrt(3)) < 0.05 * bound
    mv.manual_seed(0)
    assert np.array_equal(layer().weight.numpy(), made.weight.numpy())


def test_batch_norm_running_statistics():
    layer = nn.BatchNorm2d(4, momentum=0.25)
    layer(x)
    assert layer.num_batches_tracked.item() == 1
    assert_close(layer.running_mean, 0.25 * x.numpy().mean((0, 2, 3)))
    assert_close(layer.running_var, 0.75 + 0.25 * x.numpy().var((0, 2, 3), ddof=1))
    frozen = {k: v.tolist() for k, v in layer.state_dict().items()}
    layer.eval()
    y = layer(x)
    assert {k: v.tolist() for k, v in layer.state_dict().items()} == frozen
    column = (1, 4, 1, 1)
    assert_close(y, (x.numpy() - layer.running_mean.numpy().reshape(column))
                 / np.sqrt(layer.running_var.numpy().reshape(column) + 1e-5))


def test_batch_norm_without_averages_uses_the_batch_in_every_mode():
    layer = nn.BatchNorm2d(4, track_running_stats=False)
    assert np.array_equal(layer(x).numpy(), layer.eval()(x).numpy())


def test_a_refused_batch_leaves_the_averages_alone():
    layer = nn.BatchNorm2d(4)
    with pytest.raises(ValueError, match="at least 2"):
        layer(mv.zeros(1, 4, 1, 1))
    assert layer.num_batches_tracked.item() == 0 and not layer.running_mean.numpy().any()


def test_instance_norm_with_averages():
    layer = nn.InstanceNorm2d(4, track_running_stats=True)
    layer(x)
    assert_close(layer.running_mean, 0.1 * x.numpy().mean((2, 3)).mean(0))
    before = layer.running_mean.tolist()
    layer.eval()(x)
    assert layer.running_mean.tolist() == before


def test_dropout_layer():
    mv.manual_seed(3)
    layer = nn.Dropout(0.25)
    ones = mv.ones(10_000)
    y = layer(ones).numpy()
    assert 0.22 < (y == 0).mean() < 0.28 and np.allclose(y[y > 0], 4 / 3)
    assert layer.eval()(ones) is ones


def test_losses():
    scores, labels = mv.Tensor(normal(0, 3, 4, dtype="float32")), mv.tensor([0, 3, 1])
    assert nn.CrossEntropyLoss()(scores, labels).item() == F.cross_entropy(scores, labels).item()
    assert nn.CrossEntropyLoss(label_smoothing=0.1, reduction="sum")(scores, labels).item() == \
        F.cross_entropy(scores, labels, label_smoothing=0.1, reduction="sum").item()
    target = mv.Tensor(normal(1, 3, 4, dtype="float32"))
    assert nn.MSELoss("sum")(scores, target).item() == F.mse_loss(scores, target, "sum").item()
    assert nn.BCEWithLogitsLoss()(scores, mv.sigmoid(target)).item() == \
        F.binary_cross_entropy_with_logits(scores, mv.sigmoid(target)).item()


@pytest.mark.parametrize("make, size, parameters", [
    (lambda: mv.models.LeNet5(), 28, 61_706), (lambda: mv.models.LeNet5(channels=3, image_size=32), 32, 61_706 + 2 * 150),
    (lambda: mv.models.SmallCNN(image_size=8), 8, None), (lambda: mv.models.SmallCNN(), 28, None),
    (lambda: mv.models.MLP(), 28, 784 * 128 + 128 + 1290), (lambda: mv.models.Linear(), 28, 7850),
])
def test_models(make, size, parameters):
    model = make()
    count = sum(p.size for p in model.parameters())
    assert parameters is None or count == parameters
    channels = 3 if size == 32 else 1
    y = model(mv.zeros(2, channels, size, size))
    assert y.shape == (2, 10)
    y.sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    names = model.layers()
    assert len(names) == len(set(names)) and all(dict(model.named_modules())[n] for n in names)


def test_max_pool_gives_the_places_too():
    values, places = nn.MaxPool2d(2, None, 0, 1, True)(x)
    assert np.array_equal(values.numpy(), F.max_pool2d(x, 2).numpy())
    assert np.array_equal(places.numpy(), F.max_pool2d(x, 2, return_indices=True)[1].numpy())
