"""Arguments that do not fit: every rung of an operation refuses them, with one and the same error."""

import inspect

import kernel_oracle as oracle
import numpy as np
import pytest

import minivision_kernels as mk
from minivision_kernels import checks
from minivision_kernels.cascades import LBP, Haar, Trees
from minivision_kernels.shapes import conv_output_fits, conv_output_size


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


def places(*shape, value=0, dtype=np.int32):
    return np.full(shape, value, dtype)


GEOMETRY = dict(stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2)          # (7, 8) pixels, 3 x 3: (4, 4) outputs
WINDOW = dict(kernel_size=(2, 3), stride=(2, 3), padding=(0, 1))                   # (7, 8) pixels: (3, 3), ceiling (4, 3)
AVERAGE = dict(WINDOW, ceil_mode=False, count_include_pad=True, divisor=None)
IMAGES, FILTERS = (2, 4, 7, 8), (6, 2, 3, 3)

FITTING = {
    "conv2d_forward": dict(x=zeros(*IMAGES), w=zeros(*FILTERS), **GEOMETRY),
    "conv2d_input": dict(g=zeros(2, 6, 4, 4), w=zeros(*FILTERS), shape=IMAGES, **GEOMETRY),
    "conv2d_weight": dict(x=zeros(*IMAGES), g=zeros(2, 6, 4, 4), shape=FILTERS, **GEOMETRY),
    "max_pool2d_forward": dict(x=zeros(*IMAGES), **WINDOW, dilation=(1, 1), ceil_mode=True),
    "max_pool2d_backward": dict(
        g=zeros(2, 4, 3, 3), index=places(2, 4, 3, 3), shape=IMAGES, **WINDOW, dilation=(1, 1)),
    "avg_pool2d_forward": dict(x=zeros(*IMAGES), **AVERAGE),
    "avg_pool2d_backward": dict(g=zeros(2, 4, 3, 3), shape=IMAGES, **AVERAGE),
    "relu_forward": dict(x=zeros(5)),
    "relu_backward": dict(g=zeros(5, 2), y=zeros(5, 2)),
    "add": dict(x=zeros(5, 2), y=zeros(5, 2)),
    "bias_add": dict(y=zeros(*IMAGES), bias=zeros(4)),
    "relu_bias_backward": dict(g=zeros(*IMAGES), y=zeros(*IMAGES)),
    "channel_affine": dict(x=zeros(*IMAGES), weight=zeros(4), bias=zeros(4)),
    "channel_sum": dict(g=zeros(*IMAGES)),
    "batch_norm_forward": dict(x=zeros(*IMAGES), weight=zeros(4), bias=zeros(4), eps=1e-5),
    "batch_norm_backward": dict(
        g=zeros(*IMAGES), x=zeros(*IMAGES), weight=zeros(4), mean=zeros(4), var=zeros(4), eps=1e-5),
    "linear_forward": dict(x=zeros(2, 3), w=zeros(4, 3)),
    "linear_input": dict(g=zeros(2, 4), w=zeros(4, 3)),
    "linear_weight": dict(g=zeros(2, 4), x=zeros(2, 3)),
    "cross_entropy_forward": dict(logits=zeros(2, 3), labels=places(2, dtype=np.int64)),
    "cross_entropy_backward": dict(logits=zeros(2, 3), labels=places(2, dtype=np.int64), g=zeros(2)),
    "sgd_update": dict(
        param=zeros(5), grad=zeros(5), velocity=zeros(5), lr=0.1, momentum=0.9, dampening=0.0, weight_decay=0.0,
        nesterov=False, first=True),
    "adam_update": dict(
        param=zeros(5), grad=zeros(5), m=zeros(5), v=zeros(5), lr=0.1, beta1=0.9, beta2=0.99, eps=1e-8, weight_decay=0.0,
        step=1),
    "resize": dict(x=zeros(5, 6, 3), size=(4, 9), method="bicubic", antialias=True),
    "affine": dict(x=zeros(5, 6, 3), matrix=(0.9, 0.1, 0.0, -0.1, 0.9, 0), size=(4, 9), method="bilinear"),
    "integral": dict(x=zeros(5, 6), squared=True),
    "integral_tilted": dict(x=zeros(5, 6)),
    "hog_cells": dict(image=zeros(9, 12, 3), pixels_per_cell=(4, 3), orientations=5),
    "hog_votes": dict(
        image=zeros(9, 12, 3), window_rows=zeros(8), window_columns=zeros(6), pixels_per_cell=(4, 3), block_stride=(1, 3),
        start=(0, 1), orientations=5, signed=False, polynomial=True),
    "hog_blocks": dict(cells=zeros(4, 5, 3), cells_per_block=(3, 2), norm="L2-Hys"),
    "hog_scores": dict(blocks=zeros(9, 8, 6), weights=zeros(3, 2, 6), far=(2, 1), apart=(1, 3)),
}

CORNERS = dict(sums=places(2, 11, 12), squares=places(11, 12))
STUMPS = Trees(                     # a tree of two nodes, and a stump
    nodes=np.array([[1, -1, 0], [-2, -3, 1], [-4, -5, 0]], np.int32), thresholds=zeros(3), subsets=places(0, 8),
    leaves=zeros(5), roots=np.array([0, 2], np.int32), stages=np.array([0, 1, 2], np.int32), stage_thresholds=zeros(2))
HAAR = Haar(np.array([[[0, 0, 4, 4], [2, 0, 2, 4], [0, 0, 0, 0]], [[2, 0, 2, 2], [2, 1, 1, 1], [0, 0, 0, 0]]], np.int32),
            zeros(2, 3), np.array([False, True]))
PATTERNS = STUMPS._replace(thresholds=zeros(0), subsets=places(3, 8))
WINDOWS = dict(size=(5, 6), step=2, rows=3)                                            # in 10 x 11 pixels
FITTING.update({
    "shrink_exact": dict(image=places(5, 6, dtype=np.uint8), size=(4, 9)),
    "window_sums": dict(image=places(5, 6, dtype=np.uint8), tilted=True),
    "cascade_haar": dict(**CORNERS, features=HAAR, trees=STUMPS, **WINDOWS),
    "cascade_lbp": dict(sums=CORNERS["sums"], features=LBP(np.array([[0, 0, 2, 1], [0, 2, 1, 1]], np.int32)), trees=PATTERNS,
                        **WINDOWS),
})

# Operation, what is wrong, and what the error says; None: whatever it says, it names the argument.
WRONG = [
    ("conv2d_forward", dict(w=zeros(6, 5, 3, 3)), r"w has 5 channels .*expected 2"),
    ("conv2d_forward", dict(x=zeros(2, 3, 7, 8)), r"groups is 2; expected a divisor of the 3 channels and the 6 filters"),
    ("conv2d_forward", dict(w=zeros(5, 2, 3, 3)), r"a divisor of the 4 channels and the 5 filters"),
    ("conv2d_forward", dict(x=zeros(4, 7, 8)), r"x has shape \(4, 7, 8\); expected \(N, C, H, W\)"),
    ("conv2d_forward", dict(w=zeros(6, 2, 3)), r"w has shape \(6, 2, 3\)"),
    ("conv2d_forward", dict(w=zeros(6, 2, 0, 3)), r"kernel_size is \(0, 3\); expected at least 1"),
    ("conv2d_input", dict(g=zeros(2, 6, 5, 4)), r"g has shape \(2, 6, 5, 4\); expected \(2, 6, 4, 4\)"),
    ("conv2d_input", dict(g=zeros(2, 6, 3, 4)), None),
    ("conv2d_input", dict(g=zeros(2, 6, 4, 2)), None),
    ("conv2d_input", dict(g=zeros(2, 6, 4, 0)), None),
    ("conv2d_input", dict(g=zeros(1, 6, 4, 4)), None),
    ("conv2d_input", dict(g=zeros(2, 4, 4, 4)), None),
    ("conv2d_input", dict(g=zeros(6, 4, 4)), None),
    ("conv2d_input", dict(w=zeros(6, 5, 3, 3)), "w has 5 channels"),
    ("conv2d_input", dict(shape=(2, 4, 9, 8)), "g has shape"),
    ("conv2d_input", dict(shape=(2, 6, 7, 8)), r"w has 2 channels .*expected 3"),
    ("conv2d_input", dict(shape=(4, 7, 8)), r"shape is \(4, 7, 8\); expected \(N, C, H, W\)"),
    ("conv2d_input", dict(shape=(-2, 4, 7, 8)), "none below 0"),
    ("conv2d_weight", dict(g=zeros(2, 6, 4, 5)), None),
    ("conv2d_weight", dict(g=zeros(2, 6, 3, 4)), None),
    ("conv2d_weight", dict(g=zeros(3, 6, 4, 4)), None),
    ("conv2d_weight", dict(g=zeros(2, 8, 4, 4)), None),
    ("conv2d_weight", dict(x=zeros(2, 4, 9, 8)), "g has shape"),
    ("conv2d_weight", dict(x=zeros(2, 4, 7, 8, 1)), None),
    ("conv2d_weight", dict(shape=(6, 4, 3, 3)), "shape has 4 channels"),
    ("conv2d_weight", dict(shape=(6, 2, 5, 3)), "g has shape"),
    ("conv2d_weight", dict(shape=(6, 2, 3)), None),
    ("max_pool2d_forward", dict(x=zeros(4, 7, 8)), None),
    ("max_pool2d_backward", dict(g=zeros(2, 4, 5, 3)), r"expected \(2, 4, 3, 3\), or in ceil mode \(2, 4, 4, 3\)"),
    ("max_pool2d_backward", dict(g=zeros(2, 4, 4, 3)), r"index has shape \(2, 4, 3, 3\); expected \(2, 4, 4, 3\)"),
    ("max_pool2d_backward", dict(g=zeros(4, 3, 3)), None),
    ("max_pool2d_backward", dict(index=places(2, 4, 3, 2)), None),
    ("max_pool2d_backward", dict(index=places(2, 4, 3, 3, value=56)), r"index lies in \[56, 56\]; .*in \[0, 55\]"),
    ("max_pool2d_backward", dict(index=places(2, 4, 3, 3, value=-2)), None),
    ("max_pool2d_backward", dict(shape=(1, 4, 7, 8)), "g has shape"),
    ("max_pool2d_backward", dict(shape=(2, 4, 70, 8)), "g has shape"),
    ("avg_pool2d_forward", dict(x=zeros(7, 8)), None),
    ("avg_pool2d_forward", dict(divisor=0), None),
    ("avg_pool2d_backward", dict(g=zeros(2, 4, 4, 3)), r"g has shape \(2, 4, 4, 3\); expected \(2, 4, 3, 3\)"),
    ("avg_pool2d_backward", dict(g=zeros(2, 4, 3, 2)), None),
    ("avg_pool2d_backward", dict(g=zeros(3, 3)), None),
    ("avg_pool2d_backward", dict(ceil_mode=True), r"g has shape .*expected \(2, 4, 4, 3\)"),
    ("avg_pool2d_backward", dict(shape=(2, 5, 7, 8)), "g has shape"),
    ("avg_pool2d_backward", dict(divisor=0), None),
    ("relu_backward", dict(g=zeros(5), y=zeros(3)), r"g has shape \(5,\) and y \(3,\); expected the same shape"),
    ("relu_backward", dict(y=zeros(2, 5)), "the same shape"),
    ("relu_backward", dict(y=zeros(1, 2)), "the same shape"),
    ("add", dict(y=zeros(5)), r"x has shape \(5, 2\) and y \(5,\); expected the same shape"),
    ("relu_bias_backward", dict(y=zeros(5)), "the same shape"),
    ("relu_bias_backward", dict(g=zeros(5), y=zeros(5)), r"g has shape \(5,\); expected \(N, C, ...\)"),
    ("bias_add", dict(bias=zeros(2)), r"bias has shape \(2,\); expected \(4,\), one number for each channel"),
    ("bias_add", dict(y=zeros(4)), r"y has shape \(4,\); expected \(N, C, ...\)"),
    ("channel_affine", dict(weight=zeros(2)), r"weight has shape \(2,\); expected \(4,\)"),
    ("channel_affine", dict(bias=zeros(2)), r"bias has shape \(2,\); expected \(4,\)"),
    ("channel_sum", dict(g=zeros(4)), r"g has shape \(4,\); expected \(N, C, ...\)"),
    ("batch_norm_forward", dict(weight=zeros(2)), r"weight has shape \(2,\); expected \(4,\)"),
    ("batch_norm_forward", dict(bias=zeros(4, 1)), r"bias has shape \(4, 1\); expected \(4,\)"),
    ("batch_norm_forward", dict(x=zeros(4)), r"x has shape \(4,\); expected \(N, C, ...\)"),
    ("batch_norm_backward", dict(g=zeros(2, 4, 7, 7)), "the same shape"),
    ("batch_norm_backward", dict(mean=zeros(8)), r"mean has shape \(8,\)"),
    ("batch_norm_backward", dict(var=zeros(8)), r"var has shape \(8,\)"),
    ("linear_forward", dict(w=zeros(4, 7)), r"x \(2, 3\) and w \(4, 7\) differ in I.*expected x \(N, I\) and w \(O, I\)"),
    ("linear_input", dict(g=zeros(2, 3), w=zeros(4, 7)), "differ in O, the number of outputs"),
    ("linear_weight", dict(g=zeros(2, 3), x=zeros(4, 7)), "differ in N, the number of rows"),
    ("linear_forward", dict(x=zeros(3)), r"x has shape \(3,\); expected \(N, I\)"),
    ("linear_forward", dict(x=zeros(1, 2, 3)), None),
    ("linear_input", dict(w=zeros(4)), None),
    ("linear_weight", dict(x=zeros(2)), None),
    ("cross_entropy_forward", dict(logits=zeros(2)), None),
    ("cross_entropy_forward", dict(labels=places(2, 1, dtype=np.int64)), "one label per row"),
    ("cross_entropy_forward", dict(labels=places(2, value=3, dtype=np.int64)), r"class numbers in \[0, 2\]"),
    ("cross_entropy_backward", dict(labels=places(2, value=-1, dtype=np.int64)), r"class numbers in \[0, 2\]"),
    ("cross_entropy_backward", dict(g=zeros(1)), r"g has shape \(1,\); expected one number per row of the logits, \(2,\)"),
    ("cross_entropy_backward", dict(g=zeros(2, 1)), None),
    ("sgd_update", dict(grad=zeros(3)), r"grad is float32 \(3,\); expected float32 \(5,\)"),
    ("sgd_update", dict(velocity=zeros(3)), None),
    ("sgd_update", dict(velocity=None), None),
    ("adam_update", dict(grad=zeros(3)), r"grad is float32 \(3,\); expected float32 \(5,\)"),
    ("adam_update", dict(m=zeros(3)), None),
    ("adam_update", dict(v=zeros(5, dtype=np.float64)), "v is float64"),
    ("adam_update", dict(step=0), "step is 0; expected at least 1"),
    ("resize", dict(x=zeros(5, 6)), r"x has shape \(5, 6\); expected \(H, W, C\)"),
    ("resize", dict(x=zeros(0, 6, 3)), r"x has shape \(0, 6, 3\); expected at least 1"),
    ("resize", dict(x=zeros(5, 6, 5)), "x has 5 channels; expected 1 to 4"),
    ("resize", dict(size=(0, 4)), r"size is \(0, 4\); expected at least 1"),
    ("resize", dict(method="cubic"), "method is 'cubic'; expected one of nearest, box, bilinear"),
    ("affine", dict(x=zeros(5, 0, 3)), None),
    ("affine", dict(matrix=(1.0, 0.0, np.nan, 0.0, 1.0, 0.0)), "expected finite numbers"),
    ("affine", dict(size=(4, -1)), None),
    ("affine", dict(method="lanczos"), "method is 'lanczos'; expected one of nearest, bilinear, bicubic"),
    ("integral", dict(x=zeros(5, 6, 3)), None),
    ("integral_tilted", dict(x=zeros(5)), None),
    ("hog_cells", dict(image=zeros(9, 12)), r"image has shape \(9, 12\); expected \(H, W, C\)"),
    ("hog_cells", dict(image=zeros(9, 12, 0)), "expected at least one channel"),
    ("hog_cells", dict(pixels_per_cell=(0, 3)), r"pixels_per_cell is \(0, 3\); expected at least 1"),
    ("hog_cells", dict(orientations=0), "orientations is 0; expected at least 1"),
    ("hog_votes", dict(image=zeros(9, 12)), None),
    ("hog_votes", dict(window_rows=zeros(7)), r"window_rows has shape \(7,\); .*a multiple of pixels_per_cell"),
    ("hog_votes", dict(window_columns=zeros(0)), None),
    ("hog_votes", dict(window_columns=zeros(6, 1)), None),
    ("hog_votes", dict(block_stride=(0, 1)), r"block_stride is \(0, 1\); expected at least 1"),
    ("hog_votes", dict(start=(0, -1)), r"start is \(0, -1\); expected at least 0"),
    ("hog_blocks", dict(cells=zeros(4, 5)), None),
    ("hog_blocks", dict(cells=zeros(2, 5, 3)), r"cells has shape \(2, 5, 3\); expected at least one block of \(3, 2\)"),
    ("hog_scores", dict(far=(5, 1)), r"expected the same L, and blocks enough for one window, at least \(11, 2\)"),
    ("hog_scores", dict(blocks=zeros(9, 8, 5)), "expected the same L"), ("hog_scores", dict(weights=zeros(0, 2, 6)), None),
    ("hog_scores", dict(apart=(0, 1)), r"apart is \(0, 1\); expected at least 1"),
    ("hog_blocks", dict(norm="L3"), "norm is 'L3'; expected one of L1, L1-sqrt, L2, L2-Hys, OpenCV"),
]
for op in ("cascade_haar", "cascade_lbp"):
    good = FITTING[op]["trees"]
    for changed, message in (
        (dict(nodes=good.nodes[:, :2]), r"nodes has shape \(3, 2\); expected \(3, 3\)"),
        (dict(leaves=good.leaves[:4]), "children that are neither leaves nor nodes further on"),
        (dict(nodes=good.nodes * [[0, 1, 1]]), "neither leaves nor nodes further on"),               # node 0 is its own child
        (dict(nodes=good.nodes + np.array([[1, 0, 0], [0, 0, 0], [0, 0, 0]])), "further on in the same tree"),
        (dict(nodes=good.nodes + [[0, 0, 2]]), "features 2 to 3; expected 0 to 1"),
        (dict(nodes=good.nodes - [[0, 0, 1]]), "features -1 to 0; expected 0 to 1"),
        (dict(roots=good.roots + 1), "roots are"), (dict(roots=good.roots * 2), "roots are"),
        (dict(stages=good.stages[:2]), "stages has shape"), (dict(stages=good.stages * 2), "stages are"),
        (dict(stage_thresholds=zeros(3)), "stage"), (dict(thresholds=zeros(2)), "thresholds has shape"),
    ):
        changed = {name: array.astype(getattr(good, name).dtype) for name, array in changed.items()}
        WRONG.append((op, dict(trees=good._replace(**changed)), message))
    WRONG += [
        (op, dict(rows=4), r"rows is 4; expected 0 to 3"), (op, dict(rows=-1), "rows is -1"), (op, dict(step=3), "step is 3"),
        (op, dict(size=(2, 6)), r"size is \(2, 6\); expected at least 3"), (op, dict(size=(5, 3)), "leave the window"),
        (op, dict(sums=places(11, 12)), None), (op, dict(sums=places(3, 11, 12)), None)]
WRONG += [
    ("shrink_exact", dict(image=places(5, 6, 3, 1, dtype=np.uint8)), r"expected \(H, W\)"),
    ("shrink_exact", dict(image=places(5, 6, 0, dtype=np.uint8)), "at least one pixel"),
    ("shrink_exact", dict(image=places(0, 6, dtype=np.uint8)), "at least one pixel"), ("shrink_exact", dict(size=(0, 1)), None),
    ("window_sums", dict(image=places(6, dtype=np.uint8)), r"expected \(H, W\)"),
    ("cascade_haar", dict(squares=places(11, 11)), r"squares has shape \(11, 11\); expected \(11, 12\)"),
    ("cascade_haar", dict(sums=places(1, 11, 12)), "the second tilted"),
    ("cascade_haar", dict(features=HAAR._replace(weights=zeros(2, 2))), "features have shapes"),
    ("cascade_haar", dict(features=HAAR._replace(rects=HAAR.rects + 3)), "leave the window"),
    ("cascade_haar", dict(features=HAAR._replace(rects=-HAAR.rects)), "leave the window"),
    ("cascade_lbp", dict(features=LBP(places(2, 3))), r"rects has shape \(2, 3\)"),
    ("cascade_lbp", dict(features=LBP(places(2, 4, value=3))), "leave the window"),
]
for op, arguments in FITTING.items():
    for name, least in (("kernel_size", 1), ("stride", 1), ("dilation", 1), ("padding", 0)):
        if name in arguments:
            WRONG += [(op, {name: pair}, rf"{name} is \({pair[0]}.*at least {least}") for pair in ((least - 1, 1), (1, -3))]
    if "kernel_size" in arguments:
        WRONG += [(op, dict(padding=pair), r"more than half of kernel_size \(2, 3\)") for pair in ((2, 1), (0, 2))]
    if "groups" in arguments:
        WRONG += [(op, dict(groups=groups), f"groups is {groups}; expected a divisor") for groups in (0, -2, 3)]

WRONG_TYPES = [
    ("shrink_exact", dict(image=zeros(5, 6)), "image is float32; expected uint8"),
    ("shrink_exact", dict(size=[4, 9]), "expected a tuple of two whole numbers"),
    ("window_sums", dict(image=zeros(5, 6)), "image is float32; expected uint8"),
    ("window_sums", dict(tilted=1), "tilted is 1; expected True or False"),
    ("cascade_haar", dict(sums=zeros(2, 11, 12)), "sums is float32; expected int32"),
    ("cascade_haar", dict(features=tuple(HAAR)), "features is of type tuple; expected Haar"),
    ("cascade_haar", dict(trees=tuple(STUMPS)), "trees is of type tuple; expected Trees"),
    ("cascade_haar", dict(trees=STUMPS._replace(leaves=zeros(5, dtype=np.float64))), "leaves is float64; expected float32"),
    ("cascade_haar", dict(step=2.0), "step is 2.0; expected a whole number"),
    ("cascade_lbp", dict(features=HAAR), "features is of type Haar; expected LBP"),
    ("cascade_lbp", dict(rows=None), "rows is None; expected a whole number"),
    ("max_pool2d_backward", dict(index=places(2, 4, 3, 3, dtype=np.int64)), "index is int64; expected int32"),
    ("cross_entropy_forward", dict(labels=zeros(2)), "labels are float32; expected int64"),
    ("cross_entropy_backward", dict(labels=places(2)), "labels are int32; expected int64"),
    ("avg_pool2d_forward", dict(divisor=2.5), None),
    ("batch_norm_forward", dict(eps="x"), "eps is 'x'; expected a number"),
    ("batch_norm_backward", dict(eps=None), "eps is None; expected a number"),
    ("sgd_update", dict(lr="0.1"), "lr is '0.1'; expected a number"),
    ("sgd_update", dict(momentum=None), None),
    ("adam_update", dict(beta1="0.9"), "beta1 is '0.9'; expected a number"),
    ("adam_update", dict(step=1.5), "step is 1.5; expected a whole number"),
    ("sgd_update", dict(first=1), "first is 1; expected True or False"),
    ("resize", dict(size=[4, 9]), "size is .*expected a tuple of two whole numbers"),
    ("resize", dict(antialias=1), "antialias is 1; expected True or False"),
    ("resize", dict(x=zeros(5, 6, 3, dtype=np.int32)), "x is int32; expected uint8 or floats"),
    ("affine", dict(matrix=(1.0, 0.0)), "expected a tuple of six numbers"),
    ("affine", dict(matrix=(1.0, 0.0, "x", 0.0, 1.0, 0.0)), "matrix is 'x'; expected a number"),
    ("integral", dict(squared=0), "squared is 0; expected True or False"),
    ("hog_cells", dict(orientations=2.5), "orientations is 2.5; expected a whole number"),
    ("hog_cells", dict(pixels_per_cell=4), "pixels_per_cell is 4; expected a tuple of two whole numbers"),
    ("hog_votes", dict(signed=0), "signed is 0; expected True or False"),
    ("hog_votes", dict(polynomial=None), "polynomial is None; expected True or False"),
    ("hog_blocks", dict(norm=None), "norm is None; expected one of"),
]
for op, arguments in FITTING.items():
    arrays = [name for name, value in arguments.items() if isinstance(value, np.ndarray)]
    floats = [name for name in arrays if arguments[name].dtype.kind == "f"]
    for name in arrays:
        for wrong in (arguments[name].tolist(), 1.0, "x"):
            WRONG_TYPES.append((op, {name: wrong}, f"{name} is of type {type(wrong).__name__}; expected a NumPy"))
    if op not in ("sgd_update", "adam_update"):     # which have their own check, of shape and dtype together: below
        for name in floats[1:]:
            mixed = arguments[name].astype(np.float64)
            WRONG_TYPES.append((op, {name: mixed}, f"{floats[0]} is float32 and {name} float64; expected the same"))
    else:
        WRONG.append((op, dict(grad=zeros(5, dtype=np.float64)), "grad is float64"))
    if floats:
        WRONG_TYPES.append((op, {name: arguments[name].astype(complex) for name in floats}, f"{floats[0]} is complex128"))
    for name in ("kernel_size", "stride", "dilation", "padding"):
        if name in arguments:
            for value in (1, [1, 1], (1,), (1.0, 1), (True, 1), "11"):
                WRONG_TYPES.append((op, {name: value}, f"{name} is .*expected a tuple of two whole numbers"))
    for name in ("shape", "groups", "ceil_mode", "count_include_pad"):
        if name in arguments:
            WRONG_TYPES += [(op, {name: value}, f"{name} is ") for value in (None, 2.0, [1, 2, 3, 4])]


def with_every_rung(wrong):
    found = []
    for op, change, message in wrong:
        what = " ".join(f"{n}={_short(v)}" for n, v in change.items())
        for rung in oracle.rungs(op):
            found.append(pytest.param(rung, change, message or "|".join(change), id=f"{op} {rung.name}: {what}"))
    return found


def skip_unless_accepted(rung, *args):
    """Winograd's convolution has one kind of window; ``test_conv_winograd.py`` has its cases."""
    if rung.accepts is not None and not rung.accepts(*args):
        pytest.skip("not for this rung")


def _short(value):
    return f"{value.dtype}{value.shape}" if isinstance(value, np.ndarray) else repr(value)


@pytest.mark.parametrize(("rung", "change", "message"), with_every_rung(WRONG))
def test_what_does_not_fit_is_a_value_error(rung, change, message):
    with pytest.raises(ValueError, match=message):
        rung(**{**FITTING[rung.op], **change})


@pytest.mark.parametrize(("rung", "change", "message"), with_every_rung(WRONG_TYPES))
def test_what_can_never_fit_is_a_type_error(rung, change, message):
    with pytest.raises(TypeError, match=message) as caught:
        rung(**{**FITTING[rung.op], **change})
    assert str(caught.value).startswith(rung.op + ": ")


@pytest.mark.parametrize("rung", oracle.rungs(), ids=str)
def test_what_fits_passes(rung):
    fitting = FITTING[rung.op]
    skip_unless_accepted(rung, *fitting.values())
    before = {name: value.copy() for name, value in fitting.items() if isinstance(value, np.ndarray)}
    rung(**fitting)
    rung(*fitting.values())
    doubled = {n: v.astype(np.float64) if getattr(v, "dtype", None) == np.float32 else v for n, v in fitting.items()}
    rung(**doubled)
    for name, value in before.items():
        np.testing.assert_array_equal(fitting[name], value)


@pytest.mark.parametrize("rung", oracle.rungs(), ids=str)
def test_missing_and_unknown_arguments(rung):
    with pytest.raises(TypeError, match=rf"{rung.op}\(\) missing .* required positional argument"):
        rung()
    with pytest.raises(TypeError, match="unexpected keyword argument 'strides'"):
        rung(**FITTING[rung.op], strides=(1, 1))


@pytest.mark.parametrize("rung", oracle.rungs(), ids=str)
def test_a_check_has_the_signature_of_its_rungs(rung):
    names = lambda function: list(inspect.signature(function).parameters)
    assert names(getattr(checks, rung.op)) == [name for name in names(rung.function) if name != "finish"]    # of `run_finished`


def test_arrays_of_two_libraries():
    Array = type("ndarray", (), {"__module__": "cupy", "dtype": np.dtype(np.float32), "shape": (2, 3)})
    with pytest.raises(TypeError, match="w is a cupy array, others are numpy; expected all on one device"):
        mk.ladder("linear_forward")[0](zeros(2, 3), Array())


# ---- sizes on the edge of what fits

@pytest.mark.parametrize("rung", oracle.rungs("conv2d_input", "conv2d_weight"), ids=str)
def test_transposed_convolution_may_leave_room_for_more_windows(rung):
    """Dilation 3 over stride 1 admits images up to 2 pixels too large for g, as output_padding makes them."""
    geometry = (1, 1), (0, 0), (3, 3), 1
    rng = np.random.default_rng(0)
    g, w, x = rng.standard_normal((1, 4, 2, 3)), rng.standard_normal((4, 4, 2, 2)), rng.standard_normal((1, 4, 7, 7))
    args = (g, w, x.shape) if rung.op == "conv2d_input" else (x, g, w.shape)
    skip_unless_accepted(rung, *args, *geometry)
    walled = [oracle.guarded(a) if isinstance(a, np.ndarray) else a for a in args]
    np.testing.assert_allclose(rung(*walled, *geometry), getattr(oracle, rung.op)(*args, *geometry), atol=1e-12)
    larger = np.zeros((1, 4, 8, 7))
    args = (g, w, larger.shape) if rung.op == "conv2d_input" else (larger, g, w.shape)
    with pytest.raises(ValueError, match=r"g has shape \(1, 4, 2, 3\); expected \(1, 4, 5, 4\)"):
        rung(*args, *geometry)


def test_conv_output_fits():
    for size in range(1, 12):
        for k, s, p, d in np.ndindex(3, 3, 3, 4):
            k, s, d = k + 1, s + 1, d + 1
            most = conv_output_size((size, 9), (k, 1), (s, 1), (p, 0), (d, 1))[0]
            fitting = {
                out for out in range(1, 20) for extra in range(max(s, d))           # the formula of ConvTranspose2d
                if size == (out - 1) * s - 2 * p + d * (k - 1) + extra + 1}
            got = {out for out in range(20) if conv_output_fits((out, 9), (size, 9), (k, 1), (s, 1), (p, 0), (d, 1))}
            assert got == fitting | {most}


@pytest.mark.parametrize("rung", oracle.rungs("max_pool2d_forward", "avg_pool2d_forward"), ids=str)
@pytest.mark.parametrize("size", [(0, 3), (3, 0), (0, 0)])
def test_pooling_of_images_without_pixels(rung, size):
    x, window = np.zeros((2, 3, *size)), ((2, 2), (1, 2), (1, 1))
    options = (*window, (1, 1), False) if rung.op == "max_pool2d_forward" else (*window, False, False, None)
    got, expected = rung(oracle.guarded(x), *options), getattr(oracle, rung.op)(x, *options)
    for a, b in zip(got, expected):             # y and index; or the images of y
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("rung", oracle.rungs("conv2d_forward", "conv2d_input", "conv2d_weight"), ids=str)
def test_convolution_of_images_without_pixels(rung):
    x, w, g = zeros(2, 3, 0, 4), np.ones((5, 3, 2, 2), np.float32), np.ones((2, 5, 1, 5), np.float32)
    args = {"conv2d_forward": (x, w), "conv2d_input": (g, w, x.shape), "conv2d_weight": (x, g, w.shape)}[rung.op]
    geometry = (1, 1), (1, 1), (1, 1), 1
    skip_unless_accepted(rung, *args, *geometry)
    got = rung(*args, *geometry)
    assert got.shape == {"conv2d_forward": g, "conv2d_input": x, "conv2d_weight": w}[rung.op].shape
    assert not got.any()


# ---- best, run and the number of threads

@pytest.mark.parametrize("call", [mk.best, mk.run])
def test_best_wants_an_array_first(call):
    for args, got in (((), "none"), (([1.0, 2.0],), "one of type list"), ((2.0,), "one of type float"), ((None,), "none")):
        with pytest.raises(TypeError, match=f"relu_forward takes NumPy or CuPy arrays.* by position; got {got}"):
            call("relu_forward", *args)
    with pytest.raises(TypeError, match="by position"):
        call("relu_forward", x=zeros(3))
    with pytest.raises(mk.UnknownOperation):
        call("relu_foward", [1.0])


def test_best_says_what_the_operation_takes():
    with pytest.raises(TypeError, match=r"conv2d_forward\(x.*cannot be called with float32 \(1, 1, 3, 3\), \[1, 2\]"):
        mk.best("conv2d_forward", zeros(1, 1, 3, 3), [1, 2])


def test_best_then_called_checks():
    x, w = zeros(2, 3), zeros(4, 7)
    with pytest.raises(ValueError, match="differ in I"):
        mk.best("linear_forward", x, w)(x, w)


@pytest.mark.parametrize("wrong", [1.0, 1.5, True, "1", None, [1]])
def test_the_number_of_threads_is_a_whole_number(wrong):
    before = mk.get_num_threads()
    with pytest.raises(TypeError, match="expected a whole number of threads"):
        mk.set_num_threads(wrong)
    assert mk.get_num_threads() == before
    mk.set_num_threads(np.int64(before))
