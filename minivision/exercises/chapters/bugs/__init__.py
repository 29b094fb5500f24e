"""Chapter 7: find the bug."""

from ...checks import Custom
from ...spec import Chapter, Exercise, Mutant
from .examinations import (
    check_alias,
    check_overlap,
    check_saturated,
    check_sums,
    check_wrong_axis,
    check_zero_padding,
)

TEXT = """
Nearly all mistakes in this chapter were shipped, in libraries that people use to learn and to work. None of them crashes.
All of them passed the tests that their authors had, for a test is a choice of inputs, and the inputs were comfortable
ones: windows that do not overlap, square batches, positive pixels, sums that are always 1.

So here you do not write the code. You get it, with the mistake in it, and write the test: inputs on which right and wrong
part ways. Then you give the mistake its name. If the class seems right to you on everything you try, ask what your inputs
have in common.
"""


def _wrong_letter(right: str, wrong: str = "A") -> Mutant:
    return Mutant("the wrong letter", f'MISTAKE = "{right}"', f'MISTAKE = "{wrong}"', "another mistake")


overlap = Exercise(
    "overlap",
    "inputs that expose a convolution whose gradient is right only sometimes",
    ("x is (N, C, H, W) and w is (F, C, KH, KW), with the same C. One image, one channel and one filter will do.",
     "Backward visits the windows one after the other and writes into each of them. Ask what happens to a pixel that two "
     "windows see, and when two windows see the same pixel: if the stride is less than the size of the filter.",
     "x of shape (1, 1, 1, 3), w of shape (1, 1, 1, 2), stride 1: both windows see the pixel in the middle."),
    Custom(check_overlap),
    (Mutant("windows that do not overlap", "(1, 1, 1, 2)), 1, 0", "(1, 1, 1, 2)), 2, 0", "not exposed"),
     Mutant("one window only", "(1, 1, 1, 3)", "(1, 1, 1, 2)", "not exposed"),
     Mutant("a filter of zeros", "random.standard_normal((1, 1, 1, 2))", "np.zeros((1, 1, 1, 2))", "right one fails"),
     Mutant("channels that do not fit", "(1, 1, 1, 2)", "(1, 2, 1, 2)", "inputs that make no sense"),
     _wrong_letter("C", "B")))


sums = Exercise(
    "sums",
    "weights for a check that sums, so that a softmax without a backward is found out",
    ("An array of the given shape, (rows, columns), of any numbers.",
     "Row by row, the gradient of softmax is p * (g - sum(p * g)): it is 0 if all weights g of the row are alike. For batch "
     "norm the same holds for columns. So weights must differ along both.",
     "g[i, j] has to differ from g[i, j + 1] and from g[i + 1, j]; np.random.default_rng(0).standard_normal(shape) will do."),
    Custom(check_sums),
    (Mutant("ones", "np.random.default_rng(0).standard_normal(shape)", "np.ones(shape)", "not exposed"),
     Mutant("the same weight along each row", "np.random.default_rng(0).standard_normal(shape)",
            "np.arange(shape[0])[:, None] * np.ones(shape)", "not exposed"),
     Mutant("the same weight along each column", "np.random.default_rng(0).standard_normal(shape)",
            "np.arange(shape[1]) * np.ones(shape)", "not exposed"),
     Mutant("weights of zeros", "np.random.default_rng(0).standard_normal(shape)", "np.zeros(shape)", "not exposed"),
     _wrong_letter("D", "C")))


zero_padding = Exercise(
    "zero_padding",
    "an image that max pooling gets wrong although its gradient check passes",
    ("image is (H, W); size, stride and padding are whole numbers, padding at most half the size.",
     "The class pads with zeros and then takes the maximum. When is a 0 the largest number of a window?",
     "An image of negative numbers only, say -1 everywhere, with size 2, stride 2, padding 1."),
    Custom(check_zero_padding),
    (Mutant("a positive image",
            "[[-1.0, -2.0, -3.0], [-4.0, 5.0, -6.0], [-7.0, -8.0, -9.0]]", "[[1.0, 2.0], [3.0, 4.0]]", "not exposed"),
     Mutant("no padding", "2, 1, 1", "2, 1, 0", "not exposed"),
     Mutant("more padding than half the window", "2, 1, 1", "2, 1, 2", "inputs that make no sense"),
     Mutant("negative pixels in the middle only",
            "[[-1.0, -2.0, -3.0], [-4.0, 5.0, -6.0], [-7.0, -8.0, -9.0]]",
            "[[1.0, 1.0, 1.0], [1.0, -9.0, 1.0], [1.0, 1.0, 1.0]]", "not exposed"),
     _wrong_letter("B", "D")))


alias = Exercise(
    "alias",
    "a test that tells whether two gradients share memory",
    ("exposes takes a class and returns True or False. Two vectors of two numbers are enough.",
     "Do what a user does: add, run backward, change the gradient of a in place, and see if the gradient of b has changed. "
     "Remember to copy it first: `before = b.grad` is a second name, not a copy.",
     "before = b.grad.copy(); a.grad += 1; the engine is wrong if b.grad differs from before"),
    Custom(check_alias),
    (Mutant("the numbers are compared, which are equal for good reasons", "return not np.array_equal(b.grad, before)",
            "return bool(np.array_equal(a.grad - 1, before))", "false alarm"),
     Mutant("only the objects are compared", "return not np.array_equal(b.grad, before)", "return a.grad is b.grad",
            "not exposed"),
     Mutant("`before` is a second name, not a copy", "b.grad.copy()", "b.grad", "not exposed"),
     Mutant("a new array instead of a change in place", "a.grad += 1", "a.grad = a.grad + 1", "not exposed"),
     _wrong_letter("C", "D")))


saturated = Exercise(
    "saturated",
    "ranges in which a test that could not fail can fail",
    ("Two pairs (low, high), at least 1 apart.",
     "The slopes are exp(a - 200) and 1 / (a + 100000). Where are they larger than the tolerance of 0.01 + 0.01 * slope, and "
     "the function still an ordinary number?",
     "exp(a - 200) is 1 at a = 200. 1 / (a + 100000) is 1 at a = -99999. Go a little to both sides of these."),
    Custom(check_saturated),
    (Mutant("the old range for exp", "(198.0, 202.0)", "(-100.0, 100.0)", "not exposed"),
     Mutant("the old range for log", "(-99999.5, -99990.0)", "(-100.0, 100.0)", "not exposed"),
     Mutant("exp overflows", "(198.0, 202.0)", "(198.0, 1000.0)", "right one fails"),
     Mutant("log of a negative number", "(-99999.5, -99990.0)", "(-100001.0, -99990.0)", "inputs that make no sense"),
     Mutant("the lower end for exp is just too low", "(198.0, 202.0)", "(195.0, 202.0)", "not exposed"),
     _wrong_letter("A", "D")))


wrong_axis = Exercise(
    "wrong_axis",
    "logits that expose a loss whose gradient is right for square batches",
    ("logits are (N, M) for N samples and M classes, labels are N whole numbers from 0 to M - 1.",
     "Backward divides by one of the lengths of its array. Which should it be, N or M? For which shapes does it not matter?",
     "logits of shape (2, 3) and labels [2, 0]: the mean is over 2 samples."),
    Custom(check_wrong_axis),
    (Mutant("a square batch", "standard_normal((2, 3))", "standard_normal((3, 3))[:, :]", "inputs that make no sense"),
     Mutant("a square batch, with labels", "standard_normal((2, 3)), np.array([2, 0])",
            "standard_normal((3, 3)), np.array([2, 0, 1])",
            "not exposed"),
     Mutant("a network that is certain", "standard_normal((2, 3))", "standard_normal((2, 3)) * 0 + [[0, 0, 99], [99, 0, 0]]",
            "not exposed"),
     Mutant("a label that is no class", "[2, 0]", "[3, 0]", "inputs that make no sense"),
     _wrong_letter("C", "E")))

CHAPTER = Chapter("find the bug", TEXT, (overlap, sums, zero_padding, alias, saturated, wrong_axis))
