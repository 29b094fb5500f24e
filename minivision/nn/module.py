"""Modules: Tensors that learn, and the functions they go through.

A `Module` finds its parameters, buffers and sub-modules by looking at its own attributes, so a layer is an ``__init__``
that makes them and a ``forward`` that uses them. Names in ``state_dict`` are attribute paths, as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from minivision_kernels import beside

from .. import functional as F
from ..creation import zeros_like
from ..device import move
from ..saved import check_free
from ..tensor import Tensor


class Parameter(Tensor):
    """A Tensor that a module learns."""

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True):
        super().__init__(data, requires_grad)


class Module:
    """The base of all layers: subclass it, make parameters and sub-modules in ``__init__``, use them in ``forward``."""

    training: bool = True

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}
        self._hooks: dict[int, Callable] = {}

    def forward(self, *inputs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} needs a forward(self, ...) method")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Run ``forward``, then the forward hooks."""
        output = self.forward(*inputs, **options)
        if hooks := self.__dict__.get("_hooks"):
            for hook in list(hooks.values()):
                changed = hook(self, inputs, output)
                output = output if changed is None else changed
        return output

    def register_forward_hook(self, hook: Callable[[Module, tuple, Any], Any]) -> Handle:
        """Call ``hook(module, inputs, output)`` after each forward; what it returns, unless None, replaces the output.

        Returns:
            A handle whose ``remove()`` takes the hook off again; also a context manager that does so at the end.
        """
        handle = Handle(self.__dict__.setdefault("_hooks", {}))
        handle.hooks[id(handle)] = hook
        return handle

    def is_watched(self) -> bool:
        """Whether it is more than its ``forward`` that happens in a call: there are hooks, or this module has a forward of its
        own, put in the place of its class's."""
        return bool(self.__dict__.get("_hooks")) or "forward" in self.__dict__

    def register_buffer(self, name: str, tensor: Tensor) -> None:
        """A Tensor that belongs to the state but is not learned, such as a running mean."""
        self.__dict__.setdefault("_buffers", {})[name] = tensor

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("_buffers", {}) and isinstance(value, Tensor):
            self._buffers[name] = value                      # a new value for a buffer, not an attribute in front of it
        elif isinstance(self.__dict__.get(name), Parameter) and not isinstance(value, (Parameter, Module, type(None))):
            raise TypeError(f"{type(self).__name__}.{name} is a Parameter; a {type(value).__name__} in its place would not be "
                            f"learned. Assign nn.Parameter(value) or None, or change {name}.data")
        else:
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        buffers = self.__dict__.get("_buffers", {})
        if name in buffers:
            return buffers[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    # ------------------------------------------------------------------------------------------ what it consists of

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly below, in the order in which they were made."""
        for name, value in self.__dict__.items():
            if isinstance(value, Module):
                yield name, value

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """This module (by the name ``prefix``) and all below it, each once, or under each of its names."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            path, module = stack.pop()
            if remove_duplicate and id(module) in seen:
                continue
            seen.add(id(module))
            yield path, module
            stack.extend(reversed([(f"{path}.{name}" if path else name, child) for name, child in module.named_children()]))

    def modules(self) -> Iterator[Module]:
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter with its path, each once."""
        seen: set[int] = set()
        for path, module in self.named_modules():
            for name, value in module.__dict__.items():
                if isinstance(value, Parameter) and id(value) not in seen:
                    seen.add(id(value))
                    yield f"{path}.{name}" if path else name, value

    def parameters(self) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters())

    def _state(self) -> dict[str, Tensor]:
        state: dict[str, Tensor] = {}
        for path, module in self.named_modules(remove_duplicate=False):
            own = {k: v for k, v in module.__dict__.items() if isinstance(v, Parameter)}
            for name, value in {**own, **module.__dict__.get("_buffers", {})}.items():
                state[f"{path}.{name}" if path else name] = value
        return state

    def state_dict(self) -> dict[str, Tensor]:
        """A copy of every parameter and buffer by its path; `mv.save` writes it."""
        return {name: Tensor(value._data).clone() for name, value in self._state().items()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LoadedNames:
        """Take over values from a ``state_dict`` of the same structure; all of them or, on any error, none.

        Args:
            state: Tensors or arrays by name.
            strict: whether every name must be there, and no other; with False those that are in both are taken over.

        Returns:
            The names of this model that are not in ``state``, and those in it that are not in this model.

        Raises:
            KeyError: names are missing or left over.
            ValueError: a shape differs.
        """
        own = self._state()
        missing, extra = [k for k in own if k not in state], [k for k in state if k not in own]
        if strict and (missing or extra):
            parts = [f"{what}: {', '.join(names[:4])}{' ...' if len(names) > 4 else ''} ({len(names)})"
                     for what, names in (("missing", missing), ("not in this model", extra)) if names]
            raise ModelMismatchError(f"the weights are for another model than this {type(self).__name__}: {'; '.join(parts)}")
        arrays = {name: value.numpy() if isinstance(value, Tensor) else np.asarray(value)
                  for name, value in state.items() if name in own}
        wanted = {name: value for name, value in own.items() if name in arrays}
        for name, value in wanted.items():
            if arrays[name].shape != value.shape:
                raise ModelMismatchError(f"the weights are for another model than this {type(self).__name__}: {name} has shape "
                                         f"{arrays[name].shape}, expected {value.shape}")
            if arrays[name].dtype.kind not in "biuf":
                raise ModelMismatchError(f"{name} is {arrays[name].dtype}, expected numbers such as {value.dtype}")
            check_free(value._data, name)
        for name, value in wanted.items():
            with beside(value._data):
                value._data[...] = move(arrays[name].astype(value.dtype), value.device)
        return LoadedNames(missing, extra)

    # ------------------------------------------------------------------------------------------ what it does

    def train(self, mode: bool = True) -> Module:
        """Training mode for this module and all below: dropout drops, batch norm uses the batch."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Evaluation mode: dropout passes everything, batch norm uses its running averages."""
        return self.train(False)

    def to(self, device: Any = None, dtype: Any = None) -> Module:
        """Move every parameter and buffer, in place, to ``device`` and floating ones to ``dtype``; on any error, none.

        A dtype may stand in the first place, as in ``to("float64")``.
        """
        device, dtype = F.checks.destination(device, dtype, "to")
        if dtype is not None and dtype not in (np.float32, np.float64):
            raise TypeError(f"to: got {dtype} for a module, expected float32 or float64; its whole numbers stay as they are")
        changes = []
        for name, value in self._state().items():
            moved = value.detach().to(device, dtype if value.dtype.kind == "f" else None)._data
            if moved is not value._data:
                check_free(value._data, name)
                changes.append((value, moved))
        for value, moved in changes:
            value._data, value.grad = moved, None
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or fill them with zeros where ``set_to_none`` is False."""
        for parameter in self.parameters():
            parameter.grad = None if set_to_none or parameter.grad is None else zeros_like(parameter.grad)

    # ------------------------------------------------------------------------------------------ how it looks

    def extra_repr(self) -> str:
        """What stands in the brackets of a layer without children."""
        return ""

    def __repr__(self) -> str:
        children = [f"  ({name}): " + repr(child).replace("\n", "\n  ") for name, child in self.named_children()]
        if not children:
            return f"{type(self).__name__}({self.extra_repr()})"
        return "\n".join([f"{type(self).__name__}(", *children, ")"])


class LoadedNames(NamedTuple):
    """What `Module.load_state_dict` did not take over, by PyTorch's names; both empty where it is strict."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class ModelMismatchError(KeyError, ValueError):
    """Weights do not belong to the model they were given to."""

    def __str__(self) -> str:
        return str(self.args[0])


class Handle:
    """Takes a forward hook off again."""

    def __init__(self, hooks: dict[int, Callable]):
        self.hooks = hooks

    def remove(self) -> None:
        self.hooks.pop(id(self), None)

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()
