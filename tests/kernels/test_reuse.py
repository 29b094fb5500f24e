"""Memory used again: never while anybody can see it, never more than allowed."""

import gc
import multiprocessing
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from minivision_kernels import memory
from minivision_kernels.memory import LEAST, LINE, empty, only_view, reuse_info, zeros

BIG = (LEAST,)                                  # of bytes: the smallest result that is kept


@pytest.fixture(autouse=True)
def fresh():
    memory.set_reuse(True)
    memory.clear()
    yield
    memory.set_reuse(True)


def span(array):
    start = array.__array_interface__["data"][0]
    return start, start + array.nbytes


class Pool(RuleBasedStateMachine):
    """Arrays are asked for, looked at in other ways, and dropped. Each live one is filled with a number of its own."""

    live = Bundle("live")

    def __init__(self):
        super().__init__()
        memory.clear()
        self.limit, memory.LIMIT = memory.LIMIT, 12 * LEAST
        self.count = 0

    def teardown(self):
        memory.LIMIT = self.limit

    @rule(target=live, size=st.sampled_from([10, LEAST, LEAST + 1, 2 * LEAST, 3 * LEAST]), kind=st.sampled_from("Bd"),
          look=st.sampled_from(["itself", "slice", "turned", "memoryview", "frombuffer", "held"]))
    def ask(self, size, kind, look):
        dtype = np.dtype(kind)
        array = empty((size // dtype.itemsize // 2, 2), dtype)
        assert array.flags.carray and array.dtype == dtype
        if array.nbytes >= LEAST:
            assert span(array)[0] % LINE == 0
        self.count = self.count % 250 + 1
        array.fill(self.count)
        seen = {
            "itself": lambda: array, "slice": lambda: array[1:], "turned": lambda: array.T[::-1].view(),
            "memoryview": lambda: memoryview(array), "frombuffer": lambda: np.frombuffer(array, dtype),
            "held": lambda: [array.setflags(write=False), array][1],
        }[look]()
        return [seen, self.count]

    @rule(item=consumes(live))
    def drop(self, item):
        self.check(item)
        item.clear()

    @rule(item=live)
    def look_at(self, item):
        if item:
            self.check(item)

    def check(self, item):
        seen, number = item
        assert (np.asarray(seen) == number).all()

    @invariant()
    def bounded(self):
        assert 0 <= reuse_info().kept <= memory.LIMIT
        assert reuse_info().kept == sum(len(queue) * length for length, queue in memory._kept.items())


Pool.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestPool = Pool.TestCase


def test_memory_nobody_sees_is_used_again():
    first = empty((1000, 100), np.float32)
    start = span(first)[0]
    second = empty((1000, 100), np.float32)
    assert span(second)[0] >= span(first)[1] or span(first)[0] >= span(second)[1]
    del first
    assert span(empty((100, 1000), np.float32))[0] == start
    assert reuse_info().reused >= 1


def test_small_results_are_numpys_own():
    assert empty((10, 10), np.float32).base is None
    assert empty((), np.float64).shape == () and empty((0, 10**9), np.float32).size == 0


def test_zeros_are_zero_in_used_memory():
    empty(BIG, np.uint8).fill(7)
    again = zeros(BIG, np.uint8)
    assert again.base is not None and not again.any()


@pytest.mark.parametrize("look", [lambda a: a[5:], lambda a: memoryview(a)[1:], lambda a: np.frombuffer(a, np.int8)], ids=[
    "slice", "memoryview", "frombuffer"])
def test_whatever_looks_at_an_array_keeps_it(look):
    array = empty(BIG, np.uint8)
    start, seen = span(array)[0], look(array)
    del array
    assert span(empty(BIG, np.uint8))[0] != start
    del seen
    gc.collect()
    assert start in {span(a)[0] for a in [empty(BIG, np.uint8) for _ in range(3)]}


def test_a_torch_tensor_keeps_it():
    torch = pytest.importorskip("torch")
    array = empty(BIG, np.uint8)
    start, tensor = span(array)[0], torch.from_numpy(array)
    del array
    others = [empty(BIG, np.uint8) for _ in range(4)]
    assert start not in {span(a)[0] for a in others}
    assert tensor.shape == BIG


def test_a_buffer_made_read_only_is_handed_out_writable():
    array = empty(BIG, np.uint8)
    start = span(array)[0]
    array.base.flags.writeable = False
    del array
    again = empty(BIG, np.uint8)
    assert span(again)[0] == start and again.flags.writeable


def test_a_held_result_is_not_used_again_and_comes_back_writable():
    saved = pytest.importorskip("minivision.saved")
    array = empty(BIG, np.uint8)
    start = span(array)[0]
    saved.hold([array], "Mul")
    assert not array.flags.writeable
    view = array[:10]
    del array
    assert span(empty(BIG, np.uint8))[0] != start
    saved.let_go([view])
    del view
    again = [empty(BIG, np.uint8) for _ in range(3)]
    assert start in {span(a)[0] for a in again} and all(a.flags.writeable for a in again)


def test_only_view():
    array = empty(BIG, np.uint8)
    assert only_view(array)
    view = array[3:]
    assert not only_view(array) and not only_view(view)
    del array
    assert only_view(view)                      # of what is left, it is the only one
    own = np.zeros(BIG, np.uint8)
    assert only_view(own) and not only_view(own[1:])
    assert not only_view(np.zeros((4, 3))[1:])  # it would keep the first row alive too
    whole = own.reshape(-1, 1)
    assert not only_view(whole)
    del own
    assert only_view(whole)                     # nobody else has what it looks at
    again = whole.reshape(-1)
    assert not only_view(whole) and not only_view(again)
    assert not only_view(np.frombuffer(b"abcd", np.uint8))


def test_what_grew_longest_ago_makes_room(monkeypatch):
    monkeypatch.setattr(memory, "LIMIT", 8 * LEAST)
    for factor in (1, 2, 3):
        empty((factor * LEAST,), np.uint8)
    both = empty((LEAST,), np.uint8), empty((LEAST,), np.uint8)         # the second one is new
    del both
    assert reuse_info().kept > 7 * LEAST
    empty((3 * LEAST + LEAST // 2,), np.uint8)  # of 2 and not of 1 the last was made longest ago
    before = reuse_info().reused
    empty((LEAST,), np.uint8)
    assert reuse_info().reused == before + 1
    empty((2 * LEAST,), np.uint8)
    assert reuse_info().reused == before + 1


def test_more_than_the_limit_is_left_to_numpy(monkeypatch):
    monkeypatch.setattr(memory, "LIMIT", 2 * LEAST)
    assert empty((5 * LEAST,), np.uint8).size == 5 * LEAST
    in_use = [empty(BIG, np.uint8) for _ in range(5)]
    assert reuse_info().kept <= 2 * LEAST
    assert len({span(a) for a in in_use}) == 5


def test_many_live_arrays_do_not_slow_the_search():
    """Arrays that stay for ever do not hide one that was dropped: the queue is turned until it comes up."""
    stay = [empty(BIG, np.uint8) for _ in range(100)]
    start = span(stay[50])[0]
    del stay[50]
    found = [empty(BIG, np.uint8) for _ in range(20)]
    assert start in {span(a)[0] for a in found}


def test_the_switch():
    kept = empty(BIG, np.uint8)
    kept.fill(3)
    memory.set_reuse(False)
    assert reuse_info()[:2] == (False, 0)
    assert empty(BIG, np.uint8).base is None
    assert (kept == 3).all()
    program = ("from minivision_kernels import memory; import numpy as np; "
               "assert memory.empty((1 << 20,), np.uint8).base is None and not memory.reuse_info().on")
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "MINIVISION_REUSE": "0"})


def test_threads_never_get_the_same_memory():
    wrong = []

    def work(number):
        rng = np.random.default_rng(number)
        mine = []
        for step in range(400):
            array = empty((LEAST * int(rng.integers(1, 3)),), np.uint8)
            array.fill(number)
            mine.append(array)
            if len(mine) > 4:
                old = mine.pop(int(rng.integers(0, len(mine))))
                if not (old == number).all():
                    wrong.append(step)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 7)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert not wrong


def test_a_destructor_that_asks_for_memory_does_not_wait_for_itself():
    with memory._lock:
        assert empty(BIG, np.uint8).shape == BIG
    assert reuse_info().kept == 0


def _in_child(start):
    again = empty(BIG, np.uint8)
    again.fill(9)
    os._exit(0 if span(again)[0] == start else 1)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_a_forked_child_uses_memory_again():
    array = empty(BIG, np.uint8)
    start = span(array)[0]
    del array
    memory._lock.acquire()                      # as if another thread were asking just now
    try:
        child = multiprocessing.get_context("fork").Process(target=_in_child, args=(start,))
        child.start()
        child.join()
    finally:
        memory._lock.release()
    assert child.exitcode == 0
