"""Load a picture and turn it: every pixel of the result asks where it came from.

A turn moves pixels to places between the pixels. So it is reckoned backwards: for each pixel of the result, the place in
the picture it came from, and then the nearest pixel there, or a mixture of its 4 or 16 neighbours. Turned twelve times by
30 degrees, a picture should be itself again; what is lost on the way tells the methods apart.

    python examples/10_load_and_rotate.py                  with a sample photograph
    python examples/10_load_and_rotate.py photo.jpg        with your own
"""

import sys

import numpy as np

from minivision import pictures, vision

METHODS = ("nearest", "bilinear", "bicubic")


def main() -> None:
    photo = vision.imread(sys.argv[1], "rgb") if len(sys.argv) > 1 else vision.sample("chelsea")
    print(f"{photo.shape[1]} x {photo.shape[0]} pixels, {photo.dtype}")

    side = min(photo.shape[:2])
    top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
    square = vision.resize(photo[top:top + side, left:left + side], 256)
    y, x = np.mgrid[:256, :256] - 127.5
    seen = np.hypot(x, y) < 120                     # the part that no turn moves out of the picture
    turned = {}
    for method in METHODS:
        image = square.astype(np.float32)           # bytes would be cut twelve times, and lose six levels by that alone
        for _ in range(12):
            image = vision.rotate(image, 30, method)
        off = np.abs(image[seen] - square[seen]).mean()
        print(f"twelve turns by 30 degrees, {method:<8}: off by {off:4.1f} of 255 levels")
        turned[method] = np.where(seen[..., None], np.clip(image, 0, 255), 255).astype(np.uint8)

    path = pictures.output_folder() / "10_load_and_rotate.png"
    with pictures.page(path, 12, 7.4, "Load and rotate", "counter-clockwise about the centre") as figure:
        H, W = photo.shape[:2]
        shown = [("as loaded", photo), ("30 degrees", vision.rotate(photo, 30, "bicubic")),
                 ("30 degrees, expand=True", vision.rotate(photo, 30, "bicubic", expand=True))]
        for one, (name, image) in zip(pictures.rows_of(figure, (0.03, 0.47, 0.94, 0.41), 3, 3, 0.06, 0.1, W / H), shown):
            pictures.show(one, image)
            one.set_xlabel(name, labelpad=4)
        pictures.caption(figure, 0.03, 0.415, "Twelve turns by 30 degrees later",
                         "nearest keeps pixels but misplaces them; bilinear takes means, and blurs; this bicubic sharpens a "
                         "little more each time")
        after = [("before", np.where(seen[..., None], square, 255).astype(np.uint8)), *turned.items()]
        for one, (name, image) in zip(pictures.rows_of(figure, (0.03, 0.02, 0.94, 0.375), 4, 4, 0.06, 0.12), after):
            pictures.show(one, image)
            one.set_xlabel(name, labelpad=4)
    print(f"\n{path}")


if __name__ == "__main__":
    main()
