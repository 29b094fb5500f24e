"""The gradient of the filters.

A weight takes part in every output pixel of its filter, in every image of the batch. Each time it was multiplied by the
pixel that lay under it, so each time that pixel, times the upstream gradient, is added to its gradient:

    grad_w[f, c, i, j]  +=  grad[n, f, oh, ow] * x[n, c, oh * S - P + i, ow * S - P + j]      for all n, f, c, oh, ow, i, j

with pixels outside the image 0 as in forward. Look at it from a distance: it slides the upstream gradient over the image,
multiplies and adds up. The gradient of a convolution is a convolution again. So is the gradient of its image
([[conv_input]]), which is why one good kernel trains a network.

Sums get lost here. The sum over the batch is the one that goes missing unnoticed, for a test with one image passes. A
mean in its place is another classic: the loss has been divided by N already, and dividing twice looks like a learning
rate that is too small.

Forward and the gradient of the image are given (tap by tap this time). Write `_grad_w`: it returns an array of the shape
of w, (F, C, KH, KW).
"""

import numpy as np

from minivision.exercises import Op


class Conv2d(Op):
    def forward(self, x, w, stride, padding):
        H, W = x.shape[2:]
        F, _, KH, KW = w.shape
        self.x_shape, self.w, self.stride, self.padding = x.shape, w, stride, padding
        self.padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
        y = np.zeros((len(x), F, (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1), x.dtype)
        for oh in range(y.shape[2]):
            for ow in range(y.shape[3]):
                window = self.padded[:, :, oh * stride:oh * stride + KH, ow * stride:ow * stride + KW]
                y[:, :, oh, ow] = np.tensordot(window, w, axes=([1, 2, 3], [1, 2, 3]))
        return y

    def backward(self, grad):
        return self._grad_x(grad), self._grad_w(grad)

    def _grad_x(self, grad):
        (H, W), (KH, KW), (OH, OW), S, P = self.x_shape[2:], self.w.shape[2:], grad.shape[2:], self.stride, self.padding
        padded = np.zeros(self.padded.shape, grad.dtype)
        for i in range(KH):
            for j in range(KW):
                back = np.tensordot(grad, self.w[:, :, i, j], axes=([1], [0]))      # (N, OH, OW, C)
                padded[:, :, i:i + S * OH:S, j:j + S * OW:S] += back.transpose(0, 3, 1, 2)
        return padded[:, :, P:P + H, P:P + W]

    def _grad_w(self, grad):
        #: stub
        # TODO: the gradient of w. You have self.padded (the image with its padding), self.w.shape and self.stride.
        raise NotImplementedError("Conv2d._grad_w returns the gradient of w")
        #: solution
        KH, KW = self.w.shape[2:]
        OH, OW = grad.shape[2:]
        S = self.stride
        grad_w = np.zeros_like(self.w)
        for oh in range(OH):
            for ow in range(OW):
                seen = self.padded[:, :, oh * S:oh * S + KH, ow * S:ow * S + KW]    # (N, C, KH, KW)
                grad_w += np.tensordot(grad[:, :, oh, ow], seen, axes=(0, 0))       # over the batch
        return grad_w
        #: end
