"""A vocabulary of vectors: the few words from which fast kernels are made.

A processor core has registers that hold several numbers, 16 float32 with AVX-512, 8 with AVX2, 4 on most others, and
instructions that work on all of them at once. A compiler finds them in simple loops, but not in the ones that matter: a
matrix product is fast only if a block of its sums stays in registers while they are formed. So here a kernel says what it
means. `Vector` is a type that Numba does not have, an LLVM vector. Each function below is a *word*: when a kernel that
uses it is compiled, it adds a handful of instructions to the code. Nothing is called at run time.

A *tile* is a small matrix of vectors, rows x columns, that lives in registers. There are two ways to fill one:

    outer    tile[i][j] += a[i] * b[j]        a number of a times a vector of b: a matrix product by outer products
    inner    tile[i][j] += a[i] * b[j]        a vector of a times a vector of b: many inner products at once

Rows and columns must be written as constants, since the code is laid out in full. A kernel that keeps 24 vectors of sums
compiles to a loop of 24 multiply-add instructions, a few loads, and nothing else. With AVX-512, for instance,

    for k in range(K):
        tile = outer(tile, 8, 3, a, at + 8 * k, 1, b, bt + place[k])

becomes three loads into zmm registers and, eight times over, ``vbroadcastss`` and three times ``vfmadd231ps``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import config as numba_config
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from minivision_kernels.cpu.compile import floats

config: Any = numba_config


def register_bytes() -> int:
    """The size of a vector register: 64 with AVX-512, 32 with AVX, 16 with SSE or NEON."""
    chosen = config.CPU_FEATURES                        # what Numba compiles for, if the user has said so
    features = set(chosen.replace("+", "").split(",")) if chosen else {
        name for name, present in binding.get_host_cpu_features().items() if present}
    return 64 if "avx512f" in features else 32 if "avx" in features else 16


BYTES = register_bytes()

# The largest tiles that leave room for their operands: AVX-512 and NEON have 32 registers, AVX2 and SSE have 16.
NEON = "neon" in binding.get_host_cpu_features()
MANY = BYTES == 64 or NEON
OUTER_ROWS, OUTER_COLUMNS = (8, 3) if MANY else (4, 3)
INNER_ROWS, INNER_COLUMNS = (4, 6) if MANY else (3, 3)
AHEAD = 32          # steps of a sum ahead of which its weights are asked for
TALL_ROWS, TALL_COLUMNS = (14, 2) if MANY else (6, 2)


def vectors(array: np.ndarray, *_: Any, **__: Any) -> bool:
    """Whether kernels made of vectors can run on this array: it holds floats, and there is a compiler."""
    return floats(array) and not config.DISABLE_JIT


def lanes_of(array: np.ndarray) -> int:
    """How many numbers of this array a register holds, for Python."""
    return BYTES // array.dtype.itemsize


class Vector(types.Type):
    """As many numbers as a register holds."""

    def __init__(self, element: types.Float):
        self.element = element
        self.lanes = BYTES * 8 // element.bitwidth
        super().__init__(name=f"{element}x{self.lanes}")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector):
        number = manager.lookup(vector.element).get_value_type()
        super().__init__(manager, vector, ir.VectorType(number, vector.lanes))


# ---------------------------------------------------------------------------------------------- writing instructions

INT, INT32 = ir.IntType(64), ir.IntType(32)
int_ = types.int64


def word(function: Any) -> Any:
    """Make a word of a function that returns its type and a function that writes its instructions."""
    return intrinsic(prefer_literal=True)(function)


class Writer:
    """Writes the instructions of one word, for the number type of one array."""

    def __init__(self, context: Any, builder: Any, array: Any):
        self.context, self.builder = context, builder
        self.kind = context.get_value_type(Vector(array.dtype))
        self.lanes, self.bytes = self.kind.count, array.dtype.bitwidth // 8
        self.name = f"v{self.lanes}f{array.dtype.bitwidth}"

    def pointer(self, array_type: Any, array: Any, place: Any) -> Any:
        return self.builder.gep(self.context.make_array(array_type)(self.context, self.builder, array).data, [place])

    def beyond(self, pointer: Any, count: int, stride: Any = None) -> Any:
        """``count`` numbers (or strides) beyond a pointer."""
        step = ir.Constant(INT, count)
        return self.builder.gep(pointer, [step if stride is None else self.builder.mul(stride, step)])

    def load(self, pointer: Any) -> Any:
        return self.builder.load(self.builder.bitcast(pointer, self.kind.as_pointer()), align=self.bytes)

    def load_part(self, pointer: Any, count: Any) -> Any:
        """The first ``count`` numbers, then zeros; the memory beyond them is not touched."""
        return self.load_mask(pointer, self.first(count))

    def load_mask(self, pointer: Any, mask: Any) -> Any:
        """The lanes of the mask, and zeros; the memory of the others is not touched."""
        pointer = self.builder.bitcast(pointer, self.kind.as_pointer())
        nothing = ir.Constant(self.kind, None)
        return self.call("llvm.masked.load", [pointer, ir.Constant(INT32, self.bytes), mask, nothing], f"{self.name}.p0")

    def every_second(self, pointer: Any) -> Any:
        """The even numbers of two vectors in a row."""
        order = ir.Constant(ir.VectorType(INT32, self.lanes), list(range(0, 2 * self.lanes, 2)))
        return self.builder.shuffle_vector(self.load(pointer), self.load(self.beyond(pointer, self.lanes)), order)

    def store(self, value: Any, pointer: Any) -> None:
        self.builder.store(value, self.builder.bitcast(pointer, self.kind.as_pointer()), align=self.bytes)

    def first(self, count: Any) -> Any:
        """The mask of the first ``count`` lanes."""
        number = ir.IntType(8 * self.bytes)             # as wide as the lanes, so that the mask needs no conversion
        lane = ir.Constant(ir.VectorType(number, self.lanes), list(range(self.lanes)))
        return self.builder.icmp_signed("<", lane, self.spread(self.builder.trunc(count, number) if number != INT else count,
                                                               lane.type))

    def store_part(self, value: Any, pointer: Any, mask: Any) -> None:
        """Write the lanes of the mask; the memory of the others is not touched."""
        pointer = self.builder.bitcast(pointer, self.kind.as_pointer())
        self.call("llvm.masked.store", [value, pointer, ir.Constant(INT32, self.bytes), mask], f"{self.name}.p0", ir.VoidType())

    def store_first(self, value: Any, pointer: Any, count: Any) -> None:
        """Write the first ``count`` lanes; the memory of the others is not touched.

        AVX-512 has a store with a mask that costs no more than one without. The one of AVX2 takes a dozen cycles on some
        processors, and others have none. There a part is written in pieces of a half, a quarter, ... of a vector: those of
        which ``count`` is made in binary.
        """
        b = self.builder
        if BYTES == 64:
            return self.store_part(value, pointer, self.first(count))
        with b.if_else(b.icmp_signed(">=", count, ir.Constant(INT, self.lanes)), likely=True) as (all_, some):
            with all_:
                self.store(value, pointer)
            with some:
                count = b.select(b.icmp_signed("<", count, ir.Constant(INT, 0)), ir.Constant(INT, 0), count)
                for size in self.pieces(self.lanes - 1):
                    here = b.icmp_signed("!=", b.and_(count, ir.Constant(INT, size)), ir.Constant(INT, 0))
                    with b.if_then(here):
                        self.store_piece(value, 0, size, pointer)
                    rest = [*range(size, self.lanes), *range(size)]
                    moved = b.shuffle_vector(value, value, ir.Constant(ir.VectorType(INT32, self.lanes), rest))
                    value = b.select(here, moved, value)
                    pointer = b.select(here, self.beyond(pointer, size), pointer)
        return None

    def store_pieces(self, value: Any, pointer: Any, count: int) -> None:
        """Write the first ``count`` lanes, a number known while this is compiled."""
        at = 0
        for size in self.pieces(self.lanes):
            if count & size:
                self.store_piece(value, at, size, self.beyond(pointer, at))
                at += size

    @staticmethod
    def pieces(most: int) -> list[int]:
        """The powers of two up to ``most``, largest first."""
        return [1 << k for k in reversed(range(most.bit_length()))]

    def store_piece(self, value: Any, at: int, size: int, pointer: Any) -> None:
        """Write the lanes from ``at`` to at + size."""
        part = self.builder.shuffle_vector(value, value, ir.Constant(ir.VectorType(INT32, size), list(range(at, at + size))))
        self.builder.store(part, self.builder.bitcast(pointer, part.type.as_pointer()), align=self.bytes)

    def turned(self, rows: list[Any]) -> list[Any]:
        """Rows of vectors, a power of two of them, as one sequence of numbers in which lane 0 of all rows comes first, then
        lane 1, and so on. For as many rows as lanes this turns a square over: (i, j) goes to (j, i).

        Each round interleaves the first half of the rows with the second, like a perfect riffle of a deck of cards; after
        log2(rows) rounds every number is where it should be.
        """
        n, half_way = self.lanes, len(rows) // 2
        kind = ir.VectorType(INT32, n)
        low, high = (ir.Constant(kind, [x for i in half for x in (i, n + i)]) for half in (range(n // 2), range(n // 2, n)))
        for _ in range(len(rows).bit_length() - 1):
            pairs = list(zip(rows[:half_way], rows[half_way:]))
            rows = [self.builder.shuffle_vector(a, b, order) for a, b in pairs for order in (low, high)]
        return rows

    def prefetch(self, pointer: Any) -> None:
        """Ask for the memory there to be brought to the first-level cache; nothing happens if there is none."""
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, INT32, INT32, INT32])
        function = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        self.builder.call(function, [pointer, *(ir.Constant(INT32, x) for x in (0, 3, 1))])

    def fence(self) -> None:
        """Keep the instructions before from those after: an empty piece of assembly that may, for all LLVM knows, change
        memory. LLVM likes to load everything a loop body needs at its beginning; with 28 registers full of sums there is
        no room for that, and it would move sums to the stack and back."""
        self.builder.asm(ir.FunctionType(ir.VoidType(), []), "", "~{memory}", [], True)

    def settled(self, vector: Any) -> Any:
        """The same vector, which has to be in a register here: a fence that arithmetic does not cross either."""
        register = "w" if NEON else "v"
        return self.builder.asm(ir.FunctionType(self.kind, [self.kind]), "", f"={register},0,~{{memory}}", [vector], True)

    def spread(self, number: Any, kind: Any = None) -> Any:
        """One number in every lane."""
        empty = ir.Constant(kind or self.kind, ir.Undefined)
        first = self.builder.insert_element(empty, number, ir.Constant(INT32, 0))
        return self.builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(INT32, self.lanes), [0] * self.lanes))

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """a * b + c, rounded once."""
        return self.call("llvm.fma", [a, b, c])

    def total(self, vector: Any) -> Any:
        """The sum over the lanes: the upper half is added to the lower until one number is left."""
        count = self.lanes
        while count > 1:
            count //= 2
            places = [*range(count, 2 * count), *[0] * (self.lanes - count)]
            upper = self.builder.shuffle_vector(vector, vector, ir.Constant(ir.VectorType(INT32, self.lanes), places))
            vector = self.builder.fadd(vector, upper)
        return self.builder.extract_element(vector, ir.Constant(INT32, 0))

    def call(self, name: str, args: list[Any], suffix: str = "", returns: Any = None) -> Any:
        kind = ir.FunctionType(returns or self.kind, [x.type for x in args])
        function = cgutils.get_or_insert_function(self.builder.module, kind, f"{name}.{suffix or self.name}")
        return self.builder.call(function, args)


def _tile(array: Any, rows: Any, columns: Any) -> types.UniTuple:
    return types.UniTuple(Vector(array.dtype), rows.literal_value * columns.literal_value)


# ---------------------------------------------------------------------------------------------- the words


@word
def lanes(typing, array):
    """How many numbers of this array a register holds."""
    def write(context, builder, signature, args):
        return ir.Constant(INT, Vector(array.dtype).lanes)

    return int_(array), write


@word
def zeros(typing, array, rows, columns):
    """An empty tile, for numbers of this array's type."""
    tile = _tile(array, rows, columns)

    def write(context, builder, signature, args):
        return ir.Constant(context.get_value_type(tile), None)

    return tile(array, rows, columns), write


def _outer(part: bool) -> Any:
    def write(context, builder, signature, args):
        tile, _, _, a, at, a_step, b, bt, *count = args
        _, rows, columns, a_type, _, _, b_type, *_ = signature.args
        w = Writer(context, builder, b_type)
        pa, pb = w.pointer(a_type, a, at), w.pointer(b_type, b, bt)
        row = [w.load_part(pb, count[0]) if part else w.load(w.beyond(pb, j * w.lanes)) for j in range(columns.literal_value)]
        for i in range(rows.literal_value):
            number = w.spread(builder.load(w.beyond(pa, i, a_step)))
            for j, vector in enumerate(row):
                k = i * len(row) + j
                tile = builder.insert_value(tile, w.multiply_add(number, vector, builder.extract_value(tile, k)), k)
        return tile

    return write


@word
def outer(typing, tile, rows, columns, a, at, a_step, b, bt):
    """tile[i][j] += a[at + i * a_step] * (vector j of b from bt on)"""
    return tile(tile, rows, columns, a, int_, int_, b, int_), _outer(part=False)


@word
def outer_part(typing, tile, rows, columns, a, at, a_step, b, bt, count):
    """`outer` with one column, of which only the first ``count`` numbers exist."""
    return tile(tile, rows, columns, a, int_, int_, b, int_, int_), _outer(part=True)


@word
def entry(typing, a, at):
    """a[at], where ``at`` is not negative: Python's meaning of a[-1] costs a comparison at each step of a sum."""
    def write(context, builder, signature, args):
        start = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.load(builder.gep(start, [args[1]]))

    return a.dtype(a, int_), write


@word
def entries(typing, a, at, count):
    """The tuple a[at], a[at + 1], ...: so many numbers, in registers as far as there are enough."""
    kind = types.UniTuple(a.dtype, count.literal_value)

    def write(context, builder, signature, args):
        start = builder.gep(context.make_array(signature.args[0])(context, builder, args[0]).data, [args[1]])
        return cgutils.pack_array(builder, [builder.load(builder.gep(start, [ir.Constant(INT, i)])) for i in range(kind.count)])

    return kind(a, int_, count), write


@word
def outer_at(typing, tile, rows, columns, a, at, place, b, bt):
    """tile[i][j] += a[at + place[i]] * (vector j of b from bt on): `outer` with rows from anywhere."""
    def write(context, builder, signature, args):
        tile, _, _, a, at, place, b, bt = args
        _, rows, columns, a_type, _, _, b_type, _ = signature.args
        w = Writer(context, builder, b_type)
        pa, pb, place = w.pointer(a_type, a, at), w.pointer(b_type, b, bt), cgutils.unpack_tuple(builder, place)
        row = [w.load(w.beyond(pb, j * w.lanes)) for j in range(columns.literal_value)]
        for line in range(0, columns.literal_value * BYTES, 64):
            w.prefetch(w.beyond(pb, (AHEAD * columns.literal_value * BYTES + line) // w.bytes))
        for i in range(rows.literal_value):
            number = w.spread(builder.load(builder.gep(pa, [place[i]])))
            for j, vector in enumerate(row):
                k = i * len(row) + j
                sum_ = w.multiply_add(number, vector, builder.extract_value(tile, k))
                tile = builder.insert_value(tile, w.settled(sum_) if len(row) == 1 else sum_, k)
            if len(row) > 1:
                w.fence()
        return tile

    return tile(tile, rows, columns, a, int_, place, b, int_), write


@word
def outer_to(typing, tile, rows, columns, a, at, b, bt, place):
    """tile[i][j] += a[at + i] * (the vector of b from bt + place[j] on): `outer` with columns from anywhere."""
    def write(context, builder, signature, args):
        tile, _, _, a, at, b, bt, place = args
        _, rows, columns, a_type, _, b_type, _, _ = signature.args
        w = Writer(context, builder, b_type)
        pa, pb, place = w.pointer(a_type, a, at), w.pointer(b_type, b, bt), cgutils.unpack_tuple(builder, place)
        row = [w.load(builder.gep(pb, [place[j]])) for j in range(columns.literal_value)]
        for i in range(rows.literal_value):
            number = w.spread(builder.load(w.beyond(pa, i)))
            for j, vector in enumerate(row):
                k = i * len(row) + j
                tile = builder.insert_value(tile, w.multiply_add(number, vector, builder.extract_value(tile, k)), k)
            w.fence()
        return tile

    return tile(tile, rows, columns, a, int_, b, int_, place), write


def _inner(part: bool) -> Any:
    def write(context, builder, signature, args):
        tile, _, _, a, at, a_step, b, bt, place, pt, *count = args
        _, rows, columns, a_type, _, _, b_type, _, p_type, *_ = signature.args
        w = Writer(context, builder, b_type)
        pa, pb, pp = w.pointer(a_type, a, at), w.pointer(b_type, b, bt), w.pointer(p_type, place, pt)

        def read(pointer):
            return w.load_part(pointer, count[0]) if part else w.load(pointer)

        left = [read(w.beyond(pa, i, a_step)) for i in range(rows.literal_value)]
        for j in range(columns.literal_value):
            right = read(builder.gep(pb, [builder.load(w.beyond(pp, j))]))
            for i, vector in enumerate(left):
                k = i * columns.literal_value + j
                tile = builder.insert_value(tile, w.multiply_add(vector, right, builder.extract_value(tile, k)), k)
        return tile

    return write


@word
def inner(typing, tile, rows, columns, a, at, a_step, b, bt, place, pt):
    """tile[i][j] += (the vector of a from at + i * a_step on) * (the vector of b from bt + place[pt + j] on)"""
    return tile(tile, rows, columns, a, int_, int_, b, int_, place, int_), _inner(part=False)


@word
def inner_part(typing, tile, rows, columns, a, at, a_step, b, bt, place, pt, count):
    """`inner` over the first ``count`` numbers of each vector."""
    return tile(tile, rows, columns, a, int_, int_, b, int_, place, int_, int_), _inner(part=True)


@word
def store(typing, tile, rows, columns, c, ct, c_step):
    """Write row i of the tile to c, from ct + i * c_step on."""
    def write(context, builder, signature, args):
        tile, _, _, c, ct, c_step = args
        w = Writer(context, builder, signature.args[3])
        pc = w.pointer(signature.args[3], c, ct)
        for i in range(rows.literal_value):
            for j in range(columns.literal_value):
                value = builder.extract_value(tile, i * columns.literal_value + j)
                w.store(value, w.beyond(w.beyond(pc, i, c_step), j * w.lanes))
        return context.get_dummy_value()

    return types.void(tile, rows, columns, c, int_, int_), write


@word
def plus(typing, tile, rows, columns, c, ct):
    """The tile with the rows * columns vectors of c from ct on added to it."""
    def write(context, builder, signature, args):
        tile, _, _, c, ct = args
        w = Writer(context, builder, signature.args[3])
        pc = w.pointer(signature.args[3], c, ct)
        for k in range(signature.args[0].count):
            sum_ = builder.fadd(builder.extract_value(tile, k), w.load(w.beyond(pc, k * w.lanes)))
            tile = builder.insert_value(tile, sum_, k)
        return tile

    return tile(tile, rows, columns, c, int_), write


@word
def store_turned(typing, tile, rows, columns, c, ct, c_step, height, width):
    """c[ct + k * c_step + i] = tile[i][k], for the first ``height`` rows i and the first ``width`` numbers k of a row.

    The tile is turned over in registers, so that each of its columns is written with a few stores.
    """
    def write(context, builder, signature, args):
        tile, _, _, c, ct, c_step, height, width = args
        _, rows, columns, c_type, *_ = signature.args
        w = Writer(context, builder, c_type)
        pc = w.pointer(c_type, c, ct)
        whole = builder.and_(builder.icmp_signed(">=", height, ir.Constant(INT, rows.literal_value)), builder.icmp_signed(
            ">=", width, ir.Constant(INT, columns.literal_value * w.lanes)))
        for top in range(0, rows.literal_value, w.lanes):
            high = min(w.lanes, rows.literal_value - top)
            mask = w.first(builder.sub(height, ir.Constant(INT, top)))
            for j in range(columns.literal_value):
                vectors = [builder.extract_value(tile, i * columns.literal_value + j) if i < rows.literal_value else
                           ir.Constant(w.kind, ir.Undefined) for i in range(top, top + w.lanes)]
                turned = [(vector, w.beyond(w.beyond(pc, k, c_step), top), k) for k, vector in
                          enumerate(w.turned(vectors), j * w.lanes)]
                with builder.if_else(whole) as (all_, some):
                    with all_:
                        for vector, target, _ in turned:
                            w.store_pieces(vector, target, high)
                    with some:
                        for vector, target, k in turned:
                            with builder.if_then(builder.icmp_signed("<", ir.Constant(INT, k), width), likely=True):
                                w.store_part(vector, target, mask)
        return context.get_dummy_value()

    return types.void(tile, rows, columns, c, int_, int_, int_, int_), write


@word
def store_to(typing, tile, rows, columns, c, ct, c_step, place):
    """Write vector j of row i of the tile to c, from ct + i * c_step + place[j] on."""
    def write(context, builder, signature, args):
        tile, _, _, c, ct, c_step, place = args
        w = Writer(context, builder, signature.args[3])
        pc = w.pointer(signature.args[3], c, ct)
        targets = [builder.gep(pc, [step]) for step in cgutils.unpack_tuple(builder, place)]
        for i in range(rows.literal_value):
            for j, target in enumerate(targets):
                w.store(builder.extract_value(tile, i * len(targets) + j), w.beyond(target, i, c_step))
        return context.get_dummy_value()

    return types.void(tile, rows, columns, c, int_, int_, place), write


@word
def turn(typing, a, at, a_step, first, end, height, b, bt, b_step, width, fill):
    """b[bt + k * b_step + i] = a[at + i * a_step + k] for k < ``width`` and i < ``fill``.

    Zeros are taken where k is not in ``first`` ... ``end`` - 1 or i is not below ``height``; no memory is touched there.
    No count is larger than the lanes of a vector.
    """
    def write(context, builder, signature, args):
        a, at, a_step, first, end, height, b, bt, b_step, width, fill = args
        w = Writer(context, builder, signature.args[0])
        pa, pb = w.pointer(signature.args[0], a, at), w.pointer(signature.args[6], b, bt)
        wanted = builder.and_(w.first(end), builder.not_(w.first(first)))
        rows = []
        for i in range(w.lanes):
            exists = builder.icmp_signed("<", ir.Constant(INT, i), height)
            rows.append(w.load_mask(w.beyond(pa, i, a_step), builder.and_(wanted, w.spread(exists, wanted.type))))
        for k, vector in enumerate(w.turned(rows)):
            with builder.if_then(builder.icmp_signed("<", ir.Constant(INT, k), width), likely=True):
                w.store_first(vector, w.beyond(pb, k, b_step), fill)
        return context.get_dummy_value()

    return types.void(a, int_, int_, int_, int_, int_, b, int_, int_, int_, int_), write


@word
def interleave(typing, tile, b, bt):
    """b[bt + k * rows + i] = tile[i][k], for a tile of one column."""
    def write(context, builder, signature, args):
        w = Writer(context, builder, signature.args[1])
        start = w.pointer(signature.args[1], args[1], args[2])
        for k, vector in enumerate(w.turned(cgutils.unpack_tuple(builder, args[0]))):
            w.store(vector, w.beyond(start, k * w.lanes))
        return context.get_dummy_value()

    return types.void(tile, b, int_), write


def _load_at(every_second: bool) -> Any:
    def write(context, builder, signature, args):
        a, at, place = args
        w = Writer(context, builder, signature.args[0])
        start, found = w.pointer(signature.args[0], a, at), []
        for step in cgutils.unpack_tuple(builder, place):
            here = builder.gep(start, [step])
            found.append(w.every_second(here) if every_second else w.load(here))
        return cgutils.pack_array(builder, found)

    return write


@word
def load_at(typing, a, at, place):
    """A tile of one column, row i of which is the vector of a from at + place[i] on."""
    return types.UniTuple(Vector(a.dtype), place.count)(a, int_, place), _load_at(every_second=False)


@word
def second_at(typing, a, at, place):
    """A tile of one column, row i of which has every second number of a from at + place[i] on; see `every_second`."""
    return types.UniTuple(Vector(a.dtype), place.count)(a, int_, place), _load_at(every_second=True)


@word
def every_second(typing, a, at):
    """The vector a[at], a[at + 2], ...; the number behind the last of them is read too."""
    def write(context, builder, signature, args):
        w = Writer(context, builder, signature.args[0])
        return w.every_second(w.pointer(signature.args[0], args[0], args[1]))

    return Vector(a.dtype)(a, int_), write


@word
def joined(typing, x, y, count):
    """The first ``count`` lanes of x and the others of y, for vectors or for tiles of them."""
    def write(context, builder, signature, args):
        tiles = isinstance(x, types.UniTuple)
        pairs = list(zip(*(cgutils.unpack_tuple(builder, v) for v in args[:2]))) if tiles else [tuple(args[:2])]
        kind = pairs[0][0].type
        number = INT if kind.element == ir.DoubleType() else INT32
        lane = ir.Constant(ir.VectorType(number, kind.count), list(range(kind.count)))
        empty, zero = ir.Constant(lane.type, ir.Undefined), ir.Constant(INT32, 0)
        first = builder.insert_element(empty, builder.trunc(args[2], number) if number != INT else args[2], zero)
        spread = builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(INT32, kind.count), [0] * kind.count))
        mask = builder.icmp_signed("<", lane, spread)
        found = [builder.select(mask, *pair) for pair in pairs]
        return cgutils.pack_array(builder, found) if tiles else found[0]

    return x(x, y, int_), write


@word
def add_totals(typing, tile, rows, columns, c, ct, c_step):
    """c[ct + i * c_step + j] += the sum over the lanes of tile[i][j]"""
    def write(context, builder, signature, args):
        tile, _, _, c, ct, c_step = args
        w = Writer(context, builder, signature.args[3])
        pc = w.pointer(signature.args[3], c, ct)
        for i in range(rows.literal_value):
            for j in range(columns.literal_value):
                target = w.beyond(w.beyond(pc, i, c_step), j)
                total = w.total(builder.extract_value(tile, i * columns.literal_value + j))
                builder.store(builder.fadd(builder.load(target), total), target)
        return context.get_dummy_value()

    return types.void(tile, rows, columns, c, int_, int_), write


@word
def load(typing, a, at):
    """The vector of a from ``at`` on."""
    def write(context, builder, signature, args):
        w = Writer(context, builder, signature.args[0])
        return w.load(w.pointer(signature.args[0], args[0], args[1]))

    return Vector(a.dtype)(a, int_), write


@word
def prefetch(typing, a, at):
    """Ask for the numbers of a from ``at`` on to be brought near; places beyond a do no harm."""
    def write(context, builder, signature, args):
        w = Writer(context, builder, signature.args[0])
        w.prefetch(w.pointer(signature.args[0], args[0], args[1]))
        return context.get_dummy_value()

    return types.void(a, int_), write


@word
def none(typing, a):
    """A vector of zeros, for numbers of this array's type."""
    def write(context, builder, signature, args):
        return ir.Constant(context.get_value_type(signature.return_type), None)

    return Vector(a.dtype)(a), write


@word
def load_between(typing, a, at, first, end):
    """The vector of a from ``at`` on, with zeros before lane ``first`` and from lane ``end`` on; no memory is touched there."""
    def write(context, builder, signature, args):
        a, at, first, end = args
        w = Writer(context, builder, signature.args[0])
        mask = builder.and_(w.first(end), builder.not_(w.first(first)))
        return w.load_mask(w.pointer(signature.args[0], a, at), mask)

    return Vector(a.dtype)(a, int_, int_, int_), write


@word
def put(typing, a, at, vector):
    """Write a vector to a, from ``at`` on."""
    def write(context, builder, signature, args):
        w = Writer(context, builder, signature.args[0])
        w.store(args[2], w.pointer(signature.args[0], args[0], args[1]))
        return context.get_dummy_value()

    return types.void(a, int_, vector), write


@word
def add(typing, x, y):
    """x + y, for vectors."""
    return x(x, y), lambda context, builder, signature, args: builder.fadd(*args)


@word
def sub(typing, x, y):
    """x - y, for vectors."""
    return x(x, y), lambda context, builder, signature, args: builder.fsub(*args)


@word
def add_times(typing, x, number, y):
    """x + number * y, for vectors and a whole number written as a constant."""
    def write(context, builder, signature, args):
        x, _, y = args
        factor = ir.Constant(x.type, [float(number.literal_value)] * x.type.count)
        kind = ir.FunctionType(x.type, [x.type] * 3)
        name = f"llvm.fma.v{x.type.count}{'f32' if x.type.element == ir.FloatType() else 'f64'}"
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [factor, y, x])

    return x(x, number, y), write


@word
def times(typing, x, number, divisor):
    """x * (number / divisor), for a vector and two whole numbers written as constants."""
    def write(context, builder, signature, args):
        factor = number.literal_value / divisor.literal_value
        return builder.fmul(args[0], ir.Constant(args[0].type, [factor] * args[0].type.count))

    return x(x, number, divisor), write
