"""One step downhill.

The gradient of the loss points where the loss grows fastest. So each parameter is moved a little the other way:

    p  <-  p - lr * (g + decay * p)

That is all of gradient descent. It is called stochastic (SGD) when g comes from a few samples at a time and not from all:
such a gradient is wrong, but wrong in another way each time, and a thousand rough steps lead further than one exact one
(Robbins and Monro 1951). The second term is weight decay: every step also shrinks each parameter by a share lr * decay of
itself, which keeps weights small that nothing in the data asks for. It is the gradient of decay / 2 * p^2.

How long should a step be? In a valley of curvature k, a step with lr = 1/k ends at the bottom, with anything below 2/k it
gets nearer, and above it each step lands higher on the other side. Networks have valleys of all curvatures at once; the
steepest decides what they bear, the flattest how long it takes.

The parameters are arrays that the network holds. They must be changed in place: `p = p - lr * g` makes a new array, gives it
the name p inside your function, and leaves the network as it was. The gradients are not yours to change.

Write `step`: params and grads are lists of arrays, of the same shapes.
"""


def step(params, grads, lr, weight_decay):
    #: stub
    # TODO: change every array of params in place.
    raise NotImplementedError("step moves the parameters")
    #: solution
    for p, g in zip(params, grads):
        p -= lr * (g + weight_decay * p)
    #: end
