"""Backward, twice.

Gradients of weights add up over calls of backward. That is a feature: a batch too large for the memory is cut in parts,
whose gradients are added, and two losses may be walked back one after the other. It follows from the `+=` of [[accumulate]].

But the same `+=` acts on the values in between, and there it is a mistake. Take x = 3, y = x * x + 1. The slope is 6, so
after two calls of y.backward() x.grad should be 12. micrograd says 18: from the first call x * x still holds its gradient
1, the second call adds another 1, and x receives 6 times 2. The third call makes it 36. No error, no warning, and in a
training loop that sets only the weights' gradients to zero it would not be noticed for a while.

Values come in two kinds. Leaves have no sources: weights and inputs, whose gradients belong to the user and grow until the
user sets them to zero. All others are made by operations. Their gradients belong to one walk, and each walk must start with
fresh ones. This engine keeps them in a dictionary that lives as long as the walk; here it will do to set them to zero before
the walk begins. Afterwards they hold what this walk found.

And what if the value itself is a leaf? x.backward() adds 1 to x.grad, since it is a leaf like others.

Write `backward`. `order` is given: all values behind their sources, by their age.
"""

import itertools

clock = itertools.count()


class Value:
    """A number and its gradient; ``slopes`` are the local derivatives, one for each source."""

    def __init__(self, data, sources=(), slopes=()):
        self.data = data
        self.sources = sources
        self.slopes = slopes
        self.grad = 0.0
        self.age = next(clock)

    def __add__(self, other):
        return Value(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other):
        return Value(self.data * other.data, (self, other), (other.data, self.data))

    def order(self):
        """All values that this one was made from, sources first, itself last."""
        found, waiting = {self}, [self]
        while waiting:
            new = set(waiting.pop().sources) - found
            found |= new
            waiting.extend(new)
        return sorted(found, key=lambda value: value.age)

    def backward(self):
        values = self.order()
        #: stub
        # TODO: fresh gradients for all values but the leaves; 1 for this one; then the walk from the end.
        raise NotImplementedError("backward walks through self.order() from the end")
        #: solution
        for value in values:
            if value.sources:
                value.grad = 0.0
        self.grad += 1.0
        for value in reversed(values):
            for source, slope in zip(value.sources, value.slopes):
                source.grad += slope * value.grad
        #: end
