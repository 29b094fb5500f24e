"""The cases that `record.py` asks PyTorch about and `test_golden.py` asks minivision: one list, so that they cannot differ.

A case is a name, a function of the library's namespace, the shapes of its inputs, and fixed arguments. Both libraries have
the same function names and argument orders, so most cases are one line.
"""

import numpy as np

DTYPE = "float64"


def inputs(name, shapes):
    """The arrays of a case: normal numbers from a seed that is the case's name. Not stored, since they can be made again.

    Drawn from the raw bits of PCG64, which NumPy promises to keep; sums of uniform numbers do for normal ones.
    """
    bits = np.random.PCG64(list(name.encode()))
    arrays = []
    for shape in shapes:
        n = int(np.prod(shape, dtype=int))
        uniform = (bits.random_raw(4 * n) >> np.uint64(11)).astype(DTYPE) / 2.0**53
        arrays.append((uniform.reshape(n, 4).sum(1) - 2.0).reshape(shape) * np.sqrt(3.0))
    return arrays


LABELS = [2, 0, 3, 1, 2]

# name -> (function of (F, tensor, *inputs), shapes of the inputs); F is torch.nn.functional or minivision.functional
FUNCTIONS = {
    "conv2d": (lambda F, t, x, w, b: F.conv2d(x, w, b), [(2, 3, 6, 5), (4, 3, 3, 3), (4,)]),
    "conv2d stride padding": (lambda F, t, x, w: F.conv2d(x, w, None, (2, 1), (1, 2)), [(1, 2, 7, 4), (3, 2, 3, 2)]),
    "conv2d dilation groups": (lambda F, t, x, w: F.conv2d(x, w, None, 1, 2, (2, 3), 2), [(2, 4, 6, 7), (6, 2, 2, 3)]),
    "conv2d same": (lambda F, t, x, w: F.conv2d(x, w, padding="same"), [(1, 2, 5, 4), (2, 2, 3, 3)]),
    "conv2d depthwise": (lambda F, t, x, w: F.conv2d(x, w, None, 2, 1, 1, 3), [(2, 3, 6, 6), (3, 1, 3, 3)]),
    "conv_transpose2d": (lambda F, t, x, w, b: F.conv_transpose2d(x, w, b), [(2, 3, 4, 3), (3, 2, 3, 2), (2,)]),
    "conv_transpose2d all": (lambda F, t, x, w: F.conv_transpose2d(x, w, None, (2, 3), 1, (1, 2), 2, (1, 2)),
                             [(1, 4, 3, 3), (4, 2, 3, 2)]),
    "conv_transpose2d output_padding by dilation": (
        lambda F, t, x, w: F.conv_transpose2d(x, w, None, 1, 1, 1, 1, 2), [(1, 2, 3, 3), (2, 2, 2, 3)]),
    "max_pool2d": (lambda F, t, x: F.max_pool2d(x, 2), [(2, 2, 5, 6)]),
    "max_pool2d all": (lambda F, t, x: F.max_pool2d(x, (3, 2), (2, 1), (1, 1), (1, 2), True), [(2, 2, 6, 7)]),
    "max_pool2d of negatives": (lambda F, t, x: F.max_pool2d(-x * x, 3, 2, 1), [(1, 2, 5, 5)]),
    "avg_pool2d": (lambda F, t, x: F.avg_pool2d(x, 3, 2, 1), [(2, 2, 6, 5)]),
    "avg_pool2d ceil": (lambda F, t, x: F.avg_pool2d(x, (2, 3), 2, (1, 1), True), [(1, 2, 6, 6)]),
    "avg_pool2d without padding": (lambda F, t, x: F.avg_pool2d(x, 3, 2, 1, True, False), [(1, 2, 6, 5)]),
    "avg_pool2d divisor": (lambda F, t, x: F.avg_pool2d(x, 2, 1, 1, False, True, 3), [(1, 2, 4, 4)]),
    "adaptive_avg_pool2d": (lambda F, t, x: F.adaptive_avg_pool2d(x, (3, 2)), [(1, 2, 7, 5)]),
    "interpolate nearest": (lambda F, t, x: F.interpolate(x, (7, 3)), [(1, 2, 4, 5)]),
    "interpolate nearest scale": (lambda F, t, x: F.interpolate(x, scale_factor=(1.7, 0.6)), [(1, 1, 5, 6)]),
    "interpolate bilinear": (lambda F, t, x: F.interpolate(x, (7, 3), mode="bilinear"), [(1, 2, 4, 5)]),
    "interpolate bilinear corners": (lambda F, t, x: F.interpolate(x, (7, 3), mode="bilinear", align_corners=True),
                                     [(1, 2, 4, 5)]),
    "interpolate bilinear scale": (lambda F, t, x: F.interpolate(x, scale_factor=1.3, mode="bilinear"), [(1, 1, 4, 5)]),
    "batch_norm": (lambda F, t, x, w, b: F.batch_norm(x, None, None, w, b, True, 0.1, 1e-3), [(3, 2, 3, 2), (2,), (2,)]),
    "instance_norm": (lambda F, t, x, w, b: F.instance_norm(x, None, None, w, b, True, 0.1, 1e-3), [(2, 3, 3, 4), (3,), (3,)]),
    "softmax": (lambda F, t, x: F.softmax(x, 1), [(3, 4, 2)]),
    "log_softmax": (lambda F, t, x: F.log_softmax(x, 0), [(4, 3)]),
    "cross_entropy": (lambda F, t, x: F.cross_entropy(x, t(LABELS)), [(5, 4)]),
    "cross_entropy weights smoothing": (
        lambda F, t, x: F.cross_entropy(x, t(LABELS), t([0.5, 2.0, 1.0, 0.25]), ignore_index=3, label_smoothing=0.2), [(5, 4)]),
    "cross_entropy sum": (lambda F, t, x: F.cross_entropy(x * 100, t(LABELS), reduction="sum"), [(5, 4)]),
    "cross_entropy of probabilities": (lambda F, t, x, p: F.cross_entropy(x, F.softmax(p, 1)), [(3, 4, 2), (3, 4, 2)]),
    "nll_loss": (lambda F, t, x: F.nll_loss(x, t(LABELS), t([0.5, 2.0, 1.0, 0.25]), reduction="none"), [(5, 4)]),
    "mse_loss": (lambda F, t, x, y: F.mse_loss(x, y), [(3, 4), (3, 4)]),
    "l1_loss": (lambda F, t, x, y: F.l1_loss(x, y), [(3, 4), (3, 4)]),
    "binary_cross_entropy_with_logits": (
        lambda F, t, x, y: F.binary_cross_entropy_with_logits(x * 20, F.sigmoid(y), t([1.0, 2.0, 0.5, 1.0]), reduction="sum",
                                                              pos_weight=t([1.0, 3.0, 1.0, 0.1])), [(3, 4), (3, 4)]),
}

# name -> (class of the optim module, its settings)
OPTIMISERS = {
    "sgd": ("SGD", dict(lr=0.1)),
    "sgd momentum": ("SGD", dict(lr=0.05, momentum=0.9)),
    "sgd dampening decay": ("SGD", dict(lr=0.05, momentum=0.9, dampening=0.4, weight_decay=0.1)),
    "sgd nesterov": ("SGD", dict(lr=0.05, momentum=0.8, nesterov=True, weight_decay=0.01)),
    "adam": ("Adam", dict(lr=0.01)),
    "adam all": ("Adam", dict(lr=0.05, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.1)),
}
STEPS = 12

SCHEDULES = {
    "StepLR": dict(step_size=3, gamma=0.5),
    "CosineAnnealingLR": dict(T_max=8, eta_min=0.01),
}
EPOCHS = 12
