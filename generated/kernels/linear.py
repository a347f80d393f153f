"""Fully connected layer.

Source: slide 17

    output[m, o] = bias[o] + sum(i: input[m, i]*weight[o, i])

"""

import torch
import triton
import triton.language as tl

from .. import launching, schedule


@triton.jit
def linear_output(
    input_ptr,
    weight_ptr,
    bias_ptr,
    output_ptr,
    input_stride_m,
    input_stride_i,
    weight_stride_o,
    weight_stride_i,
    bias_stride_o,
    output_stride_m,
    output_stride_o,
    I,
    M,
    O,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP: tl.constexpr,
    PRECISION: tl.constexpr,
    DOT: tl.constexpr,
    TAPS: tl.constexpr,
):
    """Compute, in one contraction kernel:
    output_sum[m, o] = sum(i: input[m, i]*weight[o, i])
    output[m, o] = bias[o] + output_sum[m, o]
    """
    total_m = tl.cast(M, INDEX)
    total_n = tl.cast(O, INDEX)
    tiles_m = tl.cdiv(total_m, BLOCK_M)
    tiles_n = tl.cdiv(total_n, BLOCK_N)
    tile = tl.cast(tl.program_id(0), INDEX)
    batch = tile // (tiles_m * tiles_n)
    tile = tile % (tiles_m * tiles_n)
    # Programs that run together share a band of left tiles, so that both operands stay in the L2 cache.
    band = tile // (GROUP * tiles_n)
    band_height = tl.minimum(tiles_m - band * GROUP, GROUP)
    tile_m = band * GROUP + tile % (GROUP * tiles_n) % band_height
    tile_n = tile % (GROUP * tiles_n) // band_height
    row = tile_m * BLOCK_M + tl.arange(0, BLOCK_M)[:, None]
    live_m = row < total_m
    m = row
    column = tile_n * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    live_n = column < total_n
    o = column
    output_sum = tl.zeros([BLOCK_M, BLOCK_N], ACC)
    steps = tl.cdiv(tl.cast(I, INDEX), BLOCK_K)
    for step in tl.range(0, steps):
        inner = step * BLOCK_K + tl.arange(0, BLOCK_K)[None, :]
        live_inner = inner < tl.cast(I, INDEX)
        i = inner
        input_value = tl.load(input_ptr + m * input_stride_m + i * input_stride_i, mask=live_inner & live_m, other=0)
        left_operand = tl.broadcast_to(input_value, [BLOCK_M, BLOCK_K]).to(DOT)
        inner = step * BLOCK_K + tl.arange(0, BLOCK_K)[:, None]
        live_inner = inner < tl.cast(I, INDEX)
        i = inner
        weight_value = tl.load(
            weight_ptr + o * weight_stride_o + i * weight_stride_i, mask=live_inner & live_n, other=0
        )
        right_operand = tl.broadcast_to(weight_value, [BLOCK_K, BLOCK_N]).to(DOT)
        output_sum = tl.dot(left_operand, right_operand, output_sum, input_precision=PRECISION, out_dtype=ACC)
    if bias_ptr is not None:
        bias_value = tl.load(bias_ptr + o * bias_stride_o, mask=live_n, other=0).to(ACC)
    else:
        bias_value = 0.0
    tl.store(output_ptr + m * output_stride_m + o * output_stride_o, bias_value + output_sum, mask=live_m & live_n)


@triton.jit
def linear_grad_input(
    weight_ptr,
    grad_output_ptr,
    grad_input_ptr,
    weight_stride_o,
    weight_stride_i,
    grad_output_stride_m,
    grad_output_stride_o,
    grad_input_stride_m,
    grad_input_stride_i,
    I,
    M,
    O,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP: tl.constexpr,
    PRECISION: tl.constexpr,
    DOT: tl.constexpr,
    TAPS: tl.constexpr,
):
    """Compute, in one contraction kernel:
    grad_input[m, i] = sum(o: grad_output[m, o]*weight[o, i])
    """
    total_m = tl.cast(M, INDEX)
    total_n = tl.cast(I, INDEX)
    tiles_m = tl.cdiv(total_m, BLOCK_M)
    tiles_n = tl.cdiv(total_n, BLOCK_N)
    tile = tl.cast(tl.program_id(0), INDEX)
    batch = tile // (tiles_m * tiles_n)
    tile = tile % (tiles_m * tiles_n)
    # Programs that run together share a band of left tiles, so that both operands stay in the L2 cache.
    band = tile // (GROUP * tiles_n)
    band_height = tl.minimum(tiles_m - band * GROUP, GROUP)
    tile_m = band * GROUP + tile % (GROUP * tiles_n) % band_height
    tile_n = tile % (GROUP * tiles_n) // band_height
    row = tile_m * BLOCK_M + tl.arange(0, BLOCK_M)[:, None]
    live_m = row < total_m
    m = row
    column = tile_n * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    live_n = column < total_n
    i = column
    grad_input = tl.zeros([BLOCK_M, BLOCK_N], ACC)
    steps = tl.cdiv(tl.cast(O, INDEX), BLOCK_K)
    for step in tl.range(0, steps):
        inner = step * BLOCK_K + tl.arange(0, BLOCK_K)[None, :]
        live_inner = inner < tl.cast(O, INDEX)
        o = inner
        grad_output_value = tl.load(
            grad_output_ptr + m * grad_output_stride_m + o * grad_output_stride_o, mask=live_inner & live_m, other=0
        )
        left_operand = tl.broadcast_to(grad_output_value, [BLOCK_M, BLOCK_K]).to(DOT)
        inner = step * BLOCK_K + tl.arange(0, BLOCK_K)[:, None]
        live_inner = inner < tl.cast(O, INDEX)
        o = inner
        weight_value = tl.load(
            weight_ptr + o * weight_stride_o + i * weight_stride_i, mask=live_inner & live_n, other=0
        )
        right_operand = tl.broadcast_to(weight_value, [BLOCK_K, BLOCK_N]).to(DOT)
        grad_input = tl.dot(left_operand, right_operand, grad_input, input_precision=PRECISION, out_dtype=ACC)
    tl.store(grad_input_ptr + m * grad_input_stride_m + i * grad_input_stride_i, grad_input, mask=live_m & live_n)


@triton.jit
def linear_grad_weight(
    input_ptr,
    grad_output_ptr,
    grad_weight_ptr,
    input_stride_m,
    input_stride_i,
    grad_output_stride_m,
    grad_output_stride_o,
    grad_weight_stride_o,
    grad_weight_stride_i,
    I,
    M,
    O,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP: tl.constexpr,
    PRECISION: tl.constexpr,
    DOT: tl.constexpr,
    TAPS: tl.constexpr,
):
    """Compute, in one contraction kernel:
    grad_weight[o, i] = sum(m: grad_output[m, o]*input[m, i])
    """
    total_m = tl.cast(O, INDEX)
    total_n = tl.cast(I, INDEX)
    tiles_m = tl.cdiv(total_m, BLOCK_M)
    tiles_n = tl.cdiv(total_n, BLOCK_N)
    tile = tl.cast(tl.program_id(0), INDEX)
    batch = tile // (tiles_m * tiles_n)
    tile = tile % (tiles_m * tiles_n)
    # Programs that run together share a band of left tiles, so that both operands stay in the L2 cache.
    band = tile // (GROUP * tiles_n)
    band_height = tl.minimum(tiles_m - band * GROUP, GROUP)
    tile_m = band * GROUP + tile % (GROUP * tiles_n) % band_height
    tile_n = tile % (GROUP * tiles_n) // band_height
    row = tile_m * BLOCK_M + tl.arange(0, BLOCK_M)[:, None]
    live_m = row < total_m
    o = row
    column = tile_n * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    live_n = column < total_n
    i = column
    grad_weight = tl.zeros([BLOCK_M, BLOCK_N], ACC)
    steps = tl.cdiv(tl.cast(M, INDEX), BLOCK_K)
    for step in tl.range(0, steps):
        inner = step * BLOCK_K + tl.arange(0, BLOCK_K)[None, :]
        live_inner = inner < tl.cast(M, INDEX)
        m = inner
        grad_output_value = tl.load(
            grad_output_ptr + m * grad_output_stride_m + o * grad_output_stride_o, mask=live_inner & live_m, other=0
        )
        left_operand = tl.broadcast_to(grad_output_value, [BLOCK_M, BLOCK_K]).to(DOT)
        inner = step * BLOCK_K + tl.arange(0, BLOCK_K)[:, None]
        live_inner = inner < tl.cast(M, INDEX)
        m = inner
        input_value = tl.load(input_ptr + m * input_stride_m + i * input_stride_i, mask=live_inner & live_n, other=0)
        right_operand = tl.broadcast_to(input_value, [BLOCK_K, BLOCK_N]).to(DOT)
        grad_weight = tl.dot(left_operand, right_operand, grad_weight, input_precision=PRECISION, out_dtype=ACC)
    tl.store(grad_weight_ptr + o * grad_weight_stride_o + i * grad_weight_stride_i, grad_weight, mask=live_m & live_n)


@triton.jit
def linear_grad_bias(
    grad_output_ptr,
    grad_bias_ptr,
    grad_output_stride_m,
    grad_output_stride_o,
    grad_bias_stride_o,
    M,
    O,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SINGLE: tl.constexpr,
):
    """Compute, in one row kernel:
    grad_bias[o] = sum(m: grad_output[m, o])
    """
    row = tl.cast(tl.program_id(0), INDEX) * ROWS + tl.arange(0, ROWS)[:, None]
    live_row = row < tl.cast(O, INDEX)
    o = row
    if SINGLE:
        column = tl.arange(0, COLUMNS)[None, :]
        live_column = column < tl.cast(M, INDEX)
        m = column
        grad_bias = tl.zeros([ROWS, COLUMNS], ACC)
        grad_output_value = tl.load(
            grad_output_ptr + m * grad_output_stride_m + o * grad_output_stride_o, mask=live_column & live_row, other=0
        ).to(ACC)
        grad_bias += tl.where(live_column, grad_output_value, 0.0)
        grad_bias = tl.sum(grad_bias, 1, keep_dims=True)
        tl.store(grad_bias_ptr + o * grad_bias_stride_o, grad_bias, mask=live_row)
    else:
        grad_bias = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(M, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(M, INDEX)
            m = column
            grad_output_value = tl.load(
                grad_output_ptr + m * grad_output_stride_m + o * grad_output_stride_o,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            grad_bias += tl.where(live_column, grad_output_value, 0.0)
        grad_bias = tl.sum(grad_bias, 1, keep_dims=True)
        tl.store(grad_bias_ptr + o * grad_bias_stride_o, grad_bias, mask=live_row)


linear_RESIDUALS = 0


def linear_forward(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    save: bool = False,
    skipped: tuple[str, ...] = (),
) -> tuple[torch.Tensor | None, ...]:
    """Run the forward kernels.

    Args:
        save: return what the backward needs too.
        skipped: names of optional results that nobody wants; they are None.

    Returns:
        output.
    """
    M = input.shape[0]
    I = input.shape[1]
    O = weight.shape[0]
    how = launching.prepare(input)
    output = launching.empty((M, O), input.dtype, how)
    launching.run(
        linear_output,
        how,
        schedule.contraction(1, M, O, I, 1, launching.operand_type(how, input, weight), "plain"),
        (
            input,
            weight,
            bias,
            output,
            *input.stride(),
            *weight.stride(),
            0 if bias is None else bias.stride(0),
            *output.stride(),
            I,
            M,
            O,
        ),
        {},
    )
    return (output,)


def linear_backward(
    grad_output: torch.Tensor,
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    wanted: tuple[bool, ...],
) -> tuple[torch.Tensor | None, ...]:
    """Run the backward kernels that the wanted gradients need.

    Returns:
        grad_input, grad_weight, grad_bias; None where not wanted.
    """
    M = input.shape[0]
    I = input.shape[1]
    O = weight.shape[0]
    how = launching.prepare(input)
    grad_input = None
    grad_weight = None
    grad_bias = None
    if wanted[0]:
        grad_input = launching.gradient_like(input)
        launching.run(
            linear_grad_input,
            how,
            schedule.contraction(1, M, I, O, 1, launching.operand_type(how, weight, grad_output), "plain"),
            (weight, grad_output, grad_input, *weight.stride(), *grad_output.stride(), *grad_input.stride(), I, M, O),
            {},
        )
    if wanted[1]:
        grad_weight = launching.gradient_like(weight)
        launching.run(
            linear_grad_weight,
            how,
            schedule.contraction(1, O, I, M, 1, launching.operand_type(how, input, grad_output), "plain"),
            (input, grad_output, grad_weight, *input.stride(), *grad_output.stride(), *grad_weight.stride(), I, M, O),
            {},
        )
    if wanted[2]:
        grad_bias = launching.gradient_like(bias)
        launching.run(
            linear_grad_bias,
            how,
            schedule.rows(O, M, grad_output.stride(1) == 1, how.accumulator),
            (grad_output, grad_bias, *grad_output.stride(), *grad_bias.stride(), M, O),
            {},
        )
    return (grad_input, grad_weight, grad_bias)
