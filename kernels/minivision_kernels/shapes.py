"""Output sizes: the one place where a window meets the edge of the image.

The rules are PyTorch's (documentation of ``Conv2d``, ``MaxPool2d``, ``AvgPool2d``, section "Shape"), so that layers
taken from there keep their shapes.
"""

from __future__ import annotations

Pair = tuple[int, int]          # (vertical, horizontal)


def conv_output_size(size: Pair, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Pair:
    """(OH, OW) of a convolution over an image of ``size`` (H, W); 0 along an axis where the window does not fit.

    OH = floor((H + 2 padding - dilation (KH - 1) - 1) / stride) + 1, and OW likewise.
    """
    (H, W), (KH, KW) = size, kernel_size            # written out for both axes: this is asked at every call
    OH = (H + 2 * padding[0] - dilation[0] * (KH - 1) - 1) // stride[0] + 1
    OW = (W + 2 * padding[1] - dilation[1] * (KW - 1) - 1) // stride[1] + 1
    return max(0, OH), max(0, OW)


def conv_output_fits(
    output: Pair, size: Pair, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair,
) -> bool:
    """Whether a convolution of an image of ``size`` may be said to have ``output`` pixels (OH, OW).

    Those of `conv_output_size`, of course; and where the dilation is larger than the stride, also a few less. Transposed
    convolution chooses the image: it takes the smallest that gives ``output``, and up to max(stride, dilation) - 1 rows
    more (``output_padding`` of ``ConvTranspose2d``), room in which another window may fit. It then counts for nothing.
    """
    def along(out: int, most: int, n: int, k: int, s: int, p: int, d: int) -> bool:
        left_over = n + 2 * p - d * (k - 1) - 1 - (out - 1) * s
        return out == most or (0 < out < most and left_over < max(s, d))

    most = conv_output_size(size, kernel_size, stride, padding, dilation)
    return all(along(*axis) for axis in zip(output, most, size, kernel_size, stride, padding, dilation))


def seen_by_one(length: int, stride: int, padding: int, outputs: int) -> tuple[slice, slice]:
    """Along one axis of ``length`` pixels, the outputs of 1 x 1 filters that see a pixel, and the pixels they see."""
    first = -(-padding // stride)
    pixels = range(first * stride - padding, length, stride)[:max(0, outputs - first)]
    return slice(first, first + len(pixels)), slice(pixels.start, pixels.stop, stride)


def pool_output_size(
    size: Pair, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair = (1, 1), ceil_mode: bool = False,
) -> Pair:
    """(OH, OW) of a pooling over an image of ``size`` (H, W); 0 along an axis where the window does not fit.

    As for a convolution; ``ceil_mode`` rounds up instead of down, which lets the last window hang over the bottom or
    right edge, but only if it starts inside the image or its left padding: a window of padding alone is left out.
    """
    def along(n: int, k: int, s: int, p: int, d: int) -> int:
        room = n + 2 * p - d * (k - 1) - 1
        out = (room + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (out - 1) * s >= n + p:
            out -= 1
        return max(0, out)

    height, width = (along(*axis) for axis in zip(size, kernel_size, stride, padding, dilation))
    return height, width
