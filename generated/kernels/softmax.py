"""Softmax: scores become probabilities.

Source: slide 18

    output[a, k, b] = exp(input[a, k, b])/sum(j: exp(input[a, j, b]))

"""

import torch
import triton
import triton.language as tl

from .. import launching, schedule


@triton.jit
def softmax_output(
    input_ptr,
    output_ptr,
    input_stride_a,
    input_stride_k,
    input_stride_b,
    output_stride_a,
    output_stride_k,
    output_stride_b,
    A,
    B,
    K,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SINGLE: tl.constexpr,
):
    """Compute, in one row kernel:
    output_sum_shift[a, b] = max(j: input[a, j, b])
    output_sum_shifted[a, b] = sum(j: exp(input[a, j, b] - output_sum_shift[a, b]))
    output[a, j, b] = exp(input[a, j, b] - output_sum_shift[a, b])/output_sum_shifted[a, b]
    """
    row = tl.cast(tl.program_id(0), INDEX) * ROWS + tl.arange(0, ROWS)[:, None]
    live_row = row < tl.cast(A, INDEX) * B
    b = row % B
    row_rest = row // B
    a = row_rest
    if SINGLE:
        column = tl.arange(0, COLUMNS)[None, :]
        live_column = column < tl.cast(K, INDEX)
        j = column
        output_sum_shift = tl.full([ROWS, COLUMNS], float("-inf"), ACC)
        input_value = tl.load(
            input_ptr + a * input_stride_a + j * input_stride_k + b * input_stride_b,
            mask=live_column & live_row,
            other=0,
        ).to(ACC)
        element = tl.where(live_column, input_value, float("-inf"))
        output_sum_shift = tl.maximum(output_sum_shift, element, propagate_nan=tl.PropagateNan.ALL)
        missing = tl.max((output_sum_shift != output_sum_shift).to(tl.int32), 1, keep_dims=True) > 0
        largest = tl.where(missing, float("nan"), tl.max(output_sum_shift, 1, keep_dims=True))
        output_sum_shift = largest
        output_sum_shifted = tl.zeros([ROWS, COLUMNS], ACC)
        output_sum_shifted += tl.where(live_column, tl.exp(input_value - output_sum_shift), 0.0)
        output_sum_shifted = tl.sum(output_sum_shifted, 1, keep_dims=True)
        tl.store(
            output_ptr + a * output_stride_a + j * output_stride_k + b * output_stride_b,
            tl.exp(input_value - output_sum_shift) / output_sum_shifted,
            mask=live_row & live_column,
        )
    else:
        output_sum_shift = tl.full([ROWS, COLUMNS], float("-inf"), ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + a * input_stride_a + j * input_stride_k + b * input_stride_b,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            element = tl.where(live_column, input_value, float("-inf"))
            output_sum_shift = tl.maximum(output_sum_shift, element, propagate_nan=tl.PropagateNan.ALL)
        missing = tl.max((output_sum_shift != output_sum_shift).to(tl.int32), 1, keep_dims=True) > 0
        largest = tl.where(missing, float("nan"), tl.max(output_sum_shift, 1, keep_dims=True))
        output_sum_shift = largest
        output_sum_shifted = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + a * input_stride_a + j * input_stride_k + b * input_stride_b,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            output_sum_shifted += tl.where(live_column, tl.exp(input_value - output_sum_shift), 0.0)
        output_sum_shifted = tl.sum(output_sum_shifted, 1, keep_dims=True)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + a * input_stride_a + j * input_stride_k + b * input_stride_b,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            tl.store(
                output_ptr + a * output_stride_a + j * output_stride_k + b * output_stride_b,
                tl.exp(input_value - output_sum_shift) / output_sum_shifted,
                mask=live_row & live_column,
            )


@triton.jit
def softmax_grad_input(
    input_ptr,
    grad_output_ptr,
    grad_input_ptr,
    input_stride_a,
    input_stride_k,
    input_stride_b,
    grad_output_stride_a,
    grad_output_stride_k,
    grad_output_stride_b,
    grad_input_stride_a,
    grad_input_stride_k,
    grad_input_stride_b,
    A,
    B,
    K,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SINGLE: tl.constexpr,
):
    """Compute, in one row kernel:
    output_sum_shift[a, b] = max(j: input[a, j, b])
    output_sum_shifted[a, b] = sum(j: exp(input[a, j, b] - output_sum_shift[a, b]))
    grad_output_sum_sum_shifted[a, b] = sum(j: exp(input[a, j, b] - output_sum_shift[a,
        b])*grad_output[a, j, b])
    grad_input[a, j, b] = exp(input[a, j, b] - output_sum_shift[a, b])*grad_output[a, j,
        b]/output_sum_shifted[a, b] - exp(input[a, j, b] - output_sum_shift[a,
        b])*grad_output_sum_sum_shifted[a, b]/output_sum_shifted[a, b]**2
    """
    row = tl.cast(tl.program_id(0), INDEX) * ROWS + tl.arange(0, ROWS)[:, None]
    live_row = row < tl.cast(A, INDEX) * B
    b = row % B
    row_rest = row // B
    a = row_rest
    if SINGLE:
        column = tl.arange(0, COLUMNS)[None, :]
        live_column = column < tl.cast(K, INDEX)
        j = column
        output_sum_shift = tl.full([ROWS, COLUMNS], float("-inf"), ACC)
        input_value = tl.load(
            input_ptr + a * input_stride_a + j * input_stride_k + b * input_stride_b,
            mask=live_column & live_row,
            other=0,
        ).to(ACC)
        element = tl.where(live_column, input_value, float("-inf"))
        output_sum_shift = tl.maximum(output_sum_shift, element, propagate_nan=tl.PropagateNan.ALL)
        missing = tl.max((output_sum_shift != output_sum_shift).to(tl.int32), 1, keep_dims=True) > 0
        largest = tl.where(missing, float("nan"), tl.max(output_sum_shift, 1, keep_dims=True))
        output_sum_shift = largest
        output_sum_shifted = tl.zeros([ROWS, COLUMNS], ACC)
        grad_output_sum_sum_shifted = tl.zeros([ROWS, COLUMNS], ACC)
        grad_output_value = tl.load(
            grad_output_ptr + a * grad_output_stride_a + j * grad_output_stride_k + b * grad_output_stride_b,
            mask=live_column & live_row,
            other=0,
        ).to(ACC)
        value = tl.exp(input_value - output_sum_shift)
        output_sum_shifted += tl.where(live_column, value, 0.0)
        grad_output_sum_sum_shifted += tl.where(live_column, value * grad_output_value, 0.0)
        output_sum_shifted = tl.sum(output_sum_shifted, 1, keep_dims=True)
        grad_output_sum_sum_shifted = tl.sum(grad_output_sum_sum_shifted, 1, keep_dims=True)
        tl.store(
            grad_input_ptr + a * grad_input_stride_a + j * grad_input_stride_k + b * grad_input_stride_b,
            value * grad_output_value / output_sum_shifted
            - value * grad_output_sum_sum_shifted / (output_sum_shifted * output_sum_shifted),
            mask=live_row & live_column,
        )
    else:
        output_sum_shift = tl.full([ROWS, COLUMNS], float("-inf"), ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + a * input_stride_a + j * input_stride_k + b * input_stride_b,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            element = tl.where(live_column, input_value, float("-inf"))
            output_sum_shift = tl.maximum(output_sum_shift, element, propagate_nan=tl.PropagateNan.ALL)
        missing = tl.max((output_sum_shift != output_sum_shift).to(tl.int32), 1, keep_dims=True) > 0
        largest = tl.where(missing, float("nan"), tl.max(output_sum_shift, 1, keep_dims=True))
        output_sum_shift = largest
        output_sum_shifted = tl.zeros([ROWS, COLUMNS], ACC)
        grad_output_sum_sum_shifted = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + a * input_stride_a + j * input_stride_k + b * input_stride_b,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            grad_output_value = tl.load(
                grad_output_ptr + a * grad_output_stride_a + j * grad_output_stride_k + b * grad_output_stride_b,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            value = tl.exp(input_value - output_sum_shift)
            output_sum_shifted += tl.where(live_column, value, 0.0)
            grad_output_sum_sum_shifted += tl.where(live_column, value * grad_output_value, 0.0)
        output_sum_shifted = tl.sum(output_sum_shifted, 1, keep_dims=True)
        grad_output_sum_sum_shifted = tl.sum(grad_output_sum_sum_shifted, 1, keep_dims=True)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + a * input_stride_a + j * input_stride_k + b * input_stride_b,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            grad_output_value = tl.load(
                grad_output_ptr + a * grad_output_stride_a + j * grad_output_stride_k + b * grad_output_stride_b,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            value = tl.exp(input_value - output_sum_shift)
            tl.store(
                grad_input_ptr + a * grad_input_stride_a + j * grad_input_stride_k + b * grad_input_stride_b,
                value * grad_output_value / output_sum_shifted
                - value * grad_output_sum_sum_shifted / (output_sum_shifted * output_sum_shifted),
                mask=live_row & live_column,
            )


softmax_RESIDUALS = 0


def softmax_forward(
    input: torch.Tensor, *, save: bool = False, skipped: tuple[str, ...] = ()
) -> tuple[torch.Tensor | None, ...]:
    """Run the forward kernels.

    Args:
        save: return what the backward needs too.
        skipped: names of optional results that nobody wants; they are None.

    Returns:
        output.
    """
    A = input.shape[0]
    K = input.shape[1]
    B = input.shape[2]
    how = launching.prepare(input)
    output = launching.empty((A, K, B), input.dtype, how)
    launching.run(
        softmax_output,
        how,
        schedule.rows(A * B, K, input.stride(2) == 1, how.accumulator),
        (input, output, *input.stride(), *output.stride(), A, B, K),
        {},
    )
    return (output,)


def softmax_backward(
    grad_output: torch.Tensor, input: torch.Tensor, *, wanted: tuple[bool, ...]
) -> tuple[torch.Tensor | None, ...]:
    """Run the backward kernels that the wanted gradients need.

    Returns:
        grad_input; None where not wanted.
    """
    A = input.shape[0]
    K = input.shape[1]
    B = input.shape[2]
    how = launching.prepare(input)
    grad_input = launching.gradient_like(input)
    launching.run(
        softmax_grad_input,
        how,
        schedule.rows(A * B, K, input.stride(2) == 1, how.accumulator),
        (input, grad_output, grad_input, *input.stride(), *grad_output.stride(), *grad_input.stride(), A, B, K),
        {},
    )
    return (grad_input,)
