"""Shapes of convolutions that are hard to get right, and the check of a rung against plain loops."""

import kernel_oracle as oracle
import numpy as np
from hypothesis import strategies as st

from minivision_kernels.shapes import conv_output_size


def pair(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def convolutions(draw):
    """Shapes of x and w, and a geometry: odd ones are likely, windows that do not fit possible."""
    groups = draw(st.integers(1, 3))
    C, F = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    N, size, window = draw(st.integers(0, 5)), draw(pair(1, 9)), draw(pair(1, 4))
    geometry = draw(pair(1, 4)), draw(pair(0, 5)), draw(pair(1, 3)), groups
    return (N, C * groups, *size), (F * groups, C, *window), geometry


EDGE_CASES = {
    "1x1 image": ((2, 3, 1, 1), (4, 3, 3, 3), ((1, 1), (1, 1), (1, 1), 1)),
    "1x1 window, stride 2": ((2, 3, 6, 5), (4, 3, 1, 1), ((2, 2), (0, 0), (1, 1), 1)),
    "depthwise": ((2, 9, 6, 7), (9, 1, 3, 3), ((1, 1), (1, 1), (1, 1), 9)),
    "empty batch": ((0, 3, 5, 5), (4, 3, 3, 3), ((1, 1), (1, 1), (1, 1), 1)),
    "empty output": ((2, 3, 2, 2), (4, 3, 3, 3), ((1, 1), (0, 0), (1, 1), 1)),
    "no filters": ((2, 3, 5, 5), (0, 3, 3, 3), ((1, 1), (0, 0), (1, 1), 1)),
    "no channels": ((2, 0, 5, 5), (4, 0, 3, 3), ((1, 1), (0, 0), (1, 1), 1)),
    "stride over window": ((2, 2, 9, 9), (3, 2, 2, 2), ((4, 5), (0, 1), (1, 1), 1)),
    "padding over window": ((2, 2, 3, 4), (3, 2, 2, 3), ((1, 2), (3, 5), (1, 1), 1)),
    "several strips": ((1, 2, 70, 60), (3, 2, 3, 3), ((1, 1), (1, 1), (1, 1), 1)),
    "a row longer than a strip": ((1, 1, 2, 2100), (2, 1, 2, 3), ((1, 1), (0, 1), (1, 1), 1)),
    "channels off the tile": ((2, 37, 9, 11), (45, 37, 3, 3), ((1, 1), (1, 1), (1, 1), 1)),
    "many channels, stride 2": ((1, 70, 7, 7), (34, 70, 3, 3), ((2, 2), (1, 1), (1, 1), 1)),
    "a sum in several parts": ((1, 300, 4, 5), (20, 300, 2, 2), ((1, 1), (0, 0), (1, 1), 1)),
    "images side by side in tiles": ((9, 6, 3, 3), (40, 6, 3, 3), ((1, 1), (1, 1), (1, 1), 1)),
    "enough for threads": ((5, 8, 12, 12), (8, 4, 3, 3), ((1, 2), (1, 1), (1, 1), 2)),
}


def check(rung, dtype, x_shape, w_shape, geometry, slack=1, of_largest=False):
    """Within ``slack`` times the bound; with ``of_largest`` that of the largest sum: transforms mix the numbers of a patch."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(x_shape).astype(dtype), rng.standard_normal(w_shape).astype(dtype)
    output = oracle.conv_size(x_shape[2:], w_shape[2:], *geometry[:3])
    assert conv_output_size(x_shape[2:], w_shape[2:], *geometry[:3]) == output
    g = rng.standard_normal((x_shape[0], w_shape[0], *output)).astype(dtype)
    args = {
        "conv2d_forward": (x, w), "conv2d_input": (g, w, x_shape), "conv2d_weight": (x, g, w_shape),
    }[rung.op]
    expect = getattr(oracle, rung.op)
    sizes = [np.abs(a) if isinstance(a, np.ndarray) else a for a in args]
    walled = [oracle.guarded(a, readonly=True) if isinstance(a, np.ndarray) else a for a in args]
    scale = slack * expect(*sizes, *geometry)
    if of_largest:
        scale = scale.max(initial=0)
    oracle.assert_close(rung(*walled, *geometry), expect(*args, *geometry), scale, dtype)


ALL = oracle.rungs("conv2d_forward", "conv2d_input", "conv2d_weight")
