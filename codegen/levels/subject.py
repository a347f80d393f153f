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
from svertka.codegen.ir import Kernel, Name
from svertka.codegen.symbolic.small import aligned, small_cases
from svertka.spec.definition import Variant
from svertka.spec.layer import Layer

__all__ = ["Outcome", "Subject"]

SYMBOL_UNIT, HALF_UNIT = 2, 8  # elements of float64 and of halves that the copy engine fetches at once
GPU_UNIT = 32  # on a GPU boxes are taken where at least so many elements are summed


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
        return (*cases(self.module.definition, self.variant), *self.box_cases)

    @cached_property
    def small_cases(self) -> tuple[Case, ...]:
        """Sizes at which expressions are compared."""
        return small_cases(self.module.definition, self.variant)

    @property
    def boxed(self) -> tuple[Kernel, ...]:
        """The formula's kernels that can fetch boxes."""
        place = self.module.definition.variants.index(self.variant)
        launches = (launch for program in self.module.programs[place] for launch in program.launches)
        return tuple(dict.fromkeys(launch.kernel for launch in launches if launch.kernel.boxes is not None))

    @cached_property
    def small_box_cases(self) -> tuple[Case, ...]:
        """Small sizes at which tensors are aligned as boxes must be; none where no kernel fetches any."""
        return self.aligned(self.small_cases[:1], SYMBOL_UNIT)

    @cached_property
    def box_cases(self) -> tuple[Case, ...]:
        """The same at sizes for numbers: with unusual parameters, and on a GPU with usual ones too."""
        usual, unusual, *_ = cases(self.module.definition, self.variant)
        if self.device == "cuda":
            return self.aligned((unusual, usual), GPU_UNIT)
        return self.aligned((unusual,), HALF_UNIT)

    def aligned(self, some: tuple[Case, ...], unit: int) -> tuple[Case, ...]:
        """Cases with channels last, and the fastest extents of boxes made multiples of a unit."""
        found = [kernel.boxes for kernel in self.boxed if kernel.boxes is not None]
        fastest = [operand.axes[-1].extent for boxes in found for operand in (boxes.left, boxes.right)]
        names = {extent.name for extent in fastest if isinstance(extent, Name)}
        if not names:
            return ()
        return tuple(aligned(self.module.definition, self.variant, case, names, unit) for case in some)


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
