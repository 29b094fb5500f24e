"""Chapter 4: layers."""

import numpy as np

from .... import functional as F
from ...checks import Gradient
from ...checks.sizes import Sizes
from ...spec import Chapter, Exercise, Mutant

TEXT = """
A layer is a function with a derivative that somebody took the trouble to write down. There are few of them, and each
has one thing in it that goes wrong again and again: the kink of ReLU, the sum over the batch that a bias needs, the
cross terms of softmax, the exponential that overflows.
"""


def relu_inputs(random, n, m):
    x = random.standard_normal((n, m))
    return [x + 0.1 * np.sign(x)], {}


def at_the_kink(work):
    """The one place that no measurement decides."""
    with work.stage("at the kink"):
        op = work.get("ReLU")()
        op.forward(np.array([-1.0, 0.0, 2.0]))
        work.same("backward of [-1, 0, 2] with 5 upstream everywhere", op.backward(np.full(3, 5.0)), np.array([0.0, 0.0, 5.0]))


relu = Exercise(
    "relu",
    "the backward of max(x, 0), with 0 as the slope at the kink",
    ("The gradient has the shape of x: each number of x has one number of the output, and nothing else depends on it.",
     "y = max(x, 0) has slope 1 where x > 0 and slope 0 where x < 0. At 0 it has none; by agreement it is 0. Backward is the "
     "upstream gradient times that slope.",
     "grad_x[i] = grad[i] if x[i] > 0 else 0"),
    Gradient("ReLU", F.relu, relu_inputs, Sizes(dict(n=3, m=4), dict(n=(0, 3), m=(1, 4))), names=("x",), also=(at_the_kink,)),
    (Mutant("at 0 the slope is 1 instead of 0", "self.x > 0", "self.x >= 0"),
     Mutant("the upstream gradient is not multiplied in", "grad * (self.x > 0)", "1.0 * (self.x > 0)", "missing upstream"),
     Mutant("the slope is 1 everywhere", "grad * (self.x > 0)", "grad * 1.0", "passes where it should block"),
     Mutant("the signs are mixed up", "self.x > 0", "self.x < 0"),
     Mutant("it works in place on the upstream gradient", "return grad * (self.x > 0)",
            "grad[self.x <= 0] = 0\n        return grad", "input changed"),
     Mutant("it never ends", "return grad * (self.x > 0)", "while True:\n            grad = grad * 1", "never ends",
            hangs=True)))

# ------------------------------------------------------------------------------------------------ linear


def linear_inputs(random, n, i, o):
    return [random.standard_normal((n, i)), random.standard_normal((o, i)), random.standard_normal(o)], {}


linear = Exercise(
    "linear",
    "forward and backward of the fully connected layer y = x wᵀ + b",
    ("x is (N, I), w (O, I), b (O,), and y and grad are (N, O). Backward returns (N, I), (O, I) and (O,). The shapes leave "
     "only one way to multiply.",
     "y = x wᵀ + b. The gradient of x is grad times w, that of w is gradᵀ times x, that of b is the sum of grad over "
     "the batch.",
     "grad_w[o, i] = sum over n of grad[n, o] * x[n, i], that is grad.T @ self.x; grad_b[o] = sum over n of grad[n, o]"),
    Gradient("Linear", F.linear, linear_inputs, Sizes(dict(n=3, i=4, o=2), dict(n=(0, 3), i=(1, 3), o=(1, 3))),
             medal=dict(n=64, i=512, o=256)),
    (Mutant("the gradient of b is not summed over the batch", "np.sum(grad, axis=0)", "grad", "wrong shape"),
     Mutant("the gradient of w is transposed", "grad.T @ self.x", "self.x.T @ grad", "wrong shape"),
     Mutant("the gradient of b is the one of the first example alone", "np.sum(grad, axis=0)", "grad[:1].sum(axis=0)",
            "missing sum"),
     Mutant("the gradient of b is divided by the batch, which the loss does already", "np.sum(grad, axis=0)",
            "grad.sum(axis=0) / max(len(grad), 1)", "divided by batch twice"),
     Mutant("the gradient of b counts the batch and forgets the upstream gradient", "np.sum(grad, axis=0)",
            "(grad * 0 + 1).sum(axis=0)", "missing upstream"),
     Mutant("the bias is not added", "x @ w.T + b", "x @ w.T"),
     Mutant("w is multiplied as it is where its transpose is needed", "x @ w.T + b", "x @ w + b", "ValueError")))

# ------------------------------------------------------------------------------------------------ softmax


def rows_of_scores(random, n, m, dims):
    return [random.standard_normal((2, n, m)[3 - dims:])], {}


SCORES = Sizes(dict(n=3, m=4, dims=2), dict(n=(0, 3), m=(1, 4), dims=(1, 3)))


def large_scores(work):
    with work.stage("scores of 1000"):
        op = work.get("Softmax")()
        x = np.array([[1000.0, 1000.0, 999.0], [-1000.0, -1001.0, -1000.0]])
        e = np.exp(np.array([[0.0, 0.0, -1.0], [0.0, -1.0, 0.0]]))
        work.same("softmax of [[1000, 1000, 999], [-1000, -1001, -1000]]", op.forward(x), e / e.sum(axis=1, keepdims=True))


def jacobian_note(work):
    op = work.get("Softmax")()
    y = op.forward(np.log(np.array([[0.5, 0.3, 0.2]])))
    slopes = [op.backward(row[None])[0] for row in np.eye(3)]
    work.note("how the probabilities 0.5, 0.3, 0.2 change with each score; the minus signs are the cross terms")
    for p, row in zip(y[0], slopes):
        work.note(f"  {p:.1f}   " + " ".join(f"{slope:+.2f}" for slope in row))


MAX = "x - x.max(axis=-1, keepdims=True)"
CROSS = "self.y * (grad - (grad * self.y).sum(axis=-1, keepdims=True))"

softmax = Exercise(
    "softmax",
    "forward and backward of softmax over the last axis, with all cross terms",
    ("Everything has the shape of x. The sums, over the last axis, keep it with length 1: keepdims=True.",
     "y = exp(x - max) / sum(exp(x - max)), and the gradient of x is y (grad - sum(grad y)), all along the last axis.",
     "for one row: s = sum of grad[j] * y[j]; grad_x[i] = y[i] * (grad[i] - s)"),
    Gradient("Softmax", lambda x: F.softmax(x, -1), rows_of_scores, SCORES, names=("x",), also=(large_scores, jacobian_note)),
    (Mutant("only the diagonal is there, the derivative of the sigmoid", CROSS, "grad * self.y * (1 - self.y)",
            "cross terms missing"),
     Mutant("the maximum is not subtracted, and exp overflows", "np.exp(" + MAX + ")", "np.exp(x)", "scores of 1000"),
     Mutant("the sum in backward runs over the batch instead of the classes", "(grad * self.y).sum(axis=-1, keepdims=True)",
            "(grad * self.y).sum(axis=0, keepdims=True)"),
     Mutant("probabilities sum to 1 over the whole batch, not in each row", "e.sum(axis=-1, keepdims=True)", "e.sum()"),
     Mutant("the upstream gradient is taken for ones, for which the gradient is 0", CROSS,
            "self.y * (1 - self.y.sum(axis=-1, keepdims=True)) + 0 * grad", "zero gradient"),
     Mutant("the subtraction changes the scores of the caller", "        e = np.exp(" + MAX + ")\n",
            "        x -= x.max(axis=-1, keepdims=True)\n        e = np.exp(x)\n", "input changed")))

# ------------------------------------------------------------------------------------------------ log_softmax


def logarithms(work):
    op = work.get("LogSoftmax")()
    with work.stage("scores of 1000"):
        work.same("log softmax of [[1000, 1000], [-1000, -1000]]", op.forward(np.array([[1e3, 1e3], [-1e3, -1e3]])),
                  np.full((2, 2), -np.log(2.0)))
    with work.stage("small probabilities"):
        work.same("log softmax of [[0, -800]]", op.forward(np.array([[0.0, -800.0]])), np.array([[0.0, -800.0]]))
        work.same("the gradient there, with upstream [[2, 3]]", op.backward(np.array([[2.0, 3.0]])), np.array([[-3.0, 3.0]]))


STABLE = "shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))"

log_softmax = Exercise(
    "log_softmax",
    "the logarithm of softmax over the last axis, right for scores of any size",
    ("Everything has the shape of x; maximum and sum are taken over the last axis with keepdims=True.",
     "With s = x - max: y = s - log(sum(exp(s))). The gradient of x is grad - exp(y) sum(grad).",
     "for one row: s[j] = x[j] - max(x); y[j] = s[j] - log(sum(exp(s))); grad_x[i] = grad[i] - exp(y[i]) * sum(grad)"),
    Gradient("LogSoftmax", lambda x: F.log_softmax(x, -1), rows_of_scores, SCORES, names=("x",), also=(logarithms,)),
    (Mutant("exp overflows, as the maximum is not subtracted", "shifted = " + MAX, "shifted = x", "scores of 1000"),
     Mutant("it is the logarithm of a probability that is 0 already", STABLE,
            "np.log(np.exp(shifted) / np.exp(shifted).sum(axis=-1, keepdims=True))", "small probabilities"),
     Mutant("each output is treated as if it depended on its own score alone", " * grad.sum(axis=-1, keepdims=True)", " * grad",
            "cross terms missing"),
     Mutant("backward takes the logarithm for the probability", "np.exp(self.y) *", "self.y *"),
     Mutant("the sum of the upstream gradient is left out", " * grad.sum(axis=-1, keepdims=True)", ""),
     Mutant("grad is passed on, the denominator is taken for a constant",
            "grad - np.exp(self.y) * grad.sum(axis=-1, keepdims=True)", "grad * 1.0", "local derivative missing")))

# ------------------------------------------------------------------------------------------------ cross_entropy


def labelled_scores(random, n, c):
    return [random.standard_normal((n, c))], dict(labels=np.arange(1, n + 1) % c)


def surprises(work):
    op = work.get("CrossEntropy")()
    with work.stage("logits of 1000"):
        logits, labels = np.array([[1e3, 0.0], [0.0, 1e3], [-1e3, -1e3]]), np.array([0, 0, 1])
        work.same("the losses of [[1000, 0], [0, 1000], [-1000, -1000]]",
                  op.forward(logits, labels=labels), np.array([0.0, 1e3, np.log(2.0)]))
        work.same("the gradient there", op.backward(np.ones(3)), np.array([[0.0, 0.0], [-1.0, 1.0], [0.5, -0.5]]))
    blank = float(op.forward(np.zeros((1, 10)), labels=np.array([3]))[0])
    work.note(f"ten classes, and a network that knows nothing: loss {blank:.3f}, which is log 10")


cross_entropy = Exercise(
    "cross_entropy",
    "the loss of a classifier for each example, and what it believed minus what was true",
    ("logits are (N, C), labels (N,), and so are the losses and grad. Backward returns one gradient, (N, C); grad[:, None] has "
     "the shape (N, 1).",
     "loss[n] = -logp[n, labels[n]] with the stable log softmax; the gradient is (softmax(logits) - t) * grad[:, None], where "
     "t is 1 at the labels and 0 elsewhere.",
     "rows = np.arange(len(labels)); losses are -logp[rows, labels]; in backward result = p.copy(); result[rows, labels] -= 1; "
     "result[n, c] is then multiplied by grad[n]"),
    Gradient("CrossEntropy", lambda logits, labels: -F.log_softmax(logits, 1)[np.arange(len(labels)), labels], labelled_scores,
             Sizes(dict(n=3, c=4), dict(n=(0, 4), c=(1, 4))), names=("logits",), also=(surprises,)),
    (Mutant("the upstream gradient is not multiplied in", "result * grad[:, None]", "result", "missing upstream"),
     Mutant("it divides by the batch, which the average outside does already", "result * grad[:, None]",
            "result * grad[:, None] / max(len(grad), 1)", "divided by batch twice"),
     Mutant("what was true is not subtracted", "        result[np.arange(len(self.labels)), self.labels] -= 1\n", ""),
     Mutant("it is the truth minus the belief", "result * grad[:, None]", "-result * grad[:, None]", "sign flipped"),
     Mutant("1 is subtracted from the probabilities that forward kept", "result = self.p.copy()", "result = self.p",
            "backward changes what forward kept"),
     Mutant("the maximum is not subtracted, and exp overflows", "logits - logits.max(axis=1, keepdims=True)", "logits * 1.0",
            "logits of 1000"),
     Mutant("grad, with one number for each example, is laid along the classes", "grad[:, None]", "grad", "ValueError")))

CHAPTER = Chapter("layers", TEXT, (relu, linear, softmax, log_softmax, cross_entropy))
