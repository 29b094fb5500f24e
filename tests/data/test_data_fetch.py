"""fetch against a server on this machine that misbehaves in every way we know."""

import contextlib
import errno
import hashlib
import importlib
import shutil
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from minivision.data import DataError, fetch

module = importlib.import_module("minivision.data.fetch")       # the package's attribute of that name is the function

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT under every name; a test sets what is wrong with it."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.cuts = []              # for each connection in turn, after how many bytes of its body to hang up
        self.ranges = True
        self.shift = 0              # by how much to miss the range that was asked for
        self.status = None          # an error to answer with
        self.declare_length = True
        self.requests = []          # the Range header of each request

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.requests.append(wanted)
        if server.status:
            return self.send_error(server.status)
        body, start = server.content, 0
        if wanted and server.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) + server.shift
            if start >= len(body):
                return self.send_error(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        if server.declare_length:
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        end = start + server.cuts.pop(0) if server.cuts else None
        with contextlib.suppress(OSError):      # the client hangs up, as it should when it is sent too much
            self.wfile.write(body[start:end])
        return None

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    file = module.RemoteFile("file.bin", len(CONTENT), SHA256)
    monkeypatch.setitem(module.SOURCES, "small", module.Source("http://nobody.invalid/", (file,)))
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def get(server, root):
    return fetch("small", root, base_url=server.url, progress=False)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_fetched_checked_and_named(server, tmp_path):
    folder = get(server, tmp_path)
    assert folder == tmp_path / "small" and names(folder) == ["file.bin"]
    assert (folder / "file.bin").read_bytes() == CONTENT


def test_what_is_there_and_right_is_left_alone(server, tmp_path, capsys):
    get(server, tmp_path)
    fetch("small", tmp_path, base_url=server.url)
    assert len(server.requests) == 1
    told = capsys.readouterr()
    assert "file.bin is already here and right" in told.err and told.out == ""


def test_a_cut_connection_is_taken_up_where_it_broke(server, tmp_path, capfd):
    server.cuts = [100_000, 100_000]
    folder = get(server, tmp_path)
    assert (folder / "file.bin").read_bytes() == CONTENT and names(folder) == ["file.bin"]
    assert server.requests == [None, "bytes=100000-", "bytes=200000-"]
    assert capfd.readouterr() == ("", "")                                        # progress=False is silent


def test_the_next_call_goes_on_too(server, tmp_path):
    server.cuts = [100_000, 0]
    with pytest.raises(DataError, match=r"broke off after 100000 of 300000 bytes .* file\.bin\.part; fetch again"):
        get(server, tmp_path)
    assert names(tmp_path / "small") == ["file.bin.part"]
    get(server, tmp_path)
    assert server.requests[-1] == "bytes=100000-" and names(tmp_path / "small") == ["file.bin"]


def test_connections_that_always_break_come_to_an_end(server, tmp_path):
    server.cuts = [10] * 100
    with pytest.raises(DataError, match="broke off after 50 of"):
        get(server, tmp_path)
    assert len(server.requests) == module.ATTEMPTS


def test_a_server_without_ranges_starts_over(server, tmp_path):
    server.ranges, server.cuts = False, [200_000]
    folder = get(server, tmp_path)
    assert (folder / "file.bin").read_bytes() == CONTENT
    assert server.requests == [None, "bytes=200000-"]


def test_a_server_without_ranges_that_always_breaks_comes_to_an_end(server, tmp_path):
    server.ranges, server.cuts = False, [200_000] * 100
    with pytest.raises(DataError, match="broke off after 200000 of"):
        get(server, tmp_path)
    assert len(server.requests) == 2


def test_a_wrong_checksum_leaves_nothing_behind(server, tmp_path):
    server.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with pytest.raises(DataError, match=f"expected {SHA256}; the download was deleted"):
        get(server, tmp_path)
    assert names(tmp_path / "small") == []


@pytest.mark.parametrize("left", [b"something else", bytes(len(CONTENT)), bytes(len(CONTENT) + 5), CONTENT[:50_000]])
def test_whatever_an_earlier_call_left_does_not_stand_in_the_way(server, tmp_path, left):
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "file.bin.part").write_bytes(left)
    folder = get(server, tmp_path)
    assert (folder / "file.bin").read_bytes() == CONTENT and names(folder) == ["file.bin"]


def test_a_whole_part_needs_no_connection(server, tmp_path):
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "file.bin.part").write_bytes(CONTENT)
    get(server, tmp_path)
    assert server.requests == []


def test_a_range_the_server_cannot_give_starts_over(server, tmp_path):
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "file.bin.part").write_bytes(CONTENT[:200_000])
    server.content = CONTENT[:100_000]
    with pytest.raises(DataError, match="offers 100000 bytes, expected 300000; this is not the published file"):
        get(server, tmp_path)


def test_an_answer_with_another_range_starts_over(server, tmp_path):
    server.cuts, server.shift = [100_000], 1
    assert (get(server, tmp_path) / "file.bin").read_bytes() == CONTENT
    assert server.requests == [None, "bytes=100000-", None]


@pytest.mark.parametrize("declared", [True, False])
def test_no_more_than_the_declared_size_is_written(server, tmp_path, monkeypatch, declared):
    server.content, server.declare_length = CONTENT + bytes(5_000_000), declared
    largest = []
    unlink = module.Path.unlink
    monkeypatch.setattr(module.Path, "unlink", lambda path: (largest.append(path.stat().st_size), unlink(path))[1])
    says = "offers 5300000 bytes, expected 300000" if declared else "more than 300000 bytes"
    with pytest.raises(DataError, match=says):
        get(server, tmp_path)
    assert names(tmp_path / "small") == [] and largest == ([] if declared else [len(CONTENT) + 1])


def test_a_login_page_instead_of_the_file(server, tmp_path):
    server.content = b"<html>please log in</html>"
    with pytest.raises(DataError, match=r"offers 26 bytes, expected 300000; .* login page"):
        get(server, tmp_path)


@pytest.mark.parametrize("status", [404, 403, 503])
def test_an_http_error_is_told_and_not_repeated(server, tmp_path, status):
    server.status = status
    with pytest.raises(DataError, match=rf"file\.bin answered {status} "):
        get(server, tmp_path)
    assert len(server.requests) == 1 and names(tmp_path / "small") == []


def test_nobody_listens(server, tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))                           # bound and not listening: a connection is refused
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(DataError, match=r"cannot be reached .*on a network"):
            fetch("small", tmp_path, base_url=url, progress=False)
        (tmp_path / "small" / "file.bin.part").write_bytes(CONTENT[:7])
        with pytest.raises(DataError, match="broke off after 7 of"):
            fetch("small", tmp_path, base_url=url, progress=False)


def test_a_server_that_says_nothing_is_left(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", 0.05)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(DataError, match=r"cannot be reached \(timed out\)"):
            fetch("small", tmp_path, base_url=f"http://127.0.0.1:{silent.getsockname()[1]}", progress=False)


def test_a_full_disk(server, tmp_path, monkeypatch):
    usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage(10**6, 10**6 - 1000, 1000))
    with pytest.raises(DataError, match=r"has 1000 bytes free, but file\.bin needs 300000 more"):
        get(server, tmp_path)
    assert server.requests == []


def test_a_disk_that_fills_up_meanwhile(server, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "_receive", full)
    with pytest.raises(DataError, match="no space left for"):
        get(server, tmp_path)


def test_a_wrong_file_under_the_final_name_is_somebodys(server, tmp_path):
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "file.bin").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"file\.bin \(4 bytes\) is not the published file .* move or delete it"):
        get(server, tmp_path)
    assert (tmp_path / "small" / "file.bin").read_bytes() == b"mine" and server.requests == []


def test_a_root_that_cannot_be_a_folder(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="cannot be written"):
        get(server, tmp_path / "file")


def test_names_and_addresses(tmp_path):
    with pytest.raises(DataError, match="no data set 'imagenet' to fetch; there are mnist, fashion-mnist, cifar10"):
        fetch("imagenet", tmp_path)
    for url in ("file:///etc", "ftp://somewhere", ""):
        with pytest.raises(DataError, match="base_url is"):
            fetch("mnist", tmp_path, base_url=url)


def test_the_register_is_well_formed():
    for source in module.SOURCES.values():
        assert source.base_url.startswith("http") and source.base_url.endswith("/")
        for file in source.files:
            assert len(bytes.fromhex(file.sha256)) == 32 and file.size > 0 and "/" not in file.name


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_register_describes_the_real_files(real_data, name):
    for file in module.SOURCES[name].files:
        module._check_present(real_data / name / file.name, file)
