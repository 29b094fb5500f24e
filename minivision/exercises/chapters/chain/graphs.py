"""Expressions of a student's Values, and of the engine's Tensors beside them."""

import numpy as np

from ....tensor import Tensor


def tree(leaves, random, more=()):
    """One number out of ``leaves``, each used once, by sums, products and functions of ``more``."""
    values = list(leaves)
    while len(values) > 1:
        a, b = (values.pop(random.integers(len(values))) for _ in range(2))
        values.append(_join(a, b, random, more))
    return values[0]


def web(leaves, random, size, more=()):
    """One number out of ``leaves`` by ``size`` operations, each on any of the values before it."""
    values = list(leaves)
    for _ in range(size):
        a, b = (values[random.integers(len(values))] for _ in range(2))
        values.append(_join(a, b, random, more))
    return values[-1]


def _join(a, b, random, more):
    choice = int(random.integers(2 + len(more)))
    if choice < 2:
        return a + b if choice else a * b
    return more[choice - 2](a) + b


def gradients(build, leaves, times=1):
    """What the engine says of ``build(leaves)``: the gradients of the leaves after ``times`` calls of backward."""
    tensors = [Tensor(np.float64(x), requires_grad=True) for x in leaves]
    for _ in range(times):
        build(tensors).backward()
    return np.array([0.0 if t.grad is None else float(t.grad) for t in tensors])


def same_gradients(work, what, Value, build, numbers, times=1):
    """Hold the gradients of the student's values against the engine's."""
    leaves = [Value(float(x)) for x in numbers]
    result = build(leaves)
    for _ in range(times):
        result.backward()
    yours = np.array([leaf.grad for leaf in leaves], float)
    work.same(what, yours, gradients(build, numbers, times))


def misplaced(work, values, last, names, about=""):
    """Fail unless ``values`` are all that ``last`` was made from, each once and behind its sources.

    ``names`` says what they are called in the code ``about``.
    """
    def called(value):
        return names.get(value, "a value")

    if not isinstance(values, list):
        work.fail(f"order returned {type(values).__name__}, expected a list of Values; is a return missing?", "wrong type")
    places = {value: i for i, value in enumerate(values)}
    listed = "[" + ", ".join(map(called, values)) + "]" if len(values) <= 12 else f"a list of {len(values):,}"
    listed = (f"for {about}: " if about else "") + f"order returned {listed}"
    if len(places) < len(values):
        twice = next(value for i, value in enumerate(values) if places[value] != i)
        work.fail(f"{listed}, where {called(twice)} stands more than once; it would hand its gradient "
                  "on each time. Mark each value when it is visited, and pass by those that are marked", "twice in the order",
                  evidence=(len(values), len(places)))
    for value in [last, *values]:
        for source in value.sources:
            if source not in places or value not in places:
                missing = value if value not in places else source
                work.fail(f"{listed}, where {called(missing)} is missing", "missing in the order",
                          evidence=(len(values),))
            if places[source] > places[value]:
                work.fail(f"{listed}, where {called(source)} stands behind {called(value)}, which was "
                          f"made from it. From the end, {called(source)} would hand on its gradient before {called(value)} has "
                          "added its part", "not topological", evidence=tuple(sorted((places[source], places[value]))))
    if not values or values[-1] is not last:
        work.fail(f"{listed}; expected the value that was given, {called(last)}, at the end", "wrong end")
