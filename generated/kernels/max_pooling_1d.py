"""Max pooling: the largest element of each window.

Source: slides 12 to 16

    output[n, c, q] = max(s: input[n, c, q*stride_w + s*dilation_w - padding_w])
    position[n, c, q] = argmax(s: input[n, c, q*stride_w + s*dilation_w - padding_w])
    indices[n, c, q] = q*stride_w + dilation_w*position[n, c, q] - padding_w

"""

import torch
import triton
import triton.language as tl

from .. import launching, schedule


@triton.jit
def max_pooling_1d_output(
    input_ptr,
    output_ptr,
    indices_ptr,
    input_stride_n,
    input_stride_c,
    input_stride_w,
    output_stride_n,
    output_stride_c,
    output_stride_q,
    indices_stride_n,
    indices_stride_c,
    indices_stride_q,
    C,
    N,
    Q,
    W,
    S: tl.constexpr,
    dilation_w: tl.constexpr,
    padding_w: tl.constexpr,
    stride_w: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Compute, in one window kernel:
    output[n, c, q] = max(s | 0 <= q*stride_w + s*dilation_w - padding_w < W: input[n, c, q*stride_w +
        s*dilation_w - padding_w])
    position[n, c, q] = argmax(s | 0 <= q*stride_w + s*dilation_w - padding_w < W: input[n, c,
        q*stride_w + s*dilation_w - padding_w])
    indices[n, c, q] = q*stride_w + dilation_w*position[n, c, q] - padding_w
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
    position = tl.full([BLOCK], -1, tl.int32)
    output = tl.full([BLOCK], float("-inf"), ACC)
    for s in tl.range(0, S, loop_unroll_factor=UNROLL):
        place = q * stride_w + dilation_w * s - padding_w
        inside = (place >= 0) & (place < W)
        input_value = tl.load(
            input_ptr + n * input_stride_n + c * input_stride_c + place * input_stride_w, mask=live & inside, other=0
        ).to(ACC)
        element = input_value
        take = (element > output) | ((element != element) & (output == output)) | (position < 0)
        take = take & (inside)
        output = tl.where(take, element, output)
        position = tl.where(take, s, position)
    position = tl.maximum(position, 0)
    tl.store(output_ptr + n * output_stride_n + c * output_stride_c + q * output_stride_q, output, mask=live)
    if indices_ptr is not None:
        tl.store(
            indices_ptr + n * indices_stride_n + c * indices_stride_c + q * indices_stride_q,
            dilation_w * position + q * stride_w - padding_w,
            mask=live,
        )


@triton.jit
def max_pooling_1d_position(
    input_ptr,
    output_ptr,
    position_ptr,
    indices_ptr,
    input_stride_n,
    input_stride_c,
    input_stride_w,
    output_stride_n,
    output_stride_c,
    output_stride_q,
    position_stride_n,
    position_stride_c,
    position_stride_q,
    indices_stride_n,
    indices_stride_c,
    indices_stride_q,
    C,
    N,
    Q,
    W,
    S: tl.constexpr,
    dilation_w: tl.constexpr,
    padding_w: tl.constexpr,
    stride_w: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Compute, in one window kernel:
    output[n, c, q] = max(s | 0 <= q*stride_w + s*dilation_w - padding_w < W: input[n, c, q*stride_w +
        s*dilation_w - padding_w])
    position[n, c, q] = argmax(s | 0 <= q*stride_w + s*dilation_w - padding_w < W: input[n, c,
        q*stride_w + s*dilation_w - padding_w])
    indices[n, c, q] = q*stride_w + dilation_w*position[n, c, q] - padding_w
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
    position = tl.full([BLOCK], -1, tl.int32)
    output = tl.full([BLOCK], float("-inf"), ACC)
    for s in tl.range(0, S, loop_unroll_factor=UNROLL):
        place = q * stride_w + dilation_w * s - padding_w
        inside = (place >= 0) & (place < W)
        input_value = tl.load(
            input_ptr + n * input_stride_n + c * input_stride_c + place * input_stride_w, mask=live & inside, other=0
        ).to(ACC)
        element = input_value
        take = (element > output) | ((element != element) & (output == output)) | (position < 0)
        take = take & (inside)
        output = tl.where(take, element, output)
        position = tl.where(take, s, position)
    position = tl.maximum(position, 0)
    tl.store(position_ptr + n * position_stride_n + c * position_stride_c + q * position_stride_q, position, mask=live)
    tl.store(output_ptr + n * output_stride_n + c * output_stride_c + q * output_stride_q, output, mask=live)
    if indices_ptr is not None:
        tl.store(
            indices_ptr + n * indices_stride_n + c * indices_stride_c + q * indices_stride_q,
            dilation_w * position + q * stride_w - padding_w,
            mask=live,
        )


@triton.jit
def max_pooling_1d_grad_input(
    grad_output_ptr,
    position_ptr,
    grad_input_ptr,
    grad_output_stride_n,
    grad_output_stride_c,
    grad_output_stride_q,
    position_stride_n,
    position_stride_c,
    position_stride_q,
    grad_input_stride_n,
    grad_input_stride_c,
    grad_input_stride_w,
    C,
    N,
    Q,
    W,
    S: tl.constexpr,
    dilation_w: tl.constexpr,
    padding_w: tl.constexpr,
    stride_w: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Compute, in one window kernel:
    grad_input[n, c, w] = sum(s | stride_w divides -s*dilation_w + w + padding_w & 0 <=
        FloorDiv(-s*dilation_w + w + padding_w, stride_w) < Q: grad_output[n, c, FloorDiv(-s*dilation_w + w
        + padding_w, stride_w)]*Select(Eq(position[n, c, FloorDiv(-s*dilation_w + w + padding_w, stride_w)],
        s), 1, 0))
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
        place_2 = padding_w + w - dilation_w * s
        place = place_2 // stride_w
        inside = (place >= 0) & (place < Q) & (place_2 % stride_w == 0)
        position_value = tl.load(
            position_ptr + n * position_stride_n + c * position_stride_c + place * position_stride_q,
            mask=live & inside,
            other=0,
        )
        grad_output_value = tl.load(
            grad_output_ptr + n * grad_output_stride_n + c * grad_output_stride_c + place * grad_output_stride_q,
            mask=live & inside,
            other=0,
        ).to(ACC)
        grad_input += tl.where(inside, tl.where(position_value == s, grad_output_value, 0.0), 0.0)
    tl.store(
        grad_input_ptr + n * grad_input_stride_n + c * grad_input_stride_c + w * grad_input_stride_w,
        grad_input,
        mask=live,
    )


max_pooling_1d_RESIDUALS = 1


def max_pooling_1d_forward(
    input: torch.Tensor,
    *,
    Q: int,
    S: int,
    dilation_w: int,
    padding_w: int,
    stride_w: int,
    save: bool = False,
    skipped: tuple[str, ...] = (),
) -> tuple[torch.Tensor | None, ...]:
    """Run the forward kernels.

    Args:
        save: return what the backward needs too.
        skipped: names of optional results that nobody wants (indices); they are None.

    Returns:
        output, indices; with ``save`` also position.
    """
    if save:
        return _max_pooling_1d_saving(
            input, Q=Q, S=S, dilation_w=dilation_w, padding_w=padding_w, stride_w=stride_w, skipped=skipped
        )
    N = input.shape[0]
    C = input.shape[1]
    W = input.shape[2]
    how = launching.prepare(input)
    output = launching.empty((N, C, Q), input.dtype, how)
    indices = None if "indices" in skipped else launching.empty((N, C, Q), torch.int64, how)
    launching.run(
        max_pooling_1d_output,
        how,
        schedule.lanes(N * C * Q, S),
        (
            input,
            output,
            indices,
            *input.stride(),
            *output.stride(),
            0 if indices is None else indices.stride(0),
            0 if indices is None else indices.stride(1),
            0 if indices is None else indices.stride(2),
            C,
            N,
            Q,
            W,
        ),
        {"S": S, "dilation_w": dilation_w, "padding_w": padding_w, "stride_w": stride_w},
    )
    return (output, indices)


def _max_pooling_1d_saving(
    input: torch.Tensor, *, Q: int, S: int, dilation_w: int, padding_w: int, stride_w: int, skipped: tuple[str, ...]
) -> tuple[torch.Tensor | None, ...]:
    N = input.shape[0]
    C = input.shape[1]
    W = input.shape[2]
    how = launching.prepare(input)
    position = launching.empty((N, C, Q), torch.int32, how)
    output = launching.empty((N, C, Q), input.dtype, how)
    indices = None if "indices" in skipped else launching.empty((N, C, Q), torch.int64, how)
    launching.run(
        max_pooling_1d_position,
        how,
        schedule.lanes(N * C * Q, S),
        (
            input,
            output,
            position,
            indices,
            *input.stride(),
            *output.stride(),
            *position.stride(),
            0 if indices is None else indices.stride(0),
            0 if indices is None else indices.stride(1),
            0 if indices is None else indices.stride(2),
            C,
            N,
            Q,
            W,
        ),
        {"S": S, "dilation_w": dilation_w, "padding_w": padding_w, "stride_w": stride_w},
    )
    return (output, indices, position)


def max_pooling_1d_backward(
    grad_output: torch.Tensor,
    input: torch.Tensor,
    position: torch.Tensor,
    *,
    Q: int,
    S: int,
    dilation_w: int,
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
        max_pooling_1d_grad_input,
        how,
        schedule.lanes(N * C * W, S),
        (
            grad_output,
            position,
            grad_input,
            *grad_output.stride(),
            *position.stride(),
            *grad_input.stride(),
            C,
            N,
            Q,
            W,
        ),
        {"S": S, "dilation_w": dilation_w, "padding_w": padding_w, "stride_w": stride_w},
    )
    return (grad_input,)
