"""What the backward of a formula reads of its forward, and along which axis examples are independent.

Input: the ``KernelModule`` of a definition. Output: ``Kept``; with it a package saves only what is read again.
"""

from __future__ import annotations

from dataclasses import dataclass

from svertka.codegen.ir.loop_patterns import LoopPattern
from svertka.codegen.lowering.build import KernelModule, Program
from svertka.spec.layer import Layer
from svertka.spec.normal_form import normal_form
from svertka.spec.notation import Index, Read, Reduction, Tensor

__all__ = ["Kept", "kept_of", "product_of"]

ROLES = {"result": "result", "temporary": "accumulator", "integer": "int64", "position": "int32"}


@dataclass(frozen=True)
class Kept:
    """What the backward reads of a call.

    Attributes:
        saved: what the forward kernels keep, with the type of its elements: ``"result"`` (as the first tensor),
            ``"accumulator"``, ``"int64"`` or ``"int32"``.
        tensors: the saved tensors with their dimensions.
        read: the formula's tensors that the backward kernels read, besides saved tensors.
        read_plainly: the formula's tensors that its gradient reads if nothing is kept.
        answers: tensors that an output replaces in the backward, and that output; it is kept instead of the tensor.
        examples: tensors, outputs and saved tensors whose first axis counts independent examples; empty if there is no
            such axis, or if an output or a saved tensor does not begin with it.
    """

    saved: dict[str, str]
    tensors: tuple[Tensor, ...]
    read: tuple[str, ...]
    read_plainly: tuple[str, ...]
    answers: dict[str, str]
    examples: tuple[str, ...]


def kept_of(module: KernelModule, place: int) -> Kept:
    """What the backward of a variant reads."""
    layer = module.definition.variants[place].layer
    _, saving, backward = module.programs[place]
    names = module.saved[layer.name]
    allocations = {a.name: a for launch in saving.launches for a in launch.allocations}
    tensors = tuple(allocations[name].tensor for name in names)
    return Kept(
        saved={name: ROLES[allocations[name].role] for name in names},
        tensors=tensors,
        read=_read(backward, layer),
        read_plainly=tuple(t.name for t in layer.inputs if t.name in module.read[layer.name]),
        answers=module.answers[layer.name],
        examples=_examples(layer, tensors),
    )


def _read(program: Program, layer: Layer) -> tuple[str, ...]:
    """Tensors of a layer that the kernels of a program take as operands."""
    taken = {t.name for launch in program.launches for t in launch.kernel.tensors if not t.output}
    return tuple(t.name for t in layer.inputs if t.name in taken)


def _examples(layer: Layer, saved: tuple[Tensor, ...]) -> tuple[str, ...]:
    """Names of tensors that begin with the first tensor's first axis, if each result depends on one place along it."""
    first = layer.inputs[0]
    if not first.dims or len(first.dims[0]) != 1:
        return ()
    axis = first.dims[0][0]
    outputs = [layer.tensors[name] for name in layer.outputs]
    if any(not tensor.dims or tensor.dims[0] != (axis,) for tensor in (*outputs, *saved)):
        return ()
    if not all(_is_only_first(equation.value, axis) for equation in normal_form(layer).equations):
        return ()
    every = [*layer.inputs, *outputs, *saved]
    return tuple(dict.fromkeys(t.name for t in every if t.dims and t.dims[0] == (axis,)))


def _is_only_first(value: object, axis: Index) -> bool:
    """Whether a value has an axis only as the first index of reads: no reduction over it, and not its extent."""
    if value in (axis, axis.extent):
        return False
    if isinstance(value, Reduction) and axis in value.indices:
        return False
    if isinstance(value, Read):
        return all(_is_only_first(index, axis) for place, index in enumerate(value.indices) if place or index != axis)
    return all(_is_only_first(part, axis) for part in getattr(value, "args", ()))


def product_of(module: KernelModule, place: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Factors of the product that the forward of a variant computes, and the extents of its loops.

    Both are empty if the forward has no product, or several.
    """
    forward, _, _ = module.programs[place]
    kernels = [launch.kernel for launch in forward.launches if launch.kernel.pattern == LoopPattern.CONTRACTION]
    if len(kernels) != 1:
        return (), ()
    (kernel,) = kernels
    rows = {axis.index: axis for axis in kernel.rows.order}
    axes = [rows[axis.index] for group in kernel.groups for axis in group.order if axis.index in rows]
    axes += kernel.columns.order
    return tuple(operand.tensor for operand in kernel.operands), tuple(axis.extent for axis in axes)
