"""Bilinear resizing with half-pixel centres.

Source: slide 2; torch.nn.functional.interpolate, mode bilinear, antialias

    horizontal[q, w] = maximum(0, -Abs(w + 1/2 - W*(q + 1/2)/Q)/maximum(W*antialias/Q, 1) + 1)/sum(i: maximum(0, -Abs(i +
        1/2 - W*(q + 1/2)/Q)/maximum(W*antialias/Q, 1) + 1))
    vertical[p, h] = maximum(0, -Abs(h - H*(p + 1/2)/P + 1/2)/maximum(H*antialias/P, 1) + 1)/sum(i: maximum(0, -Abs(i -
        H*(p + 1/2)/P + 1/2)/maximum(H*antialias/P, 1) + 1))
    wide[n, c, h, q] = sum(w: horizontal[q, w]*input[n, c, h, w])
    output[n, c, p, q] = sum(h: vertical[p, h]*wide[n, c, h, q])

"""

import torch
import triton
import triton.language as tl

from .. import launching, schedule


@triton.jit
def resize_horizontal_sum(
    horizontal_sum_ptr,
    horizontal_sum_stride_q,
    Q,
    W,
    antialias: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SINGLE: tl.constexpr,
):
    """Compute, in one row kernel:
    horizontal_sum[q] = sum(i: maximum(0, -Abs(i + 1/2 - W*(q + 1/2)/Q)/maximum(W*antialias/Q, 1) + 1))
    """
    row = tl.cast(tl.program_id(0), INDEX) * ROWS + tl.arange(0, ROWS)[:, None]
    live_row = row < tl.cast(Q, INDEX)
    q = row
    if SINGLE:
        column = tl.arange(0, COLUMNS)[None, :]
        live_column = column < tl.cast(W, INDEX)
        i = column
        horizontal_sum = tl.zeros([ROWS, COLUMNS], ACC)
        horizontal_sum += tl.where(
            live_column,
            tl.maximum(
                0.0,
                1.0
                - tl.abs(0.5 + tl.cast(i, ACC) - tl.cast(W, ACC) * (0.5 + tl.cast(q, ACC)) / tl.cast(Q, ACC))
                / tl.maximum(
                    tl.cast(W, ACC) * tl.cast(antialias, ACC) / tl.cast(Q, ACC), 1.0, propagate_nan=tl.PropagateNan.ALL
                ),
                propagate_nan=tl.PropagateNan.ALL,
            ),
            0.0,
        )
        horizontal_sum = tl.sum(horizontal_sum, 1, keep_dims=True)
        tl.store(horizontal_sum_ptr + q * horizontal_sum_stride_q, horizontal_sum, mask=live_row)
    else:
        horizontal_sum = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(W, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(W, INDEX)
            i = column
            horizontal_sum += tl.where(
                live_column,
                tl.maximum(
                    0.0,
                    1.0
                    - tl.abs(0.5 + tl.cast(i, ACC) - tl.cast(W, ACC) * (0.5 + tl.cast(q, ACC)) / tl.cast(Q, ACC))
                    / tl.maximum(
                        tl.cast(W, ACC) * tl.cast(antialias, ACC) / tl.cast(Q, ACC),
                        1.0,
                        propagate_nan=tl.PropagateNan.ALL,
                    ),
                    propagate_nan=tl.PropagateNan.ALL,
                ),
                0.0,
            )
        horizontal_sum = tl.sum(horizontal_sum, 1, keep_dims=True)
        tl.store(horizontal_sum_ptr + q * horizontal_sum_stride_q, horizontal_sum, mask=live_row)


@triton.jit
def resize_vertical_sum(
    vertical_sum_ptr,
    vertical_sum_stride_p,
    H,
    P,
    antialias: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SINGLE: tl.constexpr,
):
    """Compute, in one row kernel:
    vertical_sum[p] = sum(i: maximum(0, -Abs(i - H*(p + 1/2)/P + 1/2)/maximum(H*antialias/P, 1) + 1))
    """
    row = tl.cast(tl.program_id(0), INDEX) * ROWS + tl.arange(0, ROWS)[:, None]
    live_row = row < tl.cast(P, INDEX)
    p = row
    if SINGLE:
        column = tl.arange(0, COLUMNS)[None, :]
        live_column = column < tl.cast(H, INDEX)
        i = column
        vertical_sum = tl.zeros([ROWS, COLUMNS], ACC)
        vertical_sum += tl.where(
            live_column,
            tl.maximum(
                0.0,
                1.0
                - tl.abs(0.5 + tl.cast(i, ACC) - tl.cast(H, ACC) * (0.5 + tl.cast(p, ACC)) / tl.cast(P, ACC))
                / tl.maximum(
                    tl.cast(H, ACC) * tl.cast(antialias, ACC) / tl.cast(P, ACC), 1.0, propagate_nan=tl.PropagateNan.ALL
                ),
                propagate_nan=tl.PropagateNan.ALL,
            ),
            0.0,
        )
        vertical_sum = tl.sum(vertical_sum, 1, keep_dims=True)
        tl.store(vertical_sum_ptr + p * vertical_sum_stride_p, vertical_sum, mask=live_row)
    else:
        vertical_sum = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(H, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(H, INDEX)
            i = column
            vertical_sum += tl.where(
                live_column,
                tl.maximum(
                    0.0,
                    1.0
                    - tl.abs(0.5 + tl.cast(i, ACC) - tl.cast(H, ACC) * (0.5 + tl.cast(p, ACC)) / tl.cast(P, ACC))
                    / tl.maximum(
                        tl.cast(H, ACC) * tl.cast(antialias, ACC) / tl.cast(P, ACC),
                        1.0,
                        propagate_nan=tl.PropagateNan.ALL,
                    ),
                    propagate_nan=tl.PropagateNan.ALL,
                ),
                0.0,
            )
        vertical_sum = tl.sum(vertical_sum, 1, keep_dims=True)
        tl.store(vertical_sum_ptr + p * vertical_sum_stride_p, vertical_sum, mask=live_row)


@triton.jit
def resize_wide(
    input_ptr,
    horizontal_sum_ptr,
    wide_ptr,
    input_stride_n,
    input_stride_c,
    input_stride_h,
    input_stride_w,
    horizontal_sum_stride_q,
    wide_stride_n,
    wide_stride_c,
    wide_stride_h,
    wide_stride_q,
    C,
    H,
    N,
    Q,
    W,
    antialias: tl.constexpr,
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
    wide[n, c, h, q] = sum(w: maximum(0, -Abs(w + 1/2 - W*(q + 1/2)/Q)/maximum(W*antialias/Q, 1) +
        1)*input[n, c, h, w]/horizontal_sum[q])
    """
    total_m = tl.cast(N, INDEX) * C * H
    total_n = tl.cast(Q, INDEX)
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
    h = row % H
    row_rest = row // H
    c = row_rest % C
    row_rest = row_rest // C
    n = row_rest
    column = tile_n * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    live_n = column < total_n
    q = column
    wide = tl.zeros([BLOCK_M, BLOCK_N], ACC)
    steps = tl.cdiv(tl.cast(W, INDEX), BLOCK_K)
    for step in tl.range(0, steps):
        inner = step * BLOCK_K + tl.arange(0, BLOCK_K)[None, :]
        live_inner = inner < tl.cast(W, INDEX)
        w = inner
        input_value = tl.load(
            input_ptr + n * input_stride_n + c * input_stride_c + h * input_stride_h + w * input_stride_w,
            mask=live_inner & live_m,
            other=0,
        )
        left_operand = tl.broadcast_to(input_value, [BLOCK_M, BLOCK_K]).to(DOT)
        inner = step * BLOCK_K + tl.arange(0, BLOCK_K)[:, None]
        live_inner = inner < tl.cast(W, INDEX)
        w = inner
        horizontal_sum_value = tl.load(horizontal_sum_ptr + q * horizontal_sum_stride_q, mask=live_n, other=0).to(ACC)
        right_operand = tl.where(
            live_n & live_inner,
            tl.maximum(
                0.0,
                1.0
                - tl.abs(0.5 + tl.cast(w, ACC) - tl.cast(W, ACC) * (0.5 + tl.cast(q, ACC)) / tl.cast(Q, ACC))
                / tl.maximum(
                    tl.cast(W, ACC) * tl.cast(antialias, ACC) / tl.cast(Q, ACC), 1.0, propagate_nan=tl.PropagateNan.ALL
                ),
                propagate_nan=tl.PropagateNan.ALL,
            )
            / horizontal_sum_value,
            0.0,
        )
        right_operand = tl.broadcast_to(right_operand, [BLOCK_K, BLOCK_N]).to(DOT)
        wide = tl.dot(left_operand, right_operand, wide, input_precision=PRECISION, out_dtype=ACC)
    tl.store(
        wide_ptr + n * wide_stride_n + c * wide_stride_c + h * wide_stride_h + q * wide_stride_q,
        wide,
        mask=live_m & live_n,
    )


@triton.jit
def resize_output(
    vertical_sum_ptr,
    wide_ptr,
    output_ptr,
    vertical_sum_stride_p,
    wide_stride_n,
    wide_stride_c,
    wide_stride_h,
    wide_stride_q,
    output_stride_n,
    output_stride_c,
    output_stride_p,
    output_stride_q,
    C,
    H,
    N,
    P,
    Q,
    antialias: tl.constexpr,
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
    output[n, c, p, q] = sum(h: maximum(0, -Abs(h - H*(p + 1/2)/P + 1/2)/maximum(H*antialias/P, 1) +
        1)*wide[n, c, h, q]/vertical_sum[p])
    """
    total_m = tl.cast(N, INDEX) * C * Q
    total_n = tl.cast(P, INDEX)
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
    q = row % Q
    row_rest = row // Q
    c = row_rest % C
    row_rest = row_rest // C
    n = row_rest
    column = tile_n * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    live_n = column < total_n
    p = column
    output = tl.zeros([BLOCK_M, BLOCK_N], ACC)
    steps = tl.cdiv(tl.cast(H, INDEX), BLOCK_K)
    for step in tl.range(0, steps):
        inner = step * BLOCK_K + tl.arange(0, BLOCK_K)[None, :]
        live_inner = inner < tl.cast(H, INDEX)
        h = inner
        wide_value = tl.load(
            wide_ptr + n * wide_stride_n + c * wide_stride_c + h * wide_stride_h + q * wide_stride_q,
            mask=live_inner & live_m,
            other=0,
        )
        left_operand = tl.broadcast_to(wide_value, [BLOCK_M, BLOCK_K]).to(DOT)
        inner = step * BLOCK_K + tl.arange(0, BLOCK_K)[:, None]
        live_inner = inner < tl.cast(H, INDEX)
        h = inner
        vertical_sum_value = tl.load(vertical_sum_ptr + p * vertical_sum_stride_p, mask=live_n, other=0).to(ACC)
        right_operand = tl.where(
            live_n & live_inner,
            tl.maximum(
                0.0,
                1.0
                - tl.abs(0.5 + tl.cast(h, ACC) - tl.cast(H, ACC) * (0.5 + tl.cast(p, ACC)) / tl.cast(P, ACC))
                / tl.maximum(
                    tl.cast(H, ACC) * tl.cast(antialias, ACC) / tl.cast(P, ACC), 1.0, propagate_nan=tl.PropagateNan.ALL
                ),
                propagate_nan=tl.PropagateNan.ALL,
            )
            / vertical_sum_value,
            0.0,
        )
        right_operand = tl.broadcast_to(right_operand, [BLOCK_K, BLOCK_N]).to(DOT)
        output = tl.dot(left_operand, right_operand, output, input_precision=PRECISION, out_dtype=ACC)
    tl.store(
        output_ptr + n * output_stride_n + c * output_stride_c + p * output_stride_p + q * output_stride_q,
        output,
        mask=live_m & live_n,
    )


@triton.jit
def resize_grad_wide(
    grad_output_ptr,
    vertical_sum_ptr,
    grad_wide_ptr,
    grad_output_stride_n,
    grad_output_stride_c,
    grad_output_stride_p,
    grad_output_stride_q,
    vertical_sum_stride_p,
    grad_wide_stride_n,
    grad_wide_stride_c,
    grad_wide_stride_h,
    grad_wide_stride_q,
    C,
    H,
    N,
    P,
    Q,
    antialias: tl.constexpr,
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
    grad_wide[n, c, h, q] = sum(p: maximum(0, -Abs(h - H*(p + 1/2)/P + 1/2)/maximum(H*antialias/P, 1) +
        1)*grad_output[n, c, p, q]/vertical_sum[p])
    """
    total_m = tl.cast(N, INDEX) * C * Q
    total_n = tl.cast(H, INDEX)
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
    q = row % Q
    row_rest = row // Q
    c = row_rest % C
    row_rest = row_rest // C
    n = row_rest
    column = tile_n * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    live_n = column < total_n
    h = column
    grad_wide = tl.zeros([BLOCK_M, BLOCK_N], ACC)
    steps = tl.cdiv(tl.cast(P, INDEX), BLOCK_K)
    for step in tl.range(0, steps):
        inner = step * BLOCK_K + tl.arange(0, BLOCK_K)[None, :]
        live_inner = inner < tl.cast(P, INDEX)
        p = inner
        grad_output_value = tl.load(
            grad_output_ptr
            + n * grad_output_stride_n
            + c * grad_output_stride_c
            + p * grad_output_stride_p
            + q * grad_output_stride_q,
            mask=live_inner & live_m,
            other=0,
        ).to(ACC)
        vertical_sum_value = tl.load(vertical_sum_ptr + p * vertical_sum_stride_p, mask=live_inner, other=0).to(ACC)
        left_operand = tl.where(live_m & live_inner, grad_output_value / vertical_sum_value, 0.0)
        left_operand = tl.broadcast_to(left_operand, [BLOCK_M, BLOCK_K]).to(DOT)
        inner = step * BLOCK_K + tl.arange(0, BLOCK_K)[:, None]
        live_inner = inner < tl.cast(P, INDEX)
        p = inner
        right_operand = tl.where(
            live_n & live_inner,
            tl.maximum(
                0.0,
                1.0
                - tl.abs(0.5 + tl.cast(h, ACC) - tl.cast(H, ACC) * (0.5 + tl.cast(p, ACC)) / tl.cast(P, ACC))
                / tl.maximum(
                    tl.cast(H, ACC) * tl.cast(antialias, ACC) / tl.cast(P, ACC), 1.0, propagate_nan=tl.PropagateNan.ALL
                ),
                propagate_nan=tl.PropagateNan.ALL,
            ),
            0.0,
        )
        right_operand = tl.broadcast_to(right_operand, [BLOCK_K, BLOCK_N]).to(DOT)
        grad_wide = tl.dot(left_operand, right_operand, grad_wide, input_precision=PRECISION, out_dtype=ACC)
    tl.store(
        grad_wide_ptr
        + n * grad_wide_stride_n
        + c * grad_wide_stride_c
        + h * grad_wide_stride_h
        + q * grad_wide_stride_q,
        grad_wide,
        mask=live_m & live_n,
    )


@triton.jit
def resize_grad_input(
    horizontal_sum_ptr,
    grad_wide_ptr,
    grad_input_ptr,
    horizontal_sum_stride_q,
    grad_wide_stride_n,
    grad_wide_stride_c,
    grad_wide_stride_h,
    grad_wide_stride_q,
    grad_input_stride_n,
    grad_input_stride_c,
    grad_input_stride_h,
    grad_input_stride_w,
    C,
    H,
    N,
    Q,
    W,
    antialias: tl.constexpr,
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
    grad_input[n, c, h, w] = sum(q: maximum(0, -Abs(w + 1/2 - W*(q + 1/2)/Q)/maximum(W*antialias/Q, 1) +
        1)*grad_wide[n, c, h, q]/horizontal_sum[q])
    """
    total_m = tl.cast(N, INDEX) * C * H
    total_n = tl.cast(W, INDEX)
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
    h = row % H
    row_rest = row // H
    c = row_rest % C
    row_rest = row_rest // C
    n = row_rest
    column = tile_n * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    live_n = column < total_n
    w = column
    grad_input = tl.zeros([BLOCK_M, BLOCK_N], ACC)
    steps = tl.cdiv(tl.cast(Q, INDEX), BLOCK_K)
    for step in tl.range(0, steps):
        inner = step * BLOCK_K + tl.arange(0, BLOCK_K)[None, :]
        live_inner = inner < tl.cast(Q, INDEX)
        q = inner
        grad_wide_value = tl.load(
            grad_wide_ptr
            + n * grad_wide_stride_n
            + c * grad_wide_stride_c
            + h * grad_wide_stride_h
            + q * grad_wide_stride_q,
            mask=live_inner & live_m,
            other=0,
        ).to(ACC)
        horizontal_sum_value = tl.load(horizontal_sum_ptr + q * horizontal_sum_stride_q, mask=live_inner, other=0).to(
            ACC
        )
        left_operand = tl.where(live_m & live_inner, grad_wide_value / horizontal_sum_value, 0.0)
        left_operand = tl.broadcast_to(left_operand, [BLOCK_M, BLOCK_K]).to(DOT)
        inner = step * BLOCK_K + tl.arange(0, BLOCK_K)[:, None]
        live_inner = inner < tl.cast(Q, INDEX)
        q = inner
        right_operand = tl.where(
            live_n & live_inner,
            tl.maximum(
                0.0,
                1.0
                - tl.abs(0.5 + tl.cast(w, ACC) - tl.cast(W, ACC) * (0.5 + tl.cast(q, ACC)) / tl.cast(Q, ACC))
                / tl.maximum(
                    tl.cast(W, ACC) * tl.cast(antialias, ACC) / tl.cast(Q, ACC), 1.0, propagate_nan=tl.PropagateNan.ALL
                ),
                propagate_nan=tl.PropagateNan.ALL,
            ),
            0.0,
        )
        right_operand = tl.broadcast_to(right_operand, [BLOCK_K, BLOCK_N]).to(DOT)
        grad_input = tl.dot(left_operand, right_operand, grad_input, input_precision=PRECISION, out_dtype=ACC)
    tl.store(
        grad_input_ptr
        + n * grad_input_stride_n
        + c * grad_input_stride_c
        + h * grad_input_stride_h
        + w * grad_input_stride_w,
        grad_input,
        mask=live_m & live_n,
    )


resize_RESIDUALS = 0


def resize_forward(
    input: torch.Tensor, *, P: int, Q: int, antialias: int, save: bool = False, skipped: tuple[str, ...] = ()
) -> tuple[torch.Tensor | None, ...]:
    """Run the forward kernels.

    Args:
        save: return what the backward needs too.
        skipped: names of optional results that nobody wants; they are None.

    Returns:
        output.
    """
    N = input.shape[0]
    C = input.shape[1]
    H = input.shape[2]
    W = input.shape[3]
    how = launching.prepare(input)
    horizontal_sum = launching.empty((Q,), how.accumulator, how)
    launching.run(
        resize_horizontal_sum,
        how,
        schedule.rows(Q, W, False, how.accumulator),
        (horizontal_sum, *horizontal_sum.stride(), Q, W),
        {"antialias": antialias},
    )
    vertical_sum = launching.empty((P,), how.accumulator, how)
    launching.run(
        resize_vertical_sum,
        how,
        schedule.rows(P, H, False, how.accumulator),
        (vertical_sum, *vertical_sum.stride(), H, P),
        {"antialias": antialias},
    )
    wide = launching.empty((N, C, H, Q), how.accumulator, how)
    launching.run(
        resize_wide,
        how,
        schedule.contraction(1, N * C * H, Q, W, 1, launching.operand_type(how), how.gathered),
        (input, horizontal_sum, wide, *input.stride(), *horizontal_sum.stride(), *wide.stride(), C, H, N, Q, W),
        {"antialias": antialias},
    )
    output = launching.empty((N, C, P, Q), input.dtype, how)
    launching.run(
        resize_output,
        how,
        schedule.contraction(1, N * C * Q, P, H, 1, launching.operand_type(how), how.gathered),
        (vertical_sum, wide, output, *vertical_sum.stride(), *wide.stride(), *output.stride(), C, H, N, P, Q),
        {"antialias": antialias},
    )
    return (output,)


def resize_backward(
    grad_output: torch.Tensor, input: torch.Tensor, *, P: int, Q: int, antialias: int, wanted: tuple[bool, ...]
) -> tuple[torch.Tensor | None, ...]:
    """Run the backward kernels that the wanted gradients need.

    Returns:
        grad_input; None where not wanted.
    """
    N = input.shape[0]
    C = input.shape[1]
    H = input.shape[2]
    W = input.shape[3]
    how = launching.prepare(input)
    horizontal_sum = launching.empty((Q,), how.accumulator, how)
    launching.run(
        resize_horizontal_sum,
        how,
        schedule.rows(Q, W, False, how.accumulator),
        (horizontal_sum, *horizontal_sum.stride(), Q, W),
        {"antialias": antialias},
    )
    vertical_sum = launching.empty((P,), how.accumulator, how)
    launching.run(
        resize_vertical_sum,
        how,
        schedule.rows(P, H, False, how.accumulator),
        (vertical_sum, *vertical_sum.stride(), H, P),
        {"antialias": antialias},
    )
    grad_wide = launching.empty((N, C, H, Q), how.accumulator, how)
    launching.run(
        resize_grad_wide,
        how,
        schedule.contraction(1, N * C * Q, H, P, 1, launching.operand_type(how), how.gathered),
        (
            grad_output,
            vertical_sum,
            grad_wide,
            *grad_output.stride(),
            *vertical_sum.stride(),
            *grad_wide.stride(),
            C,
            H,
            N,
            P,
            Q,
        ),
        {"antialias": antialias},
    )
    grad_input = launching.gradient_like(input)
    launching.run(
        resize_grad_input,
        how,
        schedule.contraction(1, N * C * H, W, Q, 1, launching.operand_type(how), how.gathered),
        (
            horizontal_sum,
            grad_wide,
            grad_input,
            *horizontal_sum.stride(),
            *grad_wide.stride(),
            *grad_input.stride(),
            C,
            H,
            N,
            Q,
            W,
        ),
        {"antialias": antialias},
    )
    return (grad_input,)
