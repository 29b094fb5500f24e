"""Record what Pillow (13 or later) and OpenCV (4.x) make of the pictures of `image_cases.py`. Run again only for a new case:

    python tests/golden/record_images.py

Writes images.npz beside this file.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
import PIL
from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from image_cases import ANGLES, METHODS, ROTATIONS, SIZES, picture  # noqa: E402
from record import write  # noqa: E402


def answers():
    found = {}
    for channels in (1, 3):
        image = picture(channels)
        pillow = Image.fromarray(image)
        for method in METHODS:
            for size in SIZES:
                resized = pillow.resize(size[::-1], Image.Resampling[method.upper()])
                found[f"resize|{channels}|{method}|{size[0]}|{size[1]}"] = np.asarray(resized)
        for method in ROTATIONS:
            for angle in ANGLES:
                for expand in (0, 1):
                    turned = pillow.rotate(angle, Image.Resampling[method.upper()], expand=bool(expand))
                    found[f"rotate|{channels}|{method}|{angle}|{expand}"] = np.asarray(turned)
    found["gray|pillow"] = np.asarray(Image.fromarray(picture(3)).convert("L"))
    found["gray|opencv"] = cv2.cvtColor(picture(3), cv2.COLOR_RGB2GRAY)
    for kind, sums in zip(("plain", "squared", "tilted"), cv2.integral3(picture(1))):
        found[f"integral|{kind}"] = sums.astype(np.int64)
    return found


if __name__ == "__main__":
    write(HERE / "images.npz", answers())
    print(f"recorded with Pillow {PIL.__version__} and OpenCV {cv2.__version__}")
