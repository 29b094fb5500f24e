"""Who goes first?

A value may hand its gradient on only when the gradient is complete, that is when all who used it have handed in their
part. Take

    b = a * a
    c = b + a

Here `a` is used by both. Walk back from c, go to its sources b and a, and from a at once to whatever made it: then a passes
on what it got from c, and the part from b arrives too late. With [[accumulate]] done right, the gradients are still wrong.

What is needed is an order of all values in which each one stands behind its sources; backward takes it from the end. It is
called topological, and there may be several, all equally good. A depth-first search finds one: visit a value's sources
first, and append the value itself after them (Tarjan 1976). Three traps:

- Each value once. Mark values when you visit them, not when you append them. In y = x + x, z = y + y, ... the number of
  ways back doubles at each step; after sixty steps nobody lives to see the end.
- No recursion. Ten thousand operations in a row are ordinary in a recurrent network, Python gives up after a thousand, and
  micrograd with it. Keep a list of what is to be done instead. A value goes onto it twice: once to be visited, and once,
  below its sources, to be appended.
- Breadth first is no substitute. Distance from the end is not the point; the longest way is.

Write `order(last)`: the list of all values that ``last`` was made from, sources first, with ``last`` itself at the end.
"""


class Value:
    """A number and its gradient; ``slopes`` are the local derivatives, one for each source."""

    def __init__(self, data, sources=(), slopes=()):
        self.data = data
        self.sources = sources
        self.slopes = slopes
        self.grad = 0.0

    def __add__(self, other):
        return Value(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other):
        return Value(self.data * other.data, (self, other), (other.data, self.data))

    def backward(self):
        self.grad = 1.0
        for value in reversed(order(self)):
            for source, slope in zip(value.sources, value.slopes):
                source.grad += slope * value.grad


def order(last):
    #: stub
    # TODO: all values that last was made from, each once and behind its sources.
    raise NotImplementedError("order returns a list of Values that ends with last")
    #: solution
    found, visited = [], set()
    todo = [(last, False)]
    while todo:
        value, sources_done = todo.pop()
        if sources_done:
            found.append(value)
        elif value not in visited:
            visited.add(value)
            todo.append((value, True))
            for source in value.sources:
                todo.append((source, False))
    return found
    #: end
