"""Saving and loading: safetensors files, written so that a crash at any moment leaves the old or the new file whole.

A safetensors file is a JSON header followed by raw arrays. There is no code in it, so a file from a stranger can be
wrong but not dangerous. A flat dict of arrays becomes a plain safetensors file that any other program can read; a
nested one (a training checkpoint) keeps its structure and its numbers and texts in the header's metadata.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .tensor import Tensor

if TYPE_CHECKING:
    from pathlib import Path

KEY = "minivision"          # the metadata entry that holds the structure
STALE_SECONDS = 600         # no write takes that long
ARRAY = "$array"            # in that structure, {ARRAY: name} stands for the array of that name


class CheckpointError(ValueError):
    """A file is not a checkpoint, is damaged, or holds something else than was asked for."""


def save(state: Mapping[str, Any], path: str | os.PathLike) -> None:
    """Write ``state`` to a safetensors file.

    Args:
        state: a dict, possibly nested, of Tensors, arrays, numbers, texts, bools, None, and lists of them.
        path: the file to write or replace. It is first written beside its place and then renamed.

    Raises:
        TypeError: a value is of another kind; its path in ``state`` is named.
        OSError: the file cannot be written; an earlier file is left as it was.
    """
    from safetensors.numpy import save as to_bytes

    if not isinstance(state, Mapping):
        raise TypeError(f"save needs a dict, got a {type(state).__name__}; for a model pass model.state_dict()")
    arrays: dict[str, np.ndarray] = {}
    tree = _pack(state, "", arrays)
    flat = isinstance(tree, dict) and all(isinstance(v, dict) and v.get(ARRAY) == k for k, v in tree.items())
    content = to_bytes(arrays, metadata=None if flat and arrays else {KEY: json.dumps(tree)})
    write_whole(path, lambda file: file.write(content))


def load(path: str | os.PathLike) -> dict[str, Any]:
    """Read what `save` wrote, or any other safetensors file, with Tensors for the arrays (float16 becomes float32).

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, cut short, or no safetensors file.
    """
    from pathlib import Path  # here and below: modules that `import minivision` should not wait for

    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}; check the path")
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder, expected a safetensors file")
    if not path.is_file():                                      # a pipe would keep us waiting for ever
        raise CheckpointError(f"{path} is not a regular file, expected a safetensors file")
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: _tensor(file.get_tensor(name), name, path) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (SafetensorError, TypeError, AttributeError, ValueError) as problem:
        if isinstance(problem, CheckpointError):
            raise
        raise CheckpointError(f"{path} is not a whole safetensors file ({problem}); it may have been cut short, or be of "
                              "another format. Save or copy it again") from problem
    if KEY not in metadata:
        return dict(arrays)
    try:
        state = _unpack(json.loads(metadata[KEY]), arrays)
        if not isinstance(state, dict):
            raise TypeError(f"it is a {type(state).__name__}, expected a dict")
        return state
    except (ValueError, KeyError, TypeError, RecursionError) as problem:
        raise CheckpointError(f"the structure in {path} does not fit its arrays ({problem}); the file is damaged") from problem


def _tensor(array: np.ndarray, name: str, path: Path) -> Tensor:
    try:
        return Tensor(array.astype(np.float32) if array.dtype == np.float16 else array.copy())
    except TypeError as problem:
        raise CheckpointError(f"{name} in {path}: {problem}") from problem


def _pack(value: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    """``value`` as JSON, its arrays put aside under their paths."""
    if isinstance(value, Tensor):
        value = value.numpy()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biuf" or value.dtype.itemsize > 8:
            raise TypeError(f"a checkpoint cannot hold an array of {value.dtype} (at {path!r}); use numbers or bools of at "
                            "most 64 bits")
        while path in arrays or path == "__metadata__":          # {"a/b": ..., "a": {"b": ...}}; the format's own name
            path += "'"
        arrays[path] = np.ascontiguousarray(value).reshape(value.shape)
        return {ARRAY: path}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or key == ARRAY:
                raise TypeError(f"a checkpoint cannot hold the key {key!r} at {path or 'the top'}; keys are texts")
        return {key: _pack(v, f"{path}/{key}" if path else key, arrays) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_pack(v, f"{path}/{i}", arrays) for i, v in enumerate(value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a checkpoint cannot hold a {type(value).__name__} (at {path!r}); use arrays, numbers, texts, lists and "
                    "dicts")


def _unpack(tree: Any, arrays: Mapping[str, Any]) -> Any:
    if isinstance(tree, dict):
        if set(tree) == {ARRAY}:
            return arrays[tree[ARRAY]]
        return {key: _unpack(value, arrays) for key, value in tree.items()}
    return [_unpack(value, arrays) for value in tree] if isinstance(tree, list) else tree


def write_whole(path: str | os.PathLike, write: Callable[[Any], Any]) -> None:
    """Give ``write`` an open file and put it in place of ``path`` only once it is complete and on the disk.

    A link stays one, and who may read a file stays as it was. Pipes and devices are refused.
    """
    import contextlib
    import errno
    import glob
    import tempfile
    import time
    from pathlib import Path

    path = Path(os.path.realpath(path))
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, expected the name of a file to write")
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file, which alone can be replaced by a whole one", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    for stale in path.parent.glob(f".{glob.escape(path.name)}.*.part"):      # left by a process that was killed
        with contextlib.suppress(OSError):
            if time.time() - stale.stat().st_mtime > STALE_SECONDS:
                stale.unlink()
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)                          # mkstemp makes files private; this one is an ordinary file
        os.chmod(temporary, path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
