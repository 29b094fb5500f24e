"""Used twice, felt twice.

What is the slope of x + x? Each side has slope 1, and yet the answer is 2: a change of x reaches the result on two ways, and
both count. The chain rule for several variables says the same in general: where x acts through u and through v,

    dy/dx = dy/du · du/dx + dy/dv · dv/dx

So a gradient is a sum over all uses. In code that is `+=` where `=` stood, and the single most frequent mistake in
hand-written backward passes. It hides well. With `=` the last use wins, every test in which each value is used once
passes, and networks that share nothing even train. It shows where something is shared: a weight that is used at every
time step, a skip connection, overlapping windows. PyDyNet, a teaching library, shipped a convolution whose input gradient
was assigned where windows overlap; it was right only if the stride was as long as the window.

The same `+=` makes gradients add up over several calls, which is why training loops set them to zero before each step.

Write the four `push`. Two operations are new: x ** n for a number n, with slope n x^(n-1), and tanh(x), whose slope is
1 - tanh(x)², so that it can be had from the output.

`backward` goes from the youngest value to the oldest. A value is always younger than its sources, so when its turn comes all
its users have pushed already. That this matters is the subject of [[topological]].
"""

import itertools
import math

clock = itertools.count()


class Value:
    """A number, its gradient, and how it was made. ``age`` tells in which order values were made."""

    def __init__(self, data, sources=()):
        self.data = data
        self.sources = sources
        self.grad = 0.0
        self.push = lambda: None
        self.age = next(clock)

    def __add__(self, other):
        out = Value(self.data + other.data, (self, other))

        def push():
            #: stub
            # TODO: self and other may be one and the same, and both may have other users.
            raise NotImplementedError("the push of + adds to self.grad and other.grad")
            #: solution
            self.grad += out.grad
            other.grad += out.grad
            #: end

        out.push = push
        return out

    def __mul__(self, other):
        out = Value(self.data * other.data, (self, other))

        def push():
            #: stub
            # TODO: the same for a product.
            raise NotImplementedError("the push of * adds to self.grad and other.grad")
            #: solution
            self.grad += out.grad * other.data
            other.grad += out.grad * self.data
            #: end

        out.push = push
        return out

    def __pow__(self, n):
        out = Value(self.data ** n, (self,))

        def push():
            #: stub
            # TODO: n is a plain number and has no gradient.
            raise NotImplementedError("the push of ** adds to self.grad")
            #: solution
            self.grad += out.grad * n * self.data ** (n - 1)
            #: end

        out.push = push
        return out

    def tanh(self):
        out = Value(math.tanh(self.data), (self,))

        def push():
            #: stub
            # TODO: the slope can be had from out.data.
            raise NotImplementedError("the push of tanh adds to self.grad")
            #: solution
            self.grad += out.grad * (1 - out.data ** 2)
            #: end

        out.push = push
        return out

    def backward(self):
        """Add to the gradients of everything that this value was made from."""
        found, waiting = {self}, [self]
        while waiting:
            new = set(waiting.pop().sources) - found
            found |= new
            waiting.extend(new)
        self.grad = 1.0
        for value in sorted(found, key=lambda value: value.age, reverse=True):
            value.push()
