"""The cases that `record_images.py` records and `test_golden_images.py` checks."""

import numpy as np

METHODS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
ROTATIONS = ("nearest", "bilinear", "bicubic")
SIZES = ((11, 9), (50, 61), (31, 8), (7, 47), (33, 70))          # of a picture of 37 x 29
ANGLES = (17.0, -45.0, 90.0, 200.0)


def picture(channels):
    """Smooth here and noisy there, 37 x 29; by arithmetic alone, so that it is the same for every version of NumPy."""
    y, x, c = np.mgrid[:37, :29, :channels]
    smooth = 128 + (x * y * (3 + c)) // 11 - 4 * y
    noise = (x * 7919 + y * 104729 + c * 1299709 + x * y * 31) % 251
    image = np.clip(np.where(x + c < 15, smooth, noise), 0, 255).astype(np.uint8)
    return image[..., 0] if channels == 1 else image
