"""Chapter 3: tensors."""

import numpy as np

from .... import functional as F
from ...checks import Gradient, Values
from ...checks.sizes import Sizes
from ...spec import Chapter, Exercise, Mutant

TEXT = """
A network computes with arrays, thousands of numbers at a time, and nothing about the chain rule changes. What changes is
the book-keeping: which number of the output depends on which numbers of the input? Every backward in this chapter answers
that question and then adds up. An array that was repeated adds up what its copies receive, a sum repeats, a maximum
remembers where it was, a product exchanges its sides.

Two rules help throughout. A gradient has the shape of what it is the gradient of; if the shape is wrong, the mistake is half
found. And if you are lost, write down the formula for a single number of the output, with all its indices. The answer for a
single number of the input can be read off from it, and the array expression follows.
"""


def narrowed(shape, ones, dropped):
    """A shape that broadcasts to ``shape``: the axes in the bits of ``ones`` have length 1, the first ``dropped`` are gone."""
    return tuple(1 if ones >> i & 1 else n for i, n in enumerate(shape))[dropped:]


# ------------------------------------------------------------------------------------------------ unbroadcast


def unbroadcast_inputs(random, n, m, k, ones, dropped):
    return random.standard_normal((n, m, k)), narrowed((n, m, k), ones, dropped)


def unbroadcast_oracle(grad, shape):
    """By loops: every number of grad is added to the one that it was a copy of."""
    result = np.zeros(shape)
    for index in np.ndindex(grad.shape):
        own = index[grad.ndim - len(shape):]
        result[tuple(0 if n == 1 else i for i, n in zip(own, shape))] += grad[index]
    return result


SUM = "grad = grad.sum(axis=axis, keepdims=True)"

unbroadcast = Exercise(
    "unbroadcast",
    "sum a gradient back to the shape that an input had before it was broadcast",
    ("The result has the given shape, which has as many axes as grad or fewer. Axes are added on the left when arrays are "
     "broadcast, so the first grad.ndim - len(shape) axes of grad are the ones that shape lacks.",
     "The gradient of a number is the sum of the gradients of its copies: sum over the axes that were added, and over each "
     "axis that has length 1 in shape, with keepdims=True so that it stays.",
     "grad.sum(axis=tuple(range(grad.ndim - len(shape)))) sums over the axes on the left; then, for each axis where "
     "shape[axis] == 1: grad = grad.sum(axis=axis, keepdims=True)"),
    Values("unbroadcast", unbroadcast_oracle, unbroadcast_inputs,
           Sizes(dict(n=2, m=3, k=4, ones=2, dropped=1), dict(n=(0, 3), m=(1, 3), k=(0, 3), ones=(0, 7), dropped=(0, 3)))),
    (Mutant("axes of length 1 are not summed over, only those that shape lacks", "        if length == 1:",
            "        if length == 0:"),
     Mutant("it takes the mean over the copies, not their sum", SUM, "grad = grad.mean(axis=axis, keepdims=True)"),
     Mutant("only the first copy counts", SUM, "grad = grad.take([0], axis=axis)"),
     Mutant("the summed axis is lost, as keepdims=True is missing", SUM, "grad = grad.sum(axis=axis)"),
     Mutant("axes that shape lacks are looked for on the right, but they are added on the left",
            "tuple(range(grad.ndim - len(shape)))", "tuple(range(len(shape), grad.ndim))")))

# ------------------------------------------------------------------------------------------------ multiply


def multiply_inputs(random, n, m, k, x_ones, x_dropped, y_ones, y_dropped):
    return [random.standard_normal(narrowed((n, m, k), x_ones, x_dropped)),
            random.standard_normal(narrowed((n, m, k), y_ones, y_dropped))], {}


BOTH = "unbroadcast(grad * self.y, self.x.shape), unbroadcast(grad * self.x, self.y.shape)"

multiply = Exercise(
    "multiply",
    "the backward of x * y where both may have been broadcast",
    ("Two gradients: the first has the shape of x, the second that of y. grad and the products with it have the shape of the "
     "output.",
     "The gradient of x is grad * y, summed back to the shape of x; the gradient of y is grad * x, summed back to that of y.",
     "return unbroadcast(grad * self.y, self.x.shape), and the same for y"),
    Gradient("Multiply", lambda x, y: x * y, multiply_inputs,
             Sizes(dict(n=2, m=3, k=4, x_ones=2, x_dropped=0, y_ones=4, y_dropped=1),
                   dict(n=(0, 2), m=(1, 3), k=(1, 3), x_ones=(0, 7), x_dropped=(0, 3), y_ones=(0, 7), y_dropped=(0, 3))),
             names=("x", "y")),
    (Mutant("each input is multiplied with itself instead of the other", "grad * self.y, self.x.shape",
            "grad * self.x, self.x.shape"),
     Mutant("the gradient of y is not summed back", "unbroadcast(grad * self.x, self.y.shape)", "grad * self.x", "wrong shape"),
     Mutant("the two gradients have changed places", BOTH,
            "unbroadcast(grad * self.x, self.y.shape), unbroadcast(grad * self.y, self.x.shape)", "wrong shape"),
     Mutant("of the copies of a number only the first counts", SUM, "grad = grad.take([0], axis=axis)", "missing sum"),
     Mutant("the upstream gradient is changed in place", "        return " + BOTH,
            "        grad_y = unbroadcast(grad * self.x, self.y.shape)\n        grad *= self.y\n"
            "        return unbroadcast(grad, self.x.shape), grad_y", "input changed"),
     Mutant("the upstream gradient is not multiplied in", "unbroadcast(grad * self.y, self.x.shape)",
            "unbroadcast(self.y + 0 * grad, self.x.shape)", "missing upstream")))

# ------------------------------------------------------------------------------------------------ total


def total_inputs(random, n, m, k, axis, keepdims):
    return [random.standard_normal((n, m, k))], dict(axis=tuple(axis) if isinstance(axis, list) else axis, keepdims=keepdims)


total = Exercise(
    "total",
    "the backward of a sum over one axis, several or all",
    ("The gradient has the shape of x, which is in self.shape. grad has the shape of the sum: without the summed axes, or with "
     "length 1 there if keepdims was set.",
     "Each number of x has slope 1, so its gradient is that of the sum it went into: put the axes back with np.expand_dims, "
     "then repeat with np.broadcast_to.",
     "for x of shape (n, m, k) and axis 1: grad_x[i, j, k] = grad[i, k], that is np.broadcast_to(np.expand_dims(grad, 1), "
     "self.shape). Where axis is None or keepdims was set, nothing needs to be put back"),
    Gradient("Total", lambda x, axis, keepdims: F.sum(x, axis, keepdims), total_inputs,
             Sizes(dict(n=2, m=3, k=4, axis=1, keepdims=False),
                   dict(n=(0, 3), m=(1, 3), k=(1, 3), axis=[None, 0, 1, 2, -1, -3, [0, 2], [-1, 0], [0, 1, 2]],
                        keepdims=[False, True])), names=("x",), examples=40),
    (Mutant("the axis is not put back before repeating", "            grad = np.expand_dims(grad, self.axis)\n",
            "            pass\n", "ValueError"),
     Mutant("the axis is put back where it was kept already", " and not self.keepdims", "", "odd shapes"),
     Mutant("it is the gradient of a mean: divided by how many numbers were summed", "return np.broadcast_to(grad, self.shape)",
            "return np.broadcast_to(grad * grad.size / np.prod(self.shape), self.shape)"),
     Mutant("all gradients are 1, the upstream gradient is not multiplied in", "return np.broadcast_to(grad, self.shape)",
            "return np.ones(self.shape)", "missing upstream"),
     Mutant("the numbers are repeated in the wrong order", "return np.broadcast_to(grad, self.shape)",
            "return np.resize(grad, self.shape)")))

# ------------------------------------------------------------------------------------------------ largest


def largest_inputs(random, n, m, k, axis):
    return [random.permutation(n * m * k).reshape(n, m, k) / 4 - n], dict(axis=axis)


def ties(work):
    with work.stage("ties"):
        op = work.get("Largest")()
        x = np.array([[1.0, 3.0, 3.0, 2.0], [2.0, 2.0, 0.0, 2.0]])
        op.forward(x, axis=1)
        work.same("x = [[1, 3, 3, 2], [2, 2, 0, 2]], axis 1: the gradient of x",
                  op.backward(np.array([5.0, 7.0])), np.array([[0.0, 5.0, 0.0, 0.0], [7.0, 0.0, 0.0, 0.0]]))


PLACE = "place = np.expand_dims(self.x.argmax(axis=self.axis), self.axis)"
PUT = "np.put_along_axis(result, place, np.expand_dims(grad, self.axis), self.axis)"
MASK = "result = (self.x == self.x.max(axis=self.axis, keepdims=True)) * np.expand_dims(grad, self.axis)"

largest = Exercise(
    "largest",
    "the backward of a maximum over an axis, where a tie goes to the first",
    ("The gradient has the shape of x and is 0 nearly everywhere: along the axis there is one number that is not.",
     "Where x has its first maximum along the axis, the gradient is that of this maximum; x.argmax(axis) says where. Put the "
     "axis back in both the places and grad with np.expand_dims.",
     "for x of shape (n, m) and axis 1: result[i, x[i].argmax()] = grad[i]; for any axis np.put_along_axis(result, place, "
     "values, axis) with place = np.expand_dims(x.argmax(axis), axis)"),
    Gradient("Largest", lambda x, axis: F.max(x, axis).values, largest_inputs,
             Sizes(dict(n=2, m=3, k=4, axis=1), dict(n=(1, 3), m=(1, 3), k=(1, 3), axis=[0, 1, 2, -1, -2])), names=("x",),
             also=(ties,)),
    (Mutant("every one of the tied gets the whole gradient, so it is counted several times", PUT, MASK, "ties"),
     Mutant("a tie is shared evenly", PUT, MASK + "\n        result = result / "
            "(self.x == self.x.max(axis=self.axis, keepdims=True)).sum(axis=self.axis, keepdims=True)", "ties"),
     Mutant("the upstream gradient is not multiplied in", "np.expand_dims(grad, self.axis), self.axis)", "1.0, self.axis)",
            "missing upstream"),
     Mutant("the gradient goes to the smallest number", "self.x.argmax(", "self.x.argmin("),
     Mutant("the gradient goes to every number along the axis", PUT, "result += np.expand_dims(grad, self.axis)",
            "passes where it should block")))

# ------------------------------------------------------------------------------------------------ pick


def pick_inputs(random, rows, columns, count, pairs):
    index = random.integers(-rows, rows, (count, 2) if pairs else count)
    return [random.standard_normal((rows, columns))], dict(index=index)


ADD = "np.add.at(result, self.index, grad)"

pick = Exercise(
    "pick",
    "the backward of x[index], where rows may be picked more than once",
    ("The gradient has the shape of x. grad has the shape of index, and then that of a row.",
     "The gradient of a row is the sum of grad over all places where the row was picked, and 0 if it never was.",
     "for place in np.ndindex(index.shape): result[index[place]] += grad[place]; np.add.at(result, index, grad) does the same"),
    Gradient("Pick", lambda x, index: x[index], pick_inputs,
             Sizes(dict(rows=4, columns=3, count=7, pairs=0), dict(rows=(1, 4), columns=(0, 2), count=(0, 6), pairs=(0, 1))),
             names=("x",)),
    (Mutant("result[index] += grad keeps only one of several gradients of a row", ADD, "result[self.index] += grad",
            "assigned where windows overlap"),
     Mutant("it counts how often a row was picked, without the upstream gradient", ADD,
            "np.add.at(result, self.index, np.ones(grad.shape))", "missing upstream"),
     Mutant("it takes the mean over the places where a row was picked", ADD, ADD + "\n        count = np.zeros(len(result))\n"
            "        np.add.at(count, self.index, 1)\n        result /= np.maximum(count, 1)[:, None]"),
     Mutant("negative indices lose their sign instead of counting from the end", ADD,
            "np.add.at(result, np.abs(self.index) % len(result), grad)"),
     Mutant("the gradient is subtracted", ADD, "np.subtract.at(result, self.index, grad)", "sign flipped")))

# ------------------------------------------------------------------------------------------------ matmul


def matmul_inputs(random, b, c, i, k, j, x_batch, y_batch):
    batches = ((), (c,), (b, 1), (b, c))
    return [random.standard_normal((*batches[x_batch], i, k)), random.standard_normal((*batches[y_batch], k, j))], {}


matmul = Exercise(
    "matmul",
    "the backward of x @ y for matrices and batches of them",
    ("For single matrices: x (I, K), y (K, J), grad (I, J). The gradient of x is (I, K) again, so one side of the product must "
     "be y transposed, (J, K).",
     "gradient of x = grad @ yᵀ and gradient of y = xᵀ @ grad, where ᵀ exchanges the last two axes; then both are summed "
     "back to the shapes of x and y, over the batches that were repeated.",
     "grad_x[i, k] = sum over j of grad[i, j] * y[k, j]: grad @ np.swapaxes(self.y, -1, -2), and unbroadcast that to "
     "self.x.shape"),
    Gradient("MatMul", lambda x, y: x @ y, matmul_inputs,
             Sizes(dict(b=2, c=3, i=4, k=5, j=1, x_batch=2, y_batch=1),
                   dict(b=(0, 2), c=(1, 2), i=(1, 3), k=(0, 3), j=(1, 3), x_batch=(0, 3), y_batch=(0, 3))), names=("x", "y")),
    (Mutant("y is not transposed", "grad @ np.swapaxes(self.y, -1, -2)", "grad @ self.y", "ValueError"),
     Mutant("the gradients are not summed back over repeated batches", "unbroadcast(grad_x, self.x.shape)", "grad_x",
            "wrong shape"),
     Mutant("of a repeated batch only the first counts", SUM, "grad = grad.take([0], axis=axis)", "missing sum"),
     Mutant("it takes the mean over repeated batches, not the sum", SUM, "grad = grad.mean(axis=axis, keepdims=True)"),
     Mutant(".T reverses all axes, also those of the batch", "np.swapaxes(self.x, -1, -2) @ grad", "self.x.T @ grad",
            "ValueError")))

CHAPTER = Chapter("tensors", TEXT, (unbroadcast, multiply, total, largest, pick, matmul))
