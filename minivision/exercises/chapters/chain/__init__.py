"""Chapter 2: the chain rule."""

import numpy as np

from ...checks import Custom
from ...checks.sizes import Sizes, random_of
from ...spec import Chapter, Exercise, Mutant
from .graphs import misplaced, same_gradients, tree, web

TEXT = """
A network is a long formula, and the derivative of a long formula comes from those of its parts by the chain rule. What is
new since the 17th century is the order in which the rule is applied: from the result back to the inputs, one walk for all
derivatives together. That is backpropagation (Linnainmaa 1970; Rumelhart, Hinton and Williams 1986), and the whole of it
fits on a page.

The four exercises of this chapter are four mistakes that fit on the same page. Each was shipped in some library. They are
about single numbers, since nothing about arrays makes the idea clearer.
"""

A, B, C = 2.0, -3.0, 5.0


# ------------------------------------------------------------------------------------------------ product


def product_check(work):
    with work.stage("runs"):
        Value = work.get("Value")

    def three(build):
        a, b, c = Value(A), Value(B), Value(C)
        y = build(a, b, c)
        y.backward()
        return a, b, c

    with work.stage("a sum"):
        a, b, _ = three(lambda a, b, c: a + b)
        work.same("y = a + b: the gradient of a", a.grad, 1.0)
        work.same("y = a + b: the gradient of b", b.grad, 1.0)
    with work.stage("a product"):
        a, b, _ = three(lambda a, b, c: a * b)
        work.same("y = a * b, a = 2, b = -3: the gradient of a", a.grad, B)
        work.same("y = a * b, a = 2, b = -3: the gradient of b", b.grad, A)
    with work.stage("a chain"):
        a, b, c = three(lambda a, b, c: a * b * c)
        work.same("y = a * b * c, a = 2, b = -3, c = 5: the gradient of c", c.grad, A * B)
        work.same("y = a * b * c, a = 2, b = -3, c = 5: the gradient of a", a.grad, B * C)
        a, b, c = three(lambda a, b, c: (a + b) * c)
        work.same("y = (a + b) * c, a = 2, b = -3, c = 5: the gradient of a", a.grad, C)

    def attempt(case):
        numbers = random_of(case).standard_normal(case["leaves"])
        same_gradients(work, "the gradients of the leaves", Value, lambda leaves: tree(leaves, random_of(case)), numbers)

    Sizes(dict(leaves=4, seed=0), dict(leaves=(2, 9), seed=(0, 1000))).search(work, attempt)


product = Exercise(
    "product",
    "what a sum and a product hand back to their two sources",
    ("Each push sets two numbers, self.grad and other.grad. Both depend on out.grad, a number too.",
     "The chain rule: upstream gradient times local derivative. The local derivatives of a + b are 1 and 1, those of a * b are "
     "b for a and a for b.",
     "for +: self.grad = out.grad; for *: self.grad = out.grad * other.data, and other.grad with self.data"),
    Custom(product_check),
    (Mutant("the local derivative is returned without the upstream gradient", "self.grad = out.grad * other.data",
            "self.grad = other.data", "a chain"),
     Mutant("each side of the product gets its own data instead of the other's",
            "self.grad = out.grad * other.data\n            other.grad = out.grad * self.data",
            "self.grad = out.grad * self.data\n            other.grad = out.grad * other.data"),
     Mutant("a sum hands on 1 instead of its upstream gradient", "            self.grad = out.grad\n            other",
            "            self.grad = 1.0\n            other", "a chain"),
     Mutant("only one side gets a gradient", "            other.grad = out.grad * self.data\n", ""),
     Mutant("the output of the product is taken for the other factor", "self.grad = out.grad * other.data",
            "self.grad = out.grad * out.data")))

# ------------------------------------------------------------------------------------------------ accumulate


def accumulate_check(work):
    with work.stage("runs"):
        Value = work.get("Value")

    def slope(build, x=3.0):
        leaf = Value(x)
        build(leaf).backward()
        return leaf.grad

    with work.stage("each used once"):
        a, b = Value(A), Value(B)
        (a * b).backward()
        work.same("y = a * b, a = 2, b = -3: the gradient of a", a.grad, B)
        work.same("y = a * b, a = 2, b = -3: the gradient of b", b.grad, A)
        work.same("the slope of x ** 3 at 3", slope(lambda x: x ** 3), 27.0)
        work.same("the slope of x.tanh() at 0.5", slope(lambda x: x.tanh(), 0.5), 1 - np.tanh(0.5) ** 2)
    with work.stage("both sides the same"):
        work.same("the slope of x + x at 3", slope(lambda x: x + x), 2.0)
        work.same("the slope of x * x at 3", slope(lambda x: x * x), 6.0)
    with work.stage("two users"):
        work.same("the slope of x ** 2 + x * 4 at 3", slope(lambda x: x ** 2 + x * Value(4.0)), 10.0)
        work.same("the slope of x * 4 + x ** 2 at 3", slope(lambda x: x * Value(4.0) + x ** 2), 10.0)
        work.same("the slope of tanh(x) * tanh(x) + x at 0.5", slope(lambda x: x.tanh() * x.tanh() + x, 0.5),
                  2 * np.tanh(0.5) * (1 - np.tanh(0.5) ** 2) + 1)
        work.same("the slope of x + x.tanh() at 0.5", slope(lambda x: x + x.tanh(), 0.5), 2 - np.tanh(0.5) ** 2)
    more = (lambda x: x ** 3, lambda x: x.tanh())

    def attempt(case):
        numbers = random_of(case).uniform(0.5, 1.0, case["leaves"])
        same_gradients(work, "the gradients of the leaves", Value,
                       lambda leaves: web(leaves, random_of(case), case["size"], more), numbers)

    Sizes(dict(leaves=2, size=4, seed=0), dict(leaves=(1, 4), size=(1, 7), seed=(0, 1000))).search(work, attempt)


accumulate = Exercise(
    "accumulate",
    "gradients of values that are used more than once",
    ("Each push adds one number to the gradient of each source: one push for + and *, with two sources, and two with one.",
     "The contribution is out.grad times the local derivative: 1 and 1 for a sum, the other factor for a product, "
     "n x^(n-1) for a power, 1 - tanh(x)² for tanh. It is added to what is there.",
     "self.grad += out.grad * other.data; other.grad += out.grad * self.data. If self and other are one value, both lines "
     "add to it"),
    Custom(accumulate_check),
    (Mutant("the sum assigns with = instead of adding with +=", "self.grad += out.grad\n            other.grad += out.grad\n",
            "self.grad = out.grad\n            other.grad = out.grad\n"),
     Mutant("the product assigns with = instead of adding with +=",
            "self.grad += out.grad * other.data\n            other.grad += out.grad * self.data",
            "self.grad = out.grad * other.data\n            other.grad = out.grad * self.data"),
     Mutant("the power assigns with = instead of adding with +=", "self.grad += out.grad * n", "self.grad = out.grad * n"),
     Mutant("tanh assigns with = instead of adding with +=", "self.grad += out.grad * (1", "self.grad = out.grad * (1"),
     Mutant("the exponent of a power does not go down by one", "self.data ** (n - 1)", "self.data ** n"),
     Mutant("1 - x² is taken for the slope of tanh, not 1 - tanh(x)²", "1 - out.data ** 2", "1 - self.data ** 2")))

# ------------------------------------------------------------------------------------------------ topological


def topological_check(work):
    with work.stage("runs"):
        Value, order = work.get("Value"), work.get("order")

    def look(last, about="", **names):
        misplaced(work, order(last), last, {value: name for name, value in names.items()}, about)

    x = Value(2.0)
    with work.stage("a leaf, and two sums"):
        look(x, x=x)
        one = Value(1.0)
        b = x + one
        c = b + x
        look(c, "b = x + one, c = b + x", x=x, one=one, b=b, c=c)
    with work.stage("a value with two users"):
        a = Value(2.0)
        b = a * a
        c = b + a
        look(c, "b = a * a, c = b + a", a=a, b=b, c=c)
    with work.stage("a short way and a long one"):
        for swapped in (False, True):
            a, one = Value(2.0), Value(1.0)
            b = a * one
            c = b * one
            d = c * one
            e = a + d if swapped else d + a
            last = "a + d" if swapped else "d + a"
            look(e, f"b = a * one, c = b * one, d = c * one, e = {last}", a=a, one=one, b=b, c=c, d=d, e=e)
    with work.stage("backward"):
        leaf = Value(3.0)
        square = leaf * leaf
        (square * leaf + square).backward()
        work.same("y = x * x * x + x * x at 3: the gradient of x", leaf.grad, 33.0)

    def attempt(case):
        leaves = [Value(1.0) for _ in range(case["leaves"])]
        look(web(leaves, random_of(case), case["size"]))

    Sizes(dict(leaves=2, size=5, seed=0), dict(leaves=(1, 3), size=(1, 9), seed=(0, 1000))).search(work, attempt)
    with work.stage("a long chain"):
        start = value = Value(0.0)
        for _ in range(10_000):
            value = value + start
        look(value)
    with work.stage("many ways"):
        value = Value(1.0)
        for _ in range(60):
            value = value + value
        look(value)
    work.note(f"10,000 operations in a row, and {2 ** 60:,} ways back through 60 values: each value was visited once")


FOUND = "    found, visited = [], set()\n"               # a mutant goes its own way from here, and returns
RECURSIVE = '''    found, visited = [], set()

    def visit(value):
        if value not in visited:
            visited.add(value)
            for source in value.sources:
                visit(source)
            found.append(value)

    visit(last)
    return found
'''
BREADTH = '''    found = [last]
    for value in found:
        found += [source for source in dict.fromkeys(value.sources) if source not in found]
    return found[::-1]
'''
NO_MARKS = '''    found, seen = [], set()
    todo = [(last, False)]
    while todo:
        value, sources_done = todo.pop()
        if not sources_done:
            todo.append((value, True))
            for source in value.sources:
                todo.append((source, False))
        elif value not in seen:
            seen.add(value)
            found.append(value)
    return found
'''
topological = Exercise(
    "topological",
    "all values in an order in which each stands behind its sources, without recursion",
    ("It is a list of Values: every one that can be reached through .sources, each once, last at the end.",
     "Depth first: append a value after all of its sources were appended. Instead of recursion, keep a list of pairs (value, "
     "are its sources done?) and take from its end.",
     "value, done = todo.pop(); if done: found.append(value); elif value not in visited: visited.add(value); "
     "todo.append((value, True)); then todo.append((source, False)) for each source"),
    Custom(topological_check),
    (Mutant("it is recursive, and Python ends a recursion after a thousand calls", FOUND, RECURSIVE, "RecursionError"),
     Mutant("it goes breadth first", FOUND, BREADTH, "not topological"),
     Mutant("values are visited again on every way that leads to them", FOUND, NO_MARKS, "never ends", hangs=True),
     Mutant("a value is appended when it is visited, before its sources",
            "            visited.add(value)\n            todo.append((value, True))\n",
            "            visited.add(value)\n            found.append(value)\n", "not topological"),
     Mutant("visited values are not marked", "            visited.add(value)\n", "", "twice in the order"),
     Mutant("the order is the wrong way round", "return found\n", "return found[::-1]\n", "not topological")),
    seconds=10.0)

# ------------------------------------------------------------------------------------------------ second_backward


def second_check(work):
    with work.stage("runs"):
        Value = work.get("Value")
    with work.stage("once"):
        x = Value(3.0)
        square = x * x
        y = square + Value(1.0)
        y.backward()
        work.same("y = x * x + 1 at 3: the gradient of x", x.grad, 6.0)
    grads = [x.grad]
    with work.stage("twice"):
        for calls in (2, 3):
            y.backward()
            grads.append(x.grad)
            if abs(x.grad - 6.0 * calls) > 1e-9 or square.grad != 1.0 or y.grad != 1.0:
                work.fail(f"y = x * x + 1 at 3, after {calls} calls of y.backward(): x.grad is {x.grad:g}, that of x * x "
                          f"is {square.grad:g}, that of y is {y.grad:g}; expected {6 * calls}, 1 and 1. Gradients of leaves "
                          "add up, the others start afresh in each walk", "second backward",
                          evidence=(x.grad, square.grad, y.grad))
    with work.stage("two losses share a value"):
        x = Value(3.0)
        square = x * x
        first, second = square + Value(1.0), square * Value(2.0)
        first.backward()
        second.backward()
        work.same("u = x * x, first = u + 1, second = u * 2, backward of both: the gradient of x at 3", x.grad, 18.0)
        work.same("the gradient of u, from the walk of the second alone", square.grad, 2.0)
    with work.stage("a leaf"):
        x = Value(3.0)
        x.backward()
        x.backward()
        work.same("x.grad after x.backward() twice", x.grad, 2.0)

    def attempt(case):
        numbers = random_of(case).uniform(0.5, 1.0, case["leaves"])
        same_gradients(work, f"the gradients of the leaves after {case['times']} calls", Value,
                       lambda leaves: web(leaves, random_of(case), case["size"]), numbers, case["times"])

    Sizes(dict(leaves=2, size=4, times=2, seed=0),
          dict(leaves=(1, 4), size=(1, 7), times=(1, 3), seed=(0, 1000))).search(work, attempt)
    work.note(f"x.grad after each call: {', '.join(f'{grad:g}' for grad in grads)}; micrograd says 6, 18, 36")


second_backward = Exercise(
    "second_backward",
    "a backward that can be called twice: leaves add up, everything between starts afresh",
    ("Before the walk, one loop over values; after it, the loop from the end. A leaf is a value whose sources are empty.",
     "Set the gradient of each value with sources to 0, then add 1 to that of self; it is 0 + 1 unless self is a leaf. Then "
     "hand on: source.grad += slope * value.grad.",
     "for value in values: if value.sources: value.grad = 0.0; self.grad += 1.0; for value in reversed(values): for source, "
     "slope in zip(value.sources, value.slopes): source.grad += slope * value.grad"),
    Custom(second_check),
    (Mutant("the values between keep their gradients of the last walk (micrograd's mistake)",
            "        for value in values:\n            if value.sources:\n                value.grad = 0.0\n"
            "        self.grad += 1.0\n",
            "        self.grad = 1.0\n"),
     Mutant("the leaves are set to zero as well", "            if value.sources:\n                value.grad = 0.0\n",
            "            value.grad = 0.0\n"),
     Mutant("the result itself keeps its gradient of the last walk", "if value.sources:",
            "if value.sources and value is not self:"),
     Mutant("the gradient of the result is set to 1, which a leaf does not survive", "self.grad += 1.0", "self.grad = 1.0",
            "a leaf"),
     Mutant("the walk goes from the front, before gradients are complete", "in reversed(values)", "in values", "once")))

CHAPTER = Chapter("the chain rule", TEXT, (product, accumulate, topological, second_backward))
