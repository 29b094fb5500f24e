"""Images as arrays: read and write, grey, sample, quantise, resize, rotate, integrate, draw.

An image is a NumPy array H x W (grey) or H x W x 3 (red, green, blue), row 0 at the top. Its numbers are uint8, 0..255, or
floats, usually 0..1. What goes in as uint8 comes out as uint8, floats stay floats, and no function changes their range.
Every function returns a new array and leaves its argument alone.

    image = vision.imread("photo.jpg")
    vision.imwrite("small.png", vision.resize(vision.to_gray(image), (120, 160)))

Sizes are (height, width), as in ``array.shape``; boxes are x, y, width, height, as in OpenCV.
"""

from .boxes import iou, nms, sliding_windows
from .cascade import CascadeClassifier, find_cascade, installed_cascades
from .cascade_file import CascadeError
from .descriptor import HOGDescriptor
from .draw import draw_boxes
from .files import ImageError, imread, imwrite
from .gray import to_gray
from .grouping import group_rectangles
from .hog import hog, hog_image
from .integral import integral_image
from .resample import quantize, replicate, resize, rotate, subsample
from .sample import sample

__all__ = [
    "CascadeClassifier", "CascadeError", "HOGDescriptor", "ImageError", "draw_boxes", "find_cascade", "group_rectangles",
    "hog", "hog_image", "imread", "imwrite", "installed_cascades", "integral_image", "iou", "nms", "quantize", "replicate",
    "resize", "rotate", "sample", "sliding_windows", "subsample", "to_gray",
]
