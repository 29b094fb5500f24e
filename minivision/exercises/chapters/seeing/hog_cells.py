"""Histograms of gradients: seeing before learning.

For ten years before deep networks, the best detectors of people looked at edges. Not at where exactly they are, which changes
with every coat, but at which directions there are in each small cell of the image (Dalal and Triggs 2005). With a linear
classifier on top, this was in cameras and cars. The first layer of a trained network computes something very similar.

1. Gradient: down[y, x] = I[y + 1, x] - I[y - 1, x], right[y, x] = I[y, x + 1] - I[y, x - 1]; 0 in the image's first and last
   row (for down) or column (for right), where a neighbour is missing.
2. Magnitude sqrt(right^2 + down^2), angle arctan2(down, right) in degrees, modulo 180: a dark line on white and a white line on
   dark are the same to it.
3. Each cell of 8 x 8 pixels has 9 bins of 20 degrees, bin o for angles from 20 o up to 20 (o + 1), not included. Each pixel
   adds its magnitude to one bin of its cell. The cell's sums are divided by its 64 pixels.

That is how scikit-image computes its cells. (The paper shares each vote between neighbouring bins and cells; OpenCV does,
too. Whoever mixes features of one library with a classifier of another gets a detector that is a little wrong.) Pixels right
and below of the last whole cell belong to none and vote nowhere.

Write `hog_cells`: image is (H, W), floats; return (H // 8, W // 8, 9).
"""

import numpy as np


def hog_cells(image):
    #: stub
    # TODO: gradient, magnitude and angle, votes.
    raise NotImplementedError("hog_cells returns histograms of shape (H // 8, W // 8, 9)")
    #: solution
    down, right = np.zeros(image.shape), np.zeros(image.shape)
    down[1:-1] = image[2:] - image[:-2]
    right[:, 1:-1] = image[:, 2:] - image[:, :-2]
    magnitude = np.hypot(right, down)
    angle = np.rad2deg(np.arctan2(down, right)) % 180
    bins = (angle // 20).astype(int)
    rows, columns = image.shape[0] // 8, image.shape[1] // 8
    cells = np.zeros((rows, columns, 9))
    for i in range(rows):
        for j in range(columns):
            here = slice(8 * i, 8 * i + 8), slice(8 * j, 8 * j + 8)
            for o in range(9):
                cells[i, j, o] = magnitude[here][bins[here] == o].sum() / 64
    return cells
    #: end
