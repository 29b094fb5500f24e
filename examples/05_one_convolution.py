"""One convolution, looked at closely: a 32 x 32 x 3 image, six 5 x 5 x 3 filters, six 28 x 28 maps.

A filter is a small template. It is laid on every place of the image, and at each the 75 numbers below it are
multiplied by its own and added up: how much does this spot look like me? The answers form a map. A 5 x 5 window fits
into 32 pixels in 32 - 5 + 1 = 28 places, hence 28 x 28. Compared with a linear layer, the weights are few and used
again everywhere: an edge is an edge, wherever it is. Here the filters are made by hand; a network finds its own
(example 06).
"""

import numpy as np

import minivision as mv
from minivision import pictures


def landscape() -> np.ndarray:
    """A small picture of sun, hills and a house, float32 (3, 32, 32) in [0, 1], painted with formulas."""
    y, x = np.mgrid[0:32, 0:32] + 0.5
    image = np.stack([0.45 + 0.010 * y, 0.65 + 0.007 * y, 0.95 - 0.004 * y])             # the sky, paler below

    def paint(where: np.ndarray, colour: tuple[float, float, float]) -> None:
        image[:, where] = np.array(colour)[:, None]

    paint((x - 7) ** 2 + (y - 7) ** 2 < 14, (1.0, 0.85, 0.25))
    paint(y > 19 + 3 * np.sin(x / 5 + 1), (0.30, 0.55, 0.30))
    paint(y > 25 + 1.5 * np.sin(x / 7 - 1), (0.20, 0.42, 0.22))
    paint((abs(x - 22) < 5) & (abs(y - 21) < 4), (0.93, 0.90, 0.84))
    paint((y > 11) & (y < 17.5) & (abs(x - 22) < (y - 11)), (0.75, 0.22, 0.17))
    paint((abs(x - 22) < 1.2) & (y > 20) & (y < 25), (0.35, 0.22, 0.15))
    return image.astype(np.float32)


def filters() -> dict[str, np.ndarray]:
    """Six filters of 3 x 5 x 5."""
    y, x = np.mgrid[-2:3, -2:3]
    bell = np.exp(-(x ** 2 + y ** 2) / 2)
    blob = bell / bell.sum() - np.exp(-(x ** 2 + y ** 2) / 8) / np.exp(-(x ** 2 + y ** 2) / 8).sum()
    grey, red, yellow = np.full(3, 1 / 3), np.array([1, -0.5, -0.5]), np.array([0.5, 0.5, -1])
    spatial = {"upright edges": (x * bell, grey), "level edges": (y * bell, grey),
               "slanted edges": ((x + y) * bell, grey), "blobs": (blob, grey),
               "red, nothing else": (bell, red), "yellow, not blue": (bell, yellow)}
    return {name: (colour[:, None, None] * shape / np.abs(shape).sum()).astype(np.float32)
            for name, (shape, colour) in spatial.items()}


def main() -> None:
    image, named = landscape(), filters()
    x = mv.Tensor(image[None])                                  # (N, C, H, W) = (1, 3, 32, 32)
    w = mv.Tensor(np.stack(list(named.values())))               # (F, C, KH, KW) = (6, 3, 5, 5)
    y = mv.functional.conv2d(x, w)                              # (N, F, OH, OW) = (1, 6, 28, 28)
    print(f"image    {x.shape}   N images, C channels, H x W pixels")
    print(f"filters  {w.shape}    F filters, C channels, KH x KW window")
    print(f"maps     {y.shape}   OH = H - KH + 1, OW = W - KW + 1")
    spot = (image[:, 10:15, 20:25] * w.data[4]).sum()
    print(f"\nthe map of {list(named)[4]!r} at row 10, column 20: {y.data[0, 4, 10, 20]:.6f}")
    print(f"75 pixels times 75 weights, added up by hand:            {spot:.6f}")

    path = pictures.output_folder() / "05_one_convolution.png"
    with pictures.page(path, 12, 5.1, "One convolution",
                       "an image of 32 x 32 x 3, six filters of 5 x 5 x 3, six maps of 28 x 28") as figure:
        pictures.caption(figure, 0.025, 0.75, "The image")
        pictures.show(figure.add_axes((0.025, 0.75 - 3.1 / 5.1, 3.1 / 12, 3.1 / 5.1)), image)
        pictures.caption(figure, 0.33, 0.75, "The filters", "grey is no weight; a colour, what the filter likes there")
        pictures.caption(figure, 0.33, 0.37, "Their maps",
                         "blue where it found it, red where the opposite, white where neither")
        above = pictures.rows_of(figure, (0.33, 0.5, 0.645, 0.25), 6, 6, 0.12)
        below = pictures.rows_of(figure, (0.33, 0.12, 0.645, 0.25), 6, 6, 0.12)
        for (name, one), answers, axes_above, axes_below in zip(named.items(), y.data[0], above, below):
            pictures.show_weights(axes_above, one)
            pictures.show_weights(axes_below, answers)
            axes_below.set_xlabel(name, fontsize=9, labelpad=4)
    print(path)


if __name__ == "__main__":
    main()
