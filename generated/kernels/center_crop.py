"""The middle of an image.

Source: slide 2; torchvision.transforms.functional.center_crop

    output[n, c, p, q] = input[n, c, p + top, q + left]

"""

import torch
import triton
import triton.language as tl

from .. import launching, schedule


@triton.jit
def center_crop_output(
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
    left: tl.constexpr,
    top: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Compute, in one pointwise kernel:
    output[n, c, p, q] = Select(0 <= p + top < H & 0 <= q + left < W, input[n, c, p + top, q + left], 0)
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
    input_value = tl.load(
        input_ptr + n * input_stride_n + c * input_stride_c + (p + top) * input_stride_h + (left + q) * input_stride_w,
        mask=live & (p + top >= 0) & (p + top < H) & (left + q >= 0) & (left + q < W),
        other=0,
    ).to(ACC)
    tl.store(
        output_ptr + n * output_stride_n + c * output_stride_c + p * output_stride_p + q * output_stride_q,
        tl.where((p + top >= 0) & (p + top < H) & ((left + q >= 0) & (left + q < W)), input_value, 0.0),
        mask=live,
    )


@triton.jit
def center_crop_grad_input(
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
    left: tl.constexpr,
    top: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Compute, in one pointwise kernel:
    grad_input[n, c, h, w] = Select(0 <= h - top < P & 0 <= w - left < Q, grad_output[n, c, h - top, w -
        left], 0)
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
    grad_output_value = tl.load(
        grad_output_ptr
        + n * grad_output_stride_n
        + c * grad_output_stride_c
        + (h - top) * grad_output_stride_p
        + (w - left) * grad_output_stride_q,
        mask=live & (h - top >= 0) & (h - top < P) & (w - left >= 0) & (w - left < Q),
        other=0,
    ).to(ACC)
    tl.store(
        grad_input_ptr
        + n * grad_input_stride_n
        + c * grad_input_stride_c
        + h * grad_input_stride_h
        + w * grad_input_stride_w,
        tl.where((h - top >= 0) & (h - top < P) & ((w - left >= 0) & (w - left < Q)), grad_output_value, 0.0),
        mask=live,
    )


center_crop_RESIDUALS = 0


def center_crop_forward(
    input: torch.Tensor, *, P: int, Q: int, left: int, top: int, save: bool = False, skipped: tuple[str, ...] = ()
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
        center_crop_output,
        how,
        schedule.lanes(N * C * P * Q, 1),
        (input, output, *input.stride(), *output.stride(), C, H, N, P, Q, W),
        {"left": left, "top": top},
    )
    return (output,)


def center_crop_backward(
    grad_output: torch.Tensor, input: torch.Tensor, *, P: int, Q: int, left: int, top: int, wanted: tuple[bool, ...]
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
        center_crop_grad_input,
        how,
        schedule.lanes(N * C * H * W, 1),
        (grad_output, grad_input, *grad_output.stride(), *grad_input.stride(), C, H, N, P, Q, W),
        {"left": left, "top": top},
    )
    return (grad_input,)
