"""Operations on each element by itself. Every derivative here is one line of school calculus.

The rules that a textbook leaves open: |x| has slope 0 at 0; where ``maximum`` or ``minimum`` meet a tie the gradient
goes to the first argument; ``clip`` passes the gradient at the bounds themselves, as PyTorch does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivision_kernels import array_module, run

from ..autograd import Function, is_recording
from ..tensor import Tensor

LARGE = 1 << 16          # bytes; from here on it pays to look for the fastest way to add


class Add(Function):
    keeps_inputs, relu = False, False

    def forward(self, x, y):
        if type(x) is np.ndarray and x.nbytes >= LARGE and x.shape == y.shape and x.dtype == y.dtype:
            return run("add", x, y, relu=self.relu)
        return run("relu_forward", x + y) if self.relu else x + y

    def backward(self, grad):
        return grad, grad


class Sub(Function):
    keeps_inputs = False

    def forward(self, x, y):
        return x - y

    def backward(self, grad):
        return grad, -grad


class Neg(Function):
    keeps_inputs = False

    def forward(self, x):
        return -x

    def backward(self, grad):
        return -grad


class Mul(Function):
    def forward(self, x, y):
        return x * y

    def backward(self, grad):
        x, y = self.inputs
        dx = grad * y if self.needs_grad[0] else None
        dy = grad * x if self.needs_grad[1] else None
        return dx, dy


class Div(Function):
    floats_only = True

    def forward(self, x, y):
        return x / y

    def backward(self, grad):
        x, y = self.inputs
        dx = grad / y if self.needs_grad[0] else None
        dy = -grad * (x / y) / y if self.needs_grad[1] else None
        return dx, dy


class Pow(Function):
    """x ** y for two tensors. At x = 0 the slope to y is 0, since x^y log(x) tends to 0 for y > 0."""

    floats_only = True

    def forward(self, x, y):
        return array_module(x).power(x, y)

    def backward(self, grad):
        x, y = self.inputs
        safe = Where.apply(1.0, x, condition=(x == 0)._data)     # log(1) = 0 in place of log(0)
        dx = grad * power_slope(x, y) if self.needs_grad[0] else None
        dy = grad * Pow.apply(x, y) * safe.log() if self.needs_grad[1] else None
        return dx, dy


def power_slope(x: Tensor, y: Tensor) -> Tensor:
    """y x^(y - 1), and 0 where y = 0, also at x = 0 where the formula would give 0 * inf."""
    flat = (y == 0)._data
    return Where.apply(0.0, y * Pow.apply(x, Where.apply(1.0, y - 1.0, condition=flat)), condition=flat)


class PowNumber(Function):
    """x ** n for a Python number n, much faster than the general case for small n."""

    def forward(self, x, exponent):
        self.exponent = exponent
        return x ** exponent

    def backward(self, grad):
        (x,), n = self.inputs, self.exponent
        return grad * 0.0 if n == 0 else grad * (n * x ** (n - 1))


class Exp(Function):
    floats_only, keeps_inputs, keeps_output = True, False, True

    def forward(self, x):
        return array_module(x).exp(x)

    def backward(self, grad):
        return grad * self.output


class Log(Function):
    floats_only = True

    def forward(self, x):
        return array_module(x).log(x)

    def backward(self, grad):
        x, = self.inputs
        return grad / x


class Sqrt(Function):
    floats_only, keeps_inputs, keeps_output = True, False, True

    def forward(self, x):
        return array_module(x).sqrt(x)

    def backward(self, grad):
        return grad / (2.0 * self.output)


class Sin(Function):
    floats_only = True

    def forward(self, x):
        return array_module(x).sin(x)

    def backward(self, grad):
        x, = self.inputs
        return grad * x.cos()


class Cos(Function):
    floats_only = True

    def forward(self, x):
        return array_module(x).cos(x)

    def backward(self, grad):
        x, = self.inputs
        return -grad * x.sin()


class Tanh(Function):
    floats_only, keeps_inputs, keeps_output = True, False, True

    def forward(self, x):
        return array_module(x).tanh(x)

    def backward(self, grad):
        y = self.output
        return grad * (1.0 - y * y)


class Sigmoid(Function):
    """1 / (1 + exp(-x)), written so that exp never overflows."""

    floats_only, keeps_inputs, keeps_output = True, False, True

    def forward(self, x):
        xp = array_module(x)
        small = xp.exp(-xp.abs(x))                               # in (0, 1] whatever the sign of x
        return xp.where(x >= 0, 1, small) / (1 + small)

    def backward(self, grad):
        y = self.output
        return grad * y * (1.0 - y)


class Softplus(Function):
    """log(1 + exp(x)), the smooth relative of ReLU; x itself where exp would overflow."""

    floats_only = True

    def forward(self, x):
        xp = array_module(x)
        return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))

    def backward(self, grad):
        x, = self.inputs
        return grad * x.sigmoid()


class Abs(Function):
    def forward(self, x):
        return array_module(x).abs(x)

    def backward(self, grad):
        x, = self.inputs
        return grad * Tensor(array_module(x._data).sign(x._data))


class Relu(Function):
    """max(x, 0), with relu'(0) = 0."""

    keeps_inputs, keeps_output = False, True

    def forward(self, x):
        return run("relu_forward", x)

    def backward(self, grad):
        return ReluInput.apply(grad, y=self.output._data)


class ReluInput(Function):
    """The gradient that reaches a ReLU's input: what arrives where y > 0, else 0. Linear, and its own adjoint."""

    keeps_inputs = False

    def forward(self, grad, y):
        self.y = self.keep(y)
        return run("relu_backward", grad, y)

    def backward(self, grad):
        return ReluInput.apply(grad, y=self.y)


class Rectified:
    """Mixed into an operation with a bias as its third input: ReLU with it. What lies between is neither written nor kept.

    The operation adds its bias with ``relu=self.relu``, and gives the gradients to its first two inputs in ``products``.
    """

    keeps_output, relu = True, True

    def backward(self: Any, grad: Tensor) -> Any:
        if is_recording() or not self.needs_grad[2]:
            return super().backward(ReluInput.apply(grad, y=self.output._data))     # type: ignore[misc]  # the operation's
        passed, db = (Tensor(array) for array in run("relu_bias_backward", grad._data, self._output))
        return *self.products(passed), db


class AddRelu(Add):
    """max(x + y, 0): where the branches of a residual network meet."""

    keeps_output, relu = True, True

    def backward(self, grad):
        return super().backward(ReluInput.apply(grad, y=self.output._data))


class LeakyRelu(Function):
    """x where x > 0, else slope * x; the slope at 0 is ``slope``."""

    def forward(self, x, slope):
        self.slope = slope
        return array_module(x).where(x > 0, x, x * x.dtype.type(slope))

    def backward(self, grad):
        x, = self.inputs
        return Where.apply(grad, grad * self.slope, condition=x._data > 0)


class Clip(Function):
    def forward(self, x, low, high):
        self.low, self.high = low, high
        return array_module(x).clip(x, low, high)

    def backward(self, grad):
        x = self.inputs[0]._data
        inside = x == x                                          # everywhere but at NaN
        if self.low is not None:
            inside &= x >= self.low
        if self.high is not None:
            inside &= x <= self.high
        return Where.apply(grad, 0.0, condition=inside)


class Maximum(Function):
    def forward(self, x, y):
        return array_module(x).maximum(x, y)

    def backward(self, grad):
        x, y = self.inputs
        first = x._data >= y._data
        return Where.apply(grad, 0.0, condition=first), Where.apply(0.0, grad, condition=first)


class Minimum(Function):
    def forward(self, x, y):
        return array_module(x).minimum(x, y)

    def backward(self, grad):
        x, y = self.inputs
        first = x._data <= y._data
        return Where.apply(grad, 0.0, condition=first), Where.apply(0.0, grad, condition=first)


class Where(Function):
    """x where ``condition`` holds, else y. The condition is data, not something to differentiate."""

    keeps_inputs = False

    def forward(self, x, y, condition):
        self.condition = self.keep(condition)
        return array_module(x).where(condition, x, y)

    def backward(self, grad):
        return Where.apply(grad, 0.0, condition=self.condition), Where.apply(0.0, grad, condition=self.condition)


class Clone(Function):
    keeps_inputs = False

    def forward(self, x):
        return x.copy()

    def backward(self, grad):
        return grad


class Cast(Function):
    """The same values in another dtype. The base class casts the gradient back."""

    keeps_inputs = False

    def forward(self, x, dtype):
        return x.astype(dtype)

    def backward(self, grad):
        return grad


class Move(Function):
    """The same values on another device."""

    keeps_inputs = False

    def forward(self, x, device):
        from ..device import device_of, move

        self.origin = device_of(x)
        return move(x, device)

    def backward(self, grad):
        return Move.apply(grad, device=self.origin)


