"""`minivision exercises` as a student uses it: from init to the finish line, with mistakes on the way."""

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from minivision import no_grad, ops, randn
from minivision.exercises import finish
from minivision.exercises.track import find, items
from minivision.models import SmallCNN

RELU = find("relu")


@pytest.fixture
def folder(command, tmp_path):
    """A student's folder, in which everything is as shipped."""
    assert command("exercises", "init", "mine").code == 0
    return tmp_path / "mine"


def solve(folder: Path, *names: str) -> None:
    for name in names:
        (folder / find(name).path).write_text(find(name).solution)


def test_init_writes_every_exercise_once_and_touches_nothing_later(command, folder):
    assert all((folder / item.path).read_text() == item.shipped for item in items())
    assert "solution" not in (folder / RELU.path).read_text()
    (folder / RELU.path).write_text("mine")
    said = command("exercises", "init", "mine")
    assert said.code == 0 and "nothing was changed" in said.out
    assert (folder / RELU.path).read_text() == "mine"


def test_a_student_fails_passes_and_goes_on(command, folder):
    first = items()[0]
    said = command("exercises", "--no-watch", "--dir", "mine")
    assert said.code == 1 and first.name in said.out and first.exercise.goal in said.out and f"0 of {len(items())}" in said.out
    solve(folder, first.name)
    said = command("exercises", "run", "--dir", "mine")
    assert said.code == 0 and f"{first.name} is right" in said.out
    progress = json.loads((folder / "progress.json").read_text())
    assert list(progress["passed"]) == [first.name] and progress["current"] == items()[1].name
    said = command("exercises", "list", "--dir", "mine")
    assert f"✓ {first.name}" in said.out and f"→ {items()[1].name}" in said.out


def test_hints_come_one_by_one(command, folder):
    for count in (1, 2, 3, 3):
        said = command("exercises", "hint", "relu", "--dir", "mine")
        assert said.out.count("hint ") == count
    assert json.loads((folder / "progress.json").read_text())["hints"] == {"relu": 3}


def test_reset_keeps_a_backup_each_time(command, folder):
    path = folder / RELU.path
    for text in ("one", "two"):
        path.write_text(text)
        assert command("exercises", "reset", "relu", "--dir", "mine").code == 0
    assert path.read_text() == RELU.shipped
    assert [(path.parent / f"{path.name}.{n}.bak").read_text() for n in (1, 2)] == ["one", "two"]


def test_diff_shows_what_was_changed(command, folder):
    assert "nothing was changed" in command("exercises", "diff", "relu", "--dir", "mine").out
    solve(folder, "relu")
    assert "+        return grad * (self.x > 0)" in command("exercises", "diff", "relu", "--dir", "mine").out


def test_the_solution_is_for_those_who_passed_or_gave_up(command, folder, refused):
    assert "--give-up" in refused("exercises", "solution", "relu", "--dir", "mine")
    said = command("exercises", "solution", "relu", "--give-up", "--dir", "mine")
    assert said.code == 0 and "return grad * (self.x > 0)" in said.out
    assert (folder / "solutions" / Path(RELU.path).name).read_text() == RELU.solution
    assert json.loads((folder / "progress.json").read_text())["given_up"] == ["relu"]
    solve(folder, "relu")
    assert command("exercises", "run", "relu", "--dir", "mine").code == 0
    assert "solution shown" in command("exercises", "list", "--dir", "mine").out


def test_the_folder_is_found_from_inside(command, folder, monkeypatch):
    monkeypatch.chdir(folder / Path(RELU.path).parent)
    assert command("exercises", "hint").code == 0


@pytest.mark.parametrize("arguments, said", [
    (("exercises",), "minivision exercises init DIR"),
    (("exercises", "rnu"), "did you mean run?"),
    (("exercises", "run", "--dir", "nowhere"), "not a folder of exercises"),
])
def test_without_a_folder_it_says_how_to_begin(refused, arguments, said):
    assert said in refused(*arguments)


def test_mistakes_with_files_lead_back(command, folder, refused):
    assert "did you mean" in refused("exercises", "run", "rellu", "--dir", "mine")
    path = folder / RELU.path
    path.rename(path.with_name("01_relu2.py"))
    assert "Is 01_relu2.py it? Then rename it to 01_relu.py" in refused("exercises", "run", "relu", "--dir", "mine")
    path.write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in refused("exercises", "run", "relu", "--dir", "mine")
    assert "not JSON" in refused("exercises", "debug", "relu", "--case", "{n", "--dir", "mine")
    assert "its sizes are n, m" in refused("exercises", "debug", "relu", "--case", '{"q": 1}', "--dir", "mine")
    (folder / "progress.json").write_text("[]")
    assert "is damaged" in refused("exercises", "list", "--dir", "mine")


def test_a_file_is_no_folder(refused, tmp_path):
    (tmp_path / "taken").write_text("")
    assert "is a file" in refused("exercises", "init", "taken")


def test_the_exercises_are_tests_for_pytest_too(folder):
    solve(folder, "relu")
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "relu or linear"]
    ran = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 1 and "1 failed, 1 passed" in ran.stdout, ran.stdout
    assert "linear" in ran.stdout and "✗" in ran.stdout


def test_the_finish_line_trains_on_the_students_operations(command, folder, refused):
    assert "no operation is passed yet" in refused("exercises", "finish", "--dir", "mine")
    names = ("im2col", "max_pool", "relu", "linear", "cross_entropy", "momentum")
    solve(folder, *names)
    progress = json.loads((folder / "progress.json").read_text())
    progress["passed"] = dict.fromkeys(names, "2026-01-01T00:00:00+00:00")
    (folder / "progress.json").write_text(json.dumps(progress))
    said = command("exercises", "finish", "--epochs", "2", "--dir", "mine")
    assert said.code == 0, said
    assert "every operation of this network is yours" in said.out


def test_at_the_finish_line_layers_joined_with_relu_are_made_of_the_students_parts():
    calls = []

    class Student:
        @staticmethod
        def apply(x):
            calls.append(x.shape)
            return ops.elementwise.ReluInput.apply(x, y=x.data)

    original, net = ops.elementwise.Relu, SmallCNN(image_size=8).eval()
    with no_grad(), ExitStack() as stack:
        images = randn(2, 1, 8, 8)
        expected = net(images).numpy()
        for part in (*(part for part in finish.PARTS if part.exercise == "relu"), *finish.JOINED):
            stack.enter_context(finish._instead(part, Student))
        np.testing.assert_array_equal(net(images).numpy(), expected)
    assert len(calls) == 3 and ops.elementwise.Relu is original


def test_watching_checks_again_after_every_change(folder):
    first = items()[0]
    watching = subprocess.Popen([sys.executable, "-m", "minivision.cli", "exercises"], cwd=folder, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    seen = []
    try:
        for line in watching.stdout:
            seen.append(line)
            if "✗" in line and len(seen) < 40:
                solve(folder, first.name)
            if f"{first.name} is right" in line:
                break
        assert any(f"{first.name} is right" in line for line in seen), seen
        assert any(items()[1].name in line for line in watching.stdout)
    finally:
        watching.kill()
        watching.wait()
