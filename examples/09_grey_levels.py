"""Grey levels: how many different values does a pixel need?

Eight bits per pixel make 256 levels, and each step takes one bit away: 256 -> 128 -> ... -> 2. Down to some 32 levels hardly
anything is seen; then smooth surfaces break into bands with false contours between them, and with one bit per pixel only
black and white are left.
"""

import numpy as np

from minivision import pictures, vision

BITS = (8, 7, 6, 5, 4, 3, 2, 1)


def main() -> None:
    photo = vision.sample("camera")
    series = [vision.quantize(photo, bits, "full") for bits in BITS]
    print("bits  levels  difference from 8 bits")
    for bits, image in zip(BITS, series):
        print(f"{bits:4d}  {1 << bits:6d}  {np.abs(image.astype(float) - photo).mean():5.1f} grey levels")

    path = pictures.output_folder() / "09_grey_levels.png"
    with pictures.page(path, 10.3, 8.3, "Grey levels: 256, 128, ... 2",
                       "one bit less per pixel in each picture; the curves are the numbers along the white line") as figure:
        row = 260
        axes = pictures.rows_of(figure, (0.03, 0.265, 0.94, 0.62), 8, 4, 0.05, 0.1)
        for one, bits, image in zip(axes, BITS, series):
            pictures.show(one, image, limits=(0, 255))
            one.axhline(row, color="white", linewidth=0.7)
            one.set_xlabel(f"{bits} bit{'s' * (bits > 1)}, {1 << bits} levels", labelpad=4)
        pictures.caption(figure, 0.03, 0.195, "Along the line", "columns 0 to 511 of row 260: 256, 8 and 2 levels")
        for k, (bits, colour) in enumerate(((8, pictures.BLUE), (3, pictures.GREEN), (1, pictures.ORANGE))):
            curve = figure.add_axes((0.05 + 0.315 * k, 0.045, 0.275, 0.125))
            curve.plot(series[BITS.index(bits)][row], color=colour, linewidth=0.9)
            curve.set(xlim=(0, 511), ylim=(-8, 263), xticks=(0, 256, 511), yticks=(0, 128, 255))
    print(f"\n{path}")


if __name__ == "__main__":
    main()
