"""Two names for one gradient.

An addition hands its upstream gradient on to both of its inputs, unchanged. So an engine can spare itself the copies and
hand the same array to both. Every gradient is then right, every gradient check passes, and as long as everybody only reads,
all is well.

Then somebody writes. Weight decay adds a share of each parameter to its gradient, in place, since that is quick; clipping
scales gradients in place; a second backward adds to them in place. For c = a + b with a = 1 and b = 5, both gradients are 1.
A weight decay of 0.1 should make 1.1 and 1.5 of them. In a published engine it makes 1.6 and 1.6: each parameter is pulled
towards the weights of both. It depends on which operations lie between parameters, and nobody looks there.

This is aliasing, and no comparison of numbers after backward can see it. A test has to do what the user will do: write
into one gradient, and look at the other. Asking whether both are the same object is not enough, since two arrays can be
different objects and share their memory: `g` and `g[:]` do, `g` and `g.T` do.

Write `exposes`. It is given an engine's class `Var` (there will be several, right ones and wrong ones). Let it add two
variables, run backward, and return True if their gradients share memory, False if not.
"""

import numpy as np

MISTAKES = {
    "A": "the gradients have the wrong shape",
    "B": "the gradient of the second input should have the opposite sign",
    "C": "both inputs get one and the same array as their gradient",
    "D": "an upstream gradient of ones is wrong for vectors",
}


class Var:
    """The smallest engine that can add, with a mistake in it. Leave it as it is."""

    def __init__(self, data, sources=()):
        self.data = np.array(data, float)
        self.grad = None
        self.sources = sources

    def __add__(self, other):
        return Var(self.data + other.data, (self, other))

    def backward(self):
        self.grad = np.ones_like(self.data)
        for source in self.sources:
            source.grad = self.grad


def exposes(Var):
    #: stub
    # TODO: a = Var([1.0, 2.0]); b = ...; c = a + b; c.backward(); then?
    raise NotImplementedError("exposes returns True for an engine whose gradients share memory, False for another")
    #: solution
    a, b = Var([1.0, 2.0]), Var([5.0, 6.0])
    c = a + b
    c.backward()
    before = b.grad.copy()
    a.grad += 1
    return not np.array_equal(b.grad, before)
    #: end


#: stub
MISTAKE = ""      # TODO: a letter from MISTAKES
#: solution
MISTAKE = "C"
#: end
