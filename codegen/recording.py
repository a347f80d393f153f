"""What a program launches, found without a GPU.

Programs run on tensors of torch's ``meta`` device, which have shapes and strides and no memory; each launch is
recorded instead of run.

Input: a module's programs and a case. Output: ``Recorded``s of ``Launched``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any
from unittest import mock

import torch

from svertka.codegen.build import KernelModule, results_of
from svertka.codegen.cases import Case
from svertka.codegen.equivalence import canonical_shape, differentiable, run_backward, run_forward
from svertka.spec import gradient_name
from svertka.spec.definition import Variant
from svertka.spec.notation import Tensor

__all__ = ["Launched", "Recorded", "entries", "entry_name", "recorded"]

ENTRIES = "contraction"  # the group of tables that hold several entries


@dataclass(frozen=True)
class Launched:
    """A launch that was recorded: the kernel and all its arguments.

    Attributes:
        kernel: the ``@triton.jit`` function.
        programs: how many of its programs run.
        arguments: tensors and numbers, in order.
        constants: compile-time constants by name; ``tiles``: names of those that the schedule chose.
        entry: the table's entry that they come from, where a table has several.
    """

    kernel: Any
    programs: int
    arguments: tuple[Any, ...]
    constants: Mapping[str, Any]
    tiles: tuple[str, ...]
    entry: str


@dataclass(frozen=True)
class Recorded:
    """A forward or a backward that was recorded.

    Attributes:
        name: formula and direction; ``saving`` is the forward that keeps what the backward needs.
        launches: in order.
        moved: bytes of the tensors of all launches, each tensor once a launch.
        required: bytes of the program's own inputs and outputs as far as they are touched, each once.
    """

    name: str
    launches: tuple[Launched, ...]
    moved: int
    required: int


def recorded(
    module: KernelModule,
    variant: Variant,
    kernels: ModuleType,
    case: Case,
    dtype: torch.dtype,
    last: bool = False,
    forced: str = "",
) -> Iterator[Recorded]:
    """Record a variant's forward, its forward for training and its backward.

    Args:
        module: whose programs.
        variant: which of its formulas.
        kernels: the generated module.
        case: at which sizes.
        dtype: of real tensors.
        last: whether all tensors are in channels_last format.
        forced: name of an entry that stands alone in its table; otherwise the tables are as they are.
    """
    layer = variant.layer
    tensors = {t.name: _meta(t, case, dtype, last) for t in layer.inputs if t.name not in case.absent}
    results = results_of(module.definition, layer)
    seeds = [_meta(Tensor(gradient_name(name), *layer.tensors[name].dims), case, dtype, last) for name in results]
    wanted = tuple(name in tensors for name in differentiable(module.definition, layer))
    given, count = list(tensors.values()), len(layer.outputs)
    with _recording(kernels, forced) as launches:
        plain = run_forward(kernels, layer, case, tensors, save=False)
    yield _recorded(f"{layer.name} forward", launches, [*given, *plain[:count]])
    with _recording(kernels, forced) as launches:
        saved = run_forward(kernels, layer, case, tensors, save=True)
    yield _recorded(f"{layer.name} saving", launches, [*given, *saved[:count]])
    with _recording(kernels, forced) as launches:
        gradients = run_backward(kernels, layer, case, tensors, seeds, saved[count:], wanted)
    yield _recorded(f"{layer.name} backward", launches, [*given, *seeds, *saved[count:], *gradients])


class _Entry(dict[str, Any]):
    """An entry of a table that tells when it is chosen: its tile is read then, and only then."""

    def __init__(self, entry: Mapping[str, Any], tell: Callable[[], None]) -> None:
        super().__init__(entry)
        self.tell = tell

    def __getitem__(self, key: str) -> Any:
        if key == "tile":
            self.tell()
        return super().__getitem__(key)


@contextmanager
def _recording(kernels: ModuleType, forced: str) -> Iterator[list[Launched]]:
    """Record launches instead of running them, with nothing remembered of earlier schedules."""
    launching, schedule = kernels.launching, kernels.schedule
    found: list[Launched] = []
    chosen: list[str] = []

    def record(kernel: Any, how: Any, tiling: Any, arguments: tuple[Any, ...], constants: Mapping[str, Any]) -> None:
        number, tiles = tiling
        every = {**constants, **launching.constants_of(how, arguments), **tiles}
        found.append(Launched(kernel, number, arguments, every, tuple(tiles), chosen[-1] if chosen else ""))
        chosen.clear()

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(launching, "run", record))
        stack.enter_context(mock.patch.dict(schedule.TABLE, {ENTRIES: _watched(schedule, forced, chosen.append)}))
        for name, function in list(vars(schedule).items()):
            if hasattr(function, "cache_clear"):
                stack.enter_context(mock.patch.object(schedule, name, function.__wrapped__))
        yield found


def entries(schedule: ModuleType) -> dict[str, list[Mapping[str, Any]]]:
    """The tables that have several entries to choose among, by name."""
    found: dict[str, list[Mapping[str, Any]]] = schedule.TABLE[ENTRIES]
    return found


def entry_name(table: str, place: int) -> str:
    """What an entry of a table is called."""
    return f"{table}[{place}]"


def _watched(schedule: ModuleType, forced: str, tell: Callable[[str], None]) -> dict[str, list[_Entry]]:
    """The tables, with entries that tell their names; where one is forced, it takes every size."""
    found: dict[str, list[_Entry]] = {}
    for table, rows in entries(schedule).items():
        names = [entry_name(table, place) for place in range(len(rows))]
        made = {name: _Entry(row, partial(tell, name)) for name, row in zip(names, rows, strict=True)}
        if forced in made:
            made = {forced: made[forced]}
            made[forced].update({name: 0 for name in made[forced] if name.startswith("least_")})
        found[table] = list(made.values())
    return found


def _recorded(name: str, launches: list[Launched], own: list[torch.Tensor | None]) -> Recorded:
    touched = [_bytes(launch.arguments) for launch in launches]
    everything = {memory: size for sizes in touched for memory, size in sizes.items()}
    moved = sum(size for sizes in touched for size in sizes.values())
    required = sum(size for memory, size in everything.items() if memory in _bytes(own))
    return Recorded(name, tuple(launches), moved, required)


def _bytes(values: Iterable[Any]) -> dict[int, int]:
    """Bytes of tensors by their memory; views of one tensor are one."""
    memories = (value.untyped_storage() for value in values if isinstance(value, torch.Tensor))
    return {memory._cdata: memory.nbytes() for memory in memories}


def _meta(tensor: Tensor, case: Case, dtype: torch.dtype, last: bool) -> torch.Tensor:
    kind = torch.int64 if tensor.kind == "integer" else dtype
    made = torch.empty(canonical_shape(tensor, case.sizes), dtype=kind, device="meta")
    if last and made.dim() >= 3:
        made = torch.empty((made.shape[0], *made.shape[2:], made.shape[1]), dtype=kind, device="meta").movedim(-1, 1)
    return made
