"""Where the files of the data sets lie on this machine, and how to get those that are not there yet.

A download goes to ``NAME.part``; only when its length and its SHA-256 are those recorded below does it take its final
name, in one step. So a file under its final name is whole, and a download that breaks off goes on where it stopped.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .dataset import DataError

if TYPE_CHECKING:
    from http.client import HTTPResponse


@dataclass(frozen=True)
class RemoteFile:
    """One file of a data set as its authors published it."""

    name: str
    size: int                   # bytes
    sha256: str
    place: str = ""             # its path below the source's address, where that is not the name


@dataclass(frozen=True)
class Source:
    """A data set's public home. Fetching the files means taking them under their authors' terms."""

    base_url: str               # ends with a slash
    files: tuple[RemoteFile, ...]
    folder: str = ""            # below the data root, where that is not the name of the set


SOURCES = {
    "mnist": Source("https://ossci-datasets.s3.amazonaws.com/mnist/", (
        RemoteFile("train-images-idx3-ubyte.gz", 9_912_422,
                   "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        RemoteFile("train-labels-idx1-ubyte.gz", 28_881,
                   "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        RemoteFile("t10k-images-idx3-ubyte.gz", 1_648_877,
                   "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        RemoteFile("t10k-labels-idx1-ubyte.gz", 4_542,
                   "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    )),
    # Its authors offer plain http only; the checksums make up for what that leaves open.
    "fashion-mnist": Source("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", (
        RemoteFile("train-images-idx3-ubyte.gz", 26_421_880,
                   "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        RemoteFile("train-labels-idx1-ubyte.gz", 29_515,
                   "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        RemoteFile("t10k-images-idx3-ubyte.gz", 4_422_102,
                   "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        RemoteFile("t10k-labels-idx1-ubyte.gz", 5_148,
                   "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    )),
    "cifar10": Source("https://www.cs.toronto.edu/~kriz/", (
        RemoteFile("cifar-10-binary.tar.gz", 170_052_171,
                   "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
    )),
    # Weights of SqueezeNet by its authors (BSD licence), and short names of the 1000 classes (public domain).
    "squeezenet": Source("https://raw.githubusercontent.com/", (
        RemoteFile("compressed_SqueezeNet.net", 675_763, "e4ab6960ae8cd81505e1c2136921201507e930966c53deaf15862a395b3a3261",
                   "songhan/SqueezeNet-Deep-Compression/fb13faa2cf121ced9999f8a9d538ec6c56084733/compressed_SqueezeNet.net"),
        RemoteFile("imagenet-simple-labels.json", 14_209, "987705581d9446328498f950454a1cc7d8dfc578a8243d8bfdcd2588a6905aae",
                   "anishathalye/imagenet-simple-labels/0f6e9efda54a9d35ab6de6b6dda1581aad18b3d6/imagenet-simple-labels.json"),
    ), "squeezenet-v1.0"),
}

# What can be had, but not by us.
BY_HAND = {
    "resnet20": "ResNet-20's weights for CIFAR-10 are published as a PyTorch pickle only (akamaster/pytorch_resnet_cifar10: "
                "pretrained_models/resnet20-12fca82f.th), which can run code and which minivision does not open; save its "
                "state_dict with safetensors, names as there without 'module.' (conv1.weight, bn1.weight, "
                "layer1.0.conv1.weight, ..., linear.bias), as resnet20-cifar10/resnet20.safetensors in the data folder",
}

TIMEOUT = 30.0                  # seconds without a byte
ATTEMPTS = 5                    # connections per file; each goes on where the one before broke off
PIECE = 1 << 16                 # bytes between two looks at the progress


def data_root(root: str | PathLike[str] | None = None) -> Path:
    """The folder of all data sets: ``root``, else the environment variable MINIVISION_DATA, else a cache of the user.

    The cache is where the operating system wants it, ``~/.cache/minivision/data`` on Linux. The folder need not exist.
    """
    root = root if root is not None else os.environ.get("MINIVISION_DATA") or None
    if root is None:
        import platformdirs

        root = Path(platformdirs.user_cache_dir("minivision", appauthor=False)) / "data"
    return Path(root).expanduser()


def fetch(name: str, root: str | PathLike[str] | None = None, *, progress: bool = True,
          base_url: str | None = None) -> Path:
    """Bring the files of a data set onto this machine, into the folder ``name`` under `data_root`.

    Files that are there and right are left alone. Files that are there and wrong are left alone too, with an error that
    names them: they may be somebody's. Fetch a set from one process at a time; two would write to the same part.

    Args:
        name: "mnist" (12 MB), "fashion-mnist" (31 MB), "cifar10" (170 MB) or "squeezenet" (0.7 MB, the weights of a network).
        root: see `data_root`.
        progress: whether to say on stderr what is done, with a bar if it is a terminal.
        base_url: a mirror to take the files from instead of their public home, http or https. The checksums stay.

    Returns:
        The folder with the files.

    Raises:
        DataError: without network, for an answer that is not the file, for a wrong checksum (the download is deleted),
            or when the disk is full. What has come so far stays in ``NAME.part``, and the next call goes on from there.
    """
    if name in BY_HAND:
        raise DataError(BY_HAND[name])
    if name not in SOURCES:
        raise DataError(f"there is no data set {name!r} to fetch; there are {', '.join(SOURCES)}")
    source = SOURCES[name]
    base_url = source.base_url if base_url is None else base_url.rstrip("/") + "/"
    if not base_url.startswith(("http://", "https://")):
        raise DataError(f"base_url is {base_url!r}, expected an address that begins with http:// or https://")
    folder = data_root(root) / (source.folder or name)
    with _disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for file in source.files:
        path = folder / file.name
        with _disk_errors(path):
            if path.exists():
                _check_present(path, file)
                _say(progress, f"{name}: {file.name} is already here and right")
                continue
            _download(base_url + (file.place or file.name), path, file, progress)
    _say(progress, f"{name}: all files are in {folder}")
    return folder


def _download(url: str, path: Path, file: RemoteFile, progress: bool) -> None:
    """Get one file, through as many connections as it takes but no more than ATTEMPTS; check it, give it its name."""
    from tqdm import tqdm

    part = path.with_name(path.name + ".part")
    problem = ""
    with tqdm(total=file.size, desc=file.name, unit="B", unit_scale=True, disable=None if progress else True) as bar:
        for _ in range(ATTEMPTS):
            have = _length(part)
            if have < file.size:
                free = shutil.disk_usage(path.parent).free
                if free < file.size - have:
                    raise DataError(f"{path.parent} has {free} bytes free, but {file.name} needs {file.size - have} "
                                    "more; make room, or name another folder with root= or MINIVISION_DATA")
                problem = _receive(url, part, have, file, bar)
            got = _length(part)
            if got < file.size:
                if 0 < got <= have:
                    break                # this connection brought nothing new; another would hardly do better
                continue
            digest = _sha256(part)
            if digest == file.sha256:
                os.replace(part, path)
                return
            part.unlink()
            if have == 0:
                raise DataError(f"{url} gave {'more than ' if got > file.size else ''}{file.size} bytes with the "
                                f"SHA-256 {digest}, expected {file.sha256}; the download was deleted. The file was "
                                "changed or replaced on its way: try another network, or a mirror with base_url=")
            # What an earlier connection left may be the part that is wrong: once more, from nothing.
    raise DataError(f"{url} broke off after {_length(part)} of {file.size} bytes ({problem}). What came is kept in "
                    f"{part.name}; fetch again to go on from there")


def _receive(url: str, part: Path, have: int, file: RemoteFile, bar: Any) -> str:
    """One connection: append to ``part`` what comes after its first ``have`` bytes. Returns what ended it, in words."""
    import http.client

    try:
        response = _request(url, have)
    except (http.client.HTTPException, OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        reason = str(getattr(error, "reason", "") or error or type(error).__name__)
        if have:
            return reason
        raise DataError(f"{url} cannot be reached ({reason}); is this machine on a network? A proxy is taken from "
                        "the environment variables http_proxy and https_proxy") from error
    with response:
        if have and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            have = 0                     # a server that knows no ranges sends the file from its beginning
            if response.status != 200:
                part.unlink()
                return f"the server answered {response.status} {response.reason} to a request for the rest"
        if response.length not in (None, file.size - have):
            raise DataError(f"{url} offers {response.length} bytes, expected {file.size - have}; this is not the "
                            "published file (a login page of the network?). Try another network, or a mirror with "
                            "base_url=")
        bar.n = have
        bar.refresh()
        with open(part, "ab" if have else "wb") as out:
            while have <= file.size:     # one byte too many is enough to know that this is not the file
                try:
                    piece = response.read(min(PIECE, file.size + 1 - have))
                except (http.client.HTTPException, OSError) as error:
                    return str(error) or type(error).__name__
                if not piece:
                    break
                out.write(piece)
                have += len(piece)
                bar.update(len(piece))
    return "the server closed the connection"


def _request(url: str, have: int) -> HTTPResponse:
    """Ask for a file from byte ``have`` on."""
    import urllib.error
    import urllib.request

    request = urllib.request.Request(url, headers={"User-Agent": "minivision"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if have and error.code == 416:   # "range not satisfiable": nothing lies beyond what we have, start over
            return urllib.request.urlopen(url, timeout=TIMEOUT)
        raise DataError(f"{url} answered {error.code} {error.reason}; the file may have moved or the server may be "
                        "busy: try later, or a mirror with base_url=") from error


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _check_present(path: Path, file: RemoteFile) -> None:
    """Accept a file that is under its final name only if it is the published one."""
    if not path.is_file():
        raise DataError(f"{path} is not a file; move it away and fetch again")
    size = path.stat().st_size
    if size != file.size or _sha256(path) != file.sha256:
        raise DataError(f"{path} ({size} bytes) is not the published file ({file.size} bytes, SHA-256 "
                        f"{file.sha256}); move or delete it and fetch again")


def _sha256(path: Path) -> str:
    import hashlib

    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(f"no space left for {path}; make room, or name another folder with root= or "
                            "MINIVISION_DATA. What came so far is kept, fetch again to go on") from error
        raise DataError(f"{path} cannot be written: {error.strerror or error}; name another folder with root= or "
                        "MINIVISION_DATA") from error


def _say(progress: bool, text: str) -> None:
    if progress:
        print(text, file=sys.stderr)
