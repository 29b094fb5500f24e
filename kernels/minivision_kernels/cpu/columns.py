"""The columns of a convolution as a matrix product: where outputs lie, what their windows see, and that packed to panels.

Columns are all outputs of all images, one behind the other, so that small images fill panels as well as large ones. What a
vector of a panel holds depends on where its outputs lie:

    neighbours in a line, stride 1      a vector of the image from one place on
    neighbours in a line, stride 2      every second number of two vectors
    outputs in two to four lines        some lanes of one such vector, the next of another, and so on
    anything else                       number by number
"""

from __future__ import annotations

import numpy as np

from minivision_kernels.cpu.compile import helper
from minivision_kernels.cpu.panels import COLUMNS, pack_rows
from minivision_kernels.cpu.simd import entry, every_second, joined, lanes, load, put

LINES = 4                   # of outputs, in which a vector may lie,
READ = 2 * LINES            # and how many numbers say where


@helper
def find_outputs(
    begin, end, OH, OW, skip, image_step, line_step, column_step, to, n_target, h_target, w_target, total, seen, target,
):
    """seen[i] = where the window of output begin + i begins, target[i] = where the output goes, for i below ``total``.

    What is seen begins with line ``skip`` of the first image; the other images are there from line 0 on. From ``end`` on there
    are no outputs: their target is -1.
    """
    n, h, w = 0, begin % (OH * OW) // OW, begin % OW
    for i in range(total):
        if begin + i < end:
            seen[i] = n * image_step + (h - skip) * line_step + w * column_step
            target[i] = to + n * n_target + h * h_target + w * w_target
            w += 1
            if w == OW:
                w = 0
                h += 1
                if h == OH:
                    h = 0
                    n += 1
                    skip = 0
        else:
            seen[i], target[i] = seen[i - 1], -1


@helper
def sort_vectors(seen, target, start, count, read, vectors_, stride, L, size):
    """For each vector of outputs, where its results start and how many of them follow each other (0 if not all do), and how
    what its windows see is to be read, READ numbers:

        in how many lines the outputs lie; 0 if in more than LINES of them
        where a vector begins whose first lanes are those in the first line
        for each other line, from which lane on outputs lie in it, and where a vector would begin of which those are lanes

    Vectors that would end beyond ``size``, or of every third number, which are not worth a word, count as many lines.
    Returns whether any count is 0.
    """
    loose = False
    for v in range(vectors_):
        at, to = v * L, v * READ
        number, lines, last = 0, 1, seen[v * L]
        for line in range(LINES):                           # those that there are not begin behind the last lane
            read[to + 2 * line], read[to + 2 * line + 1] = L, seen[at]
        for i in range(L):
            if target[at + i] >= 0:
                number += 1
                if target[at + i] != target[at] + i:
                    number = -2 * L
            if i > 0 and seen[at + i] != seen[at + i - 1] + stride and lines > 0:
                here = seen[at + i] - i * stride
                last = max(last, here)
                if lines == LINES or here < 0:
                    lines = 0
                else:
                    read[to + 2 * lines], read[to + 2 * lines + 1] = i, here
                    lines += 1
        loose = loose or number < 0
        start[v], count[v] = max(0, target[at]), max(0, number)
        read[to] = 0 if stride > 2 or last + stride * L > size else lines
    return loose


@helper
def pack_seen(source, at, place, terms, seen, read, stride, panels, right):
    """Right panels: right[(p * terms + k) * wide + j] = source[at + place[k] + seen[p * wide + j]].

    ``place`` has SOON entries more than terms. Panels whose vectors lie in one line each are packed together, as far as they
    follow each other: they often are one long run of memory.
    """
    L = lanes(source)
    wide = COLUMNS * L
    begin = np.empty(panels * COLUMNS, np.int64)
    for v in range(panels * COLUMNS):
        begin[v] = seen[v * L]
    p = 0
    while p < panels:
        run = 0
        while stride == 1 and p + run < panels and _lies(read, p + run):
            run += 1
        if run > 0:
            pack_rows(source, at, place, terms, begin[p * COLUMNS:], run, right, p * terms * wide)
            p += run
            continue
        for j in range(COLUMNS):
            v, to = p * COLUMNS + j, p * terms * wide + j * L
            if read[v * READ] == 0:
                for k in range(terms):
                    for i in range(L):
                        right[to + k * wide + i] = entry(source, at + entry(place, k) + entry(seen, v * L + i))
            else:
                pack_torn(source, at, place, terms, read, v * READ, stride, right, to, wide)
        p += 1


@helper
def pack_torn(source, at, place, terms, read, v, stride, right, to, wide):
    """One vector of a panel, of ``wide`` columns, whose outputs lie in up to LINES lines. All its masks stay in registers."""
    many = read[v] > 2
    first, second, third, fourth = at + read[v + 1], at + read[v + 3], at + read[v + 5], at + read[v + 7]
    a, b, c = read[v + 2], read[v + 4], read[v + 6]
    if stride == 1 and many:
        for k in range(terms):
            here = entry(place, k)
            pixels = joined(load(source, first + here), load(source, second + here), a)
            pixels = joined(pixels, joined(load(source, third + here), load(source, fourth + here), c), b)
            put(right, to + k * wide, pixels)
    elif stride == 1:
        for k in range(terms):
            here = entry(place, k)
            put(right, to + k * wide, joined(load(source, first + here), load(source, second + here), a))
    elif many:
        for k in range(terms):
            here = entry(place, k)
            pixels = joined(every_second(source, first + here), every_second(source, second + here), a)
            others = joined(every_second(source, third + here), every_second(source, fourth + here), c)
            put(right, to + k * wide, joined(pixels, others, b))
    else:
        for k in range(terms):
            here = entry(place, k)
            put(right, to + k * wide, joined(every_second(source, first + here), every_second(source, second + here), a))


@helper
def _lies(read, panel):
    """Whether each vector of a panel lies in one line."""
    torn = 0
    for j in range(COLUMNS):
        torn += read[(panel * COLUMNS + j) * READ] != 1
    return torn == 0
