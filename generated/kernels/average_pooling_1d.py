"""Average pooling: the mean of each window.

Source: slides 12 to 16

    output[n, c, q] = sum(s: input[n, c, q*stride_w + s - padding_w])/(-maximum(q*stride_w - padding_w,
        -count_include_pad*padding_w) + minimum(q*stride_w + S - padding_w, W +
        count_include_pad*padding_w))

"""

import torch
import triton
import triton.language as tl

from .. import launching, schedule


@triton.jit
def average_pooling_1d_output(
    input_ptr,
    output_ptr,
    input_stride_n,
    input_stride_c,
    input_stride_w,
    output_stride_n,
    output_stride_c,
    output_stride_q,
    C,
    N,
    Q,
    W,
    S: tl.constexpr,
    count_include_pad: tl.constexpr,
    padding_w: tl.constexpr,
    stride_w: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Compute, in one window kernel:
    output_sum[n, c, q] = sum(s | 0 <= q*stride_w + s - padding_w < W: input[n, c, q*stride_w + s -
        padding_w])
    output[n, c, q] = output_sum[n, c, q]/(-maximum(q*stride_w - padding_w,
        -count_include_pad*padding_w) + minimum(q*stride_w + S - padding_w, W +
        count_include_pad*padding_w))
    """
    lane = tl.cast(tl.program_id(0), INDEX) * BLOCK + tl.arange(0, BLOCK)
    live = lane < tl.cast(N, INDEX) * C * Q
    if LAST:
        c = lane % C
        lane_rest = lane // C
        q = lane_rest % Q
        lane_rest = lane_rest // Q
        n = lane_rest
    else:
        q = lane % Q
        lane_rest = lane // Q
        c = lane_rest % C
        lane_rest = lane_rest // C
        n = lane_rest
    output_sum = tl.zeros([BLOCK], ACC)
    for s in tl.range(0, S, loop_unroll_factor=UNROLL):
        place = q * stride_w + s - padding_w
        inside = (place >= 0) & (place < W)
        input_value = tl.load(
            input_ptr + n * input_stride_n + c * input_stride_c + place * input_stride_w, mask=live & inside, other=0
        ).to(ACC)
        output_sum += tl.where(inside, input_value, 0.0)
    value = tl.cast(q, ACC) * tl.cast(stride_w, ACC)
    value_2 = tl.cast(count_include_pad, ACC) * tl.cast(padding_w, ACC)
    tl.store(
        output_ptr + n * output_stride_n + c * output_stride_c + q * output_stride_q,
        output_sum
        / (
            tl.minimum(
                tl.cast(S, ACC) + value - tl.cast(padding_w, ACC),
                tl.cast(W, ACC) + value_2,
                propagate_nan=tl.PropagateNan.ALL,
            )
            - tl.maximum(value - tl.cast(padding_w, ACC), -value_2, propagate_nan=tl.PropagateNan.ALL)
        ),
        mask=live,
    )


@triton.jit
def average_pooling_1d_grad_input(
    grad_output_ptr,
    grad_input_ptr,
    grad_output_stride_n,
    grad_output_stride_c,
    grad_output_stride_q,
    grad_input_stride_n,
    grad_input_stride_c,
    grad_input_stride_w,
    C,
    N,
    Q,
    W,
    S: tl.constexpr,
    count_include_pad: tl.constexpr,
    padding_w: tl.constexpr,
    stride_w: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Compute, in one window kernel:
    grad_input[n, c, w] = sum(s | stride_w divides -s + w + padding_w & 0 <= FloorDiv(-s + w +
        padding_w, stride_w) < Q: grad_output[n, c, FloorDiv(-s + w + padding_w,
        stride_w)]/(-maximum(-padding_w + stride_w*FloorDiv(-s + w + padding_w, stride_w),
        -count_include_pad*padding_w) + minimum(S - padding_w + stride_w*FloorDiv(-s + w + padding_w,
        stride_w), W + count_include_pad*padding_w)))
    """
    lane = tl.cast(tl.program_id(0), INDEX) * BLOCK + tl.arange(0, BLOCK)
    live = lane < tl.cast(N, INDEX) * C * W
    if LAST:
        c = lane % C
        lane_rest = lane // C
        w = lane_rest % W
        lane_rest = lane_rest // W
        n = lane_rest
    else:
        w = lane % W
        lane_rest = lane // W
        c = lane_rest % C
        lane_rest = lane_rest // C
        n = lane_rest
    grad_input = tl.zeros([BLOCK], ACC)
    for s in tl.range(0, S, loop_unroll_factor=UNROLL):
        place_2 = padding_w + w - s
        place = place_2 // stride_w
        inside = (place >= 0) & (place < Q) & (place_2 % stride_w == 0)
        grad_output_value = tl.load(
            grad_output_ptr + n * grad_output_stride_n + c * grad_output_stride_c + place * grad_output_stride_q,
            mask=live & inside,
            other=0,
        ).to(ACC)
        value = tl.cast(place, ACC) * tl.cast(stride_w, ACC)
        value_2 = tl.cast(count_include_pad, ACC) * tl.cast(padding_w, ACC)
        grad_input += tl.where(
            inside,
            grad_output_value
            / (
                tl.minimum(
                    tl.cast(S, ACC) + value - tl.cast(padding_w, ACC),
                    tl.cast(W, ACC) + value_2,
                    propagate_nan=tl.PropagateNan.ALL,
                )
                - tl.maximum(value - tl.cast(padding_w, ACC), -value_2, propagate_nan=tl.PropagateNan.ALL)
            ),
            0.0,
        )
    tl.store(
        grad_input_ptr + n * grad_input_stride_n + c * grad_input_stride_c + w * grad_input_stride_w,
        grad_input,
        mask=live,
    )


average_pooling_1d_RESIDUALS = 0


def average_pooling_1d_forward(
    input: torch.Tensor,
    *,
    Q: int,
    S: int,
    count_include_pad: int,
    padding_w: int,
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
    W = input.shape[2]
    how = launching.prepare(input)
    output = launching.empty((N, C, Q), input.dtype, how)
    launching.run(
        average_pooling_1d_output,
        how,
        schedule.lanes(N * C * Q, S),
        (input, output, *input.stride(), *output.stride(), C, N, Q, W),
        {"S": S, "count_include_pad": count_include_pad, "padding_w": padding_w, "stride_w": stride_w},
    )
    return (output,)


def average_pooling_1d_backward(
    grad_output: torch.Tensor,
    input: torch.Tensor,
    *,
    Q: int,
    S: int,
    count_include_pad: int,
    padding_w: int,
    stride_w: int,
    wanted: tuple[bool, ...],
) -> tuple[torch.Tensor | None, ...]:
    """Run the backward kernels that the wanted gradients need.

    Returns:
        grad_input; None where not wanted.
    """
    N = input.shape[0]
    C = input.shape[1]
    W = input.shape[2]
    how = launching.prepare(input)
    grad_input = launching.gradient_like(input)
    launching.run(
        average_pooling_1d_grad_input,
        how,
        schedule.lanes(N * C * W, S),
        (grad_output, grad_input, *grad_output.stride(), *grad_input.stride(), C, N, Q, W),
        {"S": S, "count_include_pad": count_include_pad, "padding_w": padding_w, "stride_w": stride_w},
    )
    return (grad_input,)
