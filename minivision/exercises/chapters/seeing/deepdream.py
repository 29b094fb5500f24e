"""DeepDream: what you see, see more of it.

Show a network a cloud. Some layer answers, faintly, "a bit like a dog". Now change the image so that this answer becomes
stronger, and again, and the dogs come out of the clouds (Mordvintsev, Olah and Tyka 2015). One step is four lines:

1. forward to a layer: y = f(x)
2. set the gradient there to the activation itself
3. backward to the image: g
4. x = clip(x + step * g / mean(|g|), 0, 1)

Line 2 looks like a trick and is a formula. What the step climbs is half the sum of squares of everything that the layer
answers, E = 1/2 sum of y^2, and its derivative with respect to y is y. Squares favour what is strong already: an upstream
gradient of ones would raise all answers alike, and give a grey mush.

Line 4 divides by the mean size of the gradient, so that `step` is the mean change of a pixel whatever the layer, and one
step size serves for all. Where the layer answers nothing, the gradient is zero, and there is nothing to divide: the image
stays as it is. (0 / 0 is NaN, and one NaN is all over the image after the next convolution.)

The layer is given, a convolution and ReLU, and so is its backward. Write `dream_step`: image is (H, W) with values in [0, 1],
filters (F, K, K); return the new image and leave the old one alone.
"""

import numpy as np


def layer(image, filters):
    """relu of the convolution of an image (H, W) with filters (F, K, K): (F, H - K + 1, W - K + 1)."""
    windows = np.lib.stride_tricks.sliding_window_view(image, filters.shape[1:])
    return np.maximum(np.einsum("hwij,fij->fhw", windows, filters), 0)


def layer_backward(image, filters, grad):
    """The gradient of the image, (H, W), for an upstream gradient of the shape of the layer's output."""
    grad = grad * (layer(image, filters) > 0)
    back, K = np.zeros(image.shape), filters.shape[1]
    for h in range(grad.shape[1]):
        for w in range(grad.shape[2]):
            back[h:h + K, w:w + K] += np.tensordot(grad[:, h, w], filters, axes=1)
    return back


def dream_step(image, filters, step):
    #: stub
    # TODO: the four lines.
    raise NotImplementedError("dream_step returns the image after one step")
    #: solution
    y = layer(image, filters)
    g = layer_backward(image, filters, y)
    return np.clip(image + step * g / max(np.abs(g).mean(), 1e-12), 0, 1)
    #: end
