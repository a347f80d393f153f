"""Max pooling: the largest element of each window.

Source: slides 12 to 16

    output[n, c, p, q] = max(r, s: input[n, c, p*stride_h + r*dilation_h - padding_h, q*stride_w + s*dilation_w - padding_w])
    position[n, c, p, q] = argmax(r, s: input[n, c, p*stride_h + r*dilation_h - padding_h, q*stride_w + s*dilation_w -
        padding_w])
    indices[n, c, p, q] = q*stride_w + W*(p*stride_h + dilation_h*FloorDiv(position[n, c, p, q], S) - padding_h) +
        dilation_w*(-S*FloorDiv(position[n, c, p, q], S) + position[n, c, p, q]) - padding_w

"""

import torch
import triton
import triton.language as tl

from .. import launching, schedule


@triton.jit
def max_pooling_2d_output(
    input_ptr,
    output_ptr,
    indices_ptr,
    input_stride_n,
    input_stride_c,
    input_stride_h,
    input_stride_w,
    output_stride_n,
    output_stride_c,
    output_stride_p,
    output_stride_q,
    indices_stride_n,
    indices_stride_c,
    indices_stride_p,
    indices_stride_q,
    C,
    H,
    N,
    P,
    Q,
    W,
    R: tl.constexpr,
    S: tl.constexpr,
    dilation_h: tl.constexpr,
    dilation_w: tl.constexpr,
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
    output[n, c, p, q] = max(r, s | 0 <= p*stride_h + r*dilation_h - padding_h < H & 0 <= q*stride_w +
        s*dilation_w - padding_w < W: input[n, c, p*stride_h + r*dilation_h - padding_h, q*stride_w +
        s*dilation_w - padding_w])
    position[n, c, p, q] = argmax(r, s | 0 <= p*stride_h + r*dilation_h - padding_h < H & 0 <=
        q*stride_w + s*dilation_w - padding_w < W: input[n, c, p*stride_h + r*dilation_h - padding_h,
        q*stride_w + s*dilation_w - padding_w])
    indices[n, c, p, q] = q*stride_w + W*(p*stride_h + dilation_h*FloorDiv(position[n, c, p, q], S) -
        padding_h) + dilation_w*(-S*FloorDiv(position[n, c, p, q], S) + position[n, c, p, q]) - padding_w
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
    position = tl.full([BLOCK], -1, tl.int32)
    output = tl.full([BLOCK], float("-inf"), ACC)
    for r in tl.range(0, R, loop_unroll_factor=UNROLL):
        for s in tl.range(0, S, loop_unroll_factor=UNROLL):
            place = p * stride_h + dilation_h * r - padding_h
            place_2 = q * stride_w + dilation_w * s - padding_w
            inside = (place >= 0) & (place < H) & ((place_2 >= 0) & (place_2 < W))
            input_value = tl.load(
                input_ptr + n * input_stride_n + c * input_stride_c + place * input_stride_h + place_2 * input_stride_w,
                mask=live & inside,
                other=0,
            ).to(ACC)
            element = input_value
            take = (element > output) | ((element != element) & (output == output)) | (position < 0)
            take = take & (inside)
            output = tl.where(take, element, output)
            position = tl.where(take, S * r + s, position)
    position = tl.maximum(position, 0)
    tl.store(
        output_ptr + n * output_stride_n + c * output_stride_c + p * output_stride_p + q * output_stride_q,
        output,
        mask=live,
    )
    if indices_ptr is not None:
        tl.store(
            indices_ptr + n * indices_stride_n + c * indices_stride_c + p * indices_stride_p + q * indices_stride_q,
            W * (position // S * dilation_h + p * stride_h - padding_h)
            + (position - position // S * S) * dilation_w
            + q * stride_w
            - padding_w,
            mask=live,
        )


@triton.jit
def max_pooling_2d_position(
    input_ptr,
    output_ptr,
    position_ptr,
    indices_ptr,
    input_stride_n,
    input_stride_c,
    input_stride_h,
    input_stride_w,
    output_stride_n,
    output_stride_c,
    output_stride_p,
    output_stride_q,
    position_stride_n,
    position_stride_c,
    position_stride_p,
    position_stride_q,
    indices_stride_n,
    indices_stride_c,
    indices_stride_p,
    indices_stride_q,
    C,
    H,
    N,
    P,
    Q,
    W,
    R: tl.constexpr,
    S: tl.constexpr,
    dilation_h: tl.constexpr,
    dilation_w: tl.constexpr,
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
    output[n, c, p, q] = max(r, s | 0 <= p*stride_h + r*dilation_h - padding_h < H & 0 <= q*stride_w +
        s*dilation_w - padding_w < W: input[n, c, p*stride_h + r*dilation_h - padding_h, q*stride_w +
        s*dilation_w - padding_w])
    position[n, c, p, q] = argmax(r, s | 0 <= p*stride_h + r*dilation_h - padding_h < H & 0 <=
        q*stride_w + s*dilation_w - padding_w < W: input[n, c, p*stride_h + r*dilation_h - padding_h,
        q*stride_w + s*dilation_w - padding_w])
    indices[n, c, p, q] = q*stride_w + W*(p*stride_h + dilation_h*FloorDiv(position[n, c, p, q], S) -
        padding_h) + dilation_w*(-S*FloorDiv(position[n, c, p, q], S) + position[n, c, p, q]) - padding_w
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
    position = tl.full([BLOCK], -1, tl.int32)
    output = tl.full([BLOCK], float("-inf"), ACC)
    for r in tl.range(0, R, loop_unroll_factor=UNROLL):
        for s in tl.range(0, S, loop_unroll_factor=UNROLL):
            place = p * stride_h + dilation_h * r - padding_h
            place_2 = q * stride_w + dilation_w * s - padding_w
            inside = (place >= 0) & (place < H) & ((place_2 >= 0) & (place_2 < W))
            input_value = tl.load(
                input_ptr + n * input_stride_n + c * input_stride_c + place * input_stride_h + place_2 * input_stride_w,
                mask=live & inside,
                other=0,
            ).to(ACC)
            element = input_value
            take = (element > output) | ((element != element) & (output == output)) | (position < 0)
            take = take & (inside)
            output = tl.where(take, element, output)
            position = tl.where(take, S * r + s, position)
    position = tl.maximum(position, 0)
    tl.store(
        position_ptr + n * position_stride_n + c * position_stride_c + p * position_stride_p + q * position_stride_q,
        position,
        mask=live,
    )
    tl.store(
        output_ptr + n * output_stride_n + c * output_stride_c + p * output_stride_p + q * output_stride_q,
        output,
        mask=live,
    )
    if indices_ptr is not None:
        tl.store(
            indices_ptr + n * indices_stride_n + c * indices_stride_c + p * indices_stride_p + q * indices_stride_q,
            W * (position // S * dilation_h + p * stride_h - padding_h)
            + (position - position // S * S) * dilation_w
            + q * stride_w
            - padding_w,
            mask=live,
        )


@triton.jit
def max_pooling_2d_grad_input(
    grad_output_ptr,
    position_ptr,
    grad_input_ptr,
    grad_output_stride_n,
    grad_output_stride_c,
    grad_output_stride_p,
    grad_output_stride_q,
    position_stride_n,
    position_stride_c,
    position_stride_p,
    position_stride_q,
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
    dilation_h: tl.constexpr,
    dilation_w: tl.constexpr,
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
    grad_input[n, c, h, w] = sum(r, s | stride_h divides h - r*dilation_h + padding_h & stride_w divides
        -s*dilation_w + w + padding_w & 0 <= FloorDiv(h - r*dilation_h + padding_h, stride_h) < P & 0 <=
        FloorDiv(-s*dilation_w + w + padding_w, stride_w) < Q: grad_output[n, c, FloorDiv(h - r*dilation_h +
        padding_h, stride_h), FloorDiv(-s*dilation_w + w + padding_w, stride_w)]*Select(Eq(position[n, c,
        FloorDiv(h - r*dilation_h + padding_h, stride_h), FloorDiv(-s*dilation_w + w + padding_w,
        stride_w)], r*S + s), 1, 0))
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
            place_3 = padding_w + w - dilation_w * s
            place = place_3 // stride_w
            place_4 = h + padding_h - dilation_h * r
            place_2 = place_4 // stride_h
            inside = (
                (place >= 0)
                & (place < Q)
                & ((place_2 >= 0) & (place_2 < P))
                & (place_4 % stride_h == 0)
                & (place_3 % stride_w == 0)
            )
            position_value = tl.load(
                position_ptr
                + n * position_stride_n
                + c * position_stride_c
                + place_2 * position_stride_p
                + place * position_stride_q,
                mask=live & inside,
                other=0,
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
            grad_input += tl.where(inside, tl.where(position_value == S * r + s, grad_output_value, 0.0), 0.0)
    tl.store(
        grad_input_ptr
        + n * grad_input_stride_n
        + c * grad_input_stride_c
        + h * grad_input_stride_h
        + w * grad_input_stride_w,
        grad_input,
        mask=live,
    )


max_pooling_2d_RESIDUALS = 1


def max_pooling_2d_forward(
    input: torch.Tensor,
    *,
    P: int,
    Q: int,
    R: int,
    S: int,
    dilation_h: int,
    dilation_w: int,
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
        skipped: names of optional results that nobody wants (indices); they are None.

    Returns:
        output, indices; with ``save`` also position.
    """
    if save:
        return _max_pooling_2d_saving(
            input,
            P=P,
            Q=Q,
            R=R,
            S=S,
            dilation_h=dilation_h,
            dilation_w=dilation_w,
            padding_h=padding_h,
            padding_w=padding_w,
            stride_h=stride_h,
            stride_w=stride_w,
            skipped=skipped,
        )
    N = input.shape[0]
    C = input.shape[1]
    H = input.shape[2]
    W = input.shape[3]
    how = launching.prepare(input)
    output = launching.empty((N, C, P, Q), input.dtype, how)
    indices = None if "indices" in skipped else launching.empty((N, C, P, Q), torch.int64, how)
    launching.run(
        max_pooling_2d_output,
        how,
        schedule.lanes(N * C * P * Q, R * S),
        (
            input,
            output,
            indices,
            *input.stride(),
            *output.stride(),
            0 if indices is None else indices.stride(0),
            0 if indices is None else indices.stride(1),
            0 if indices is None else indices.stride(2),
            0 if indices is None else indices.stride(3),
            C,
            H,
            N,
            P,
            Q,
            W,
        ),
        {
            "R": R,
            "S": S,
            "dilation_h": dilation_h,
            "dilation_w": dilation_w,
            "padding_h": padding_h,
            "padding_w": padding_w,
            "stride_h": stride_h,
            "stride_w": stride_w,
        },
    )
    return (output, indices)


def _max_pooling_2d_saving(
    input: torch.Tensor,
    *,
    P: int,
    Q: int,
    R: int,
    S: int,
    dilation_h: int,
    dilation_w: int,
    padding_h: int,
    padding_w: int,
    stride_h: int,
    stride_w: int,
    skipped: tuple[str, ...],
) -> tuple[torch.Tensor | None, ...]:
    N = input.shape[0]
    C = input.shape[1]
    H = input.shape[2]
    W = input.shape[3]
    how = launching.prepare(input)
    position = launching.empty((N, C, P, Q), torch.int32, how)
    output = launching.empty((N, C, P, Q), input.dtype, how)
    indices = None if "indices" in skipped else launching.empty((N, C, P, Q), torch.int64, how)
    launching.run(
        max_pooling_2d_position,
        how,
        schedule.lanes(N * C * P * Q, R * S),
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
            0 if indices is None else indices.stride(3),
            C,
            H,
            N,
            P,
            Q,
            W,
        ),
        {
            "R": R,
            "S": S,
            "dilation_h": dilation_h,
            "dilation_w": dilation_w,
            "padding_h": padding_h,
            "padding_w": padding_w,
            "stride_h": stride_h,
            "stride_w": stride_w,
        },
    )
    return (output, indices, position)


def max_pooling_2d_backward(
    grad_output: torch.Tensor,
    input: torch.Tensor,
    position: torch.Tensor,
    *,
    P: int,
    Q: int,
    R: int,
    S: int,
    dilation_h: int,
    dilation_w: int,
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
        max_pooling_2d_grad_input,
        how,
        schedule.lanes(N * C * H * W, R * S),
        (
            grad_output,
            position,
            grad_input,
            *grad_output.stride(),
            *position.stride(),
            *grad_input.stride(),
            C,
            H,
            N,
            P,
            Q,
            W,
        ),
        {
            "R": R,
            "S": S,
            "dilation_h": dilation_h,
            "dilation_w": dilation_w,
            "padding_h": padding_h,
            "padding_w": padding_w,
            "stride_h": stride_h,
            "stride_w": stride_w,
        },
    )
    return (grad_input,)
