"""One number for each channel, on the GPU (``channels.cu``): added to all pixels, or their sum."""

from __future__ import annotations

from typing import Any

from minivision_kernels.cuda.launch import Kernel, aligned, blocks, empty, facts, floats, grouped, ready
from minivision_kernels.ladder import run, rung

THREADS = 256
LEAST_PLANE = 8             # pixels; where a channel has fewer side by side, threads of neighbouring channels read better
LEAST_SHARE = 8 * THREADS   # numbers; a block with fewer is gone before it was worth starting
MOST_SPLITS = 32            # blocks for one channel: as many as a warp has lanes to bring their results together

_BIAS_THREADS, _BIAS, _AFFINE_THREADS, _AFFINE, _SUM_THREADS, _SUM, _JOIN = (
    Kernel("channels.cu", name) for name in
    ("bias_add_threads", "bias_add", "channel_affine_threads", "channel_affine", "channel_sum_threads", "channel_sum",
     "join_sums"))

Shares = tuple[int, int, int, int, int]


def layout(x: Any) -> tuple[int, int, int]:
    """Images, channels, and pixels of x (N, C, ...)."""
    N, C = x.shape[:2]
    return N, C, x.size // max(N * C, 1)


def shares(x: Any) -> Shares:
    """How the numbers of each channel are shared between blocks: N, C, P, how many blocks, and how many numbers for each.

    Eight blocks of 256 threads are all that a multiprocessor holds, and keep the memory busy. Layers with fewer channels are
    split, but not into shares so small that starting a block takes longer than its work.
    """
    N, C, P = layout(x)
    wanted = blocks(8 * facts(x).multiprocessors, C)
    splits = max(1, min(wanted, MOST_SPLITS, N * P // LEAST_SHARE))
    each = 4 * blocks(blocks(N * P, splits), 4)
    return N, C, P, blocks(N * P, each), each


def countable(x: Any, *_: Any, **__: Any) -> bool:
    """Whether 32 bits count the numbers of a channel, as the rungs with shares do."""
    return floats(x) and x.size // max(x.shape[1], 1) < 1 << 30


def planes(x: Any, *_: Any, **__: Any) -> bool:
    return layout(x)[2] >= LEAST_PLANE


def _in_32_bits(x: Any, *_: Any, **__: Any) -> bool:
    """Whether 32 bits count the numbers of an image."""
    return floats(x) and x.size // max(len(x), 1) < 1 << 30


@rung("bias_add", name="threads", device="cuda", accepts=floats)
def bias_add_threads(y: Any, bias: Any, relu: bool = False) -> Any:
    """A number for each thread, which finds its channel by two divisions of 64 bits."""
    C, P = layout(y)[1:]
    _BIAS_THREADS.launch(blocks(y.size, THREADS), THREADS, y, ready(bias), C, P, y.size, relu)
    return y


@rung("bias_add", name="vectors", device="cuda", accepts=_in_32_bits)
def bias_add_vectors(y: Any, bias: Any, relu: bool = False) -> Any:
    """Four numbers for each thread, and where planes allow it one channel for the four; divisions of 32 bits."""
    N, C, P = layout(y)
    together, groups = grouped(N, C * P)
    _BIAS.launch((blocks(together * C * P, 4 * THREADS), groups), THREADS, y, ready(bias), C, P, together, N,
                 aligned(y) and C * P % 4 == 0, relu)
    return y


@rung("channel_affine", name="threads", device="cuda", accepts=floats)
def channel_affine_threads(x: Any, weight: Any, bias: Any = None, relu: bool = False) -> Any:
    """As `bias_add_threads`, into another array."""
    x, (C, P) = ready(x), layout(x)[1:]
    y = empty(x, x.shape)
    _AFFINE_THREADS.launch(blocks(y.size, THREADS), THREADS, x, ready(weight), bias if bias is None else ready(bias), y, C, P,
                           y.size, relu)
    return y


@rung("channel_affine", name="vectors", device="cuda", accepts=_in_32_bits)
def channel_affine_vectors(x: Any, weight: Any, bias: Any = None, relu: bool = False) -> Any:
    """As `bias_add_vectors`, into another array."""
    x, (N, C, P) = ready(x), layout(x)
    y, (together, groups) = empty(x, x.shape), grouped(N, C * P)
    _AFFINE.launch((blocks(together * C * P, 4 * THREADS), groups), THREADS, x, ready(weight),
                   bias if bias is None else ready(bias), y, C, P, together, N, aligned(x) and aligned(y) and C * P % 4 == 0,
                   relu)
    return y


@rung("channel_sum", name="threads", device="cuda", accepts=floats)
def channel_sum_threads(g: Any) -> Any:
    """One thread adds up one channel. For the output of a linear layer, where the channels are neighbours, it is chosen."""
    g, (N, C, P) = ready(g), layout(g)
    sums = empty(g, (C,))
    _SUM_THREADS.launch(blocks(C, 64), 64, g, sums, N, C, P)
    return sums


@rung("channel_sum", name="blocks", device="cuda", accepts=countable, worth=planes)
def channel_sum_blocks(g: Any) -> Any:
    """The threads of a block read neighbouring pixels and meet by shuffles; few channels are split between blocks."""
    if not g.size:
        return channel_sum_threads(g)
    g, of = ready(g), shares(g)
    C, splits = of[1], of[3]
    partial, sums = empty(g, (C * splits,)), empty(g, (C,))
    _SUM.launch(C * splits, THREADS, g, sums if splits == 1 else partial, of)
    if splits > 1:
        _JOIN.launch(blocks(C, 64), 64, partial, sums, C, splits)
    return sums


@rung("relu_bias_backward", name="kernels", device="cuda", accepts=floats)
def relu_bias_backward(g: Any, y: Any) -> tuple[Any, Any]:
    """The kernels of `relu_backward` and `channel_sum`, one after the other."""
    passed = run("relu_backward", g, y)
    return passed, run("channel_sum", passed)
