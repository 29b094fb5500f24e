"""The contestants of a problem: minivision's choice, its rungs, and the same work by PyTorch, ONNX Runtime and NumPy.

Each gets its arrays in the layout it likes before the clock starts; what it allocates for its result is its own affair and
is timed. PyTorch takes part twice where layouts differ, in its default (NCHW) and as channels_last; ONNX Runtime knows
forward passes only, and is told the weights beforehand, so that it can pack them once.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from minivision_kernels import Rung, ladder, run

from . import vision
from .problems import call_of, numpy_rung, output, own
from .suites import Problem

OURS = "minivision"
TORCH = ("pytorch", "pytorch channels_last", "pytorch fused")       # the best of them counts
PEERS = (*TORCH, "onnxruntime", "numpy", *vision.PACKAGES)
NEEDED = {"pytorch": ("torch",), "onnxruntime": ("onnxruntime", "onnx")}


class Contestant(NamedTuple):
    """Someone who does the work of a problem."""

    name: str
    call: Callable[[], Any]
    result: Callable[[Any], np.ndarray]         # from what ``call`` returned, the array to compare


def missing() -> list[str]:
    """The peers that cannot take part, with what is not installed."""
    absent = {peer: [name for name in names if importlib.util.find_spec(name) is None] for peer, names in NEEDED.items()}
    return [f"{peer} takes no part: {' and '.join(names)} not installed" for peer, names in absent.items() if names]


def available(peer: str) -> bool:
    return all(importlib.util.find_spec(name) is not None for name in NEEDED[peer])


def ours(problem: Problem, given: dict[str, Any], rung: Rung | None = None) -> Contestant:
    """minivision as it chooses itself, or one of its rungs."""
    mine = own(problem.op, given)
    arrays, options = call_of(problem, mine)
    function = partial(run, problem.op) if rung is None else rung.function
    return Contestant(OURS if rung is None else f"{OURS} {rung.name}", partial(function, *arrays, **options),
                      lambda result: output(problem.op, result, mine))


def usable_rungs(problem: Problem, given: dict[str, Any]) -> list[Rung]:
    """The rungs that can solve the problem on the CPU, slowest first."""
    arrays, options = call_of(problem, given)
    return [rung for rung in ladder(problem.op)
            if rung.device == "cpu" and (rung.accepts is None or rung.accepts(*arrays, **options))]


def peers(problem: Problem, given: dict[str, Any], threads: int) -> Iterator[Contestant]:
    """Whoever is installed and knows the operation."""
    if problem.peers is not None:
        for name, call in problem.peers.items():
            if vision.available(name):
                yield Contestant(name, call(given["x"], threads), partial(_with_axes, given["x"].ndim))
        yield ours(problem, given, numpy_rung(problem.op))._replace(name="numpy")
        return
    if available("pytorch"):
        yield from _torch(problem, given, threads)
    if available("onnxruntime"):
        yield from _onnxruntime(problem, given, threads)
    if not problem.op.startswith("conv2d"):                 # NumPy has no convolution; our rung of that name is no peer
        yield ours(problem, given, numpy_rung(problem.op))._replace(name="numpy")


def _with_axes(ndim: int, result: Any) -> np.ndarray:
    """Pillow and OpenCV have no axis for the channel of a grey picture."""
    array = np.asarray(result)
    return array if array.ndim == ndim else array[..., None]


# ------------------------------------------------------------------------------------------------------------- PyTorch

def _torch(problem: Problem, given: dict[str, Any], threads: int) -> Iterator[Contestant]:
    import torch

    torch.set_num_threads(threads)
    layouts = any(family in problem.op for family in ("conv2d", "pool2d", "batch_norm"))
    for name in TORCH[:2] if layouts else TORCH[::2] if problem.op.endswith("_update") else TORCH[:1]:
        yield _one_torch(torch, name, problem, given)


def _one_torch(torch: Any, name: str, problem: Problem, given: dict[str, Any]) -> Contestant:
    tensors = {key: torch.from_numpy(value) for key, value in own(problem.op, given).items() if isinstance(value, np.ndarray)}
    if "index" in tensors:
        tensors["index"] = tensors["index"].long()
    if name == "pytorch channels_last":
        tensors = {key: value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value
                   for key, value in tensors.items()}
    options = {key: value for key, value in given.items() if not isinstance(value, np.ndarray)}
    call = TORCH_CALLS[problem.op](torch, **tensors, **options, fused=name == "pytorch fused")

    def result(returned: Any) -> np.ndarray:
        tensor: Any = output(problem.op, returned, tensors)
        return tensor.detach().numpy()

    return Contestant(name, call, result)


def _torch_conv_forward(torch, x, w, stride, padding, dilation, groups, **_):
    return lambda: torch.nn.functional.conv2d(x, w, None, stride, padding, dilation, groups)


def _torch_conv_input(torch, g, w, shape, stride, padding, dilation, groups, **_):
    x = torch.empty(shape).contiguous(memory_format=_format(torch, g))
    return lambda: torch.ops.aten.convolution_backward(
        g, x, w, None, stride, padding, dilation, False, (0, 0), groups, (True, False, False))[0]


def _torch_conv_weight(torch, x, g, shape, stride, padding, dilation, groups, **_):
    w = torch.empty(shape).contiguous(memory_format=_format(torch, g))
    return lambda: torch.ops.aten.convolution_backward(
        g, x, w, None, stride, padding, dilation, False, (0, 0), groups, (False, True, False))[1]


def _format(torch, like):
    return torch.contiguous_format if like.is_contiguous() else torch.channels_last


def _torch_max_pool_forward(torch, x, kernel_size, stride, padding, dilation, ceil_mode, **_):
    return lambda: torch.ops.aten.max_pool2d_with_indices(x, kernel_size, stride, padding, dilation, ceil_mode)


def _torch_max_pool_backward(torch, g, index, shape, kernel_size, stride, padding, dilation, **_):
    x = torch.empty(shape).contiguous(memory_format=_format(torch, g))
    return lambda: torch.ops.aten.max_pool2d_with_indices_backward(
        g, x, kernel_size, stride, padding, dilation, False, index)


def _torch_avg_pool_forward(torch, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor, **_):
    return lambda: torch.ops.aten.avg_pool2d(x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor)


def _torch_avg_pool_backward(torch, g, shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor, **_):
    x = torch.empty(shape).contiguous(memory_format=_format(torch, g))
    return lambda: torch.ops.aten.avg_pool2d_backward(g, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor)


def _torch_cross_entropy_backward(torch, logits, labels, g, **_):
    logits.requires_grad_()
    losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    return lambda: torch.autograd.grad(losses, logits, g, retain_graph=True)[0]


def _torch_relu_bias_backward(torch, g, y, **_):
    def call():
        passed = torch.ops.aten.threshold_backward(g, y, 0)
        return passed, passed.sum((0, 2, 3))

    return call


def _torch_batch_norm_backward(torch, g, x, weight, mean, var, eps, **_):
    spread = (var + eps).rsqrt()
    return lambda: torch.ops.aten.native_batch_norm_backward(
        g, x, weight, None, None, mean, spread, True, eps, (True, True, True))


def _torch_adam(torch, param, grad, m, v, lr, beta1, beta2, eps, weight_decay, step, fused):
    param.grad = grad
    optimizer = torch.optim.Adam([param], lr, (beta1, beta2), eps, weight_decay, fused=fused)
    optimizer.state[param].update(step=torch.tensor(step - 1.0), exp_avg=m, exp_avg_sq=v)
    return optimizer.step


def _torch_sgd(torch, param, grad, velocity, lr, momentum, dampening, weight_decay, nesterov, first, fused):
    param.grad = grad
    optimizer = torch.optim.SGD([param], lr, momentum, dampening, weight_decay, nesterov, fused=fused)
    optimizer.state[param]["momentum_buffer"] = velocity
    return optimizer.step


TORCH_CALLS: dict[str, Callable[..., Callable[[], Any]]] = {
    "conv2d_forward": _torch_conv_forward,
    "conv2d_input": _torch_conv_input,
    "conv2d_weight": _torch_conv_weight,
    "linear_forward": lambda torch, x, w, **_: lambda: torch.nn.functional.linear(x, w),
    "linear_input": lambda torch, g, w, **_: lambda: g @ w,
    "linear_weight": lambda torch, g, x, **_: lambda: g.t() @ x,
    "relu_forward": lambda torch, x, **_: lambda: torch.relu(x),
    "relu_backward": lambda torch, g, y, **_: lambda: torch.ops.aten.threshold_backward(g, y, 0),
    "add": lambda torch, x, y, **_: lambda: x + y,
    "bias_add": lambda torch, y, bias, **_: lambda: y.add_(bias.view(-1, 1, 1)),
    "channel_affine": lambda torch, x, weight, bias, **_: lambda: torch.native_batch_norm(
        x, weight, bias, torch.zeros_like(bias), torch.ones_like(bias), False, 0.0, 0.0)[0],
    "channel_sum": lambda torch, g, **_: lambda: g.sum((0, 2, 3)),
    "relu_bias_backward": _torch_relu_bias_backward,
    "batch_norm_forward": lambda torch, x, weight, bias, eps, **_: lambda: torch.native_batch_norm(
        x, weight, bias, None, None, True, 0.0, eps),
    "batch_norm_backward": _torch_batch_norm_backward,
    "max_pool2d_forward": _torch_max_pool_forward,
    "max_pool2d_backward": _torch_max_pool_backward,
    "avg_pool2d_forward": _torch_avg_pool_forward,
    "avg_pool2d_backward": _torch_avg_pool_backward,
    "cross_entropy_forward": lambda torch, logits, labels, **_: lambda: torch.nn.functional.cross_entropy(
        logits, labels, reduction="none"),
    "cross_entropy_backward": _torch_cross_entropy_backward,
    "sgd_update": _torch_sgd,
    "adam_update": _torch_adam,
}


# -------------------------------------------------------------------------------------------------------- ONNX Runtime

def _onnxruntime(problem: Problem, given: dict[str, Any], threads: int) -> Iterator[Contestant]:
    """A model of one node, run by its CPU provider."""
    node = _node(problem, given)
    if node is None:
        return
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    kind, weights, attributes = node
    constants = [] if weights is None else [numpy_helper.from_array(weights, "w")]
    graph = helper.make_graph(
        [helper.make_node(kind, ["x"] + ["w"] * len(constants), ["y"], **attributes)], "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, given["x"].shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")        # its threads would disturb the next
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed = {"x": given["x"]}
    yield Contestant("onnxruntime", lambda: session.run(None, feed)[0], lambda result: result)


def _node(problem: Problem, given: dict[str, Any]) -> tuple[str, np.ndarray | None, dict[str, Any]] | None:
    """(operator, constant weights, attributes) in ONNX, or None for what is no forward pass."""
    if problem.op == "conv2d_forward":
        return "Conv", given["w"], dict(strides=given["stride"], pads=given["padding"] * 2, dilations=given["dilation"],
                                        group=given["groups"])
    if problem.op == "linear_forward":
        return "MatMul", np.ascontiguousarray(given["w"].T), {}
    if problem.op == "relu_forward":
        return "Relu", None, {}
    if problem.op in ("max_pool2d_forward", "avg_pool2d_forward"):
        window = dict(kernel_shape=given["kernel_size"], strides=given["stride"], pads=given["padding"] * 2)
        mean = problem.op == "avg_pool2d_forward"
        return ("AveragePool", None, {**window, "count_include_pad": 1}) if mean else ("MaxPool", None, window)
    return None
