"""The checks of the chapter on finding bugs: right passes, wrong does not, and the letter is the right one."""

from __future__ import annotations

import numpy as np

from ...work import Work
from ..convolution.oracles import Convolution, MaxPooling
from .engines import Copies, Shares, Views
from .frame import HIDDEN, INVALID, array, checked, given, letter, parts, whole

# ---------------------------------------------------------------------------------------------- overlap

def check_overlap(work: Work) -> None:
    with work.stage("your inputs"):
        x, w, stride, padding = parts(work, "inputs", 4, "x, w, stride, padding")
        x = array(work, "x", x, 4, "(N, C, H, W)", 200)
        w = array(work, "w", w, 4, "(F, C, KH, KW)", 200)
        stride, padding = whole(work, "stride", stride, 1), whole(work, "padding", padding, 0)
        if x.shape[1] != w.shape[1]:
            work.fail(f"x has {x.shape[1]} channels, but the filters look at {w.shape[1]}: C is the same in (N, C, H, W) and "
                      "(F, C, KH, KW)", INVALID)
        sizes = [length + 2 * padding for length in x.shape[2:]]
        if sizes[0] < w.shape[2] or sizes[1] < w.shape[3]:
            work.fail(f"the padded image is {sizes[0]} x {sizes[1]}, smaller than the filter of {w.shape[2]} x {w.shape[3]}",
                      INVALID)
    options = {"stride": stride, "padding": padding}
    with work.stage("the right backward passes"):
        report = checked(Convolution, [x, w], **options)
        if not report:
            work.fail("on these inputs even a right backward does not pass the check, since nearly all true gradients are 0 "
                      f"there; a wrong one could not be told from it. Random numbers will do:\n{report}", "right one fails")
    with work.stage("the wrong one does not"):
        report = checked(given("overlap").Conv2d, [x, w], **options)
        if report:
            outputs = [(size - k) // stride + 1 for size, k in zip(sizes, w.shape[2:])]
            apart = all(k <= stride or count == 1 for k, count in zip(w.shape[2:], outputs))
            why = (f"No two windows see the same pixel: the filter is {w.shape[2]} x {w.shape[3]}, the stride {stride}, and "
                   f"there "
                   f"are {outputs[0]} x {outputs[1]} windows. Where does a pixel get its gradient from more than one place?"
                   if apart else "Windows overlap, but not on pixels of the image whose weights differ from 0. Try random "
                                 "numbers")
            work.fail(f"the class passes the gradient check on your inputs. {why}", HIDDEN)
    letter(work, "C", {
        "A": "then nothing would be right; with stride 3 and a 3 x 3 filter all of it is.",
        "B": "forward does not turn them, so each weight goes back to the pixel that it came from, as it should.",
        "D": "the last line of backward cuts it off, and the shape is right.",
        "E": "the gradient of w is right; look at the one of x."})
    work.note(f"the checker says: {report.diagnoses[0] if report.diagnoses else 'wrong'}")
    work.note(f"your image has {x.size} pixels" + ("; 3 are enough (1 x 3, a filter of 1 x 2)" if x.size > 3 else
                                                  ": no test can be smaller"))


# ---------------------------------------------------------------------------------------------- sums

def _jacobian_times(function: str, x: np.ndarray, g: np.ndarray) -> np.ndarray:
    """The true gradient of the sum of g * function(x)."""
    if function == "softmax":
        p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
        return p * (g - (p * g).sum(axis=1, keepdims=True))
    deviation = np.sqrt(x.var(axis=0) + 1e-5)
    y = (x - x.mean(axis=0)) / deviation
    return (g - g.mean(axis=0) - y * (g * y).mean(axis=0)) / deviation


def check_sums(work: Work) -> None:
    shape = (6, 4)
    x = np.random.default_rng(1998).standard_normal(shape)
    with work.stage("your weights"):
        weights = work.get("upstream")(shape)
        if not isinstance(weights, np.ndarray) or weights.shape != shape or weights.dtype.kind not in "fiu":
            got = f"shape {weights.shape}" if isinstance(weights, np.ndarray) else type(weights).__name__
            work.fail(f"upstream({shape}) returned {got}, expected an array of numbers of shape {shape}", INVALID)
        weights = array(work, "upstream", weights, 2, "(rows, columns)", 24)
    course = given("sums")
    blind = {"softmax": (1, "row", "Softmax couples the numbers of a row: it is blind to a weight that they share"),
             "batch_norm": (0, "column", "Batch norm couples the numbers of a column: it is blind to a weight that they share")}
    for name, (axis, line, reason) in blind.items():
        with work.stage(name):
            function = getattr(course, name)
            if not course.check(function, lambda x, g, name=name: _jacobian_times(name, x, g), x, weights):
                work.fail(f"with these weights even the right backward of {name} does not pass; are some of them huge?",
                          "right one fails")
            if course.check(function, course.wrong_backward, x, weights):
                same = np.ptp(weights, axis=axis).max() < 1e-9 * np.abs(weights).max(initial=1)
                why = f"Within each {line} your weights are all the same. {reason}" if same else (
                    "the weighted sum hardly depends on the input. Random weights are the simplest that see everything")
                work.fail(f"{name} without a backward still passes: {why}", HIDDEN)
    letter(work, "D", {
        "A": "with a step of 1e-5 it is right to 10 digits, and `check` with other weights uses the same step.",
        "B": "it tests every entry, and finds a slope of 0 at each.",
        "C": "its tolerance is 1e-6; the measured slopes are 0 to 11 digits.",
        "E": "you have just measured their derivatives."})
    sizes = [float(np.abs(_jacobian_times(name, x, weights)).max()) for name in blind]
    work.note("the largest slope that the check can see: with weights of ones 0 and 0; with yours "
              f"{sizes[0]:.2g} for softmax and {sizes[1]:.2g} for batch norm")


# ---------------------------------------------------------------------------------------------- padding

def check_zero_padding(work: Work) -> None:
    with work.stage("your inputs"):
        image, size, stride, padding = parts(work, "inputs", 4, "image, size, stride, padding")
        image = array(work, "image", image, 2, "(H, W)", 400)
        size, stride, padding = (whole(work, name, value, lowest) for name, value, lowest in (
            ("size", size, 1), ("stride", stride, 1), ("padding", padding, 0)))
        if 2 * padding > size:
            work.fail(f"padding is {padding}, more than half of size {size}: a window could see nothing but padding", INVALID)
        if min(image.shape) + 2 * padding < size:
            work.fail(f"the window of {size} x {size} is larger than the padded image", INVALID)
    options = {"size": size, "stride": stride, "padding": padding}
    with work.stage("the wrong forward shows"):
        x = image[None, None]
        right, wrong = MaxPooling().forward(x, **options), given("zero_padding").MaxPool2d().forward(x, **options)
        if np.array_equal(right, wrong):
            touched = MaxPooling().forward(x, **options)[0, 0]
            why = ("There is no padding, and the mistake has to do with it" if padding == 0 else
                   "All pixels are positive or 0" if image.min() >= 0 else
                   f"Your image has negative pixels, but every window at the border sees a positive one, too: the maxima are\n"
                   f"{np.array2string(touched, precision=3)}")
            work.fail(f"on your image the class computes max pooling exactly. {why}", HIDDEN)
    letter(work, "B", {
        "A": "np.argmax gives the first of equals, as agreed; and your image shows it without any ties.",
        "C": "the slices step by stride.",
        "D": "the line in backward says +=; and forward is wrong already.",
        "E": "the output has the right shape."})
    passes = checked(given("zero_padding").MaxPool2d, [x], **options)
    work.note(f"your image: expected {np.array2string(right[0, 0], precision=3, separator=', ')}".replace("\n", ""))
    work.note(f"the class says {np.array2string(wrong[0, 0], precision=3, separator=', ')}".replace("\n", ""))
    work.note("and the gradient check of the class: " + (str(passes).splitlines()[0] if passes else
              "nothing to measure, since padding wins in all windows; with a few positive pixels in the image it passes"))


# ---------------------------------------------------------------------------------------------- alias

def check_alias(work: Work) -> None:
    with work.stage("a right engine"):
        _verdict(work, Copies, False, "false alarm", "an engine that gives each input an array of its own. The gradients are "
                 "equal, as they should be for an addition, but they are two arrays; a change of one must not be seen in the "
                 "other")
    with work.stage("the engine of this file"):
        _verdict(work, given("alias").Var, True, HIDDEN, "the engine of this file, which hands one array to both "
                 "inputs. Is what you compare with a copy, and is the change made in place (+=)?")
    with work.stage("views"):
        _verdict(work, Shares, True, HIDDEN, "another engine that hands one array to both inputs")
        _verdict(work, Views, True, HIDDEN, "an engine whose two gradients are different objects that look at the same memory "
                 "(grad[...]); `is` and id() do not see that. Write into one and look at the other")
    letter(work, "C", {
        "A": "they have the shape of the data.",
        "B": "c grows as b grows: the slope is +1.",
        "D": "an upstream gradient of ones stands for the sum of c, which is fine."})
    parameters = np.array([1.0, 5.0])
    shared = np.ones(1)
    grads = [shared, shared]
    for grad, p in zip(grads, parameters):
        grad += 0.1 * p
    work.note(f"weight decay of 0.1 on a = 1 and b = 5: expected gradients 1.1 and 1.5; with one array {grads[0][0]:.1f} and "
              f"{grads[1][0]:.1f}")


def _verdict(work: Work, engine: type, expected: bool, diagnosis: str, which: str) -> None:
    yours = work.get("exposes")(engine)
    if not isinstance(yours, (bool, np.bool_)):
        work.fail(f"exposes returned {yours!r}, expected True or False", INVALID)
    if bool(yours) != expected:
        work.fail(f"exposes returned {bool(yours)}, expected {expected}, for {which}", diagnosis)


# ---------------------------------------------------------------------------------------------- saturated

def check_saturated(work: Work) -> None:
    course = given("saturated")
    with work.stage("your ranges"):
        pairs = parts(work, "ranges", 2, "a pair for exp(a - 200) and one for log(a + 100000)")
        names = ("exp(a - 200)", "log(a + 100000)")
        pairs = tuple(array(work, f"the range for {name}", pair, 1, "(low, high)", 2) for name, pair in zip(names, pairs))
        for name, pair in zip(names, pairs):
            if len(pair) != 2 or pair[1] - pair[0] < 1:
                work.fail(f"the range for {name} is {pair.tolist()}, expected low and high, at least 1 apart", INVALID)
        if pairs[1][0] <= -100000:
            work.fail(f"the range for {names[1]} begins at {pairs[1][0]:g}, where the logarithm is not defined: a + 100000 "
                      "must be positive", INVALID)
    functions = ((course.shifted_exp, course.exp_slope), (course.shifted_log, course.log_slope))
    for name, (low, high), (function, slope) in zip(names, pairs, functions):
        with work.stage(name), np.errstate(all="ignore"):
            points = np.linspace(low, high, 25)
            for a in points:
                true = float(slope(a))
                if not course.accepts(function, slope, a):
                    work.fail(f"at a = {a:.6g} not even the right slope {true:.3g} is accepted: the function is "
                              f"{function(a):.3g} there, and cannot be measured with a step of 1e-6", "right one fails")
                for wrong, words in ((0.0, "the slope 0"), (-true, "the slope with the wrong sign")):
                    if course.accepts(function, lambda a, wrong=wrong: wrong, a):
                        work.fail(f"at a = {a:.6g} the test accepts {words}: the true slope is {true:.3g}, and the tolerance "
                                  f"0.01. In your range slopes go from {slope(points).min():.3g} to {slope(points).max():.3g}; "
                                  "all of them should be well above the tolerance", HIDDEN)
    letter(work, "A", {
        "B": "with a step of 1e-6 your ranges are measured well enough.",
        "C": "they are, everywhere they are defined; exp(-300) is small, not undefined.",
        "D": "it could draw a million; each would be accepted."})
    for name, (low, high), (_, slope) in zip(names, pairs, functions):
        old, new = slope(np.linspace(-100, 100, 5)).max(), slope(np.linspace(low, high, 25)).min()
        work.note(f"{name}: the largest slope of the old test {old:.0e}, the smallest of yours {new:.2g}, tolerance 0.01")


# ---------------------------------------------------------------------------------------------- the wrong axis

def check_wrong_axis(work: Work) -> None:
    with work.stage("your inputs"):
        logits, labels = parts(work, "inputs", 2, "logits, labels")
        logits = array(work, "logits", logits, 2, "(N, M)", 100)
        labels = array(work, "labels", labels, 1, "(N,)", 100).astype(int)
        N, M = logits.shape
        if labels.shape != (N,) or labels.min() < 0 or labels.max() >= M:
            work.fail(f"labels are {labels.tolist()}, expected {N} whole numbers from 0 to {M - 1} for logits of shape "
                      f"{logits.shape}", INVALID)
    with work.stage("your inputs", done=False):
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        true = np.abs(p - np.eye(M)[labels]).max() / N
        if true < 1e-6:
            work.fail(f"the true gradient is 0 (at most {true:.0e}): softmax is certain of the right classes, so there is "
                      "nothing to be wrong about. Take smaller logits, and more than one class", HIDDEN)
    with work.stage("the wrong backward shows"):
        report = checked(given("wrong_axis").CrossEntropy, [logits], labels=labels)
        if report:
            work.fail(f"the class passes the gradient check on logits of shape {logits.shape}. Its two lengths are the same; "
                      "what if one is taken for the other?", HIDDEN)
    letter(work, "C", {
        "A": "forward is right, and backward uses its p.",
        "B": "the onehot is there.",
        "D": "the numbers have the right sign; compare them with the measured ones: what is their ratio?",
        "E": "it is the first factor."})
    ratios = ", ".join(f"{ratio:g}" for ratio in sorted({round(entry.ratio, 6) for entry in report.entries}))
    found = report.diagnoses[0] if report.diagnoses else "wrong"
    work.note(f"N = {N}, M = {M}; every entry is {ratios} times the true one, which is N / M. The checker says: {found}")
