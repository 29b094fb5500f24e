"""The gradient to images at stride 2 in a matrix unit (``amx.py``): taps as rows, folded into the image.

Pixels of even and odd lines and columns of an image see g through different taps, and so are four convolutions with as many
shifts of g (``conv_phases.py``). With all taps of all channels as rows of one product there is nothing to be put in order,

    P = Wᵀ G        (C KH KW, F) (F, OH OW)

since weights are used as they lie, and so are the pixels of g, which stream past them (``conv_amx_pixels.py``). Pixel (h, w) of
a channel is then the sum of what its taps have for it, tap (kh, kw) of pixel ((h - kh) / 2, (w - kw) / 2) of g where both are
whole, which is im2col the other way round (``conv_fold.py``).

P is nine times as large as g for 3 x 3 filters. So a few channels at a time go through both steps, about `ROWS_NEAR` rows, and
what they have is still near when it is folded. Layers of ResNet-50 take 1 / 1.3 to 1 / 1.8 of the time of the four phases.
"""

from __future__ import annotations

import numpy as np

from minivision_kernels.cpu.amx import SIDE, again, tiles_begin, tiles_end
from minivision_kernels.cpu.amx_panels import COLUMNS, DEEP, PANEL, ROWS
from minivision_kernels.cpu.bands import workers
from minivision_kernels.cpu.compile import In1, Out1, Team, compiled, contiguous, prange
from minivision_kernels.cpu.conv_amx_pixels import panels_together, split_weights, stream
from minivision_kernels.cpu.planes import fold_plane
from minivision_kernels.cpu.simd import room
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair

ROWS_NEAR = 144                     # of P that are near, about: 16 channels of 3 x 3 filters
NEAR = 1024 * 1024, 2 * 1024 * 1024         # bytes of these, at most, for `LEAST` filters or more
ALONE = 256                         # outputs
LEAST, MOST = (64, 128), 1024       # with fewer, P takes as long to write and to read as to compute


def fits(g_shape: tuple[int, ...], w_shape: tuple[int, ...], stride: Pair, groups: int) -> bool:
    """Whether this is the way to go; of 150 random layers, the 94 that fit took 0.69 times as long as before in geometric mean,
    and none more than 1.16 times. A single lot of channels, which one thread takes, must be small."""
    (N, F, OH, OW), taps = g_shape, w_shape[2] * w_shape[3]
    size, lots = together(taps) * taps * OH * OW * 4, -(-w_shape[1] // together(taps)) * N
    shared = lots > 1 or (lots == 1 and OH * OW <= ALONE)
    return (stride == (2, 2) and groups == 1 and OH * OW >= SIDE and F <= MOST and shared
            and any(least <= F and size <= near for least, near in zip(LEAST, NEAR)))


def together(taps: int) -> int:
    """How many channels go together."""
    return max(1, ROWS_NEAR // taps)


def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], padding: Pair, dilation: Pair,
) -> np.ndarray | None:
    """The gradient to images of ``shape``, or nothing if it has to be computed again."""
    dx, threads = empty(shape, g.dtype), workers()
    wrong = np.zeros(threads, g.dtype)
    fold_pixels(contiguous(g).reshape(-1), *g.shape, contiguous(w).reshape(-1), *shape[1:], *w.shape[2:], *padding, *dilation,
                together(w.shape[2] * w.shape[3]), panels_together(len(w)), dx.reshape(-1), threads, wrong,
                work=g.size * w[0].size // SIDE)
    return None if again(wrong) else dx


@compiled
def fold_pixels(
    g: In1, N: int, F: int, OH: int, OW: int, w: In1, C: int, H: int, W: int, KH: int, KW: int, top: int, left_: int,
    down: int, right_: int, channels: int, group: int, dx: Out1, workers_: int, wrong: Out1, team: Team,
):
    """A thread takes some channels of one image after the other; panels of pixels go together in a ``group``."""
    taps, pixels, of_image, blocks = KH * KW, OH * OW, (OH * OW + SIDE - 1) // SIDE, (F + DEEP - 1) // DEEP
    panels, line = (of_image + COLUMNS - 1) // COLUMNS, of_image * SIDE
    items, bands = (C + channels - 1) // channels * N, (channels * taps + ROWS - 1) // ROWS
    for worker in prange(workers_, team):
        left, right = room(g, bands * blocks * PANEL), room(g, 2 * group * blocks * PANEL)
        products, before, nothing = room(g, bands * ROWS * line), -1, g[:0]
        begin = np.empty(COLUMNS * (panels + 2 * group), np.int64)
        for v in range(begin.shape[0]):                 # the last vector begins earlier, so that it is whole
            begin[v] = min(min(v, of_image - 1) * SIDE, pixels - SIDE)
        tiles_begin()
        for item in range(items * worker // workers_, items * (worker + 1) // workers_):
            channel, n = item // N * channels, item % N
            rows = min(channels, C - channel) * taps
            if channel != before:
                split_weights(w, channel * taps, 1, C * taps, rows, F, left)
                before = channel
            wrong[worker] += stream(g, n * F * pixels, begin, panels, group, F, pixels, left, rows, right, products, begin,
                                    line, nothing, False)
            for c in range(rows // taps):
                fold_plane(products, c * taps * line, line, OH, OW, KH, KW, top, left_, down, right_, dx,
                             (n * C + channel + c) * H * W, H, W, False)
        tiles_end()
