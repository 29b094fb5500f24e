"""An image is an array, and an array is a function: f(x, y) is how bright it is at column x and row y.

A grey image is a table of numbers. Drawn as heights over the plane they make a landscape, whose steep places are the edges
that convolutions look for (example 05). A colour image is three such tables, one for each of red, green and blue; its
brightness is a weighted sum of them.
"""

import numpy as np

from minivision import pictures, vision

PATCH = slice(96, 104), slice(206, 216)             # rows and columns of the numbers that are printed


def main() -> None:
    photo = vision.sample("astronaut")              # H x W x 3, uint8
    gray = vision.to_gray(photo)                    # H x W, uint8
    print(f"the photo is an array of shape {photo.shape}, {photo.dtype}, from {photo.min()} to {photo.max()}")
    print(f"its grey image is an array of shape {gray.shape}; rows {PATCH[0].start} to {PATCH[0].stop - 1} of columns "
          f"{PATCH[1].start} to {PATCH[1].stop - 1}, at the edge of the eye:")
    for row in gray[PATCH]:
        print("  " + " ".join(f"{value:3d}" for value in row))

    small = vision.resize(gray, 128).astype(float)  # fewer points are easier to see
    y, x = np.mgrid[:128, :128]

    path = pictures.output_folder() / "07_image_as_function.png"
    with pictures.page(path, 12, 8.2, "An image is a function f(x, y)",
                       "brightness as height over the plane; and the three tables that make a colour image") as figure:
        pictures.caption(figure, 0.03, 0.84, "The array f, 512 x 512", "0 is black, 255 is white")
        pictures.show(figure.add_axes((0.03, 0.40, 0.29, 0.425)), gray, limits=(0, 255))

        surface = figure.add_axes((0.33, 0.37, 0.66, 0.56), projection="3d")
        surface.plot_surface(x, y, small, facecolors=np.repeat(small[..., None] / 255, 3, 2), rstride=1, cstride=1,
                             linewidth=0, antialiased=False, shade=False)
        surface.set(xlabel="x", ylabel="y", zlabel="f(x, y)", zlim=(0, 255), xlim=(0, 127), ylim=(127, 0))
        surface.view_init(elev=62, azim=-78)
        surface.set_box_aspect((1, 1, 0.35), zoom=1.1)

        pictures.caption(figure, 0.03, 0.335, "Three channels, and what they make", "grey is 0.30 red + 0.59 green + 0.11 blue")
        shown = [("the photo", photo)]
        for k, name in enumerate(("red", "green", "blue")):
            tinted = np.zeros_like(photo)
            tinted[..., k] = photo[..., k]
            shown.append((f"{name}: f[..., {k}]", tinted))
        shown.append(("grey: their weighted sum", gray))
        for axes, (name, image) in zip(pictures.rows_of(figure, (0.03, 0.03, 0.94, 0.28), 5, 5, 0.06, 0.12), shown):
            pictures.show(axes, image, limits=(0, 255))
            axes.set_xlabel(name, labelpad=4)
    print(f"\n{path}")


if __name__ == "__main__":
    main()
