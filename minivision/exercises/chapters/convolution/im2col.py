"""im2col: a convolution as one matrix product.

Nothing in this world is as fast as a matrix product. Decades of work went into it, and a convolution can borrow it all:
write each window of the image down as a column, and the whole layer becomes

    y[n] = w @ columns[n]           (F, C KH KW) @ (C KH KW, OH OW)

The loops are gone, into `im2col`, which only copies. The price is memory: with 3 x 3 filters each pixel is written down
nine times (Chellapilla, Puri and Simard 2006). Caffe was built on this, and most libraries still have it as the way that
always works.

Backward is the backward of a matrix product,

    grad_w = sum over n of grad[n] @ columns[n].T           grad_columns[n] = w.T @ grad[n]

and then the columns have to become an image again. `col2im` puts each number back to where it was copied from. A pixel
that was copied into nine columns gets nine numbers, and they add up: copying and adding up are each other's gradient.
Hold on to the order of the axes: a row of w is (C, KH, KW) read in this order, so a column must be, too.

Write `im2col`, `col2im` and `backward`. This class goes into the engine at the finish line.
"""

import numpy as np

from minivision.exercises import Op


def im2col(x, KH, KW, stride, padding):
    """The windows of x (N, C, H, W) as columns: (N, C KH KW, OH OW)."""
    N, C, H, W = x.shape
    OH = (H + 2 * padding - KH) // stride + 1
    OW = (W + 2 * padding - KW) // stride + 1
    #: stub
    # TODO: make an array (N, C, KH, KW, OH, OW), fill it for each (i, j) with what that place of all windows sees.
    raise NotImplementedError("im2col returns columns of shape (N, C * KH * KW, OH * OW)")
    #: solution
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    columns = np.empty((N, C, KH, KW, OH, OW), x.dtype)
    for i in range(KH):
        for j in range(KW):
            columns[:, :, i, j] = padded[:, :, i:i + stride * OH:stride, j:j + stride * OW:stride]
    return columns.reshape(N, C * KH * KW, OH * OW)
    #: end


def col2im(columns, shape, KH, KW, stride, padding):
    """Columns (N, C KH KW, OH OW) added up into an image of the given shape (N, C, H, W)."""
    N, C, H, W = shape
    OH = (H + 2 * padding - KH) // stride + 1
    OW = (W + 2 * padding - KW) // stride + 1
    #: stub
    # TODO: the way back of im2col.
    raise NotImplementedError("col2im returns an image of the given shape")
    #: solution
    parts = columns.reshape(N, C, KH, KW, OH, OW)
    padded = np.zeros((N, C, H + 2 * padding, W + 2 * padding), columns.dtype)
    for i in range(KH):
        for j in range(KW):
            padded[:, :, i:i + stride * OH:stride, j:j + stride * OW:stride] += parts[:, :, i, j]
    return padded[:, :, padding:padding + H, padding:padding + W]
    #: end


class Conv2d(Op):
    def forward(self, x, w, stride, padding):
        F, _, KH, KW = w.shape
        N, _, H, W = x.shape
        self.x_shape, self.w, self.geometry = x.shape, w, (KH, KW, stride, padding)
        self.columns = im2col(x, *self.geometry)
        y = w.reshape(F, -1) @ self.columns
        return y.reshape(N, F, (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1)

    def backward(self, grad):
        N, F, OH, OW = grad.shape
        #: stub
        # TODO: the gradients of x and of w. np.swapaxes(a, 1, 2) transposes each matrix of a batch.
        raise NotImplementedError("Conv2d.backward returns the gradients of x and of w")
        #: solution
        upstream = grad.reshape(N, F, OH * OW)
        grad_w = (upstream @ self.columns.swapaxes(1, 2)).sum(axis=0).reshape(self.w.shape)
        grad_columns = self.w.reshape(F, -1).T @ upstream
        return col2im(grad_columns, self.x_shape, *self.geometry), grad_w
        #: end
