"""Bad input: a specific exception that says what was got, what was expected, and what to change."""

import numpy as np
import pytest

import minivision as mv
from minivision import functional as F
from minivision import nn, optim

image = mv.zeros(2, 3, 5, 6)
filters = mv.zeros(4, 3, 3, 3)
scores = mv.zeros(2, 3)
labels = mv.tensor([0, 2])
whole = mv.tensor([[[[1, 2], [3, 4]]]])
weight = mv.zeros(2, requires_grad=True)
double = mv.zeros(4, 3, 3, 3, dtype="float64")

CASES = {
    # shapes
    "conv2d: image without batch axis": (lambda: F.conv2d(mv.zeros(3, 5, 6), filters),
                                         ValueError, ["(3, 5, 6)", "(N, C, H, W)", "unsqueeze"]),
    "conv2d: channels": (lambda: F.conv2d(mv.zeros(2, 4, 5, 6), filters),
                         ValueError, ["4 channels", "(4, 3, 3, 3)", "expected 3"]),
    "conv2d: groups and filters": (lambda: F.conv2d(mv.zeros(1, 6, 5, 5), mv.zeros(3, 3, 1, 1), groups=2),
                                   ValueError, ["groups=2", "divides"]),
    "conv2d: bias": (lambda: F.conv2d(image, filters, mv.zeros(3)), ValueError, ["bias", "(3,)", "(4,)"]),
    "conv2d: weight": (lambda: F.conv2d(image, mv.zeros(4, 3, 3)), ValueError, ["weight", "(4, 3, 3)", "KH, KW"]),
    "conv2d: kernel too large": (lambda: F.conv2d(image, mv.zeros(1, 3, 6, 2)),
                                 ValueError, ["(6, 2)", "(5, 6)", "more padding"]),
    "conv2d: dilated kernel too large": (lambda: F.conv2d(image, filters, dilation=3), ValueError, ["(7, 7)", "dilation"]),
    "conv_transpose2d: channels": (lambda: F.conv_transpose2d(image, filters), ValueError, ["3 channels", "expected 4"]),
    "conv_transpose2d: too much padding": (lambda: F.conv_transpose2d(image, mv.zeros(3, 1, 1, 1), padding=4),
                                           ValueError, ["less padding"]),
    "conv_transpose2d: output_padding": (lambda: F.conv_transpose2d(image, mv.zeros(3, 1, 2, 2), output_padding=1),
                                         ValueError, ["output_padding", "smaller than stride"]),
    "linear: input": (lambda: F.linear(mv.zeros(2, 3), mv.zeros(5, 4)), ValueError, ["(2, 3)", "to be 4", "flatten"]),
    "linear: weight": (lambda: F.linear(mv.zeros(2, 3), mv.zeros(3)), ValueError, ["(3,)", "out_features, in_features"]),
    "linear: bias": (lambda: F.linear(mv.zeros(2, 3), mv.zeros(5, 3), mv.zeros(3)), ValueError, ["(3,)", "(5,)"]),
    "matmul": (lambda: mv.zeros(2, 3) @ mv.zeros(2, 3), ValueError, ["(2, 3)", "last length"]),
    "matmul with a number": (lambda: mv.zeros(2, 3) @ 2.0, ValueError, ["use *"]),
    "add": (lambda: mv.zeros(2) + mv.zeros(3), ValueError, ["(2,)", "(3,)"]),
    "reshape": (lambda: mv.zeros(2, 3).reshape(4, 2), ValueError, ["6 elements", "(2, 3)", "(4, 2)"]),
    "reshape to halves": (lambda: mv.zeros(4).reshape(2.0, 2), TypeError, ["2.0", "whole numbers"]),
    "broadcast_to": (lambda: mv.zeros(2).broadcast_to(3), ValueError, ["(2,)", "(3,)", "equal or 1"]),
    "permute": (lambda: mv.zeros(2, 3).permute(0, 0), ValueError, ["(0, 0)", "exactly once"]),
    "cat": (lambda: mv.cat([mv.zeros(2, 3), mv.zeros(2, 4)]), ValueError, ["tensor 1", "(2, 4)", "(2, 3)"]),
    "cat of nothing": (lambda: mv.cat([]), ValueError, ["no tensors"]),
    "cat of numbers": (lambda: mv.cat([mv.tensor(1.0)]), (ValueError, IndexError), ["cat"]),
    "stack": (lambda: mv.stack([mv.zeros(2), mv.zeros(3)]), ValueError, ["tensor 1", "(3,)", "(2,)"]),
    "stack of nothing": (lambda: mv.stack([]), ValueError, ["no tensors"]),
    "flatten": (lambda: mv.zeros(2, 3).flatten(1, 0), ValueError, ["exchange"]),
    "compare": (lambda: mv.zeros(2) < mv.zeros(3), ValueError, ["(2,)", "(3,)"]),
    # dims
    "sum dim": (lambda: mv.zeros(2, 3).sum(2), IndexError, ["dim 2", "2 dimensions", "-2 .. 1"]),
    "sum dim twice": (lambda: mv.zeros(2, 3).sum((0, -2)), ValueError, ["more than once"]),
    "sum dim half": (lambda: mv.zeros(2, 3).sum(0.5), TypeError, ["0.5", "whole number"]),
    "softmax dim": (lambda: F.softmax(scores, -3), IndexError, ["-3", "-2 .. 1"]),
    "transpose dim": (lambda: scores.transpose(0, 2), IndexError, ["dim 2"]),
    "unsqueeze dim": (lambda: scores.unsqueeze(4), IndexError, ["dim 4"]),
    "cat dim": (lambda: mv.cat([scores], 2), IndexError, ["dim 2"]),
    "flip dim": (lambda: scores.flip(3), IndexError, ["dim 3"]),
    "index": (lambda: scores[5], IndexError, ["(2, 3)", "5"]),
    "too many indices": (lambda: scores[0, 0, 0], IndexError, ["(2, 3)"]),
    "index of a float": (lambda: scores[1.0], IndexError, ["1.0", "float"]),
    "index of a float array": (lambda: scores[np.zeros(2)], IndexError, ["float64", "whole numbers"]),
    "index of a text": (lambda: scores["a"], IndexError, ["'a'", "str"]),
    "mask of another shape": (lambda: scores[mv.tensor([True, False, True])], IndexError, ["(2, 3)"]),
    # dtypes
    "conv2d of integers": (lambda: F.conv2d(whole, mv.zeros(1, 1, 1, 1)), TypeError, ["int64", "float32", ".to(dtype="]),
    "conv2d of two dtypes": (lambda: F.conv2d(image, double), TypeError, ["float32", "float64", ".to(dtype="]),
    "linear of two dtypes": (lambda: F.linear(mv.zeros(1, 2), mv.zeros(1, 2, dtype="float64")),
                             TypeError, ["float32", "float64"]),
    "max_pool2d of integers": (lambda: F.max_pool2d(whole, 2), TypeError, ["int64", "float32"]),
    "mean of integers": (lambda: mv.tensor([1, 2]).mean(), TypeError, ["int64", "float32"]),
    "dropout of integers": (lambda: F.dropout(mv.tensor([1])), TypeError, ["int64"]),
    "cross_entropy of integers": (lambda: F.cross_entropy(mv.tensor([[1, 2]]), mv.tensor([0])), TypeError, ["int64"]),
    "where with numbers as condition": (lambda: mv.where(mv.ones(2), 1.0, 2.0), TypeError, ["float32", "bool", "x > 0"]),
    "text": (lambda: mv.tensor([1.0]) + "1", TypeError, ["str", "expected a Tensor"]),
    "None": (lambda: mv.exp(None), TypeError, ["NoneType"]),
    "conv2d of a text": (lambda: F.conv2d("image", filters), TypeError, ["str", "Tensor"]),
    "ragged lists": (lambda: mv.tensor([[1.0], [1.0, 2.0]]), ValueError, []),
    # geometry
    "conv2d: padding": (lambda: F.conv2d(image, filters, padding=-1), ValueError, ["padding", "-1", "at least 0"]),
    "conv2d: stride": (lambda: F.conv2d(image, filters, stride=0), ValueError, ["stride", "0", "at least 1"]),
    "conv2d: dilation": (lambda: F.conv2d(image, filters, dilation=(1, 0)), ValueError, ["dilation", "(1, 0)"]),
    "conv2d: groups": (lambda: F.conv2d(image, filters, groups=0), ValueError, ["groups=0"]),
    "conv2d: half a stride": (lambda: F.conv2d(image, filters, stride=1.5), TypeError, ["1.5", "whole number"]),
    "conv2d: three strides": (lambda: F.conv2d(image, filters, stride=(1, 1, 1)), TypeError, ["(1, 1, 1)", "pair"]),
    "conv2d: padding by name": (lambda: F.conv2d(image, filters, padding="full"), ValueError, ["'full'", "'same'", "'valid'"]),
    "conv2d: same with stride": (lambda: F.conv2d(image, filters, padding="same", stride=2),
                                 ValueError, ["stride 1", "(2, 2)"]),
    "max_pool2d: window too large": (lambda: F.max_pool2d(image, 7), ValueError, ["(7, 7)", "(5, 6)", "smaller kernel_size"]),
    "max_pool2d: padding": (lambda: F.max_pool2d(image, 2, padding=2), ValueError, ["(2, 2)", "half"]),
    "max_pool2d: kernel": (lambda: F.max_pool2d(image, 0), ValueError, ["kernel_size", "0"]),
    "max_pool2d: stride": (lambda: F.max_pool2d(image, 2, stride=0), ValueError, ["stride"]),
    "avg_pool2d: divisor": (lambda: F.avg_pool2d(image, 2, divisor_override=0), ValueError, ["divisor_override=0"]),
    "adaptive_avg_pool2d: size": (lambda: F.adaptive_avg_pool2d(image, 0), ValueError, ["output_size", "0"]),
    "adaptive_avg_pool2d: three sizes": (lambda: F.adaptive_avg_pool2d(image, (1, 2, 3)), (ValueError,
                                         TypeError), ["(1, 2, 3)"]),
    "adaptive_avg_pool2d: no pixels": (lambda: F.adaptive_avg_pool2d(mv.zeros(1, 1, 0, 2), 1), ValueError, ["(1, 1, 0, 2)"]),
    "pad: negative": (lambda: F.pad(image, (-1, 0)), ValueError, ["(-1, 0)", "slices"]),
    "pad: odd": (lambda: F.pad(image, (1, 0, 1)), ValueError, ["3 widths", "even"]),
    "pad: reflect too far": (lambda: F.pad(image, (6, 0), "reflect"), ValueError, ["reflect", "6 elements"]),
    "pad: mode": (lambda: F.pad(image, (1, 1), "mirror"), ValueError, ["'mirror'", "'reflect'"]),
    "interpolate: mode": (lambda: F.interpolate(image, 4, mode="cubic"), ValueError, ["'cubic'", "'bilinear'"]),
    "interpolate: neither": (lambda: F.interpolate(image), ValueError, ["size or scale_factor"]),
    "interpolate: both": (lambda: F.interpolate(image, 4, 2.0), ValueError, ["not both"]),
    "interpolate: size": (lambda: F.interpolate(image, 0), ValueError, ["size", "0"]),
    "interpolate: to nothing": (lambda: F.interpolate(image, scale_factor=0.1), ValueError, ["0 x 0", "at least one"]),
    "interpolate: scale": (lambda: F.interpolate(image, scale_factor=-1), ValueError, ["-1", "> 0"]),
    "interpolate: corners": (lambda: F.interpolate(image, 4, align_corners=True), ValueError, ["nearest", "leave it out"]),
    # losses
    "labels that are no whole numbers": (lambda: F.cross_entropy(scores, mv.zeros(2)), TypeError, ["float32", "whole"]),
    "label too large": (lambda: F.cross_entropy(scores, mv.tensor([0, 3])), IndexError, ["label 3", "0 .. 2", "3 classes"]),
    "label negative": (lambda: F.cross_entropy(scores, mv.tensor([-1, 0])), IndexError, ["label -1", "0 .. 2"]),
    "labels of another length": (lambda: F.cross_entropy(scores, mv.tensor([0])), ValueError, ["(1,)", "(2,)"]),
    "labels as columns": (lambda: F.nll_loss(scores, mv.tensor([[0], [1]])), ValueError, ["(2, 1)", "(2,)"]),
    "scores without classes": (lambda: F.cross_entropy(mv.zeros(3), labels), ValueError, ["(3,)", "(N, C)"]),
    "class weights": (lambda: F.cross_entropy(scores, labels, mv.ones(2)), ValueError, ["(2,)", "(3,)", "each class"]),
    "smoothing": (lambda: F.cross_entropy(scores, labels, label_smoothing=2.0), ValueError, ["2.0", "0 .. 1"]),
    "reduction": (lambda: F.cross_entropy(scores, labels, reduction="average"),
                  ValueError, ["'average'", "'mean', 'sum', 'none'"]),
    "mse_loss: reduction": (lambda: F.mse_loss(scores, scores, "avg"), ValueError, ["'avg'", "'mean'"]),
    "mse_loss: shapes": (lambda: F.mse_loss(mv.zeros(2, 1), mv.zeros(2)), ValueError, ["(2, 1)", "(2,)", "same shape"]),
    "l1_loss: shapes": (lambda: F.l1_loss(scores, mv.zeros(3)), ValueError, ["same shape"]),
    "bce: shapes": (lambda: F.binary_cross_entropy_with_logits(mv.zeros(2, 1), mv.zeros(2)), ValueError, ["same shape"]),
    "one_hot: classes": (lambda: F.one_hot(mv.tensor([3]), 3), IndexError, ["label 3", "0 .. 2"]),
    "one_hot: floats": (lambda: F.one_hot(mv.zeros(2)), TypeError, ["float32"]),
    "one_hot of nothing": (lambda: F.one_hot(mv.zeros(0, dtype="int64")), ValueError, ["num_classes"]),
    "cross_entropy of nothing": (lambda: F.cross_entropy(mv.zeros(0, 3), mv.zeros(0, dtype="int64")),
                                 ValueError, ["cross_entropy: the batch is empty", "reduction='sum'"]),
    "soft cross_entropy of nothing": (lambda: F.cross_entropy(mv.zeros(0, 3), mv.zeros(0, 3)),
                                      ValueError, ["cross_entropy: the batch is empty"]),
    "nll_loss of nothing": (lambda: F.nll_loss(mv.zeros(0, 3), mv.zeros(0, dtype="int64")),
                            ValueError, ["nll_loss: the batch is empty"]),
    "mse_loss of nothing": (lambda: F.mse_loss(mv.zeros(0, 3), mv.zeros(0, 3)), ValueError, ["mse_loss: the batch is empty"]),
    "l1_loss of nothing": (lambda: F.l1_loss(mv.zeros(0), mv.zeros(0)), ValueError, ["l1_loss: the batch is empty"]),
    "bce of nothing": (lambda: F.binary_cross_entropy_with_logits(mv.zeros(0, 1), mv.zeros(0, 1)),
                       ValueError, ["logits: the batch is empty"]),
    # normalisation and dropout
    "batch_norm: one value": (lambda: F.batch_norm(mv.zeros(1, 3), None, None, training=True),
                              ValueError, ["(1, 3)", "at least 2", "larger batch"]),
    "batch_norm: no averages": (lambda: F.batch_norm(image, None, None), ValueError, ["running_mean", "training is False"]),
    "batch_norm: weight": (lambda: F.batch_norm(image, None, None, mv.ones(2), training=True),
                           ValueError, ["weight", "(2,)", "(3,)"]),
    "batch_norm: vector": (lambda: F.batch_norm(mv.zeros(3), None, None, training=True), ValueError, ["(3,)", "(N, C)"]),
    "instance_norm: one pixel": (lambda: F.instance_norm(mv.zeros(2, 3, 1, 1)), ValueError, ["1 pixel", "at least 2"]),
    "instance_norm: no pixels": (lambda: F.instance_norm(mv.zeros(2, 3)), ValueError, ["(2, 3)", "(N, C, L)"]),
    "dropout: probability": (lambda: F.dropout(image, 1.5), ValueError, ["p=1.5", "0 .. 1"]),
    "dropout: a text": (lambda: F.dropout(image, "a"), TypeError, ["p='a'", "a number"]),
    "running averages in a list": (lambda: F.batch_norm(image, [0.0] * 3, [1.0] * 3), TypeError, ["running_mean", "list"]),
    "running averages as float64": (lambda: F.batch_norm(image, np.zeros(3), np.ones(3)), TypeError, ["float64", "float32"]),
    "pad: one number": (lambda: F.pad(image, 1), TypeError, ["got 1", "(left, right, top, bottom, ...)"]),
    "equal to a text": (lambda: scores == "a", TypeError, ["equal", "(2, 3) and str", "numbers"]),
    "less than a text": (lambda: scores < "a", TypeError, ["less", "str"]),
    "label_smoothing: a text": (lambda: F.cross_entropy(scores, labels, label_smoothing="a"), TypeError,
                                ["label_smoothing='a'"]),
    "clip without limits": (lambda: mv.clip(scores), ValueError, ["min and max"]),
    # reductions over nothing
    "max of nothing": (lambda: mv.zeros(0).max(), ValueError, ["(0,)", "no elements"]),
    "argmax of an empty axis": (lambda: mv.zeros(2, 0).argmax(1), ValueError, ["(2, 0)"]),
    # creation and devices
    "unknown device": (lambda: mv.zeros(2).to("tpu"), ValueError, ["'tpu'", "'cpu'", "'cuda'"]),
    "device at creation": (lambda: mv.zeros(2, device="gpu"), ValueError, ["'gpu'", "'cuda:<number>'"]),
    "device as a number": (lambda: mv.zeros(2, device=3), TypeError, ["device 3", "'cuda:<number>'"]),
    "to a number": (lambda: mv.zeros(2).to(3), TypeError, ["3 is neither a device"]),
    "to an unknown dtype": (lambda: mv.zeros(2).to(dtype="float31"), TypeError, ["'float31'", "float32"]),
    "to two dtypes": (lambda: mv.zeros(2).to("float64", "float32"), TypeError, ["two dtypes"]),
    # layers
    "module to int64": (lambda: nn.Linear(1, 1).to("int64"), TypeError, ["int64", "float32 or float64"]),
    "module to float16": (lambda: nn.Linear(1, 1).to(dtype="float16"), TypeError, ["float16", "float32 or float64"]),
    "module to a number": (lambda: nn.Linear(1, 1).to(3), TypeError, ["3 is neither"]),
    "BatchNorm2d: momentum": (lambda: nn.BatchNorm2d(2, momentum=None), ValueError, ["BatchNorm2d", "momentum=None", "0.1"]),
    "InstanceNorm2d: momentum": (lambda: nn.InstanceNorm2d(2, momentum=None), ValueError, ["InstanceNorm2d", "momentum=None"]),
    "BatchNorm2d: momentum as text": (lambda: nn.BatchNorm2d(2, momentum="0.1"), TypeError, ["momentum='0.1'"]),
    "Dropout of a text": (lambda: nn.Dropout("a"), TypeError, ["Dropout", "p='a'"]),
    "ReLU with a slope": (lambda: nn.ReLU(slope=1), TypeError, ["slope"]),
    "Sigmoid with options": (lambda: nn.Sigmoid(dim=1), TypeError, ["dim"]),
    "Tanh with options": (lambda: nn.Tanh(1), TypeError, ["argument"]),
    "Tensor over a Parameter": (lambda: setattr(nn.Linear(1, 1), "weight", mv.zeros(1, 1)),
                                TypeError, ["Linear.weight", "Tensor", "nn.Parameter"]),
    "Linear: sizes": (lambda: nn.Linear(0, 3), ValueError, ["in_features=0", ">= 1"]),
    "Linear: half": (lambda: nn.Linear(1.5, 3), ValueError, ["in_features=1.5"]),
    "Conv2d: groups": (lambda: nn.Conv2d(3, 4, 3, groups=2), ValueError, ["groups=2", "in_channels=3"]),
    "Conv2d: kernel": (lambda: nn.Conv2d(3, 4, 0), ValueError, ["kernel_size", "0"]),
    "ConvTranspose2d: groups": (lambda: nn.ConvTranspose2d(4, 3, 3, groups=2), ValueError, ["out_channels=3"]),
    "Dropout": (lambda: nn.Dropout(-0.1), ValueError, ["p=-0.1"]),
    "Sequential of a function": (lambda: nn.Sequential(mv.relu), TypeError, ["function", "Module"]),
    "module without forward": (lambda: nn.Module()(1), NotImplementedError, ["Module needs a forward"]),
    "unknown attribute": (lambda: nn.ReLU().weight, AttributeError, ["ReLU", "weight"]),
    "BatchNorm2d of vectors": (lambda: nn.BatchNorm2d(3)(mv.zeros(2, 3)), ValueError, ["(2, 3)", "(N, C, H, W)"]),
    "BatchNorm2d channels": (lambda: nn.BatchNorm2d(2)(image), ValueError, ["(2,)", "(3,)"]),
    "LeNet5 size": (lambda: mv.models.LeNet5(image_size=8), ValueError, ["image_size=8", "SmallCNN"]),
    # optimisers
    "SGD without parameters": (lambda: optim.SGD([], lr=0.1), ValueError, ["no parameters", "model.parameters()"]),
    "SGD of used-up parameters": (lambda: optim.SGD(iter(()), lr=0.1), ValueError, ["afresh"]),
    "SGD of arrays": (lambda: optim.SGD([np.zeros(2)], lr=0.1), TypeError, ["parameter 0", "requires_grad=True"]),
    "SGD of constants": (lambda: optim.SGD([mv.zeros(2)], lr=0.1), ValueError, ["parameter 0", "requires_grad=True"]),
    "SGD of computed tensors": (lambda: optim.SGD([weight * 2], lr=0.1), ValueError, ["parameter 0", "computed", "leaves"]),
    "SGD of one Tensor": (lambda: optim.SGD(weight, lr=0.1), TypeError, ["[tensor]"]),
    "SGD of one parameter twice": (lambda: optim.SGD([weight, weight], lr=1), ValueError, ["twice", "each once"]),
    "SGD: lr": (lambda: optim.SGD([mv.zeros(2, requires_grad=True)], lr=-1), ValueError, ["lr=-1", ">= 0"]),
    "SGD: lr nan": (lambda: optim.SGD([mv.zeros(2, requires_grad=True)], lr=float("nan")), ValueError, ["lr=nan"]),
    "SGD: momentum": (lambda: optim.SGD([mv.zeros(2, requires_grad=True)], lr=1, momentum=-1), ValueError, ["momentum=-1"]),
    "SGD: nesterov": (lambda: optim.SGD([mv.zeros(2, requires_grad=True)], lr=1, nesterov=True),
                      ValueError, ["nesterov", "momentum > 0"]),
    "Adam: betas": (lambda: optim.Adam([mv.zeros(2, requires_grad=True)], betas=(0.9, 1.0)), ValueError, ["betas", "0 .. 1"]),
    "StepLR of a model": (lambda: optim.lr_scheduler.StepLR(nn.ReLU(), 1), TypeError, ["Optimizer", "ReLU"]),
    "StepLR: size": (lambda: optim.lr_scheduler.StepLR(optim.SGD([mv.zeros(2, requires_grad=True)], lr=1), 0),
                     ValueError, ["step_size=0"]),
    "CosineAnnealingLR: length":
        (lambda: optim.lr_scheduler.CosineAnnealingLR(optim.SGD([mv.zeros(2, requires_grad=True)], lr=1), 0),
         ValueError, ["T_max=0"]),
}


@pytest.mark.parametrize("name", CASES)
def test_error(name):
    call, kind, parts = CASES[name]
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) not in (Exception, AssertionError, RuntimeError)
    for part in parts:
        assert part in str(caught.value), f"{part!r} is not in: {caught.value}"
    assert "np.int64" not in str(caught.value) and "np.float" not in str(caught.value)


def test_errors_in_creation_name_the_missing_gpu():
    if mv.device.why_no_gpu() is None:
        pytest.skip("there is a GPU")
    with pytest.raises(mv.DeviceError, match="cuda"):
        mv.zeros(2, device="cuda")


@pytest.mark.parametrize("op", [
    lambda x: F.conv2d(x, mv.ones(2, 3, 3, 3, requires_grad=True), mv.ones(2)), lambda x: F.max_pool2d(x, 2), mv.relu,
    lambda x: F.avg_pool2d(x, 2), lambda x: F.adaptive_avg_pool2d(x, 1), lambda x: F.linear(x.flatten(1), mv.ones(2, 90)),
    lambda x: F.conv_transpose2d(x, mv.ones(3, 2, 3, 3)), lambda x: F.softmax(x, 1), lambda x: F.interpolate(x, 7),
    lambda x: F.pad(x, (1, 1, 1, 1)), lambda x: F.dropout(x), lambda x: F.instance_norm(x), lambda x: x.sum((1, 2, 3)),
    lambda x: x.max(1).values, lambda x: F.batch_norm(x, mv.zeros(3), mv.ones(3)),
])
def test_empty_batches_work_where_they_mean_something(op):
    x = mv.zeros(0, 3, 5, 6, requires_grad=True)
    y = op(x)
    assert y.shape[0] == 0
    y.sum().backward()
    assert x.grad.shape == x.shape


def test_numpy_functions_are_not_likened_to_our_files():
    with pytest.raises(TypeError) as caught:
        np.linalg.norm(scores)
    assert "mv.norm" not in str(caught.value) and "mv's operations" in str(caught.value)
    with pytest.raises(TypeError, match=r"use mv\.clip"):
        np.clip(scores, 0, 1)
