"""One small case for every operation of the engine, and the check of them all.

The shapes are chosen so that mistakes show: lengths differ unless a transposition is to stay unnoticed by shapes,
windows overlap, indices repeat, and no input is near a kink.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..autograd import Function
from ..device import move
from ..ops import conv, elementwise, linear, loss, norm, pool, reduce, shape
from ..tensor import Tensor
from .checker import gradcheck, gradgradcheck
from .report import GradcheckReport

Draw = np.random.Generator


class Case(NamedTuple):
    """``func(*inputs)`` uses the operation ``op``; ``note`` tells several cases of one operation apart."""

    op: str
    func: Callable[..., Any]
    inputs: tuple[Tensor, ...]
    note: str = ""


_FAMILIES = (elementwise, reduce, shape, linear, conv, pool, norm, loss)
_BUILDERS: dict[tuple[str, str], tuple[type[Function], Callable[[Draw], tuple]]] = {}


def operations() -> dict[str, type[Function]]:
    """Every operation by name, family by family."""
    return {name: value for family in _FAMILIES for name, value in vars(family).items()
            if isinstance(value, type) and issubclass(value, Function) and value.__module__ == family.__name__}


def case(op: str, note: str = "", seed: int = 0, device: str = "cpu", dtype: str = "float64") -> Case:
    """The case of one operation, with all its arrays on ``device`` and its floats in ``dtype``."""

    def there(array: Any) -> Any:
        return move(array.astype(dtype) if array.dtype.kind == "f" else array, device)

    cls, build = _BUILDERS[op, note]
    arrays, options = build(np.random.default_rng(seed))
    tail = options.pop("then", lambda y: y)
    options = {name: there(value) if isinstance(value, np.ndarray) else value for name, value in options.items()}
    inputs = tuple(Tensor(there(np.asarray(a, np.float64)), requires_grad=True) for a in arrays)
    return Case(op, lambda *xs: tail(cls.apply(*xs, **options)), inputs, note)


def cases(seed: int = 0) -> list[Case]:
    """All cases, at least one for each operation."""
    return [case(op, note, seed) for op, note in _BUILDERS]


def check_all(seed: int = 0) -> Iterator[tuple[str, GradcheckReport, GradcheckReport | str]]:
    """Check first and second derivatives of every operation.

    Yields (operation, report, report of the second order); a string says why there is no second one.
    """
    for each in cases(seed):
        name = each.op + (f" ({each.note})" if each.note else "")
        first = gradcheck(each.func, each.inputs, raise_exception=False, seed=seed)
        second: GradcheckReport | str
        try:
            second = gradgradcheck(each.func, each.inputs, raise_exception=False, seed=seed)
        except Exception as problem:
            second = f"{type(problem).__name__}: {problem}"
        yield name, first, second


def _case(op: type[Function], build: Callable[[Draw], tuple], note: str = "") -> None:
    _BUILDERS[op.__name__, note] = (op, build)


# ---------------------------------------------------------------------------------------------- where inputs come from


def normal(random: Draw, *size: int) -> np.ndarray:
    return random.standard_normal(size)


def positive(random: Draw, *size: int) -> np.ndarray:
    return random.uniform(0.5, 2.0, size)


def off_zero(random: Draw, *size: int) -> np.ndarray:
    """Both signs, never within 0.2 of zero, where |x| and ReLU have their kink."""
    signs = np.where(np.arange(int(np.prod(size))) % 2, 1.0, -1.0).reshape(size)
    return signs * random.uniform(0.2, 1.5, size)


def whole(random: Draw, *size: int) -> np.ndarray:
    """Whole numbers other than 0: sums of their products, and a half, are nowhere near the kink of ReLU."""
    return random.choice([-2.0, -1.0, 1.0, 2.0], size)


def distinct(random: Draw, *size: int) -> np.ndarray:
    """Far from ties: multiples of 0.1 in random order."""
    n = int(np.prod(size))
    return (random.permutation(n) - n / 2).reshape(size) * 0.1


def _averages(random: Draw) -> dict[str, Any]:
    return {"mean": normal(random, 3), "var": positive(random, 3), "eps": 1e-5}


GEOMETRY: dict[str, Any] = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 2}
X_SHAPE, W_SHAPE = (3, 2, 4, 4), (2, 1, 3, 3)
TILES: dict[str, Any] = {"kernel_size": (2, 2), "stride": (2, 2), "padding": (1, 1)}
OVERLAP: dict[str, Any] = {"kernel_size": (3, 3), "stride": (2, 2), "padding": (0, 0)}
AVERAGE: dict[str, Any] = {"count_include_pad": True, "divisor": None}
TWICE = np.array([[0, 2, 2], [1, 1, 3], [4, 0, 4]])         # into an axis of 5, some repeated
ROWS = np.array([0, 2, 2, 4])
MASK = np.arange(12).reshape(3, 4) % 3 == 0
LABELS = np.array([2, 0, 1, 1])


def _peaked(random: Draw) -> np.ndarray:
    """Images with a pixel that wins all four windows that see it."""
    x = distinct(random, 2, 1, 7, 7)
    x[..., 2, 2] += 10
    return x


def _winners(random: Draw) -> np.ndarray:
    """Where max pooling of such images finds its maxima."""
    operation = pool.MaxPool2d()
    operation.forward(_peaked(random), dilation=(1, 1), ceil_mode=False, winners=[], **OVERLAP)
    return operation.index


# ---------------------------------------------------------------------------------------------- the cases

_case(elementwise.Add, lambda r: ((normal(r, 3, 4), normal(r, 4)), {}))
_case(elementwise.AddRelu, lambda r: ((whole(r, 3, 4), whole(r, 4) + 0.5), {}))
_case(elementwise.Sub, lambda r: ((normal(r, 3, 4), normal(r, 3, 4)), {}))
_case(elementwise.Neg, lambda r: ((normal(r, 3, 4),), {}))
_case(elementwise.Mul, lambda r: ((off_zero(r, 3, 4), normal(r, 3, 4)), {}))
_case(elementwise.Div, lambda r: ((normal(r, 3, 4), positive(r, 3, 4)), {}))
_case(elementwise.Pow, lambda r: ((positive(r, 3, 4), normal(r, 3, 4)), {}))
_case(elementwise.PowNumber, lambda r: ((off_zero(r, 4, 2),), {"exponent": 3}))
_case(elementwise.Exp, lambda r: ((normal(r, 3, 4),), {}))
_case(elementwise.Log, lambda r: ((positive(r, 3, 4),), {}))
_case(elementwise.Sqrt, lambda r: ((positive(r, 3, 4),), {}))
_case(elementwise.Sin, lambda r: ((normal(r, 3, 4),), {}))
_case(elementwise.Cos, lambda r: ((normal(r, 3, 4),), {}))
_case(elementwise.Tanh, lambda r: ((normal(r, 3, 4),), {}))
_case(elementwise.Sigmoid, lambda r: ((normal(r, 3, 4),), {}))
_case(elementwise.Softplus, lambda r: ((normal(r, 3, 4),), {}))
_case(elementwise.Abs, lambda r: ((off_zero(r, 3, 4),), {}))
_case(elementwise.Relu, lambda r: ((off_zero(r, 3, 4),), {}))
_case(elementwise.ReluInput, lambda r: ((normal(r, 3, 4),), {"y": np.where(MASK, 1.0, 0.0)}))
_case(elementwise.LeakyRelu, lambda r: ((off_zero(r, 3, 4),), {"slope": 0.1}))
_case(elementwise.Clip, lambda r: ((distinct(r, 3, 4),), {"low": -0.35, "high": 0.25}))
_case(elementwise.Maximum, lambda r: ((np.zeros((3, 4)) + 0.05 + distinct(r, 3, 4), distinct(r, 3, 4)), {}))
_case(elementwise.Minimum, lambda r: ((np.zeros((3, 4)) + 0.05 + distinct(r, 3, 4), distinct(r, 3, 4)), {}))
_case(elementwise.Where, lambda r: ((normal(r, 3, 4), normal(r, 3, 4)), {"condition": MASK}))
_case(elementwise.Clone, lambda r: ((normal(r, 3, 4),), {}))
_case(elementwise.Cast, lambda r: ((normal(r, 3, 4),), {"dtype": "float64"}))
_case(elementwise.Move, lambda r: ((normal(r, 3, 4),), {"device": "cpu"}))

_case(reduce.Sum, lambda r: ((normal(r, 3, 4),), {"axes": (1,), "keepdim": False}))
_case(reduce.Mean, lambda r: ((normal(r, 3, 4),), {"axes": (1,), "keepdim": False}))
_case(reduce.LogSumExp, lambda r: ((normal(r, 3, 4),), {"axes": (1,), "keepdim": False}))
_case(reduce.TakeAlong, lambda r: ((normal(r, 3, 5),), {"index": TWICE, "axis": 1}))
_case(reduce.PutAlong, lambda r: ((normal(r, 3, 3),), {"index": TWICE, "axis": 1, "length": 5}))

_case(shape.Reshape, lambda r: ((normal(r, 2, 6),), {"shape": (3, 4)}))
_case(shape.Permute, lambda r: ((normal(r, 3, 3, 3),), {"axes": (2, 0, 1)}))
_case(shape.BroadcastTo, lambda r: ((normal(r, 1, 4),), {"shape": (3, 4)}))
_case(shape.GetItem, lambda r: ((normal(r, 5, 3),), {"index": ROWS}))
_case(shape.PutItem, lambda r: ((normal(r, 4, 3),), {"index": ROWS, "shape": (5, 3)}))
_case(shape.Cat, lambda r: ((normal(r, 3, 2), normal(r, 3, 2)), {"axis": 0}))
_case(shape.Pad, lambda r: ((normal(r, 3, 4),), {"widths": [(1, 1), (1, 1)], "value": 0.0}))

_case(linear.Matmul, lambda r: ((normal(r, 3, 3), normal(r, 3, 3)), {}))
_case(linear.Linear, lambda r: ((normal(r, 3, 3), normal(r, 3, 3)), {}))
_case(linear.Linear, lambda r: ((normal(r, 3, 3), normal(r, 3, 3), normal(r, 3)), {}), "bias")
_case(linear.LinearRelu, lambda r: ((whole(r, 4, 3), whole(r, 3, 3), whole(r, 3) + 0.5), {}))
_case(linear.LinearInput, lambda r: ((normal(r, 3, 3), normal(r, 3, 3)), {}))
_case(linear.LinearWeight, lambda r: ((normal(r, 3, 3), normal(r, 3, 3)), {}))

_case(conv.Conv2d, lambda r: ((normal(r, *X_SHAPE), normal(r, *W_SHAPE)), dict(GEOMETRY)))
_case(conv.Conv2d, lambda r: ((normal(r, *X_SHAPE), normal(r, *W_SHAPE), normal(r, 2)), dict(GEOMETRY)), "bias")
_case(conv.Conv2dRelu, lambda r: ((whole(r, *X_SHAPE), whole(r, *W_SHAPE), whole(r, 2) + 0.5), dict(GEOMETRY)))
_case(conv.Conv2dReluMaxPool, lambda r: (
    (distinct(r, *X_SHAPE) * 10, np.ones((2, 1, 1, 1)) * r.choice([-1.0, 2.0], (2, 1, 1, 1)), whole(r, 2) - 20.5),
    dict(GEOMETRY, padding=(0, 0), pool=dict(TILES, padding=(0, 0), dilation=(1, 1), ceil_mode=False))))
_case(conv.Conv2dReluCat, lambda r: (
    (whole(r, *X_SHAPE), whole(r, 2, 2, 1, 1), whole(r, *W_SHAPE), whole(r, 2) + 0.5, whole(r, 2) + 0.5),
    {"size": X_SHAPE[2:], "geometries": (dict(GEOMETRY, padding=(0, 0), groups=1), dict(GEOMETRY))}))
_case(conv.Conv2dNorm, lambda r: ((normal(r, *X_SHAPE), normal(r, *W_SHAPE), off_zero(r, 2), normal(r, 2)), {
    **GEOMETRY, "mean": normal(r, 2), "var": positive(r, 2), "eps": 1e-5}))
_case(conv.Conv2dNormRelu, lambda r: ((whole(r, *X_SHAPE), whole(r, *W_SHAPE), whole(r, 2), whole(r, 2) + 0.5), {
    **GEOMETRY, "mean": whole(r, 2), "var": np.array([1.0, 0.25]), "eps": 0.0}))
_case(conv.Conv2dInput, lambda r: ((normal(r, *X_SHAPE), normal(r, *W_SHAPE)), dict(GEOMETRY, shape=X_SHAPE)))
_case(conv.Conv2dWeight, lambda r: ((normal(r, *X_SHAPE), normal(r, *X_SHAPE)), dict(GEOMETRY, shape=W_SHAPE)))

_case(pool.MaxPool2d, lambda r: ((_peaked(r),), dict(OVERLAP, dilation=(1, 1), ceil_mode=False)))
_case(pool.MaxPool2dInput, lambda r: ((normal(r, 2, 1, 3, 3),), dict(
    OVERLAP, dilation=(1, 1), index=_winners(r), shape=(2, 1, 7, 7))))
_case(pool.AvgPool2d, lambda r: ((normal(r, 2, 1, 4, 4),), dict(TILES, ceil_mode=False, **AVERAGE)))
_case(pool.AvgPool2d, lambda r: ((normal(r, 2, 1, 5, 5),), dict(OVERLAP, ceil_mode=False, **AVERAGE)), "overlapping")
_case(pool.AvgPool2dInput, lambda r: (
    (normal(r, 2, 1, 2, 2),), dict(OVERLAP, shape=(2, 1, 5, 5), ceil_mode=False, **AVERAGE)))

_case(norm.Standardize, lambda r: ((normal(r, 5, 3),), {"axes": (0,), "eps": 1e-5}))

_case(norm.BatchNorm, lambda r: ((normal(r, 5, 3), off_zero(r, 3), normal(r, 3)), {"eps": 1e-5}))
_case(norm.BatchNorm, lambda r: ((normal(r, 2, 2, 3, 4), off_zero(r, 2), normal(r, 2)), {"eps": 1e-5}), "images")
_case(norm.BatchNormEval, lambda r: ((normal(r, 4, 3, 2), off_zero(r, 3), normal(r, 3)), _averages(r)))
_case(norm.BatchNormEvalRelu, lambda r: ((off_zero(r, 4, 3, 2), off_zero(r, 3), np.zeros(3)), {
    "mean": np.zeros(3), "var": positive(r, 3), "eps": 1e-5}))
_case(norm.ChannelAffine, lambda r: ((normal(r, 4, 3, 2), off_zero(r, 3), normal(r, 3)), {}))
_case(norm.ChannelAffine, lambda r: ((normal(r, 4, 3, 2), off_zero(r, 3)), {}), "no bias")

_case(loss.Softmax, lambda r: ((normal(r, 3, 4),), {"axis": 1}))
_case(loss.LogSoftmax, lambda r: ((normal(r, 3, 4),), {"axis": 1}))
_case(loss.CrossEntropy, lambda r: ((normal(r, 4, 3),), {"labels": LABELS}))
_case(loss.CrossEntropy, lambda r: ((normal(r, 4, 3),), {"labels": LABELS, "then": lambda y: y.mean()}), "mean")
_case(loss.CrossEntropyInput, lambda r: ((normal(r, 4, 3), normal(r, 4)), {"labels": LABELS}))
