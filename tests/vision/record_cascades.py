"""Write cascades.npz: what OpenCV 4 finds with the random cascades of test_cascade.py. Needs opencv-python-headless<5.

    PYTHONPATH=tests/vision python tests/vision/record_cascades.py
"""

import tempfile
from pathlib import Path

import cv2
import numpy as np
from test_cascade import recorded_case


def main() -> None:
    cv2.setNumThreads(1)
    rng, arrays = np.random.default_rng(7), {}
    for number in range(24):
        text, image, factor, neighbors, least, most = recorded_case(rng, number)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "one.xml")
            path.write_text(text)
            boxes, counts = cv2.CascadeClassifier(str(path)).detectMultiScale2(
                image, factor, neighbors, minSize=least, maxSize=most)
        arrays[f"boxes{number}"] = np.array(boxes, np.int32).reshape(-1, 4)
        arrays[f"counts{number}"] = np.array(counts, np.int32).reshape(-1)
    np.savez_compressed(Path(__file__).with_name("cascades.npz"), **arrays)


if __name__ == "__main__":
    main()
