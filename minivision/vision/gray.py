"""From colour to grey: three conventions that differ in their weights and in how they round.

The eye is most sensitive to green and least to blue, so the three channels are weighted. The older weights belong to the
phosphors of early colour television (ITU-R BT.601), the newer ones to today's screens (BT.709).
"""

from __future__ import annotations

import numpy as np

from . import checks

# Weights of red, green and blue, as the libraries spell them. As whole numbers they are the share times 2^16 and 2^15.
WHOLE = {"pillow": ((19595, 38470, 7471), 16), "opencv": ((9798, 19235, 3735), 15)}
SHARES = {"pillow": (0.299, 0.587, 0.114), "opencv": (0.299, 0.587, 0.114), "bt709": (0.2125, 0.7154, 0.0721)}


def to_gray(image: np.ndarray, weights: str = "pillow") -> np.ndarray:
    """The brightness of a colour image; a grey image is returned as it is (a copy).

    weights      for uint8                                            for floats
    "pillow"     (19595 R + 38470 G + 7471 B + 2^15) >> 16            0.299 R + 0.587 G + 0.114 B
    "opencv"     (9798 R + 19235 G + 3735 B + 2^14) >> 15             the same
    "bt709"      255 times scikit-image's result, rounded             0.2125 R + 0.7154 G + 0.0721 B

    "pillow" equals ``Image.convert("L")`` and "opencv" OpenCV 4's ``cvtColor(image, COLOR_RGB2GRAY)``; both mean BT.601, and
    differ by one level in about one pixel of a thousand. "bt709" of floats equals ``skimage.color.rgb2gray``.

    Args:
        image: H x W x 3 or H x W, uint8 or float.

    Returns:
        H x W, of the dtype of the image.

    Raises:
        TypeError, ValueError: it is no image, or ``weights`` is unknown.
    """
    checks.image(image, "to_gray")
    checks.chosen(weights, tuple(SHARES), "to_gray", "weights")
    if image.ndim == 2:
        return image.copy()
    if image.dtype == np.uint8 and weights in WHOLE:
        (r, g, b), bits = WHOLE[weights]
        wide = image.astype(np.uint32)
        return ((r * wide[..., 0] + g * wide[..., 1] + b * wide[..., 2] + (1 << bits - 1)) >> bits).astype(np.uint8)
    red, green, blue = np.array(SHARES[weights], np.float64 if image.dtype == np.uint8 else image.dtype)
    gray = red * image[..., 0] + green * image[..., 1] + blue * image[..., 2]
    return np.rint(gray).astype(np.uint8) if image.dtype == np.uint8 else gray
