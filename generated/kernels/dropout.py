"""Inverted dropout; the random field is Philox4x32-10, so that the backward draws the same mask again.

Source: slide 19

    output[i] = input[i]*Select(Uniform(seed, i) >= p, 1/(1 - p), 0)

"""

import torch
import triton
import triton.language as tl

from .. import launching, schedule
from . import primitives


@triton.jit
def dropout_output(
    input_ptr,
    output_ptr,
    input_stride_i,
    output_stride_i,
    I,
    seed,
    p: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Compute, in one pointwise kernel:
    output[i] = input[i]*Select(Uniform(seed, i) >= p, 1/(1 - p), 0)
    """
    lane = tl.cast(tl.program_id(0), INDEX) * BLOCK + tl.arange(0, BLOCK)
    live = lane < tl.cast(I, INDEX)
    i = lane
    input_value = tl.load(input_ptr + i * input_stride_i, mask=live, other=0).to(ACC)
    tl.store(
        output_ptr + i * output_stride_i,
        tl.where(primitives.uniform(seed, i) >= p, tl.full([], 1.0 / (1.0 - p), ACC), 0.0) * input_value,
        mask=live,
    )


@triton.jit
def dropout_grad_input(
    grad_output_ptr,
    grad_input_ptr,
    grad_output_stride_i,
    grad_input_stride_i,
    I,
    seed,
    p: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Compute, in one pointwise kernel:
    grad_input[i] = grad_output[i]*Select(Uniform(seed, i) >= p, 1/(1 - p), 0)
    """
    lane = tl.cast(tl.program_id(0), INDEX) * BLOCK + tl.arange(0, BLOCK)
    live = lane < tl.cast(I, INDEX)
    i = lane
    grad_output_value = tl.load(grad_output_ptr + i * grad_output_stride_i, mask=live, other=0).to(ACC)
    tl.store(
        grad_input_ptr + i * grad_input_stride_i,
        tl.where(primitives.uniform(seed, i) >= p, tl.full([], 1.0 / (1.0 - p), ACC), 0.0) * grad_output_value,
        mask=live,
    )


dropout_RESIDUALS = 0


def dropout_forward(
    input: torch.Tensor, *, p: float, seed: int, save: bool = False, skipped: tuple[str, ...] = ()
) -> tuple[torch.Tensor | None, ...]:
    """Run the forward kernels.

    Args:
        save: return what the backward needs too.
        skipped: names of optional results that nobody wants; they are None.

    Returns:
        output.
    """
    I = input.shape[0]
    how = launching.prepare(input)
    output = launching.empty((I,), input.dtype, how)
    launching.run(
        dropout_output, how, schedule.lanes(I, 1), (input, output, *input.stride(), *output.stride(), I, seed), {"p": p}
    )
    return (output,)


def dropout_backward(
    grad_output: torch.Tensor, input: torch.Tensor, *, p: float, seed: int, wanted: tuple[bool, ...]
) -> tuple[torch.Tensor | None, ...]:
    """Run the backward kernels that the wanted gradients need.

    Returns:
        grad_input; None where not wanted.
    """
    I = input.shape[0]
    how = launching.prepare(input)
    grad_input = launching.gradient_like(input)
    launching.run(
        dropout_grad_input,
        how,
        schedule.lanes(I, 1),
        (grad_output, grad_input, *grad_output.stride(), *grad_input.stride(), I, seed),
        {"p": p},
    )
    return (grad_input,)
