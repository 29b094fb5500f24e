"""How large the first weights are.

Before the first step, a network is what chance made it. Send random images through twenty layers of it, and look at the
numbers that come out. If each layer makes them a little smaller, say by half, they are a millionth in the end, and the
gradients on the way back as well: nothing learns. If each makes them twice as large they are a million, and soon inf.
There is one scale at which they stay as they are.

An output of a layer is a sum of fan_in products. If weights are independent of what they multiply, with mean 0, variances
add up:

    var(y) = fan_in * var(w) * mean(x^2)

ReLU then sets half of y to zero, so the mean square of what comes out is var(y) / 2. For it to equal mean(x^2),

    var(w) = 2 / fan_in

(He et al. 2015, "Delving deep into rectifiers", equation 10). Five years before, with tanh in place of ReLU, Glorot and
Bengio had found 1 / fan_in; that factor of 2, to the power of twenty layers, was what kept people from training deep
networks with ReLU. fan_in is the number of weights that go into **one** output: of a linear layer (O, I) it is I, of a
convolution (F, C, KH, KW) it is C KH KW.

Write `he`: it returns weights of the given shape, normally distributed with mean 0 and that variance, drawn from `random`, a
NumPy generator.
"""

import numpy as np


def he(random, shape):
    #: stub
    # TODO: random.standard_normal(shape) has mean 0 and variance 1.
    raise NotImplementedError("he returns an array of random weights")
    #: solution
    fan_in = np.prod(shape[1:])
    return random.standard_normal(shape) * np.sqrt(2 / fan_in)
    #: end
