"""The layers that are measured: those of well-known networks, products of matrices, and what only moves memory.

A `Problem` is one operation of the ladder on one layer and batch. It knows its arithmetic and its least traffic from the
shapes alone; the arrays are made when its turn comes (``problems.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from minivision_kernels.shapes import Pair, conv_output_size, pool_output_size

from . import vision

FLOAT = 4                       # bytes


@dataclass(frozen=True)
class Problem:
    """One operation to measure."""

    suite: str
    layer: str
    op: str
    batch: int
    shapes: Mapping[str, tuple[int, ...]]       # of the arrays, by the names of the operation's arguments
    options: dict[str, Any]                     # the other arguments
    flops: int                                  # of direct summation; 0 where arithmetic is beside the point
    traffic: int                                # bytes: every input read once, every result written once
    peers: Mapping[str, Callable[[Any, int], Callable[[], Any]]] | None = None      # None: those of networks

    def executed(self, rung: str) -> int:
        """The FLOP that a rung really does: Winograd's products are a part of the direct ones, and whole patches."""
        if not rung.startswith("winograd"):
            return self.flops
        N, C, H, W = self.options.get("shape", ()) if self.op == "conv2d_input" else self.shapes["x"]
        F, _, *window = self.shapes["w"] if "w" in self.shapes else self.options["shape"]
        stride = self.options["stride"]
        if self.op != "conv2d_input":
            H, W = conv_output_size((H, W), tuple(window), stride, self.options["padding"], (1, 1))
        if stride == (1, 1):
            size = 2 if rung == "winograd2" or window == [5, 5] else 4      # results of a patch, each way,
            points = size + window[0] - 1                                   # and multiplications for them
        else:
            size, points = 8 if self.op == "conv2d_input" else 4, 6 + window[0]
        return 2 * points ** 2 * N * math.ceil(H / size) * math.ceil(W / size) * C * F


class Conv(NamedTuple):
    """A convolution layer; the window and its steps are the same along both axes."""

    name: str
    channels: int
    size: Pair
    filters: int
    kernel: int
    stride: int
    padding: int
    groups: int


def conv(channels: int, size: int | Pair, filters: int, kernel: int, stride: int = 1, padding: int | None = None,
         groups: int = 1) -> Conv:
    """A layer under a name like ``3>64 7x7/2 @224``; padded to keep the size unless it says otherwise."""
    size = (size, size) if isinstance(size, int) else size
    pixels = f"{size[0]}" if size[0] == size[1] else f"{size[0]}x{size[1]}"
    name = f"{channels}>{filters} {kernel}x{kernel}" + f"/{stride}" * (stride > 1) + f" @{pixels}"
    if groups > 1:
        name = f"depthwise {channels} {kernel}x{kernel}" + f"/{stride}" * (stride > 1) + f" @{pixels}"
    return Conv(name, channels, size, filters, kernel, stride, kernel // 2 if padding is None else padding, groups)


CONVS: dict[str, list[Conv]] = {
    "vgg": [                    # VGG-16 (Simonyan and Zisserman 2014): its nine different layers
        conv(3, 224, 64, 3), conv(64, 224, 64, 3), conv(64, 112, 128, 3), conv(128, 112, 128, 3), conv(128, 56, 256, 3),
        conv(256, 56, 256, 3), conv(256, 28, 512, 3), conv(512, 28, 512, 3), conv(512, 14, 512, 3),
    ],
    "resnet": [                 # ResNet-50 (He et al. 2015), strides in the 3 x 3 layers as in PyTorch's: its 23 different ones
        conv(3, 224, 64, 7, 2),
        conv(64, 56, 64, 1), conv(64, 56, 64, 3), conv(64, 56, 256, 1), conv(256, 56, 64, 1),
        conv(256, 56, 128, 1), conv(128, 56, 128, 3, 2), conv(128, 28, 512, 1), conv(256, 56, 512, 1, 2),
        conv(512, 28, 128, 1), conv(128, 28, 128, 3),
        conv(512, 28, 256, 1), conv(256, 28, 256, 3, 2), conv(256, 14, 1024, 1), conv(512, 28, 1024, 1, 2),
        conv(1024, 14, 256, 1), conv(256, 14, 256, 3),
        conv(1024, 14, 512, 1), conv(512, 14, 512, 3, 2), conv(512, 7, 2048, 1), conv(1024, 14, 2048, 1, 2),
        conv(2048, 7, 512, 1), conv(512, 7, 512, 3),
    ],
    "mobilenet": [              # the depthwise layers of MobileNet (Howard et al. 2017)
        conv(c, size, c, 3, stride, groups=c)
        for c, size, stride in ((32, 112, 1), (64, 112, 2), (128, 56, 1), (128, 56, 2), (256, 28, 1), (256, 28, 2),
                                (512, 14, 1), (512, 14, 2), (1024, 7, 1))
    ],
    "lenet": [conv(1, 28, 6, 5), conv(6, 14, 16, 5, padding=0)],
    "cifar": [conv(3, 32, 32, 3), conv(32, 32, 32, 3), conv(32, 16, 64, 3), conv(64, 16, 64, 3)],
    "deepbench": [              # the pictures among the training problems of Baidu's DeepBench that the others do not cover
        conv(1, (480, 48), 16, 3), conv(16, (240, 24), 32, 3), conv(32, (120, 12), 64, 3), conv(64, (60, 6), 128, 3),
        conv(3, 108, 64, 3, 2), conv(64, 54, 64, 3), conv(128, 27, 128, 3), conv(128, 14, 256, 3), conv(256, 7, 512, 3),
        conv(192, 28, 32, 5), conv(192, 28, 64, 1), conv(512, 14, 48, 5), conv(512, 14, 192, 1), conv(832, 7, 256, 1),
        conv(832, 7, 128, 5),
    ],
}
GEMMS = [                       # (rows, inner length, columns): squares, then the skinny ones of DeepBench and of classifiers
    *((n, n, n) for n in (256, 512, 1024, 1536, 2048)),
    (16, 1760, 1760), (64, 2048, 2048), (35, 2560, 4096), (2048, 64, 2048), (4096, 1024, 16), (1024, 9, 64),
]
LINEARS = [                     # (inputs, outputs): LeNet-5, the CIFAR network, ResNet-50, VGG-16
    (400, 120), (120, 84), (84, 10), (4096, 256), (256, 10), (2048, 1000), (4096, 4096), (25088, 4096),
]
# What a suite of the command stands for.
SUITES: dict[str, tuple[str, ...]] = {
    "conv": tuple(CONVS),
    **{name: (name,) for name in (*CONVS, "gemm", "linear", "memory", "vision", "training", "explain")},
    "all": (*CONVS, "gemm", "linear", "memory", "vision", "training", "explain"),
}


def problems(suite: str, batches: Sequence[int]) -> Iterator[Problem]:
    """The problems of a suite, layer by layer. Training steps and looks into networks are no
    problems of the ladder: see ``training.py`` and ``looks.py``."""
    for part in SUITES[suite]:
        if part in CONVS:
            for batch in batches:
                for layer in CONVS[part]:
                    yield from conv_problems(part, layer, batch)
        elif part == "gemm":
            for rows, inner, columns in GEMMS:
                name = f"{rows}x{inner}x{columns}" if len({rows, inner, columns}) > 1 else f"{rows}"
                yield from linear_problems(part, name, rows, inner, columns)
        elif part == "linear":
            for batch in batches:
                for inputs, outputs in LINEARS:
                    yield from linear_problems(part, f"{inputs}>{outputs}", batch, inputs, outputs)
        elif part == "memory":
            for batch in batches:
                yield from memory_problems(batch)
        elif part == "vision":
            yield from map(vision_problem, vision.tasks())
            yield from hog_problems((480, 640))
            yield from hog_problems((1080, 1920))


def conv_problems(suite: str, layer: Conv, batch: int) -> Iterator[Problem]:
    """The three directions of a convolution layer."""
    kernel, stride, padding = (layer.kernel,) * 2, (layer.stride,) * 2, (layer.padding,) * 2
    geometry = dict(stride=stride, padding=padding, dilation=(1, 1), groups=layer.groups)
    x = (batch, layer.channels, *layer.size)
    w = (layer.filters, layer.channels // layer.groups, *kernel)
    y = (batch, layer.filters, *conv_output_size(layer.size, kernel, stride, padding, (1, 1)))
    flops = 2 * math.prod(y) * math.prod(w[1:])
    for op, shapes, options in (
        ("conv2d_forward", {"x": x, "w": w}, geometry),
        ("conv2d_input", {"g": y, "w": w}, {"shape": x, **geometry}),
        ("conv2d_weight", {"x": x, "g": y}, {"shape": w, **geometry}),
    ):
        yield Problem(suite, layer.name, op, batch, shapes, options, flops, _bytes(x, w, y))


def linear_problems(suite: str, name: str, rows: int, inputs: int, outputs: int) -> Iterator[Problem]:
    """The three products of a linear layer."""
    x, w, y = (rows, inputs), (outputs, inputs), (rows, outputs)
    for op, shapes in (("linear_forward", {"x": x, "w": w}), ("linear_input", {"g": y, "w": w}),
                       ("linear_weight", {"g": y, "x": x})):
        yield Problem(suite, name, op, rows, shapes, {}, 2 * rows * inputs * outputs, _bytes(x, w, y))


def memory_problems(batch: int) -> Iterator[Problem]:
    """Operations that move more than they compute. At batch 32 their arrays are larger than any cache."""
    x = (batch, 64, 112, 112)
    pixels = "64 @112"

    def problem(layer: str, op: str, shapes: Mapping[str, tuple[int, ...]], options: dict[str, Any],
                *moved: Iterable[int]) -> Problem:
        return Problem("memory", layer, op, batch, shapes, options, 0, _bytes(*moved))

    yield problem(pixels, "relu_forward", {"x": x}, {}, x, x)
    yield problem(pixels, "relu_backward", {"g": x, "y": x}, {}, x, x, x)
    yield problem(pixels, "add", {"x": x, "y": x}, {}, x, x, x)
    one = x[1:2]                            # a number for each channel
    yield problem(pixels, "bias_add", {"y": x, "bias": one}, {}, x, x)
    yield problem(pixels, "channel_affine", {"x": x, "weight": one, "bias": one}, {}, x, x)
    yield problem(pixels, "channel_sum", {"g": x}, {}, x)
    yield problem(pixels, "relu_bias_backward", {"g": x, "y": x}, {}, x, x, x)
    # The sums over a channel must be known before its first result, so that arrays are read twice.
    yield problem(pixels, "batch_norm_forward", {"x": x, "weight": one, "bias": one}, {"eps": 1e-5}, x, x, x)
    yield problem(pixels, "batch_norm_backward", {"g": x, "x": x, "weight": one, "mean": one, "var": one}, {"eps": 1e-5},
                  *[x] * 5)
    for kernel, padding in ((2, 0), (3, 1)):
        window = dict(kernel_size=(kernel,) * 2, stride=(2, 2), padding=(padding,) * 2)
        y = (*x[:2], *pool_output_size(x[2:], (kernel,) * 2, (2, 2), (padding,) * 2, (1, 1), False))
        layer = f"{pixels} {kernel}x{kernel}/2"
        largest = {**window, "dilation": (1, 1)}
        mean = {**window, "ceil_mode": False, "count_include_pad": True, "divisor": None}
        yield problem(layer, "max_pool2d_forward", {"x": x}, {**largest, "ceil_mode": False}, x, y, y)
        yield problem(layer, "max_pool2d_backward", {"g": y, "index": y}, {"shape": x, **largest}, y, y, x)
        yield problem(layer, "avg_pool2d_forward", {"x": x}, mean, x, y)
        yield problem(layer, "avg_pool2d_backward", {"g": y}, {"shape": x, **mean}, y, x)
    logits = (1024 * batch, 1000)
    yield problem("1000 classes", "cross_entropy_forward", {"logits": logits, "labels": logits[:1]}, {}, logits)
    yield problem("1000 classes", "cross_entropy_backward", {"logits": logits, "labels": logits[:1], "g": logits[:1]}, {},
                  logits, logits)
    weights = (800_000 * batch,)            # at batch 32 those of ResNet-50
    settings = dict(lr=1e-3, momentum=0.9, dampening=0.0, weight_decay=1e-4, nesterov=False, first=False)
    yield problem("weights", "sgd_update", {"param": weights, "grad": weights, "velocity": weights}, settings, *[weights] * 5)
    settings = dict(lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, step=10)
    yield problem("weights", "adam_update", {"param": weights, "grad": weights, "m": weights, "v": weights}, settings,
                  *[weights] * 7)


def vision_problem(task: vision.Task) -> Problem:
    """Work on one picture of bytes."""
    return Problem("vision", task.name, task.op, 1, {"x": task.shape}, task.options, 0, task.traffic, task.peers)


def hog_problems(size: Pair) -> Iterator[Problem]:
    """The parts of histograms of oriented gradients; the whole stands beside other libraries in ``benchmarks/hog.py``."""
    H, W = size
    image, cells, blocks = (H, W, 1), (H // 8, W // 8, 9), (H // 8 - 1, W // 8 - 1, 2, 2, 9)
    cell: dict[str, Any] = dict(pixels_per_cell=(8, 8))
    shared = dict(**cell, block_stride=(8, 8), start=(0, 0), orientations=9, signed=False, polynomial=True)
    name = f"{W}x{H}"
    grid, person, scores = (*blocks[:2], 36), (min(15, blocks[0]), min(7, blocks[1]), 36), (blocks[0] - 14, blocks[1] - 6, 2)
    windows = {"image": image, "window_rows": (16,), "window_columns": (16,)}
    for op, shapes, options, *moved in (
        ("hog_cells", {"image": image}, {**cell, "orientations": 9}, image, cells),
        ("hog_votes", windows, shared, image, blocks),
        ("hog_blocks", {"cells": cells}, {"cells_per_block": (2, 2), "norm": "L2-Hys"}, cells, blocks),
        ("hog_scores", {"blocks": grid, "weights": person}, {"far": (1, 1), "apart": (1, 1)}, grid, person, scores),
    ):
        yield Problem("hog", name, op, 1, shapes, options, 0, _bytes(*moved), {})


def _bytes(*shapes: Iterable[int]) -> int:
    return FLOAT * sum(math.prod(shape) for shape in shapes)
