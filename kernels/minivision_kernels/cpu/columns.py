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
from minivision_kernels.cpu.panels import COLUMNS, pack_rows, panel_at
from minivision_kernels.cpu.simd import entry, every_second, joined, lanes, load, put

LINES = 4                   # of outputs, in which a vector may lie,
READ = 2 * LINES            # and how many numbers say where


@helper
def find_columns(
    begin, end, OH, OW, skip, image_step, line_step, stride, to, n_target, h_target, w_target, vectors_, L, size, seen, target,
    start, count, read,
):
    """Where the window of each output from ``begin`` to ``end`` begins, and where its result goes, for so many vectors of them:

        seen, target    of every output. What is seen begins with line ``skip`` of the first image; the other images are there
                        from line 0 on
        start, count    where the results of a vector start and how many of them follow each other (0 if not all do,
                        or there are none)
        read            how what the windows of a vector see is to be read, READ numbers:
                            in how many lines the outputs lie; 0 if in more than LINES of them
                            where a vector begins whose first lanes are those in the first line
                            for each other line, from which lane on outputs lie in it, and where a vector would begin of which
                            those are lanes

    Vectors that would end beyond ``size``, or of every third number, which are not worth a word, count as many lines. Lanes
    without an output see what those of the first vector see, or the last output before them: numbers that an image has. Their
    target is -1. Returns whether the results of any vector do not follow each other.
    """
    n, h, w = 0, begin % (OH * OW) // OW, begin % OW
    loose = False
    for v in range(vectors_):
        at, entry_ = v * L, v * READ
        exist = min(L, end - begin - at)
        if exist <= 0:
            start[v], count[v] = 0, 0
            for i in range(L):
                seen[at + i], target[at + i] = seen[i], -1
            for i in range(READ):
                read[entry_ + i] = read[i]
            continue
        lines, i, last, furthest, together = 0, 0, 0, 0, True
        while i < exist:
            run = min(OW - w, exist - i)
            window = n * image_step + (h - skip) * line_step + w * stride
            result = to + n * n_target + h * h_target + w * w_target
            for k in range(run):
                seen[at + i + k], target[at + i + k] = window + k * stride, result + k * w_target
            together = together and (w_target == 1 or run == 1) and result == target[at] + i
            origin = window - i * stride
            if i == 0:
                for line in range(LINES):               # those that there are not begin behind the last lane
                    read[entry_ + 2 * line], read[entry_ + 2 * line + 1] = L, origin
                lines = 1
            elif origin != last and lines > 0:
                if lines == LINES or origin < 0:
                    lines = 0
                else:
                    read[entry_ + 2 * lines], read[entry_ + 2 * lines + 1] = i, origin
                    lines += 1
            last, furthest = origin, max(furthest, origin)
            i += run
            w += run
            if w == OW:
                w = 0
                h += 1
                if h == OH:
                    h, skip = 0, 0
                    n += 1
        for i in range(exist, L):
            seen[at + i], target[at + i] = seen[at + exist - 1], -1
        if exist < L and lines > 0:
            lines = lines + 1 if v > 0 and read[0] == 1 and lines < LINES else 0
            if lines > 0:
                read[entry_ + 2 * lines - 2], read[entry_ + 2 * lines - 1] = exist, seen[0]
        start[v], count[v] = target[at], exist if together else 0
        loose = loose or not together
        read[entry_] = 0 if stride > 2 or furthest + stride * L > size else lines
    return loose


@helper
def pack_seen(source, at, place, terms, seen, read, stride, panels, right):
    """Right panels: right[panel_at(p) + k * wide + j] = source[at + place[k] + seen[p * wide + j]].

    ``place`` has SOON entries more than terms. At stride 1 panels whose vectors lie in one line each are packed together, as
    far as they follow each other: they often are one long run of memory. One in each that does not is packed once more.
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
            pack_rows(source, at, place, terms, begin[p * COLUMNS:], run, right, panel_at(p, terms, L))
        for v in range(p * COLUMNS, (p + max(1, run)) * COLUMNS):
            lines, to = read[v * READ], panel_at(v // COLUMNS, terms, L) + v % COLUMNS * L
            if lines == 0:
                for k in range(terms):
                    for i in range(L):
                        right[to + k * wide + i] = entry(source, at + entry(place, k) + entry(seen, v * L + i))
            elif run == 0 or lines > 1:
                pack_torn(source, at, place, terms, read, v * READ, stride, right, to, wide)
        p += max(1, run)


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
    """Whether the vectors of a panel lie in one line each, but for one of them, which lies in no more than LINES."""
    torn = 0
    for j in range(COLUMNS):
        lines = read[(panel * COLUMNS + j) * READ]
        torn += 0 if lines == 1 else 1 if lines > 1 else COLUMNS
    return torn <= 1
