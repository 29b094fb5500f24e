"""Convolution, as the formula says it.

A filter is a small picture of what it looks for. It is laid on the image, the numbers that lie on each other are
multiplied, everything is added up, and the sum is one pixel of the output; then it moves on:

    y[n, f, oh, ow] = sum over c, i, j of  w[f, c, i, j] * x[n, c, oh * S - P + i, ow * S - P + j]

where pixels outside the image count as 0. A filter looks through all channels c at once and makes one output channel;
F filters make F of them. That is all a convolutional layer does (LeCun et al. 1998), with the same few weights
everywhere: a 3 x 3 layer from 64 to 64 channels has 36,864 weights, a linear layer between the same images of 56 x 56
would have 40 billion.

A mathematician calls this cross-correlation. In a convolution proper the filter is turned by 180 degrees. Since filters
are learnt, it makes no difference until weights are carried from one library to another, and then all the difference.

Write `conv2d` with plain loops. Do not mind the speed: this is the version by which all others are judged. x is
(N, C, H, W), w is (F, C, KH, KW), stride S and padding P are whole numbers for both axes; return y (N, F, OH, OW) in the
dtype of x. The lengths OH and OW are those of [[stride_padding]].
"""

import numpy as np


def conv2d(x, w, stride, padding):
    N, C, H, W = x.shape
    F, _, KH, KW = w.shape
    OH = (H + 2 * padding - KH) // stride + 1
    OW = (W + 2 * padding - KW) // stride + 1
    #: stub
    # TODO: pad x, make y of the right shape, and add up. np.zeros and loops over range() are all it takes.
    raise NotImplementedError("conv2d returns y of shape (N, F, OH, OW)")
    #: solution
    padded = np.zeros((N, C, H + 2 * padding, W + 2 * padding), x.dtype)
    padded[:, :, padding:padding + H, padding:padding + W] = x
    y = np.zeros((N, F, OH, OW), x.dtype)
    for oh in range(OH):
        for ow in range(OW):
            for c in range(C):
                for i in range(KH):
                    for j in range(KW):
                        pixel = padded[:, c, oh * stride + i, ow * stride + j]
                        y[:, :, oh, ow] += pixel[:, None] * w[:, c, i, j]
    return y
    #: end
