"""What a word of the vocabulary is made of: the type of a vector, and a writer of instructions.

`Vector` is a type that Numba does not have, an LLVM vector: as many numbers as a register of the processor holds. A word
(``simd.py`` and ``tile.py`` list them) is a function that returns its type, given those of its arguments, and a function that
writes its instructions when a kernel that uses it is compiled. `Writer` knows how to write the ones that all words are made of:
a load, a store of a part of a vector, a multiply-add, the sum over the lanes, ...
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import config as numba_config
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

config: Any = numba_config


def instruction_sets() -> frozenset[str]:
    """What Numba compiles for, as LLVM calls it: what the user has said, or else what this processor has."""
    chosen = config.CPU_FEATURES                        # "" for NUMBA_CPU_NAME=generic, None if nobody has said anything
    return frozenset(chosen.replace("+", "").split(",") if chosen is not None else (
        name for name, present in binding.get_host_cpu_features().items() if present))


def register_bytes() -> int:
    """The size of a vector register: 64 with AVX-512, 32 with AVX, 16 with SSE or NEON."""
    return 64 if "avx512f" in FEATURES else 32 if FEATURES & {"avx", "avx2"} else 16


FEATURES = instruction_sets()
BYTES = register_bytes()
NEON = "neon" in binding.get_host_cpu_features()
X86 = binding.get_default_triple().startswith(("x86_64", "i686", "amd64"))


class Vector(types.Type):
    """As many numbers as a register holds."""

    def __init__(self, dtype: types.Float):
        self.dtype = dtype                              # as arrays call it
        self.lanes = BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"{dtype}x{self.lanes}")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector):
        number = manager.lookup(vector.dtype).get_value_type()
        super().__init__(manager, vector, ir.VectorType(number, vector.lanes))


INT, INT32 = ir.IntType(64), ir.IntType(32)
int_ = types.int64


def word(function: Any) -> Any:
    """Make a word of a function that returns its type and a function that writes its instructions."""
    return intrinsic(prefer_literal=True)(function)


class Writer:
    """Writes the instructions of one word, for the number type of one array or vector, and as many lanes as a register has, or
    as are asked for."""

    def __init__(self, context: Any, builder: Any, array: Any, lanes: int | None = None):
        self.context, self.builder = context, builder
        self.lanes, self.bytes = lanes or Vector(array.dtype).lanes, array.dtype.bitwidth // 8
        self.kind = ir.VectorType(context.get_value_type(array.dtype), self.lanes)
        self.name = f"v{self.lanes}{'f' if isinstance(array.dtype, types.Float) else 'i'}{array.dtype.bitwidth}"

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
        return self.evens(self.load(pointer), self.load(self.beyond(pointer, self.lanes)))

    def evens(self, x: Any, y: Any, first: int = 0) -> Any:
        """x[0], x[2], ..., y[0], y[2], ..., or from the ``first`` number on."""
        order = ir.Constant(ir.VectorType(INT32, self.lanes), list(range(first, 2 * self.lanes, 2)))
        return self.builder.shuffle_vector(x, y, order)

    def store(self, value: Any, pointer: Any) -> None:
        self.builder.store(value, self.builder.bitcast(pointer, self.kind.as_pointer()), align=self.bytes)

    def store_past(self, value: Any, pointer: Any) -> None:
        """Write a vector past the caches; it must begin where a line of memory may."""
        store = self.builder.store(value, self.builder.bitcast(pointer, self.kind.as_pointer()), align=self.lanes * self.bytes)
        store.set_metadata("nontemporal", self.builder.module.add_metadata([ir.Constant(INT32, 1)]))

    def store_past_if(self, past: Any, value: Any, pointer: Any) -> None:
        """The same if ``past``, and else as usual."""
        with self.builder.if_else(past) as (beyond, near):
            with beyond:
                self.store_past(value, pointer)
            with near:
                self.store(value, pointer)

    def first(self, count: Any) -> Any:
        """The mask of the first ``count`` lanes."""
        number = ir.IntType(8 * self.bytes)             # as wide as the lanes, so that the mask needs no conversion
        lane = ir.Constant(ir.VectorType(number, self.lanes), list(range(self.lanes)))
        return self.builder.icmp_signed("<", lane, self.spread(self.builder.trunc(count, number) if number != INT else count,
                                                               lane.type))

    def between(self, first: Any, end: Any) -> Any:
        """The mask of the lanes ``first`` to ``end`` - 1."""
        return self.builder.and_(self.first(end), self.builder.not_(self.first(first)))

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

    def prefetch(self, pointer: Any, level: int = 1) -> None:
        """Ask for the memory there to be brought to the cache of this level; nothing happens if there is none."""
        pointer = self.builder.bitcast(pointer, ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, INT32, INT32, INT32])
        function = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        self.builder.call(function, [pointer, *(ir.Constant(INT32, x) for x in (0, 4 - level, 1))])

    def ask(self, pointer: Any, count: int) -> None:
        """Ask for the lines on which so many vectors lie."""
        for byte in range(0, count * BYTES, 64):
            self.prefetch(self.beyond(pointer, byte // self.bytes))

    def fence(self) -> None:
        """Keep the loads before from those after: an empty piece of assembly that may, for all LLVM knows, change memory.
        LLVM likes to load everything a loop body needs at its beginning; with 24 registers full of sums there is no room for
        that, and it would move sums to the stack and back. Arithmetic crosses a fence (`settled` does not let it)."""
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
        """The sum over the lanes."""
        return self.folded(vector, self.builder.fadd)

    def folded(self, vector: Any, together: Any) -> Any:
        """One number of all lanes: the upper half is put ``together`` with the lower until one is left."""
        count = self.lanes
        while count > 1:
            count //= 2
            places = [*range(count, 2 * count), *[0] * (self.lanes - count)]
            upper = self.builder.shuffle_vector(vector, vector, ir.Constant(ir.VectorType(INT32, self.lanes), places))
            vector = together(vector, upper)
        return self.builder.extract_element(vector, ir.Constant(INT32, 0))

    def call(self, name: str, args: list[Any], suffix: str = "", returns: Any = None) -> Any:
        kind = ir.FunctionType(returns or self.kind, [x.type for x in args])
        function = cgutils.get_or_insert_function(self.builder.module, kind, f"{name}.{suffix or self.name}")
        return self.builder.call(function, args)
