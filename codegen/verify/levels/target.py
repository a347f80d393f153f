"""The input of a validation level."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any, TypeVar

import torch

from svertka.codegen.ir.kernel import Kernel, Name
from svertka.codegen.lowering.build import KernelModule
from svertka.codegen.verify.cases import Case, cases
from svertka.codegen.verify.symbolic.small import aligned, small_cases, usual_case
from svertka.spec.definition import Variant
from svertka.spec.layer import Layer

__all__ = ["Subject", "gradient_operators"]

Result = TypeVar("Result")
SYMBOL_UNIT, HALF_UNIT = 2, 8  # elements of float64, of half precision, in one unit of a descriptor load
GPU_UNIT = 32  # on a GPU boxes are used if at least so many elements are summed


@dataclass(frozen=True)
class Subject:
    """A formula and its kernels in a package.

    Attributes:
        module: the definition's kernels and programs, derived.
        variant: which of the definition's formulas.
        package: name under which the generated package was imported.
        device: the device of the kernels in numeric comparisons; ``"cpu"`` is Triton's interpreter.
        target: for which GPU kernels are compiled if a machine executes them that is no GPU; tensors lie on ``device``.
        runs: cases and dtypes for comparisons of numbers, if they are not the usual ones.
        special: whether numbers are compared at special values, too.
        known: evaluations of the formula that several targets share, by all that they depend on; None to keep none.
    """

    module: KernelModule
    variant: Variant
    package: str
    device: str = "cpu"
    target: str = ""
    runs: tuple[tuple[Case, tuple[torch.dtype, ...]], ...] = ()
    special: bool = True
    known: dict[Any, Any] | None = None

    @property
    def compiled(self) -> bool:
        """Whether compiled kernels run, with a GPU's arithmetic and tiles; else Triton's interpreter."""
        return self.device == "cuda" or bool(self.target)

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
        """Cases for comparisons of numbers."""
        return (*cases(self.module.definition, self.variant), *self.box_cases)

    @cached_property
    def small_cases(self) -> tuple[Case, ...]:
        """Cases for comparisons of expressions."""
        return small_cases(self.module.definition, self.variant)

    def evaluated(self, key: tuple[Any, ...], evaluate: Callable[[], Result]) -> Result:
        """What the formula gives; evaluated once if evaluations are kept."""
        if self.known is None:
            return evaluate()
        if key not in self.known:
            self.known[key] = evaluate()
        found: Result = self.known[key]
        return found

    @property
    def launched(self) -> tuple[Kernel, ...]:
        """The formula's kernels."""
        place = self.module.definition.variants.index(self.variant)
        launches = (launch for program in self.module.programs[place] for launch in program.launches)
        return tuple(dict.fromkeys(launch.kernel for launch in launches))

    @property
    def boxed(self) -> tuple[Kernel, ...]:
        """The formula's kernels that can load boxes."""
        return tuple(kernel for kernel in self.launched if kernel.boxes is not None)

    @property
    def layouts(self) -> tuple[bool, ...]:
        """Layouts from which boxes can be loaded: channels last (True), rows (False), or each for some kernels."""
        return tuple(last for last in (True, False) if self.fastest(last))

    def fastest(self, last: bool) -> set[str]:
        """Extents that must be aligned for the kernels that load boxes from one layout."""
        operands = [
            operand
            for kernel in self.boxed
            if kernel.boxes is not None and _in_rows(kernel) != last
            for operand in (kernel.boxes.left, kernel.boxes.right)
        ]
        return {axis.extent.name for o in operands for axis in o.axes[-1:] if isinstance(axis.extent, Name)}

    @cached_property
    def small_box_cases(self) -> tuple[Case, ...]:
        """Small cases with tensors aligned as boxes require; none if no kernel loads boxes.

        Each layout has two: with unusual parameters, and with usual ones.
        """
        if not self.layouts:
            return ()
        usual = usual_case(self.module.definition, self.variant)
        return self.aligned((self.small_cases[0], usual), SYMBOL_UNIT)

    @cached_property
    def box_cases(self) -> tuple[Case, ...]:
        """The same for comparisons of numbers: with unusual parameters, and of compiled kernels with usual ones too."""
        usual, unusual, *_ = cases(self.module.definition, self.variant)
        if self.compiled:
            return self.aligned((unusual, usual), GPU_UNIT)
        return self.aligned((unusual,), HALF_UNIT)

    def aligned(self, some: tuple[Case, ...], unit: int) -> tuple[Case, ...]:
        """Cases in every layout of boxes, with the boxes' fastest extents rounded to multiples of a unit."""
        return tuple(
            aligned(self.module.definition, self.variant, case, self.fastest(last), unit, last)
            for last in self.layouts
            for case in some
        )


def gradient_operators(subject: Subject) -> list[Any]:
    """The operators of the package that compute the formulas of a gradient's definition; none if it is no gradient."""
    module = f"{subject.package}.gradients.{subject.module.definition.name}"
    if importlib.util.find_spec(module) is None:
        return []
    return list(importlib.import_module(module).OPERATORS.values())


def _in_rows(kernel: Kernel) -> bool:
    """Whether a kernel's boxes are loaded from row-major tensors, for which channels last would be another layout."""
    assert kernel.boxes is not None
    axes = {tensor.name: tensor.axes for tensor in kernel.tensors}
    operands = (kernel.boxes.left, kernel.boxes.right)
    several = any(len(axes[operand.tensor]) > 2 for operand in operands)
    return several and all(operand.axes[-1].axis == axes[operand.tensor][-1] for operand in operands)
