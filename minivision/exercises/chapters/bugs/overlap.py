"""A convolution that is right where windows keep to themselves.

The class below has shipped, in its essence, in a teaching engine that many people learn from. Its author had tests: they
printed the gradients and did not compare them with anything. The same lines stood in its average pooling and its max
pooling. With a 3 x 3 filter at stride 3 it is right to eleven digits. With the stride that everybody uses it is off by
more than the gradient itself, and networks trained with it still learn, only worse: the last layer and all filters get
their true gradients, and the earlier layers something that points roughly the same way.

That is why wrong gradients live long. Training is a poor test: it forgives. A test on one comfortable shape is a poor
test, too. Comfortable shapes (square, a stride equal to the window, one image, one channel) are those where different
formulas agree.

Be the test that was missing. Write `inputs`, which returns x (N, C, H, W), w (F, C, KH, KW), stride and padding, such that a
gradient check exposes the class; at most 200 numbers in x, and the fewer the better. Then give the letter of the mistake.
"""

import numpy as np

from minivision.exercises import Op

MISTAKES = {
    "A": "the upstream gradient is not multiplied in",
    "B": "the filters have to be turned by 180 degrees on the way back",
    "C": "what several windows hand back to one pixel is assigned, and not added up",
    "D": "the padding is not cut off in the end",
    "E": "the sum over the batch is missing in the gradient of the filters",
}


class Conv2d(Op):
    """Convolution with a mistake in its backward. Leave it as it is."""

    def forward(self, x, w, stride, padding):
        (N, C, H, W), (F, _, KH, KW), S, P = x.shape, w.shape, stride, padding
        OH, OW = (H + 2 * P - KH) // S + 1, (W + 2 * P - KW) // S + 1
        self.x_shape, self.w, self.options = x.shape, w, (KH, KW, S, P)
        padded = np.pad(x, ((0, 0), (0, 0), (P, P), (P, P)))
        columns = np.empty((N, OH, OW, C, KH, KW), x.dtype)
        for oh in range(OH):
            for ow in range(OW):
                columns[:, oh, ow] = padded[:, :, oh * S:oh * S + KH, ow * S:ow * S + KW]
        self.columns = columns.reshape(N, OH, OW, -1)
        return (self.columns @ w.reshape(F, -1).T).transpose(0, 3, 1, 2)

    def backward(self, grad):
        (N, C, H, W), F, (KH, KW, S, P) = self.x_shape, len(self.w), self.options
        grad_w = np.tensordot(grad, self.columns, axes=([0, 2, 3], [0, 1, 2])).reshape(self.w.shape)
        columns = (grad.transpose(0, 2, 3, 1) @ self.w.reshape(F, -1)).reshape(*grad.shape[:1], *grad.shape[2:], C, KH, KW)
        padded = np.zeros((N, C, H + 2 * P, W + 2 * P), grad.dtype)
        for oh in range(grad.shape[2]):
            for ow in range(grad.shape[3]):
                padded[:, :, oh * S:oh * S + KH, ow * S:ow * S + KW] = columns[:, oh, ow]
        return padded[:, :, P:P + H, P:P + W], grad_w


def inputs():
    #: stub
    # TODO: return x, w, stride, padding. np.random.default_rng(0).standard_normal((2, 3)) makes numbers to fill arrays.
    raise NotImplementedError("inputs returns x, w, stride and padding that expose the mistake")
    #: solution
    random = np.random.default_rng(0)
    return random.standard_normal((1, 1, 1, 3)), random.standard_normal((1, 1, 1, 2)), 1, 0
    #: end


#: stub
MISTAKE = ""      # TODO: a letter from MISTAKES
#: solution
MISTAKE = "C"
#: end
