"""Updates of several parameters in one call.

A small network has few numbers to change in each of its layers: to call an update takes longer than to do it. So an update
of one parameter, ``sgd_update(param, grad, velocity, ...)``, also takes tuples of arrays in place of the arrays, all of one
dtype and on one device; the parameters are given by position. Rungs marked ``@one_by_one`` then go through them; those of
``cpu/several.py`` hand many to one kernel.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any


def one_by_one(update: Callable[..., None]) -> Callable[..., None]:
    """Let an update of one parameter take tuples of arrays, too."""
    signature = inspect.signature(update)

    @functools.wraps(update)
    def call(*args: Any, **options: Any) -> None:
        if not args or type(args[0]) is not tuple:
            return update(*args, **options)
        given = signature.bind(*args, **options).arguments
        names = [name for name, value in given.items() if type(value) is tuple or value is None]
        for arrays in zip(*tuples(*[given[name] for name in names])):
            update(**{**given, **dict(zip(names, arrays))})
        return None

    return call


def tuples(*kinds: Any) -> tuple[tuple[Any, ...], ...]:
    """The parameters, their gradients and so on, each as a tuple, whether they were given as tuples or as single arrays.

    Raises:
        ValueError: there are not as many of each kind.
    """
    if type(kinds[0]) is not tuple:
        return tuple([(kind,) for kind in kinds])
    count = len(kinds[0])
    filled = tuple([(None,) * count if kind is None else kind for kind in kinds])
    if any(type(kind) is not tuple or len(kind) != count for kind in filled):
        got = ", ".join(f"{len(kind)} arrays" if type(kind) is tuple else f"one {type(kind).__name__}" for kind in filled)
        raise ValueError(f"an update of several parameters got {got}; expected tuples with as many arrays of each kind")
    return filled


def of_first(accepts: Callable[..., bool]) -> Callable[..., bool]:
    """The same question, asked about the first array where a tuple of them is given."""
    def ask(array: Any, /, *_: Any, **__: Any) -> bool:
        return accepts(array[0] if type(array) is tuple else array)

    return ask
