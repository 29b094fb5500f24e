"""The gradient that a convolution hands back to its image.

Each output pixel was made from the window it saw. So each hands its upstream gradient back to that window, to every
pixel by as much as the pixel counted, which is the filter's weight:

    grad_x[n, c, oh * S - P + i, ow * S - P + j]  +=  grad[n, f, oh, ow] * w[f, c, i, j]      for all n, f, c, oh, ow, i, j

Windows overlap. A pixel under several windows has a share in several outputs, and by the chain rule their contributions
add up. Write `=` where `+=` is meant and only the last window's word counts; with stride = filter size, where nothing
overlaps, it is even right, so that the mistake survives the first test one thinks of. It has shipped in a published
engine: [[overlap]] in the chapter on finding bugs is about that one.

What lands on the padding belongs to nobody and is cut off in the end. Pixels that no window saw have gradient 0.

Forward and the gradient of the filters are given. (The latter goes tap by tap: seen through one weight (i, j) of all
windows, the padded image is a grid with a step of S. Forward goes window by window; either will do here.) Write
`_grad_x`: it returns an array of the shape of x.
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
        #: stub
        # TODO: the gradient of x. You have self.x_shape, self.w, self.stride and self.padding.
        raise NotImplementedError("Conv2d._grad_x returns the gradient of x")
        #: solution
        N, C, H, W = self.x_shape
        KH, KW = self.w.shape[2:]
        OH, OW = grad.shape[2:]
        S, P = self.stride, self.padding
        padded = np.zeros((N, C, H + 2 * P, W + 2 * P), grad.dtype)
        for oh in range(OH):
            for ow in range(OW):
                back = np.tensordot(grad[:, :, oh, ow], self.w, axes=1)             # (N, F) and (F, C, KH, KW)
                padded[:, :, oh * S:oh * S + KH, ow * S:ow * S + KW] += back
        return padded[:, :, P:P + H, P:P + W]
        #: end

    def _grad_w(self, grad):
        (KH, KW), (OH, OW), S = self.w.shape[2:], grad.shape[2:], self.stride
        grad_w = np.zeros_like(self.w)
        for i in range(KH):
            for j in range(KW):
                seen = self.padded[:, :, i:i + S * OH:S, j:j + S * OW:S]            # by weight (i, j): (N, C, OH, OW)
                grad_w[:, :, i, j] = np.tensordot(grad, seen, axes=([0, 2, 3], [0, 2, 3]))
        return grad_w
