"""From gradients to steps. Parameters are updated in place, so a graph that still needs their values refuses first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from minivision_kernels import array_module, beside, run

from ..device import move
from ..saved import check_free
from ..tensor import Tensor

Change = tuple[Any, Any, dict[str, Any]]        # a parameter's array, its gradient, and its own dict of state


class Optimizer:
    """What all optimisers share: the parameters, ``lr``, and a state that can be saved and loaded.

    A subclass lists in ``slots`` the arrays it keeps for each parameter, and does its mathematics in ``update``, for one
    parameter, or in ``update_all``, for all of them.
    """

    slots: tuple[str, ...] = ()
    counters: tuple[str, ...] = ()          # those of the slots that hold a whole number instead of an array

    def __init__(self, params: Iterable[Tensor], lr: float, **settings: Any):
        name = type(self).__name__
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            raise TypeError(f"{name} got a {type(params).__name__}, expected several Tensors: model.parameters(), or [tensor]")
        self.params = list(params)
        if not self.params:
            raise ValueError(f"{name} got no parameters; pass model.parameters(), afresh each time. A Module finds only "
                             "Parameters and Modules that are its own attributes; put those of a list into nn.Sequential")
        for i, p in enumerate(self.params):
            if not isinstance(p, Tensor):
                raise TypeError(f"{name}: parameter {i} is a {type(p).__name__}, expected a Tensor with requires_grad=True; "
                                "pass model.parameters()")
            if not p.requires_grad or p.maker is not None:
                raise ValueError(f"{name}: parameter {i} is "
                                 + ("computed from others" if p.maker is not None else "a Tensor that does not require grad")
                                 + "; only leaves with requires_grad=True can be learned")
        if len({id(p) for p in self.params}) < len(self.params):
            raise ValueError(f"{type(self).__name__}: a parameter is listed twice and would be changed twice; pass each once")
        _not_negative(type(self).__name__, lr=lr)
        self.lr = float(lr)
        self.settings = settings
        self.steps = 0
        self.state: list[dict[str, Any]] = [{} for _ in self.params]

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self.params:
            p.grad = None

    def step(self) -> None:
        """Change every parameter that has a gradient.

        Raises:
            InPlaceError: a graph that has not run backward still needs a parameter's value; nothing is changed then.
        """
        changes = []
        for i, (p, state) in enumerate(zip(self.params, self.state)):
            if p.grad is None:
                continue
            array = p._data
            check_free(array, "a parameter")
            dtype, kind = array.dtype, type(array)
            for slot in state.values():
                if type(slot) is not int and (type(slot) is not kind or (slot.dtype is not dtype and slot.dtype != dtype)):
                    raise ValueError(f"{type(self).__name__}: parameter {i} has become {p.dtype} on {p.device} since the first "
                                     "step; create the optimiser after model.to(...)")
            changes.append((array, p.grad._data, state))
        self.steps += 1
        self.update_all(changes)

    def update_all(self, changes: list[Change]) -> None:
        """Change all parameters: one by one, as `update` says, unless a subclass knows how to change several at once."""
        for change in changes:
            self.update(*change)

    def update(self, param: Any, grad: Any, state: dict[str, Any]) -> None:
        """Change the array ``param`` in place; ``state`` is this parameter's own dict, empty at first."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Settings as numbers and, for each parameter and slot, an array by the name ``"<parameter>.<slot>"``."""
        result: dict[str, Any] = {"name": type(self).__name__, "lr": self.lr, "steps": self.steps, **self.settings}
        for i, state in enumerate(self.state):
            for slot, value in state.items():
                result[f"{i}.{slot}"] = value if isinstance(value, int) else Tensor(value).clone()
        return result

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a ``state_dict`` of the same kind of optimiser over the same parameters.

        Raises:
            ValueError: it is for another optimiser or other parameters; nothing is changed then.
        """
        values = dict(state)
        name = values.pop("name", None)
        if name != type(self).__name__:
            raise ValueError(f"the optimiser state is for {name}, expected {type(self).__name__}")
        try:
            lr, steps = float(values.pop("lr")), int(values.pop("steps"))
            settings = {k: tuple(v) if isinstance(v := values.pop(k), list) else v for k in self.settings}
        except KeyError as problem:
            raise ValueError(f"the optimiser state lacks {problem}; it was not written by {name}.state_dict()") from None
        try:
            type(self)(self.params, lr, **settings)                      # the constructor knows what is allowed
        except TypeError as problem:
            raise ValueError(f"the optimiser state has settings of another kind: {problem}") from problem
        loaded: list[dict[str, Any]] = [{} for _ in self.params]
        for key, value in values.items():
            number, _, slot = key.partition(".")
            if slot not in self.slots or not number.isdigit() or int(number) >= len(self.params):
                raise ValueError(f"the optimiser state has an entry {key!r} that fits none of {len(self.params)} parameters")
            p = self.params[int(number)]
            if slot in self.counters:
                loaded[int(number)][slot] = int(value)
            elif np.shape(value) != p.shape:
                raise ValueError(f"the optimiser state is for another model: {key} has shape {np.shape(value)}, expected "
                                 f"{p.shape}")
            else:
                loaded[int(number)][slot] = move(np.array(value, dtype=p.dtype), p.device)
        self.lr, self.steps, self.state = lr, steps, loaded
        self.settings.update(settings)


def alike(changes: list[Change], what: list[Any]) -> list[tuple[Any, list[Change]]]:
    """The changes in groups that one call can make: of one dtype, on one kind of device, and with the same word of ``what``."""
    groups: dict[Any, list[Change]] = {}
    for change, word in zip(changes, what):
        groups.setdefault((word, type(change[0]), change[0].dtype), []).append(change)
    return [(key[0], group) for key, group in groups.items()]


def _not_negative(name: str, **values: float) -> None:
    for argument, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 <= value < float("inf"):
            raise ValueError(f"{name}: got {argument}={value!r}, expected a number >= 0")


class SGD(Optimizer):
    """Stochastic gradient descent, as PyTorch defines it (Sutskever et al. 2013 for the momentum).

        g = grad + weight_decay * p
        v = momentum * v + (1 - dampening) * g      (v = g in the first step)
        p = p - lr * v                              (p - lr * (g + momentum * v) with nesterov)
    """

    slots = ("velocity",)

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0, dampening: float = 0,
                 weight_decay: float = 0, nesterov: bool = False):
        _not_negative("SGD", momentum=momentum, dampening=dampening, weight_decay=weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError(f"SGD: nesterov needs momentum > 0 and dampening 0, got {momentum} and {dampening}")
        super().__init__(params, lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov)

    def update_all(self, changes: list[Change]) -> None:
        momentum = self.settings["momentum"]
        for first, group in alike(changes, ["velocity" not in state for *_, state in changes]):
            params, grads, states = zip(*group)
            if momentum and first:
                for param, state in zip(params, states):
                    with beside(param):
                        state["velocity"] = array_module(param).zeros_like(param)
            velocities = tuple([state["velocity"] for state in states]) if momentum else None
            run("sgd_update", params, grads, velocities, lr=self.lr, first=first, **self.settings)


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, algorithm 1): steps of about ``lr`` in each coordinate, whatever the gradient's size.

        m = b1 m + (1 - b1) g          v = b2 v + (1 - b2) g²
        p = p - lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
    """

    slots, counters = ("m", "v", "t"), ("t",)

    def __init__(self, params: Iterable[Tensor], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0):
        _not_negative("Adam", eps=eps, weight_decay=weight_decay)
        if len(betas) != 2 or not all(0 <= b < 1 for b in betas):
            raise ValueError(f"Adam: got betas={betas!r}, expected two numbers in 0 .. 1 (without 1)")
        super().__init__(params, lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay)

    def update_all(self, changes: list[Change]) -> None:
        for param, _, state in changes:
            if not state:
                with beside(param):
                    state.update(m=array_module(param).zeros_like(param), v=array_module(param).zeros_like(param), t=0)
            state["t"] += 1
        beta1, beta2 = self.settings["betas"]
        for step, group in alike(changes, [state["t"] for *_, state in changes]):
            params, grads, states = zip(*group)
            m, v = (tuple([state[slot] for state in states]) for slot in ("m", "v"))
            run("adam_update", params, grads, m, v, lr=self.lr, beta1=beta1, beta2=beta2, eps=self.settings["eps"],
                weight_decay=self.settings["weight_decay"], step=step)
