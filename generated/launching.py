"""What every launch needs: memory, types and the device. Nothing here knows a layer."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import triton.language as tl

INTERPRETING = os.environ.get("TRITON_INTERPRET") == "1"
TYPES = {torch.float16: tl.float16, torch.bfloat16: tl.bfloat16, torch.float32: tl.float32, torch.float64: tl.float64}
INT32_ELEMENTS = 2**31 - 2**16


@dataclass
class How:
    """How the kernels of one call run.

    Attributes:
        device: where.
        accumulator: torch dtype of sums and temporaries.
        last: whether the leading tensor has its second dimension fastest.
        wide: whether some tensor needs 64-bit offsets.
    """

    device: torch.device
    accumulator: torch.dtype
    last: bool
    wide: bool

    @property
    def gathered(self) -> str:
        """How a contraction of this call reads operands through index maps."""
        return "gathered_last" if self.last else "gathered"


def prepare(leading: torch.Tensor) -> How:
    """Read off a call's leading tensor how to run."""
    accumulator = torch.float64 if leading.dtype == torch.float64 else torch.float32
    return How(leading.device, accumulator, channels_last(leading), _needs_wide(leading))


def channels_last(tensor: torch.Tensor) -> bool:
    """Whether the second of at least three dimensions is the fastest in memory."""
    if tensor.dim() < 3 or tensor.stride(1) != 1 or tensor.shape[1] == 1:
        return False
    return tensor.stride(-1) == tensor.shape[1]


def _needs_wide(tensor: torch.Tensor) -> bool:
    reach = sum((extent - 1) * abs(stride) for extent, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return reach >= INT32_ELEMENTS


def empty(shape: tuple[int, ...], dtype: torch.dtype, how: How) -> torch.Tensor:
    """A new tensor in the memory format of the leading tensor."""
    if not how.last or len(shape) < 3:
        result = torch.empty(shape, dtype=dtype, device=how.device)
    else:
        moved = (shape[0], *shape[2:], shape[1])
        result = torch.empty(moved, dtype=dtype, device=how.device).movedim(-1, 1)
    how.wide = how.wide or result.numel() >= INT32_ELEMENTS
    return result


def gradient_like(tensor: torch.Tensor) -> torch.Tensor:
    """A new tensor for a gradient: shape, dtype and, where it is dense, strides of the tensor."""
    return torch.empty_like(tensor)


def operand_type(how: How, *operands: torch.Tensor) -> Any:
    """Type in which operands enter the matrix unit: their own where they agree, else the accumulator's."""
    dtypes = {operand.dtype for operand in operands}
    shared = dtypes.pop() if len(dtypes) == 1 else how.accumulator
    # Triton's interpreter multiplies bfloat16 as integers; float32 holds every bfloat16.
    exact = INTERPRETING and shared in (torch.bfloat16, torch.float16)
    return TYPES[how.accumulator if exact else shared]


def on(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Make a device current for a launch."""
    if device.type != "cuda" or device.index == torch.cuda.current_device():
        return contextlib.nullcontext()
    return torch.cuda.device(device)


def run(
    kernel: Any,
    how: How,
    schedule: tuple[int, Mapping[str, Any]],
    arguments: tuple[Any, ...],
    constants: Mapping[str, Any],
) -> None:
    """Launch a kernel over its programs; nothing is launched for an empty result."""
    programs, tiles = schedule
    if programs == 0:
        return
    with on(how.device):
        kernel[(programs,)](*arguments, **constants, **constants_of(how, arguments), **tiles)


def constants_of(how: How, arguments: tuple[Any, ...]) -> dict[str, Any]:
    """Compile-time constants that every kernel has."""
    wide = how.wide or any(isinstance(a, torch.Tensor) and a.numel() >= INT32_ELEMENTS for a in arguments)
    return {"LAST": how.last, "INDEX": tl.int64 if wide else tl.int32, "ACC": TYPES[how.accumulator]}
