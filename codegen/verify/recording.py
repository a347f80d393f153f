"""The launches of a program, found without a GPU.

Programs run on tensors of torch's ``meta`` device, which have shapes and strides but no memory; each launch is recorded
instead of run.

Input: a module's programs and a case. Output: ``Recorded``s of ``Launched``.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from unittest import mock

import torch

from svertka.codegen.lowering.build import KernelModule
from svertka.codegen.verify.cases import Case
from svertka.codegen.verify.equivalence import canonical_shape, channels_last, run_backward, run_forward
from svertka.spec import gradient_of
from svertka.spec.definition import Variant
from svertka.spec.notation import Tensor

__all__ = [
    "PACKAGE",
    "PRODUCTS",
    "TARGET",
    "Launched",
    "Recorded",
    "defined_name",
    "entries",
    "forget",
    "giving_launches",
    "recorded",
    "recording",
    "remembering_nothing",
]

PRODUCTS = "contraction"  # the tables that hold several entries
TARGET = "sm_90"
PACKAGE = "svertka.generated"
REMEMBERING = ("launching", "schedule", "plans")  # modules of a package that cache results
FETCHING = {"sm_90", "sm_100"}  # targets with hardware loads through tensor descriptors


@dataclass(frozen=True)
class Launched:
    """A recorded launch: the kernel and all its arguments.

    Attributes:
        kernel: the ``@triton.jit`` function.
        programs: the number of its program instances.
        arguments: tensors and numbers, in order.
        constants: compile-time constants by name; ``tiles``: names of those that the schedule chose.
        entry: the class of problems in the tile tables from which they come, as ``tables.class_names`` has it.
    """

    kernel: Any
    programs: int
    arguments: tuple[Any, ...]
    constants: Mapping[str, Any]
    tiles: tuple[str, ...]
    entry: str

    def tensors(self) -> list[torch.Tensor]:
        """The tensors among its arguments."""
        return [argument for argument in self.arguments if isinstance(argument, torch.Tensor)]


@dataclass(frozen=True)
class Recorded:
    """A forward or a backward that was recorded.

    Attributes:
        name: formula and direction; ``saving`` is the forward that saves tensors for the backward.
        launches: in order.
        moved: bytes of the tensors of all launches, each tensor once per launch.
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
    target: str = TARGET,
) -> Iterator[Recorded]:
    """Record a variant's forward, its forward for training and its backward.

    Args:
        module: the module of the programs.
        variant: which of its formulas.
        kernels: the generated module.
        case: the sizes.
        dtype: of real tensors.
        last: whether all tensors are in channels_last format.
        forced: an entry that becomes the only one in its table; otherwise the tables are unchanged.
        target: the target whose tables choose the tiles.
    """
    layer = variant.layer
    tensors = {t.name: _meta(t, case, dtype, last) for t in layer.inputs if t.name not in case.absent}
    results = module.definition.real_results(layer)
    seeds = [_meta(Tensor(gradient_of(layer, name), *layer.tensors[name].dims), case, dtype, last) for name in results]
    wanted = tuple(name in tensors for name in module.definition.differentiable(layer))
    given, count = list(tensors.values()), len(layer.outputs)
    boxes = not forced or "/boxes/" in forced
    package = kernels.__name__.rpartition(".kernels.")[0]
    with recording(target, forced, boxes, package) as launches:
        plain = run_forward(kernels, layer, case, tensors, save=False)
    yield _recorded(f"{layer.name} forward", launches, [*given, *plain[:count]])
    with recording(target, forced, boxes, package) as launches:
        saved = run_forward(kernels, layer, case, tensors, save=True)
    yield _recorded(f"{layer.name} saving", launches, [*given, *saved[:count]])
    with recording(target, forced, boxes, package) as launches:
        gradients = run_backward(kernels, layer, case, tensors, seeds, saved[count:], wanted)
    yield _recorded(f"{layer.name} backward", launches, [*given, *seeds, *saved[count:], *gradients])


@contextmanager
def recording(
    target: str = TARGET, forced: str = "", boxes: bool = True, package: str = PACKAGE
) -> Iterator[list[Launched]]:
    """Record launches of a generated package instead of running them; arguments as in ``giving_launches``."""
    found: list[Launched] = []
    with giving_launches(found.append, target, forced, boxes, package):
        yield found


@contextmanager
def giving_launches(
    take: Callable[[Launched], None], target: str, forced: str, boxes: bool, package: str
) -> Iterator[None]:
    """Give the launches of a generated package to a function instead of running them.

    Args:
        take: called with every launch, also with one of no programs.
        target: the target whose tables choose the tiles.
        forced: an entry that becomes the only one in its table and serves every size.
        boxes: whether operands that are boxes are loaded as such, if the target can.
        package: name of the package.
    """
    names = ("launching", "plans", "schedule")
    launching, plans, schedule = (importlib.import_module(f"{package}.{name}") for name in names)
    chosen: list[str] = []

    def note(entry: str) -> None:
        alone = forced and entry.rpartition("/")[0] == forced.rpartition("/")[0]
        chosen.append(forced if alone else entry)

    def run(
        kernel: Any,
        how: Any,
        tiling: Any,
        arguments: tuple[Any, ...],
        constants: Mapping[str, Any],
        varying: Sequence[str] = (),
    ) -> None:
        number, tiles = tiling
        every = {**constants, **launching.constants_of(how, arguments), **tiles}
        take(Launched(kernel, number, arguments, every, tuple(tiles), chosen[-1]))

    fetches = boxes and target in FETCHING
    devices: dict[str, Any] = {"target_of": lambda device: target, "fetches_boxes": lambda device: fetches}
    with remembering_nothing(package), ExitStack() as stack:
        stack.enter_context(mock.patch.multiple(launching, run=run, **devices))
        stack.enter_context(mock.patch.object(plans, "ENABLED", False))
        stack.enter_context(mock.patch.dict(schedule.TABLES, {target: _with_forced(schedule, target, forced)}))
        stack.enter_context(mock.patch.multiple(schedule, **_telling(schedule, note)))
        yield


@contextmanager
def remembering_nothing(package: str = PACKAGE) -> Iterator[None]:
    """Clear the package's caches before and after, so that tables, devices and settings may be changed inside."""
    forget(package)
    try:
        yield
    finally:
        forget(package)


def forget(package: str = PACKAGE) -> None:
    """Clear everything that a package caches from tables, devices and settings.

    Choosers cache tiles, ``launching`` the properties of devices, and plans the compiled kernels of whole calls. If
    only one of them is cleared, results of the old settings remain in the others.
    """
    for name in REMEMBERING:
        for value in list(vars(importlib.import_module(f"{package}.{name}")).values()):
            if hasattr(value, "cache_clear"):
                value.cache_clear()
    importlib.import_module(f"{package}.plans")._PLANS.clear()


def _telling(schedule: ModuleType, tell: Callable[[str], None]) -> dict[str, Any]:
    """The choosers of tiles, each of which first reports the entry of the tables that it uses."""
    lanes, rows, maps, chain = schedule.lanes, schedule.rows, schedule.maps, schedule.chain

    def of_lanes(results: int, window: int, *rest: Any) -> Any:
        tell("lanes/window" if window > 1 else "lanes/pointwise")
        return lanes(results, window, *rest)

    def of_rows(count: int, length: int, contiguous_rows: bool, *rest: Any, **more: Any) -> Any:
        tell("rows/beside" if contiguous_rows else "rows/along")
        return rows(count, length, contiguous_rows, *rest, **more)

    def of_maps(*arguments: Any) -> Any:
        tell("lanes/pointwise")
        return maps(*arguments)

    def of_products(choose: Callable[..., Any]) -> Callable[..., Any]:
        def chosen(*arguments: Any) -> Any:
            product = choose(*arguments)
            if product is not None:
                tell("/".join(map(str, (PRODUCTS, *product.row))))
            return product

        return chosen

    def of_chains(batch: int, m: int, n: int, k: int, depth: int, how: Any) -> Any:
        tell("/".join(map(str, (PRODUCTS, *schedule.chain_row(m, k, how)))))
        return chain(batch, m, n, k, depth, how)

    products = {name: of_products(getattr(schedule, name)) for name in ("contraction", "boxes")}
    return {"lanes": of_lanes, "rows": of_rows, "maps": of_maps, "chain": of_chains, **products}


def defined_name(kernels: ModuleType, name: str) -> str:
    """The name that a kernel of a generated module has where it is defined; several modules may share a kernel."""
    return str(getattr(kernels, name).__name__)


def entries(target: str = TARGET) -> list[str]:
    """The entries of a target's tables that have several alternatives."""
    tables = importlib.import_module(f"{PACKAGE}.tables").TABLES[target][PRODUCTS]
    return [f"{PRODUCTS}/{table}/{place}" for table, rows in tables.items() for place in range(len(rows))]


def _with_forced(schedule: ModuleType, target: str, forced: str) -> dict[str, Any]:
    """A target's tables; if an entry is forced, it is the only one of its table and serves every size."""
    tables: dict[str, Any] = copy.deepcopy(schedule.TABLES.get(target) or schedule.TABLES["default"])
    if forced:
        _, table, place = forced.split("/")
        row = tables[PRODUCTS][table][int(place)]
        tables[PRODUCTS][table] = [{**row, **{name: 0 for name in row if name.startswith("least_")}}]
    return tables


def _recorded(name: str, launches: list[Launched], own: list[torch.Tensor | None]) -> Recorded:
    touched = [_bytes(launch.arguments) for launch in launches]
    everything = {memory: size for sizes in touched for memory, size in sizes.items()}
    moved = sum(size for sizes in touched for size in sizes.values())
    required = sum(size for memory, size in everything.items() if memory in _bytes(own))
    return Recorded(name, tuple(launches), moved, required)


def _bytes(values: Iterable[Any]) -> dict[int, int]:
    """Bytes of tensors by their memory; views of one tensor count once."""
    memories = (value.untyped_storage() for value in values if isinstance(value, torch.Tensor))
    return {memory._cdata: memory.nbytes() for memory in memories}


def _meta(tensor: Tensor, case: Case, dtype: torch.dtype, last: bool) -> torch.Tensor:
    kind = torch.int64 if tensor.kind == "integer" else dtype
    made = torch.empty(canonical_shape(tensor, case.sizes), dtype=kind, device="meta")
    return channels_last(made) if last else made
