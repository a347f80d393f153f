"""The lecture's examples, computed forward and backward.

Input: an ``Example`` or ``Illustration`` and its definition's ``Explanation``. Output: ``Worked`` layers and the shapes
of their tensors as users see them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, prod

from svertka.codegen.book.explanation import Explanation, Formula
from svertka.codegen.book.small import small_call
from svertka.codegen.book.worked import Worked, work
from svertka.spec import gradient_name
from svertka.spec.binding import Call, bind
from svertka.spec.evaluate import Array, whole
from svertka.spec.layers import DEFINITIONS
from svertka.spec.notation import Tensor
from svertka.spec.slides import EXAMPLES, ILLUSTRATIONS, Example, Illustration

__all__ = ["WorkedExample", "examples_of", "worked_example", "worked_examples"]


@dataclass(frozen=True)
class WorkedExample:
    """A computed example.

    Attributes:
        example: the example.
        formula: the definition's formula that it calls.
        call: the bound arguments.
        forward: the formula with numbers; ``result``: its tensor.
        backward: the gradient with numbers, with 1, 2, 3, ... as the result's gradient; ``gradients``: its tensors.
    """

    example: Example | Illustration
    formula: Formula
    call: Call
    forward: Worked
    result: str
    backward: Worked
    gradients: tuple[str, ...]


def examples_of(name: str) -> tuple[Example | Illustration, ...]:
    """The examples of a definition, in the order of the slides."""
    found = [one for one in (*EXAMPLES, *ILLUSTRATIONS) if one.definition == name]
    return tuple(sorted(found, key=lambda one: one.slide))


def worked_examples(explanation: Explanation) -> list[WorkedExample]:
    """All examples of a definition; if there is none, a small call with numbers of ours.

    The lecture's examples belong to its own formulas, not to a user's formula of the same name.
    """
    definition = explanation.definition
    known = DEFINITIONS.get(definition.name)
    examples = examples_of(definition.name) if known is not None and known.variants == definition.variants else ()
    found = [worked_example(example, explanation) for example in examples]
    return found or [_small_example(explanation)]


def _small_example(explanation: Explanation) -> WorkedExample:
    """All numbers are made positive if otherwise some result is NaN or infinite."""
    definition = explanation.definition
    example = Illustration(0, "small numbers", definition.name, {})
    one = _worked(example, small_call(definition), explanation)
    values = [value for array in one.forward.values.values() for value in array.values]
    if all(isfinite(value) for value in values):
        return one
    return _worked(example, small_call(definition, positive=True), explanation)


def worked_example(example: Example | Illustration, explanation: Explanation) -> WorkedExample:
    """Compute an example."""
    return _worked(example, bind(explanation.definition, **example.inputs, **example.arguments), explanation)


def _worked(example: Example | Illustration, call: Call, explanation: Explanation) -> WorkedExample:
    formula = next(f for f in explanation.formulas if f.layer == call.variant.layer)
    forward = work(formula.layer, call.arrays, call.sizes)
    derived = formula.derived
    wanted = tuple(
        name
        for tensor in formula.layer.inputs
        if (name := gradient_name(tensor.name)) in derived.outputs and tensor.name in call.arrays
    )
    given = {t.name: forward.values[t.name] for t in derived.inputs if t.name in forward.values}
    seeds = {t.name: _counted(t, call) for t in derived.inputs if t.name not in formula.layer.tensors}
    backward = work(derived.only(wanted), given | seeds, call.sizes)
    return WorkedExample(example, formula, call, forward, explanation.definition.result[0], backward, wanted)


def _counted(tensor: Tensor, call: Call) -> Array:
    """1, 2, 3, ...: numbers that distinguish the elements of a gradient."""
    shape = tuple(whole(index.extent, call.sizes) for index in tensor.axes)
    return Array(shape, list(range(1, prod(shape) + 1)))
