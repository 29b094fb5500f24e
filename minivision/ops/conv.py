"""Convolution, and why three kernels are enough for gradients of every order.

Convolution is linear in the image and linear in the filters. So each of its gradients is again a linear map of two of
the three arrays x (N, C, H, W), w (F, C/groups, KH, KW) and y (N, F, OH, OW), and so are *their* gradients:

    y = Conv2d(x, w)            dx = Conv2dInput(y', w)     dw = Conv2dWeight(x, y')
    z = Conv2dInput(g, w)       dg = Conv2d(z', w)          dw = Conv2dWeight(z', g)
    u = Conv2dWeight(x, g)      dx = Conv2dInput(g, u')     dg = Conv2d(x, u')

(a prime marks the upstream gradient). The two gradient forms are told the shape to return, since stride leaves it open:
with 3 x 3 filters, padding 1 and stride 2, images of 7 and of 8 pixels both give 4 windows. ``Conv2dInput`` by itself is
transposed convolution.

Every form takes the same ``geometry``: stride, padding and dilation as (height, width) pairs, and groups.
"""

from __future__ import annotations

from minivision_kernels import array_module, run
from minivision_kernels.finish import Finish, run_finished

from ..autograd import Function, is_recording
from ..tensor import Tensor
from .elementwise import Rectified, ReluInput
from .pool import MaxPool2dInput
from .reduce import Sum
from .shape import new


class Conv2d(Function):
    """With a third input, a bias (F,), that is added to all pixels of its channel."""

    keeps_inputs = 2
    relu = False

    def forward(self, x, w, *bias, **geometry):
        self.geometry, self.x_shape, self.w_shape = geometry, x.shape, w.shape
        if not bias:
            return run("conv2d_forward", x, w, **geometry)
        return run_finished("conv2d_forward", x, w, Finish(bias[0], self.relu), **geometry)

    def backward(self, grad):
        _, _, *bias = self.inputs
        return *self.products(grad), \
            *(Sum.apply(grad, axes=(0, 2, 3), keepdim=False) if self.needs_grad[2] else None for _ in bias)

    def products(self, grad):
        """The gradients to image and filters."""
        x, w, *_ = self.inputs
        return Conv2dInput.apply(grad, w, shape=self.x_shape, **self.geometry) if self.needs_grad[0] else None, \
            Conv2dWeight.apply(x, grad, shape=self.w_shape, **self.geometry) if self.needs_grad[1] else None


class Conv2dRelu(Rectified, Conv2d):
    """A convolution, its bias and ReLU."""


class Conv2dReluMaxPool(Conv2dRelu):
    """And then the largest pixel of each window of ``pool``.

    The largest pixel of a window got through ReLU if what came out is positive. So the results tell what ReLU lets pass, and
    backward goes through ReLU, and sums for the bias, where there are a quarter of the pixels or fewer.
    """

    def forward(self, x, w, bias, pool, **geometry):
        y = super().forward(x, w, bias, **geometry)
        self.shape, self.window = y.shape, {name: pool[name] for name in ("kernel_size", "stride", "padding", "dilation")}
        largest, self.index = run("max_pool2d_forward", y, with_index=self._record, **pool)
        return largest

    def products(self, grad):
        return super().products(MaxPool2dInput.apply(grad, index=self.index, shape=self.shape, **self.window))


class Conv2dNorm(Conv2d):
    """A convolution without a bias, and batch norm that is not training, as one convolution.

    Mean and variance are numbers then, so batch norm multiplies each channel by a factor and adds a number. The factor can as
    well multiply the filters:  y = Conv2d(x, factor w) + bias - factor mean,  factor = weight / sqrt(var + eps).
    """

    keeps_inputs = 3

    def forward(self, x, w, weight, bias, mean, var, eps, **geometry):
        self.geometry, self.x_shape, self.w_shape = geometry, x.shape, w.shape
        self.scale = 1 / array_module(x).sqrt(var + x.dtype.type(eps))
        self.middle = mean * self.scale
        self.scaled = w * (weight * self.scale)[:, None, None, None]
        return run_finished("conv2d_forward", x, self.scaled, Finish(bias - weight * self.middle, self.relu), **geometry)

    def backward(self, grad):
        x, w, weight, _ = self.inputs
        if self.relu:
            grad = ReluInput.apply(grad, y=self.output._data)
        scaled = w * self.factor(weight) if is_recording() else Tensor(self.scaled)
        db = grad.sum((0, 2, 3)) if self.needs_grad[2] or self.needs_grad[3] else None
        dw = Conv2dWeight.apply(x, grad, shape=self.w_shape, **self.geometry) if any(self.needs_grad[1:3]) else None
        return Conv2dInput.apply(grad, scaled, shape=self.x_shape, **self.geometry) if self.needs_grad[0] else None, \
            dw * self.factor(weight) if self.needs_grad[1] else None, \
            (dw * w).sum((1, 2, 3)) * Tensor(self.scale) - db * Tensor(self.middle) if self.needs_grad[2] else None, \
            db if self.needs_grad[3] else None

    def factor(self, weight):
        """What each filter is multiplied by."""
        return (weight * Tensor(self.scale)).reshape(-1, 1, 1, 1)


class Conv2dNormRelu(Conv2dNorm):
    """With ReLU."""

    keeps_output, relu = True, True


class Conv2dReluCat(Function):
    """Several convolutions of one image, each with its bias and ReLU, whose results are channels of one array.

    The inputs are x, all filters, and then all biases; each convolution has its ``geometry``.
    """

    keeps_output = True

    def forward(self, x, *parameters, size, geometries):
        self.geometries, (filters, biases) = geometries, _halves(parameters)
        shape = (len(x), sum(map(len, filters)), *size)
        y, first = new(x, shape), 0
        for w, bias, geometry in zip(filters, biases, geometries):
            run_finished("conv2d_forward", x, w, Finish(bias, True, y, first), **geometry)
            first += len(w)
        return y

    def backward(self, grad):
        x, *parameters = self.inputs
        filters, _ = _halves(parameters)
        asked, dx, dws, dbs, first = self.needs_grad, None, [], [], 0
        to_filters, to_biases = _halves(asked[1:])
        if is_recording() or not any(to_biases):
            passed, sums = ReluInput.apply(grad, y=self.output._data), None
        else:
            passed, sums = (Tensor(array) for array in run("relu_bias_backward", grad._data, self._output))
        for w, geometry, to_w, to_bias in zip(filters, self.geometries, to_filters, to_biases):
            mine = slice(first, first + len(w))
            part, first = passed[:, mine], mine.stop
            if asked[0]:
                through = Conv2dInput.apply(part, w, shape=x.shape, **geometry)
                dx = through if dx is None else dx + through
            dws.append(Conv2dWeight.apply(x, part, shape=w.shape, **geometry) if to_w else None)
            dbs.append((part.sum((0, 2, 3)) if sums is None else sums[mine]) if to_bias else None)
        return dx, *dws, *dbs


def _halves(parameters):
    """Those of the filters, and those of the biases."""
    middle = len(parameters) // 2
    return parameters[:middle], parameters[middle:]


class Conv2dInput(Function):
    """Spread every output back over the pixels it saw; where windows overlap, contributions add up."""

    def forward(self, g, w, shape, **geometry):
        self.geometry, self.w_shape = geometry, w.shape
        return run("conv2d_input", g, w, shape, **geometry)

    def backward(self, grad):
        g, w = self.inputs
        return fitted(Conv2d.apply(grad, w, **self.geometry), g.shape) if self.needs_grad[0] else None, \
            Conv2dWeight.apply(grad, g, shape=self.w_shape, **self.geometry) if self.needs_grad[1] else None


class Conv2dWeight(Function):
    """Correlate the image with the outputs: how much did pixel (i, j) of each window take part?"""

    def forward(self, x, g, shape, **geometry):
        self.geometry, self.x_shape = geometry, x.shape
        return run("conv2d_weight", x, g, shape, **geometry)

    def backward(self, grad):
        x, g = self.inputs
        return Conv2dInput.apply(g, grad, shape=self.x_shape, **self.geometry) if self.needs_grad[0] else None, \
            fitted(Conv2d.apply(x, grad, **self.geometry), g.shape) if self.needs_grad[1] else None


def fitted(y, shape):
    """Drop the windows beyond ``shape``: with output_padding, the image has room for more of them than there were."""
    return y if y.shape == shape else y[:, :, :shape[2], :shape[3]]
