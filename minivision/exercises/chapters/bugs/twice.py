"""Backward, once more.

Gradients add up. When a network's gradient is gathered from several small batches, backward is called once for each, and
the gradient of every parameter is the sum: two calls give twice the gradient. That is a promise of nearly all engines, and
the reason for `zero_grad`.

The beautiful small engine below (its original has a hundred lines, and has taught more people the chain rule than any book)
keeps it for some expressions. Here every node has a gradient, not only the parameters, and every node's gradient is added to.
On the second call the nodes in the middle still hold what they gathered on the first. They hand it on once more, with the
new one on top, and the parameters get it twice.

For one node between the root and x, two calls give 3 times the gradient and not 2. For more of them it gets worse. In a
training loop that never calls backward twice without resetting all nodes, nothing is ever noticed.

Write `expression`: given x, a `Value`, it returns a `Value` made from it with + and * (numbers may take part), such that two
calls of its backward leave a wrong gradient in x. Then give the letter of the mistake. Begin on paper: which nodes does
`x * x` have, and what is in their `grad` when backward begins for the second time?
"""

MISTAKES = {
    "A": "the product rule is wrong where both factors are the same node",
    "B": "nodes are visited in the wrong order",
    "C": "the gradient of x should be assigned, and not added up",
    "D": "nodes between x and the root keep the gradient of the first call",
}


class Value:
    """A number that remembers how it was made, with a mistake in it. Leave it as it is."""

    def __init__(self, data, sources=(), slopes=()):
        self.data, self.sources, self.slopes, self.grad = data, sources, slopes, 0.0

    def __add__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data * other.data, (self, other), (other.data, self.data))

    __radd__, __rmul__ = __add__, __mul__

    def backward(self):
        order, seen = [], set()

        def visit(node):
            if node not in seen:
                seen.add(node)
                for source in node.sources:
                    visit(source)
                order.append(node)

        visit(self)
        self.grad = 1.0
        for node in reversed(order):
            for source, slope in zip(node.sources, node.slopes):
                source.grad += node.grad * slope


def expression(x):
    #: stub
    # TODO: an expression in x.
    raise NotImplementedError("expression returns a Value made from x")
    #: solution
    return x * x + 1
    #: end


#: stub
MISTAKE = ""      # TODO: a letter from MISTAKES
#: solution
MISTAKE = "D"
#: end
