"""Where compiled kernels are kept between runs, and why an old one is never used by mistake.

Numba's own disk cache looks at the file a kernel is written in, but not at the files of the helpers it calls: edit a
helper and the stale kernel answers. So every state of the sources gets a folder of its own, named by a hash over all
source files of this package and the versions of Numba and llvmlite:

    <user cache folder>/minivision/kernels/<hash>/      or $MINIVISION_CACHE/kernels/<hash>/

Folders that nothing has used for a month are removed. A folder that cannot be written is no error: kernels are then
compiled in each process anew.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
UNUSED_DAYS = 30
STAMP = "last-used"             # a file in each folder; its time says when a process last opened the folder


@dataclass(frozen=True)
class CacheInfo:
    """The state of the disk cache of compiled kernels."""

    folder: Path
    writable: bool
    problem: str                # why it cannot be written; empty if it can


@functools.cache
def cache_info() -> CacheInfo:
    """The folder of this version's compiled kernels, made if it can be; the answer is kept for the process."""
    import tempfile

    ours = folder()
    try:
        ours.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=ours).close()
        (ours / STAMP).touch()
    except OSError as error:
        return CacheInfo(ours, writable=False, problem=str(error))
    _prune(ours.parent, keep=ours)
    return CacheInfo(ours, writable=True, problem="")


def folder() -> Path:
    """The folder of this state of the sources, whether it is there or not."""
    return root() / "kernels" / source_hash()


@functools.cache
def source_hash() -> str:
    """A name for this state of the sources: the text of every file, and the versions of the compiler."""
    import hashlib  # here and below: modules that `import minivision` should not wait for

    digest = hashlib.sha256()
    for name in ("numba", "llvmlite"):
        digest.update(f"{name} {_version(name)}\n".encode())
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_bytes()
        digest.update(f"{path.relative_to(PACKAGE).as_posix()} {len(text)}\n".encode())
        digest.update(text)
    return digest.hexdigest()[:16]


def root() -> Path:
    """The folder of all that minivision keeps for a user between runs."""
    chosen = os.environ.get("MINIVISION_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("minivision", appauthor=False))


def _version(distribution: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "missing"


def _prune(root: Path, keep: Path) -> None:
    """Remove what is surely ours and surely old: a hash for a name, our stamp inside, not used for a month."""
    import re
    import shutil

    oldest = time.time() - UNUSED_DAYS * 24 * 3600
    for folder in root.iterdir():
        if folder == keep or not re.fullmatch("[0-9a-f]{16}", folder.name):
            continue
        with contextlib.suppress(OSError):          # no stamp: not ours; or another process is removing it too
            if (folder / STAMP).stat().st_mtime < oldest:
                shutil.rmtree(folder, ignore_errors=True)
