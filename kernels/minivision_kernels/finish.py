"""What becomes of the sums of a layer before they are written: a bias, ReLU, for a convolution a place among other channels.

Each of them is a pass over memory if it is an operation of its own. A fast rung has its sums in registers when it is done
with them, and there all three cost next to nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from minivision_kernels.ladder import best, run


class Finish(NamedTuple):
    """How a convolution (N, F, OH, OW) or a product (N, F) is finished, in this order; ``into`` is for convolutions."""

    bias: Any                   # (F,): number f is added to all pixels of channel f, or to column f
    relu: bool = False          # then what is negative becomes 0
    into: Any = None            # (N, channels, OH, OW): and the result becomes channels of this array, of the same dtype,
    first: int = 0              # from this one on


def run_finished(op: str, x: Any, w: Any, finish: Finish, **geometry: Any) -> Any:
    """``run(op, x, w, **geometry)``, the forward of a layer, and what is to be done with it, by the rung itself if it takes a
    ``finish``.

    The bits are the same either way. Returns the array (N, F, OH, OW) or (N, F), with ``into`` the view of its channels.
    """
    rung = best(op, x, w, **geometry)
    if rung.finishes:
        return rung.function(x, w, **geometry, finish=finish)
    return finished(rung.function(x, w, **geometry), finish)


def finished(y: Any, finish: Finish) -> Any:
    """The same in passes over memory, for who has y already; it may change."""
    y = run("bias_add", y, finish.bias, relu=finish.relu)
    if finish.into is None:
        return y
    part = finish.into[:, finish.first:finish.first + y.shape[1]]
    part[...] = y
    return part
