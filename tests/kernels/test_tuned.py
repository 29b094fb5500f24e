"""The table of measured choices: it is followed where it is right, and nothing in it can do harm."""

import json

import numpy as np
import pytest

import minivision_kernels as mk
from minivision_kernels import tuned
from minivision_kernels.cpu import cache

X, W = np.zeros((2, 128, 56, 56), np.float32), np.zeros((128, 128, 3, 3), np.float32)
GEOMETRY = dict(stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=1)
CALL = ("conv2d_forward x=float32(2, 128, 56, 56) w=float32(128, 128, 3, 3) stride=(1, 1) padding=(1, 1) dilation=(1, 1) "
        "groups=1")


@pytest.fixture(autouse=True)
def table(monkeypatch, tmp_path):
    """A folder for the table, and a way to start anew with a table of this content."""
    monkeypatch.setattr(cache, "folder", lambda: tmp_path)
    monkeypatch.delenv("MINIVISION_TUNED", raising=False)

    def forget():
        monkeypatch.setattr(tuned, "table", None)
        monkeypatch.setattr(tuned, "_known", {})

    def write(content):
        tuned.path().write_text(content if isinstance(content, str) else json.dumps(content))
        forget()

    forget()
    yield write
    mk.set_exact(False)


def choice():
    return mk.best("conv2d_forward", X, W, **GEOMETRY).name


def test_the_table_is_followed_and_the_exact_switch_has_its_own_choice(table):
    rule = choice()
    assert rule == "winograd"
    tuned.save({CALL: {"any": "tile", "exact": "parallel"}}, threads=2)
    assert choice() == "tile"
    assert mk.best("conv2d_forward", X, W, *GEOMETRY.values()).name == "tile"       # by position
    assert mk.best("conv2d_forward", X[:1], W, **GEOMETRY).name == rule             # another batch
    assert mk.best("conv2d_forward", X.astype(float), W.astype(float), **GEOMETRY).name == rule
    mk.set_exact(True)
    assert choice() == "parallel"


@pytest.mark.parametrize("names", [
    {"any": "no such rung", "exact": "no such rung"},
    {"any": "numpy", "exact": "numpy"},                 # its bits may depend on the threads
    {"any": "depthwise", "exact": "depthwise"},         # cannot do this call
    {"any": None}, {"any": ["tile"]}, {},
])
def test_what_may_not_be_chosen_is_passed_over(table, names):
    table({"choices": {CALL: names}})
    assert choice() == "winograd"


def test_an_inexact_rung_is_never_chosen_where_only_exact_ones_may_be(table):
    table({"choices": {CALL: {"any": "winograd", "exact": "winograd"}}})
    mk.set_exact(True)
    assert mk.best("conv2d_forward", X, W, **GEOMETRY).exact


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"choices": []}', '{"choices": {"a": 3}}', "\0\x01"])
def test_a_damaged_file_counts_as_empty(table, content):
    table(content)
    assert choice() == "winograd"
    assert tuned.table == {}


def test_bytes_that_are_no_text_count_as_empty(table):
    tuned.path().write_bytes(b"\xff\xfe\xff")
    assert choice() == "winograd"


def test_the_table_of_another_processor_or_of_other_sources_is_not_read(table, monkeypatch, tmp_path):
    tuned.save({CALL: {"any": "tile", "exact": "tile"}})
    monkeypatch.setattr(tuned, "machine", lambda: "another")
    assert tuned.load() == {}
    monkeypatch.undo()
    monkeypatch.setattr(cache, "folder", lambda: tmp_path / "another")
    assert tuned.load() == {}


def test_the_environment_can_leave_it_unread(table, monkeypatch):
    table({"choices": {CALL: {"any": "tile", "exact": "tile"}}})
    monkeypatch.setenv("MINIVISION_TUNED", "0")
    assert choice() == "winograd"


def test_saving_adds_to_what_was_there(table):
    tuned.save({"a": {"any": "x", "exact": "x"}})
    tuned.save({"b": {"any": "y", "exact": "y"}}, threads=2)
    assert set(tuned.load()) == {"a", "b"}
    assert [path.name for path in tuned.path().parent.iterdir()] == [tuned.path().name]


def test_numbers_like_a_learning_rate_do_not_matter_to_a_call():
    sgd = mk.ladder("sgd_update")[0].function
    options = dict(momentum=0.9, dampening=0.0, weight_decay=0.0, nesterov=False, first=False)
    one, other = (tuned.key(sgd, "sgd_update", (X, X, None), dict(lr=lr, **options)) for lr in (0.1, 0.2))
    assert one == other
    assert "velocity=None" in one and "nesterov=False" in one


def test_a_list_for_a_tuple_is_left_to_the_rung(table):
    table({"choices": {CALL: {"any": "tile", "exact": "tile"}}})
    with pytest.raises(TypeError, match="stride"):
        mk.best("conv2d_forward", X, W, **{**GEOMETRY, "stride": [1, 1]})(X, W, **{**GEOMETRY, "stride": [1, 1]})
