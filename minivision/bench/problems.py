"""The arrays of a problem, and what a part of its result is in float64.

The reference is the NumPy rung in float64. It would take minutes over a whole batch, so only a part of the result is
computed: an image or two, a few filters and channels, each of its numbers with its whole sum.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from minivision_kernels import Rung, ladder, run, set_exact

from .suites import Problem
from .vision import picture

PART = 16                       # filters, channels or outputs that are compared; rows: four times as many
CHANGED = {"sgd_update": ("param", "velocity"), "adam_update": ("param", "m", "v"), "bias_add": ("y",)}
WHOLE = "w", "weight", "bias"   # arguments of which every image needs all


class Error(NamedTuple):
    """The largest difference from float64, as a share of the spread and of the largest of the results."""

    spread: float
    largest: float


def arguments(problem: Problem) -> dict[str, Any]:
    """The arguments of the problem by name, its arrays filled with normal numbers; the same ones each time."""
    if problem.suite == "vision":
        return {"x": picture(problem.shapes["x"]), **problem.options}
    rng = np.random.default_rng(0)
    made: dict[str, Any] = {}
    for name, shape in problem.shapes.items():
        if name == "labels":
            made[name] = rng.integers(0, problem.shapes["logits"][1], shape)
        elif name != "index":
            made[name] = rng.standard_normal(shape, np.float32)
        if name in ("var", "v"):
            made[name] **= 2
    if "w" in made:                                         # results of a size near 1
        made["w"] /= np.float32(math.sqrt(math.prod(problem.shapes["w"][1:])))
    if "index" in problem.shapes:
        x = rng.standard_normal(problem.options["shape"], np.float32)
        made["index"] = run("max_pool2d_forward", x, ceil_mode=False,
                            **{k: v for k, v in problem.options.items() if k != "shape"})[1]
    return {**made, **problem.options}


def call_of(problem: Problem, given: dict[str, Any]) -> tuple[list[np.ndarray], dict[str, Any]]:
    """The arrays by position and the rest by name, as the ladder takes them."""
    return [given[name] for name in problem.shapes], {k: v for k, v in given.items() if k not in problem.shapes}


@contextmanager
def exactness(on: bool) -> Iterator[None]:
    """The exact switch of the ladder for a block; afterwards it is as the environment says."""
    set_exact(on)
    try:
        yield
    finally:
        set_exact(os.environ.get("MINIVISION_EXACT") == "1")


def own(op: str, given: dict[str, Any]) -> dict[str, Any]:
    """The arguments for one contestant: arrays that the operation changes are copied."""
    return {name: value.copy() if name in CHANGED.get(op, ()) else value for name, value in given.items()}


class Reference:
    """A part of the right result, and how far others are from it."""

    def __init__(self, problem: Problem, given: dict[str, Any]):
        self.part, self.expected = _expected(problem.op, given)

    def error(self, result: np.ndarray) -> Error:
        got = np.asarray(result)[self.part].astype(np.float64)
        worst = float(np.abs(got - self.expected).max())
        if not math.isfinite(worst):
            return Error(math.inf, math.inf)
        return Error(worst / (float(self.expected.std()) or 1.0), worst / (float(np.abs(self.expected).max()) or 1.0))


def _expected(op: str, given: dict[str, Any]) -> tuple[Any, np.ndarray]:
    """Which part of the result is compared, and what it should be."""
    few, rows = slice(0, PART), slice(0, 4 * PART)
    one = slice(0, 1)
    part: Any
    cut: dict[str, Any] = {}
    if given.get("x", np.empty(0)).dtype == np.uint8 or op.startswith("hog"):       # one picture, and all of it
        part = ()
    elif op.startswith("conv2d") and given["groups"] == 1:
        shape = given.get("shape", ())
        if op == "conv2d_forward":
            part, cut = (one, few), {"x": given["x"][one], "w": given["w"][few]}
        elif op == "conv2d_input":
            part = one, few
            cut = {"g": given["g"][one], "w": given["w"][:, few], "shape": (1, min(PART, shape[1]), *shape[2:])}
        else:
            part = few, few
            cut = {"x": given["x"][:, few], "g": given["g"][:, few], "shape": (*(min(PART, n) for n in shape[:2]), *shape[2:])}
    elif op == "linear_forward":
        part, cut = (rows, rows), {"x": given["x"][rows], "w": given["w"][rows]}
    elif op == "linear_input":
        part, cut = (rows, rows), {"g": given["g"][rows], "w": given["w"][:, rows]}
    elif op == "linear_weight":
        part, cut = (rows, rows), {"g": given["g"][:, rows], "x": given["x"][:, rows]}
    elif op == "conv2d_weight":
        part, cut = (), {}                                  # depthwise: all of it, since every image counts
    elif op == "channel_sum":
        part, cut = one, {"g": given["g"][:, one]}
    elif op.startswith("batch_norm"):
        part = slice(None), one
        cut = {name: value[part] if value.ndim > 1 else value[one]
               for name, value in given.items() if isinstance(value, np.ndarray)}
    else:                                                   # each image, row or number by itself
        count = 4096 if op.endswith("_update") else 4 * PART if op.startswith("cross_entropy") else 1
        part = slice(0, count)
        cut = {name: value[part] for name, value in given.items() if isinstance(value, np.ndarray) and name not in WHOLE}
        if "shape" in given:
            cut["shape"] = (1, *given["shape"][1:])
    wide = {name: value.astype(np.float64) if getattr(value, "dtype", None) == np.float32 else value
            for name, value in {**given, **cut}.items()}
    mine = own(op, wide)
    return part, output(op, numpy_rung(op).function(**mine), mine)


def numpy_rung(op: str) -> Rung:
    return next(rung for rung in ladder(op) if rung.name == "numpy")


def output(op: str, result: Any, given: dict[str, Any]) -> np.ndarray:
    """The array that is compared: the result, the first of several, or what was changed."""
    if op.endswith("_update"):
        return given["param"]
    return result[0] if isinstance(result, tuple) else result
