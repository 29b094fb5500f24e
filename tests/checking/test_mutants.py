"""The checker is checked: every wrong backward is caught, and the mistakes that have a name get it."""

import pytest

import minivision as mv
from minivision.checking import cases, check_all, gradcheck, mutants
from minivision.checking.catalogue import operations

MUTANTS = mutants()


def every_function(base=mv.Function):
    for sub in base.__subclasses__():
        if sub.__module__.startswith("minivision.ops."):
            yield sub.__name__
        yield from every_function(sub)


def test_every_operation_of_the_engine_is_in_the_catalogue():
    names = set(every_function())
    assert names == set(operations())
    assert names == {each.op for each in cases()}


@pytest.mark.parametrize("op", sorted(every_function()))
def test_every_operation_has_at_least_three_mutants(op):
    assert len({m.name for m in MUTANTS if m.op == op}) >= 3


def test_every_operation_is_right_to_second_order():
    for op, first, second in check_all():
        assert first, f"{op}\n{first}"
        assert first.power > 0, op
        assert not isinstance(second, str), f"{op}: {second}"
        assert second, f"{op}\n{second}"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.op}-{m.name}{m.note and '-' + m.note}".replace(" ", "_"))
def test_every_mutant_is_caught_and_named(mutant):
    report = mutant.run()
    assert not report, f"survived: {report}"
    assert len(str(report).splitlines()) <= 25
    if mutant.expected is not None:
        assert report.diagnoses[:1] == [mutant.expected], str(report)


@pytest.mark.parametrize("seed", [1, 2])
def test_names_do_not_hang_on_one_draw_of_the_numbers(seed):
    named = [m for m in MUTANTS if m.expected is not None]
    reports = [m.run(seed) for m in named]
    assert not any(reports)
    right = sum(r.diagnoses[:1] == [m.expected] for m, r in zip(named, reports))
    assert right >= 0.95 * len(named)


def test_a_mutant_leaves_the_operation_as_it_was():
    each = next(c for c in cases() if c.op == "Conv2d")
    for mutant in MUTANTS:
        if mutant.op == "Conv2d":
            assert not mutant.run()
    assert gradcheck(each.func, each.inputs)
