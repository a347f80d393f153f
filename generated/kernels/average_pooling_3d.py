"""Average pooling: the mean of each window.

Source: slides 12 to 16

    output[n, c, z, p, q] = sum(t, r, s: input[n, c, t + z*stride_d - padding_d, p*stride_h + r - padding_h, q*stride_w + s -
        padding_w])/Select(divisor_override > 0, divisor_override, (-maximum(p*stride_h - padding_h,
        -count_include_pad*padding_h) + minimum(p*stride_h + R - padding_h, H +
        count_include_pad*padding_h))*(-maximum(q*stride_w - padding_w, -count_include_pad*padding_w) +
        minimum(q*stride_w + S - padding_w, W + count_include_pad*padding_w))*(-maximum(z*stride_d -
        padding_d, -count_include_pad*padding_d) + minimum(z*stride_d + T - padding_d, D +
        count_include_pad*padding_d)))

"""

import torch
import triton
import triton.language as tl

from .. import launching, schedule


@triton.jit
def average_pooling_3d_output(
    input_ptr,
    output_ptr,
    input_stride_n,
    input_stride_c,
    input_stride_d,
    input_stride_h,
    input_stride_w,
    output_stride_n,
    output_stride_c,
    output_stride_z,
    output_stride_p,
    output_stride_q,
    C,
    D,
    H,
    N,
    P,
    Q,
    W,
    Z,
    R: tl.constexpr,
    S: tl.constexpr,
    T: tl.constexpr,
    count_include_pad: tl.constexpr,
    divisor_override: tl.constexpr,
    padding_d: tl.constexpr,
    padding_h: tl.constexpr,
    padding_w: tl.constexpr,
    stride_d: tl.constexpr,
    stride_h: tl.constexpr,
    stride_w: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Compute, in one window kernel:
    output_sum[n, c, z, p, q] = sum(t, r, s | 0 <= t + z*stride_d - padding_d < D & 0 <= p*stride_h + r
        - padding_h < H & 0 <= q*stride_w + s - padding_w < W: input[n, c, t + z*stride_d - padding_d,
        p*stride_h + r - padding_h, q*stride_w + s - padding_w])
    output[n, c, z, p, q] = output_sum[n, c, z, p, q]/Select(divisor_override > 0, divisor_override,
        (-maximum(p*stride_h - padding_h, -count_include_pad*padding_h) + minimum(p*stride_h + R -
        padding_h, H + count_include_pad*padding_h))*(-maximum(q*stride_w - padding_w,
        -count_include_pad*padding_w) + minimum(q*stride_w + S - padding_w, W +
        count_include_pad*padding_w))*(-maximum(z*stride_d - padding_d, -count_include_pad*padding_d) +
        minimum(z*stride_d + T - padding_d, D + count_include_pad*padding_d)))
    """
    lane = tl.cast(tl.program_id(0), INDEX) * BLOCK + tl.arange(0, BLOCK)
    live = lane < tl.cast(N, INDEX) * C * Z * P * Q
    if LAST:
        c = lane % C
        lane_rest = lane // C
        q = lane_rest % Q
        lane_rest = lane_rest // Q
        p = lane_rest % P
        lane_rest = lane_rest // P
        z = lane_rest % Z
        lane_rest = lane_rest // Z
        n = lane_rest
    else:
        q = lane % Q
        lane_rest = lane // Q
        p = lane_rest % P
        lane_rest = lane_rest // P
        z = lane_rest % Z
        lane_rest = lane_rest // Z
        c = lane_rest % C
        lane_rest = lane_rest // C
        n = lane_rest
    output_sum = tl.zeros([BLOCK], ACC)
    for t in tl.range(0, T, loop_unroll_factor=UNROLL):
        for r in tl.range(0, R, loop_unroll_factor=UNROLL):
            for s in tl.range(0, S, loop_unroll_factor=UNROLL):
                place = p * stride_h + r - padding_h
                place_2 = q * stride_w + s - padding_w
                place_3 = t + stride_d * z - padding_d
                inside = (
                    (place >= 0) & (place < H) & ((place_2 >= 0) & (place_2 < W)) & ((place_3 >= 0) & (place_3 < D))
                )
                input_value = tl.load(
                    input_ptr
                    + n * input_stride_n
                    + c * input_stride_c
                    + place_3 * input_stride_d
                    + place * input_stride_h
                    + place_2 * input_stride_w,
                    mask=live & inside,
                    other=0,
                ).to(ACC)
                output_sum += tl.where(inside, input_value, 0.0)
    value = tl.cast(p, ACC) * tl.cast(stride_h, ACC)
    value_2 = tl.cast(count_include_pad, ACC) * tl.cast(padding_h, ACC)
    value_3 = tl.cast(q, ACC) * tl.cast(stride_w, ACC)
    value_4 = tl.cast(count_include_pad, ACC) * tl.cast(padding_w, ACC)
    value_5 = tl.cast(stride_d, ACC) * tl.cast(z, ACC)
    value_6 = tl.cast(count_include_pad, ACC) * tl.cast(padding_d, ACC)
    tl.store(
        output_ptr
        + n * output_stride_n
        + c * output_stride_c
        + z * output_stride_z
        + p * output_stride_p
        + q * output_stride_q,
        output_sum
        / tl.where(
            divisor_override > 0,
            tl.full([], tl.cast(divisor_override, ACC), ACC),
            (
                tl.minimum(
                    tl.cast(R, ACC) + value - tl.cast(padding_h, ACC),
                    tl.cast(H, ACC) + value_2,
                    propagate_nan=tl.PropagateNan.ALL,
                )
                - tl.maximum(value - tl.cast(padding_h, ACC), -value_2, propagate_nan=tl.PropagateNan.ALL)
            )
            * (
                tl.minimum(
                    tl.cast(S, ACC) + value_3 - tl.cast(padding_w, ACC),
                    tl.cast(W, ACC) + value_4,
                    propagate_nan=tl.PropagateNan.ALL,
                )
                - tl.maximum(value_3 - tl.cast(padding_w, ACC), -value_4, propagate_nan=tl.PropagateNan.ALL)
            )
            * (
                tl.minimum(
                    tl.cast(T, ACC) + value_5 - tl.cast(padding_d, ACC),
                    tl.cast(D, ACC) + value_6,
                    propagate_nan=tl.PropagateNan.ALL,
                )
                - tl.maximum(value_5 - tl.cast(padding_d, ACC), -value_6, propagate_nan=tl.PropagateNan.ALL)
            ),
        ),
        mask=live,
    )


@triton.jit
def average_pooling_3d_grad_input(
    grad_output_ptr,
    grad_input_ptr,
    grad_output_stride_n,
    grad_output_stride_c,
    grad_output_stride_z,
    grad_output_stride_p,
    grad_output_stride_q,
    grad_input_stride_n,
    grad_input_stride_c,
    grad_input_stride_d,
    grad_input_stride_h,
    grad_input_stride_w,
    C,
    D,
    H,
    N,
    P,
    Q,
    W,
    Z,
    R: tl.constexpr,
    S: tl.constexpr,
    T: tl.constexpr,
    count_include_pad: tl.constexpr,
    divisor_override: tl.constexpr,
    padding_d: tl.constexpr,
    padding_h: tl.constexpr,
    padding_w: tl.constexpr,
    stride_d: tl.constexpr,
    stride_h: tl.constexpr,
    stride_w: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Compute, in one window kernel:
    grad_input[n, c, d, h, w] = sum(t, r, s | stride_d divides d - t + padding_d & stride_h divides h -
        r + padding_h & stride_w divides -s + w + padding_w & 0 <= FloorDiv(d - t + padding_d, stride_d) < Z
        & 0 <= FloorDiv(h - r + padding_h, stride_h) < P & 0 <= FloorDiv(-s + w + padding_w, stride_w) < Q:
        grad_output[n, c, FloorDiv(d - t + padding_d, stride_d), FloorDiv(h - r + padding_h, stride_h),
        FloorDiv(-s + w + padding_w, stride_w)]/Select(divisor_override > 0, divisor_override,
        (-maximum(-padding_d + stride_d*FloorDiv(d - t + padding_d, stride_d), -count_include_pad*padding_d)
        + minimum(T - padding_d + stride_d*FloorDiv(d - t + padding_d, stride_d), D +
        count_include_pad*padding_d))*(-maximum(-padding_h + stride_h*FloorDiv(h - r + padding_h, stride_h),
        -count_include_pad*padding_h) + minimum(R - padding_h + stride_h*FloorDiv(h - r + padding_h,
        stride_h), H + count_include_pad*padding_h))*(-maximum(-padding_w + stride_w*FloorDiv(-s + w +
        padding_w, stride_w), -count_include_pad*padding_w) + minimum(S - padding_w + stride_w*FloorDiv(-s +
        w + padding_w, stride_w), W + count_include_pad*padding_w))))
    """
    lane = tl.cast(tl.program_id(0), INDEX) * BLOCK + tl.arange(0, BLOCK)
    live = lane < tl.cast(N, INDEX) * C * D * H * W
    if LAST:
        c = lane % C
        lane_rest = lane // C
        w = lane_rest % W
        lane_rest = lane_rest // W
        h = lane_rest % H
        lane_rest = lane_rest // H
        d = lane_rest % D
        lane_rest = lane_rest // D
        n = lane_rest
    else:
        w = lane % W
        lane_rest = lane // W
        h = lane_rest % H
        lane_rest = lane_rest // H
        d = lane_rest % D
        lane_rest = lane_rest // D
        c = lane_rest % C
        lane_rest = lane_rest // C
        n = lane_rest
    grad_input = tl.zeros([BLOCK], ACC)
    for t in tl.range(0, T, loop_unroll_factor=UNROLL):
        for r in tl.range(0, R, loop_unroll_factor=UNROLL):
            for s in tl.range(0, S, loop_unroll_factor=UNROLL):
                place_4 = padding_w + w - s
                place = place_4 // stride_w
                place_5 = d + padding_d - t
                place_2 = place_5 // stride_d
                place_6 = h + padding_h - r
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
                    + c * grad_output_stride_c
                    + place_2 * grad_output_stride_z
                    + place_3 * grad_output_stride_p
                    + place * grad_output_stride_q,
                    mask=live & inside,
                    other=0,
                ).to(ACC)
                value = tl.cast(place_2, ACC) * tl.cast(stride_d, ACC)
                value_2 = tl.cast(place_3, ACC) * tl.cast(stride_h, ACC)
                value_3 = tl.cast(place, ACC) * tl.cast(stride_w, ACC)
                value_4 = tl.cast(count_include_pad, ACC) * tl.cast(padding_d, ACC)
                value_5 = tl.cast(count_include_pad, ACC) * tl.cast(padding_h, ACC)
                value_6 = tl.cast(count_include_pad, ACC) * tl.cast(padding_w, ACC)
                grad_input += tl.where(
                    inside,
                    grad_output_value
                    / tl.where(
                        divisor_override > 0,
                        tl.full([], tl.cast(divisor_override, ACC), ACC),
                        (
                            tl.minimum(
                                tl.cast(T, ACC) + value - tl.cast(padding_d, ACC),
                                tl.cast(D, ACC) + value_4,
                                propagate_nan=tl.PropagateNan.ALL,
                            )
                            - tl.maximum(value - tl.cast(padding_d, ACC), -value_4, propagate_nan=tl.PropagateNan.ALL)
                        )
                        * (
                            tl.minimum(
                                tl.cast(R, ACC) + value_2 - tl.cast(padding_h, ACC),
                                tl.cast(H, ACC) + value_5,
                                propagate_nan=tl.PropagateNan.ALL,
                            )
                            - tl.maximum(value_2 - tl.cast(padding_h, ACC), -value_5, propagate_nan=tl.PropagateNan.ALL)
                        )
                        * (
                            tl.minimum(
                                tl.cast(S, ACC) + value_3 - tl.cast(padding_w, ACC),
                                tl.cast(W, ACC) + value_6,
                                propagate_nan=tl.PropagateNan.ALL,
                            )
                            - tl.maximum(value_3 - tl.cast(padding_w, ACC), -value_6, propagate_nan=tl.PropagateNan.ALL)
                        ),
                    ),
                    0.0,
                )
    tl.store(
        grad_input_ptr
        + n * grad_input_stride_n
        + c * grad_input_stride_c
        + d * grad_input_stride_d
        + h * grad_input_stride_h
        + w * grad_input_stride_w,
        grad_input,
        mask=live,
    )


average_pooling_3d_RESIDUALS = 0


def average_pooling_3d_forward(
    input: torch.Tensor,
    *,
    P: int,
    Q: int,
    R: int,
    S: int,
    T: int,
    Z: int,
    count_include_pad: int,
    divisor_override: int,
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
    C = input.shape[1]
    D = input.shape[2]
    H = input.shape[3]
    W = input.shape[4]
    how = launching.prepare(input)
    output = launching.empty((N, C, Z, P, Q), input.dtype, how)
    launching.run(
        average_pooling_3d_output,
        how,
        schedule.lanes(N * C * Z * P * Q, R * S * T),
        (input, output, *input.stride(), *output.stride(), C, D, H, N, P, Q, W, Z),
        {
            "R": R,
            "S": S,
            "T": T,
            "count_include_pad": count_include_pad,
            "divisor_override": divisor_override,
            "padding_d": padding_d,
            "padding_h": padding_h,
            "padding_w": padding_w,
            "stride_d": stride_d,
            "stride_h": stride_h,
            "stride_w": stride_w,
        },
    )
    return (output,)


def average_pooling_3d_backward(
    grad_output: torch.Tensor,
    input: torch.Tensor,
    *,
    P: int,
    Q: int,
    R: int,
    S: int,
    T: int,
    Z: int,
    count_include_pad: int,
    divisor_override: int,
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
        grad_input; None where not wanted.
    """
    N = input.shape[0]
    C = input.shape[1]
    D = input.shape[2]
    H = input.shape[3]
    W = input.shape[4]
    how = launching.prepare(input)
    grad_input = launching.gradient_like(input)
    launching.run(
        average_pooling_3d_grad_input,
        how,
        schedule.lanes(N * C * D * H * W, R * S * T),
        (grad_output, grad_input, *grad_output.stride(), *grad_input.stride(), C, D, H, N, P, Q, W, Z),
        {
            "R": R,
            "S": S,
            "T": T,
            "count_include_pad": count_include_pad,
            "divisor_override": divisor_override,
            "padding_d": padding_d,
            "padding_h": padding_h,
            "padding_w": padding_w,
            "stride_d": stride_d,
            "stride_h": stride_h,
            "stride_w": stride_w,
        },
    )
    return (grad_input,)
