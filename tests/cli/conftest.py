"""What the tests of the command share: a quick trained network, and a way to run the command and read what it said."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

import minivision as mv
from minivision.cli import main


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def command(capsys, monkeypatch, tmp_path):
    """Run ``minivision ...`` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MINIVISION_TRACEBACK", raising=False)

    def run(*arguments: object) -> Said:
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        return Said(code, *capsys.readouterr())

    return run


@pytest.fixture
def refused(command, tmp_path):
    """Run a command that must fail as promised: code 2, one line on stderr, nothing left behind. Returns the line."""

    def files() -> list[Path]:
        return sorted(tmp_path.rglob("*"))

    def run(*arguments: object) -> str:
        before = files()
        said = command(*arguments)
        assert said.code == 2, said
        assert said.err.startswith("minivision: error: ") and said.err.count("\n") == 1, said.err
        assert "Traceback" not in said.err + said.out
        assert files() == before
        return said.err

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """The checkpoint of four epochs on the digits, right for more than nine in ten."""
    folder = tmp_path_factory.mktemp("trained")
    assert main(["train", "--epochs", "4", "--out", str(folder), "--no-picture"]) == 0
    return folder / "model.safetensors"


@pytest.fixture(scope="session")
def digit_picture(tmp_path_factory, trained) -> tuple[Path, int]:
    """A test digit as a PNG of its own size, one that the network knows, and which it is."""
    from minivision.cli.trained import load_trained, probabilities

    test = mv.data.digits("test")
    answers = probabilities(load_trained(trained).model, test)
    surest = int(np.argmax(np.where(answers.argmax(1) == test.labels, answers.max(1), 0)))
    path = tmp_path_factory.mktemp("digit") / "digit.png"
    Image.fromarray((test.images[surest, 0] * 255).astype(np.uint8)).save(path)
    return path, int(test.labels[surest])
