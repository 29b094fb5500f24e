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


relu = Exercise(
    "relu",
    "the backward of max(x, 0), with 0 as the slope at the kink",
    ("The gradient has the shape of x: each number of x has one number of the output, and nothing else depends on it.",
     "y = max(x, 0) has slope 1 where x > 0 and slope 0 where x < 0. At 0 it has none; by agreement it is 0. Backward is the "
     "upstream gradient times that slope.",
     "grad_x[i] = grad[i] if x[i] > 0 else 0"),
    Gradient("ReLU", F.relu, relu_inputs, Sizes(dict(n=3, m=4), dict(n=(0, 3), m=(1, 4))), names=("x",)),
    (Mutant("the upstream gradient is not multiplied in", "grad * (self.x > 0)", "1.0 * (self.x > 0)", "missing upstream"),
     Mutant("the slope is 1 everywhere", "grad * (self.x > 0)", "grad * 1.0", "passes where it should block"),
     Mutant("the signs are mixed up", "self.x > 0", "self.x < 0"),
     Mutant("it works in place on the upstream gradient", "return grad * (self.x > 0)",
            "grad[self.x <= 0] = 0\n        return grad", "input changed"),
     Mutant("it never ends", "return grad * (self.x > 0)", "while True:\n            grad = grad * 1", "never ends",
            hangs=True)))

CHAPTER = Chapter("layers", TEXT, (relu,))
