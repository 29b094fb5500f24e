"""Chapter 6: learning."""

from typing import Any

import numpy as np

from ....tensor import Tensor
from ...checks import Custom, Gradient
from ...checks.sizes import Sizes
from ...spec import Chapter, Exercise, Mutant
from .examinations import check_initialisation, check_momentum, check_sgd, check_training, mean_is_kept

TEXT = """
A gradient says where to go, not how far, nor from where to start. This chapter is about the rest: the step and its memory,
the size of the first weights, the noise that keeps a network honest, and the loop around it all.

There is little to compute here and much to get subtly wrong, since nothing crashes. A velocity that is another name for a
gradient, weights with half the variance they should have, a mask that is drawn twice: the loss still falls, only not as it
should. At the end of the chapter a network reads handwritten digits.
"""

sgd = Exercise(
    "sgd",
    "a step of gradient descent with weight decay, in place",
    ("params and grads are lists of arrays with the same shapes. Go through both with zip; nothing is returned.",
     "p <- p - lr * (g + weight_decay * p), written into the array that p is.",
     "p -= lr * (g + weight_decay * p) works in place, for each p and its g"),
    Custom(check_sgd),
    (Mutant("a new array in place of the old one", "p -= lr * (g + weight_decay * p)", "p = p - lr * (g + weight_decay * p)",
            "nothing has moved"),
     Mutant("uphill: the gradient is added", "p -= lr", "p += lr"),
     Mutant("the gradient is changed in place", "p -= lr * (g + weight_decay * p)",
            "g += weight_decay * p\n        p -= lr * g",
            "input changed"),
     Mutant("weight decay pulls away from zero", "g + weight_decay * p", "g - weight_decay * p"),
     Mutant("weight decay is not multiplied by lr", "lr * (g + weight_decay * p)", "lr * g + weight_decay * p"),
     Mutant("only the first parameter moves", "zip(params, grads)", "zip(params[:1], grads)")))

momentum = Exercise(
    "momentum",
    "SGD with momentum: a velocity for each parameter",
    ("self.velocities has one array per parameter, of its shape; None before the first step.",
     "d = g + weight_decay * p; v = momentum * v + d (v = d at first); p -= lr * v.",
     "v = d if self.velocities[i] is None else self.momentum * self.velocities[i] + d; self.velocities[i] = v; then p -= "
     "self.lr * v"),
    Custom(check_momentum),
    (Mutant("the velocity is not kept, or not used", "self.velocities[i] = v\n", "pass\n"),
     Mutant("the new gradient is weighted by 1 - momentum", "self.momentum * v + d",
            "self.momentum * v + (1 - self.momentum) * d"),
     Mutant("the first step is already weighted, as if there had been a velocity", "v = d if v is None else",
            "v = (1 - self.momentum) * d if v is None else"),
     Mutant("the gradient is the velocity, and is changed with it", "v = d if v is None else self.momentum * v + d",
            "v = g if v is None else v\n            v *= self.momentum if v is not g else 1\n            v += d if v is not g "
            "else 0",
            "input changed"),
     Mutant("one velocity for all parameters' steps", "self.velocities[i] = v", "self.velocities = [v] * len(self.params)",
            "ValueError"),
     Mutant("weight decay is forgotten", "d = g + self.weight_decay * p", "d = g"),
     Mutant("a new array in place of the old one", "p -= self.lr * v", "p = p - self.lr * v", "nothing has moved"),
     Mutant("lr is within the velocity, so that a new lr comes late", "v = d if v is None else self.momentum * v + d",
            "v = self.lr * d if v is None else self.momentum * v + self.lr * d\n            p -= v\n            v = v * 1.0\n"
            "            self.velocities[i] = v\n            continue")))

initialisation = Exercise(
    "initialisation",
    "first weights that keep the numbers' size through twenty layers",
    ("An array of the given shape. fan_in is a number: the product of all lengths but the first.",
     "The variance is 2 / fan_in, so the standard deviation sqrt(2 / fan_in): multiply normal numbers of variance 1 by it.",
     "for the shape (64, 32, 3, 3): fan_in = 32 * 3 * 3 = 288, and each weight is a normal number times sqrt(2 / 288) = 0.083"),
    Custom(check_initialisation),
    (Mutant("1 / fan_in: the numbers fade", "np.sqrt(2 / fan_in)", "np.sqrt(1 / fan_in)", "the spread is wrong"),
     Mutant("the number of outputs in place of that of inputs", "shape[1:]", "shape[:1]", "the spread is wrong"),
     Mutant("the area of the filter is forgotten", "np.prod(shape[1:])", "shape[1]", "the spread is wrong"),
     Mutant("the root is forgotten", "np.sqrt(2 / fan_in)", "(2 / fan_in)", "the spread is wrong"),
     Mutant("uniform numbers", "random.standard_normal(shape) * np.sqrt(2 / fan_in)",
            "random.uniform(-1, 1, shape) * np.sqrt(6 / fan_in)", "not normal"),
     Mutant("numbers of its own", "random.standard_normal(shape)", "np.random.default_rng(3).standard_normal(shape)",
            "not from random")))


def dropout_inputs(random: np.random.Generator, n: int, m: int, p: int, seed: int,
                   training: bool) -> tuple[list[np.ndarray], dict[str, Any]]:
    return [random.standard_normal((n, m))], {"p": p / 10, "seed": seed, "training": training}


def dropout_oracle(x: Tensor, p: float, seed: int, training: bool) -> Tensor:
    """Loops and one number at a time."""
    random = np.random.default_rng(seed)
    factor = np.ones(x.shape)
    for place in np.ndindex(x.shape):
        factor[place] = (0.0 if random.random() < p else 1 / (1 - p)) if training else 1.0
    return x * Tensor(factor)


dropout = Exercise(
    "dropout",
    "inverted dropout, whose backward uses the mask of its forward",
    ("The mask has the shape of x. Keep on self what x was multiplied by.",
     "y = x * mask / (1 - p) in training, x otherwise; backward multiplies the upstream gradient by the same mask / (1 - p), "
     "or by 1.",
     "factor[i] = (1 if kept[i] else 0) / (1 - p); y[i] = x[i] * factor[i]; grad_x[i] = grad[i] * factor[i]"),
    Gradient("Dropout", dropout_oracle, dropout_inputs,
             Sizes(dict(n=3, m=4, p=3, seed=2, training=True),
                   dict(n=(0, 4), m=(1, 4), p=(0, 9), seed=(0, 3), training=[False, True])),
             names=("x",), also=(mean_is_kept,)),
    (Mutant("what is kept is not scaled up by 1 / (1 - p)", ">= p) / (1 - p)", ">= p) / 1.0"),
     Mutant("p is the share that is kept, not dropped", "random(x.shape) >= p) /", "random(x.shape) < p) /"),
     Mutant("backward draws a mask of its own", "return grad * self.factor",
            "return grad * (np.random.default_rng(77).random(grad.shape) >= 0.3) / 0.7"),
     Mutant("backward lets everything through", "return grad * self.factor", "return grad * 1.0", "local derivative missing"),
     Mutant("backward forgets the scale", "return grad * self.factor", "return grad * (self.factor > 0)", "scaled by"),
     Mutant("it drops when the network is used, too", "if training:", "if True:", "odd shapes"),
     Mutant("the mask is one for all rows", "random(x.shape) >= p) /", "random(x.shape[1:]) >= p) /")))

training = Exercise(
    "training",
    "the loop that trains a network to read digits",
    ("order is (N,), a permutation of 0 .. N - 1; a batch is a part of it, of batch_size numbers or, at the end, fewer. Return "
     "a list of `epochs` numbers.",
     "For each batch: loss, grads = loss_and_gradients(params, images[batch], labels[batch]); then p -= lr * g for each. The "
     "epoch's loss is the sum of loss * len(batch), divided by N.",
     "for start in range(0, len(images), batch_size): batch = order[start:start + batch_size]"),
    Custom(check_training),
    (Mutant("the samples are not shuffled", "random.permutation(len(images))", "np.arange(len(images))", "no shuffling"),
     Mutant("images are shuffled and labels are not", "labels[batch]", "labels[start:start + batch_size]", "labels apart"),
     Mutant("the last batch is left out", "range(0, len(images), batch_size)",
            "range(0, len(images) - batch_size + 1, batch_size)",
            "samples left out"),
     Mutant("samples are drawn with repetition", "random.permutation(len(images))",
            "random.integers(0, len(images), len(images))",
            "not a permutation"),
     Mutant("uphill", "p -= lr * g", "p += lr * g", "it does not learn"),
     Mutant("new arrays in place of the old ones", "p -= lr * g", "p = p - lr * g", "nothing has moved"),
     Mutant("the losses of batches are averaged, whatever their size", "total += loss * len(batch)",
            "total += loss * len(images) / -(-len(images) // batch_size)"),
     Mutant("the start of a batch never moves on",
            "for start in range(0, len(images), batch_size):", "start = 0\n        while start < len(images):", "never ends",
            hangs=True)))

CHAPTER = Chapter("learning", TEXT, (sgd, momentum, initialisation, dropout, training))
