"""What a validation level is given and what it answers."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import Any

from svertka.codegen.build import KernelModule
from svertka.codegen.cases import Case, cases
from svertka.codegen.symbolic.small import small_cases
from svertka.spec.definition import Variant
from svertka.spec.layer import Layer

__all__ = ["Outcome", "Subject"]


@dataclass(frozen=True)
class Subject:
    """A formula and its kernels in a package.

    Attributes:
        module: the definition's kernels and programs, derived.
        variant: which of the definition's formulas.
        package: name under which the generated package was imported.
        device: where kernels run that are compared by numbers; ``"cpu"`` is Triton's interpreter.
    """

    module: KernelModule
    variant: Variant
    package: str
    device: str = "cpu"

    @property
    def layer(self) -> Layer:
        """The formula."""
        return self.variant.layer

    @property
    def kernels(self) -> ModuleType:
        """The module of kernels."""
        return importlib.import_module(f"{self.package}.kernels.{self.module.definition.name}")

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """Sizes at which numbers are compared."""
        return tuple(cases(self.module.definition, self.variant))

    @cached_property
    def small_cases(self) -> tuple[Case, ...]:
        """Sizes at which expressions are compared."""
        return small_cases(self.module.definition, self.variant)


@dataclass(frozen=True)
class Outcome:
    """What a level showed of a formula.

    Attributes:
        level: its name.
        layer: the formula's name.
        cases: how many cases ran; ``elements``: how many elements were compared.
        figures: what else the level has to say, as JSON has it.
        failures: one line each; empty if the level holds.
        inapplicable: why the level says nothing of this formula; empty if it does.
    """

    level: str
    layer: str
    cases: int = 0
    elements: int = 0
    figures: Mapping[str, Any] = field(default_factory=dict)
    failures: tuple[str, ...] = ()
    inapplicable: str = ""

    @property
    def holds(self) -> bool:
        """Whether something was compared and nothing failed."""
        return self.elements > 0 and not self.failures
