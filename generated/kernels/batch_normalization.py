"""Batch normalization.

Source: slide 20, corrected; Ioffe and Szegedy, arXiv:1502.03167

    mean[c] = sum(n, m: input[n, c, m])/(M*N)
    variance[c] = sum(n, m: (input[n, c, m] - mean[c])**2)/(M*N)
    output[n, c, m] = bias[c] + (input[n, c, m] - mean[c])*weight[c]/sqrt(eps + variance[c])
    new_running_mean[c] = momentum*mean[c] + (1 - momentum)*running_mean[c]
    new_running_var[c] = M*N*momentum*variance[c]/(M*N - 1) + (1 - momentum)*running_var[c]

    mean[c] = sum(n, m: input[n, c, m])/(M*N)
    variance[c] = sum(n, m: (input[n, c, m] - mean[c])**2)/(M*N)
    output[n, c, m] = bias[c] + (input[n, c, m] - mean[c])*weight[c]/sqrt(eps + variance[c])

    output[n, c, m] = bias[c] + (input[n, c, m] - running_mean[c])*weight[c]/sqrt(eps + running_var[c])

"""

import torch
import triton
import triton.language as tl

from .. import launching, schedule


@triton.jit
def batch_normalization_training_variance_sum(
    input_ptr,
    running_mean_ptr,
    running_var_ptr,
    mean_sum_ptr,
    variance_sum_ptr,
    new_running_mean_ptr,
    new_running_var_ptr,
    input_stride_n,
    input_stride_c,
    input_stride_m,
    running_mean_stride_c,
    running_var_stride_c,
    mean_sum_stride_c,
    variance_sum_stride_c,
    new_running_mean_stride_c,
    new_running_var_stride_c,
    C,
    M,
    N,
    momentum,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SINGLE: tl.constexpr,
):
    """Compute, in one row kernel:
    mean_sum[c] = sum(n, m: input[n, c, m])
    variance_sum[c] = sum(n, m: (input[n, c, m] - mean_sum[c]/(M*N))**2)
    new_running_mean[c] = (1 - momentum)*running_mean[c] + momentum*mean_sum[c]/(M*N)
    new_running_var[c] = momentum*variance_sum[c]/(M*N - 1) + (1 - momentum)*running_var[c]
    """
    row = tl.cast(tl.program_id(0), INDEX) * ROWS + tl.arange(0, ROWS)[:, None]
    live_row = row < tl.cast(C, INDEX)
    c = row
    if SINGLE:
        column = tl.arange(0, COLUMNS)[None, :]
        live_column = column < tl.cast(N, INDEX) * M
        m = column % M
        column_rest = column // M
        n = column_rest
        mean_sum = tl.zeros([ROWS, COLUMNS], ACC)
        input_value = tl.load(
            input_ptr + n * input_stride_n + c * input_stride_c + m * input_stride_m,
            mask=live_column & live_row,
            other=0,
        ).to(ACC)
        mean_sum += tl.where(live_column, input_value, 0.0)
        mean_sum = tl.sum(mean_sum, 1, keep_dims=True)
        variance_sum = tl.zeros([ROWS, COLUMNS], ACC)
        value = input_value - mean_sum / (tl.cast(M, ACC) * tl.cast(N, ACC))
        variance_sum += tl.where(live_column, value * value, 0.0)
        variance_sum = tl.sum(variance_sum, 1, keep_dims=True)
        running_mean_value = tl.load(running_mean_ptr + c * running_mean_stride_c, mask=live_row, other=0).to(ACC)
        running_var_value = tl.load(running_var_ptr + c * running_var_stride_c, mask=live_row, other=0).to(ACC)
        value_2 = tl.cast(M, ACC) * tl.cast(N, ACC)
        tl.store(variance_sum_ptr + c * variance_sum_stride_c, variance_sum, mask=live_row)
        tl.store(mean_sum_ptr + c * mean_sum_stride_c, mean_sum, mask=live_row)
        tl.store(
            new_running_mean_ptr + c * new_running_mean_stride_c,
            (1.0 - momentum) * running_mean_value + mean_sum * momentum / value_2,
            mask=live_row,
        )
        tl.store(
            new_running_var_ptr + c * new_running_var_stride_c,
            (1.0 - momentum) * running_var_value + momentum * variance_sum / (value_2 - 1.0),
            mask=live_row,
        )
    else:
        mean_sum = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(N, INDEX) * M, COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(N, INDEX) * M
            m = column % M
            column_rest = column // M
            n = column_rest
            input_value = tl.load(
                input_ptr + n * input_stride_n + c * input_stride_c + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            mean_sum += tl.where(live_column, input_value, 0.0)
        mean_sum = tl.sum(mean_sum, 1, keep_dims=True)
        variance_sum = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(N, INDEX) * M, COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(N, INDEX) * M
            m = column % M
            column_rest = column // M
            n = column_rest
            input_value = tl.load(
                input_ptr + n * input_stride_n + c * input_stride_c + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            value = input_value - mean_sum / (tl.cast(M, ACC) * tl.cast(N, ACC))
            variance_sum += tl.where(live_column, value * value, 0.0)
        variance_sum = tl.sum(variance_sum, 1, keep_dims=True)
        running_mean_value = tl.load(running_mean_ptr + c * running_mean_stride_c, mask=live_row, other=0).to(ACC)
        running_var_value = tl.load(running_var_ptr + c * running_var_stride_c, mask=live_row, other=0).to(ACC)
        value_2 = tl.cast(M, ACC) * tl.cast(N, ACC)
        tl.store(variance_sum_ptr + c * variance_sum_stride_c, variance_sum, mask=live_row)
        tl.store(mean_sum_ptr + c * mean_sum_stride_c, mean_sum, mask=live_row)
        tl.store(
            new_running_mean_ptr + c * new_running_mean_stride_c,
            (1.0 - momentum) * running_mean_value + mean_sum * momentum / value_2,
            mask=live_row,
        )
        tl.store(
            new_running_var_ptr + c * new_running_var_stride_c,
            (1.0 - momentum) * running_var_value + momentum * variance_sum / (value_2 - 1.0),
            mask=live_row,
        )


@triton.jit
def batch_normalization_training_output(
    input_ptr,
    weight_ptr,
    bias_ptr,
    mean_sum_ptr,
    variance_sum_ptr,
    output_ptr,
    input_stride_n,
    input_stride_c,
    input_stride_m,
    weight_stride_c,
    bias_stride_c,
    mean_sum_stride_c,
    variance_sum_stride_c,
    output_stride_n,
    output_stride_c,
    output_stride_m,
    C,
    M,
    N,
    eps: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Compute, in one pointwise kernel:
    output[n, c, m] = bias[c] + (input[n, c, m] - mean_sum[c]/(M*N))*weight[c]/sqrt(eps +
        variance_sum[c]/(M*N))
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
    variance_sum_value = tl.load(variance_sum_ptr + c * variance_sum_stride_c, mask=live, other=0).to(ACC)
    input_value = tl.load(
        input_ptr + n * input_stride_n + c * input_stride_c + m * input_stride_m, mask=live, other=0
    ).to(ACC)
    mean_sum_value = tl.load(mean_sum_ptr + c * mean_sum_stride_c, mask=live, other=0).to(ACC)
    if weight_ptr is not None:
        weight_value = tl.load(weight_ptr + c * weight_stride_c, mask=live, other=0).to(ACC)
    else:
        weight_value = 1.0
    if bias_ptr is not None:
        bias_value = tl.load(bias_ptr + c * bias_stride_c, mask=live, other=0).to(ACC)
    else:
        bias_value = 0.0
    value = tl.cast(M, ACC) * tl.cast(N, ACC)
    tl.store(
        output_ptr + n * output_stride_n + c * output_stride_c + m * output_stride_m,
        tl.rsqrt(eps + variance_sum_value / value) * (input_value - mean_sum_value / value) * weight_value + bias_value,
        mask=live,
    )


@triton.jit
def batch_normalization_training_grad_mean_sum_2(
    input_ptr,
    running_mean_ptr,
    running_var_ptr,
    mean_sum_ptr,
    variance_sum_ptr,
    new_running_mean_ptr,
    new_running_var_ptr,
    grad_mean_sum_2_ptr,
    input_stride_n,
    input_stride_c,
    input_stride_m,
    running_mean_stride_c,
    running_var_stride_c,
    mean_sum_stride_c,
    variance_sum_stride_c,
    new_running_mean_stride_c,
    new_running_var_stride_c,
    grad_mean_sum_2_stride_c,
    C,
    M,
    N,
    momentum,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SINGLE: tl.constexpr,
):
    """Compute, in one row kernel:
    mean_sum[c] = sum(n, m: input[n, c, m])
    variance_sum[c] = sum(n, m: (input[n, c, m] - mean_sum[c]/(M*N))**2)
    grad_mean_sum_2[c] = sum(n, m: -2*input[n, c, m] + 2*mean_sum[c]/(M*N))
    new_running_mean[c] = (1 - momentum)*running_mean[c] + momentum*mean_sum[c]/(M*N)
    new_running_var[c] = momentum*variance_sum[c]/(M*N - 1) + (1 - momentum)*running_var[c]
    """
    row = tl.cast(tl.program_id(0), INDEX) * ROWS + tl.arange(0, ROWS)[:, None]
    live_row = row < tl.cast(C, INDEX)
    c = row
    if SINGLE:
        column = tl.arange(0, COLUMNS)[None, :]
        live_column = column < tl.cast(N, INDEX) * M
        m = column % M
        column_rest = column // M
        n = column_rest
        mean_sum = tl.zeros([ROWS, COLUMNS], ACC)
        input_value = tl.load(
            input_ptr + n * input_stride_n + c * input_stride_c + m * input_stride_m,
            mask=live_column & live_row,
            other=0,
        ).to(ACC)
        mean_sum += tl.where(live_column, input_value, 0.0)
        mean_sum = tl.sum(mean_sum, 1, keep_dims=True)
        variance_sum = tl.zeros([ROWS, COLUMNS], ACC)
        grad_mean_sum_2 = tl.zeros([ROWS, COLUMNS], ACC)
        value_2 = tl.cast(M, ACC) * tl.cast(N, ACC)
        value = input_value - mean_sum / value_2
        variance_sum += tl.where(live_column, value * value, 0.0)
        grad_mean_sum_2 += tl.where(live_column, 2.0 * mean_sum / value_2 - 2.0 * input_value, 0.0)
        variance_sum = tl.sum(variance_sum, 1, keep_dims=True)
        grad_mean_sum_2 = tl.sum(grad_mean_sum_2, 1, keep_dims=True)
        running_mean_value = tl.load(running_mean_ptr + c * running_mean_stride_c, mask=live_row, other=0).to(ACC)
        running_var_value = tl.load(running_var_ptr + c * running_var_stride_c, mask=live_row, other=0).to(ACC)
        value_2 = tl.cast(M, ACC) * tl.cast(N, ACC)
        tl.store(grad_mean_sum_2_ptr + c * grad_mean_sum_2_stride_c, grad_mean_sum_2, mask=live_row)
        tl.store(variance_sum_ptr + c * variance_sum_stride_c, variance_sum, mask=live_row)
        tl.store(mean_sum_ptr + c * mean_sum_stride_c, mean_sum, mask=live_row)
        tl.store(
            new_running_mean_ptr + c * new_running_mean_stride_c,
            (1.0 - momentum) * running_mean_value + mean_sum * momentum / value_2,
            mask=live_row,
        )
        tl.store(
            new_running_var_ptr + c * new_running_var_stride_c,
            (1.0 - momentum) * running_var_value + momentum * variance_sum / (value_2 - 1.0),
            mask=live_row,
        )
    else:
        mean_sum = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(N, INDEX) * M, COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(N, INDEX) * M
            m = column % M
            column_rest = column // M
            n = column_rest
            input_value = tl.load(
                input_ptr + n * input_stride_n + c * input_stride_c + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            mean_sum += tl.where(live_column, input_value, 0.0)
        mean_sum = tl.sum(mean_sum, 1, keep_dims=True)
        variance_sum = tl.zeros([ROWS, COLUMNS], ACC)
        grad_mean_sum_2 = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(N, INDEX) * M, COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(N, INDEX) * M
            m = column % M
            column_rest = column // M
            n = column_rest
            input_value = tl.load(
                input_ptr + n * input_stride_n + c * input_stride_c + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            value_2 = tl.cast(M, ACC) * tl.cast(N, ACC)
            value = input_value - mean_sum / value_2
            variance_sum += tl.where(live_column, value * value, 0.0)
            grad_mean_sum_2 += tl.where(live_column, 2.0 * mean_sum / value_2 - 2.0 * input_value, 0.0)
        variance_sum = tl.sum(variance_sum, 1, keep_dims=True)
        grad_mean_sum_2 = tl.sum(grad_mean_sum_2, 1, keep_dims=True)
        running_mean_value = tl.load(running_mean_ptr + c * running_mean_stride_c, mask=live_row, other=0).to(ACC)
        running_var_value = tl.load(running_var_ptr + c * running_var_stride_c, mask=live_row, other=0).to(ACC)
        value_2 = tl.cast(M, ACC) * tl.cast(N, ACC)
        tl.store(grad_mean_sum_2_ptr + c * grad_mean_sum_2_stride_c, grad_mean_sum_2, mask=live_row)
        tl.store(variance_sum_ptr + c * variance_sum_stride_c, variance_sum, mask=live_row)
        tl.store(mean_sum_ptr + c * mean_sum_stride_c, mean_sum, mask=live_row)
        tl.store(
            new_running_mean_ptr + c * new_running_mean_stride_c,
            (1.0 - momentum) * running_mean_value + mean_sum * momentum / value_2,
            mask=live_row,
        )
        tl.store(
            new_running_var_ptr + c * new_running_var_stride_c,
            (1.0 - momentum) * running_var_value + momentum * variance_sum / (value_2 - 1.0),
            mask=live_row,
        )


@triton.jit
def batch_normalization_training_grad_bias(
    input_ptr,
    grad_output_ptr,
    mean_sum_ptr,
    variance_sum_ptr,
    grad_variance_sum_2_ptr,
    grad_mean_sum_3_ptr,
    grad_weight_ptr,
    grad_bias_ptr,
    input_stride_n,
    input_stride_c,
    input_stride_m,
    grad_output_stride_n,
    grad_output_stride_c,
    grad_output_stride_m,
    mean_sum_stride_c,
    variance_sum_stride_c,
    grad_variance_sum_2_stride_c,
    grad_mean_sum_3_stride_c,
    grad_weight_stride_c,
    grad_bias_stride_c,
    C,
    M,
    N,
    eps: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SINGLE: tl.constexpr,
):
    """Compute, in one row kernel:
    grad_variance_sum_2[c] = sum(n, m: (input[n, c, m] - mean_sum[c]/(M*N))*grad_output[n, c, m])
    grad_mean_sum_3[c] = sum(n, m: grad_output[n, c, m])
    grad_weight_sum[c] = sum(n, m: (input[n, c, m] - mean_sum[c]/(M*N))*grad_output[n, c, m])
    grad_bias[c] = sum(n, m: grad_output[n, c, m])
    grad_weight[c] = grad_weight_sum[c]/sqrt(eps + variance_sum[c]/(M*N))
    """
    row = tl.cast(tl.program_id(0), INDEX) * ROWS + tl.arange(0, ROWS)[:, None]
    live_row = row < tl.cast(C, INDEX)
    c = row
    if SINGLE:
        column = tl.arange(0, COLUMNS)[None, :]
        live_column = column < tl.cast(N, INDEX) * M
        m = column % M
        column_rest = column // M
        n = column_rest
        mean_sum_value = tl.load(mean_sum_ptr + c * mean_sum_stride_c, mask=live_row, other=0).to(ACC)
        grad_variance_sum_2 = tl.zeros([ROWS, COLUMNS], ACC)
        grad_mean_sum_3 = tl.zeros([ROWS, COLUMNS], ACC)
        grad_weight_sum = tl.zeros([ROWS, COLUMNS], ACC)
        grad_bias = tl.zeros([ROWS, COLUMNS], ACC)
        grad_output_value = tl.load(
            grad_output_ptr + n * grad_output_stride_n + c * grad_output_stride_c + m * grad_output_stride_m,
            mask=live_column & live_row,
            other=0,
        ).to(ACC)
        input_value = tl.load(
            input_ptr + n * input_stride_n + c * input_stride_c + m * input_stride_m,
            mask=live_column & live_row,
            other=0,
        ).to(ACC)
        value = grad_output_value * (input_value - mean_sum_value / (tl.cast(M, ACC) * tl.cast(N, ACC)))
        grad_variance_sum_2 += tl.where(live_column, value, 0.0)
        grad_mean_sum_3 += tl.where(live_column, grad_output_value, 0.0)
        grad_weight_sum += tl.where(live_column, value, 0.0)
        grad_bias += tl.where(live_column, grad_output_value, 0.0)
        grad_variance_sum_2 = tl.sum(grad_variance_sum_2, 1, keep_dims=True)
        grad_mean_sum_3 = tl.sum(grad_mean_sum_3, 1, keep_dims=True)
        grad_weight_sum = tl.sum(grad_weight_sum, 1, keep_dims=True)
        grad_bias = tl.sum(grad_bias, 1, keep_dims=True)
        variance_sum_value = tl.load(variance_sum_ptr + c * variance_sum_stride_c, mask=live_row, other=0).to(ACC)
        if grad_bias_ptr is not None:
            tl.store(grad_bias_ptr + c * grad_bias_stride_c, grad_bias, mask=live_row)
        tl.store(grad_mean_sum_3_ptr + c * grad_mean_sum_3_stride_c, grad_mean_sum_3, mask=live_row)
        tl.store(grad_variance_sum_2_ptr + c * grad_variance_sum_2_stride_c, grad_variance_sum_2, mask=live_row)
        if grad_weight_ptr is not None:
            tl.store(
                grad_weight_ptr + c * grad_weight_stride_c,
                tl.rsqrt(eps + variance_sum_value / (tl.cast(M, ACC) * tl.cast(N, ACC))) * grad_weight_sum,
                mask=live_row,
            )
    else:
        mean_sum_value = tl.load(mean_sum_ptr + c * mean_sum_stride_c, mask=live_row, other=0).to(ACC)
        grad_variance_sum_2 = tl.zeros([ROWS, COLUMNS], ACC)
        grad_mean_sum_3 = tl.zeros([ROWS, COLUMNS], ACC)
        grad_weight_sum = tl.zeros([ROWS, COLUMNS], ACC)
        grad_bias = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(N, INDEX) * M, COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(N, INDEX) * M
            m = column % M
            column_rest = column // M
            n = column_rest
            grad_output_value = tl.load(
                grad_output_ptr + n * grad_output_stride_n + c * grad_output_stride_c + m * grad_output_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            input_value = tl.load(
                input_ptr + n * input_stride_n + c * input_stride_c + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            value = grad_output_value * (input_value - mean_sum_value / (tl.cast(M, ACC) * tl.cast(N, ACC)))
            grad_variance_sum_2 += tl.where(live_column, value, 0.0)
            grad_mean_sum_3 += tl.where(live_column, grad_output_value, 0.0)
            grad_weight_sum += tl.where(live_column, value, 0.0)
            grad_bias += tl.where(live_column, grad_output_value, 0.0)
        grad_variance_sum_2 = tl.sum(grad_variance_sum_2, 1, keep_dims=True)
        grad_mean_sum_3 = tl.sum(grad_mean_sum_3, 1, keep_dims=True)
        grad_weight_sum = tl.sum(grad_weight_sum, 1, keep_dims=True)
        grad_bias = tl.sum(grad_bias, 1, keep_dims=True)
        variance_sum_value = tl.load(variance_sum_ptr + c * variance_sum_stride_c, mask=live_row, other=0).to(ACC)
        if grad_bias_ptr is not None:
            tl.store(grad_bias_ptr + c * grad_bias_stride_c, grad_bias, mask=live_row)
        tl.store(grad_mean_sum_3_ptr + c * grad_mean_sum_3_stride_c, grad_mean_sum_3, mask=live_row)
        tl.store(grad_variance_sum_2_ptr + c * grad_variance_sum_2_stride_c, grad_variance_sum_2, mask=live_row)
        if grad_weight_ptr is not None:
            tl.store(
                grad_weight_ptr + c * grad_weight_stride_c,
                tl.rsqrt(eps + variance_sum_value / (tl.cast(M, ACC) * tl.cast(N, ACC))) * grad_weight_sum,
                mask=live_row,
            )


@triton.jit
def batch_normalization_training_grad_input(
    input_ptr,
    weight_ptr,
    grad_output_ptr,
    mean_sum_ptr,
    variance_sum_ptr,
    grad_mean_sum_2_ptr,
    grad_variance_sum_2_ptr,
    grad_mean_sum_3_ptr,
    grad_input_ptr,
    input_stride_n,
    input_stride_c,
    input_stride_m,
    weight_stride_c,
    grad_output_stride_n,
    grad_output_stride_c,
    grad_output_stride_m,
    mean_sum_stride_c,
    variance_sum_stride_c,
    grad_mean_sum_2_stride_c,
    grad_variance_sum_2_stride_c,
    grad_mean_sum_3_stride_c,
    grad_input_stride_n,
    grad_input_stride_c,
    grad_input_stride_m,
    C,
    M,
    N,
    eps: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Compute, in one pointwise kernel:
    grad_input[n, c, m] = grad_output[n, c, m]*weight[c]/sqrt(eps + variance_sum[c]/(M*N)) +
        (-grad_mean_sum_3[c]*weight[c]/sqrt(eps + variance_sum[c]/(M*N)) -
        grad_mean_sum_2[c]*grad_variance_sum_2[c]*weight[c]/(2*M*N*(eps +
        variance_sum[c]/(M*N))**(3/2)))/(M*N) - (2*input[n, c, m] -
        2*mean_sum[c]/(M*N))*grad_variance_sum_2[c]*weight[c]/(2*M*N*(eps + variance_sum[c]/(M*N))**(3/2))
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
    variance_sum_value = tl.load(variance_sum_ptr + c * variance_sum_stride_c, mask=live, other=0).to(ACC)
    grad_mean_sum_2_value = tl.load(grad_mean_sum_2_ptr + c * grad_mean_sum_2_stride_c, mask=live, other=0).to(ACC)
    grad_variance_sum_2_value = tl.load(
        grad_variance_sum_2_ptr + c * grad_variance_sum_2_stride_c, mask=live, other=0
    ).to(ACC)
    if weight_ptr is not None:
        weight_value = tl.load(weight_ptr + c * weight_stride_c, mask=live, other=0).to(ACC)
    else:
        weight_value = 1.0
    grad_mean_sum_3_value = tl.load(grad_mean_sum_3_ptr + c * grad_mean_sum_3_stride_c, mask=live, other=0).to(ACC)
    grad_output_value = tl.load(
        grad_output_ptr + n * grad_output_stride_n + c * grad_output_stride_c + m * grad_output_stride_m,
        mask=live,
        other=0,
    ).to(ACC)
    input_value = tl.load(
        input_ptr + n * input_stride_n + c * input_stride_c + m * input_stride_m, mask=live, other=0
    ).to(ACC)
    mean_sum_value = tl.load(mean_sum_ptr + c * mean_sum_stride_c, mask=live, other=0).to(ACC)
    value_3 = tl.cast(M, ACC) * tl.cast(N, ACC)
    value_2 = tl.rsqrt(eps + variance_sum_value / value_3)
    value = 0.5 * (value_2 * value_2 * value_2)
    tl.store(
        grad_input_ptr + n * grad_input_stride_n + c * grad_input_stride_c + m * grad_input_stride_m,
        (
            -(value * grad_mean_sum_2_value * grad_variance_sum_2_value * weight_value / value_3)
            - value_2 * grad_mean_sum_3_value * weight_value
        )
        / value_3
        + value_2 * grad_output_value * weight_value
        - value
        * (2.0 * input_value - 2.0 * mean_sum_value / value_3)
        * grad_variance_sum_2_value
        * weight_value
        / value_3,
        mask=live,
    )


@triton.jit
def batch_normalization_without_estimates_variance_sum(
    input_ptr,
    mean_sum_ptr,
    variance_sum_ptr,
    input_stride_n,
    input_stride_c,
    input_stride_m,
    mean_sum_stride_c,
    variance_sum_stride_c,
    C,
    M,
    N,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SINGLE: tl.constexpr,
):
    """Compute, in one row kernel:
    mean_sum[c] = sum(n, m: input[n, c, m])
    variance_sum[c] = sum(n, m: (input[n, c, m] - mean_sum[c]/(M*N))**2)
    """
    row = tl.cast(tl.program_id(0), INDEX) * ROWS + tl.arange(0, ROWS)[:, None]
    live_row = row < tl.cast(C, INDEX)
    c = row
    if SINGLE:
        column = tl.arange(0, COLUMNS)[None, :]
        live_column = column < tl.cast(N, INDEX) * M
        m = column % M
        column_rest = column // M
        n = column_rest
        mean_sum = tl.zeros([ROWS, COLUMNS], ACC)
        input_value = tl.load(
            input_ptr + n * input_stride_n + c * input_stride_c + m * input_stride_m,
            mask=live_column & live_row,
            other=0,
        ).to(ACC)
        mean_sum += tl.where(live_column, input_value, 0.0)
        mean_sum = tl.sum(mean_sum, 1, keep_dims=True)
        variance_sum = tl.zeros([ROWS, COLUMNS], ACC)
        value = input_value - mean_sum / (tl.cast(M, ACC) * tl.cast(N, ACC))
        variance_sum += tl.where(live_column, value * value, 0.0)
        variance_sum = tl.sum(variance_sum, 1, keep_dims=True)
        tl.store(variance_sum_ptr + c * variance_sum_stride_c, variance_sum, mask=live_row)
        tl.store(mean_sum_ptr + c * mean_sum_stride_c, mean_sum, mask=live_row)
    else:
        mean_sum = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(N, INDEX) * M, COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(N, INDEX) * M
            m = column % M
            column_rest = column // M
            n = column_rest
            input_value = tl.load(
                input_ptr + n * input_stride_n + c * input_stride_c + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            mean_sum += tl.where(live_column, input_value, 0.0)
        mean_sum = tl.sum(mean_sum, 1, keep_dims=True)
        variance_sum = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(N, INDEX) * M, COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(N, INDEX) * M
            m = column % M
            column_rest = column // M
            n = column_rest
            input_value = tl.load(
                input_ptr + n * input_stride_n + c * input_stride_c + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            value = input_value - mean_sum / (tl.cast(M, ACC) * tl.cast(N, ACC))
            variance_sum += tl.where(live_column, value * value, 0.0)
        variance_sum = tl.sum(variance_sum, 1, keep_dims=True)
        tl.store(variance_sum_ptr + c * variance_sum_stride_c, variance_sum, mask=live_row)
        tl.store(mean_sum_ptr + c * mean_sum_stride_c, mean_sum, mask=live_row)


@triton.jit
def batch_normalization_without_estimates_grad_mean_sum_2(
    input_ptr,
    mean_sum_ptr,
    variance_sum_ptr,
    grad_mean_sum_2_ptr,
    input_stride_n,
    input_stride_c,
    input_stride_m,
    mean_sum_stride_c,
    variance_sum_stride_c,
    grad_mean_sum_2_stride_c,
    C,
    M,
    N,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SINGLE: tl.constexpr,
):
    """Compute, in one row kernel:
    mean_sum[c] = sum(n, m: input[n, c, m])
    variance_sum[c] = sum(n, m: (input[n, c, m] - mean_sum[c]/(M*N))**2)
    grad_mean_sum_2[c] = sum(n, m: -2*input[n, c, m] + 2*mean_sum[c]/(M*N))
    """
    row = tl.cast(tl.program_id(0), INDEX) * ROWS + tl.arange(0, ROWS)[:, None]
    live_row = row < tl.cast(C, INDEX)
    c = row
    if SINGLE:
        column = tl.arange(0, COLUMNS)[None, :]
        live_column = column < tl.cast(N, INDEX) * M
        m = column % M
        column_rest = column // M
        n = column_rest
        mean_sum = tl.zeros([ROWS, COLUMNS], ACC)
        input_value = tl.load(
            input_ptr + n * input_stride_n + c * input_stride_c + m * input_stride_m,
            mask=live_column & live_row,
            other=0,
        ).to(ACC)
        mean_sum += tl.where(live_column, input_value, 0.0)
        mean_sum = tl.sum(mean_sum, 1, keep_dims=True)
        variance_sum = tl.zeros([ROWS, COLUMNS], ACC)
        grad_mean_sum_2 = tl.zeros([ROWS, COLUMNS], ACC)
        value_2 = tl.cast(M, ACC) * tl.cast(N, ACC)
        value = input_value - mean_sum / value_2
        variance_sum += tl.where(live_column, value * value, 0.0)
        grad_mean_sum_2 += tl.where(live_column, 2.0 * mean_sum / value_2 - 2.0 * input_value, 0.0)
        variance_sum = tl.sum(variance_sum, 1, keep_dims=True)
        grad_mean_sum_2 = tl.sum(grad_mean_sum_2, 1, keep_dims=True)
        tl.store(grad_mean_sum_2_ptr + c * grad_mean_sum_2_stride_c, grad_mean_sum_2, mask=live_row)
        tl.store(variance_sum_ptr + c * variance_sum_stride_c, variance_sum, mask=live_row)
        tl.store(mean_sum_ptr + c * mean_sum_stride_c, mean_sum, mask=live_row)
    else:
        mean_sum = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(N, INDEX) * M, COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(N, INDEX) * M
            m = column % M
            column_rest = column // M
            n = column_rest
            input_value = tl.load(
                input_ptr + n * input_stride_n + c * input_stride_c + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            mean_sum += tl.where(live_column, input_value, 0.0)
        mean_sum = tl.sum(mean_sum, 1, keep_dims=True)
        variance_sum = tl.zeros([ROWS, COLUMNS], ACC)
        grad_mean_sum_2 = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(N, INDEX) * M, COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(N, INDEX) * M
            m = column % M
            column_rest = column // M
            n = column_rest
            input_value = tl.load(
                input_ptr + n * input_stride_n + c * input_stride_c + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            value_2 = tl.cast(M, ACC) * tl.cast(N, ACC)
            value = input_value - mean_sum / value_2
            variance_sum += tl.where(live_column, value * value, 0.0)
            grad_mean_sum_2 += tl.where(live_column, 2.0 * mean_sum / value_2 - 2.0 * input_value, 0.0)
        variance_sum = tl.sum(variance_sum, 1, keep_dims=True)
        grad_mean_sum_2 = tl.sum(grad_mean_sum_2, 1, keep_dims=True)
        tl.store(grad_mean_sum_2_ptr + c * grad_mean_sum_2_stride_c, grad_mean_sum_2, mask=live_row)
        tl.store(variance_sum_ptr + c * variance_sum_stride_c, variance_sum, mask=live_row)
        tl.store(mean_sum_ptr + c * mean_sum_stride_c, mean_sum, mask=live_row)


@triton.jit
def batch_normalization_inference_output(
    input_ptr,
    running_mean_ptr,
    running_var_ptr,
    weight_ptr,
    bias_ptr,
    output_ptr,
    input_stride_n,
    input_stride_c,
    input_stride_m,
    running_mean_stride_c,
    running_var_stride_c,
    weight_stride_c,
    bias_stride_c,
    output_stride_n,
    output_stride_c,
    output_stride_m,
    C,
    M,
    N,
    eps: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Compute, in one pointwise kernel:
    output[n, c, m] = bias[c] + (input[n, c, m] - running_mean[c])*weight[c]/sqrt(eps + running_var[c])
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
    running_var_value = tl.load(running_var_ptr + c * running_var_stride_c, mask=live, other=0).to(ACC)
    input_value = tl.load(
        input_ptr + n * input_stride_n + c * input_stride_c + m * input_stride_m, mask=live, other=0
    ).to(ACC)
    running_mean_value = tl.load(running_mean_ptr + c * running_mean_stride_c, mask=live, other=0).to(ACC)
    if weight_ptr is not None:
        weight_value = tl.load(weight_ptr + c * weight_stride_c, mask=live, other=0).to(ACC)
    else:
        weight_value = 1.0
    if bias_ptr is not None:
        bias_value = tl.load(bias_ptr + c * bias_stride_c, mask=live, other=0).to(ACC)
    else:
        bias_value = 0.0
    tl.store(
        output_ptr + n * output_stride_n + c * output_stride_c + m * output_stride_m,
        tl.rsqrt(eps + running_var_value) * (input_value - running_mean_value) * weight_value + bias_value,
        mask=live,
    )


@triton.jit
def batch_normalization_inference_grad_input(
    running_var_ptr,
    weight_ptr,
    grad_output_ptr,
    grad_input_ptr,
    running_var_stride_c,
    weight_stride_c,
    grad_output_stride_n,
    grad_output_stride_c,
    grad_output_stride_m,
    grad_input_stride_n,
    grad_input_stride_c,
    grad_input_stride_m,
    C,
    M,
    N,
    eps: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Compute, in one pointwise kernel:
    grad_input[n, c, m] = grad_output[n, c, m]*weight[c]/sqrt(eps + running_var[c])
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
    running_var_value = tl.load(running_var_ptr + c * running_var_stride_c, mask=live, other=0).to(ACC)
    grad_output_value = tl.load(
        grad_output_ptr + n * grad_output_stride_n + c * grad_output_stride_c + m * grad_output_stride_m,
        mask=live,
        other=0,
    ).to(ACC)
    if weight_ptr is not None:
        weight_value = tl.load(weight_ptr + c * weight_stride_c, mask=live, other=0).to(ACC)
    else:
        weight_value = 1.0
    tl.store(
        grad_input_ptr + n * grad_input_stride_n + c * grad_input_stride_c + m * grad_input_stride_m,
        tl.rsqrt(eps + running_var_value) * grad_output_value * weight_value,
        mask=live,
    )


@triton.jit
def batch_normalization_inference_grad_bias(
    input_ptr,
    running_mean_ptr,
    running_var_ptr,
    grad_output_ptr,
    grad_weight_ptr,
    grad_bias_ptr,
    input_stride_n,
    input_stride_c,
    input_stride_m,
    running_mean_stride_c,
    running_var_stride_c,
    grad_output_stride_n,
    grad_output_stride_c,
    grad_output_stride_m,
    grad_weight_stride_c,
    grad_bias_stride_c,
    C,
    M,
    N,
    eps: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SINGLE: tl.constexpr,
):
    """Compute, in one row kernel:
    grad_weight_sum[c] = sum(n, m: (input[n, c, m] - running_mean[c])*grad_output[n, c, m])
    grad_bias[c] = sum(n, m: grad_output[n, c, m])
    grad_weight[c] = grad_weight_sum[c]/sqrt(eps + running_var[c])
    """
    row = tl.cast(tl.program_id(0), INDEX) * ROWS + tl.arange(0, ROWS)[:, None]
    live_row = row < tl.cast(C, INDEX)
    c = row
    if SINGLE:
        column = tl.arange(0, COLUMNS)[None, :]
        live_column = column < tl.cast(N, INDEX) * M
        m = column % M
        column_rest = column // M
        n = column_rest
        running_mean_value = tl.load(running_mean_ptr + c * running_mean_stride_c, mask=live_row, other=0).to(ACC)
        grad_weight_sum = tl.zeros([ROWS, COLUMNS], ACC)
        grad_bias = tl.zeros([ROWS, COLUMNS], ACC)
        grad_output_value = tl.load(
            grad_output_ptr + n * grad_output_stride_n + c * grad_output_stride_c + m * grad_output_stride_m,
            mask=live_column & live_row,
            other=0,
        ).to(ACC)
        input_value = tl.load(
            input_ptr + n * input_stride_n + c * input_stride_c + m * input_stride_m,
            mask=live_column & live_row,
            other=0,
        ).to(ACC)
        grad_weight_sum += tl.where(live_column, grad_output_value * (input_value - running_mean_value), 0.0)
        grad_bias += tl.where(live_column, grad_output_value, 0.0)
        grad_weight_sum = tl.sum(grad_weight_sum, 1, keep_dims=True)
        grad_bias = tl.sum(grad_bias, 1, keep_dims=True)
        running_var_value = tl.load(running_var_ptr + c * running_var_stride_c, mask=live_row, other=0).to(ACC)
        if grad_bias_ptr is not None:
            tl.store(grad_bias_ptr + c * grad_bias_stride_c, grad_bias, mask=live_row)
        if grad_weight_ptr is not None:
            tl.store(
                grad_weight_ptr + c * grad_weight_stride_c,
                tl.rsqrt(eps + running_var_value) * grad_weight_sum,
                mask=live_row,
            )
    else:
        running_mean_value = tl.load(running_mean_ptr + c * running_mean_stride_c, mask=live_row, other=0).to(ACC)
        grad_weight_sum = tl.zeros([ROWS, COLUMNS], ACC)
        grad_bias = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(N, INDEX) * M, COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(N, INDEX) * M
            m = column % M
            column_rest = column // M
            n = column_rest
            grad_output_value = tl.load(
                grad_output_ptr + n * grad_output_stride_n + c * grad_output_stride_c + m * grad_output_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            input_value = tl.load(
                input_ptr + n * input_stride_n + c * input_stride_c + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            grad_weight_sum += tl.where(live_column, grad_output_value * (input_value - running_mean_value), 0.0)
            grad_bias += tl.where(live_column, grad_output_value, 0.0)
        grad_weight_sum = tl.sum(grad_weight_sum, 1, keep_dims=True)
        grad_bias = tl.sum(grad_bias, 1, keep_dims=True)
        running_var_value = tl.load(running_var_ptr + c * running_var_stride_c, mask=live_row, other=0).to(ACC)
        if grad_bias_ptr is not None:
            tl.store(grad_bias_ptr + c * grad_bias_stride_c, grad_bias, mask=live_row)
        if grad_weight_ptr is not None:
            tl.store(
                grad_weight_ptr + c * grad_weight_stride_c,
                tl.rsqrt(eps + running_var_value) * grad_weight_sum,
                mask=live_row,
            )


batch_normalization_training_RESIDUALS = 3


def batch_normalization_training_forward(
    input: torch.Tensor,
    running_mean: torch.Tensor,
    running_var: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    *,
    eps: float,
    momentum: float,
    save: bool = False,
    skipped: tuple[str, ...] = (),
) -> tuple[torch.Tensor | None, ...]:
    """Run the forward kernels.

    Args:
        save: return what the backward needs too.
        skipped: names of optional results that nobody wants; they are None.

    Returns:
        output, new_running_mean, new_running_var; with ``save`` also mean_sum, variance_sum, grad_mean_sum_2.
    """
    if save:
        return _batch_normalization_training_saving(
            input, running_mean, running_var, weight, bias, eps=eps, momentum=momentum, skipped=skipped
        )
    N = input.shape[0]
    C = input.shape[1]
    M = input.shape[2]
    how = launching.prepare(input)
    variance_sum = launching.empty((C,), how.accumulator, how)
    mean_sum = launching.empty((C,), how.accumulator, how)
    new_running_mean = launching.empty((C,), running_mean.dtype, how)
    new_running_var = launching.empty((C,), running_var.dtype, how)
    launching.run(
        batch_normalization_training_variance_sum,
        how,
        schedule.rows(C, N * M, input.stride(1) == 1, how.accumulator),
        (
            input,
            running_mean,
            running_var,
            mean_sum,
            variance_sum,
            new_running_mean,
            new_running_var,
            *input.stride(),
            *running_mean.stride(),
            *running_var.stride(),
            *mean_sum.stride(),
            *variance_sum.stride(),
            *new_running_mean.stride(),
            *new_running_var.stride(),
            C,
            M,
            N,
            momentum,
        ),
        {},
    )
    output = launching.empty((N, C, M), input.dtype, how)
    launching.run(
        batch_normalization_training_output,
        how,
        schedule.lanes(N * C * M, 1),
        (
            input,
            weight,
            bias,
            mean_sum,
            variance_sum,
            output,
            *input.stride(),
            0 if weight is None else weight.stride(0),
            0 if bias is None else bias.stride(0),
            *mean_sum.stride(),
            *variance_sum.stride(),
            *output.stride(),
            C,
            M,
            N,
        ),
        {"eps": eps},
    )
    return (output, new_running_mean, new_running_var)


def _batch_normalization_training_saving(
    input: torch.Tensor,
    running_mean: torch.Tensor,
    running_var: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    *,
    eps: float,
    momentum: float,
    skipped: tuple[str, ...],
) -> tuple[torch.Tensor | None, ...]:
    N = input.shape[0]
    C = input.shape[1]
    M = input.shape[2]
    how = launching.prepare(input)
    grad_mean_sum_2 = launching.empty((C,), how.accumulator, how)
    variance_sum = launching.empty((C,), how.accumulator, how)
    mean_sum = launching.empty((C,), how.accumulator, how)
    new_running_mean = launching.empty((C,), running_mean.dtype, how)
    new_running_var = launching.empty((C,), running_var.dtype, how)
    launching.run(
        batch_normalization_training_grad_mean_sum_2,
        how,
        schedule.rows(C, N * M, input.stride(1) == 1, how.accumulator),
        (
            input,
            running_mean,
            running_var,
            mean_sum,
            variance_sum,
            new_running_mean,
            new_running_var,
            grad_mean_sum_2,
            *input.stride(),
            *running_mean.stride(),
            *running_var.stride(),
            *mean_sum.stride(),
            *variance_sum.stride(),
            *new_running_mean.stride(),
            *new_running_var.stride(),
            *grad_mean_sum_2.stride(),
            C,
            M,
            N,
            momentum,
        ),
        {},
    )
    output = launching.empty((N, C, M), input.dtype, how)
    launching.run(
        batch_normalization_training_output,
        how,
        schedule.lanes(N * C * M, 1),
        (
            input,
            weight,
            bias,
            mean_sum,
            variance_sum,
            output,
            *input.stride(),
            0 if weight is None else weight.stride(0),
            0 if bias is None else bias.stride(0),
            *mean_sum.stride(),
            *variance_sum.stride(),
            *output.stride(),
            C,
            M,
            N,
        ),
        {"eps": eps},
    )
    return (output, new_running_mean, new_running_var, mean_sum, variance_sum, grad_mean_sum_2)


def batch_normalization_training_backward(
    grad_output: torch.Tensor,
    input: torch.Tensor,
    running_mean: torch.Tensor,
    running_var: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    mean_sum: torch.Tensor,
    variance_sum: torch.Tensor,
    grad_mean_sum_2: torch.Tensor,
    *,
    eps: float,
    momentum: float,
    wanted: tuple[bool, ...],
) -> tuple[torch.Tensor | None, ...]:
    """Run the backward kernels that the wanted gradients need.

    Returns:
        grad_input, grad_weight, grad_bias; None where not wanted.
    """
    N = input.shape[0]
    C = input.shape[1]
    M = input.shape[2]
    how = launching.prepare(input)
    grad_input = None
    grad_bias = launching.gradient_like(bias) if wanted[2] else None
    grad_mean_sum_3 = launching.empty((C,), how.accumulator, how)
    grad_variance_sum_2 = launching.empty((C,), how.accumulator, how)
    grad_weight = launching.gradient_like(weight) if wanted[1] else None
    launching.run(
        batch_normalization_training_grad_bias,
        how,
        schedule.rows(C, N * M, input.stride(1) == 1, how.accumulator),
        (
            input,
            grad_output,
            mean_sum,
            variance_sum,
            grad_variance_sum_2,
            grad_mean_sum_3,
            grad_weight,
            grad_bias,
            *input.stride(),
            *grad_output.stride(),
            *mean_sum.stride(),
            *variance_sum.stride(),
            *grad_variance_sum_2.stride(),
            *grad_mean_sum_3.stride(),
            0 if grad_weight is None else grad_weight.stride(0),
            0 if grad_bias is None else grad_bias.stride(0),
            C,
            M,
            N,
        ),
        {"eps": eps},
    )
    if wanted[0]:
        grad_input = launching.gradient_like(input)
        launching.run(
            batch_normalization_training_grad_input,
            how,
            schedule.lanes(N * C * M, 1),
            (
                input,
                weight,
                grad_output,
                mean_sum,
                variance_sum,
                grad_mean_sum_2,
                grad_variance_sum_2,
                grad_mean_sum_3,
                grad_input,
                *input.stride(),
                0 if weight is None else weight.stride(0),
                *grad_output.stride(),
                *mean_sum.stride(),
                *variance_sum.stride(),
                *grad_mean_sum_2.stride(),
                *grad_variance_sum_2.stride(),
                *grad_mean_sum_3.stride(),
                *grad_input.stride(),
                C,
                M,
                N,
            ),
            {"eps": eps},
        )
    return (grad_input, grad_weight, grad_bias)


batch_normalization_without_estimates_RESIDUALS = 3


def batch_normalization_without_estimates_forward(
    input: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    *,
    eps: float,
    save: bool = False,
    skipped: tuple[str, ...] = (),
) -> tuple[torch.Tensor | None, ...]:
    """Run the forward kernels.

    Args:
        save: return what the backward needs too.
        skipped: names of optional results that nobody wants; they are None.

    Returns:
        output; with ``save`` also mean_sum, variance_sum, grad_mean_sum_2.
    """
    if save:
        return _batch_normalization_without_estimates_saving(input, weight, bias, eps=eps, skipped=skipped)
    N = input.shape[0]
    C = input.shape[1]
    M = input.shape[2]
    how = launching.prepare(input)
    variance_sum = launching.empty((C,), how.accumulator, how)
    mean_sum = launching.empty((C,), how.accumulator, how)
    launching.run(
        batch_normalization_without_estimates_variance_sum,
        how,
        schedule.rows(C, N * M, input.stride(1) == 1, how.accumulator),
        (input, mean_sum, variance_sum, *input.stride(), *mean_sum.stride(), *variance_sum.stride(), C, M, N),
        {},
    )
    output = launching.empty((N, C, M), input.dtype, how)
    launching.run(
        batch_normalization_training_output,
        how,
        schedule.lanes(N * C * M, 1),
        (
            input,
            weight,
            bias,
            mean_sum,
            variance_sum,
            output,
            *input.stride(),
            0 if weight is None else weight.stride(0),
            0 if bias is None else bias.stride(0),
            *mean_sum.stride(),
            *variance_sum.stride(),
            *output.stride(),
            C,
            M,
            N,
        ),
        {"eps": eps},
    )
    return (output,)


def _batch_normalization_without_estimates_saving(
    input: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, *, eps: float, skipped: tuple[str, ...]
) -> tuple[torch.Tensor | None, ...]:
    N = input.shape[0]
    C = input.shape[1]
    M = input.shape[2]
    how = launching.prepare(input)
    grad_mean_sum_2 = launching.empty((C,), how.accumulator, how)
    variance_sum = launching.empty((C,), how.accumulator, how)
    mean_sum = launching.empty((C,), how.accumulator, how)
    launching.run(
        batch_normalization_without_estimates_grad_mean_sum_2,
        how,
        schedule.rows(C, N * M, input.stride(1) == 1, how.accumulator),
        (
            input,
            mean_sum,
            variance_sum,
            grad_mean_sum_2,
            *input.stride(),
            *mean_sum.stride(),
            *variance_sum.stride(),
            *grad_mean_sum_2.stride(),
            C,
            M,
            N,
        ),
        {},
    )
    output = launching.empty((N, C, M), input.dtype, how)
    launching.run(
        batch_normalization_training_output,
        how,
        schedule.lanes(N * C * M, 1),
        (
            input,
            weight,
            bias,
            mean_sum,
            variance_sum,
            output,
            *input.stride(),
            0 if weight is None else weight.stride(0),
            0 if bias is None else bias.stride(0),
            *mean_sum.stride(),
            *variance_sum.stride(),
            *output.stride(),
            C,
            M,
            N,
        ),
        {"eps": eps},
    )
    return (output, mean_sum, variance_sum, grad_mean_sum_2)


def batch_normalization_without_estimates_backward(
    grad_output: torch.Tensor,
    input: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    mean_sum: torch.Tensor,
    variance_sum: torch.Tensor,
    grad_mean_sum_2: torch.Tensor,
    *,
    eps: float,
    wanted: tuple[bool, ...],
) -> tuple[torch.Tensor | None, ...]:
    """Run the backward kernels that the wanted gradients need.

    Returns:
        grad_input, grad_weight, grad_bias; None where not wanted.
    """
    N = input.shape[0]
    C = input.shape[1]
    M = input.shape[2]
    how = launching.prepare(input)
    grad_input = None
    grad_bias = launching.gradient_like(bias) if wanted[2] else None
    grad_mean_sum_3 = launching.empty((C,), how.accumulator, how)
    grad_variance_sum_2 = launching.empty((C,), how.accumulator, how)
    grad_weight = launching.gradient_like(weight) if wanted[1] else None
    launching.run(
        batch_normalization_training_grad_bias,
        how,
        schedule.rows(C, N * M, input.stride(1) == 1, how.accumulator),
        (
            input,
            grad_output,
            mean_sum,
            variance_sum,
            grad_variance_sum_2,
            grad_mean_sum_3,
            grad_weight,
            grad_bias,
            *input.stride(),
            *grad_output.stride(),
            *mean_sum.stride(),
            *variance_sum.stride(),
            *grad_variance_sum_2.stride(),
            *grad_mean_sum_3.stride(),
            0 if grad_weight is None else grad_weight.stride(0),
            0 if grad_bias is None else grad_bias.stride(0),
            C,
            M,
            N,
        ),
        {"eps": eps},
    )
    if wanted[0]:
        grad_input = launching.gradient_like(input)
        launching.run(
            batch_normalization_training_grad_input,
            how,
            schedule.lanes(N * C * M, 1),
            (
                input,
                weight,
                grad_output,
                mean_sum,
                variance_sum,
                grad_mean_sum_2,
                grad_variance_sum_2,
                grad_mean_sum_3,
                grad_input,
                *input.stride(),
                0 if weight is None else weight.stride(0),
                *grad_output.stride(),
                *mean_sum.stride(),
                *variance_sum.stride(),
                *grad_mean_sum_2.stride(),
                *grad_variance_sum_2.stride(),
                *grad_mean_sum_3.stride(),
                *grad_input.stride(),
                C,
                M,
                N,
            ),
            {"eps": eps},
        )
    return (grad_input, grad_weight, grad_bias)


batch_normalization_inference_RESIDUALS = 0


def batch_normalization_inference_forward(
    input: torch.Tensor,
    running_mean: torch.Tensor,
    running_var: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    *,
    eps: float,
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
        batch_normalization_inference_output,
        how,
        schedule.lanes(N * C * M, 1),
        (
            input,
            running_mean,
            running_var,
            weight,
            bias,
            output,
            *input.stride(),
            *running_mean.stride(),
            *running_var.stride(),
            0 if weight is None else weight.stride(0),
            0 if bias is None else bias.stride(0),
            *output.stride(),
            C,
            M,
            N,
        ),
        {"eps": eps},
    )
    return (output,)


def batch_normalization_inference_backward(
    grad_output: torch.Tensor,
    input: torch.Tensor,
    running_mean: torch.Tensor,
    running_var: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    *,
    eps: float,
    wanted: tuple[bool, ...],
) -> tuple[torch.Tensor | None, ...]:
    """Run the backward kernels that the wanted gradients need.

    Returns:
        grad_input, grad_weight, grad_bias; None where not wanted.
    """
    N = input.shape[0]
    C = input.shape[1]
    M = input.shape[2]
    how = launching.prepare(input)
    grad_input = None
    grad_weight = None
    grad_bias = None
    if wanted[0]:
        grad_input = launching.gradient_like(input)
        launching.run(
            batch_normalization_inference_grad_input,
            how,
            schedule.lanes(N * C * M, 1),
            (
                running_var,
                weight,
                grad_output,
                grad_input,
                *running_var.stride(),
                0 if weight is None else weight.stride(0),
                *grad_output.stride(),
                *grad_input.stride(),
                C,
                M,
                N,
            ),
            {"eps": eps},
        )
    if wanted[1] or wanted[2]:
        grad_bias = launching.gradient_like(bias) if wanted[2] else None
        grad_weight = launching.gradient_like(weight) if wanted[1] else None
        launching.run(
            batch_normalization_inference_grad_bias,
            how,
            schedule.rows(C, N * M, input.stride(1) == 1, how.accumulator),
            (
                input,
                running_mean,
                running_var,
                grad_output,
                grad_weight,
                grad_bias,
                *input.stride(),
                *running_mean.stride(),
                *running_var.stride(),
                *grad_output.stride(),
                0 if grad_weight is None else grad_weight.stride(0),
                0 if grad_bias is None else grad_bias.stride(0),
                C,
                M,
                N,
            ),
            {"eps": eps},
        )
    return (grad_input, grad_weight, grad_bias)
