"""Launch coverage: which launches to compile so that every kernel and every entry of every tile table is compiled once.

Programs are recorded at realistic sizes. An entry that no launch chooses there is forced on a kernel that uses other
entries of the same table.

Input: definitions, dtypes and layouts. Output: ``Survey``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, product
from types import ModuleType

import torch

from svertka.codegen.ir.kernel import Kernel
from svertka.codegen.lowering.build import KernelModule
from svertka.codegen.lowering.built import built
from svertka.codegen.verify.cases import large_case
from svertka.codegen.verify.recording import PACKAGE, TARGET, Launched, Recorded, defined_name, entries, recorded
from svertka.spec.definition import Definition, Variant

__all__ = ["LAYOUTS", "Planned", "Survey", "survey"]

LAYOUTS = {"row-major": False, "channels_last": True}
OTHER_DTYPE = "float64"  # for tables that the usual dtypes never use


@dataclass(frozen=True)
class Planned:
    """A launch to compile.

    Attributes:
        kernel: the kernel; ``dtype``, ``layout``: of its tensors.
        launch: with all its arguments.
        boxed: whether it fetches its operands by tensor descriptors.
        forced: the entry of a table that was forced on it, if any.
    """

    kernel: Kernel
    dtype: str
    layout: str
    launch: Launched
    boxed: bool
    forced: str = ""

    @property
    def name(self) -> str:
        """The function that is launched, as it is called where it is defined."""
        return str(self.launch.kernel.__name__)

    @property
    def tiles(self) -> str:
        """The tiles, as text."""
        return " ".join(f"{name}={self.launch.constants[name]}" for name in self.launch.tiles)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """The key that distinguishes it from other launches."""
        return self.name, self.dtype, self.layout, self.tiles


@dataclass
class Survey:
    """The launches and programs that were found.

    Attributes:
        planned: launches by their keys.
        programs: dtype, layout and the recording.
        kernels: names of all kernels.
        untaken: entries of tables that no kernel uses.
    """

    planned: dict[tuple[str, ...], Planned] = field(default_factory=dict)
    programs: list[tuple[str, str, Recorded]] = field(default_factory=list)
    kernels: set[str] = field(default_factory=set)
    untaken: list[str] = field(default_factory=list)

    def add(self, other: Survey) -> None:
        """Add another survey."""
        self.take(other.planned.values())
        self.programs += other.programs
        self.kernels |= other.kernels
        self.untaken += other.untaken

    def take(self, planned: Iterable[Planned]) -> None:
        """Add launches; one per key."""
        for one in planned:
            self.planned.setdefault(one.key, one)


@dataclass(frozen=True)
class _Subject:
    """A variant to record."""

    module: KernelModule
    variant: Variant
    kernels: ModuleType
    target: str

    def programs(self, dtype: str, layout: str, forced: str = "") -> list[Recorded]:
        """Its programs at realistic sizes; ``forced``: with a table's entry forced on them."""
        case = large_case(self.module.definition, self.variant)
        kind, last = getattr(torch, dtype), LAYOUTS[layout]
        return list(recorded(self.module, self.variant, self.kernels, case, kind, last, forced, self.target))

    def planned(self, programs: Sequence[Recorded], dtype: str, layout: str, forced: str = "") -> Iterator[Planned]:
        """The launches of its programs; if an entry was forced, only those that used it."""
        functions = [(kernel, name) for kernel in self.module.kernels for name in kernel.functions]
        known = {defined_name(self.kernels, name): (kernel, name != kernel.name) for kernel, name in functions}
        for launch in (one for program in programs for one in program.launches):
            if launch.entry == forced or not forced:
                kernel, boxed = known[launch.kernel.__name__]
                yield Planned(kernel, dtype, layout, launch, boxed, forced)


def survey(
    definitions: Sequence[Definition],
    dtypes: Sequence[str],
    layouts: Sequence[str] = tuple(LAYOUTS),
    tables: bool = False,
    target: str = TARGET,
    progress: Callable[[str], None] = lambda name: None,
    package: str = PACKAGE,
) -> Survey:
    """Record all programs of some definitions.

    Args:
        definitions: the definitions of the programs.
        dtypes: of their real tensors.
        layouts: of all their tensors.
        tables: also add a launch for every entry of the tile tables.
        target: the target whose tables choose the tiles.
        progress: called with a definition's name when it is done.
        package: name of the package that has the kernels.
    """
    found = Survey()
    variants: list[_Subject] = []
    for definition in definitions:
        module = built(definition)
        kernels = importlib.import_module(f"{package}.kernels.{definition.name}")
        found.kernels |= {defined_name(kernels, name) for kernel in module.kernels for name in kernel.functions}
        variants += [_Subject(module, variant, kernels, target) for variant in definition.variants]
        progress(definition.name)
    for subject, dtype, layout in product(variants, dtypes, layouts):
        programs = subject.programs(dtype, layout)
        found.programs += [(dtype, layout, program) for program in programs]
        found.take(subject.planned(programs, dtype, layout))
    if tables:
        _force_entries(found, variants, (*dtypes, OTHER_DTYPE))
    return found


def _force_entries(found: Survey, variants: Sequence[_Subject], dtypes: Sequence[str]) -> None:
    """Add a launch for every entry of a table that no launch has chosen."""
    chosen = {launch.entry for _, _, program in found.programs for launch in program.launches}
    for name in entries():
        if name not in chosen:
            taker = list(islice(_takers(name, variants, dtypes), 1))
            found.take(taker)
            found.untaken += [] if taker else [name]


def _takers(name: str, variants: Sequence[_Subject], dtypes: Sequence[str]) -> Iterator[Planned]:
    """Launches that use an entry that is forced on them."""
    for dtype, subject, layout in product(dtypes, variants, LAYOUTS):
        if any(kernel.operands for kernel in subject.module.kernels):
            yield from subject.planned(subject.programs(dtype, layout, name), dtype, layout, name)
