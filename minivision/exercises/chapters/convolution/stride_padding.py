"""How many windows fit, and which pixels they see.

A window of K pixels slides along a row of L pixels, S pixels at a time. Before it starts, P pixels of padding are laid on
each side, so that windows can be centred on the pixels of the border too. The first window begins at pixel -P, the next
at S - P, the window number o at

    o * S - P

and the last is the last that does not leave the padded row. Counting them gives the formula that everybody looks up,

    OH = (L + 2 P - K) // S + 1

(Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning", relationship 6). The division rounds
down: if the step does not come out even, the last pixels are seen by no window, and their gradient is 0. This is why
networks are fed images of odd-looking sizes, and why two libraries that round differently cannot share weights.

With K odd, S = 1 and P = (K - 1) / 2 the output is as long as the input: "same" padding.

Write both functions. `output_length` counts the windows. `window` says which pixels of the image window number o sees, as
the pair (first, stop) for a slice: pixels first, first + 1, ..., stop - 1. Padding is no pixel, so 0 <= first and
stop <= length. P is less than K, so that every window sees something.
"""


def output_length(length, kernel, stride, padding):
    #: stub
    # TODO: how many windows fit.
    raise NotImplementedError("output_length returns the number of windows")
    #: solution
    return (length + 2 * padding - kernel) // stride + 1
    #: end


def window(o, length, kernel, stride, padding):
    #: stub
    # TODO: (first, stop) of the pixels that window number o sees.
    raise NotImplementedError("window returns the pair (first, stop)")
    #: solution
    start = o * stride - padding
    return max(start, 0), min(start + kernel, length)
    #: end
