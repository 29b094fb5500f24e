"""Words for going through memory once: kernels that do little arithmetic, whose limit is how fast numbers come and go.

The vectors are those of ``simd.py``. What is new here is a store that passes the caches by (``put_past``). An ordinary
store first reads the cache line that it is going to overwrite: for every byte written, a byte is read in vain. A kernel
that reads one array and writes another then moves three where two would do. The store past the caches writes whole lines
without reading them; for a result that is larger than the last cache, which nobody would find there anyway, it made the
rectifier 1.6 times as fast. For a smaller result it is a loss, since the next layer has to fetch it from memory: hence
``past_caches``, which decides by the size.

A pass is cut into pieces of ``PIECE`` numbers, which the threads share. Every number is computed by itself, or, in a sum,
within a piece whose borders depend on the shape alone; so the bits are the same for any number of threads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import models, register_model

from minivision_kernels.cpu.compile import helper, inlined
from minivision_kernels.cpu.simd import add, fetch, lanes, load, load_between, none
from minivision_kernels.cpu.writer import BYTES, INT32, X86, Vector, Writer, int_, word

PIECE = 8192                    # numbers that a thread takes at a time
FAR = 1 << 23                   # bytes; what is larger is not all in a cache near by, even if another core has room for it
LARGE = 1 << 24                 # bytes; a result from here on does not stay in the caches of common processors


def past_caches(result: np.ndarray) -> bool:
    """Whether ``result`` should be written past the caches: it is large, and its vectors begin where memory's lines do."""
    return result.nbytes >= LARGE and begins_a_line(result)


def begins_a_line(array: np.ndarray) -> bool:
    """Whether its vectors begin where memory's lines do."""
    return array.ctypes.data % BYTES == 0


def from_afar(array: np.ndarray) -> bool:
    """Whether ``array`` is so large that reading it is waiting for memory, unless what is needed next is asked for."""
    return array.nbytes >= FAR


# ---------------------------------------------------------------------------------------------- words


@word
def put_past(typing, a, at, vector, past):
    """Write a vector to a, from ``at`` on; past the caches if ``past``, and then ``at`` must be a multiple of the lanes."""
    def write(context, builder, signature, args):
        a, at, vector, past = args
        w = Writer(context, builder, signature.args[0])
        w.store_past_if(past, vector, w.pointer(signature.args[0], a, at))
        return context.get_dummy_value()

    return types.void(a, int_, vector, types.boolean), write


@word
def move(typing, a, at, to_array, to, past, x):
    """Copy as many numbers, which need not be floats, as a vector of x has."""
    def write(context, builder, signature, args):
        a, at, to_array, to, past, _ = args
        w = Writer(context, builder, signature.args[0], Vector(signature.args[5].dtype).lanes)
        vector = w.load(w.pointer(signature.args[0], a, at))
        w.store_past_if(past, vector, w.pointer(signature.args[2], to_array, to))
        return context.get_dummy_value()

    return types.void(a, int_, to_array, int_, types.boolean, x), write


@word
def arrived(typing, past):
    """What was written past the caches will be seen by other threads before anything that is written later.

    A fence that loads do not wait for: with one that they cannot pass, the processor came to a halt at the end of every piece.
    """
    def write(context, builder, signature, args):
        with builder.if_then(args[0]):
            if X86:
                kind = ir.FunctionType(ir.VoidType(), [])
                builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse.sfence"), [])
            else:
                builder.fence("release")
        return context.get_dummy_value()

    return types.void(types.boolean), write


@word
def spread(typing, a, number):
    """A vector with ``number`` in every lane, for numbers of this array's type."""
    def write(context, builder, signature, args):
        return Writer(context, builder, signature.args[0]).spread(args[1])

    return Vector(a.dtype)(a, a.dtype), write


@word
def mul(typing, x, y):
    """x * y, for vectors."""
    return x(x, y), lambda context, builder, signature, args: builder.fmul(*args)


@word
def div(typing, x, y):
    """x / y, for vectors."""
    return x(x, y), lambda context, builder, signature, args: builder.fdiv(*args)


@word
def root(typing, x):
    """The square root, for vectors."""
    def write(context, builder, signature, args):
        kind = args[0].type
        name = f"llvm.sqrt.v{kind.count}{'f32' if kind.element == ir.FloatType() else 'f64'}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind]), name)
        return builder.call(function, args)

    return x(x), write


@word
def multiply_add(typing, x, y, z):
    """x * y + z, rounded once, for vectors."""
    def write(context, builder, signature, args):
        kind = args[0].type
        name = f"llvm.fma.v{kind.count}{'f32' if kind.element == ir.FloatType() else 'f64'}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
        return builder.call(function, args)

    return x(x, x, x), write


@word
def exponential(typing, x):
    """e to the power of x, for vectors of what is not above 0, or NaN; within 2 units of the last place.

    x = n ln 2 + r with a whole n and r between -ln 2 / 2 and ln 2 / 2, so that exp(x) = 2^n exp(r). For so small an r the
    Taylor series is exact after 7 terms in float32 and 13 in float64. n ln 2 is taken off in two parts, the first of which ends
    in zeros, so that its product with n is exact (Cody and Waite 1980).

    A float as large as 2^23, or 2^52, has no digits behind the point. So x / ln 2 is rounded to n by adding such a number and
    taking it off again; in between, the last bits are those of n and of what the number ends in. That is the bias of exponents:
    moved to where exponents are, the bits say 2^n. Results of less than half the smallest normal number are 0.
    """
    def write(context, builder, signature, args):
        b, (x,) = builder, args
        kind, double = x.type, x.type.element == ir.DoubleType()
        bits, mantissa, bias, terms = (64, 52, 1023, 13) if double else (32, 23, 127, 7)
        high, low = (6.93147180369123816490e-01, 1.90821492927058770002e-10) if double else (0.693359375, -2.12194440e-4)
        whole_kind = ir.VectorType(ir.IntType(bits), kind.count)

        def const(value):
            return ir.Constant(kind, [value] * kind.count)

        def fma(*values):
            name, signature = f"llvm.fma.v{kind.count}f{bits}", ir.FunctionType(kind, [kind] * 3)
            return b.call(cgutils.get_or_insert_function(b.module, signature, name), values)

        least = const(-bias * math.log(2))              # its n says 0 as an exponent's bits, and so the result is 0
        large = const(1.5 * 2**mantissa + bias)         # and half as much again: whatever n is taken off, its digits stay there
        safe = b.select(b.fcmp_ordered("<", x, least), least, x)
        rounded = fma(safe, const(1 / math.log(2)), large)
        n = b.fsub(rounded, large)
        r = fma(n, const(-low), fma(n, const(-high), safe))
        series = const(1 / math.factorial(terms))
        for k in reversed(range(terms)):
            series = fma(series, r, const(1 / math.factorial(k)))
        power = b.shl(b.bitcast(rounded, whole_kind), ir.Constant(whole_kind, [mantissa] * kind.count))
        return b.fmul(series, b.bitcast(power, kind))

    return x(x), write


@word
def larger(typing, x, y):
    """The larger of x and y in each lane, and x where y is NaN."""
    return x(x, y), lambda context, builder, signature, args: builder.select(
        builder.fcmp_ordered(">", args[1], args[0]), args[1], args[0])


@word
def largest_lane(typing, a, vector):
    """The largest lane of a vector of a's numbers, none of which is NaN."""
    def write(context, builder, signature, args):
        return Writer(context, builder, signature.args[0]).folded(
            args[1], lambda x, y: builder.select(builder.fcmp_ordered(">", y, x), y, x))

    return a.dtype(a, vector), write


@word
def lane(typing, vector, place):
    """The number in lane ``place``."""
    return vector.dtype(vector, int_), lambda context, builder, signature, args: builder.extract_element(*args)


@word
def total(typing, a, vector):
    """The sum over the lanes, a number of the type of array a's."""
    def write(context, builder, signature, args):
        return Writer(context, builder, signature.args[0]).total(args[1])

    return a.dtype(a, vector), write


@word
def load_second(typing, a, at):
    """Every second number of a: a[at], a[at + 2], ...; nothing is read beyond the last one."""
    def write(context, builder, signature, args):
        w = Writer(context, builder, signature.args[0])
        pointer = w.pointer(signature.args[0], args[0], args[1])
        first, second = w.load(pointer), w.load(w.beyond(pointer, w.lanes - 1))
        order = [*range(0, w.lanes, 2), *range(w.lanes + 1, 2 * w.lanes, 2)]
        return builder.shuffle_vector(first, second, ir.Constant(ir.VectorType(INT32, w.lanes), order))

    return Vector(a.dtype)(a, int_), write


class Places(types.Type):
    """As many int32 places as a vector has lanes."""

    def __init__(self, count: int):
        self.count = count
        super().__init__(name=f"placesx{count}")


@register_model(Places)
class _PlacesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, places: Places):
        super().__init__(manager, places, ir.VectorType(INT32, places.count))


@word
def places(typing, a, first, step):
    """The places first, first + step, first + 2 step, ..., as many as a vector of a has lanes."""
    kind = Places(Vector(a.dtype).lanes)

    def write(context, builder, signature, args):
        _, first, step = args
        w = Writer(context, builder, signature.args[0])
        vector = ir.VectorType(INT32, w.lanes)
        first, step = (w.spread(builder.trunc(x, INT32), vector) for x in (first, step))
        return builder.add(first, builder.mul(step, ir.Constant(vector, list(range(w.lanes)))))

    return kind(a, int_, int_), write


@word
def put_first(typing, a, at, vector, count):
    """Write the first ``count`` lanes of a vector, or of places, to a, from ``at`` on."""
    def write(context, builder, signature, args):
        a, at, vector, count = args
        w = Writer(context, builder, signature.args[0], vector.type.count)
        w.store_first(vector, w.pointer(signature.args[0], a, at), count)
        return context.get_dummy_value()

    return types.void(a, int_, vector, int_), write


@word
def better(typing, best, where, x, here):
    """The larger of best and x in each lane, and its place; at a tie best stays, and NaN is larger than everything."""
    kind = types.Tuple((best, where))

    def write(context, builder, signature, args):
        best, where, x, here = args
        wins = builder.or_(builder.fcmp_ordered(">", x, best), builder.fcmp_unordered("uno", x, x))
        return context.make_tuple(builder, kind, (builder.select(wins, x, best), builder.select(wins, here, where)))

    return kind(best, where, x, here), write


@word
def no_less(typing, a, where, least):
    """The places, or ``least`` for those before it; as many as a vector of a has lanes."""
    def write(context, builder, signature, args):
        _, where, least = args
        floor = Writer(context, builder, signature.args[0]).spread(builder.trunc(least, INT32), where.type)
        return builder.select(builder.icmp_signed("<", where, floor), floor, where)

    return where(a, where, int_), write


@word
def load_or(typing, a, at, first, end, other):
    """`load_between`, with the number ``other`` where that has zeros."""
    def write(context, builder, signature, args):
        a, at, first, end, other = args
        w = Writer(context, builder, signature.args[0])
        mask = w.between(first, end)
        return builder.select(mask, w.load_mask(w.pointer(signature.args[0], a, at), mask), w.spread(other))

    return Vector(a.dtype)(a, int_, int_, int_, a.dtype), write


@word
def larger_or_nan(typing, best, x):
    """`better` without places."""
    def write(context, builder, signature, args):
        best, x = args
        wins = builder.or_(builder.fcmp_ordered(">", x, best), builder.fcmp_unordered("uno", x, x))
        return builder.select(wins, x, best)

    return best(best, x), write


@word
def load_places(typing, index, at, first, end, x):
    """`load_between` of an index, for as many lanes as the vector x has."""
    def write(context, builder, signature, args):
        index, at, first, end, x = args
        w = Writer(context, builder, signature.args[0], x.type.count)
        return w.load_mask(w.pointer(signature.args[0], index, at), w.between(first, end))

    return Places(x.lanes)(index, int_, int_, int_, x), write


@word
def where_there(typing, x, chosen, here):
    """x where the places ``chosen`` are ``here``, else 0."""
    def write(context, builder, signature, args):
        x, chosen, here = args
        return builder.select(builder.icmp_signed("==", chosen, here), x, ir.Constant(x.type, None))

    return x(x, chosen, here), write


@word
def rectified(typing, x):
    """x where it is positive or NaN, else 0."""
    def write(context, builder, signature, args):
        zero = ir.Constant(args[0].type, None)
        return builder.select(builder.fcmp_ordered("<=", args[0], zero), zero, args[0])

    return x(x), write


@word
def where_positive(typing, y, x):
    """x where y is positive, else 0."""
    def write(context, builder, signature, args):
        zero = ir.Constant(args[0].type, None)
        return builder.select(builder.fcmp_ordered(">", args[0], zero), args[1], zero)

    return x(y, x), write


# ---------------------------------------------------------------------------------------------- what kernels share


@helper
def or_zero(y, number, relu):
    """The number, one of y's, or if it goes through ReLU and is negative, 0; NaN passes through."""
    return y.dtype.type(0) if relu and number <= 0 else number


@helper
def pieces(count):
    """How many pieces there are in ``count`` numbers."""
    return (count + PIECE - 1) // PIECE


@helper
def whole(x, start, end):
    """Where the last whole vector between ``start`` and ``end`` ends."""
    return start + (end - start) // lanes(x) * lanes(x)


@inlined
def send(ready, count, array, to, past, x):
    """Copy the whole vectors, as long as those of x, among the first ``count`` numbers of what is ready to an array, from
    ``to`` on; move the rest to the front, and say how many went. Past the caches if so said, and then ``to`` must be a multiple
    of the lanes. There must be room for another vector behind what is ready."""
    sent = count // lanes(x) * lanes(x)
    for k in range(0, sent, lanes(x)):
        move(ready, k, array, to + k, past, x)
    move(ready, sent, ready, 0, False, x)
    return sent


@inlined
def ask_lines(x, at, count):
    """Ask for so many numbers from ``at`` on to be brought to the second-level cache."""
    for k in range(0, count, 64 // x.itemsize):
        fetch(x, at + k)


@helper
def run_sum(x, start, end):
    """The sum of the numbers of x from ``start`` to ``end``: four vectors of partial sums, added up at the end."""
    step, last = lanes(x), whole(x, start, end)
    a, b, c, d = none(x), none(x), none(x), none(x)
    at = start
    while at + 4 * step <= last:
        a, b = add(a, load(x, at)), add(b, load(x, at + step))
        c, d = add(c, load(x, at + 2 * step)), add(d, load(x, at + 3 * step))
        at += 4 * step
    while at < last:
        a = add(a, load(x, at))
        at += step
    if at < end:
        a = add(a, load_between(x, at, 0, end - at))
    return total(x, add(add(a, b), add(c, d)))
