"""Tensors that have everything but numbers: shape, type, device, gradient. A real program runs on them in a moment.

torch has such a thing, ``FakeTensorMode``. It is made for compilers: it takes 0.2 ms an operation, and knows no value,
not even that of a token's position. Here floating-point tensors that come from nowhere have no numbers, and everything
made of them has none; whatever does not depend on them (positions, masks, counts) is computed as always. Shapes come
from torch's own shape functions (the ``meta`` device), once for equal arguments. No program has to be changed for it.
"""

from __future__ import annotations

import copy
import functools
import math
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten
_CPU = torch.device("cpu")


class Phantom(torch.Tensor):
    """A tensor on the CPU without numbers. Its ``twin`` on the meta device has the storage that counts."""

    twin: torch.Tensor

    @staticmethod
    def __new__(cls, twin: torch.Tensor) -> Phantom:
        """A tensor of the twin's shape and type."""
        made: Phantom = torch.Tensor._make_wrapper_subclass(
            cls, twin.size(), strides=twin.stride(), storage_offset=twin.storage_offset(), dtype=twin.dtype, device=_CPU
        )
        made.twin = twin
        return made

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        raise RuntimeError(f"{func}: a tensor without numbers is used outside of its simulation")

    @property
    def data(self) -> torch.Tensor:
        """As torch has it."""
        return self.detach()

    @data.setter
    def data(self, value: torch.Tensor) -> None:
        torch.Tensor.data.__set__(self, value)  # type: ignore[attr-defined]
        self.twin = value.twin  # type: ignore[attr-defined]

    def data_ptr(self) -> int:
        """No address, but the same for the same memory and for no other."""
        return int(self.twin.untyped_storage()._cdata)

    def tolist(self) -> Any:
        """Zeros: nobody knows them."""
        zero = 0.0 if self.dtype.is_floating_point else 0
        found: Any = zero
        for size in reversed(self.shape):
            found = [found] * size
        return found

    def __deepcopy__(self, memo: dict[int, Any]) -> Phantom:
        made: Any = self.detach().clone().requires_grad_(self.requires_grad)
        made.__class__ = type(self)
        memo[id(self)] = made
        kept = {name: value for name, value in vars(self).items() if name != "twin"}
        vars(made).update(copy.deepcopy(kept, memo))
        return made  # type: ignore[no-any-return]

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Phantom({tuple(self.shape)}, {self.dtype})"


class Witness(Protocol):
    """Is told what happens in a simulation."""

    def made(self, size: int, tensor: torch.Tensor) -> Callable[[], None]:
        """A block of memory has come to be, of so many bytes, with this in it; gives what to call when it is gone."""

    def did(self, func: Any, args: Any, key: Any, out: Any) -> None:
        """An operation on tensors without numbers.

        Args:
            args: its arguments, tensors as twins.
            key: equal for operations on equal shapes and types; None where nobody knows.
        """


@dataclass(frozen=True)
class _Kind:
    """What must be known of an operation."""

    writes: str | int | None
    """Name or place of the argument that it writes into."""
    reshapes: bool
    """Whether it changes the shape of that argument."""
    views: bool
    """Whether its result lies in an argument's memory."""
    returns: bool


@functools.cache
def _kind_of(func: Any) -> _Kind:
    schema = func._schema
    written = [
        argument.name if argument.kwarg_only else place
        for place, argument in enumerate(schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    reshapes = torch.Tag.inplace_view in func.tags or "resize" in schema.name or "set_" in schema.name
    views = not written and any(result.alias_info is not None for result in schema.returns)
    return _Kind(written[0] if written else None, reshapes, views, bool(schema.returns))


class Simulation(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While active, floating-point tensors that come from nowhere have no numbers.

    A number that is asked for all the same is taken to be 0; two such tensors are taken to be equal.
    """

    def __init__(self, witness: Witness) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._witness = witness
        self._known: dict[int, weakref.ref[Any]] = {}
        self._twins: dict[int, tuple[weakref.ref[torch.Tensor], torch.Tensor]] = {}
        self._shapes: dict[Any, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not (_any_phantom(args) or (kwargs and _any_phantom(kwargs.values()))):
            return self._known_numbers(func, args, kwargs)
        if func in _TOLD:
            return _TOLD[func](args)
        if func is _aten.index.Tensor:
            args = _chosen(args)
        plain = tuple([self._plain(arg) for arg in args])
        named = {name: self._plain(value) for name, value in kwargs.items() if name != "device"}
        if func.namespace == "bitsandbytes" and str(func) in _SHAPED:
            return self._shaped(func, plain)
        kind = _kind_of(func)
        if kind.writes is not None:
            return self._in_place(func, kind, (args, kwargs), plain, named)
        if kind.views:
            return self._wrapped(func(*plain, **named))
        return self._computed(func, plain, named)

    def _known_numbers(self, func: Any, args: Any, kwargs: Any) -> Any:
        """What depends on nothing unknown. Floating-point tensors made of nothing are where the unknown begins."""
        if _makes_floats(func, args, kwargs):
            return self._new(func(*args, **{**kwargs, "device": "meta"}))
        out = func(*args, **kwargs)
        if isinstance(out, torch.Tensor):
            if out.dtype.is_floating_point and out.numel() > _LARGE:
                return self._new(self._twin_of(out))
            self._track(out)
        return out

    def _computed(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """A new result, of the shape that it had for such arguments before."""
        key = (func, _key(args), _key(kwargs.values()))
        known = self._shapes.get(key)
        if known is None:
            out = func(*args, **kwargs)
            self._shapes[key] = _shapes_of(out)
        else:
            out = _of_shapes(known)
        self._witness.did(func, args, key, out)
        return self._new(out)

    def _shaped(self, func: Any, args: Any) -> Any:
        out = _SHAPED[str(func)](*args)
        self._witness.did(func, args, (func, _key(args)), out)
        return self._new(out)

    def _in_place(self, func: Any, kind: _Kind, given: Any, plain: Any, named: Any) -> Any:
        args, kwargs = given
        place = kind.writes
        target = kwargs[place] if isinstance(place, str) else args[place]
        if kind.reshapes:
            func(*plain, **named)
            if isinstance(target, Phantom):
                self._track(target.twin)
        self._witness.did(func, plain, (func, _key(plain), _key(named.values())), named.get("out", plain[0]))
        return target if kind.returns else None

    def _new(self, out: Any) -> Any:
        if isinstance(out, torch.Tensor):
            self._track(out)
            return Phantom(out)
        return type(out)([self._new(part) for part in out]) if isinstance(out, (list, tuple)) else out

    def _wrapped(self, out: Any) -> Any:
        if isinstance(out, torch.Tensor):
            return Phantom(out)
        return type(out)([self._wrapped(part) for part in out]) if isinstance(out, (list, tuple)) else out

    def _track(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        gone = self._witness.made(storage.nbytes(), tensor)

        def end(_: Any) -> None:
            del self._known[key]
            gone()

        self._known[key] = weakref.ref(storage, end)

    def _plain(self, value: Any) -> Any:
        if isinstance(value, Phantom):
            return value.twin
        if isinstance(value, torch.Tensor):
            return self._twin_of(value)
        if isinstance(value, (list, tuple)):
            return type(value)([self._plain(part) for part in value])
        return value

    def _twin_of(self, real: torch.Tensor) -> torch.Tensor:
        """A tensor with numbers as one without."""
        known = self._twins.get(id(real))
        if known is not None and known[0]() is real:
            return known[1]
        twin = torch.empty_strided(real.size(), real.stride(), dtype=real.dtype, device="meta")
        self._twins[id(real)] = weakref.ref(real), twin
        return twin


def _any_phantom(values: Iterable[Any]) -> bool:
    for value in values:
        if isinstance(value, Phantom) or (isinstance(value, (list, tuple)) and _any_phantom(value)):
            return True
    return False


def _key(values: Iterable[Any]) -> Any:
    """Equal for arguments that give results of equal shape and type."""
    found: list[Any] = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append((value.size(), value.stride(), value.dtype))
        elif isinstance(value, (list, tuple)):
            found.append(_key(value))
        else:
            found.append((type(value), value))
    return tuple(found)


def _shapes_of(out: Any) -> Any:
    if isinstance(out, torch.Tensor):
        return tuple(out.size()), out.stride(), out.dtype
    return [type(out), *map(_shapes_of, out)] if isinstance(out, (list, tuple)) else out


def _of_shapes(known: Any) -> Any:
    if isinstance(known, tuple):
        return torch.empty_strided(known[0], known[1], dtype=known[2], device="meta")
    return known[0]([_of_shapes(part) for part in known[1:]]) if isinstance(known, list) else known


# What makes a floating-point tensor whose numbers are drawn, or are filled in later, or are all the same.
_FACTORIES = {
    _aten.empty.memory_format,
    _aten.empty_strided.default,
    _aten.zeros.default,
    _aten.ones.default,
    _aten.full.default,
    _aten.rand.default,
    _aten.randn.default,
    _aten.normal.float_float,
    _aten.eye.default,
    _aten.eye.m,
}
_DRAWN = {_aten.rand.default, _aten.randn.default}


# Known numbers are forgotten where there are so many: masks of long padded rows, which nobody asks about.
_LARGE = 2**23
# So few draws are for a decision, and are made.
_DECISION = 16


def _makes_floats(func: Any, args: Any, kwargs: Any) -> bool:
    if func not in _FACTORIES or (func in _DRAWN and math.prod(args[0]) <= _DECISION):
        return False
    dtype = kwargs.get("dtype")
    if dtype is None:
        return func is not _aten.full.default or isinstance(args[1], float)
    return bool(dtype.is_floating_point)


def _number(args: Any) -> Any:
    dtype = args[0].dtype
    return 0.0 if dtype.is_floating_point else dtype is not torch.bool and 0


def _chosen(args: Any) -> Any:
    """Rows chosen by truth values that are known: as many as there are."""
    indices: list[Any] = []
    for index in args[1]:
        known = index is not None and index.dtype is torch.bool and not isinstance(index, Phantom)
        indices += index.nonzero(as_tuple=True) if known else [index]
    return (args[0], indices, *args[2:])


def _rows_in_8_bits(rows: torch.Tensor, threshold: float = 0.0) -> tuple[torch.Tensor | None, ...]:
    """Rows, their scales, and the columns with outliers, of which there are taken to be none."""
    kinds = ((rows.shape, torch.int8), (rows.shape[:-1].numel(), torch.float32), (0, torch.int64))
    made = [torch.empty(shape, dtype=kind, device="meta") for shape, kind in kinds]
    return tuple(made) if threshold else (*made[:2], None)


def _product_in_8_bits(a: torch.Tensor, rows: Any, weight: torch.Tensor, *others: Any) -> tuple[torch.Tensor, ...]:
    """The product, and what of ``a`` is in columns with outliers."""
    shapes = ((*a.shape[:-1], weight.shape[0]), (*a.shape[:-1], 0))
    return tuple(torch.empty(shape, dtype=a.dtype, device="meta") for shape in shapes)


_TOLD: dict[Any, Callable[[Any], Any]] = {
    _aten._local_scalar_dense.default: _number,
    _aten.equal.default: lambda args: True,
}
# Operations whose result has a shape that depends on numbers, by their full names: their libraries may not be there.
_SHAPED: dict[str, Callable[..., Any]] = {
    "bitsandbytes.int8_vectorwise_quant.default": _rows_in_8_bits,
    "bitsandbytes.int8_mixed_scaled_mm.default": _product_in_8_bits,
}
