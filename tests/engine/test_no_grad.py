"""no_grad as a block and as a decorator, nested, left by an exception, and per thread."""

import threading

import pytest

import minivision as mv


def recorded():
    x = mv.tensor(2.0, requires_grad=True)
    return (x * x).requires_grad


def test_block():
    with mv.no_grad():
        assert not recorded()
    assert recorded()


def test_decorator():
    @mv.no_grad()
    def quiet(deeper):
        """Its documentation."""
        return recorded() or (deeper and quiet(False))

    assert not quiet(True) and not quiet(True)
    assert recorded()
    assert quiet.__name__ == "quiet" and quiet.__doc__ == "Its documentation."


def test_nested():
    with mv.no_grad():
        with mv.no_grad():
            assert not recorded()
        assert not recorded()
    assert recorded()


def test_one_object_used_twice_and_within_itself():
    quiet = mv.no_grad()
    with quiet:
        with quiet:
            assert not recorded()
        assert not recorded()
    assert recorded()


def test_left_by_an_exception():
    with pytest.raises(KeyError), mv.no_grad():
        raise KeyError
    assert recorded()


def test_requires_grad_of_new_leaves_is_as_asked():
    with mv.no_grad():
        assert mv.tensor(1.0, requires_grad=True).requires_grad


def test_each_thread_has_a_switch_of_its_own():
    seen = []
    with mv.no_grad():
        thread = threading.Thread(target=lambda: seen.append(recorded()))
        thread.start()
        thread.join()
        assert not recorded()
    assert seen == [True]


def test_one_decorated_function_in_two_threads():
    """The call that began first also ends first, while the other is under way; neither restores the other's mode."""
    first_inside, second_inside, first_done = (threading.Event() for _ in range(3))
    after = {}

    @mv.no_grad()
    def work(mine, other):
        mine.set()
        assert other.wait(10)

    def already_quiet():
        with mv.no_grad():
            work(first_inside, second_inside)
            after["quiet"] = recorded()
        first_done.set()

    def recording():
        assert first_inside.wait(10)
        work(second_inside, first_done)
        after["recording"] = recorded()

    threads = [threading.Thread(target=f) for f in (already_quiet, recording)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert after == {"quiet": False, "recording": True}


def test_graphs_built_in_threads_do_not_disturb_each_other():
    shared = mv.tensor([1.0, 2.0], requires_grad=True)
    found = []

    def work():
        for _ in range(200):
            g, = mv.grad((shared * shared).sum(), shared)
            found.append(g.tolist())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == [[2, 4]] * 800
    shared.data[0] = 5                                      # every hold was given back
