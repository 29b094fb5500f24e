"""An attack in one line.

Backward does not care what it is a gradient of. Take the gradient of the loss with respect to the **image**, and it says how
to change the picture so that the network gets it wrong. If no pixel may move by more than eps, the best one can do against a
linear function is to move each by exactly eps, to the side where the loss grows:

    x' = clip(x + eps * sign(d loss / d x), 0, 1)

the fast gradient sign method (Goodfellow, Shlens and Szegedy 2015). Each pixel changes by too little to be seen. But the
changes all pull in one direction, and a score that is the sum of a thousand products moves by the sum of a thousand changes.
High dimensions, not some quirk of deep networks, are what makes it work; the classifier below is a plain linear one.

    z = x @ w + b       p = softmax(z)      loss = -log p[label]        d loss / d z = p - onehot       d loss / d x = ?

Signs are all that counts, so it does not matter whether losses are added up or averaged over the batch. sign(0) is 0: a pixel
that the loss does not depend on stays. The clip at the end keeps it an image, with values from 0 to 1; a picture outside of
that range would not survive being saved.

Write `input_gradient`, which returns the gradient of the **sum** of the losses of x (N, D) with labels (N,), and `fgsm`, which
returns the attacked images. w is (D, M), b is (M,).
"""

import numpy as np


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def input_gradient(w, b, x, labels):
    #: stub
    # TODO: the gradient of the sum of the losses with respect to x.
    raise NotImplementedError("input_gradient returns an array of the shape of x")
    #: solution
    grad_z = softmax(x @ w + b)
    grad_z[np.arange(len(x)), labels] -= 1
    return grad_z @ w.T
    #: end


def fgsm(w, b, x, labels, eps):
    #: stub
    # TODO: one step, by eps in each pixel.
    raise NotImplementedError("fgsm returns the attacked images")
    #: solution
    return np.clip(x + eps * np.sign(input_gradient(w, b, x, labels)), 0, 1)
    #: end
