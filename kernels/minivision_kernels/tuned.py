"""Which rung was fastest on this machine, where somebody has measured: `minivision bench --tune` writes the table.

It is a JSON file beside the compiled kernels (``cpu/cache.py``), so an edit of any kernel leaves it behind, and its name
has the processor in it, so another machine that shares the folder does not read it. A call is looked up by its operation
and by the shapes, dtypes and other arguments; only floating-point numbers, like a learning rate, do not matter. For each
there are two names, one for when only exact rungs may be chosen:

    {"machine": "AMD EPYC ...", "threads": 2, "date": "2026-11-24",
     "choices": {"relu_forward x=float32(4, 64, 56, 56)": {"any": "vectors", "exact": "vectors"}}}

Under "tiles" stands, for products on a GPU, which tile was the fastest and in how many slices (``cuda/tile.py``), by the name
of the device and the size of the product.

The table is advice: a name that is unknown, inexact or unfit for the call is passed over, and a file that cannot be read
counts as empty. The environment variable MINIVISION_TUNED=0 leaves it unread.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Choices = dict[str, dict[str, str]]

table: Choices | None = None            # None until the first call asks
_tiles: dict[str, list[int]] | None = None
_known: dict[tuple[Any, ...], str | None] = {}      # calls that were looked up before; writing one in words takes longer


def chosen(function: Callable[..., Any], op: str, arrays: Sequence[Any], options: Mapping[str, Any], exact: bool) -> str | None:
    """The name of the rung that was fastest for this call, or None. ``function`` is any rung of ``op``."""
    global table
    if table is None:
        table = load()
    if not table:
        return None
    call = (op, exact, *[(value.shape, value.dtype) if isinstance(value, np.ndarray) else value for value in arrays],
            *[(name, value) for name, value in options.items() if not isinstance(value, float)])
    try:
        return _known[call]
    except KeyError:
        name = table.get(key(function, op, arrays, options), {}).get("exact" if exact else "any")
        return _known.setdefault(call, name)
    except TypeError:                   # a list, say, where a tuple belongs: the rung will complain of it better
        return None


def key(function: Callable[..., Any], op: str, arrays: Sequence[Any], options: Mapping[str, Any]) -> str:
    """A call in words, the same whether arguments are given by position or by name."""
    given = {**dict(zip(_names(function), arrays)), **options}
    return " ".join([op, *(f"{name}={_word(given[name])}" for name in _names(function)
                           if name in given and not isinstance(given[name], float))])


def any_tiles() -> bool:
    """Whether a tile was measured for any product."""
    global _tiles
    if _tiles is None:
        _tiles = {key: choice for key, choice in _section("tiles").items()
                  if isinstance(choice, list) and len(choice) == 2 and all(type(number) is int for number in choice)}
    return bool(_tiles)


def tile(key: str) -> tuple[int, int] | None:
    """Which tile was the fastest for this product and in how many slices, or None."""
    choice = (_tiles or {}).get(key)
    return None if choice is None else (choice[0], choice[1])


def load() -> Choices:
    """The choices of this machine's table; empty if there is none that can be read."""
    return {call: names for call, names in _section("choices").items() if isinstance(names, dict)}


def _section(name: str) -> dict[str, Any]:
    import json

    if os.environ.get("MINIVISION_TUNED") == "0":
        return {}
    try:
        stored = json.loads(path().read_text())
    except (OSError, ValueError):
        return {}
    section = stored.get(name) if isinstance(stored, dict) else None
    return section if isinstance(section, dict) else {}


def save(choices: Choices, tiles: Mapping[str, Sequence[int]] | None = None, **about: Any) -> Path:
    """Add ``choices`` and ``tiles`` to the table, on the disk and in this process; ``about`` says how they were found.

    Raises:
        OSError: the folder cannot be written.
    """
    import json
    import tempfile

    global table, _tiles
    file = path()
    table = {**load(), **choices}
    _tiles = {**_section("tiles"), **{key: list(choice) for key, choice in (tiles or {}).items()}}
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as part:
        json.dump({**about, "choices": table, "tiles": _tiles}, part, indent=1)
    os.replace(part.name, file)
    _known.clear()
    return file


def path() -> Path:
    """The file of this machine's table, for this state of the sources."""
    from minivision_kernels.cpu import cache

    return cache.folder() / f"tuned-{machine()}.json"


@functools.cache
def machine() -> str:
    """A name for the processor and its features, and for what Numba was told to make of it."""
    import hashlib
    import platform

    about = [platform.machine(), platform.processor(), *map(os.environ.get, ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"))]
    try:
        first = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    except OSError:
        first = []
    names = "model name", "flags", "Features", "CPU part"
    about += [line for line in first if line.startswith(names)]
    return hashlib.sha256(repr(about).encode()).hexdigest()[:16]


@functools.cache
def _names(function: Callable[..., Any]) -> tuple[str, ...]:
    import inspect

    return tuple(inspect.signature(function).parameters)


def _word(value: Any) -> str:
    return f"{value.dtype}{value.shape}" if hasattr(value, "dtype") and hasattr(value, "shape") else repr(value)
