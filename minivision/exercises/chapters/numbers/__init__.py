"""Chapter 1: numbers."""

import numpy as np

from ...checks import Custom, Values
from ...checks.sizes import Sizes, random_of
from ...spec import Chapter, Exercise, Mutant
from .plots import sweep_picture

TEXT = """
Deep learning comes down to one question, asked of millions of numbers at once: if this number grew a little, would the
loss grow or shrink, and how fast? The answer is a derivative. There are two ways to it. One computes it by the rules of
calculus, as every later chapter does. The other measures it: move the number, look what happens. Measuring is slow and
never exact, but it is so simple that it can hardly be wrong, and so it is the judge of everything that follows.

A judge must be trusted, so this chapter builds one with care: which step is right, why smaller is not better, what makes
two numbers the same, and how a careless check passes a gradient that is nothing but zeros.
"""

# ------------------------------------------------------------------------------------------------ slope

# functions, their derivatives, their names
FUNCTIONS = (
    (lambda x: x * x * x, lambda x: 3 * x * x, "x * x * x"),
    (np.sin, np.cos, "sin(x)"),
    (np.exp, np.exp, "exp(x)"),
    (lambda x: 1 / x, lambda x: -1 / (x * x), "1 / x"),
    (lambda x: 7.0, lambda x: 0.0, "7"))


def slope_inputs(random, function, x):
    return FUNCTIONS[function][0], x / 2


def slope_oracle(f, x):
    return float(next(derivative for g, derivative, _ in FUNCTIONS if g is f)(x))


def slope_promises(work):
    slope = work.get("slope")
    with work.stage("a parabola, and a large step"):
        work.same("the slope of x * x at 3 with h = 1, where the central difference is exact", slope(lambda x: x * x, 3.0, 1.0),
                  6.0)
    with work.stage("the step that is given"):
        work.same("the slope of x * x * x at 1 with h = 0.5, which is 3 + h * h", slope(lambda x: x * x * x, 1.0, 0.5), 3.25)
    with work.stage("a kink"):
        work.same("the slope of |x| at 0, the mean of the slopes on both sides", slope(abs, 0.0, 0.25), 0.0)


slope = Exercise(
    "slope",
    "the central difference: how steep a function is, measured",
    ("It is one number. f is called twice, once on each side of x, at the same distance h.",
     "The slope is the change of f over the distance: (f(x + h) - f(x - h)) / (2 h). From x - h to x + h it is 2h.",
     "rise = f(x + h) - f(x - h); the slope is rise / (2 * h). Mind the parentheses: a / 2 * h is a * h / 2"),
    Values("slope", slope_oracle, slope_inputs, Sizes(dict(function=0, x=3), dict(function=(0, 4), x=(1, 9))), atol=1e-7,
           also=(slope_promises,)),
    (Mutant("it is the forward difference, which is wrong by h/2 f''", "(f(x + h) - f(x - h)) / (2 * h)",
            "(f(x + h) - f(x)) / h"),
     Mutant("it divides by h, but the two points are 2h apart", "/ (2 * h)", "/ h"),
     Mutant("/ 2 * h without parentheses divides by 2 and then multiplies by h", "/ (2 * h)", "/ 2 * h"),
     Mutant("the two points have changed places, so the sign is wrong", "return (f(x + h) - f(x - h))",
            "return (f(x - h) - f(x + h))"),
     Mutant("the step that was given is not used", "    return (f", "    h = 1e-5\n    return (f", "the step")))

# ------------------------------------------------------------------------------------------------ step

STEPS = 10.0 ** -np.arange(0, 16.25, 0.25)


def step_check(work):
    with work.stage("runs"):
        sweep, good_step = work.get("sweep"), work.get("good_step")
    for dtype in (np.float64, np.float32):
        with work.stage(dtype.__name__):
            x, h = dtype(1.25), STEPS.astype(dtype)
            expected = abs(((1 / (x + h) - 1 / (x - h)) / (2 * h)).astype(np.float64) + 0.64)
            yours = sweep(lambda x: 1 / x, -0.64, 1.25, STEPS, dtype)
            work.same("the errors for 1 / x at 1.25", yours, expected, atol=8 * float(np.finfo(dtype).eps))
    with work.stage("good step"):
        for dtype in (np.float64, np.float32):
            work.same(f"good_step(np.{dtype.__name__})", good_step(dtype), float(np.finfo(dtype).eps) ** (1 / 3))
    curves = {letter: sweep(np.sin, np.cos(1.0), 1.0, STEPS, dtype)
              for letter, dtype in (("x", np.float32), ("o", np.float64))}
    work.note("the slope of sin at 1: x in float32, o in float64\n" + sweep_picture(STEPS, curves))
    for letter, dtype in (("x", np.float32), ("o", np.float64)):
        best = int(np.argmin(curves[letter]))
        work.note(f"{dtype.__name__}: least error {curves[letter][best]:.0e} at h = {STEPS[best]:.0e}; eps^(1/3) = "
                  f"{good_step(dtype):.0e}")


step = Exercise(
    "step",
    "the error of a measured slope for many steps, in float64 and float32",
    ("sweep fills one entry of errors for each step: a float64 that is never negative. good_step returns one number.",
     "errors[i] = |(f(x + h) - f(x - h)) / (2h) - true|, with x and h in dtype: dtype(h) makes such a number. The good step is "
     "eps^(1/3).",
     "h = dtype(h); errors[i] = abs(float((f(x + h) - f(x - h)) / (2 * h)) - true); and "
     "float(np.finfo(dtype).eps) ** (1 / 3)"),
    Custom(step_check),
    (Mutant("h stays a float64, and float32 + float64 is computed in float64", "        h = dtype(h)\n", ""),
     Mutant("the sign of the error is kept", "abs(float(measured) - true)", "float(measured) - true"),
     Mutant("it is the forward difference", "(f(x + h) - f(x - h)) / (2 * h)", "(f(x + h) - f(x)) / h"),
     Mutant("it is the relative error, not the absolute one", "abs(float(measured) - true)",
            "abs(float(measured) - true) / abs(true)"),
     Mutant("it is the square root of eps, which is good for the forward difference", "** (1 / 3)", "** (1 / 2)")))

# ------------------------------------------------------------------------------------------------ numeric_gradient


def moving_case(random, n, m, axes, transposed):
    """An array, a function that reads it, and the function's gradient."""
    x = random.standard_normal((n, m)[:axes])
    x = x.T if transposed else x
    w = random.standard_normal(x.shape)
    gradient = 2 * w * x * np.sum(np.sin(x)) + np.sum(w * x * x) * np.cos(x)
    return x, lambda: float(np.sum(w * x * x) * np.sum(np.sin(x))), gradient


def numeric_attempt(work, case):
    x, f, gradient = moving_case(random_of(case), **case)
    yours = work.get("numeric_gradient")(f, x)
    work.same("the gradient", yours, gradient, atol=1e-7, rtol=1e-6)


def as_before(work, x, old, when):
    off = np.argwhere(x != old)
    if len(off):
        place = tuple(int(k) for k in off[0])
        work.fail(f"{when}, x{list(place)} is {float(x[place])!r}; it was {float(old[place])!r}. It is the caller's array, "
                  "the weights of a network perhaps: keep the old value and write it back", "not restored", evidence=(x - old,))


def restored(work):
    x, f, _ = moving_case(np.random.default_rng(5), 3, 4, 2, 0)
    x[1] *= 1e-7                                     # beside h, these lose digits
    old = x.copy()
    with work.stage("x is as before"):
        work.get("numeric_gradient")(f, x)
        as_before(work, x, old, "after the call")
    for call in range(1, 5):
        calls = iter(range(1, call + 1))

        def fails(calls=calls, last=call):
            if next(calls) == last:
                raise ArithmeticError("f failed")
            return f()

        with work.stage("x is as before when f raises", done=call == 4):
            try:
                work.get("numeric_gradient")(fails, x)
            except ArithmeticError:
                as_before(work, x, old, f"after f raised an exception in call {call}")
            else:
                work.fail("f raised an ArithmeticError, and numeric_gradient returned as if nothing had happened. Put x "
                          "back, but let the exception through: finally, not except", "exception swallowed")


def numeric_check(work):
    sizes = Sizes(dict(n=2, m=3, axes=2, transposed=0), dict(n=(0, 3), m=(1, 3), axes=(0, 2), transposed=(0, 1)))
    with work.stage("runs"):
        work.get("numeric_gradient")
    work.case = sizes.first
    with work.stage("values"):
        numeric_attempt(work, sizes.first)
    work.case = {**sizes.first, "transposed": 1}
    with work.stage("a transposed array"):
        numeric_attempt(work, work.case)
    work.case = None
    restored(work)
    sizes.search(work, lambda case: numeric_attempt(work, case))


numeric_gradient = Exercise(
    "numeric_gradient",
    "the gradient of a function of an array, measured entry by entry; the array is left as it was",
    ("The gradient has the shape of x. There are two calls of f for each entry: one with x[index] moved up, one with it moved "
     "down, all other entries where they were.",
     "gradient[index] = (f with x[index] + h - f with x[index] - h) / (2h). Remember old = x[index] first, and put it back in "
     "the finally of a try.",
     "for index in np.ndindex(x.shape): old = x[index]; try: x[index] = old + h; above = f(); x[index] = old - h; below = f(); "
     "finally: x[index] = old; then gradient[index] = (above - below) / (2 * h)"),
    Custom(numeric_check),
    (Mutant("an exception in f leaves x moved", "        try:\n            x[index] = old + h\n            above = f()\n"
            "            x[index] = old - h\n            below = f()\n        finally:\n            x[index] = old\n",
            "        x[index] = old + h\n        above = f()\n        x[index] = old - h\n        below = f()\n"
            "        x[index] = old\n", "x is as before when f raises"),
     Mutant("x is moved back by adding h instead of writing the old value", "finally:\n            x[index] = old",
            "finally:\n            x[index] += h", "x is as before"),
     Mutant("no entry is put back", "            x[index] = old\n", "            pass\n"),
     Mutant("it is the forward difference", "            x[index] = old - h\n            below = f()\n        finally:\n"
            "            x[index] = old\n        gradient[index] = (above - below) / (2 * h)",
            "            x[index] = old\n            below = f()\n        finally:\n"
            "            x[index] = old\n        gradient[index] = (above - below) / h"),
     Mutant("a copy is moved, since x.reshape(-1) of a transposed array is one",
            "    for index", "    x = x.reshape(-1).reshape(x.shape)\n    for index")))

# ------------------------------------------------------------------------------------------------ compare


class Cube:
    """y = x³, right."""

    def forward(self, x):
        self.x = x.copy()
        return x ** 3

    def backward(self, grad):
        return 3 * self.x ** 2 * grad


class CubeOff(Cube):
    """Its gradient is off by a thousandth part."""

    def backward(self, grad):
        return 3.003 * self.x ** 2 * grad


class Softmax:
    def forward(self, x):
        self.y = np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)
        return self.y

    def backward(self, grad):
        return self.y * (grad - (grad * self.y).sum(axis=-1, keepdims=True))


class SoftmaxOfZeros(Softmax):
    """Its gradient is 0, which a check by plain sums cannot tell from the true one."""

    def backward(self, grad):
        return np.zeros(grad.shape)


class CubeWithoutUpstream(Cube):
    def backward(self, grad):
        return 3 * self.x ** 2


def measure(f, x):
    """Central differences, on a copy of x."""
    gradient, x = np.zeros(x.shape), x.copy()
    for i in range(x.size):
        old = x.flat[i]
        x.flat[i] = old + 1e-5
        above = f(x)
        x.flat[i] = old - 1e-5
        gradient.flat[i] = (above - f(x)) / 2e-5
        x.flat[i] = old
    return gradient


def compare_check(work):
    with work.stage("runs"):
        relative_error, verdict, check = (work.get(name) for name in ("relative_error", "verdict", "check"))
    random = np.random.default_rng(1)
    with work.stage("relative error"):
        a = random.standard_normal((3, 4))
        b = a + 1e-3 * random.standard_normal((3, 4))
        expected = max(abs(p - q) / (abs(p) + abs(q)) for p, q in zip(a.flat, b.flat))
        work.same("relative_error(a, b)", relative_error(a, b), expected)
        work.same("relative_error(b, a)", relative_error(b, a), expected)
        work.same("relative_error(-a, b), opposite signs", relative_error(-a, b), max(
            abs(-p - q) / (abs(p) + abs(q)) for p, q in zip(a.flat, b.flat)))
    with work.stage("zeros in both"):
        work.same("relative_error([0, 2], [0, 2])", relative_error(np.array([0.0, 2.0]), np.array([0.0, 2.0])), 0.0)
        work.same("relative_error([0], [1e-12]), nearly zero", relative_error(np.zeros(1), np.full(1, 1e-12)), 1e-4)
    with work.stage("no entries"):
        work.same("relative_error of two arrays of shape (0, 3)", relative_error(np.zeros((0, 3)), np.zeros((0, 3))), 0.0)
    with work.stage("verdict"):
        for error, word in ((0.0, "right"), (9e-7, "right"), (2e-6, "kink?"), (9e-4, "kink?"), (2e-3, "wrong"), (1.0, "wrong"),
                            (float("inf"), "wrong")):
            if verdict(error) != word:
                work.fail(f"verdict({error:g}) is {verdict(error)!r}, expected {word!r}", "verdict",
                          evidence=(float(len(str(verdict(error)))),))
    with work.stage("nan is wrong"):
        found = verdict(relative_error(np.array([1.0, float("nan")]), np.array([1.0, 1.0])))
        if found != "wrong":
            work.fail(f"an entry of the gradient is nan, and the verdict is {found!r}; expected 'wrong'. Every comparison "
                      "with nan is false: ask whether the error is small, not whether it is large", "nan passes")
    x = random.standard_normal((3, 4))

    def says(op):
        return check(op(), x, measure, np.random.default_rng(2))

    def passes(op):
        error = says(op)
        if not error <= 1e-6:
            work.fail(f"the backward of {op.__name__} is right, but check says {error:.2g}, expected less than 1e-6. An "
                      "operation remembers its last forward: is backward called before anything is measured, and are its "
                      "upstream gradient and the weights of the measured sum the same?", "false alarm", evidence=(error,))

    with work.stage("a right gradient passes"):
        passes(Cube)
    with work.stage("a softmax of zeros fails"):
        error = says(SoftmaxOfZeros)
        if not error > 0.1:
            work.fail(f"this softmax returns zeros as its gradient, and check says {error:.2g}; expected about 1. A plain sum "
                      "of its outputs is 1 whatever x is, so its true gradient is 0: weigh the outputs with random numbers",
                      "vacuous", evidence=(error,))
    with work.stage("a right softmax passes"):
        passes(Softmax)
    for op in (CubeOff, CubeWithoutUpstream):
        with work.stage("wrong gradients fail", done=op is CubeWithoutUpstream):
            error = says(op)
            if not error > 1e-4:
                work.fail(f"the backward of {op.__name__} is wrong, but check says {error:.2g}, expected more than 1e-4. Does "
                          "the upstream gradient differ from entry to entry?", "a mistake passes", evidence=(error,))
    error = says(SoftmaxOfZeros)
    ones = np.ones_like(x)
    blind = relative_error(np.zeros_like(x), measure(lambda x: np.sum(Softmax().forward(x) * ones), x))
    work.note(f"a softmax that returns zeros: error {error:.2g} with your random upstream, {verdict(error)}; {blind:.1g} with "
              "a plain sum of its outputs")


compare = Exercise(
    "compare",
    "a relative error that never divides by zero, a verdict, and a check that zeros do not pass",
    ("relative_error: two arrays to one number. verdict: a number to a word. check: the upstream gradient has the shape of y; "
     "what backward returns and what is measured have the shape of x.",
     "error = max of |a - b| / max(1e-8, |a| + |b|), where np.max(..., initial=0.0) covers the empty case. check measures the "
     "gradient of sum(op.forward(x) * upstream) and compares it with op.backward(upstream).",
     "upstream = random.standard_normal(y.shape); claimed = op.backward(upstream); "
     "measured = measure(lambda x: np.sum(op.forward(x) * upstream), x). In verdict ask `if error <= 1e-6` first"),
    Custom(compare_check),
    (Mutant("the upstream gradient is all ones", "random.standard_normal(y.shape)", "np.ones(y.shape)",
            "a softmax of zeros fails"),
     Mutant("it divides by zero where both are zero", "np.maximum(1e-8, np.abs(a) + np.abs(b))", "np.abs(a) + np.abs(b)"),
     Mutant("it is the mean of the relative errors, in which one wrong entry among many disappears",
            "np.max(np.abs(a - b) / scale, initial=0.0)", "np.mean(np.abs(a - b) / scale)"),
     Mutant("nan passes", '    if error <= 1e-6:\n        return "right"\n    if error <= 1e-3:\n        return "kink?"\n'
            '    return "wrong"', '    if error > 1e-3:\n        return "wrong"\n    if error > 1e-6:\n        return "kink?"\n'
            '    return "right"', "nan is wrong"),
     Mutant("backward is called after measuring, when the operation remembers another x",
            "    claimed = op.backward(upstream)\n    measured = measure(lambda x: np.sum(op.forward(x) * upstream), x)\n",
            "    measured = measure(lambda x: np.sum(op.forward(x) * upstream), x)\n    claimed = op.backward(upstream)\n"),
     Mutant("backward is given ones, while the measured sum has random weights", "op.backward(upstream)",
            "op.backward(np.ones(y.shape))", "a right gradient passes"),
     Mutant("the difference is taken without its absolute value", "np.max(np.abs(a - b) / scale", "np.max((a - b) / scale")))

CHAPTER = Chapter("numbers", TEXT, (slope, step, numeric_gradient, compare))
