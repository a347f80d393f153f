"""The settings in which a kernel is run: sample values, memory layout, types and tiles.

A run covers one region of every maximum and selection: the one in which the samples lie. The regions here also differ
in the code paths through the kernel: rows or channels last, 32-bit or 64-bit offsets, tiles smaller or larger than the
extents.

Elements whose samples tie are one variable in all tensors, its opposite where they are opposite, and the number 0 where
they are 0: sums of as many products that tie are then equal, and only the convention for the gradient remains to be
shown.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch

from svertka.codegen.verify.cases import Case, label, within
from svertka.codegen.verify.equivalence import canonical_shape, channels_last, indices_of
from svertka.codegen.verify.recording import forget
from svertka.codegen.verify.symbolic.graph import ZERO, Graph
from svertka.codegen.verify.symbolic.memory import Memory
from svertka.codegen.verify.symbolic.numbers import Parameter
from svertka.spec import Array, Layer
from svertka.spec.definition import Definition
from svertka.spec.evaluate import shape_of
from svertka.spec.notation import Tensor

__all__ = ["BOXES", "BOXES_OF_ROWS", "REGIONS", "Inputs", "Region", "in_parts", "parameters", "tiles"]


@dataclass(frozen=True)
class Region:
    """One run.

    Attributes:
        name: for reports; also the seed of the samples.
        ties: whether samples repeat.
        layout: ``"rows"``, ``"last"`` (channels last) or ``"gaps"`` (gaps between the elements of a row).
        small: whether tiles are smaller than the extents.
        wide: which launches have 64-bit offsets: ``"none"``, those with the ``"largest"`` input, or ``"all"``.
        alone: whether each gradient is also computed alone.
        boxes: whether contractions load boxes where they can.
        dtype: of the tensors. At this level no value is rounded; the type selects the path through the launcher.
    """

    name: str
    ties: bool
    layout: str
    small: bool
    wide: str
    alone: bool
    dtype: torch.dtype
    boxes: bool = False


REGIONS = (
    Region("distinct samples, rows, small tiles", False, "rows", True, "none", False, torch.float32),
    Region("distinct samples, channels last, large tiles", False, "last", False, "largest", True, torch.float64),
    Region("ties, gaps, small tiles, 64-bit offsets", True, "gaps", True, "all", False, torch.float16),
)
BOXES = Region("boxes, channels last, small tiles", False, "last", True, "largest", True, torch.float64, boxes=True)
BOXES_OF_ROWS = Region("boxes, rows, small tiles", False, "rows", True, "largest", True, torch.float64, boxes=True)
LITTLE = 128  # elements; with more, sums are long enough to be split with deeper tiles
PROCESSORS = 16  # enough that sums are split although there are several tiles
MANY = 1 << 12  # enough that every sum is split
PARTS = 3  # at most, since programs take time


@contextmanager
def tiles(kernels: ModuleType, region: Region, elements: int, reach: int) -> Iterator[int]:
    """Let a generated package choose tiles and offsets as a region specifies.

    Args:
        kernels: a module of the package.
        region: the settings.
        elements: number of elements of the largest tensor.
        reach: of the input that reaches farthest.

    Yields:
        The reach from which the package must use 64-bit offsets.
    """
    schedule, launching = kernels.schedule, kernels.launching
    table = copy.deepcopy(schedule.TABLE)
    names = ("INT32_ELEMENTS", "INTERPRETING", "BOXED_TYPES", "PROCESSORS")
    before = {name: getattr(launching, name) for name in names}
    limit = launching.INT32_ELEMENTS
    launching.INTERPRETING = False  # nothing is multiplied here: operands keep the types they have on a GPU
    launching.BOXED_TYPES = {region.dtype} if region.boxes else set()
    package = str(schedule.__package__)
    try:
        if region.small:
            block = 1 << max(elements // 3, 2).bit_length() - 1  # at least three programs
            # Rows take several steps of one element, several rows side by side, or steps of two elements with a partial
            # last one.
            smaller = {"block": block, "window_block": block}
            smaller |= {"elements": 1, "contiguous_rows": 8} if region.ties else {"elements": 2, "contiguous_rows": 1}
            smaller |= {"short_row": 8}
            smaller |= {"unroll": 1 if region.ties else MANY}  # every lane has one result, or all of a cell
            schedule.TABLE["interpreter"].update(smaller)
            depth = 4 if region.ties else 2 if elements > LITTLE or region.boxes else 1
            for rows in schedule.TABLE["interpreter_contraction"].values():
                rows[0].update(tile=[max(block // 4, 8), 4, depth], group=2, taps=region.ties)
            # A maximum need not rise from one block to the next: there are as many blocks as there are columns.
            schedule.TABLE["chains"].update(
                whole_bytes=0, step_bytes=8, row_bytes=8, most_columns=2 if region.ties else 1
            )
            schedule.TABLE["interpreter_contraction"]["boxes"][0].update(tile=[4, 16, depth])
            schedule.TABLE["sums"].update(steps_a_part=1, row_steps_a_part=1, most_parts=PARTS)
            launching.PROCESSORS = {"cpu": PROCESSORS if region.ties or region.boxes else MANY}
        else:  # the longest row fits, also beside others and in float64, which halves what a tile holds
            rows = schedule.TABLE["interpreter"]
            rows.update(elements=max(rows["elements"], 4 * rows["contiguous_rows"] * elements), unroll=MANY)
        launching.INT32_ELEMENTS = {"none": limit, "largest": reach, "all": 1}[region.wide]
        forget(package)
        yield launching.INT32_ELEMENTS
    finally:
        schedule.TABLE.update(table)
        for name, value in before.items():
            setattr(launching, name, value)
        forget(package)


@contextmanager
def in_parts(kernels: ModuleType) -> Iterator[None]:
    """Let a generated package split every sum, as on a GPU with more processors than tiles."""
    launching = kernels.launching
    before = launching.PROCESSORS
    launching.PROCESSORS = {"cpu": MANY}
    try:
        yield
    finally:
        launching.PROCESSORS = before


class Inputs:
    """Tensors of a run, for the kernels and for the formula.

    Attributes:
        tensors: as kernels get them.
        arrays: as the formula gets them.
        sizes: extents and parameters; real parameters are symbols.
    """

    def __init__(self, definition: Definition, layer: Layer, case: Case, region: Region, graph: Graph) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self.arrays: dict[str, Array] = {}
        self.region = region
        self.graph = graph
        self.case = case
        self.draw = random.Random(f"{case.name}/{region.name}")
        self.definition = definition
        self.sizes = parameters(layer, case.sizes, graph)
        self.pool: list[float] = []

    def add(self, tensor: Tensor, memory: Memory, ties: bool) -> torch.Tensor:
        """Create a tensor."""
        shape = shape_of(tensor, self.case.sizes)
        canonical, total = canonical_shape(tensor, self.case.sizes), math.prod(shape)
        gap = 2 + len(self.tensors)  # all tensors have different strides
        if tensor.kind == "integer":
            values = [label(self.definition, tensor, self.case, self.draw) for _ in range(total)]
            made = _laid_out(canonical, torch.int64, self.region.layout, gap)
            made.copy_(torch.tensor(values, dtype=torch.int64).reshape(canonical))
            memory.give(made, None, tensor.name)
        else:
            made = _laid_out(canonical, self.region.dtype, self.region.layout, gap)
            values = self._nodes(tensor, shape, ties)
            memory.give(made, values, tensor.name)
        self.tensors[tensor.name], self.arrays[tensor.name] = made, Array(shape, values)
        return made

    def _nodes(self, tensor: Tensor, shape: tuple[int, ...], ties: bool) -> list[int]:
        nodes = []
        for place in range(math.prod(shape)):
            if ties:
                sample = within(tensor, float(self.draw.randint(-1, 1)))
                node = self.graph.variable(f"+-{abs(sample):g}", abs(sample)) if sample else ZERO
                nodes.append(self.graph.negate(node) if sample < 0 else node)
            else:
                name = f"{tensor.name}{list(indices_of(place, shape))}"
                nodes.append(self.graph.variable(name, within(tensor, self._distinct())))
        return nodes

    def _distinct(self) -> float:
        """A new number from -3 to 3, exact in binary, of another magnitude than those drawn before."""
        if not self.pool:
            self.pool = [(-1) ** (odd // 2) * odd / 4096 for odd in range(1, 12288, 2)]
            self.draw.shuffle(self.pool)
        return self.pool.pop()


def parameters(layer: Layer, sizes: Mapping[str, Any], graph: Graph) -> dict[str, Any]:
    """Real parameters as symbols; 0 stays 0, since kernels may test for it."""
    known = dict(sizes)
    for symbol in layer.parameters:
        value = known.get(symbol.name)
        if not symbol.is_integer and value:
            known[symbol.name] = Parameter(graph, graph.variable(symbol.name, float(value)))
    return known


def _laid_out(shape: tuple[int, ...], dtype: torch.dtype, layout: str, gap: int) -> torch.Tensor:
    if layout == "last":
        return channels_last(torch.zeros(shape, dtype=dtype))
    if layout == "gaps" and shape:
        return torch.zeros((*shape[:-1], gap * shape[-1]), dtype=dtype)[..., ::gap]
    return torch.zeros(shape, dtype=dtype)
