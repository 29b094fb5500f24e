"""Reverse-mode differentiation: a graph of functions, walked backward once.

While operations run forward, each leaves a `Function` object behind that knows where its inputs came from. Its
`backward` answers one question: *given the derivative of the final result with respect to my output, what is the
derivative with respect to each of my inputs?* Everything else is the chain rule: start with 1 at the result, ask each
function in turn, and where a value was used twice, add what its uses say.

The nodes of the graph are Functions and leaves (Tensors that no function made). A Tensor in between is not a node: it
points to the Function that made it, and may be dropped as soon as nobody needs its values.

Backward is itself made of operations on Tensors. Run it with recording on (``create_graph=True``) and the gradients
have a graph of their own, so they can be differentiated again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from contextlib import ContextDecorator
from itertools import zip_longest
from typing import Any

import numpy as np

from minivision_kernels import beside, elsewhere
from minivision_kernels.memory import only_view

from .saved import hold, holder, let_go, memory_owner
from .tensor import Tensor, as_operands, go_together

# ---------------------------------------------------------------------------------------------- whether to record


class _Mode(threading.local):
    recording = True

    def __init__(self) -> None:             # runs once in each thread
        self.before: list[bool] = []        # the modes to return to, innermost last


_mode = _Mode()


def is_recording() -> bool:
    """Whether operations leave Functions behind just now, in this thread."""
    return _mode.recording


class _Recording(ContextDecorator):
    """Switch recording on or off for a block or a function; each thread has a switch of its own."""

    def __init__(self, on: bool):
        self.on = on

    def __enter__(self) -> _Recording:
        _mode.before.append(_mode.recording)
        _mode.recording = self.on
        return self

    def __exit__(self, *_: object) -> None:
        _mode.recording = _mode.before.pop()


class no_grad(_Recording):
    """Compute without recording: ``with mv.no_grad(): ...`` or ``@mv.no_grad()`` on a function."""

    def __init__(self) -> None:
        super().__init__(on=False)


class GraphError(RuntimeError):
    """Backward was asked of a graph that is not there: never recorded, or already released."""


# ---------------------------------------------------------------------------------------------- one operation


class Function:
    """One differentiable operation.

    A subclass writes two methods::

        class Mul(Function):
            def forward(self, x, y):            # arrays in, array out
                return x * y

            def backward(self, grad):           # Tensor in, one Tensor (or None) per input out
                x, y = self.inputs
                return grad * y, grad * x

    and is called with ``Mul.apply(x, y)``. Keyword arguments of ``apply`` go to ``forward`` as they are and take no
    part in differentiation. What is common to all operations happens here, once: numbers and arrays become Tensors,
    dtypes meet, gradients are summed back over broadcast axes, cast to their input's dtype and checked for shape.

    ``keeps_inputs`` (all, none, or the number of the first ones) and ``keeps_output`` say which values backward reads. Only
    those stay in memory (and may not be changed) until backward has run. ``needs_grad[i]`` says in backward whether input i
    wants its gradient, so that an expensive one need not be computed in vain.
    """

    keeps_inputs: bool | int = True
    keeps_output = False
    floats_only = False          # integers given to this operation become float32 first (exp, sqrt, division, ...)

    sources: tuple[Node | None, ...] = ()
    needs_grad: tuple[bool, ...] = ()
    released = False
    _record = False              # whether this call is part of a graph
    _held: list[Any] | None = None

    def forward(self, *arrays: Any, **options: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} needs a forward(self, *arrays) method")

    def backward(self, grad: Tensor) -> Any:
        raise NotImplementedError(f"{type(self).__name__} needs a backward(self, grad) method")

    @classmethod
    def apply(cls, *inputs: Any, **options: Any) -> Tensor:
        """Run ``forward`` on the inputs' arrays; remember the operation if a gradient may be asked for later.

        Arrays of a GPU that is not the current one make it so for the time of it.
        """
        for x in inputs:
            if isinstance(x, Tensor):
                if type(x._data) is not np.ndarray and elsewhere(x._data):
                    with beside(x._data):
                        return cls.apply(*inputs, **options)
                break
        function = cls()
        tensors = inputs if go_together(inputs, cls.floats_only) else as_operands(inputs, cls.__name__, cls.floats_only)
        if _mode.recording and True in [x._requires_grad for x in tensors]:
            function._record = True
        try:
            result = function.forward(*[x._data for x in tensors], **options)
        except ValueError as problem:
            shapes = [x.shape for x in (*tensors, *options.values()) if hasattr(x, "shape")]
            if "broadcast" not in str(problem) or can_broadcast(shapes):
                raise
            raise ValueError(f"{cls.__name__}: got shapes {' and '.join(map(str, shapes))}, which do not broadcast; compared "
                             "from the right, each length must be equal or 1") from problem
        if result is None or isinstance(result, (tuple, list)):
            raise TypeError(f"{cls.__name__}.forward returned {type(result).__name__}, expected one array; a Function has one "
                            "output")
        output = Tensor(result)
        if function._record:
            function._remember(tensors, output)
        return output

    def _remember(self, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.sources = tuple([node_of(x) if x._requires_grad else None for x in inputs])
        self._specs = [(x._data.shape, x._data.dtype) for x in inputs]
        kept = []
        if self.keeps_inputs:
            self._inputs = inputs
            kept += [x._data for x in (inputs if self.keeps_inputs is True else inputs[:self.keeps_inputs])]
        if self.keeps_output:
            self._output = output._data
            kept.append(self._output)
        self._hold(kept)
        output.requires_grad_(True)
        output.maker = self

    # -- what backward may read

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The input Tensors, for `backward`."""
        if not self.keeps_inputs:
            raise AttributeError(f"{type(self).__name__} has keeps_inputs = False; set it to True to read self.inputs")
        return self._inputs

    @property
    def output(self) -> Tensor:
        """The output as a Tensor, for `backward`.

        Its maker is this function, so that the gradient of the gradient finds its way back through it.
        """
        if not self.keeps_output:
            raise AttributeError(f"{type(self).__name__} has keeps_output = False; set it to True to read self.output")
        tensor = Tensor(self._output, requires_grad=True)
        tensor.maker = self
        return tensor

    def keep(self, array: Any) -> Any:
        """Hold an array (labels, an index, ...) that backward will read, so that nobody changes it until then."""
        if self._record:
            self._hold([array])
        return array

    def _hold(self, arrays: list[Any]) -> None:
        if arrays:
            hold(arrays, type(self).__name__)
            self._held = arrays if self._held is None else self._held + arrays

    def release(self) -> None:
        """Forget the arrays that backward needed; where the inputs came from is still known."""
        self._let_go()
        sources = self.sources
        self.__dict__.clear()
        self.sources, self.released = sources, True

    def __reduce__(self) -> Any:
        raise TypeError("a computed tensor cannot be copied or pickled together with its history; use tensor.detach()")

    def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            let_go(held)

    def __del__(self) -> None:       # a result thrown away without backward frees its arrays too
        if self._held is not None:
            self._let_go()

    # -- one step of the chain rule

    def gradients(self, upstream: Tensor, wanted: Sequence[bool]) -> list[Tensor | None]:
        """`backward`, with each result brought to the shape and dtype of its input."""
        self.needs_grad = tuple(wanted)
        grads = self.backward(upstream)
        if not isinstance(grads, (tuple, list)):
            grads = (grads,)
        if len(grads) != len(self.sources):
            raise TypeError(f"{type(self).__name__}.backward returned {len(grads)} gradient(s) for "
                            f"{len(self.sources)} input(s); return one per input, None where there is none, and pass "
                            "constants to apply by keyword")
        return [self._fit(i, g) if need and g is not None else None for i, (g, need) in enumerate(zip(grads, wanted))]

    def _fit(self, i: int, grad: Tensor) -> Tensor:
        shape, dtype = self._specs[i]
        name = type(self).__name__
        if not isinstance(grad, Tensor):
            raise TypeError(f"{name}.backward returned {type(grad).__name__} for input {i}; return a Tensor, built from "
                            "operations on Tensors, so that the gradient can be differentiated again")
        if grad._data.shape != shape:
            grad = unbroadcast(grad, shape, f"{name}.backward, input {i}")
        if grad._data.dtype is not dtype and grad.dtype != dtype:
            grad = grad.to(dtype=dtype)
        if self._held is not None and holder(grad._data) is not None:
            grad = grad.clone()      # backward returned what it had kept: a gradient must not alias the data
        return grad


Node = Function | Tensor             # a leaf Tensor, or the Function that made a Tensor


def node_of(tensor: Tensor) -> Node:
    return tensor if tensor.maker is None else tensor.maker


def can_broadcast(shapes: Iterable[tuple[int, ...]]) -> bool:
    """Whether arrays of these shapes fit together: from the right, all lengths along an axis are equal or 1."""
    return all(len(set(lengths) - {1}) < 2 for lengths in zip_longest(*(reversed(s) for s in shapes), fillvalue=1))


def unbroadcast(grad: Tensor, shape: tuple[int, ...], where: str = "gradient") -> Tensor:
    """Sum ``grad`` over the axes along which an input of ``shape`` was repeated to meet the others.

    Broadcasting copies a value to many places; each place sends back a gradient, and the chain rule adds them up.
    """
    extra = grad.ndim - len(shape)
    kept = grad.shape[extra:]
    if extra < 0 or any(have != want and want != 1 for have, want in zip(kept, shape)):
        raise ValueError(f"{where}: got a gradient of shape {grad.shape} for an input of shape {shape}; expected that "
                         "shape, or one that the input broadcasts to")
    repeated = tuple(i for i in range(grad.ndim) if i < extra or shape[i - extra] != grad.shape[i])
    return grad.sum(dim=repeated, keepdim=True).reshape(shape) if repeated else grad.reshape(shape)


# ---------------------------------------------------------------------------------------------- the walk


def order(roots: Iterable[Node]) -> list[Node]:
    """Every node that the roots depend on, sources first.

    A node's gradient is complete only when all of its consumers have spoken. In ``b = a + a; c = b + b``, handing on
    what ``b`` has so far at each of its uses would give ``a`` 2 + 4 = 6 instead of 4. Sources-first order, read backward,
    visits each node once, after all its consumers. A stack instead of recursion, since a graph can be deeper than
    Python's call stack.
    """
    done: list[Node] = []
    seen: set[Node] = set()
    stack = [(root, False) for root in roots]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            done.append(node)
        elif node not in seen:
            seen.add(node)
            if isinstance(node, Function):
                stack.append((node, True))
                stack.extend([(source, False) for source in node.sources if source is not None])
            else:
                done.append(node)
    return done


def propagate(outputs: Sequence[Tensor], gradients: Sequence[Tensor], targets: set[Node] | None, *,
              retain_graph: bool, create_graph: bool) -> dict[Node, Tensor]:
    """Walk the graph once; return the gradient of every target (of every leaf, where ``targets`` is None)."""
    nodes = order([node_of(x) for x in outputs])
    wanted = set(nodes) if targets is None else set(targets)        # where nothing leads to a target, nothing is computed
    for node in nodes:
        if isinstance(node, Function) and not wanted.isdisjoint(node.sources):
            if node.released:
                raise GraphError("the graph was already released by an earlier backward() or grad(), which frees the arrays "
                                 "it kept; pass retain_graph=True to that first call, or compute the result again")
            wanted.add(node)

    upstream: dict[Node, Tensor] = {}
    found: dict[Node, Tensor] = {}
    owned: set[int] = {id(memory_owner(g._data)) for g in gradients}

    def add(node: Node, grad: Tensor) -> None:
        seen = upstream.get(node)
        upstream[node] = grad if seen is None else seen + grad

    with _Recording(create_graph):
        for output, gradient in zip(outputs, gradients):
            add(node_of(output), gradient)
        for node in reversed(nodes):
            grad = upstream.pop(node, None)
            if grad is not None and (node in targets if targets is not None else isinstance(node, Tensor)):
                found[node] = _own(grad, owned)
            if not isinstance(node, Function):
                continue
            if grad is not None and True in (asked := [source in wanted for source in node.sources]):
                for source, part in zip(node.sources, node.gradients(grad, asked)):
                    if source is not None and part is not None:
                        add(source, part)
                if not retain_graph:
                    node.release()
    return found


def _own(grad: Tensor, owned: set[int]) -> Tensor:
    """``grad`` in memory that no other gradient (and no saved array) shares."""
    array = grad._data
    memory = id(memory_owner(array))
    if memory in owned or not only_view(array) or not array.flags.c_contiguous or holder(array) is not None:
        grad = grad.clone()
        memory = id(memory_owner(grad._data))
    owned.add(memory)
    return grad


def _seed(output: Tensor, gradient: Any, what: str) -> Tensor:
    """The upstream gradient of ``output``: the one given, or 1 for a single number."""
    if not isinstance(output, Tensor):
        raise TypeError(f"{what} needs Tensors, got {type(output).__name__}")
    if not output.requires_grad:
        raise GraphError(f"{what} of a tensor that does not require grad: nothing it was computed from has "
                         "requires_grad=True, or it was computed under mv.no_grad()")
    if gradient is None:
        if output.size != 1:
            raise ValueError(f"{what} of a tensor of shape {output.shape} needs a gradient of that shape; pass one, or "
                             "reduce to one number first (for example with .sum())")
        return output.ones_like()
    gradient = gradient if isinstance(gradient, Tensor) else Tensor(gradient)
    if gradient.shape != output.shape:
        raise ValueError(f"{what}: got a gradient of shape {gradient.shape} for a tensor of shape {output.shape}; "
                         "expected the same shape")
    if gradient.device != output.device:
        raise ValueError(f"{what}: got a gradient on {gradient.device} for a tensor on {output.device}; move one with "
                         ".to(device)")
    return gradient if gradient.dtype == output.dtype else gradient.to(dtype=output.dtype)


def backward(output: Tensor, gradient: Any = None, retain_graph: bool = False, create_graph: bool = False) -> None:
    """Add the derivative of ``output`` to the ``grad`` of every leaf it depends on; see `Tensor.backward`."""
    seed = _seed(output, gradient, "backward()")
    retain_graph = retain_graph or create_graph
    found = propagate([output], [seed], None, retain_graph=retain_graph, create_graph=create_graph)
    with _Recording(create_graph):
        for leaf, grad in found.items():
            assert isinstance(leaf, Tensor)
            leaf.grad = grad if leaf.grad is None else leaf.grad + grad


def grad(outputs: Tensor | Sequence[Tensor], inputs: Tensor | Sequence[Tensor], grad_outputs: Any = None,
         retain_graph: bool = False, create_graph: bool = False) -> tuple[Tensor, ...]:
    """The derivative of ``outputs`` with respect to each of ``inputs``, leaving every ``.grad`` alone.

    Args:
        outputs: one Tensor or a sequence; with several, the derivative of their sum is meant.
        inputs: one Tensor or a sequence, leaves or results in between.
        grad_outputs: the upstream gradient of each output, in its shape; may be left out for single numbers.
        retain_graph: keep the graph for another call (always so with ``create_graph``).
        create_graph: record this computation too, so that the result can be differentiated again.

    Returns:
        One Tensor per input, in its shape and dtype.

    Raises:
        GraphError: an output has no graph, the graph was released, or an input takes no part in the outputs.
    """
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if grad_outputs is None or isinstance(grad_outputs, Tensor) or not isinstance(grad_outputs, (list, tuple)):
        grad_outputs = [grad_outputs] * len(outputs) if grad_outputs is None else [grad_outputs]
    if len(grad_outputs) != len(outputs):
        raise ValueError(f"grad(): got {len(grad_outputs)} grad_outputs for {len(outputs)} outputs; pass one for each")
    seeds = [_seed(y, g, "grad()") for y, g in zip(outputs, grad_outputs)]
    for i, x in enumerate(inputs):
        if not isinstance(x, Tensor) or not x.requires_grad:
            raise GraphError(f"grad(): input {i} does not require grad; set requires_grad=True before it is used")
    found = propagate(outputs, seeds, {node_of(x) for x in inputs},
                      retain_graph=retain_graph or create_graph, create_graph=create_graph)
    for i, x in enumerate(inputs):
        if node_of(x) not in found:
            raise GraphError(f"grad(): input {i} of shape {x.shape} takes no part in the outputs, so its gradient is "
                             "zero everywhere; leave it out, or check that the outputs were computed from it")
    return tuple(found[node_of(x)] for x in inputs)
