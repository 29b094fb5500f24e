"""Arithmetic on long contiguous rows: the inner loops that LLVM turns into vector instructions.

Two things keep it from doing so, and are avoided here. An index that might be negative means wrap-around in Python, so
every row starts at 0 and moves by one: callers pass slices. And a sum into one number must be added in order, since
floating-point addition is not associative; so sums are kept in a row of partial sums, folded together at the end.
"""

from __future__ import annotations

from minivision_kernels.cpu.compile import helper


@helper
def add_row(total, weight, row):
    """total += weight * row"""
    for j in range(total.shape[0]):
        total[j] += weight * row[j]


@helper
def add_eight_rows(total, weight, source, place):
    """total += the rows of ``source`` that start at the eight places, each times its weight.

    Eight multiply-adds for one load and one store of the total: the loads of the rows themselves become the limit.
    """
    w0, w1, w2, w3, w4, w5, w6, w7 = (
        weight[0], weight[1], weight[2], weight[3], weight[4], weight[5], weight[6], weight[7])
    r0, r1, r2, r3 = source[place[0]:], source[place[1]:], source[place[2]:], source[place[3]:]
    r4, r5, r6, r7 = source[place[4]:], source[place[5]:], source[place[6]:], source[place[7]:]
    for j in range(total.shape[0]):
        half = total[j] + w0 * r0[j] + w1 * r1[j] + w2 * r2[j] + w3 * r3[j]
        total[j] = half + w4 * r4[j] + w5 * r5[j] + w6 * r6[j] + w7 * r7[j]


@helper
def add_weighted_rows(total, weight, source, place):
    """total += sum over k of weight[k] * the row of ``source`` that starts at place[k], in the order of k."""
    count = weight.shape[0]
    for k in range(0, count - 7, 8):
        add_eight_rows(total, weight[k:k + 8], source, place[k:k + 8])
    for k in range(count // 8 * 8, count):
        add_row(total, weight[k], source[place[k]:])


@helper
def add_product(total, a, b):
    """total += a * b, element by element"""
    for j in range(total.shape[0]):
        total[j] += a[j] * b[j]


@helper
def add_four_products(total, a0, a1, a2, a3, b0, b1, b2, b3):
    """total += a0 * b0 + ... + a3 * b3, element by element"""
    for j in range(total.shape[0]):
        total[j] = total[j] + a0[j] * b0[j] + a1[j] * b1[j] + a2[j] * b2[j] + a3[j] * b3[j]


@helper
def fold(total):
    """The sum of a row, which is overwritten: the second half is added onto the first until one number is left."""
    count = total.shape[0]
    while count > 1:
        half = (count + 1) // 2
        first, second = total[:half], total[half:count]
        for j in range(second.shape[0]):
            first[j] += second[j]
        count = half
    return total[0]
