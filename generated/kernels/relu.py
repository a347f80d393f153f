"""Rectified linear unit: the larger of the element and 0.

Source: slide 11

    output[i] = maximum(input[i], 0)

"""

import torch
import triton
import triton.language as tl

from .. import launching, schedule


@triton.jit
def relu_output(
    input_ptr,
    output_ptr,
    input_stride_i,
    output_stride_i,
    I,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Compute, in one pointwise kernel:
    output[i] = maximum(input[i], 0)
    """
    lane = tl.cast(tl.program_id(0), INDEX) * BLOCK + tl.arange(0, BLOCK)
    live = lane < tl.cast(I, INDEX)
    i = lane
    input_value = tl.load(input_ptr + i * input_stride_i, mask=live, other=0).to(ACC)
    tl.store(
        output_ptr + i * output_stride_i, tl.maximum(input_value, 0.0, propagate_nan=tl.PropagateNan.ALL), mask=live
    )


@triton.jit
def relu_grad_input(
    input_ptr,
    grad_output_ptr,
    grad_input_ptr,
    input_stride_i,
    grad_output_stride_i,
    grad_input_stride_i,
    I,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Compute, in one pointwise kernel:
    grad_input[i] = grad_output[i]*Select(input[i] <= 0, 0, 1)
    """
    lane = tl.cast(tl.program_id(0), INDEX) * BLOCK + tl.arange(0, BLOCK)
    live = lane < tl.cast(I, INDEX)
    i = lane
    input_value = tl.load(input_ptr + i * input_stride_i, mask=live, other=0).to(ACC)
    grad_output_value = tl.load(grad_output_ptr + i * grad_output_stride_i, mask=live, other=0).to(ACC)
    tl.store(grad_input_ptr + i * grad_input_stride_i, tl.where(input_value <= 0.0, 0.0, grad_output_value), mask=live)


relu_RESIDUALS = 0


def relu_forward(
    input: torch.Tensor, *, save: bool = False, skipped: tuple[str, ...] = ()
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
    launching.run(relu_output, how, schedule.lanes(I, 1), (input, output, *input.stride(), *output.stride(), I), {})
    return (output,)


def relu_backward(
    grad_output: torch.Tensor, input: torch.Tensor, *, wanted: tuple[bool, ...]
) -> tuple[torch.Tensor | None, ...]:
    """Run the backward kernels that the wanted gradients need.

    Returns:
        grad_input; None where not wanted.
    """
    I = input.shape[0]
    how = launching.prepare(input)
    grad_input = launching.gradient_like(input)
    launching.run(
        relu_grad_input,
        how,
        schedule.lanes(I, 1),
        (input, grad_output, grad_input, *input.stride(), *grad_output.stride(), *grad_input.stride(), I),
        {},
    )
    return (grad_input,)
