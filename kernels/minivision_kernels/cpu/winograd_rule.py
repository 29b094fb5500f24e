"""Which convolutions Winograd's way can take, and where it promises to pay (``conv_winograd.py``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from minivision_kernels.cpu import conv_folded
from minivision_kernels.cpu.amx import takes
from minivision_kernels.cpu.conv_direct import direct_cost, tile_cost
from minivision_kernels.cpu.conv_implicit import Call, forward_call, input_call, prices
from minivision_kernels.cpu.patches import LOW
from minivision_kernels.cpu.simd import lanes_of, vectors
from minivision_kernels.cpu.tile import TALL_COLUMNS, TALL_ROWS
from minivision_kernels.cpu.winograd import DOUBLED, F2_3, F2_5, F4_3, HALVED, Size
from minivision_kernels.cpu.winograd_plan import by_panels, whole
from minivision_kernels.cpu.writer import BYTES
from minivision_kernels.shapes import Pair, conv_output_size

GAIN = 1.1          # how much faster it must promise to be, to be chosen
LARGE = (1 if BYTES == 64 else 16) * 2**20      # bytes of transformed weights that are not near
TURNED = 0 if BYTES == 64 else 5.5      # what direct summation pays for each weight, where `direct_cost` leaves it out
START = 120_000     # what three kernels for the gradient to filters cost more than one
LEAST, LEAST_THIRD = 16, 64         # patches of 5 x 5 filters; with fewer, the transforms of weights cost more than is saved
LOWER = 1.3         # how much longer the lower tiles of a panel take
SLIM = BYTES == 64  # whether products with a vector of filters are so much cheaper than with two that it counts
LEAST_AT_2 = 8      # patches at stride 2,
START_AT_2 = 300_000 if BYTES == 64 else 160_000        # what its kernels cost more than one,
LONGER = (1.12, 1.28) if BYTES == 64 else (1.25, 1.5)   # and how much longer than `prices` says others take, forward and back


class Price(NamedTuple):
    """In multiply-adds of vectors, about: what the transforms of a patch cost for a vector of channels or of filters, and
    those of the weights for a vector of filters and a channel: if they are used at once, by panels, or if all of them are
    transformed before, and stay near, or do not."""

    patch: float
    panel: float
    near: float
    far: float


# Fitted to measured layers of 16 to 512 channels, and for filters of 5 x 5 of 10 to 192. Transforms move lines from cache to
# cache, and a vector of AVX-512 is a whole line; its multiply-adds are no slower for that.
PRICES = {
    F4_3: Price(1050, 500, 2000, 5000), F2_3: Price(430, 300, 900, 1500), F2_5: Price(600, 1000, 3500, 6000),
} if BYTES == 64 else {
    F4_3: Price(700, 450, 900, 1600), F2_3: Price(300, 250, 400, 400), F2_5: Price(500, 700, 1500, 2000),
}
# At stride 2, for each place of a patch, and for each kind of weights (400 random layers of 8 to 512 channels).
PLACE, KIND, APART = (16, 15, 31) if BYTES == 64 else (12, 24, 40)
PRICES |= {size: Price(PLACE * size.places, KIND * size.kinds, APART * size.kinds, APART * size.kinds)
           for sizes in (HALVED, DOUBLED) for size in sizes.values()}


Sizes = Mapping[tuple[int, ...], Size]          # that a rung has, by the taps of the filters and the stride
SIZES: Sizes = {(3, 3, 1, 1): F4_3, (5, 5, 1, 1): F2_5}
SMALLER: Sizes = {(3, 3, 1, 1): F2_3}
FORWARD: Sizes = {**SIZES, **{(taps, taps, 2, 2): size for taps, size in HALVED.items()}}
INPUT: Sizes = {**SIZES, **{(taps, taps, 2, 2): size for taps, size in DOUBLED.items()}}


def key(shape: tuple[int, ...], stride: Pair) -> tuple[int, ...]:
    """By which a table of sizes is looked up."""
    return (*shape[2:], *stride)


def _possible(sizes: Sizes, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int) -> bool:
    size = sizes.get(key(shape, stride))
    return size is not None and dilation == (1, 1) and groups == 1 and all(_fits(size, p) for p in padding)


def _fits(size: Size, padding: int) -> bool:
    """The gradient at stride 2 knows only paddings that differ from those of half a window by an even number."""
    return padding < size.taps and (not size.backward or (padding - (size.taps - 1) // 2) % 2 == 0)


def size_of(sizes: Sizes, shape: tuple[int, ...], stride: Pair, *geometry: Any) -> Size:
    """The size of patches for filters of this shape."""
    if not _possible(sizes, shape, stride, *geometry):
        filters = ", ".join(f"{high} x {wide} at stride {down}" for high, wide, down, _ in sizes)
        alone = " (at stride 2, of half a window, or two more or less)" if sizes is INPUT else ""
        raise ValueError(f"this rung takes filters of {filters}, with dilation 1, one group, and less padding than a filter "
                         f"has taps{alone}; call another rung")
    return sizes[key(shape, stride)]


class Job(NamedTuple):
    """What there is to do, as `_cost` and the rules see it."""

    F: int                  # filters, or channels of an image whose gradient is sought
    C: int                  # what is summed over
    images: int
    OH: int
    OW: int
    size: Size

    @property
    def patches(self) -> int:
        return self.size.patches(self.images, self.OH, self.OW)


def _cost(array: np.ndarray, job: Job, third: bool = False) -> float:
    """About the multiply-adds of vectors, or what takes as long: products, for whole tiles of patches, and transforms. Tiles of
    a last panel are as wide as it is."""
    L, (F, C, *_), size, patches = lanes_of(array), job, job.size, job.patches
    f, c = whole(F, L if SLIM else TALL_COLUMNS * L) // L, whole(C, L) // L
    price, panels = PRICES[size], by_panels(L, patches, F, C, size, third)
    rows = LOWER * whole(patches, LOW) if panels else whole(patches, TALL_ROWS)
    weights = price.panel if panels else price.near if size.kinds * F * C * array.itemsize <= LARGE else price.far
    return rows * size.places * f * C + patches * price.patch * (c + f) + weights * f * C


def _pays(array: np.ndarray, job: Job, third: bool = False) -> bool:
    """Whether it promises to be faster by `GAIN` than direct summation, and no slower than with the smallest patches; in the
    ``third`` direction, the gradient to the filters, if so said.

    For 8 to 12 filters or channels, too few for a vector, it is 1.1 to 1.9 times as fast where it promises that.
    """
    L, (F, C, images, OH, OW, size) = lanes_of(array), job
    if min(F, C) < (L // 2 + (size != F4_3) if SLIM else L):
        return False
    if size == F2_5 and job.patches < (LEAST_THIRD if third else LEAST):
        return False
    terms, cost = size.taps ** 2 * C, _cost(array, job, third)
    direct = direct_cost(array, images * OH * OW, F, terms) + TURNED * F * terms
    if third:
        cost += START
    elif SLIM and F <= L and OH * OW:
        direct = min(direct, images * OH * OW * tile_cost(array, F, OW, terms))
    return direct > GAIN * cost and (size != F4_3 or cost <= _cost(array, job._replace(size=F2_3), third) + third * START)


def _pays_at_2(array: np.ndarray, job: Job, call: Call) -> bool:
    """The same at stride 2, for the convolution or gradient to the image that ``call`` is to the other rungs. Results that do
    not fill a vector (with AVX2 two) are better off there, and may be with a matrix unit, where this was not measured."""
    least = lanes_of(array) * (1 if SLIM else TALL_COLUMNS)
    if takes(array) or job.patches < LEAST_AT_2 or min(job.F, 2 * job.C) < least:
        return False
    _, packed, others = prices(array, *call)
    return LONGER[job.size.backward] * min(packed, others) * call.terms > _cost(array, job) + START_AT_2


def forward_accepts(sizes: Sizes) -> Any:
    def accepts(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1),
                groups: int = 1) -> bool:
        return vectors(x) and _possible(sizes, w.shape, stride, padding, dilation, groups)

    return accepts


def forward_worth(sizes: Sizes) -> Any:
    def worth(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), *_: Any, **__: Any) -> bool:
        OH, OW = conv_output_size(x.shape[2:], w.shape[2:], stride, padding, (1, 1))
        job = Job(w.shape[0], w.shape[1], x.shape[0], OH, OW, sizes[key(w.shape, stride)])
        if stride == (1, 1):
            return _pays(x, job)
        return _pays_at_2(x, job, forward_call(x.shape, w.shape, stride, padding, (1, 1), 1))

    return worth


def input_accepts(sizes: Sizes) -> Any:
    def accepts(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                dilation: Pair = (1, 1), groups: int = 1) -> bool:
        return vectors(g) and _possible(sizes, w.shape, stride, padding, dilation, groups)

    return accepts


def input_worth(sizes: Sizes) -> Any:
    def worth(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0), *_: Any,
              **__: Any) -> bool:
        N, _C, H, W = shape
        job = Job(w.shape[1], w.shape[0], N, H, W, sizes[key(w.shape, stride)])
        if stride == (1, 1):
            return _pays(g, job)
        folded = conv_folded.fits(g.shape, w.shape, (H, W), padding, (1, 1), 1, g.itemsize)
        return _pays_at_2(g, job, input_call(N, w.shape, shape, stride, 1)._replace(weight=1 if folded else 7))

    return worth


def weight_accepts(sizes: Sizes) -> Any:
    def accepts(x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                dilation: Pair = (1, 1), groups: int = 1) -> bool:
        return vectors(x) and _possible(sizes, shape, stride, padding, dilation, groups)

    return accepts


def weight_worth(sizes: Sizes) -> Any:
    def worth(x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), *_: Any, **__: Any) -> bool:
        return _pays(x, Job(shape[0], shape[1], len(g), g.shape[2], g.shape[3], sizes[key(shape, stride)]), third=True)

    return worth


def turned_padding(size: Size, padding: Pair) -> Pair:
    """That of the gradient to the image: how far before g the first patch begins."""
    top, left = (size.taps - 1 - p for p in padding)
    return (top // 2, left // 2) if size.backward else (top, left)
