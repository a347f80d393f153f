"""Zero-centre (mean) or standardise (mean and std) every channel.

Source: slide 2

    output[n, c, m] = (input[n, c, m] - mean[c])/std[c]

"""

import torch
import triton
import triton.language as tl

from .. import launching, schedule


@triton.jit
def normalize_output(
    input_ptr,
    mean_ptr,
    std_ptr,
    output_ptr,
    input_stride_n,
    input_stride_c,
    input_stride_m,
    mean_stride_c,
    std_stride_c,
    output_stride_n,
    output_stride_c,
    output_stride_m,
    C,
    M,
    N,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Compute, in one pointwise kernel:
    output[n, c, m] = (input[n, c, m] - mean[c])/std[c]
    """
    lane = tl.cast(tl.program_id(0), INDEX) * BLOCK + tl.arange(0, BLOCK)
    live = lane < tl.cast(N, INDEX) * C * M
    if LAST:
        c = lane % C
        lane_rest = lane // C
        m = lane_rest % M
        lane_rest = lane_rest // M
        n = lane_rest
    else:
        m = lane % M
        lane_rest = lane // M
        c = lane_rest % C
        lane_rest = lane_rest // C
        n = lane_rest
    input_value = tl.load(
        input_ptr + n * input_stride_n + c * input_stride_c + m * input_stride_m, mask=live, other=0
    ).to(ACC)
    if mean_ptr is not None:
        mean_value = tl.load(mean_ptr + c * mean_stride_c, mask=live, other=0).to(ACC)
    else:
        mean_value = 0.0
    if std_ptr is not None:
        std_value = tl.load(std_ptr + c * std_stride_c, mask=live, other=0).to(ACC)
    else:
        std_value = 1.0
    tl.store(
        output_ptr + n * output_stride_n + c * output_stride_c + m * output_stride_m,
        (input_value - mean_value) / std_value,
        mask=live,
    )


@triton.jit
def normalize_grad_input(
    std_ptr,
    grad_output_ptr,
    grad_input_ptr,
    std_stride_c,
    grad_output_stride_n,
    grad_output_stride_c,
    grad_output_stride_m,
    grad_input_stride_n,
    grad_input_stride_c,
    grad_input_stride_m,
    C,
    M,
    N,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Compute, in one pointwise kernel:
    grad_input[n, c, m] = grad_output[n, c, m]/std[c]
    """
    lane = tl.cast(tl.program_id(0), INDEX) * BLOCK + tl.arange(0, BLOCK)
    live = lane < tl.cast(N, INDEX) * C * M
    if LAST:
        c = lane % C
        lane_rest = lane // C
        m = lane_rest % M
        lane_rest = lane_rest // M
        n = lane_rest
    else:
        m = lane % M
        lane_rest = lane // M
        c = lane_rest % C
        lane_rest = lane_rest // C
        n = lane_rest
    grad_output_value = tl.load(
        grad_output_ptr + n * grad_output_stride_n + c * grad_output_stride_c + m * grad_output_stride_m,
        mask=live,
        other=0,
    ).to(ACC)
    if std_ptr is not None:
        std_value = tl.load(std_ptr + c * std_stride_c, mask=live, other=0).to(ACC)
    else:
        std_value = 1.0
    tl.store(
        grad_input_ptr + n * grad_input_stride_n + c * grad_input_stride_c + m * grad_input_stride_m,
        grad_output_value / std_value,
        mask=live,
    )


normalize_RESIDUALS = 0


def normalize_forward(
    input: torch.Tensor,
    mean: torch.Tensor | None,
    std: torch.Tensor | None,
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
    N = input.shape[0]
    C = input.shape[1]
    M = input.shape[2]
    how = launching.prepare(input)
    output = launching.empty((N, C, M), input.dtype, how)
    launching.run(
        normalize_output,
        how,
        schedule.lanes(N * C * M, 1),
        (
            input,
            mean,
            std,
            output,
            *input.stride(),
            0 if mean is None else mean.stride(0),
            0 if std is None else std.stride(0),
            *output.stride(),
            C,
            M,
            N,
        ),
        {},
    )
    return (output,)


def normalize_backward(
    grad_output: torch.Tensor,
    input: torch.Tensor,
    mean: torch.Tensor | None,
    std: torch.Tensor | None,
    *,
    wanted: tuple[bool, ...],
) -> tuple[torch.Tensor | None, ...]:
    """Run the backward kernels that the wanted gradients need.

    Returns:
        grad_input; None where not wanted.
    """
    N = input.shape[0]
    C = input.shape[1]
    M = input.shape[2]
    how = launching.prepare(input)
    grad_input = launching.gradient_like(input)
    launching.run(
        normalize_grad_input,
        how,
        schedule.lanes(N * C * M, 1),
        (
            std,
            grad_output,
            grad_input,
            0 if std is None else std.stride(0),
            *grad_output.stride(),
            *grad_input.stride(),
            C,
            M,
            N,
        ),
        {},
    )
    return (grad_input,)
