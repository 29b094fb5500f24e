"""How the threads of a team share the loop of a kernel.

A kernel is compiled once, as a function for one thread that is told its place in a team, a number:

    1                           it is alone: ``prange(n, team)`` is range(n)
    (index << 32) + size        it is one of several: the range is its part of range(n)
    -address                    it has to call the others: see below

Called with an address, a kernel that reaches its ``prange`` calls itself, once for each member of the team and each time on
a thread of its own, waits for all of them, and goes through its loop not even once. So whatever stands before the loop is
done by everyone, and nothing should stand behind it. The address is that of two whole numbers: where the function that starts
threads lies in memory, and how many are wanted. That function is Numba's, the one that its own parallel loops call.

Why not Numba's own parallel loops? They make a function of the body of a loop, and compile it four times: by itself, in each of
two wrappers, and in the function around it. A kernel took one and a half to three times as long to compile that way, and needed
another compilation for the work that is not worth sharing.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from minivision_kernels.cpu.writer import INT, int_, word

BYTE = ir.IntType(8).as_pointer()
OK, NONE = 0, -2                            # what Numba's functions answer if all went well


@word
def prange(typing, n, team):
    """The part of range(n) that falls to this member of the team."""
    def write(context, builder, signature, args):
        n, team = args
        calling = builder.icmp_signed("<", team, INT(0))
        with builder.if_then(calling, likely=False):
            _call_team(context, builder, builder.inttoptr(builder.neg(team), INT.as_pointer()))
        index, size = builder.ashr(team, INT(32)), builder.and_(team, INT((1 << 32) - 1))
        size = builder.select(calling, INT(1), size)                    # anything but 0, to divide by
        state = cgutils.create_struct_proxy(types.range_state64_type)(context, builder)
        state.start = builder.sdiv(builder.mul(n, index), size)
        state.stop = builder.sdiv(builder.mul(n, builder.add(index, INT(1))), size)
        state.stop = builder.select(calling, state.start, state.stop)
        state.step = INT(1)
        return state._getvalue()

    return types.range_state64_type(int_, int_), write


def _call_team(context: Any, builder: Any, record: Any) -> None:
    """Call the function that is being written once for each member of the team.

    ``numba_parallel_for(function, args, dimensions, steps, data, inner_dimensions, arrays, threads)`` calls
    ``function(args, dimensions, steps, data)`` on each thread, as if it were a NumPy ufunc: dimensions[0] says for how many
    elements in a row, and args[0] is the address of the first. Here nothing lies there: it is a member's number, from 1.
    """
    kernel = builder.function
    if kernel.name + ".member" in builder.module.globals:
        raise TypeError(f"{context.active_code_library.name} has two pranges, and nobody would wait between them; make two "
                        "kernels of it")
    kernel.attributes.add("noinline")                                   # one copy of it is enough
    _, error, *args, _ = kernel.args
    shared = ir.LiteralStructType([INT, error.type.pointee, ir.IntType(32), *[arg.type for arg in args]])
    data = cgutils.alloca_once(builder, shared)
    code = cgutils.gep_inbounds(builder, data, 0, 2)
    starter, size = builder.load(record), builder.load(builder.gep(record, [INT(1)]))
    for place, value in enumerate([size, ir.Constant(error.type.pointee, None), ir.IntType(32)(OK), *args]):
        builder.store(value, cgutils.gep_inbounds(builder, data, 0, place))

    first = cgutils.alloca_once_value(builder, builder.inttoptr(INT(1), BYTE))
    count, step = cgutils.alloca_once_value(builder, size), cgutils.alloca_once_value(builder, INT(1))
    given = [builder.bitcast(pointer, BYTE) for pointer in (_member(kernel, shared), first, count, step, data)]
    start = ir.FunctionType(ir.VoidType(), [BYTE] * 5 + [INT] * 3).as_pointer()
    builder.call(builder.inttoptr(starter, start), [*given, INT(0), INT(1), size])

    failed = builder.load(code)
    with builder.if_then(builder.icmp_signed("!=", failed, ir.IntType(32)(OK)), likely=False):
        builder.store(builder.load(cgutils.gep_inbounds(builder, data, 0, 1)), error)
        builder.ret(failed)


def _member(kernel: Any, shared: Any) -> Any:
    """What a thread is given to do: calls the kernel for some members of the team, and keeps an error if there is one."""
    kind = ir.FunctionType(ir.VoidType(), [BYTE.as_pointer(), INT.as_pointer(), INT.as_pointer(), BYTE])
    function = ir.Function(kernel.module, kind, kernel.name + ".member")
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block())
    args, dimensions, _, data = function.args
    data = builder.bitcast(data, shared.as_pointer())
    size, *given = [builder.load(cgutils.gep_inbounds(builder, data, 0, place))
                    for place in (0, *range(3, len(shared.elements)))]
    first = builder.sub(builder.ptrtoint(builder.load(args), INT), INT(1))
    result, error = (cgutils.alloca_once(builder, arg.type.pointee) for arg in kernel.args[:2])
    with cgutils.for_range(builder, builder.load(dimensions)) as loop:
        team = builder.or_(builder.shl(builder.add(first, loop.index), INT(32)), size)
        code = builder.call(kernel, [result, error, *given, team])
        well = builder.or_(*(builder.icmp_signed("==", code, ir.IntType(32)(good)) for good in (OK, NONE)))
        with builder.if_then(builder.not_(well), likely=False):
            builder.store(builder.load(error), cgutils.gep_inbounds(builder, data, 0, 1))
            builder.store(code, cgutils.gep_inbounds(builder, data, 0, 2))
    builder.ret_void()
    return function
