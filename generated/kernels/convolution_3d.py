"""Convolution over 3 spatial axes.

Source: slides 3 to 10

    output[n, g, k, z, p, q] = bias[g, k] + sum(c, t, r, s: input[n, g, c, t*dilation_d + z*stride_d - padding_d, p*stride_h +
        r*dilation_h - padding_h, q*stride_w + s*dilation_w - padding_w]*weight[g, k, c, t, r, s])

"""

import torch
import triton
import triton.language as tl

from .. import launching, schedule


@triton.jit
def convolution_3d_output(
    input_ptr,
    weight_ptr,
    bias_ptr,
    output_ptr,
    input_stride_n,
    input_stride_g,
    input_stride_c,
    input_stride_d,
    input_stride_h,
    input_stride_w,
    weight_stride_g,
    weight_stride_k,
    weight_stride_c,
    weight_stride_t,
    weight_stride_r,
    weight_stride_s,
    bias_stride_g,
    bias_stride_k,
    output_stride_n,
    output_stride_g,
    output_stride_k,
    output_stride_z,
    output_stride_p,
    output_stride_q,
    C,
    D,
    G,
    H,
    K,
    N,
    P,
    Q,
    W,
    Z,
    R: tl.constexpr,
    S: tl.constexpr,
    T: tl.constexpr,
    dilation_d: tl.constexpr,
    dilation_h: tl.constexpr,
    dilation_w: tl.constexpr,
    padding_d: tl.constexpr,
    padding_h: tl.constexpr,
    padding_w: tl.constexpr,
    stride_d: tl.constexpr,
    stride_h: tl.constexpr,
    stride_w: tl.constexpr,
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
    output_sum[n, g, k, z, p, q] = sum(c, t, r, s | 0 <= p*stride_h + r*dilation_h - padding_h < H & 0
        <= q*stride_w + s*dilation_w - padding_w < W & 0 <= t*dilation_d + z*stride_d - padding_d < D:
        input[n, g, c, t*dilation_d + z*stride_d - padding_d, p*stride_h + r*dilation_h - padding_h,
        q*stride_w + s*dilation_w - padding_w]*weight[g, k, c, t, r, s])
    output[n, g, k, z, p, q] = bias[g, k] + output_sum[n, g, k, z, p, q]
    """
    total_m = tl.cast(N, INDEX) * Z * P * Q
    total_n = tl.cast(K, INDEX)
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
    g = batch
    row = tile_m * BLOCK_M + tl.arange(0, BLOCK_M)[:, None]
    live_m = row < total_m
    q = row % Q
    row_rest = row // Q
    p = row_rest % P
    row_rest = row_rest // P
    z = row_rest % Z
    row_rest = row_rest // Z
    n = row_rest
    column = tile_n * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    live_n = column < total_n
    k = column
    output_sum = tl.zeros([BLOCK_M, BLOCK_N], ACC)
    # Either each step stays at one place of the window and walks the other summed indices, or all are walked as one.
    if TAPS:
        chunks = tl.cdiv(tl.cast(C, INDEX), BLOCK_K)
        steps = chunks * T * R * S
    else:
        chunks = tl.cdiv(tl.cast(C, INDEX) * T * R * S, BLOCK_K)
        steps = chunks
    for step in tl.range(0, steps):
        if TAPS:
            inner = step % chunks * BLOCK_K + tl.arange(0, BLOCK_K)[None, :]
            live_inner = inner < tl.cast(C, INDEX)
            c = inner
            tap = step // chunks
            s = tap % S
            tap_rest = tap // S
            r = tap_rest % R
            tap_rest = tap_rest // R
            t = tap_rest
        else:
            inner = step * BLOCK_K + tl.arange(0, BLOCK_K)[None, :]
            live_inner = inner < tl.cast(C, INDEX) * T * R * S
            if LAST:
                c = inner % C
                inner_rest = inner // C
                s = inner_rest % S
                inner_rest = inner_rest // S
                r = inner_rest % R
                inner_rest = inner_rest // R
                t = inner_rest
            else:
                s = inner % S
                inner_rest = inner // S
                r = inner_rest % R
                inner_rest = inner_rest // R
                t = inner_rest % T
                inner_rest = inner_rest // T
                c = inner_rest
        place = p * stride_h + dilation_h * r - padding_h
        place_2 = q * stride_w + dilation_w * s - padding_w
        place_3 = dilation_d * t + stride_d * z - padding_d
        inside = (place >= 0) & (place < H) & ((place_2 >= 0) & (place_2 < W)) & ((place_3 >= 0) & (place_3 < D))
        input_value = tl.load(
            input_ptr
            + n * input_stride_n
            + g * input_stride_g
            + c * input_stride_c
            + place_3 * input_stride_d
            + place * input_stride_h
            + place_2 * input_stride_w,
            mask=live_inner & live_m & inside,
            other=0,
        )
        left_operand = tl.broadcast_to(input_value, [BLOCK_M, BLOCK_K]).to(DOT)
        if TAPS:
            inner = step % chunks * BLOCK_K + tl.arange(0, BLOCK_K)[:, None]
            live_inner = inner < tl.cast(C, INDEX)
            c = inner
            tap = step // chunks
            s = tap % S
            tap_rest = tap // S
            r = tap_rest % R
            tap_rest = tap_rest // R
            t = tap_rest
        else:
            inner = step * BLOCK_K + tl.arange(0, BLOCK_K)[:, None]
            live_inner = inner < tl.cast(C, INDEX) * T * R * S
            if LAST:
                c = inner % C
                inner_rest = inner // C
                s = inner_rest % S
                inner_rest = inner_rest // S
                r = inner_rest % R
                inner_rest = inner_rest // R
                t = inner_rest
            else:
                s = inner % S
                inner_rest = inner // S
                r = inner_rest % R
                inner_rest = inner_rest // R
                t = inner_rest % T
                inner_rest = inner_rest // T
                c = inner_rest
        weight_value = tl.load(
            weight_ptr
            + g * weight_stride_g
            + k * weight_stride_k
            + c * weight_stride_c
            + t * weight_stride_t
            + r * weight_stride_r
            + s * weight_stride_s,
            mask=live_inner & live_n,
            other=0,
        )
        right_operand = tl.broadcast_to(weight_value, [BLOCK_K, BLOCK_N]).to(DOT)
        output_sum = tl.dot(left_operand, right_operand, output_sum, input_precision=PRECISION, out_dtype=ACC)
    if bias_ptr is not None:
        bias_value = tl.load(bias_ptr + g * bias_stride_g + k * bias_stride_k, mask=live_n, other=0).to(ACC)
    else:
        bias_value = 0.0
    tl.store(
        output_ptr
        + n * output_stride_n
        + g * output_stride_g
        + k * output_stride_k
        + z * output_stride_z
        + p * output_stride_p
        + q * output_stride_q,
        bias_value + output_sum,
        mask=live_m & live_n,
    )


@triton.jit
def convolution_3d_grad_input(
    weight_ptr,
    grad_output_ptr,
    grad_input_ptr,
    weight_stride_g,
    weight_stride_k,
    weight_stride_c,
    weight_stride_t,
    weight_stride_r,
    weight_stride_s,
    grad_output_stride_n,
    grad_output_stride_g,
    grad_output_stride_k,
    grad_output_stride_z,
    grad_output_stride_p,
    grad_output_stride_q,
    grad_input_stride_n,
    grad_input_stride_g,
    grad_input_stride_c,
    grad_input_stride_d,
    grad_input_stride_h,
    grad_input_stride_w,
    C,
    D,
    G,
    H,
    K,
    N,
    P,
    Q,
    W,
    Z,
    R: tl.constexpr,
    S: tl.constexpr,
    T: tl.constexpr,
    dilation_d: tl.constexpr,
    dilation_h: tl.constexpr,
    dilation_w: tl.constexpr,
    padding_d: tl.constexpr,
    padding_h: tl.constexpr,
    padding_w: tl.constexpr,
    stride_d: tl.constexpr,
    stride_h: tl.constexpr,
    stride_w: tl.constexpr,
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
    grad_input[n, g, c, d, h, w] = sum(k, t1, r1, s1 | stride_d divides d - t1*dilation_d + padding_d &
        stride_h divides h - r1*dilation_h + padding_h & stride_w divides -s1*dilation_w + w + padding_w & 0
        <= FloorDiv(d - t1*dilation_d + padding_d, stride_d) < Z & 0 <= FloorDiv(h - r1*dilation_h +
        padding_h, stride_h) < P & 0 <= FloorDiv(-s1*dilation_w + w + padding_w, stride_w) < Q:
        grad_output[n, g, k, FloorDiv(d - t1*dilation_d + padding_d, stride_d), FloorDiv(h - r1*dilation_h +
        padding_h, stride_h), FloorDiv(-s1*dilation_w + w + padding_w, stride_w)]*weight[g, k, c, t1, r1,
        s1])
    """
    total_m = tl.cast(N, INDEX) * D * H * W
    total_n = tl.cast(C, INDEX)
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
    g = batch
    row = tile_m * BLOCK_M + tl.arange(0, BLOCK_M)[:, None]
    live_m = row < total_m
    w = row % W
    row_rest = row // W
    h = row_rest % H
    row_rest = row_rest // H
    d = row_rest % D
    row_rest = row_rest // D
    n = row_rest
    column = tile_n * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    live_n = column < total_n
    c = column
    grad_input = tl.zeros([BLOCK_M, BLOCK_N], ACC)
    # Either each step stays at one place of the window and walks the other summed indices, or all are walked as one.
    if TAPS:
        chunks = tl.cdiv(tl.cast(K, INDEX), BLOCK_K)
        steps = chunks * T * R * S
    else:
        chunks = tl.cdiv(tl.cast(K, INDEX) * T * R * S, BLOCK_K)
        steps = chunks
    for step in tl.range(0, steps):
        if TAPS:
            inner = step % chunks * BLOCK_K + tl.arange(0, BLOCK_K)[None, :]
            live_inner = inner < tl.cast(K, INDEX)
            k = inner
            tap = step // chunks
            s1 = tap % S
            tap_rest = tap // S
            r1 = tap_rest % R
            tap_rest = tap_rest // R
            t1 = tap_rest
        else:
            inner = step * BLOCK_K + tl.arange(0, BLOCK_K)[None, :]
            live_inner = inner < tl.cast(K, INDEX) * T * R * S
            if LAST:
                k = inner % K
                inner_rest = inner // K
                s1 = inner_rest % S
                inner_rest = inner_rest // S
                r1 = inner_rest % R
                inner_rest = inner_rest // R
                t1 = inner_rest
            else:
                s1 = inner % S
                inner_rest = inner // S
                r1 = inner_rest % R
                inner_rest = inner_rest // R
                t1 = inner_rest % T
                inner_rest = inner_rest // T
                k = inner_rest
        place_4 = padding_w + w - dilation_w * s1
        place = place_4 // stride_w
        place_5 = d + padding_d - dilation_d * t1
        place_2 = place_5 // stride_d
        place_6 = h + padding_h - dilation_h * r1
        place_3 = place_6 // stride_h
        inside = (
            (place >= 0)
            & (place < Q)
            & ((place_2 >= 0) & (place_2 < Z))
            & ((place_3 >= 0) & (place_3 < P))
            & (place_5 % stride_d == 0)
            & (place_6 % stride_h == 0)
            & (place_4 % stride_w == 0)
        )
        grad_output_value = tl.load(
            grad_output_ptr
            + n * grad_output_stride_n
            + g * grad_output_stride_g
            + k * grad_output_stride_k
            + place_2 * grad_output_stride_z
            + place_3 * grad_output_stride_p
            + place * grad_output_stride_q,
            mask=live_inner & live_m & inside,
            other=0,
        )
        left_operand = tl.broadcast_to(grad_output_value, [BLOCK_M, BLOCK_K]).to(DOT)
        if TAPS:
            inner = step % chunks * BLOCK_K + tl.arange(0, BLOCK_K)[:, None]
            live_inner = inner < tl.cast(K, INDEX)
            k = inner
            tap = step // chunks
            s1 = tap % S
            tap_rest = tap // S
            r1 = tap_rest % R
            tap_rest = tap_rest // R
            t1 = tap_rest
        else:
            inner = step * BLOCK_K + tl.arange(0, BLOCK_K)[:, None]
            live_inner = inner < tl.cast(K, INDEX) * T * R * S
            if LAST:
                k = inner % K
                inner_rest = inner // K
                s1 = inner_rest % S
                inner_rest = inner_rest // S
                r1 = inner_rest % R
                inner_rest = inner_rest // R
                t1 = inner_rest
            else:
                s1 = inner % S
                inner_rest = inner // S
                r1 = inner_rest % R
                inner_rest = inner_rest // R
                t1 = inner_rest % T
                inner_rest = inner_rest // T
                k = inner_rest
        weight_value = tl.load(
            weight_ptr
            + g * weight_stride_g
            + k * weight_stride_k
            + c * weight_stride_c
            + t1 * weight_stride_t
            + r1 * weight_stride_r
            + s1 * weight_stride_s,
            mask=live_inner & live_n,
            other=0,
        )
        right_operand = tl.broadcast_to(weight_value, [BLOCK_K, BLOCK_N]).to(DOT)
        grad_input = tl.dot(left_operand, right_operand, grad_input, input_precision=PRECISION, out_dtype=ACC)
    tl.store(
        grad_input_ptr
        + n * grad_input_stride_n
        + g * grad_input_stride_g
        + c * grad_input_stride_c
        + d * grad_input_stride_d
        + h * grad_input_stride_h
        + w * grad_input_stride_w,
        grad_input,
        mask=live_m & live_n,
    )


@triton.jit
def convolution_3d_grad_weight(
    input_ptr,
    grad_output_ptr,
    grad_weight_ptr,
    input_stride_n,
    input_stride_g,
    input_stride_c,
    input_stride_d,
    input_stride_h,
    input_stride_w,
    grad_output_stride_n,
    grad_output_stride_g,
    grad_output_stride_k,
    grad_output_stride_z,
    grad_output_stride_p,
    grad_output_stride_q,
    grad_weight_stride_g,
    grad_weight_stride_k,
    grad_weight_stride_c,
    grad_weight_stride_t,
    grad_weight_stride_r,
    grad_weight_stride_s,
    C,
    D,
    G,
    H,
    K,
    N,
    P,
    Q,
    W,
    Z,
    R: tl.constexpr,
    S: tl.constexpr,
    T: tl.constexpr,
    dilation_d: tl.constexpr,
    dilation_h: tl.constexpr,
    dilation_w: tl.constexpr,
    padding_d: tl.constexpr,
    padding_h: tl.constexpr,
    padding_w: tl.constexpr,
    stride_d: tl.constexpr,
    stride_h: tl.constexpr,
    stride_w: tl.constexpr,
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
    grad_weight[g, k, c, t, r, s] = sum(n, z, p, q | 0 <= p*stride_h + r*dilation_h - padding_h < H & 0
        <= q*stride_w + s*dilation_w - padding_w < W & 0 <= t*dilation_d + z*stride_d - padding_d < D:
        grad_output[n, g, k, z, p, q]*input[n, g, c, t*dilation_d + z*stride_d - padding_d, p*stride_h +
        r*dilation_h - padding_h, q*stride_w + s*dilation_w - padding_w])
    """
    total_m = tl.cast(K, INDEX)
    total_n = tl.cast(C, INDEX) * T * R * S
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
    g = batch
    row = tile_m * BLOCK_M + tl.arange(0, BLOCK_M)[:, None]
    live_m = row < total_m
    k = row
    column = tile_n * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    live_n = column < total_n
    if LAST:
        c = column % C
        column_rest = column // C
        s = column_rest % S
        column_rest = column_rest // S
        r = column_rest % R
        column_rest = column_rest // R
        t = column_rest
    else:
        s = column % S
        column_rest = column // S
        r = column_rest % R
        column_rest = column_rest // R
        t = column_rest % T
        column_rest = column_rest // T
        c = column_rest
    grad_weight = tl.zeros([BLOCK_M, BLOCK_N], ACC)
    steps = tl.cdiv(tl.cast(N, INDEX) * Z * P * Q, BLOCK_K)
    for step in tl.range(0, steps):
        inner = step * BLOCK_K + tl.arange(0, BLOCK_K)[None, :]
        live_inner = inner < tl.cast(N, INDEX) * Z * P * Q
        q = inner % Q
        inner_rest = inner // Q
        p = inner_rest % P
        inner_rest = inner_rest // P
        z = inner_rest % Z
        inner_rest = inner_rest // Z
        n = inner_rest
        grad_output_value = tl.load(
            grad_output_ptr
            + n * grad_output_stride_n
            + g * grad_output_stride_g
            + k * grad_output_stride_k
            + z * grad_output_stride_z
            + p * grad_output_stride_p
            + q * grad_output_stride_q,
            mask=live_inner & live_m,
            other=0,
        )
        left_operand = tl.broadcast_to(grad_output_value, [BLOCK_M, BLOCK_K]).to(DOT)
        inner = step * BLOCK_K + tl.arange(0, BLOCK_K)[:, None]
        live_inner = inner < tl.cast(N, INDEX) * Z * P * Q
        q = inner % Q
        inner_rest = inner // Q
        p = inner_rest % P
        inner_rest = inner_rest // P
        z = inner_rest % Z
        inner_rest = inner_rest // Z
        n = inner_rest
        place = p * stride_h + dilation_h * r - padding_h
        place_2 = q * stride_w + dilation_w * s - padding_w
        place_3 = dilation_d * t + stride_d * z - padding_d
        inside = (place >= 0) & (place < H) & ((place_2 >= 0) & (place_2 < W)) & ((place_3 >= 0) & (place_3 < D))
        input_value = tl.load(
            input_ptr
            + n * input_stride_n
            + g * input_stride_g
            + c * input_stride_c
            + place_3 * input_stride_d
            + place * input_stride_h
            + place_2 * input_stride_w,
            mask=live_inner & live_n & inside,
            other=0,
        )
        right_operand = tl.broadcast_to(input_value, [BLOCK_K, BLOCK_N]).to(DOT)
        grad_weight = tl.dot(left_operand, right_operand, grad_weight, input_precision=PRECISION, out_dtype=ACC)
    tl.store(
        grad_weight_ptr
        + g * grad_weight_stride_g
        + k * grad_weight_stride_k
        + c * grad_weight_stride_c
        + t * grad_weight_stride_t
        + r * grad_weight_stride_r
        + s * grad_weight_stride_s,
        grad_weight,
        mask=live_m & live_n,
    )


@triton.jit
def convolution_3d_grad_bias(
    grad_output_ptr,
    grad_bias_ptr,
    grad_output_stride_n,
    grad_output_stride_g,
    grad_output_stride_k,
    grad_output_stride_z,
    grad_output_stride_p,
    grad_output_stride_q,
    grad_bias_stride_g,
    grad_bias_stride_k,
    G,
    K,
    N,
    P,
    Q,
    Z,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SINGLE: tl.constexpr,
):
    """Compute, in one row kernel:
    grad_bias[g, k] = sum(n, z, p, q: grad_output[n, g, k, z, p, q])
    """
    row = tl.cast(tl.program_id(0), INDEX) * ROWS + tl.arange(0, ROWS)[:, None]
    live_row = row < tl.cast(G, INDEX) * K
    k = row % K
    row_rest = row // K
    g = row_rest
    if SINGLE:
        column = tl.arange(0, COLUMNS)[None, :]
        live_column = column < tl.cast(N, INDEX) * Z * P * Q
        q = column % Q
        column_rest = column // Q
        p = column_rest % P
        column_rest = column_rest // P
        z = column_rest % Z
        column_rest = column_rest // Z
        n = column_rest
        grad_bias = tl.zeros([ROWS, COLUMNS], ACC)
        grad_output_value = tl.load(
            grad_output_ptr
            + n * grad_output_stride_n
            + g * grad_output_stride_g
            + k * grad_output_stride_k
            + z * grad_output_stride_z
            + p * grad_output_stride_p
            + q * grad_output_stride_q,
            mask=live_column & live_row,
            other=0,
        ).to(ACC)
        grad_bias += tl.where(live_column, grad_output_value, 0.0)
        grad_bias = tl.sum(grad_bias, 1, keep_dims=True)
        tl.store(grad_bias_ptr + g * grad_bias_stride_g + k * grad_bias_stride_k, grad_bias, mask=live_row)
    else:
        grad_bias = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(N, INDEX) * Z * P * Q, COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(N, INDEX) * Z * P * Q
            q = column % Q
            column_rest = column // Q
            p = column_rest % P
            column_rest = column_rest // P
            z = column_rest % Z
            column_rest = column_rest // Z
            n = column_rest
            grad_output_value = tl.load(
                grad_output_ptr
                + n * grad_output_stride_n
                + g * grad_output_stride_g
                + k * grad_output_stride_k
                + z * grad_output_stride_z
                + p * grad_output_stride_p
                + q * grad_output_stride_q,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            grad_bias += tl.where(live_column, grad_output_value, 0.0)
        grad_bias = tl.sum(grad_bias, 1, keep_dims=True)
        tl.store(grad_bias_ptr + g * grad_bias_stride_g + k * grad_bias_stride_k, grad_bias, mask=live_row)


convolution_3d_RESIDUALS = 0


def convolution_3d_forward(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    G: int,
    K: int,
    P: int,
    Q: int,
    Z: int,
    dilation_d: int,
    dilation_h: int,
    dilation_w: int,
    padding_d: int,
    padding_h: int,
    padding_w: int,
    stride_d: int,
    stride_h: int,
    stride_w: int,
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
    N = input.shape[0]
    D = input.shape[2]
    H = input.shape[3]
    W = input.shape[4]
    C = weight.shape[1]
    T = weight.shape[2]
    R = weight.shape[3]
    S = weight.shape[4]
    how = launching.prepare(input)
    output = launching.empty((N, G * K, Z, P, Q), input.dtype, how)
    launching.run(
        convolution_3d_output,
        how,
        schedule.contraction(
            G, N * Z * P * Q, K, C, T * R * S, launching.operand_type(how, input, weight), how.gathered
        ),
        (
            input,
            weight,
            bias,
            output,
            input.stride(0),
            C * input.stride(1),
            input.stride(1),
            input.stride(2),
            input.stride(3),
            input.stride(4),
            K * weight.stride(0),
            weight.stride(0),
            weight.stride(1),
            weight.stride(2),
            weight.stride(3),
            weight.stride(4),
            0 if bias is None else K * bias.stride(0),
            0 if bias is None else bias.stride(0),
            output.stride(0),
            K * output.stride(1),
            output.stride(1),
            output.stride(2),
            output.stride(3),
            output.stride(4),
            C,
            D,
            G,
            H,
            K,
            N,
            P,
            Q,
            W,
            Z,
        ),
        {
            "R": R,
            "S": S,
            "T": T,
            "dilation_d": dilation_d,
            "dilation_h": dilation_h,
            "dilation_w": dilation_w,
            "padding_d": padding_d,
            "padding_h": padding_h,
            "padding_w": padding_w,
            "stride_d": stride_d,
            "stride_h": stride_h,
            "stride_w": stride_w,
        },
    )
    return (output,)


def convolution_3d_backward(
    grad_output: torch.Tensor,
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    G: int,
    K: int,
    P: int,
    Q: int,
    Z: int,
    dilation_d: int,
    dilation_h: int,
    dilation_w: int,
    padding_d: int,
    padding_h: int,
    padding_w: int,
    stride_d: int,
    stride_h: int,
    stride_w: int,
    wanted: tuple[bool, ...],
) -> tuple[torch.Tensor | None, ...]:
    """Run the backward kernels that the wanted gradients need.

    Returns:
        grad_input, grad_weight, grad_bias; None where not wanted.
    """
    N = input.shape[0]
    D = input.shape[2]
    H = input.shape[3]
    W = input.shape[4]
    C = weight.shape[1]
    T = weight.shape[2]
    R = weight.shape[3]
    S = weight.shape[4]
    how = launching.prepare(input)
    grad_input = None
    grad_weight = None
    grad_bias = None
    if wanted[0]:
        grad_input = launching.gradient_like(input)
        launching.run(
            convolution_3d_grad_input,
            how,
            schedule.contraction(
                G, N * D * H * W, C, K, T * R * S, launching.operand_type(how, weight, grad_output), how.gathered
            ),
            (
                weight,
                grad_output,
                grad_input,
                K * weight.stride(0),
                weight.stride(0),
                weight.stride(1),
                weight.stride(2),
                weight.stride(3),
                weight.stride(4),
                grad_output.stride(0),
                K * grad_output.stride(1),
                grad_output.stride(1),
                grad_output.stride(2),
                grad_output.stride(3),
                grad_output.stride(4),
                grad_input.stride(0),
                C * grad_input.stride(1),
                grad_input.stride(1),
                grad_input.stride(2),
                grad_input.stride(3),
                grad_input.stride(4),
                C,
                D,
                G,
                H,
                K,
                N,
                P,
                Q,
                W,
                Z,
            ),
            {
                "R": R,
                "S": S,
                "T": T,
                "dilation_d": dilation_d,
                "dilation_h": dilation_h,
                "dilation_w": dilation_w,
                "padding_d": padding_d,
                "padding_h": padding_h,
                "padding_w": padding_w,
                "stride_d": stride_d,
                "stride_h": stride_h,
                "stride_w": stride_w,
            },
        )
    if wanted[1]:
        grad_weight = launching.gradient_like(weight)
        launching.run(
            convolution_3d_grad_weight,
            how,
            schedule.contraction(
                G, K, C * T * R * S, N * Z * P * Q, 1, launching.operand_type(how, input, grad_output), how.gathered
            ),
            (
                input,
                grad_output,
                grad_weight,
                input.stride(0),
                C * input.stride(1),
                input.stride(1),
                input.stride(2),
                input.stride(3),
                input.stride(4),
                grad_output.stride(0),
                K * grad_output.stride(1),
                grad_output.stride(1),
                grad_output.stride(2),
                grad_output.stride(3),
                grad_output.stride(4),
                K * grad_weight.stride(0),
                grad_weight.stride(0),
                grad_weight.stride(1),
                grad_weight.stride(2),
                grad_weight.stride(3),
                grad_weight.stride(4),
                C,
                D,
                G,
                H,
                K,
                N,
                P,
                Q,
                W,
                Z,
            ),
            {
                "R": R,
                "S": S,
                "T": T,
                "dilation_d": dilation_d,
                "dilation_h": dilation_h,
                "dilation_w": dilation_w,
                "padding_d": padding_d,
                "padding_h": padding_h,
                "padding_w": padding_w,
                "stride_d": stride_d,
                "stride_h": stride_h,
                "stride_w": stride_w,
            },
        )
    if wanted[2]:
        grad_bias = launching.gradient_like(bias)
        launching.run(
            convolution_3d_grad_bias,
            how,
            schedule.rows(G * K, N * Z * P * Q, grad_output.stride(1) == 1, how.accumulator),
            (
                grad_output,
                grad_bias,
                grad_output.stride(0),
                K * grad_output.stride(1),
                grad_output.stride(1),
                grad_output.stride(2),
                grad_output.stride(3),
                grad_output.stride(4),
                K * grad_bias.stride(0),
                grad_bias.stride(0),
                G,
                K,
                N,
                P,
                Q,
                Z,
            ),
            {},
        )
    return (grad_input, grad_weight, grad_bias)
