"""Chains of steps, and how they are composed: as one formula, or as a sequence where the next step is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from torch import Tensor
from torch.nn import functional

from svertka.codegen.frontend.supported import check_supported
from svertka.codegen.lowering.built import built
from svertka.spec.compose import fuse
from svertka.spec.definition import Definition, TensorArgument
from svertka.spec.renamed import parameters_of

from .problem import Drawn, Shape

__all__ = ["Chain", "Composed", "Group", "Step", "composed"]


@dataclass(frozen=True)
class Step:
    """A call of a chain.

    Attributes:
        function: of the library, or of a formula in ``examples/kernelbench``.
        tensors: arguments that are drawn, by name; the first argument is what the step before computed.
        settings: other arguments by name.
        theirs: what torch computes from the same arguments; of the same name in ``torch.nn.functional`` if None.
    """

    function: str
    tensors: Mapping[str, Shape | Drawn] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    theirs: Callable[..., Tensor] | None = None


@dataclass(frozen=True)
class Group:
    """Steps that are one formula.

    Attributes:
        definition: the formula.
        names: for each step, its arguments' names in the formula by its own names.
        refused: why the step behind it is not part of it; empty for the last group.
    """

    definition: Definition
    names: tuple[Mapping[str, str], ...]
    refused: str = ""


@dataclass(frozen=True)
class Chain:
    """A problem of level 2.

    Attributes:
        number, name: KernelBench's.
        shape: of the first step's input.
        steps: in order.
    """

    number: int
    name: str
    shape: Shape
    steps: tuple[Step, ...]

    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors of a call, drawn from fixed seeds: the input, then those of every step."""
        shapes = [self.shape, *(shape for step in self.steps for shape in step.tensors.values())]
        drawn = (one if isinstance(one, Drawn) else Drawn(one) for one in shapes)
        return tuple(one.tensor(seed) for seed, one in enumerate(drawn))

    def results(self, value: Tensor, tensors: Sequence[Tensor], factors: Iterable[Tensor] = ()) -> Iterator[Tensor]:
        """What torch computes in every step.

        Args:
            value: the input.
            tensors: those of the steps, in order.
            factors: what each step's result is multiplied by before the next; nothing if there are none.
        """
        rest, more = iter(tensors), iter(factors)
        for step in self.steps:
            function = step.theirs or getattr(functional, step.function)
            value = function(value, **{name: next(rest) for name in step.tensors}, **step.settings)
            factor = next(more, None)
            value = value if factor is None else value * factor
            yield value


@dataclass(frozen=True)
class Composed:
    """A chain as formulas, one after the other."""

    chain: Chain
    groups: tuple[Group, ...]

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """The formulas, each once."""
        return tuple({group.definition.name: group.definition for group in self.groups}.values())

    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors of a call, as the chain's."""
        return self.chain.tensors()

    def theirs(self, *tensors: Tensor) -> Tensor:
        """What torch computes."""
        value, *others = tensors
        *_, result = self.chain.results(value, others)
        return result

    def ours(self, package: ModuleType) -> Callable[..., Tensor]:
        """What a package of the groups' formulas computes."""

        def call(value: Tensor, *tensors: Tensor) -> Tensor:
            rest, steps = iter(tensors), iter(self.chain.steps)
            for group in self.groups:
                given: dict[str, Any] = {}
                for names in group.names:
                    step = next(steps)
                    every = {**{name: next(rest) for name in step.tensors}, **step.settings}
                    given |= {names.get(name, name): one for name, one in every.items()}
                value = getattr(package.functional, group.definition.function)(value, **given)
            return value

        return call


def composed(chain: Chain, known: Mapping[str, Definition]) -> Composed:
    """A chain in groups, each as long as composition allows.

    Args:
        chain: the problem.
        known: definitions by the names of their functions.
    """
    groups: list[Group] = []
    for number, step in enumerate(chain.steps, 1):
        part = known[step.function]
        if groups:
            before = groups.pop()
            try:
                groups.append(_extended(chain, before, part, number))
                continue
            except (ValueError, TypeError) as error:
                groups.append(Group(before.definition, before.names, str(error)))
        groups.append(Group(part, ({},)))
    return Composed(chain, tuple(groups))


def _extended(chain: Chain, group: Group, part: Definition, number: int) -> Group:
    """The group with one more step.

    Raises:
        ValueError, TypeError: the two are refused.
    """
    given = next(argument for argument in part.arguments if isinstance(argument, TensorArgument))
    taken = {argument.name for argument in group.definition.arguments}
    taken |= {symbol.name for symbol in parameters_of(group.definition)}
    others = (argument.name for argument in part.arguments if argument is not given)
    names = {name: f"{name}_{number}" for name in others if name in taken}
    name = f"chain_{chain.number}_steps_{number - len(group.names)}_to_{number}"
    definition = fuse(name, group.definition, part, into=given.bound, names=names)
    for variant in definition.variants:
        check_supported(variant.layer)
    built(definition)
    return Group(definition, (*group.names, names))
