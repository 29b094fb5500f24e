"""Checkpoints: whole or not at all, readable by others, and an error and nothing else for a damaged file."""

import contextlib
import os
import signal
import stat
import subprocess
import sys

import numpy as np
import pytest

import minivision as mv
from minivision import nn
from minivision.checkpoint import write_whole


def same(a, b):
    if isinstance(a, (mv.Tensor, np.ndarray)):
        return isinstance(b, mv.Tensor) and np.asarray(a).dtype == b.dtype and np.array_equal(np.asarray(a), b.numpy()) \
            and np.asarray(a).shape == b.shape
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


STATE = {
    "model": {"0.weight": mv.tensor([[1.0, 2.0]]), "0.bias": np.arange(3.0), "count": np.array(3)},
    "empty": {}, "nothing": None, "lr": 0.1, "epoch": 7, "big": 2**70, "yes": True, "name": "Größe \"x\"/y\n",
    "history": [{"loss": 1.5}, {"loss": float("inf")}, []], "pair": (1, mv.tensor([True])), "none": mv.zeros(0, 3),
    "strided": np.arange(12.0, dtype="float32").reshape(3, 4).T[::2], "bytes": np.arange(4, dtype="uint8"),
}


def test_round_trip(tmp_path):
    path = tmp_path / "deep" / "er" / "state.safetensors"
    mv.save(STATE, path)
    assert same(STATE, mv.load(path))
    mv.save({}, path)
    assert mv.load(path) == {}


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "int16", "int8", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_arrays_of_every_dtype(tmp_path, dtype, shape):
    array = np.ones(shape, dtype)
    mv.save({"x": array}, tmp_path / "x")
    assert same(array, mv.load(tmp_path / "x")["x"])


def test_special_numbers(tmp_path):
    array = np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324])
    mv.save({"x": array, "y": {"nan": float("nan")}}, tmp_path / "x")
    back = mv.load(tmp_path / "x")
    assert back["x"].numpy().tobytes() == array.tobytes() and np.isnan(back["y"]["nan"])


def test_names_that_look_like_paths_do_not_collide(tmp_path):
    state = {"a/b": mv.tensor([1.0]), "a": {"b": mv.tensor([2.0])}, "l": [mv.tensor([3.0])], "l/0": mv.tensor([4.0]),
             "__metadata__": mv.tensor([5.0])}
    mv.save(state, tmp_path / "x")
    assert same(state, mv.load(tmp_path / "x"))


def test_a_flat_state_is_a_plain_safetensors_file(tmp_path):
    from safetensors import safe_open
    from safetensors.numpy import load_file

    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    mv.save(model.state_dict(), tmp_path / "weights.safetensors")
    arrays = load_file(tmp_path / "weights.safetensors")
    assert set(arrays) == set(model.state_dict())
    for name, value in model.state_dict().items():
        assert np.array_equal(arrays[name], value.numpy()) and arrays[name].shape == value.shape
    with safe_open(tmp_path / "weights.safetensors", framework="numpy") as file:
        assert not file.metadata()


def test_files_of_other_programs_can_be_read(tmp_path):
    from safetensors.numpy import save_file

    save_file({"a": np.ones(2, "float16"), "b": np.arange(3)}, tmp_path / "x", metadata={"format": "pt"})
    back = mv.load(tmp_path / "x")
    assert back["a"].dtype == np.float32 and back["b"].tolist() == [0, 1, 2]


def test_loaded_arrays_are_writable_and_own(tmp_path):
    mv.save({"x": np.zeros(3)}, tmp_path / "x")
    back = mv.load(tmp_path / "x")["x"]
    back.data[0] = 1
    assert mv.load(tmp_path / "x")["x"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("state, text", [
    ({"a": {"b": object()}}, "object (at 'a/b')"), ({"f": [1, len]}, "'f/1'"), ({1: 2}, "key 1"), ({"$array": "x"}, "$array"),
    ({"c": 1j}, "complex"), ({"s": {1, 2}}, "set"), ({"b": b"x"}, "bytes"),
    ({"n": {"a": np.ones(2, complex)}}, "array of complex128 (at 'n/a')"), ({"t": np.array(["x"])}, "array of <U1 (at 't')"),
])
def test_what_cannot_be_saved(tmp_path, state, text):
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(TypeError) as caught:
        mv.save(state, tmp_path / "x")
    assert text in str(caught.value)
    assert (tmp_path / "x").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system with pipes that have names")
def test_what_is_no_file_is_neither_read_nor_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(mv.CheckpointError, match="pipe is not a regular file"):
        mv.load(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        mv.save({"x": 1}, tmp_path / "pipe")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.skipif(os.name != "posix", reason="links and permissions of Unix")
def test_links_and_permissions_stay(tmp_path):
    mv.save({"x": 1}, tmp_path / "file")
    (tmp_path / "file").chmod(0o600)
    (tmp_path / "link").symlink_to("file")
    mv.save({"x": 2}, tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and mv.load(tmp_path / "file") == {"x": 2}
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


# ---------------------------------------------------------------------------------------------- damage


def test_truncated_anywhere(tmp_path):
    path = tmp_path / "x"
    mv.save(STATE, path)
    content = path.read_bytes()
    for length in [*range(16), *range(16, len(content), 50), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(mv.CheckpointError, match="x"):
            mv.load(path)


def test_damaged_anywhere(tmp_path):
    """A changed byte gives the error, or a state with another number; no other exception."""
    path = tmp_path / "x"
    mv.save({"model": {"w": np.arange(4.0)}, "epoch": 3, "names": ["a", None]}, path)
    content = path.read_bytes()
    for place in range(len(content)):
        for value in (0, 255, content[place] ^ 1, ord("["), ord("9")):
            path.write_bytes(content[:place] + bytes([value]) + content[place + 1:])
            with contextlib.suppress(mv.CheckpointError):
                assert isinstance(mv.load(path), dict)


@pytest.mark.parametrize("content", [
    b"", b"\0" * 8, b"\0" * 100, b"PK\x03\x04" + b"\0" * 40, b"\x89PNG\r\n\x1a\n" + b"\0" * 40, b"hello, this is a text\n" * 9,
    b"\xff" * 64, (2).to_bytes(8, "little") + b"{}" + b"trailing", (2).to_bytes(8, "little") + b"[]",
    (8).to_bytes(8, "little") + b"not json", b"\x80\x04\x95" + b"\0" * 30,
])
def test_foreign_files(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(mv.CheckpointError, match=r"x is not a whole safetensors file.*Save or copy"):
        mv.load(tmp_path / "x")


@pytest.mark.parametrize("structure", ["", "{", "3", "[1]", '"text"', "null", '{"a": {"$array": "missing"}}',
                                       '{"a": {"$array": 3}}', '{"a": {"$array": ["w"]}}', "[" * 100_000])
def test_structures_that_do_not_fit(tmp_path, structure):
    from safetensors.numpy import save_file

    save_file({"w": np.zeros(2)}, tmp_path / "x", metadata={"minivision": structure})
    with pytest.raises(mv.CheckpointError, match="structure"):
        mv.load(tmp_path / "x")


def test_dtypes_that_no_tensor_holds(tmp_path):
    header = b'{"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
    (tmp_path / "x").write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    with pytest.raises(mv.CheckpointError):
        mv.load(tmp_path / "x")


def test_folders_and_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        mv.load(tmp_path / "missing")
    with pytest.raises(mv.CheckpointError, match="folder"):
        mv.load(tmp_path)
    with pytest.raises(IsADirectoryError, match="folder"):
        mv.save({}, tmp_path)


# ---------------------------------------------------------------------------------------------- interrupted writes


@pytest.mark.parametrize("broken", ["replace", "fsync"])
def test_a_failure_while_writing_leaves_the_old_file(tmp_path, monkeypatch, broken):
    path = tmp_path / "x"
    mv.save({"w": np.zeros(3)}, path)
    before = path.read_bytes()

    def fail(*args):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(OSError, match="no space"):
        mv.save({"w": np.ones(3)}, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x"]    # and no half-written file beside it


@pytest.mark.parametrize("error", [OSError("disk"), KeyboardInterrupt()])
def test_an_interrupt_in_the_middle_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def half(file):
        file.write(b"ne")
        raise error

    with pytest.raises(type(error)):
        write_whole(path, half)
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_permissions_are_those_of_an_ordinary_file(tmp_path):
    mv.save({}, tmp_path / "x")
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "plain").stat().st_mode


SAVER = """
import sys, numpy as np, minivision as mv
k = 0
while True:
    mv.save({"w": np.full(200_000, k), "k": k}, sys.argv[1])
    print(k, flush=True)
    k += 1
"""


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_killed_while_saving(tmp_path):
    """SIGKILL in the middle of one save after another: what lies there is always one whole state, never older than the
    last that was reported done."""
    path = tmp_path / "x"
    process = subprocess.Popen([sys.executable, "-c", SAVER, str(path)], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        done = int(line)
        state = mv.load(path)                               # also while the other process goes on writing
        assert (state["w"].numpy() == state["k"]).all() and state["k"] >= done
        if done >= 15:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    state = mv.load(path)
    assert (state["w"].numpy() == state["k"]).all() and state["k"] >= 15


# ---------------------------------------------------------------------------------------------- weights of models


def test_weights_of_another_model(tmp_path):
    path = tmp_path / "x"
    mv.save(mv.models.SmallCNN(width=4).state_dict(), path)
    with pytest.raises(nn.ModelMismatchError, match=r"another model than this LeNet5.*(missing|not in this model)"):
        mv.models.LeNet5().load_weights(path)
    with pytest.raises(nn.ModelMismatchError, match=r"features\.0\.weight has shape \(4, 1, 3, 3\), expected \(8, 1, 3, 3\)"):
        mv.models.SmallCNN(width=8).load_weights(path)
    model = mv.models.SmallCNN(width=4)
    model.load_weights(path)
    mv.save({"model": model.state_dict(), "epoch": 1}, path)
    mv.models.SmallCNN(width=4).load_weights(path)          # from a training checkpoint too
