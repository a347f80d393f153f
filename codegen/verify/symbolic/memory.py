"""Simulated memory of the kernels: tensors far apart, their float elements nodes, each access checked.

Addresses are artificial: tensors lie 2**44 bytes apart. So an address identifies its tensor, and an access out of
bounds never reaches another tensor. The gaps between the elements of a strided tensor are out of bounds too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import triton.language as tl

from svertka.codegen.verify.symbolic.graph import POISON
from svertka.codegen.verify.together_builder import AloneError, Builder, Reductions

__all__ = ["Block", "Memory", "reach"]

_SPACING, _MIDDLE = 44, 1 << 43
_TYPES = {
    torch.float16: tl.float16,
    torch.bfloat16: tl.bfloat16,
    torch.float32: tl.float32,
    torch.float64: tl.float64,
    torch.int8: tl.int8,
    torch.uint8: tl.uint8,
    torch.int16: tl.int16,
    torch.int32: tl.int32,
    torch.int64: tl.int64,
    torch.bool: tl.int1,
}
_MOST_FAILURES = 8
_Stored = tuple[int, Any, Any]
"""Of a store: the tensor as a number, which elements, and their values."""


@dataclass
class Block:
    """The storage of a tensor.

    Attributes:
        tensor: kept, so that its memory is not reused.
        flat: the storage as numbers; for a float tensor only its length is used.
        nodes: the storage as nodes, for a float tensor.
        inside: which elements of the storage belong to the tensor.
        stores: how often each was stored.
        given: whether it was filled before the launch.
    """

    tensor: torch.Tensor
    flat: Any
    nodes: Any
    inside: Any
    stores: Any
    given: bool
    name: str


def _places(tensor: torch.Tensor) -> Any:
    """Position of each element of a tensor in its storage."""
    length = tensor.untyped_storage().nbytes() // tensor.itemsize
    order = torch.arange(length)
    return order.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset()).reshape(-1).numpy()


def reach(tensor: torch.Tensor) -> int:
    """Distance from the first to the last element; for a tensor without gaps, its number of elements."""
    if tensor.is_contiguous():
        return tensor.numel()
    return sum((extent - 1) * abs(stride) for extent, stride in zip(tensor.shape, tensor.stride(), strict=True))


class Memory:
    """All tensors of a run, and the memory faults that were found.

    Attributes:
        pending: stores of programs that run together, until all have run (``together.Effects``); None elsewhere.
    """

    builder, reductions = Builder, Reductions

    def __init__(self) -> None:
        self.pending: list[_Stored] | None = None
        self.wide_from = 2**31  # elements; a launch with a tensor of this reach needs 64-bit offsets
        self.wide = False
        self.blocks: list[Block] = []
        self.failures: list[str] = []
        self.kernel = ""
        self.launched: list[str] = []
        self._by_address: dict[int, int] = {}
        self._read: dict[int, list[Any]] = {}
        self._written: dict[int, list[Any]] = {}
        self._stored: list[_Stored] = []
        self._repeated: dict[tuple[Any, ...], list[_Stored]] = {}

    def fail(self, text: str) -> None:
        """Record a failure, once, up to a maximum number.

        Raises:
            AloneError: programs run together; one after another, they tell of the first of them that fails.
        """
        if self.pending is not None:
            raise AloneError("a failure")
        if text not in self.failures and len(self.failures) < _MOST_FAILURES:
            self.failures.append(text)

    def give(self, tensor: torch.Tensor, nodes: Any, name: str) -> None:
        """Register an input; ``nodes`` are its elements in row-major order, None for an integer tensor."""
        block = self.blocks[self._number(tensor, name)]
        block.given = True
        if nodes is not None:
            block.nodes[_places(tensor)] = nodes

    def nodes_of(self, tensor: torch.Tensor) -> list[int]:
        """Elements of a float tensor in row-major order."""
        block = self.blocks[self._number(tensor, "?")]
        return [int(node) for node in block.nodes[_places(tensor)]]

    def _number(self, tensor: torch.Tensor, name: str) -> int:
        address = tensor.untyped_storage().data_ptr()
        if tensor.numel() == 0 or address not in self._by_address:
            self._by_address[address] = len(self.blocks)
            length = tensor.untyped_storage().nbytes() // tensor.itemsize
            real = tensor.dtype.is_floating_point
            flat = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
            inside = np.zeros(length, dtype=bool)
            inside[_places(tensor)] = True
            nodes = np.full(length, POISON, dtype=np.int64) if real else None
            stores = np.zeros(length, dtype=np.int32)
            numbers = flat.to(torch.float32).numpy() if tensor.dtype == torch.bfloat16 else flat.numpy()
            self.blocks.append(Block(tensor, numbers, nodes, inside, stores, False, name))
        return self._by_address[address]

    def pointer(self, name: str, tensor: torch.Tensor) -> Any:
        """A tensor as kernels receive it."""
        from triton.runtime.interpreter import TensorHandle

        number = self._number(tensor, name.removesuffix("_ptr"))
        base = (number << _SPACING) + _MIDDLE + tensor.storage_offset() * tensor.itemsize
        kind = tl.pointer_type(_TYPES[tensor.dtype])
        return tl.tensor(TensorHandle(np.array([base], dtype=np.uint64), kind), kind)

    # One launch ----------------------------------------------------------------------------------------------------

    def begin(self, kernel: str, tensors: Iterable[torch.Tensor]) -> None:
        """Begin a launch."""
        self.kernel = kernel
        self.wide = any(reach(tensor) >= self.wide_from for tensor in tensors)
        if kernel not in self.launched:
            self.launched.append(kernel)
        self._read, self._written = {}, {}

    def end(self) -> None:
        """End a launch: programs run in any order, so none may read what another stores."""
        for number in self._read.keys() & self._written.keys():
            read, written = (np.concatenate(some[number]) for some in (self._read, self._written))
            if np.intersect1d(read, written).size:
                self.fail(f"{self.kernel}: {self.blocks[number].name} is read and stored in one launch")

    def once(self, what: tuple[Any, ...], tensors: Sequence[torch.Tensor], run: Callable[[], None]) -> None:
        """Run the programs of a launch; if the same programs ran on equal contents before, store what they stored.

        Args:
            what: what runs, besides the tensors: the kernel, the other arguments, the grid.
            tensors: the arguments that are tensors, in order.
            run: runs the programs.
        """
        numbers = [self._number(tensor, "?") for tensor in tensors]
        places = [numbers.index(number) for number in numbers]
        contents = (self._content(tensor, number) for tensor, number in zip(tensors, numbers, strict=True))
        key = (what, self.wide, *places, *contents)
        if key in self._repeated:
            for place, elements, values in self._repeated[key]:
                self._keep(numbers[place], elements, values)
            return
        self._stored, failed = [], len(self.failures)
        run()
        if len(self.failures) == failed:
            self._repeated[key] = [(numbers.index(number), *rest) for number, *rest in self._stored]

    def _content(self, tensor: torch.Tensor, number: int) -> tuple[Any, ...]:
        """All that a launch can learn of a tensor; an input never changes, so its number says it."""
        block = self.blocks[number]
        if block.given:
            return (number, tensor.storage_offset())
        parts = (block.inside, block.stores, block.flat if block.nodes is None else block.nodes)
        return (tensor.dtype, tensor.storage_offset(), *(part.tobytes() for part in parts))

    def _locate(self, addresses: Any, mask: Any, what: str) -> list[tuple[int, Any, Any]]:
        """For each tensor accessed: its number, the active lanes inside it, and their elements."""
        flat, live = addresses.reshape(-1), np.broadcast_to(mask, addresses.shape).reshape(-1)
        lanes = np.flatnonzero(live)
        numbers = (flat[lanes] >> np.uint64(_SPACING)).astype(np.int64)
        found = []
        for number in np.unique(numbers).tolist():
            if not 0 <= number < len(self.blocks):
                self.fail(f"{self.kernel}: {what} at an address that belongs to no tensor")
                continue
            mine, block = lanes[numbers == number], self.blocks[number]
            offsets = flat[mine].astype(np.int64) - ((number << _SPACING) + _MIDDLE)
            elements = offsets // block.tensor.itemsize
            good = (elements >= 0) & (elements < len(block.inside))
            good[good] = block.inside[elements[good]]
            if not good.all():
                outside = int(elements[~good][0])
                self.fail(f"{self.kernel}: {what} outside {block.name}, at element {outside} of {len(block.inside)}")
            found.append((number, mine[good], elements[good]))
        return found

    def load(self, addresses: Any, mask: Any, other: Any, real: bool, dtype: Any) -> Any:
        """Elements where the mask is set, ``other`` elsewhere; poison where there is neither."""
        empty = np.full(addresses.shape, POISON, dtype=np.int64) if real else np.zeros(addresses.shape, dtype=dtype)
        result = empty if other is None else np.array(np.broadcast_to(other, addresses.shape), dtype=empty.dtype)
        flat = result.reshape(-1)
        if real:
            flat[np.broadcast_to(mask, addresses.shape).reshape(-1)] = POISON
        for number, lanes, elements in self._locate(addresses, mask, "load"):
            block = self.blocks[number]
            if not (block.given or (block.stores[elements] > 0).all()):
                self.fail(f"{self.kernel}: load from {block.name} before it is stored")
            flat[lanes] = block.nodes[elements] if real else block.flat[elements]
            if not block.given:
                self._read.setdefault(number, []).append(elements)
        return flat.reshape(addresses.shape)

    def store(self, addresses: Any, values: Any, mask: Any) -> None:
        """Store elements where the mask is set."""
        values = np.broadcast_to(values, addresses.shape).reshape(-1)
        for number, lanes, elements in self._locate(addresses, mask, "store"):
            block = self.blocks[number]
            if block.given:
                self.fail(f"{self.kernel}: store into {block.name}, an input")
                continue
            self._written.setdefault(number, []).append(elements)
            if self.pending is None:
                self._keep(number, elements, values[lanes])
                self._stored.append((number, elements, values[lanes]))
            else:
                self.pending.append((number, elements, values[lanes]))

    def finish(self) -> None:
        """Store what programs that ran together stored.

        Raises:
            AloneError: an element is stored twice; the last of the programs is to win, as where they run in order.
        """
        stored = self.pending or []
        for number in {number for number, _, _ in stored}:
            elements = np.concatenate([elements for other, elements, _ in stored if other == number])
            if self.blocks[number].stores[elements].any() or len(np.unique(elements)) < len(elements):
                raise AloneError("an element is stored twice")
        for number, elements, values in stored:
            self._keep(number, elements, values)
        self._stored += stored

    def drop(self) -> None:
        """Forget what programs that ran together read and stored."""
        self._read, self._written = {}, {}

    def _keep(self, number: int, elements: Any, values: Any) -> None:
        block = self.blocks[number]
        np.add.at(block.stores, elements, 1)
        if block.nodes is not None:
            block.nodes[elements] = values
        else:
            block.flat[elements] = values

    def check_stores(self) -> None:
        """Check that every element of every tensor that kernels compute is stored exactly once."""
        for block in self.blocks:
            if block.given or not block.inside.any():
                continue
            times = block.stores[block.inside]
            if (times != 1).any():
                place = int(np.flatnonzero(times != 1)[0])
                self.fail(f"{block.name}: element {place} of {len(times)} is stored {int(times[place])} times")
