"""The gradient of a layer as a definition of its own, from which second-order gradients are derived.

Input: a ``Definition``. Output: a ``Definition`` of its adjoints, which is lowered, validated and generated like any
other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from svertka.spec.adjoint import adjoint, gradient_of
from svertka.spec.definition import Argument, Definition, Flag, TensorArgument
from svertka.spec.layer import Layer

__all__ = ["gradient_definition", "gradient_name", "with_gradients"]

SUFFIX = "_gradient"


def with_gradients(definitions: Sequence[Definition]) -> list[Definition]:
    """The definitions, followed by the gradients of those that can be differentiated twice."""
    return [*definitions, *(gradient_definition(d) for d in definitions if d.orders > 1)]


def gradient_name(definition: Definition) -> str:
    """The name of the definition of a definition's gradients."""
    return definition.name + SUFFIX


def gradient_definition(definition: Definition) -> Definition:
    """The definition of a definition's gradients.

    Its formulas take the gradients of the results, then what the formulas take and the gradients need; they give the
    gradients of all tensors that have one. Deriving them for all layers takes seconds, so formulas that were derived
    once are kept.
    """
    variants = tuple(replace(variant, layer=_gradient(definition, variant.layer)) for variant in definition.variants)
    outputs = dict.fromkeys(name for variant in variants for name in variant.layer.outputs)
    inputs = {tensor.name for variant in variants for tensor in variant.layer.inputs}
    seeds = dict.fromkeys(
        gradient_of(variant.layer, name)
        for variant in definition.variants
        for name in definition.real_results(variant.layer)
    )
    return Definition(
        name=gradient_name(definition),
        title=f"Gradient. {definition.title}",
        source=definition.source,
        variants=variants,
        function=definition.function + SUFFIX,
        arguments=(
            *(TensorArgument(name=name) for name in seeds),
            *(_constant_state(a) for a in definition.arguments if _stays(a, inputs)),
        ),
        result=tuple(outputs),
        extents=definition.extents,
        rules=definition.rules,
        gradient=True,
    )


def _gradient(definition: Definition, layer: Layer) -> Layer:
    name = f"{definition.name}{SUFFIX}{layer.name.removeprefix(definition.name)}"
    return _adjoint(layer, name, definition.differentiable(layer), definition.real_results(layer))


@lru_cache(maxsize=512)  # kernels, proofs and pages ask for the same; a definition holds mappings and has no hash
def _adjoint(layer: Layer, name: str, wrt: tuple[str, ...], results: tuple[str, ...]) -> Layer:
    """The adjoint of a layer under another name, the gradients of its results first among its inputs."""
    derived = adjoint(layer, wrt, results)
    seeds = {gradient_of(layer, result) for result in results}
    inputs = sorted(derived.inputs, key=lambda tensor: tensor.name not in seeds)
    return Layer(name, tuple(inputs), derived.equations, derived.outputs)


def _stays(argument: Argument, inputs: set[str]) -> bool:
    if isinstance(argument, TensorArgument):
        return argument.bound in inputs
    return not (isinstance(argument, Flag) and argument.in_place)


def _constant_state(argument: Argument) -> Argument:
    """A gradient does not replace state."""
    return replace(argument, updated_by="") if isinstance(argument, TensorArgument) else argument
