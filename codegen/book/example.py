"""The lecture's examples worked through, forward and backward.

Input: an ``Example`` or ``Illustration`` and its definition's ``Explanation``. Output: ``Worked`` layers and the shapes
in which users see their tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from svertka.codegen.book.explanation import Explanation, Formula
from svertka.codegen.book.worked import Worked, work
from svertka.spec import gradient_name
from svertka.spec.binding import Call, bind
from svertka.spec.evaluate import Array, whole
from svertka.spec.notation import Tensor
from svertka.spec.slides import EXAMPLES, ILLUSTRATIONS, Example, Illustration

__all__ = ["WorkedExample", "examples_of", "worked_example"]


@dataclass(frozen=True)
class WorkedExample:
    """An example worked through.

    Attributes:
        example: the example.
        formula: which of the definition's formulas it calls.
        call: the arguments as they are bound.
        forward: the formula with numbers; ``result``: its tensor.
        backward: the gradient with numbers, the result's gradient being 1, 2, 3, ...; ``gradients``: its tensors.
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


def worked_example(example: Example | Illustration, explanation: Explanation) -> WorkedExample:
    """Work an example through."""
    definition = explanation.definition
    call = bind(definition, **example.inputs, **example.arguments)
    formula = next(f for f in explanation.formulas if f.layer == call.variant.layer)
    forward = work(formula.layer, call.arrays, call.sizes)
    derived = formula.derived
    seeds = {t.name: _counted(t, call) for t in derived.inputs if t.name not in formula.layer.tensors}
    given = {t.name: call.arrays[t.name] for t in derived.inputs if t.name in call.arrays}
    kept = {t.name: forward.values[t.name] for t in derived.inputs if t.name in forward.values}
    wanted = tuple(
        name
        for t in formula.layer.inputs
        if (name := gradient_name(t.name)) in derived.outputs and t.name in call.arrays
    )
    backward = work(derived.only(wanted), {**kept, **given, **seeds}, call.sizes)
    return WorkedExample(example, formula, call, forward, definition.result[0], backward, wanted)


def _counted(tensor: Tensor, call: Call) -> Array:
    """1, 2, 3, ...: numbers that tell every element of a gradient from the others."""
    shape = tuple(whole(index.extent, call.sizes) for index in tensor.axes)
    return Array(shape, list(range(1, prod(shape) + 1)))
