"""Local response normalization, PyTorch's semantics.

Source: slide 21; torch.nn.functional.local_response_norm

    output[n, c, m] = input[n, c, m]/(k + alpha*sum(j: input[n, c + j - FloorDiv(J, 2), m]**2)/J)**beta

"""

import torch
import triton
import triton.language as tl

from .. import launching, schedule
from . import primitives


@triton.jit
def local_response_normalization_output(
    input_ptr,
    output_ptr,
    input_stride_n,
    input_stride_c,
    input_stride_m,
    output_stride_n,
    output_stride_c,
    output_stride_m,
    C,
    M,
    N,
    J: tl.constexpr,
    alpha: tl.constexpr,
    beta: tl.constexpr,
    k: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Compute, in one window kernel:
    output_sum[n, c, m] = sum(j | 0 <= c + j - FloorDiv(J, 2) < C: input[n, c + j - FloorDiv(J, 2),
        m]**2)
    output[n, c, m] = input[n, c, m]/(k + alpha*output_sum[n, c, m]/J)**beta
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
    output_sum = tl.zeros([BLOCK], ACC)
    for j in tl.range(0, J, loop_unroll_factor=UNROLL):
        place = c + j - J // 2
        inside = (place >= 0) & (place < C)
        input_value = tl.load(
            input_ptr + n * input_stride_n + place * input_stride_c + m * input_stride_m, mask=live & inside, other=0
        ).to(ACC)
        output_sum += tl.where(inside, input_value * input_value, 0.0)
    input_value_2 = tl.load(
        input_ptr + n * input_stride_n + c * input_stride_c + m * input_stride_m, mask=live, other=0
    ).to(ACC)
    tl.store(
        output_ptr + n * output_stride_n + c * output_stride_c + m * output_stride_m,
        primitives.power(alpha * output_sum / tl.cast(J, ACC) + k, tl.full([], -beta, ACC)) * input_value_2,
        mask=live,
    )


@triton.jit
def local_response_normalization_output_sum(
    input_ptr,
    output_sum_ptr,
    output_ptr,
    input_stride_n,
    input_stride_c,
    input_stride_m,
    output_sum_stride_n,
    output_sum_stride_c,
    output_sum_stride_m,
    output_stride_n,
    output_stride_c,
    output_stride_m,
    C,
    M,
    N,
    J: tl.constexpr,
    alpha: tl.constexpr,
    beta: tl.constexpr,
    k: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Compute, in one window kernel:
    output_sum[n, c, m] = sum(j | 0 <= c + j - FloorDiv(J, 2) < C: input[n, c + j - FloorDiv(J, 2),
        m]**2)
    output[n, c, m] = input[n, c, m]/(k + alpha*output_sum[n, c, m]/J)**beta
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
    output_sum = tl.zeros([BLOCK], ACC)
    for j in tl.range(0, J, loop_unroll_factor=UNROLL):
        place = c + j - J // 2
        inside = (place >= 0) & (place < C)
        input_value = tl.load(
            input_ptr + n * input_stride_n + place * input_stride_c + m * input_stride_m, mask=live & inside, other=0
        ).to(ACC)
        output_sum += tl.where(inside, input_value * input_value, 0.0)
    input_value_2 = tl.load(
        input_ptr + n * input_stride_n + c * input_stride_c + m * input_stride_m, mask=live, other=0
    ).to(ACC)
    tl.store(
        output_sum_ptr + n * output_sum_stride_n + c * output_sum_stride_c + m * output_sum_stride_m,
        output_sum,
        mask=live,
    )
    tl.store(
        output_ptr + n * output_stride_n + c * output_stride_c + m * output_stride_m,
        primitives.power(alpha * output_sum / tl.cast(J, ACC) + k, tl.full([], -beta, ACC)) * input_value_2,
        mask=live,
    )


@triton.jit
def local_response_normalization_grad_input(
    input_ptr,
    grad_output_ptr,
    output_sum_ptr,
    grad_input_ptr,
    input_stride_n,
    input_stride_c,
    input_stride_m,
    grad_output_stride_n,
    grad_output_stride_c,
    grad_output_stride_m,
    output_sum_stride_n,
    output_sum_stride_c,
    output_sum_stride_m,
    grad_input_stride_n,
    grad_input_stride_c,
    grad_input_stride_m,
    C,
    M,
    N,
    J: tl.constexpr,
    alpha: tl.constexpr,
    beta: tl.constexpr,
    k: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Compute, in one window kernel:
    grad_input_sum[n, c, m] = sum(j | 0 <= c - j + FloorDiv(J, 2) < C: -alpha*beta*grad_output[n, c - j
        + FloorDiv(J, 2), m]*input[n, c - j + FloorDiv(J, 2), m]/(J*(k + alpha*output_sum[n, c - j +
        FloorDiv(J, 2), m]/J)*(k + alpha*output_sum[n, c - j + FloorDiv(J, 2), m]/J)**beta))
    grad_input[n, c, m] = 2*grad_input_sum[n, c, m]*input[n, c, m] + grad_output[n, c, m]/(k +
        alpha*output_sum[n, c, m]/J)**beta
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
    grad_input_sum = tl.zeros([BLOCK], ACC)
    for j in tl.range(0, J, loop_unroll_factor=UNROLL):
        place = J // 2 + c - j
        inside = (place >= 0) & (place < C)
        output_sum_value = tl.load(
            output_sum_ptr + n * output_sum_stride_n + place * output_sum_stride_c + m * output_sum_stride_m,
            mask=live & inside,
            other=0,
        ).to(ACC)
        grad_output_value = tl.load(
            grad_output_ptr + n * grad_output_stride_n + place * grad_output_stride_c + m * grad_output_stride_m,
            mask=live & inside,
            other=0,
        ).to(ACC)
        input_value = tl.load(
            input_ptr + n * input_stride_n + place * input_stride_c + m * input_stride_m, mask=live & inside, other=0
        ).to(ACC)
        value = alpha * output_sum_value / tl.cast(J, ACC) + k
        grad_input_sum += tl.where(
            inside,
            -(
                primitives.power(value, tl.full([], -beta, ACC))
                * alpha
                * beta
                * grad_output_value
                * input_value
                / (value * tl.cast(J, ACC))
            ),
            0.0,
        )
    input_value_2 = tl.load(
        input_ptr + n * input_stride_n + c * input_stride_c + m * input_stride_m, mask=live, other=0
    ).to(ACC)
    output_sum_value_2 = tl.load(
        output_sum_ptr + n * output_sum_stride_n + c * output_sum_stride_c + m * output_sum_stride_m, mask=live, other=0
    ).to(ACC)
    grad_output_value_2 = tl.load(
        grad_output_ptr + n * grad_output_stride_n + c * grad_output_stride_c + m * grad_output_stride_m,
        mask=live,
        other=0,
    ).to(ACC)
    tl.store(
        grad_input_ptr + n * grad_input_stride_n + c * grad_input_stride_c + m * grad_input_stride_m,
        2.0 * grad_input_sum * input_value_2
        + primitives.power(alpha * output_sum_value_2 / tl.cast(J, ACC) + k, tl.full([], -beta, ACC))
        * grad_output_value_2,
        mask=live,
    )


local_response_normalization_RESIDUALS = 1


def local_response_normalization_forward(
    input: torch.Tensor,
    *,
    J: int,
    alpha: float,
    beta: float,
    k: float,
    save: bool = False,
    skipped: tuple[str, ...] = (),
) -> tuple[torch.Tensor | None, ...]:
    """Run the forward kernels.

    Args:
        save: return what the backward needs too.
        skipped: names of optional results that nobody wants; they are None.

    Returns:
        output; with ``save`` also output_sum.
    """
    if save:
        return _local_response_normalization_saving(input, J=J, alpha=alpha, beta=beta, k=k, skipped=skipped)
    N = input.shape[0]
    C = input.shape[1]
    M = input.shape[2]
    how = launching.prepare(input)
    output = launching.empty((N, C, M), input.dtype, how)
    launching.run(
        local_response_normalization_output,
        how,
        schedule.lanes(N * C * M, J),
        (input, output, *input.stride(), *output.stride(), C, M, N),
        {"J": J, "alpha": alpha, "beta": beta, "k": k},
    )
    return (output,)


def _local_response_normalization_saving(
    input: torch.Tensor, *, J: int, alpha: float, beta: float, k: float, skipped: tuple[str, ...]
) -> tuple[torch.Tensor | None, ...]:
    N = input.shape[0]
    C = input.shape[1]
    M = input.shape[2]
    how = launching.prepare(input)
    output_sum = launching.empty((N, C, M), how.accumulator, how)
    output = launching.empty((N, C, M), input.dtype, how)
    launching.run(
        local_response_normalization_output_sum,
        how,
        schedule.lanes(N * C * M, J),
        (input, output_sum, output, *input.stride(), *output_sum.stride(), *output.stride(), C, M, N),
        {"J": J, "alpha": alpha, "beta": beta, "k": k},
    )
    return (output, output_sum)


def local_response_normalization_backward(
    grad_output: torch.Tensor,
    input: torch.Tensor,
    output_sum: torch.Tensor,
    *,
    J: int,
    alpha: float,
    beta: float,
    k: float,
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
        local_response_normalization_grad_input,
        how,
        schedule.lanes(N * C * M, J),
        (
            input,
            grad_output,
            output_sum,
            grad_input,
            *input.stride(),
            *grad_output.stride(),
            *output_sum.stride(),
            *grad_input.stride(),
            C,
            M,
            N,
        ),
        {"J": J, "alpha": alpha, "beta": beta, "k": k},
    )
    return (grad_input,)
