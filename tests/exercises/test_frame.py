"""The frame that exercises are checked in: whatever the student writes, the answer is a sentence."""

import time
from pathlib import Path

import numpy as np
import pytest

import minivision as mv
from minivision.exercises import Op, authors
from minivision.exercises.checks.sizes import Sizes, random_of
from minivision.exercises.checks.watched import LINES, OutOfBounds, Race, Watch, Watched
from minivision.exercises.compare import difference
from minivision.exercises.runner import check_texts, run
from minivision.exercises.spec import Mutant
from minivision.exercises.track import _face, find
from minivision.exercises.work import Failure, Work

RELU = find("relu")


def checked(text, seconds=60.0):
    return check_texts(RELU, [text], RELU.path, seconds=seconds)[0]


def relu(backward):
    """The exercise with this in place of its hole."""
    return RELU.solution.replace("return grad * (self.x > 0)", backward)


# ---------------------------------------------------------------------------------------------- files


def test_a_file_has_three_faces():
    text = "a\n#: stub\nb\n#: solution\nc\n#: end\nd\n"
    assert _face(text, "stub", Path("x")) == "a\nb\nd\n"
    assert _face(text, "solution", Path("x")) == "a\nc\nd\n"


@pytest.mark.parametrize("text", ["#: stub\n#: end\n", "#: solution\n", "#: stub\n", "#: end\n"])
def test_marks_out_of_order_are_refused(text):
    with pytest.raises(ValueError, match=r"expected|no end"):
        _face(text, "stub", Path("x.py"))


def test_a_mutant_must_fit_its_solution():
    assert Mutant("m", "b", "c").applied("abc") == "acc"
    for text in ("ac", "bb"):
        with pytest.raises(ValueError, match="expected once"):
            Mutant("m", "b", "c").applied(text)


def test_an_exercise_is_found_by_name_and_by_file_and_a_misspelt_one_is_guessed():
    assert find("04_layers/01_relu.py") is find("relu")
    with pytest.raises(ValueError, match=r"did you mean.*relu"):
        find("rellu")


# ---------------------------------------------------------------------------------------------- a student's operation


def test_an_op_sums_nothing_and_casts_to_its_inputs():
    class Add(Op):
        def forward(self, x, b):
            return x + b

        def backward(self, grad):
            return grad.astype(np.float64), grad

    x, b = mv.tensor(np.ones((2, 3), np.float32), requires_grad=True), mv.tensor(np.ones(3, np.float32), requires_grad=True)
    with pytest.raises(ValueError, match=r"shape \(2, 3\) as the gradient of input 1, which has shape \(3,\)"):
        Add.apply(x, b).sum().backward()
    Add.apply(x, b.detach()).sum().backward()
    assert x.grad.dtype == np.float32


@pytest.mark.parametrize("returned, error", [((1.0,), "2 inputs"), (([1.0], None), "returned list")])
def test_what_an_op_returns_is_looked_at(returned, error):
    class Bad(Op):
        def forward(self, x, y):
            return x + y

        def backward(self, grad):
            return returned

    x = mv.tensor([1.0], requires_grad=True)
    with pytest.raises(TypeError, match=error):
        Bad.apply(x, x).sum().backward()


# ---------------------------------------------------------------------------------------------- the child process


@pytest.mark.parametrize("backward, stage, said", [
    ("return grad * (self.x > 0", "runs", "never closed"),
    ("return grad * (self.y > 0)", "shape and dtype", "'ReLU' object has no attribute 'y'"),
    ("return grad[0] * (self.x > 0)[0]", "shape and dtype", "has shape (4,), expected (3, 4)"),
    ("return None", "shape and dtype", "is a return missing?"),
    ("return grad, grad", "shape and dtype", "returned 2 gradients, expected 1"),
    ("return (grad * (self.x > 0)).astype('float32')", "shape and dtype", "is float32, expected float64"),
    ("self.x *= 2; return grad", "shape and dtype", "x was changed by backward"),
    ("grad *= 2; return grad", "shape and dtype", "the upstream gradient was changed by backward"),
    ("return grad ** 2 * (self.x > 0)", "gradient", "not linear"),
    ("import sys; sys.exit(3)", "crash", "left with code 3"),
    ("import ctypes; ctypes.string_at(0)", "crash", "ctypes.string_at(0)"),
    ("return bytearray(1 << 50)", "shape and dtype", "MemoryError"),
    ("return self.backward(grad)", "shape and dtype", "RecursionError"),
])
def test_whatever_goes_wrong_is_told_at_its_stage(backward, stage, said):
    found = checked(relu(backward))
    assert not found.passed
    assert found.stage == stage, found
    assert said in " ".join(" ".join(found.lines).split()), found.lines
    assert 0 < len(found.lines) <= 25
    assert "minivision/exercises/" not in " ".join(found.lines), "a student has no use for our own frames"


def test_a_loop_without_an_end_is_stopped_and_located(tmp_path):
    text = relu("while True:\n            grad = grad * 1")
    path = tmp_path / "relu.py"
    path.write_text(text)
    start = time.monotonic()
    found = check_texts(RELU, [text], str(path), seconds=4)[0]
    assert time.monotonic() - start < 60
    line = 1 + next(i for i, words in enumerate(text.splitlines()) if "while True" in words)
    assert found.stage == "time" and "still running after 4 seconds" in found.lines[0]
    assert any(f"line {n}:" in found.lines[1] for n in (line, line + 1)), found.lines


def test_what_the_code_prints_is_kept_apart_and_cut():
    found = checked(relu("print('hello ' * 1000); return grad * (self.x > 0)"))
    assert found.passed and found.printed.startswith("hello") and "characters more" in found.printed


def test_a_loop_that_prints_for_ever_fills_no_disk():
    found = checked(relu("while True: print('y' * 1_000_000)"))
    assert not found.passed and "OSError" in " ".join(found.lines) and "characters more" in found.printed
    assert len(found.printed) < 3000


def test_a_mark_at_the_beginning_of_a_file_is_no_mistake(tmp_path):
    (tmp_path / "relu.py").write_text(RELU.solution, encoding="utf-8-sig")
    assert run(RELU, tmp_path / "relu.py").passed


def test_a_renamed_class_is_pointed_out():
    found = checked(RELU.solution.replace("class ReLU", "class Relu"))
    assert found.stage == "runs" and "no 'ReLU'" in found.lines[0] and "Relu" in " ".join(found.lines)


def test_a_child_that_hangs_does_not_take_the_others_along():
    texts = [RELU.solution, relu("while True: pass"), RELU.solution]
    found = check_texts(RELU, texts, RELU.path, seconds=4)
    assert [f.passed for f in found] == [True, False, True]


# ---------------------------------------------------------------------------------------------- comparing


def test_equal_things_do_not_differ():
    for thing in (1.5, np.ones((2, 3)), (np.ones(2), 3.0), np.array([np.nan, np.inf])):
        assert difference("it", thing, thing, 1e-9, 1e-7) is None


@pytest.mark.parametrize("yours, expected, said", [
    (None, np.ones(2), "is a return missing"),
    (np.ones(3), np.ones(2), "got shape (3,), expected (2,)"),
    ("text", 1.0, "got str, expected a number"),
    (np.ones(2, np.float32), np.ones(2), "got float32, expected float64"),
    ((1.0,), (1.0, 2.0), "got 1 values, expected 2"),
    (2.0, 1.0, "got 2, expected 1"),
    (np.array([1.0, np.nan]), np.array([1.0, 2.0]), "1 of 2 entries wrong"),
    (np.arange(12.0).reshape(3, 4) * 2, np.arange(12.0).reshape(3, 4), "scaled by 2"),
    (np.arange(9.0).reshape(3, 3).T, np.arange(9.0).reshape(3, 3), "transposed"),
])
def test_differences_are_put_into_words(yours, expected, said):
    lines, _, _ = difference("it", yours, expected, 1e-9, 1e-7)
    assert said in "\n".join(lines) and len(lines) <= 25


def test_the_smallest_case_that_fails_is_shown():
    work = Work("x.py", "")
    sizes = Sizes(dict(n=1, m=1), dict(n=(0, 9), m=(1, 9)))

    def attempt(case):
        if case["n"] >= 3:
            work.fail("too many")

    with pytest.raises(Failure) as caught:
        sizes.search(work, attempt, examples=100)
    assert caught.value.case == {"n": 3, "m": 1} and caught.value.stage == "odd shapes"
    assert random_of({"n": 3}).random() == random_of({"n": 3}).random()


# ---------------------------------------------------------------------------------------------- watched arrays


def test_accesses_are_counted_and_computed_with():
    watch = Watch()
    x = Watched(np.arange(6.0).reshape(2, 3), "x", watch)
    y = Watched(np.zeros(3), "y", watch)
    y[:] = x[0] + 2 * x[1, :]
    y[1] += 1
    assert y[1] == 1 + 2 * 4 + 1
    assert watch.reads == {"x": 6, "y": 2} and watch.writes == {"y": 4}


def test_the_cache_keeps_what_was_used_last():
    watch = Watch()
    x = Watched(np.zeros(8 * (LINES + 1)), "x", watch)
    for i in range(0, 8 * LINES, 8):
        x[i]
    assert watch.fetched == LINES
    x[3]
    assert watch.fetched == LINES
    x[8 * LINES]              # throws out line 1, since line 0 was used again
    x[0]
    assert watch.fetched == LINES + 1
    x[8]
    assert watch.fetched == LINES + 2


@pytest.mark.parametrize("index", [-1, 3, (0, 2), (1, -1)])
def test_an_element_that_is_not_there_is_noticed(index):
    x = Watched(np.zeros((3, 2)), "x", Watch())
    with pytest.raises(OutOfBounds, match="x: index"):
        x[index]
    with pytest.raises(OutOfBounds):
        x[index] = 1.0


def test_races_are_found_and_what_is_none_is_not_called_one():
    watch = Watch()
    x, y = Watched(np.zeros(4), "x", watch), Watched(np.zeros(4), "y", watch)
    for i in watch.prange(4):
        y[i] = x[0] + x[i]                 # all read x[0]: no race
    for i in watch.prange(4):              # a new loop: what the last one wrote may be read
        x[i] = y[3 - i]
    with pytest.raises(Race, match="both write element 0 of y"):
        for _ in watch.prange(4):
            y[0] = 1.0
    watch.iteration = None
    with pytest.raises(Race, match="one reads and the other writes"):
        for i in watch.prange(3):
            x[i] = x[i + 1]


# ---------------------------------------------------------------------------------------------- authors


def test_the_authors_check_finds_what_is_wrong_with_a_track(monkeypatch):
    item = RELU
    monkeypatch.setattr(type(item), "shipped", property(lambda self: self.solution))
    problems = authors.check_item(item).problems
    assert "it has no hole" in problems and "passes as shipped" in problems and "nothing says TODO" in problems


def test_the_authors_check_finds_a_mutant_that_survives(monkeypatch):
    weak = Mutant("nothing changes", "grad * (self.x > 0)", "grad * (0 < self.x)")
    unnamed = Mutant("half of it", "grad * (self.x > 0)", "grad * (self.x > 0) / 2", "transposed")
    exercise = type(RELU.exercise)(**{**vars(RELU.exercise), "mutants": (weak, unnamed)})
    item = type(RELU)(**{**vars(RELU), "exercise": exercise})
    problems = " ".join(authors.check_item(item).problems)
    assert "'nothing changes' survives" in problems and "'half of it': expected 'transposed'" in problems
