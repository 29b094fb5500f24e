"""What ``import minivision`` brings along, and what it does not."""

import subprocess
import sys

import pytest

HEAVY = ["numba", "cupy", "matplotlib", "PIL", "torch", "scipy", "safetensors", "tqdm"]


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_import_brings_nothing_heavy():
    out = run(f"import minivision, sys; print([m for m in {HEAVY} if m in sys.modules])")
    assert out.strip() == "[]"


def test_arithmetic_needs_nothing_heavy():
    out = run("import minivision as mv, sys; x = mv.ones(3, requires_grad=True); (x * x).sum().backward();"
              f"print([m for m in {HEAVY} if m in sys.modules])")
    assert out.strip() == "[]"


@pytest.mark.parametrize("module", ["tensor", "autograd", "functional", "ops.conv", "nn", "checkpoint", "optim"])
def test_every_module_can_be_imported_first(module):
    """The engine's modules refer to each other; no order of imports may fail."""
    run(f"import minivision.{module}")


def test_every_public_name_is_there():
    import minivision as mv

    for name in ["tensor", "Tensor", "zeros", "ones", "full", "arange", "randn", "rand", "zeros_like", "ones_like",
                 "manual_seed", "exp", "log", "sqrt", "abs", "tanh", "sigmoid", "relu", "sin", "cos", "clip", "maximum",
                 "minimum", "where", "sum", "mean", "var", "max", "min", "argmax", "argmin", "logsumexp", "reshape", "view",
                 "flatten", "transpose", "permute", "squeeze", "unsqueeze", "broadcast_to", "cat", "stack", "pad", "flip",
                 "matmul", "no_grad", "grad", "Function", "save", "load"]:
        assert callable(getattr(mv, name)), name
    for name in ["linear", "conv2d", "conv_transpose2d", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "relu",
                 "leaky_relu", "sigmoid", "tanh", "softmax", "log_softmax", "nll_loss", "cross_entropy", "mse_loss",
                 "l1_loss", "binary_cross_entropy_with_logits", "batch_norm", "instance_norm", "dropout", "pad",
                 "interpolate", "one_hot"]:
        assert callable(getattr(mv.functional, name)), name
    for name in ["Module", "Parameter", "Sequential", "Linear", "Conv2d", "ConvTranspose2d", "ReLU", "LeakyReLU", "Sigmoid",
                 "Tanh", "MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d", "BatchNorm2d", "InstanceNorm2d", "Dropout", "Flatten",
                 "Upsample", "CrossEntropyLoss", "MSELoss", "BCEWithLogitsLoss"]:
        assert callable(getattr(mv.nn, name)), name
    for name in ["exp", "log", "sqrt", "abs", "tanh", "sigmoid", "relu", "sin", "cos", "clip", "maximum", "minimum", "where",
                 "sum", "mean", "var", "max", "min", "argmax", "argmin", "logsumexp", "reshape", "view", "flatten",
                 "transpose", "permute", "squeeze", "unsqueeze", "broadcast_to", "pad", "flip", "matmul", "backward", "numpy",
                 "item", "detach", "to"]:
        assert callable(getattr(mv.Tensor, name)), name
