"""Chapter 5: convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....data import digits
from ...checks import Custom, Gradient, Values
from ...checks.sizes import Sizes
from ...spec import Chapter, Exercise, Mutant
from ...work import Work
from ..pictures import beside, shades
from . import oracles

TEXT = """
A linear layer would connect every pixel with every other. A convolution knows better: what matters about a pixel is near
it, and what is worth looking for in one corner is worth looking for in all of them. So one small filter is slid over the
whole image, and its few weights are used thousands of times.

Weights that are used many times collect their gradient from many places, and windows that overlap hand theirs back to the
same pixels. Nearly all that can go wrong in this chapter is a sum that was forgotten, or a pixel off by one. You will write
it as loops first, so slow and plain that it cannot be wrong, then as one large matrix product, and hold the second against
the first.
"""

CONV = Sizes(dict(n=3, c=2, h=6, w=7, f=4, kh=3, kw=5, stride=2, padding=1),
             dict(n=(0, 2), c=(1, 3), h=(1, 7), w=(1, 7), f=(1, 3), kh=(1, 3), kw=(1, 3), stride=(1, 4), padding=(0, 2)),
             lambda h, w, kh, kw, padding, **_: h + 2 * padding >= kh and w + 2 * padding >= kw)


def conv_inputs(random: np.random.Generator, n: int, c: int, h: int, w: int, f: int, kh: int, kw: int, stride: int,
                padding: int) -> tuple[list[np.ndarray], dict[str, Any]]:
    return ([random.standard_normal((n, c, h, w)), random.standard_normal((f, c, kh, kw))],
            {"stride": stride, "padding": padding})


def conv_arguments(random: np.random.Generator, **case: int) -> tuple[Any, ...]:
    arrays, options = conv_inputs(random, **case)
    return *arrays, *options.values()


# ---------------------------------------------------------------------------------------------- stride and padding

ROWS = [(7, 3, 1, 0), (7, 3, 1, 1), (7, 3, 2, 1), (8, 3, 2, 1), (8, 2, 2, 0), (9, 2, 3, 1), (5, 5, 1, 2), (6, 4, 4, 3),
        (1, 1, 1, 0), (1, 3, 2, 1), (10, 4, 5, 0)]


def _row(length: int, kernel: int, stride: int, padding: int) -> str:
    return f"length={length}, kernel={kernel}, stride={stride}, padding={padding}"


def _windows_drawn(length: int, kernel: int, stride: int, padding: int) -> list[str]:
    """One line per window over a row of pixels: padding as ~, pixels by their last digit."""
    lines = ["  " + "~" * padding + "".join(str(k % 10) for k in range(length)) + "~" * padding]
    lines += ["  " + " " * (start + padding) + "[" * (kernel > 1) + "=" * (kernel - 2) + "]"
              for start in oracles.starts(length, kernel, stride, padding)]
    return lines


def check_windows(work: Work) -> None:
    lengths = [len(oracles.starts(*row)) for row in ROWS]
    with work.stage("output_length"):
        yours = [work.get("output_length")(*row) for row in ROWS]
        for row, mine, count in zip(ROWS, yours, lengths):
            if not isinstance(mine, (int, np.integer)):
                work.fail(f"output_length({_row(*row)}) returned {mine!r}, expected the whole number {count}; // divides "
                          "whole numbers", "not a whole number")
            if mine != count:
                work.fail("\n".join([f"output_length({_row(*row)}) returned {mine}, expected {count}. These are the windows "
                                     "(~ is padding):", *_windows_drawn(*row)]), evidence=(yours,))
    with work.stage("window"):
        seen = [[work.get("window")(o, *row) for o in range(count)] for row, count in zip(ROWS, lengths)]
        flat = [pair for pairs in seen for pair in pairs]
        if not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in flat):
            work.fail(f"window returned {flat[0]!r}, expected a pair (first, stop)", "wrong type")
        for row, pairs in zip(ROWS, seen):
            length, kernel = row[:2]
            for o, (pair, start) in enumerate(zip(pairs, oracles.starts(*row))):
                pixels = oracles.seen(start, length, kernel)
                right = pixels[0], pixels[-1] + 1
                if tuple(pair) != right:
                    work.fail("\n".join([
                        f"window(o={o}, {_row(*row)}) returned {tuple(pair)}, expected {right}, for it sees the pixels "
                        f"{', '.join(map(str, pixels))}. These are all windows (~ is padding):",
                        *_windows_drawn(*row)]), evidence=(flat,))
    work.note("windows of 3 pixels, 2 apart, on a row of 8 with padding 1; the last pixel of padding is not seen:")
    work.note("\n".join(_windows_drawn(8, 3, 2, 1)))


stride_padding = Exercise(
    "stride_padding",
    "how many windows fit on a row, and which pixels each of them sees",
    ("Draw it: a row of 7 pixels, one pixel of padding on each side, windows of 3 pixels that start 2 apart. output_length is "
     "a whole number, window a pair of whole numbers.",
     "Window o covers the places o * stride - padding up to o * stride - padding + kernel (not included). It fits if it ends "
     "at length + padding at the latest.",
     "output_length(7, 3, 2, 1) is (7 + 2 - 3) // 2 + 1 = 4; window(0, 7, 3, 2, 1) covers -1, 0, 1, of which 0 and 1 are "
     "pixels, so it is (0, 2)."),
    Custom(check_windows),
    (Mutant("the padding is added on one side only", "length + 2 * padding - kernel", "length + padding - kernel"),
     Mutant("the + 1 is missing: the first window counts, too", "// stride + 1", "// stride"),
     Mutant("the division is not one of whole numbers", "// stride + 1", "/ stride + 1", "not a whole number"),
     Mutant("the window is not cut off at the left border", "max(start, 0)", "start"),
     Mutant("the window is not cut off at the right border", "min(start + kernel, length)", "start + kernel"),
     Mutant("the stride is forgotten", "o * stride - padding", "o - padding"),
     Mutant("a loop that counts windows never moves on", "return (length + 2 * padding - kernel) // stride + 1",
            "count = start = 0\n    while start + kernel <= length + 2 * padding:\n        count += 1\n    return count",
            "never ends", hangs=True)))


# ---------------------------------------------------------------------------------------------- forward by loops

def edges(work: Work) -> None:
    """The student's convolution at work: what is left and what is right of the ink of a digit."""
    with work.stage("a picture"):
        image = digits().images[:1].astype(float)
        filters = np.array([[[[1.0, 0, -1]] * 3], [[[1.0] * 3, [0] * 3, [-1] * 3]]])
        y = work.get("conv2d")(image, filters, 1, 1)[0]
    work.note("a digit, its vertical edges (bright: ink to the left) and its horizontal ones (bright: ink above):")
    work.note("\n".join("  " + line for line in beside(shades(image[0, 0]), shades(y[0]), shades(y[1]))))


conv_forward = Exercise(
    "conv_forward",
    "convolution with stride and padding, as plain loops",
    ("y is (N, F, OH, OW). The padded image is (N, C, H + 2 padding, W + 2 padding), with x in its middle and 0 around it.",
     "y[n, f, oh, ow] is the sum over c, i, j of w[f, c, i, j] * padded[n, c, oh * stride + i, ow * stride + j].",
     "y[0, 0, 0, 0] += padded[0, c, i, j] * w[0, c, i, j] for c in range(C), for i in range(KH), for j in range(KW)"),
    Values("conv2d", oracles.conv2d, conv_arguments, CONV, also=(edges,)),
    (Mutant("= in place of +=: of all the products only the last is kept", "y[:, :, oh, ow] += pixel",
            "y[:, :, oh, ow] = pixel"),
     Mutant("the filters are turned by 180 degrees, as a mathematician would", "* w[:, c, i, j]", "* w[:, c, -1 - i, -1 - j]"),
     Mutant("the stride is forgotten", "oh * stride + i, ow * stride + j", "oh + i, ow + j"),
     Mutant("the image lies in the corner of the padding, not in its middle",
            "padded[:, :, padding:padding + H, padding:padding + W] = x", "padded[:, :, :H, :W] = x"),
     Mutant("only one channel is added up", "for c in range(C):", "for c in range(1):"),
     Mutant("rows and columns are mixed up in the filter", "(KH):\n                    for j in range(KW)",
            "(KW):\n                    for j in range(KH)", "IndexError")))


# ---------------------------------------------------------------------------------------------- the two gradients

conv_input = Exercise(
    "conv_input",
    "the gradient of a convolution's image, where windows overlap",
    ("Collect in an array of the padded image's shape, (N, C, H + 2 P, W + 2 P), and return its middle, (N, C, H, W).",
     "For each output place (oh, ow): grad[:, :, oh, ow] is (N, F) and w is (F, C, KH, KW); their product over f, (N, C, KH, "
     "KW), is added to the window that this output saw.",
     "padded[n, c, oh * S + i, ow * S + j] += grad[n, f, oh, ow] * w[f, c, i, j]"),
    Gradient("Conv2d", oracles.Convolution.apply, conv_inputs, CONV, names=("x", "w")),
    (Mutant("= in place of +=", "] += back", "] = back", "assigned where windows overlap"),
     Mutant("the filters are turned by 180 degrees", "grad[:, :, oh, ow], self.w,",
            "grad[:, :, oh, ow], self.w[:, :, ::-1, ::-1],"),
     Mutant("the stride is forgotten", "oh * S:oh * S + KH, ow * S:ow * S + KW] +=", "oh:oh + KH, ow:ow + KW] +="),
     Mutant("the wrong part of the padded gradient is cut out", "P:P + H, P:P + W", ":H, :W"),
     Mutant("the padding is not cut off", "return padded[:, :, P:P + H, P:P + W]", "return padded", "shape and dtype"),
     Mutant("the upstream gradient is not multiplied in", "np.tensordot(grad[:, :, oh, ow], self.w",
            "np.tensordot(np.ones((N, len(self.w))), self.w", "missing upstream")))

conv_weight = Exercise(
    "conv_weight",
    "the gradient of a convolution's filters, over all places and the whole batch",
    ("grad_w has the shape of w, (F, C, KH, KW). It is a sum over the batch and over all places of the output.",
     "For each output place (oh, ow): grad[:, :, oh, ow] is (N, F), the window it saw is (N, C, KH, KW); their product summed "
     "over n, (F, C, KH, KW), is added.",
     "grad_w[f, c, i, j] += grad[n, f, oh, ow] * padded[n, c, oh * S + i, ow * S + j]"),
    Gradient("Conv2d", oracles.Convolution.apply, conv_inputs, CONV, names=("x", "w")),
    (Mutant("= in place of +=: only the last place counts", "grad_w += ", "grad_w[...] = "),
     Mutant("the sum over the batch is missing: only the first image counts",
            "np.tensordot(grad[:, :, oh, ow], seen, axes=(0, 0))",
            "np.tensordot(grad[:1, :, oh, ow], seen[:1], axes=(0, 0))", "missing sum over"),
     Mutant("a mean over the batch in place of the sum", "return grad_w", "return grad_w / len(grad)", "divided by batch"),
     Mutant("the stride is forgotten", "oh * S:oh * S + KH, ow * S:ow * S + KW]    # (N, C",
            "oh:oh + KH, ow:ow + KW]    # (N, C"),
     Mutant("filters and channels change places", "return grad_w", "return grad_w.swapaxes(0, 1)", "shape and dtype"),
     Mutant("the gradient is turned by 180 degrees", "return grad_w", "return grad_w[:, :, ::-1, ::-1]", "flipped")))


# ---------------------------------------------------------------------------------------------- im2col

def columns_and_back(work: Work) -> None:
    """<im2col(x), c> = <x, col2im(c)>: what makes one the gradient of the other."""
    with work.stage("there and back"):
        random = np.random.default_rng(0)
        x, geometry = random.standard_normal((2, 3, 6, 5)), (3, 2, 2, 1)
        columns = work.get("im2col")(x, *geometry)
        work.same("the shape of im2col's result", np.array(columns.shape), np.array((2, 18, 9)))
        weights = random.standard_normal(columns.shape)
        image = work.get("col2im")(weights, x.shape, *geometry)
        work.same("the sum of im2col(x) * c, held against that of x * col2im(c)", float((columns * weights).sum()),
                  float((x * image).sum()))


im2col = Exercise(
    "im2col",
    "convolution as one matrix product: im2col, col2im, and the backward between them",
    ("Columns are (N, C KH KW, OH OW): make them as (N, C, KH, KW, OH, OW) and reshape. The gradient of w is (F, C KH KW) "
     "before it is given the shape of w.",
     "columns[:, :, i, j] is the padded image seen through place (i, j) of all windows, a slice with step `stride`. col2im has "
     "the same two sides with += and exchanged. grad_w = sum over n of grad @ columns.T, grad_columns = w.T @ grad.",
     "columns[n, c, i, j, oh, ow] = padded[n, c, oh * stride + i, ow * stride + j], and on the way back "
     "padded[n, c, oh * stride + i, ow * stride + j] += columns[n, c, i, j, oh, ow]"),
    Gradient("Conv2d", oracles.Convolution.apply, conv_inputs, CONV, names=("x", "w"), also=(columns_and_back,),
             medal=dict(n=8, c=8, h=14, w=14, f=16, kh=3, kw=3, stride=1, padding=1)),
    (Mutant("= in place of += in col2im", "stride] += parts", "stride] = parts", "assigned where windows overlap"),
     Mutant("the sum over the batch is missing: only the first image counts", ".sum(axis=0).reshape(self.w.shape)",
            "[0].reshape(self.w.shape)", "missing sum over"),
     Mutant("the axes of a column are in another order than those of a filter", "return columns.reshape(N",
            "return columns.transpose(0, 2, 3, 1, 4, 5).reshape(N"),
     Mutant("col2im cuts out the wrong part", "padding:padding + H, padding:padding + W]", ":H, :W]"),
     Mutant("the filters are not transposed", "self.w.reshape(F, -1).T @ upstream",
            "self.w.reshape(F, -1) @ upstream", "ValueError"),
     Mutant("the filters are transposed by a reshape", "self.w.reshape(F, -1).T", "self.w.reshape(-1, F)"),
     Mutant("im2col forgets the stride", "columns[:, :, i, j] = padded[:, :, i:i + stride * OH:stride, j:j + stride * "
                                         "OW:stride]",
            "columns[:, :, i, j] = padded[:, :, i:i + OH, j:j + OW]")))


# ---------------------------------------------------------------------------------------------- pooling

def pool_inputs(random: np.random.Generator, n: int, c: int, h: int, w: int, size: int, stride: int,
                padding: int) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Far from ties, and mostly negative, so that padding would win if it were 0."""
    count = n * c * h * w
    x = (random.permutation(count) - 0.8 * count).reshape(n, c, h, w) * 0.1
    return [x], {"size": size, "stride": stride, "padding": padding}


def ties(work: Work) -> None:
    with work.stage("ties"):
        random = np.random.default_rng(0)
        x = random.integers(0, 2, (1, 1, 4, 5)).astype(float)
        mine, right = work.get("MaxPool2d")(), oracles.MaxPooling()
        y, expected = mine.forward(x.copy(), 3, 1, 1), right.forward(x, 3, 1, 1)
        work.same("forward of an image of zeros and ones", y, expected)
        upstream = np.ones(y.shape)
        grad = mine.backward(upstream.copy())
        grad = grad[0] if isinstance(grad, tuple) else grad
        yours, expected = np.asarray(grad), right.backward(upstream)
        if not np.allclose(yours, expected):
            hint = ("the gradient of a window went to several of its equal pixels" if yours.sum() > expected.sum() + 1e-6 else
                    "each window paid out its gradient once, but not to the first of the equal pixels in reading order")
            work.fail("\n".join([f"where pixels tie, the first in reading order wins; {hint}. Image, gradient expected and "
                                 "yours, for windows of 3 x 3, stride 1, padding 1 and an upstream gradient of ones:",
                                 *beside(*[[" ".join(f"{v:4.3g}" for v in row) for row in a[0, 0]]
                                           for a in (x, expected, yours)], gap="   |")]), "ties", evidence=(yours,))


max_pool = Exercise(
    "max_pool",
    "max pooling with padding that never wins, and ties that go to the first",
    ("y is (N, C, OH, OW). Backward fills an array of the padded image's shape and returns its middle, (N, C, H, W).",
     "Pad with -inf. y is the maximum of each window, and argmax of the flat window tells the winner. Each window adds its "
     "upstream gradient to its winner: +=, since one pixel can win in several windows.",
     "window = padded[n, c, oh * S:oh * S + size, ow * S:ow * S + size]; k = window.argmax(); the winner is at "
     "(oh * S + k // size, ow * S + k % size)"),
    Gradient("MaxPool2d", oracles.MaxPooling.apply, pool_inputs,
             Sizes(dict(n=2, c=3, h=5, w=6, size=3, stride=2, padding=1),
                   dict(n=(0, 2), c=(1, 2), h=(1, 7), w=(1, 7), size=(1, 4), stride=(1, 4), padding=(0, 2)),
                   lambda h, w, size, padding, **_: 2 * padding <= size and min(h, w) + 2 * padding >= size),
             names=("x",), also=(ties,)),
    (Mutant("padding counts as 0, and wins where all pixels are negative", "constant_values=-np.inf", "constant_values=0"),
     Mutant("= in place of +=", "stride] += won", "stride] = won"),
     Mutant("all pixels that tie get the gradient", "[winner == k for k in range(size * size)]",
            "[tap == np.max(taps, axis=0) for tap in taps]", "ties"),
     Mutant("the last of equals wins, not the first", "winner = np.argmax(taps, axis=0)",
            "winner = size * size - 1 - np.argmax(taps[::-1], axis=0)", "ties"),
     Mutant("the upstream gradient is not multiplied in", "grad * self.won", "1.0 * self.won", "missing upstream"),
     Mutant("rows and columns of the winner are mixed up", "i * size + j", "j * size + i")))


# ---------------------------------------------------------------------------------------------- batch norm

def norm_inputs(random: np.random.Generator, n: int, c: int) -> tuple[list[np.ndarray], dict[str, Any]]:
    gamma = random.uniform(0.5, 2, c) * random.choice([-1, 1], c)
    return [random.standard_normal((n, c)) * 2 + 1, gamma, random.standard_normal(c)], {"eps": 1e-3}


def blocked_directions(work: Work) -> None:
    with work.stage("what it lets through"):
        random = np.random.default_rng(0)
        x = random.standard_normal((64, 1))
        layer = work.get("BatchNorm")()
        layer.forward(x, np.ones(1), np.zeros(1), 0.0)
        sums = [float(np.abs(layer.backward(g)[0]).max()) for g in (np.ones_like(x), x - x.mean(), x ** 3)]
    work.note("the largest entry of grad_x for an upstream gradient of ones {:.0e}, of x itself {:.0e}, of x cubed {:.1g}: "
              "moving the mean and stretching are blocked".format(*sums))


batch_norm = Exercise(
    "batch_norm",
    "the backward of batch normalisation, with the two sums",
    ("grad_x is (N, C); grad_gamma and grad_beta are (C,), sums over the batch.",
     "With g = grad * gamma: grad_x = (g - mean(g) - xhat * mean(g * xhat)) / deviation, means over the batch. beta was added, "
     "gamma multiplied xhat.",
     "grad_beta[c] = sum over n of grad[n, c]; grad_gamma[c] = sum over n of grad[n, c] * xhat[n, c]; "
     "grad_x[n, c] = (g[n, c] - g[:, c].mean() - xhat[n, c] * (g[:, c] * xhat[:, c]).mean()) / deviation[c]"),
    Gradient("BatchNorm", oracles.batch_norm, norm_inputs, Sizes(dict(n=5, c=3), dict(n=(2, 6), c=(1, 4))),
             names=("x", "gamma", "beta"), also=(blocked_directions,)),
    (Mutant("mean and variance are treated as constants", "g - g.mean(axis=0) - self.xhat * (g * self.xhat).mean(axis=0)", "g"),
     Mutant("the variance is treated as a constant", " - self.xhat * (g * self.xhat).mean(axis=0)", ""),
     Mutant("the mean is treated as a constant", "g - g.mean(axis=0) - ", "g - "),
     Mutant("gamma is forgotten", "g = grad * self.gamma", "g = grad"),
     Mutant("the sum over the batch is missing in the gradient of beta", "grad.sum(axis=0)", "grad[0]", "missing sum over"),
     Mutant("it is not divided by the deviation", "axis=0)) / self.deviation\n        grad_g", "axis=0))\n        grad_g"),
     Mutant("gamma's gradient lacks xhat", "(grad * self.xhat).sum(axis=0)", "grad.sum(axis=0)", "gradient of another input")))

CHAPTER = Chapter("convolution", TEXT,
                  (stride_padding, conv_forward, conv_input, conv_weight, im2col, max_pool, batch_norm))
