"""Average pooling: the mean of each window.

Source: slides 12 to 16

    output[n, c, p, q] = sum(r, s: input[n, c, p*stride_h + r - padding_h, q*stride_w + s -
        padding_w])/Select(divisor_override > 0, divisor_override, (-maximum(p*stride_h - padding_h,
        -count_include_pad*padding_h) + minimum(p*stride_h + R - padding_h, H +
        count_include_pad*padding_h))*(-maximum(q*stride_w - padding_w, -count_include_pad*padding_w) +
        minimum(q*stride_w + S - padding_w, W + count_include_pad*padding_w)))

"""

import torch
import triton
import triton.language as tl

from .. import launching, schedule


@triton.jit
def average_pooling_2d_output(
    input_ptr,
    output_ptr,
    input_stride_n,
    input_stride_c,
    input_stride_h,
    input_stride_w,
    output_stride_n,
    output_stride_c,
    output_stride_p,
    output_stride_q,
    C,
    H,
    N,
    P,
    Q,
    W,
    R: tl.constexpr,
    S: tl.constexpr,
    count_include_pad: tl.constexpr,
    divisor_override: tl.constexpr,
    padding_h: tl.constexpr,
    padding_w: tl.constexpr,
    stride_h: tl.constexpr,
    stride_w: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Compute, in one window kernel:
    output_sum[n, c, p, q] = sum(r, s | 0 <= p*stride_h + r - padding_h < H & 0 <= q*stride_w + s -
        padding_w < W: input[n, c, p*stride_h + r - padding_h, q*stride_w + s - padding_w])
    output[n, c, p, q] = output_sum[n, c, p, q]/Select(divisor_override > 0, divisor_override,
        (-maximum(p*stride_h - padding_h, -count_include_pad*padding_h) + minimum(p*stride_h + R -
        padding_h, H + count_include_pad*padding_h))*(-maximum(q*stride_w - padding_w,
        -count_include_pad*padding_w) + minimum(q*stride_w + S - padding_w, W +
        count_include_pad*padding_w)))
    """
    lane = tl.cast(tl.program_id(0), INDEX) * BLOCK + tl.arange(0, BLOCK)
    live = lane < tl.cast(N, INDEX) * C * P * Q
    if LAST:
        c = lane % C
        lane_rest = lane // C
        q = lane_rest % Q
        lane_rest = lane_rest // Q
        p = lane_rest % P
        lane_rest = lane_rest // P
        n = lane_rest
    else:
        q = lane % Q
        lane_rest = lane // Q
        p = lane_rest % P
        lane_rest = lane_rest // P
        c = lane_rest % C
        lane_rest = lane_rest // C
        n = lane_rest
    output_sum = tl.zeros([BLOCK], ACC)
    for r in tl.range(0, R, loop_unroll_factor=UNROLL):
        for s in tl.range(0, S, loop_unroll_factor=UNROLL):
            place = p * stride_h + r - padding_h
            place_2 = q * stride_w + s - padding_w
            inside = (place >= 0) & (place < H) & ((place_2 >= 0) & (place_2 < W))
            input_value = tl.load(
                input_ptr + n * input_stride_n + c * input_stride_c + place * input_stride_h + place_2 * input_stride_w,
                mask=live & inside,
                other=0,
            ).to(ACC)
            output_sum += tl.where(inside, input_value, 0.0)
    value = tl.cast(p, ACC) * tl.cast(stride_h, ACC)
    value_2 = tl.cast(count_include_pad, ACC) * tl.cast(padding_h, ACC)
    value_3 = tl.cast(q, ACC) * tl.cast(stride_w, ACC)
    value_4 = tl.cast(count_include_pad, ACC) * tl.cast(padding_w, ACC)
    tl.store(
        output_ptr + n * output_stride_n + c * output_stride_c + p * output_stride_p + q * output_stride_q,
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
            ),
        ),
        mask=live,
    )


@triton.jit
def average_pooling_2d_grad_input(
    grad_output_ptr,
    grad_input_ptr,
    grad_output_stride_n,
    grad_output_stride_c,
    grad_output_stride_p,
    grad_output_stride_q,
    grad_input_stride_n,
    grad_input_stride_c,
    grad_input_stride_h,
    grad_input_stride_w,
    C,
    H,
    N,
    P,
    Q,
    W,
    R: tl.constexpr,
    S: tl.constexpr,
    count_include_pad: tl.constexpr,
    divisor_override: tl.constexpr,
    padding_h: tl.constexpr,
    padding_w: tl.constexpr,
    stride_h: tl.constexpr,
    stride_w: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Compute, in one window kernel:
    grad_input[n, c, h, w] = sum(r, s | stride_h divides h - r + padding_h & stride_w divides -s + w +
        padding_w & 0 <= FloorDiv(h - r + padding_h, stride_h) < P & 0 <= FloorDiv(-s + w + padding_w,
        stride_w) < Q: grad_output[n, c, FloorDiv(h - r + padding_h, stride_h), FloorDiv(-s + w + padding_w,
        stride_w)]/Select(divisor_override > 0, divisor_override, (-maximum(-padding_h + stride_h*FloorDiv(h
        - r + padding_h, stride_h), -count_include_pad*padding_h) + minimum(R - padding_h +
        stride_h*FloorDiv(h - r + padding_h, stride_h), H +
        count_include_pad*padding_h))*(-maximum(-padding_w + stride_w*FloorDiv(-s + w + padding_w,
        stride_w), -count_include_pad*padding_w) + minimum(S - padding_w + stride_w*FloorDiv(-s + w +
        padding_w, stride_w), W + count_include_pad*padding_w))))
    """
    lane = tl.cast(tl.program_id(0), INDEX) * BLOCK + tl.arange(0, BLOCK)
    live = lane < tl.cast(N, INDEX) * C * H * W
    if LAST:
        c = lane % C
        lane_rest = lane // C
        w = lane_rest % W
        lane_rest = lane_rest // W
        h = lane_rest % H
        lane_rest = lane_rest // H
        n = lane_rest
    else:
        w = lane % W
        lane_rest = lane // W
        h = lane_rest % H
        lane_rest = lane_rest // H
        c = lane_rest % C
        lane_rest = lane_rest // C
        n = lane_rest
    grad_input = tl.zeros([BLOCK], ACC)
    for r in tl.range(0, R, loop_unroll_factor=UNROLL):
        for s in tl.range(0, S, loop_unroll_factor=UNROLL):
            place_3 = padding_w + w - s
            place = place_3 // stride_w
            place_4 = h + padding_h - r
            place_2 = place_4 // stride_h
            inside = (
                (place >= 0)
                & (place < Q)
                & ((place_2 >= 0) & (place_2 < P))
                & (place_4 % stride_h == 0)
                & (place_3 % stride_w == 0)
            )
            grad_output_value = tl.load(
                grad_output_ptr
                + n * grad_output_stride_n
                + c * grad_output_stride_c
                + place_2 * grad_output_stride_p
                + place * grad_output_stride_q,
                mask=live & inside,
                other=0,
            ).to(ACC)
            value = tl.cast(place_2, ACC) * tl.cast(stride_h, ACC)
            value_2 = tl.cast(place, ACC) * tl.cast(stride_w, ACC)
            value_3 = tl.cast(count_include_pad, ACC) * tl.cast(padding_h, ACC)
            value_4 = tl.cast(count_include_pad, ACC) * tl.cast(padding_w, ACC)
            grad_input += tl.where(
                inside,
                grad_output_value
                / tl.where(
                    divisor_override > 0,
                    tl.full([], tl.cast(divisor_override, ACC), ACC),
                    (
                        tl.minimum(
                            tl.cast(R, ACC) + value - tl.cast(padding_h, ACC),
                            tl.cast(H, ACC) + value_3,
                            propagate_nan=tl.PropagateNan.ALL,
                        )
                        - tl.maximum(value - tl.cast(padding_h, ACC), -value_3, propagate_nan=tl.PropagateNan.ALL)
                    )
                    * (
                        tl.minimum(
                            tl.cast(S, ACC) + value_2 - tl.cast(padding_w, ACC),
                            tl.cast(W, ACC) + value_4,
                            propagate_nan=tl.PropagateNan.ALL,
                        )
                        - tl.maximum(value_2 - tl.cast(padding_w, ACC), -value_4, propagate_nan=tl.PropagateNan.ALL)
                    ),
                ),
                0.0,
            )
    tl.store(
        grad_input_ptr
        + n * grad_input_stride_n
        + c * grad_input_stride_c
        + h * grad_input_stride_h
        + w * grad_input_stride_w,
        grad_input,
        mask=live,
    )


average_pooling_2d_RESIDUALS = 0


def average_pooling_2d_forward(
    input: torch.Tensor,
    *,
    P: int,
    Q: int,
    R: int,
    S: int,
    count_include_pad: int,
    divisor_override: int,
    padding_h: int,
    padding_w: int,
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
    H = input.shape[2]
    W = input.shape[3]
    how = launching.prepare(input)
    output = launching.empty((N, C, P, Q), input.dtype, how)
    launching.run(
        average_pooling_2d_output,
        how,
        schedule.lanes(N * C * P * Q, R * S),
        (input, output, *input.stride(), *output.stride(), C, H, N, P, Q, W),
        {
            "R": R,
            "S": S,
            "count_include_pad": count_include_pad,
            "divisor_override": divisor_override,
            "padding_h": padding_h,
            "padding_w": padding_w,
            "stride_h": stride_h,
            "stride_w": stride_w,
        },
    )
    return (output,)


def average_pooling_2d_backward(
    grad_output: torch.Tensor,
    input: torch.Tensor,
    *,
    P: int,
    Q: int,
    R: int,
    S: int,
    count_include_pad: int,
    divisor_override: int,
    padding_h: int,
    padding_w: int,
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
    H = input.shape[2]
    W = input.shape[3]
    how = launching.prepare(input)
    grad_input = launching.gradient_like(input)
    launching.run(
        average_pooling_2d_grad_input,
        how,
        schedule.lanes(N * C * H * W, R * S),
        (grad_output, grad_input, *grad_output.stride(), *grad_input.stride(), C, H, N, P, Q, W),
        {
            "R": R,
            "S": S,
            "count_include_pad": count_include_pad,
            "divisor_override": divisor_override,
            "padding_h": padding_h,
            "padding_w": padding_w,
            "stride_h": stride_h,
            "stride_w": stride_w,
        },
    )
    return (grad_input,)
