"""The interpreter's builder for programs that run together: operations that know shapes, with an axis for the program.

Operations that work element by element stay Triton's own. Those that are not known here are refused.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime import interpreter as engine

__all__ = ["AloneError", "Boxes", "Builder", "Programs", "Reductions", "Scans", "for_all", "spread_load"]

_Handle = engine.TensorHandle


class AloneError(BaseException):  # no Exception, for Triton wraps those that leave a function of a kernel
    """These programs cannot run together."""


class Programs:
    """The programs that run together.

    Attributes:
        places: their indices in the grid, [3, programs]; None where programs run one after another.
        count: how many there are; 0 where programs run one after another.
    """

    places: Any = None
    count = 0


def _spread(*arrays: Any) -> Any:
    """Arrays of one shape, as loads need them."""
    if not Programs.count:
        return arrays
    return _in_shape(np.broadcast_shapes(*(array.shape for array in arrays)), arrays)


def spread_load(pointers: Any, mask: Any, other: Any) -> tuple[Any, Any, Any]:
    """Addresses, mask and values elsewhere (None where there are none) of a load, of one shape."""
    addresses, live, *values = _spread(pointers.data, mask.data, *(() if other is None else (other.data,)))
    return addresses, live, values[0] if values else None


def for_all(*arrays: Any) -> Any:
    """Arrays of one shape, with the values of every program: as many stores as there are programs."""
    if not Programs.count:
        return arrays
    every = (Programs.count,) + (1,) * (arrays[0].ndim - 1)
    return _in_shape(np.broadcast_shapes(every, *(array.shape for array in arrays)), arrays)


def _in_shape(shape: tuple[int, ...], arrays: Any) -> list[Any]:
    return [array if array.shape == shape else np.broadcast_to(array, shape) for array in arrays]


class Builder(engine.InterpreterBuilder):  # type: ignore[misc]
    """Operations that know shapes."""

    def create_get_program_id(self, axis: int) -> Any:
        """The index of every program."""
        places = Programs.places[axis]
        return _Handle(places[:1] if (places == places[0]).all() else places, tl.int32)

    def create_splat(self, ret_ty: Any, arg: Any) -> Any:
        """A tile of one number, or of one truth: a comparison's handle has the type of what is compared."""
        shape, length = tuple(ret_ty.shape), len(arg.data)
        values = arg.data.reshape(length, *(1,) * len(shape))
        return _Handle(np.full((length, *shape), values), arg.dtype.scalar)

    def create_make_range(self, ret_ty: Any, start: int, stop: int) -> Any:
        """Consecutive integers."""
        return _Handle(np.arange(start, stop, dtype=np.int32)[None], tl.int32)

    def create_expand_dims(self, arg: Any, axis: int) -> Any:
        """One more axis of length 1."""
        return _Handle(np.expand_dims(arg.data, axis + 1), arg.dtype.scalar)

    def create_broadcast(self, arg: Any, shape: Any) -> Any:
        """A tile repeated along axes of length 1."""
        return _Handle(np.broadcast_to(arg.data, (len(arg.data), *shape)), arg.dtype.scalar)

    def create_reshape(self, arg: Any, shape: Any, allow_reorder: bool) -> Any:
        """The same elements in another shape."""
        return _Handle(arg.data.reshape(len(arg.data), *shape), arg.dtype.scalar)

    def create_trans(self, arg: Any, perm: Any) -> Any:
        """Axes in another order."""
        return _Handle(np.transpose(arg.data, (0, *(axis + 1 for axis in perm))), arg.dtype.scalar)


def _refusing(name: str) -> Any:
    def refused(*_: Any, **__: Any) -> Any:
        raise AloneError(name)

    return refused


_NAMES = """
fadd fmul fdiv frem fsub mul precise_divf sdiv udiv srem urem add sub shl lshr ashr and xor or idiv umulhi
minsi minui minimumf minnumf maxsi maxui maximumf maxnumf clampf select fma
icmpSLE icmpSLT icmpSGE icmpSGT icmpULE icmpULT icmpUGE icmpUGT icmpEQ icmpNE
fcmpOLT fcmpOGT fcmpOLE fcmpOGE fcmpOEQ fcmpONE fcmpULT fcmpUGT fcmpULE fcmpUGE fcmpUEQ fcmpUNE
fabs cos exp exp2 iabs floor ceil log log2 precise_sqrt sqrt sin erf rsqrt
si_to_fp ui_to_fp fp_to_si fp_to_ui fp_ext fp_trunc int_cast fp_to_fp bitcast int_to_ptr ptr_to_int addptr
load store masked_load masked_store get_num_programs barrier assert assume
dot split make_tensor_descriptor descriptor_load descriptor_store
"""
_KNOWN = {f"create_{name}" for name in _NAMES.split()} | vars(Builder).keys()
"""Operations that Triton's builder does right with one more axis, that have it here, or that effects replace."""

for _name in vars(engine.InterpreterBuilder):
    if _name.startswith("create_") and _name not in _KNOWN:
        setattr(Builder, _name, _refusing(_name))


class Boxes(engine.TensorDescHandle):  # type: ignore[misc]
    """A tensor of which boxes are loaded and stored; it may begin elsewhere in every program."""

    def validate(self) -> None:
        """Check what Triton checks, for every program."""
        size = self.base.dtype.element_ty.primitive_bitwidth // 8
        starts = (self.base.data, *(stride.data * size for stride in self.strides[:-1]))
        if not 1 <= self.ndim == len(self.strides) == len(self.block_shape):
            raise AloneError("a box with other axes than its tensor")
        if any((start % 16 != 0).any() for start in starts) or (self.strides[-1].data != 1).any():
            raise AloneError("a box that is not aligned")

    def materialize_pointers(self, offsets: list[Any]) -> tuple[Any, Any]:
        """Pointers to the elements of every program's box, and which of them are inside the tensor."""
        size = self.base.dtype.element_ty.primitive_bitwidth // 8
        if ((offsets[-1].data * size) % 16 != 0).any():
            raise AloneError("a box that is not aligned")

        def wide(handle: Any) -> Any:
            return handle.data.reshape(-1, *(1,) * self.ndim)

        pointers, inside = wide(self.base), np.ones(1, dtype=bool)
        for axis, length in enumerate(self.block_shape):
            along = [1] * (self.ndim + 1)
            along[axis + 1] = length
            place = wide(offsets[axis]) + np.arange(length).reshape(along)
            pointers = pointers + (size * place * wide(self.strides[axis])).astype(np.uint64)
            inside = inside & (place >= 0) & (place < wide(self.shape[axis]))
        return _Handle(pointers, self.base.dtype.scalar), _Handle(inside, tl.int1)


class Reductions(engine.ReduceOps):  # type: ignore[misc]
    """Reductions along an axis of the tile that one program sees."""

    axis: Any

    def apply_impl(self, input: tuple[Any, ...]) -> Any:
        """Reduce; the axis of the program stays."""
        known = ("argmin_combine_tie_break_left", "argmax_combine_tie_break_left", "elementwise_max", "elementwise_min")
        if all(self.combine_fn != getattr(tl.standard, f"_{name}") for name in (*known, "sum_combine")):
            raise AloneError("a reduction by a function of its own")
        if self.axis is None:
            raise AloneError("a reduction along all axes")
        axis = operator.index(self.axis)
        self.axis = axis + 1 if axis >= 0 else axis
        return super().apply_impl(input)

    def to_tensor(self, ret: Any, dtype: Any) -> Any:
        """A result of every program."""
        return _of_programs(ret, dtype)


class Scans(engine.ScanOps):  # type: ignore[misc]
    """Scans along an axis of the tile that one program sees."""

    axis: Any

    def apply_impl(self, input: tuple[Any, ...]) -> Any:
        """Scan; the axis of the program stays."""
        axis = operator.index(self.axis)
        self.axis = axis + 1 if axis >= 0 else axis
        return super().apply_impl(input)

    def generic_scan(self, input: tuple[Any, ...]) -> list[Any]:
        """Scan by a function of tiles: of one place after another."""
        found = [np.array(tile.handle.data) for tile in input]
        count = found[0].shape[self.axis]

        def at(data: Any, place: int) -> Any:
            return np.take(data, [place], self.axis)

        for place in range(1, count):
            parts = [
                self.to_tensor(at(data, number), tile.dtype)
                for number in (place - 1, place)
                for data, tile in zip(found, input, strict=True)
            ]
            combined = self.combine_fn.fn(*parts)
            for data, tile in zip(found, combined if isinstance(combined, tuple) else (combined,), strict=True):
                np.moveaxis(data, self.axis, 0)[place] = np.moveaxis(tile.handle.data, self.axis, 0)[0]
        return [self.to_tensor(data, tile.dtype) for data, tile in zip(found, input, strict=True)]

    def to_tensor(self, ret: Any, dtype: Any) -> Any:
        """A result of every program."""
        return _of_programs(ret, dtype)


def _of_programs(values: Any, dtype: Any) -> Any:
    """A tile of every program."""
    handle, shape = _Handle(values.astype(engine._get_np_dtype(dtype)), dtype.scalar), list(values.shape[1:])
    return tl.core.tensor(handle, tl.block_type(dtype, shape) if shape else dtype)
