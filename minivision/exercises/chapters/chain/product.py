"""A number that remembers where it came from.

If y depends on u, and u on x, then a small change of x is multiplied twice on its way to y:

    dy/dx = dy/du · du/dx

That is the chain rule (Leibniz, 1676), and all of backpropagation is this line, applied over and over from the result back
to the inputs. No operation needs to know the whole network. It is told how fast the loss changes with its output, the
upstream gradient, and multiplies that by its own slope, the local derivative. What comes out is passed on to where its
inputs came from.

The class `Value` does so with single numbers, after Karpathy's micrograd. Each operation makes a new Value that knows its
sources, and a function `push` that hands its gradient back to them. `backward` starts at the result, whose gradient is 1
(the loss changes as fast as itself), and calls push after push.

    a + b    has slope 1 for a and slope 1 for b
    a * b    has slope b for a and slope a for b

A sum copies its gradient to both sides, a product exchanges: each side gets the upstream gradient times the other's data.

Write the two `push`: they set `self.grad` and `other.grad`, from `out.grad` and the data. In this exercise each value is
used only once. What changes when it is used twice is the matter of [[accumulate]].
"""


class Value:
    """A number, its gradient, and how it was made."""

    def __init__(self, data, sources=()):
        self.data = data
        self.sources = sources
        self.grad = 0.0
        self.push = lambda: None              # hands self.grad on to the sources

    def __add__(self, other):
        out = Value(self.data + other.data, (self, other))

        def push():
            #: stub
            # TODO: the gradients of self and other, from out.grad.
            raise NotImplementedError("the push of + sets self.grad and other.grad")
            #: solution
            self.grad = out.grad
            other.grad = out.grad
            #: end

        out.push = push
        return out

    def __mul__(self, other):
        out = Value(self.data * other.data, (self, other))

        def push():
            #: stub
            # TODO: the gradients of self and other, from out.grad.
            raise NotImplementedError("the push of * sets self.grad and other.grad")
            #: solution
            self.grad = out.grad * other.data
            other.grad = out.grad * self.data
            #: end

        out.push = push
        return out

    def backward(self):
        """The gradients of this value with respect to all that it was made from."""
        self.grad = 1.0
        waiting = [self]
        while waiting:
            value = waiting.pop()
            value.push()
            waiting.extend(value.sources)
