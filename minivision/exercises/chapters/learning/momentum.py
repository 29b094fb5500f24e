"""A ball that rolls.

Gradient descent in a narrow valley goes from wall to wall: steep across, where it must take care, and flat along, where it
would like to run. Give it a memory. The velocity v gathers gradients and forgets a little at each step:

    d = g + decay * p
    v = momentum * v + d          at the first step v = d
    p = p - lr * v

Across the valley the gradients have changing signs and cancel. Along it they agree and add up, to 1 / (1 - momentum) times
one gradient: with momentum 0.9, ten times the pace (Polyak 1964; Sutskever et al. 2013 showed what it does for deep
networks). This is the form of PyTorch and of this engine. Others keep lr within v; it is the same until lr changes.

Each parameter has a velocity of its own, with its shape, which lives as long as the optimiser. It must not be the gradient
array itself: `v = g` makes v a second name for an array that the caller owns, and the next `v *= 0.9` spoils it. And as in
[[sgd]], parameters are changed in place, gradients are left alone.

Write `step`, with momentum and weight decay. `__init__` is given; `self.velocities` holds None until the first step. With
momentum 0 it is plain gradient descent. Read self.lr anew in each step, since a schedule may change it. This class
goes into the engine at the finish line.
"""


class SGD:
    def __init__(self, params, lr, momentum=0.0, weight_decay=0.0):
        self.params = list(params)
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.velocities = [None] * len(self.params)

    def step(self, grads):
        """Move all parameters; ``grads`` has one array for each, in their order."""
        #: stub
        # TODO: velocities, then parameters in place.
        raise NotImplementedError("SGD.step moves the parameters")
        #: solution
        for i, (p, g) in enumerate(zip(self.params, grads)):
            d = g + self.weight_decay * p
            v = self.velocities[i]
            v = d if v is None else self.momentum * v + d
            self.velocities[i] = v
            p -= self.lr * v
        #: end
