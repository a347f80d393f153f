"""Cross-entropy of scores and a target: class labels, or a probability for every class.

Source: slide 18; torch.nn.functional.cross_entropy

    log_probability[n, k, m] = -log(sum(j: exp(input[n, j, m]))) + input[n, k, m]
    loss[n, m] = Select(Eq(target[n, m], ignore_index), 0, (label_smoothing - 1)*sum(k: Select(Eq(target[n, m], k),
        log_probability[n, k, m]*weight[k], 0)) - Select(label_smoothing > 0, label_smoothing*sum(k:
        log_probability[n, k, m]*weight[k])/K, 0))
    kept[n, m] = Select(Eq(target[n, m], ignore_index), 0, sum(k: Select(Eq(target[n, m], k), weight[k], 0)))
    output[] = sum(n, m: loss[n, m])/sum(n, m: kept[n, m])

    log_probability[n, k, m] = -log(sum(j: exp(input[n, j, m]))) + input[n, k, m]
    loss[n, m] = Select(Eq(target[n, m], ignore_index), 0, (label_smoothing - 1)*sum(k: Select(Eq(target[n, m], k),
        log_probability[n, k, m]*weight[k], 0)) - Select(label_smoothing > 0, label_smoothing*sum(k:
        log_probability[n, k, m]*weight[k])/K, 0))
    output[] = sum(n, m: loss[n, m])

    log_probability[n, k, m] = -log(sum(j: exp(input[n, j, m]))) + input[n, k, m]
    loss[n, m] = Select(Eq(target[n, m], ignore_index), 0, (label_smoothing - 1)*sum(k: Select(Eq(target[n, m], k),
        log_probability[n, k, m]*weight[k], 0)) - Select(label_smoothing > 0, label_smoothing*sum(k:
        log_probability[n, k, m]*weight[k])/K, 0))
    output[n, m] = loss[n, m]

    log_probability[n, k, m] = -log(sum(j: exp(input[n, j, m]))) + input[n, k, m]
    loss[n, m] = -sum(k: ((1 - label_smoothing)*target[n, k, m] + label_smoothing/K)*log_probability[n, k,
        m]*weight[k])
    output[] = sum(n, m: loss[n, m])/(M*N)

    log_probability[n, k, m] = -log(sum(j: exp(input[n, j, m]))) + input[n, k, m]
    loss[n, m] = -sum(k: ((1 - label_smoothing)*target[n, k, m] + label_smoothing/K)*log_probability[n, k,
        m]*weight[k])
    output[] = sum(n, m: loss[n, m])

    log_probability[n, k, m] = -log(sum(j: exp(input[n, j, m]))) + input[n, k, m]
    loss[n, m] = -sum(k: ((1 - label_smoothing)*target[n, k, m] + label_smoothing/K)*log_probability[n, k,
        m]*weight[k])
    output[n, m] = loss[n, m]

"""

import torch
import triton
import triton.language as tl

from .. import launching, schedule


@triton.jit
def cross_entropy_labels_mean_kept_sum(
    input_ptr,
    target_ptr,
    weight_ptr,
    loss_sum_ptr,
    loss_sum_2_ptr,
    kept_sum_ptr,
    input_stride_n,
    input_stride_k,
    input_stride_m,
    target_stride_n,
    target_stride_m,
    weight_stride_k,
    loss_sum_stride_n,
    loss_sum_stride_m,
    loss_sum_2_stride_n,
    loss_sum_2_stride_m,
    kept_sum_stride_n,
    kept_sum_stride_m,
    K,
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
    log_probability_sum_shift[n, m] = max(j: input[n, j, m])
    log_probability_sum_shifted[n, m] = sum(j: exp(input[n, j, m] - log_probability_sum_shift[n, m]))
    loss_sum[n, m] = sum(j: (-log(log_probability_sum_shifted[n, m]) + input[n, j, m] -
        log_probability_sum_shift[n, m])*weight[j])
    loss_sum_2[n, m] = sum(j: Select(Eq(target[n, m], j), (-log(log_probability_sum_shifted[n, m]) +
        input[n, j, m] - log_probability_sum_shift[n, m])*weight[j], 0))
    kept_sum[n, m] = sum(j: Select(Eq(target[n, m], j), weight[j], 0))
    """
    row = tl.cast(tl.program_id(0), INDEX) * ROWS + tl.arange(0, ROWS)[:, None]
    live_row = row < tl.cast(N, INDEX) * M
    m = row % M
    row_rest = row // M
    n = row_rest
    if SINGLE:
        column = tl.arange(0, COLUMNS)[None, :]
        live_column = column < tl.cast(K, INDEX)
        j = column
        target_value = tl.load(target_ptr + n * target_stride_n + m * target_stride_m, mask=live_row, other=0)
        log_probability_sum_shift = tl.full([ROWS, COLUMNS], float("-inf"), ACC)
        kept_sum = tl.zeros([ROWS, COLUMNS], ACC)
        input_value = tl.load(
            input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
            mask=live_column & live_row,
            other=0,
        ).to(ACC)
        if weight_ptr is not None:
            weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
        else:
            weight_value = 1.0
        element = tl.where(live_column, input_value, float("-inf"))
        log_probability_sum_shift = tl.maximum(log_probability_sum_shift, element, propagate_nan=tl.PropagateNan.ALL)
        kept_sum += tl.where(live_column, tl.where(target_value == j, weight_value, 0.0), 0.0)
        missing = tl.max((log_probability_sum_shift != log_probability_sum_shift).to(tl.int32), 1, keep_dims=True) > 0
        largest = tl.where(missing, float("nan"), tl.max(log_probability_sum_shift, 1, keep_dims=True))
        log_probability_sum_shift = largest
        kept_sum = tl.sum(kept_sum, 1, keep_dims=True)
        log_probability_sum_shifted = tl.zeros([ROWS, COLUMNS], ACC)
        log_probability_sum_shifted += tl.where(live_column, tl.exp(input_value - log_probability_sum_shift), 0.0)
        log_probability_sum_shifted = tl.sum(log_probability_sum_shifted, 1, keep_dims=True)
        loss_sum = tl.zeros([ROWS, COLUMNS], ACC)
        loss_sum_2 = tl.zeros([ROWS, COLUMNS], ACC)
        value = (input_value - tl.log(log_probability_sum_shifted) - log_probability_sum_shift) * weight_value
        loss_sum += tl.where(live_column, value, 0.0)
        loss_sum_2 += tl.where(live_column, tl.where(target_value == j, value, 0.0), 0.0)
        loss_sum = tl.sum(loss_sum, 1, keep_dims=True)
        loss_sum_2 = tl.sum(loss_sum_2, 1, keep_dims=True)
        tl.store(kept_sum_ptr + n * kept_sum_stride_n + m * kept_sum_stride_m, kept_sum, mask=live_row)
        tl.store(loss_sum_2_ptr + n * loss_sum_2_stride_n + m * loss_sum_2_stride_m, loss_sum_2, mask=live_row)
        tl.store(loss_sum_ptr + n * loss_sum_stride_n + m * loss_sum_stride_m, loss_sum, mask=live_row)
    else:
        target_value = tl.load(target_ptr + n * target_stride_n + m * target_stride_m, mask=live_row, other=0)
        log_probability_sum_shift = tl.full([ROWS, COLUMNS], float("-inf"), ACC)
        kept_sum = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            if weight_ptr is not None:
                weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
            else:
                weight_value = 1.0
            element = tl.where(live_column, input_value, float("-inf"))
            log_probability_sum_shift = tl.maximum(
                log_probability_sum_shift, element, propagate_nan=tl.PropagateNan.ALL
            )
            kept_sum += tl.where(live_column, tl.where(target_value == j, weight_value, 0.0), 0.0)
        missing = tl.max((log_probability_sum_shift != log_probability_sum_shift).to(tl.int32), 1, keep_dims=True) > 0
        largest = tl.where(missing, float("nan"), tl.max(log_probability_sum_shift, 1, keep_dims=True))
        log_probability_sum_shift = largest
        kept_sum = tl.sum(kept_sum, 1, keep_dims=True)
        log_probability_sum_shifted = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            log_probability_sum_shifted += tl.where(live_column, tl.exp(input_value - log_probability_sum_shift), 0.0)
        log_probability_sum_shifted = tl.sum(log_probability_sum_shifted, 1, keep_dims=True)
        loss_sum = tl.zeros([ROWS, COLUMNS], ACC)
        loss_sum_2 = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            if weight_ptr is not None:
                weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
            else:
                weight_value = 1.0
            value = (input_value - tl.log(log_probability_sum_shifted) - log_probability_sum_shift) * weight_value
            loss_sum += tl.where(live_column, value, 0.0)
            loss_sum_2 += tl.where(live_column, tl.where(target_value == j, value, 0.0), 0.0)
        loss_sum = tl.sum(loss_sum, 1, keep_dims=True)
        loss_sum_2 = tl.sum(loss_sum_2, 1, keep_dims=True)
        tl.store(kept_sum_ptr + n * kept_sum_stride_n + m * kept_sum_stride_m, kept_sum, mask=live_row)
        tl.store(loss_sum_2_ptr + n * loss_sum_2_stride_n + m * loss_sum_2_stride_m, loss_sum_2, mask=live_row)
        tl.store(loss_sum_ptr + n * loss_sum_stride_n + m * loss_sum_stride_m, loss_sum, mask=live_row)


@triton.jit
def cross_entropy_labels_mean_output(
    target_ptr,
    loss_sum_ptr,
    loss_sum_2_ptr,
    kept_sum_ptr,
    output_ptr,
    target_stride_n,
    target_stride_m,
    loss_sum_stride_n,
    loss_sum_stride_m,
    loss_sum_2_stride_n,
    loss_sum_2_stride_m,
    kept_sum_stride_n,
    kept_sum_stride_m,
    K,
    M,
    N,
    ignore_index: tl.constexpr,
    label_smoothing: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SINGLE: tl.constexpr,
):
    """Compute, in one row kernel:
    output_sum[] = sum(n, m: Select(Eq(target[n, m], ignore_index), 0, kept_sum[n, m]))
    output_sum_2[] = sum(n, m: Select(Eq(target[n, m], ignore_index), 0, (label_smoothing -
        1)*loss_sum_2[n, m] - Select(label_smoothing > 0, label_smoothing*loss_sum[n, m]/K, 0)))
    output[] = output_sum_2[]/output_sum[]
    """
    row = tl.cast(tl.program_id(0), INDEX) * ROWS + tl.arange(0, ROWS)[:, None]
    live_row = row < tl.cast(1, INDEX)
    if SINGLE:
        column = tl.arange(0, COLUMNS)[None, :]
        live_column = column < tl.cast(N, INDEX) * M
        m = column % M
        column_rest = column // M
        n = column_rest
        output_sum = tl.zeros([ROWS, COLUMNS], ACC)
        output_sum_2 = tl.zeros([ROWS, COLUMNS], ACC)
        target_value = tl.load(target_ptr + n * target_stride_n + m * target_stride_m, mask=live_column, other=0)
        kept_sum_value = tl.load(
            kept_sum_ptr + n * kept_sum_stride_n + m * kept_sum_stride_m, mask=live_column, other=0
        ).to(ACC)
        loss_sum_2_value = tl.load(
            loss_sum_2_ptr + n * loss_sum_2_stride_n + m * loss_sum_2_stride_m, mask=live_column, other=0
        ).to(ACC)
        loss_sum_value = tl.load(
            loss_sum_ptr + n * loss_sum_stride_n + m * loss_sum_stride_m, mask=live_column, other=0
        ).to(ACC)
        output_sum += tl.where(live_column, tl.where(target_value == ignore_index, 0.0, kept_sum_value), 0.0)
        output_sum_2 += tl.where(
            live_column,
            tl.where(
                target_value == ignore_index,
                0.0,
                (label_smoothing - 1.0) * loss_sum_2_value
                - tl.where(label_smoothing > 0.0, label_smoothing * loss_sum_value / tl.cast(K, ACC), 0.0),
            ),
            0.0,
        )
        output_sum = tl.sum(output_sum, 1, keep_dims=True)
        output_sum_2 = tl.sum(output_sum_2, 1, keep_dims=True)
        tl.store(output_ptr + row * 0, output_sum_2 / output_sum, mask=live_row)
    else:
        output_sum = tl.zeros([ROWS, COLUMNS], ACC)
        output_sum_2 = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(N, INDEX) * M, COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(N, INDEX) * M
            m = column % M
            column_rest = column // M
            n = column_rest
            target_value = tl.load(target_ptr + n * target_stride_n + m * target_stride_m, mask=live_column, other=0)
            kept_sum_value = tl.load(
                kept_sum_ptr + n * kept_sum_stride_n + m * kept_sum_stride_m, mask=live_column, other=0
            ).to(ACC)
            loss_sum_2_value = tl.load(
                loss_sum_2_ptr + n * loss_sum_2_stride_n + m * loss_sum_2_stride_m, mask=live_column, other=0
            ).to(ACC)
            loss_sum_value = tl.load(
                loss_sum_ptr + n * loss_sum_stride_n + m * loss_sum_stride_m, mask=live_column, other=0
            ).to(ACC)
            output_sum += tl.where(live_column, tl.where(target_value == ignore_index, 0.0, kept_sum_value), 0.0)
            output_sum_2 += tl.where(
                live_column,
                tl.where(
                    target_value == ignore_index,
                    0.0,
                    (label_smoothing - 1.0) * loss_sum_2_value
                    - tl.where(label_smoothing > 0.0, label_smoothing * loss_sum_value / tl.cast(K, ACC), 0.0),
                ),
                0.0,
            )
        output_sum = tl.sum(output_sum, 1, keep_dims=True)
        output_sum_2 = tl.sum(output_sum_2, 1, keep_dims=True)
        tl.store(output_ptr + row * 0, output_sum_2 / output_sum, mask=live_row)


@triton.jit
def cross_entropy_labels_mean_output_sum(
    target_ptr,
    loss_sum_ptr,
    loss_sum_2_ptr,
    kept_sum_ptr,
    output_sum_ptr,
    output_ptr,
    target_stride_n,
    target_stride_m,
    loss_sum_stride_n,
    loss_sum_stride_m,
    loss_sum_2_stride_n,
    loss_sum_2_stride_m,
    kept_sum_stride_n,
    kept_sum_stride_m,
    K,
    M,
    N,
    ignore_index: tl.constexpr,
    label_smoothing: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SINGLE: tl.constexpr,
):
    """Compute, in one row kernel:
    output_sum[] = sum(n, m: Select(Eq(target[n, m], ignore_index), 0, kept_sum[n, m]))
    output_sum_2[] = sum(n, m: Select(Eq(target[n, m], ignore_index), 0, (label_smoothing -
        1)*loss_sum_2[n, m] - Select(label_smoothing > 0, label_smoothing*loss_sum[n, m]/K, 0)))
    output[] = output_sum_2[]/output_sum[]
    """
    row = tl.cast(tl.program_id(0), INDEX) * ROWS + tl.arange(0, ROWS)[:, None]
    live_row = row < tl.cast(1, INDEX)
    if SINGLE:
        column = tl.arange(0, COLUMNS)[None, :]
        live_column = column < tl.cast(N, INDEX) * M
        m = column % M
        column_rest = column // M
        n = column_rest
        output_sum = tl.zeros([ROWS, COLUMNS], ACC)
        output_sum_2 = tl.zeros([ROWS, COLUMNS], ACC)
        target_value = tl.load(target_ptr + n * target_stride_n + m * target_stride_m, mask=live_column, other=0)
        kept_sum_value = tl.load(
            kept_sum_ptr + n * kept_sum_stride_n + m * kept_sum_stride_m, mask=live_column, other=0
        ).to(ACC)
        loss_sum_2_value = tl.load(
            loss_sum_2_ptr + n * loss_sum_2_stride_n + m * loss_sum_2_stride_m, mask=live_column, other=0
        ).to(ACC)
        loss_sum_value = tl.load(
            loss_sum_ptr + n * loss_sum_stride_n + m * loss_sum_stride_m, mask=live_column, other=0
        ).to(ACC)
        output_sum += tl.where(live_column, tl.where(target_value == ignore_index, 0.0, kept_sum_value), 0.0)
        output_sum_2 += tl.where(
            live_column,
            tl.where(
                target_value == ignore_index,
                0.0,
                (label_smoothing - 1.0) * loss_sum_2_value
                - tl.where(label_smoothing > 0.0, label_smoothing * loss_sum_value / tl.cast(K, ACC), 0.0),
            ),
            0.0,
        )
        output_sum = tl.sum(output_sum, 1, keep_dims=True)
        output_sum_2 = tl.sum(output_sum_2, 1, keep_dims=True)
        tl.store(output_sum_ptr + row * 0, output_sum, mask=live_row)
        tl.store(output_ptr + row * 0, output_sum_2 / output_sum, mask=live_row)
    else:
        output_sum = tl.zeros([ROWS, COLUMNS], ACC)
        output_sum_2 = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(N, INDEX) * M, COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(N, INDEX) * M
            m = column % M
            column_rest = column // M
            n = column_rest
            target_value = tl.load(target_ptr + n * target_stride_n + m * target_stride_m, mask=live_column, other=0)
            kept_sum_value = tl.load(
                kept_sum_ptr + n * kept_sum_stride_n + m * kept_sum_stride_m, mask=live_column, other=0
            ).to(ACC)
            loss_sum_2_value = tl.load(
                loss_sum_2_ptr + n * loss_sum_2_stride_n + m * loss_sum_2_stride_m, mask=live_column, other=0
            ).to(ACC)
            loss_sum_value = tl.load(
                loss_sum_ptr + n * loss_sum_stride_n + m * loss_sum_stride_m, mask=live_column, other=0
            ).to(ACC)
            output_sum += tl.where(live_column, tl.where(target_value == ignore_index, 0.0, kept_sum_value), 0.0)
            output_sum_2 += tl.where(
                live_column,
                tl.where(
                    target_value == ignore_index,
                    0.0,
                    (label_smoothing - 1.0) * loss_sum_2_value
                    - tl.where(label_smoothing > 0.0, label_smoothing * loss_sum_value / tl.cast(K, ACC), 0.0),
                ),
                0.0,
            )
        output_sum = tl.sum(output_sum, 1, keep_dims=True)
        output_sum_2 = tl.sum(output_sum_2, 1, keep_dims=True)
        tl.store(output_sum_ptr + row * 0, output_sum, mask=live_row)
        tl.store(output_ptr + row * 0, output_sum_2 / output_sum, mask=live_row)


@triton.jit
def cross_entropy_labels_mean_grad_input(
    input_ptr,
    target_ptr,
    weight_ptr,
    grad_output_ptr,
    output_sum_ptr,
    grad_input_ptr,
    input_stride_n,
    input_stride_k,
    input_stride_m,
    target_stride_n,
    target_stride_m,
    weight_stride_k,
    grad_input_stride_n,
    grad_input_stride_k,
    grad_input_stride_m,
    K,
    M,
    N,
    ignore_index: tl.constexpr,
    label_smoothing: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SINGLE: tl.constexpr,
):
    """Compute, in one row kernel:
    log_probability_sum_shift[n, m] = max(j: input[n, j, m])
    log_probability_sum_shifted[n, m] = sum(j: exp(input[n, j, m] - log_probability_sum_shift[n, m]))
    grad_log_probability_sum_sum[n, m] = sum(j: grad_output[]*weight[j]*Select(Eq(target[n, m],
        ignore_index), 0, -Select(label_smoothing > 0, label_smoothing/K, 0))/output_sum[] +
        grad_output[]*Select(Eq(target[n, m], j), weight[j], 0)*Select(Eq(target[n, m], ignore_index), 0,
        label_smoothing - 1)/output_sum[])
    grad_input[n, j, m] = -exp(input[n, j, m] - log_probability_sum_shift[n,
        m])*grad_log_probability_sum_sum[n, m]/log_probability_sum_shifted[n, m] +
        grad_output[]*weight[j]*Select(Eq(target[n, m], ignore_index), 0, -Select(label_smoothing > 0,
        label_smoothing/K, 0))/output_sum[] + grad_output[]*Select(Eq(target[n, m], j), weight[j],
        0)*Select(Eq(target[n, m], ignore_index), 0, label_smoothing - 1)/output_sum[]
    """
    row = tl.cast(tl.program_id(0), INDEX) * ROWS + tl.arange(0, ROWS)[:, None]
    live_row = row < tl.cast(N, INDEX) * M
    m = row % M
    row_rest = row // M
    n = row_rest
    if SINGLE:
        column = tl.arange(0, COLUMNS)[None, :]
        live_column = column < tl.cast(K, INDEX)
        j = column
        target_value = tl.load(target_ptr + n * target_stride_n + m * target_stride_m, mask=live_row, other=0)
        grad_output_value = tl.load(grad_output_ptr).to(ACC)
        output_sum_value = tl.load(output_sum_ptr).to(ACC)
        log_probability_sum_shift = tl.full([ROWS, COLUMNS], float("-inf"), ACC)
        grad_log_probability_sum_sum = tl.zeros([ROWS, COLUMNS], ACC)
        input_value = tl.load(
            input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
            mask=live_column & live_row,
            other=0,
        ).to(ACC)
        if weight_ptr is not None:
            weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
        else:
            weight_value = 1.0
        element = tl.where(live_column, input_value, float("-inf"))
        log_probability_sum_shift = tl.maximum(log_probability_sum_shift, element, propagate_nan=tl.PropagateNan.ALL)
        grad_log_probability_sum_sum += tl.where(
            live_column,
            tl.where(target_value == ignore_index, 0.0, tl.full([], label_smoothing - 1.0, ACC))
            * tl.where(target_value == j, weight_value, 0.0)
            * grad_output_value
            / output_sum_value
            + tl.where(
                target_value == ignore_index,
                0.0,
                -tl.where(label_smoothing > 0.0, label_smoothing / tl.cast(K, ACC), 0.0),
            )
            * grad_output_value
            * weight_value
            / output_sum_value,
            0.0,
        )
        missing = tl.max((log_probability_sum_shift != log_probability_sum_shift).to(tl.int32), 1, keep_dims=True) > 0
        largest = tl.where(missing, float("nan"), tl.max(log_probability_sum_shift, 1, keep_dims=True))
        log_probability_sum_shift = largest
        grad_log_probability_sum_sum = tl.sum(grad_log_probability_sum_sum, 1, keep_dims=True)
        log_probability_sum_shifted = tl.zeros([ROWS, COLUMNS], ACC)
        log_probability_sum_shifted += tl.where(live_column, tl.exp(input_value - log_probability_sum_shift), 0.0)
        log_probability_sum_shifted = tl.sum(log_probability_sum_shifted, 1, keep_dims=True)
        tl.store(
            grad_input_ptr + n * grad_input_stride_n + j * grad_input_stride_k + m * grad_input_stride_m,
            tl.where(target_value == ignore_index, 0.0, tl.full([], label_smoothing - 1.0, ACC))
            * tl.where(target_value == j, weight_value, 0.0)
            * grad_output_value
            / output_sum_value
            + tl.where(
                target_value == ignore_index,
                0.0,
                -tl.where(label_smoothing > 0.0, label_smoothing / tl.cast(K, ACC), 0.0),
            )
            * grad_output_value
            * weight_value
            / output_sum_value
            - tl.exp(input_value - log_probability_sum_shift)
            * grad_log_probability_sum_sum
            / log_probability_sum_shifted,
            mask=live_row & live_column,
        )
    else:
        target_value = tl.load(target_ptr + n * target_stride_n + m * target_stride_m, mask=live_row, other=0)
        grad_output_value = tl.load(grad_output_ptr).to(ACC)
        output_sum_value = tl.load(output_sum_ptr).to(ACC)
        log_probability_sum_shift = tl.full([ROWS, COLUMNS], float("-inf"), ACC)
        grad_log_probability_sum_sum = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            if weight_ptr is not None:
                weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
            else:
                weight_value = 1.0
            element = tl.where(live_column, input_value, float("-inf"))
            log_probability_sum_shift = tl.maximum(
                log_probability_sum_shift, element, propagate_nan=tl.PropagateNan.ALL
            )
            grad_log_probability_sum_sum += tl.where(
                live_column,
                tl.where(target_value == ignore_index, 0.0, tl.full([], label_smoothing - 1.0, ACC))
                * tl.where(target_value == j, weight_value, 0.0)
                * grad_output_value
                / output_sum_value
                + tl.where(
                    target_value == ignore_index,
                    0.0,
                    -tl.where(label_smoothing > 0.0, label_smoothing / tl.cast(K, ACC), 0.0),
                )
                * grad_output_value
                * weight_value
                / output_sum_value,
                0.0,
            )
        missing = tl.max((log_probability_sum_shift != log_probability_sum_shift).to(tl.int32), 1, keep_dims=True) > 0
        largest = tl.where(missing, float("nan"), tl.max(log_probability_sum_shift, 1, keep_dims=True))
        log_probability_sum_shift = largest
        grad_log_probability_sum_sum = tl.sum(grad_log_probability_sum_sum, 1, keep_dims=True)
        log_probability_sum_shifted = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            log_probability_sum_shifted += tl.where(live_column, tl.exp(input_value - log_probability_sum_shift), 0.0)
        log_probability_sum_shifted = tl.sum(log_probability_sum_shifted, 1, keep_dims=True)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            if weight_ptr is not None:
                weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
            else:
                weight_value = 1.0
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            tl.store(
                grad_input_ptr + n * grad_input_stride_n + j * grad_input_stride_k + m * grad_input_stride_m,
                tl.where(target_value == ignore_index, 0.0, tl.full([], label_smoothing - 1.0, ACC))
                * tl.where(target_value == j, weight_value, 0.0)
                * grad_output_value
                / output_sum_value
                + tl.where(
                    target_value == ignore_index,
                    0.0,
                    -tl.where(label_smoothing > 0.0, label_smoothing / tl.cast(K, ACC), 0.0),
                )
                * grad_output_value
                * weight_value
                / output_sum_value
                - tl.exp(input_value - log_probability_sum_shift)
                * grad_log_probability_sum_sum
                / log_probability_sum_shifted,
                mask=live_row & live_column,
            )


@triton.jit
def cross_entropy_labels_sum_loss_sum_2(
    input_ptr,
    target_ptr,
    weight_ptr,
    loss_sum_ptr,
    loss_sum_2_ptr,
    input_stride_n,
    input_stride_k,
    input_stride_m,
    target_stride_n,
    target_stride_m,
    weight_stride_k,
    loss_sum_stride_n,
    loss_sum_stride_m,
    loss_sum_2_stride_n,
    loss_sum_2_stride_m,
    K,
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
    log_probability_sum_shift[n, m] = max(j: input[n, j, m])
    log_probability_sum_shifted[n, m] = sum(j: exp(input[n, j, m] - log_probability_sum_shift[n, m]))
    loss_sum[n, m] = sum(j: (-log(log_probability_sum_shifted[n, m]) + input[n, j, m] -
        log_probability_sum_shift[n, m])*weight[j])
    loss_sum_2[n, m] = sum(j: Select(Eq(target[n, m], j), (-log(log_probability_sum_shifted[n, m]) +
        input[n, j, m] - log_probability_sum_shift[n, m])*weight[j], 0))
    """
    row = tl.cast(tl.program_id(0), INDEX) * ROWS + tl.arange(0, ROWS)[:, None]
    live_row = row < tl.cast(N, INDEX) * M
    m = row % M
    row_rest = row // M
    n = row_rest
    if SINGLE:
        column = tl.arange(0, COLUMNS)[None, :]
        live_column = column < tl.cast(K, INDEX)
        j = column
        log_probability_sum_shift = tl.full([ROWS, COLUMNS], float("-inf"), ACC)
        input_value = tl.load(
            input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
            mask=live_column & live_row,
            other=0,
        ).to(ACC)
        element = tl.where(live_column, input_value, float("-inf"))
        log_probability_sum_shift = tl.maximum(log_probability_sum_shift, element, propagate_nan=tl.PropagateNan.ALL)
        missing = tl.max((log_probability_sum_shift != log_probability_sum_shift).to(tl.int32), 1, keep_dims=True) > 0
        largest = tl.where(missing, float("nan"), tl.max(log_probability_sum_shift, 1, keep_dims=True))
        log_probability_sum_shift = largest
        log_probability_sum_shifted = tl.zeros([ROWS, COLUMNS], ACC)
        log_probability_sum_shifted += tl.where(live_column, tl.exp(input_value - log_probability_sum_shift), 0.0)
        log_probability_sum_shifted = tl.sum(log_probability_sum_shifted, 1, keep_dims=True)
        target_value = tl.load(target_ptr + n * target_stride_n + m * target_stride_m, mask=live_row, other=0)
        loss_sum = tl.zeros([ROWS, COLUMNS], ACC)
        loss_sum_2 = tl.zeros([ROWS, COLUMNS], ACC)
        if weight_ptr is not None:
            weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
        else:
            weight_value = 1.0
        value = (input_value - tl.log(log_probability_sum_shifted) - log_probability_sum_shift) * weight_value
        loss_sum += tl.where(live_column, value, 0.0)
        loss_sum_2 += tl.where(live_column, tl.where(target_value == j, value, 0.0), 0.0)
        loss_sum = tl.sum(loss_sum, 1, keep_dims=True)
        loss_sum_2 = tl.sum(loss_sum_2, 1, keep_dims=True)
        tl.store(loss_sum_2_ptr + n * loss_sum_2_stride_n + m * loss_sum_2_stride_m, loss_sum_2, mask=live_row)
        tl.store(loss_sum_ptr + n * loss_sum_stride_n + m * loss_sum_stride_m, loss_sum, mask=live_row)
    else:
        log_probability_sum_shift = tl.full([ROWS, COLUMNS], float("-inf"), ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            element = tl.where(live_column, input_value, float("-inf"))
            log_probability_sum_shift = tl.maximum(
                log_probability_sum_shift, element, propagate_nan=tl.PropagateNan.ALL
            )
        missing = tl.max((log_probability_sum_shift != log_probability_sum_shift).to(tl.int32), 1, keep_dims=True) > 0
        largest = tl.where(missing, float("nan"), tl.max(log_probability_sum_shift, 1, keep_dims=True))
        log_probability_sum_shift = largest
        log_probability_sum_shifted = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            log_probability_sum_shifted += tl.where(live_column, tl.exp(input_value - log_probability_sum_shift), 0.0)
        log_probability_sum_shifted = tl.sum(log_probability_sum_shifted, 1, keep_dims=True)
        target_value = tl.load(target_ptr + n * target_stride_n + m * target_stride_m, mask=live_row, other=0)
        loss_sum = tl.zeros([ROWS, COLUMNS], ACC)
        loss_sum_2 = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            if weight_ptr is not None:
                weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
            else:
                weight_value = 1.0
            value = (input_value - tl.log(log_probability_sum_shifted) - log_probability_sum_shift) * weight_value
            loss_sum += tl.where(live_column, value, 0.0)
            loss_sum_2 += tl.where(live_column, tl.where(target_value == j, value, 0.0), 0.0)
        loss_sum = tl.sum(loss_sum, 1, keep_dims=True)
        loss_sum_2 = tl.sum(loss_sum_2, 1, keep_dims=True)
        tl.store(loss_sum_2_ptr + n * loss_sum_2_stride_n + m * loss_sum_2_stride_m, loss_sum_2, mask=live_row)
        tl.store(loss_sum_ptr + n * loss_sum_stride_n + m * loss_sum_stride_m, loss_sum, mask=live_row)


@triton.jit
def cross_entropy_labels_sum_output(
    target_ptr,
    loss_sum_ptr,
    loss_sum_2_ptr,
    output_ptr,
    target_stride_n,
    target_stride_m,
    loss_sum_stride_n,
    loss_sum_stride_m,
    loss_sum_2_stride_n,
    loss_sum_2_stride_m,
    K,
    M,
    N,
    ignore_index: tl.constexpr,
    label_smoothing: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SINGLE: tl.constexpr,
):
    """Compute, in one row kernel:
    output[] = sum(n, m: Select(Eq(target[n, m], ignore_index), 0, (label_smoothing - 1)*loss_sum_2[n,
        m] - Select(label_smoothing > 0, label_smoothing*loss_sum[n, m]/K, 0)))
    """
    row = tl.cast(tl.program_id(0), INDEX) * ROWS + tl.arange(0, ROWS)[:, None]
    live_row = row < tl.cast(1, INDEX)
    if SINGLE:
        column = tl.arange(0, COLUMNS)[None, :]
        live_column = column < tl.cast(N, INDEX) * M
        m = column % M
        column_rest = column // M
        n = column_rest
        output = tl.zeros([ROWS, COLUMNS], ACC)
        target_value = tl.load(target_ptr + n * target_stride_n + m * target_stride_m, mask=live_column, other=0)
        loss_sum_2_value = tl.load(
            loss_sum_2_ptr + n * loss_sum_2_stride_n + m * loss_sum_2_stride_m, mask=live_column, other=0
        ).to(ACC)
        loss_sum_value = tl.load(
            loss_sum_ptr + n * loss_sum_stride_n + m * loss_sum_stride_m, mask=live_column, other=0
        ).to(ACC)
        output += tl.where(
            live_column,
            tl.where(
                target_value == ignore_index,
                0.0,
                (label_smoothing - 1.0) * loss_sum_2_value
                - tl.where(label_smoothing > 0.0, label_smoothing * loss_sum_value / tl.cast(K, ACC), 0.0),
            ),
            0.0,
        )
        output = tl.sum(output, 1, keep_dims=True)
        tl.store(output_ptr + row * 0, output, mask=live_row)
    else:
        output = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(N, INDEX) * M, COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(N, INDEX) * M
            m = column % M
            column_rest = column // M
            n = column_rest
            target_value = tl.load(target_ptr + n * target_stride_n + m * target_stride_m, mask=live_column, other=0)
            loss_sum_2_value = tl.load(
                loss_sum_2_ptr + n * loss_sum_2_stride_n + m * loss_sum_2_stride_m, mask=live_column, other=0
            ).to(ACC)
            loss_sum_value = tl.load(
                loss_sum_ptr + n * loss_sum_stride_n + m * loss_sum_stride_m, mask=live_column, other=0
            ).to(ACC)
            output += tl.where(
                live_column,
                tl.where(
                    target_value == ignore_index,
                    0.0,
                    (label_smoothing - 1.0) * loss_sum_2_value
                    - tl.where(label_smoothing > 0.0, label_smoothing * loss_sum_value / tl.cast(K, ACC), 0.0),
                ),
                0.0,
            )
        output = tl.sum(output, 1, keep_dims=True)
        tl.store(output_ptr + row * 0, output, mask=live_row)


@triton.jit
def cross_entropy_labels_sum_grad_input(
    input_ptr,
    target_ptr,
    weight_ptr,
    grad_output_ptr,
    grad_input_ptr,
    input_stride_n,
    input_stride_k,
    input_stride_m,
    target_stride_n,
    target_stride_m,
    weight_stride_k,
    grad_input_stride_n,
    grad_input_stride_k,
    grad_input_stride_m,
    K,
    M,
    N,
    ignore_index: tl.constexpr,
    label_smoothing: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SINGLE: tl.constexpr,
):
    """Compute, in one row kernel:
    log_probability_sum_shift[n, m] = max(j: input[n, j, m])
    log_probability_sum_shifted[n, m] = sum(j: exp(input[n, j, m] - log_probability_sum_shift[n, m]))
    grad_log_probability_sum_sum[n, m] = sum(j: grad_output[]*weight[j]*Select(Eq(target[n, m],
        ignore_index), 0, -Select(label_smoothing > 0, label_smoothing/K, 0)) +
        grad_output[]*Select(Eq(target[n, m], j), weight[j], 0)*Select(Eq(target[n, m], ignore_index), 0,
        label_smoothing - 1))
    grad_input[n, j, m] = -exp(input[n, j, m] - log_probability_sum_shift[n,
        m])*grad_log_probability_sum_sum[n, m]/log_probability_sum_shifted[n, m] +
        grad_output[]*weight[j]*Select(Eq(target[n, m], ignore_index), 0, -Select(label_smoothing > 0,
        label_smoothing/K, 0)) + grad_output[]*Select(Eq(target[n, m], j), weight[j], 0)*Select(Eq(target[n,
        m], ignore_index), 0, label_smoothing - 1)
    """
    row = tl.cast(tl.program_id(0), INDEX) * ROWS + tl.arange(0, ROWS)[:, None]
    live_row = row < tl.cast(N, INDEX) * M
    m = row % M
    row_rest = row // M
    n = row_rest
    if SINGLE:
        column = tl.arange(0, COLUMNS)[None, :]
        live_column = column < tl.cast(K, INDEX)
        j = column
        target_value = tl.load(target_ptr + n * target_stride_n + m * target_stride_m, mask=live_row, other=0)
        grad_output_value = tl.load(grad_output_ptr).to(ACC)
        log_probability_sum_shift = tl.full([ROWS, COLUMNS], float("-inf"), ACC)
        grad_log_probability_sum_sum = tl.zeros([ROWS, COLUMNS], ACC)
        input_value = tl.load(
            input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
            mask=live_column & live_row,
            other=0,
        ).to(ACC)
        if weight_ptr is not None:
            weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
        else:
            weight_value = 1.0
        element = tl.where(live_column, input_value, float("-inf"))
        log_probability_sum_shift = tl.maximum(log_probability_sum_shift, element, propagate_nan=tl.PropagateNan.ALL)
        grad_log_probability_sum_sum += tl.where(
            live_column,
            tl.where(target_value == ignore_index, 0.0, tl.full([], label_smoothing - 1.0, ACC))
            * tl.where(target_value == j, weight_value, 0.0)
            * grad_output_value
            + tl.where(
                target_value == ignore_index,
                0.0,
                -tl.where(label_smoothing > 0.0, label_smoothing / tl.cast(K, ACC), 0.0),
            )
            * grad_output_value
            * weight_value,
            0.0,
        )
        missing = tl.max((log_probability_sum_shift != log_probability_sum_shift).to(tl.int32), 1, keep_dims=True) > 0
        largest = tl.where(missing, float("nan"), tl.max(log_probability_sum_shift, 1, keep_dims=True))
        log_probability_sum_shift = largest
        grad_log_probability_sum_sum = tl.sum(grad_log_probability_sum_sum, 1, keep_dims=True)
        log_probability_sum_shifted = tl.zeros([ROWS, COLUMNS], ACC)
        log_probability_sum_shifted += tl.where(live_column, tl.exp(input_value - log_probability_sum_shift), 0.0)
        log_probability_sum_shifted = tl.sum(log_probability_sum_shifted, 1, keep_dims=True)
        tl.store(
            grad_input_ptr + n * grad_input_stride_n + j * grad_input_stride_k + m * grad_input_stride_m,
            tl.where(target_value == ignore_index, 0.0, tl.full([], label_smoothing - 1.0, ACC))
            * tl.where(target_value == j, weight_value, 0.0)
            * grad_output_value
            + tl.where(
                target_value == ignore_index,
                0.0,
                -tl.where(label_smoothing > 0.0, label_smoothing / tl.cast(K, ACC), 0.0),
            )
            * grad_output_value
            * weight_value
            - tl.exp(input_value - log_probability_sum_shift)
            * grad_log_probability_sum_sum
            / log_probability_sum_shifted,
            mask=live_row & live_column,
        )
    else:
        target_value = tl.load(target_ptr + n * target_stride_n + m * target_stride_m, mask=live_row, other=0)
        grad_output_value = tl.load(grad_output_ptr).to(ACC)
        log_probability_sum_shift = tl.full([ROWS, COLUMNS], float("-inf"), ACC)
        grad_log_probability_sum_sum = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            if weight_ptr is not None:
                weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
            else:
                weight_value = 1.0
            element = tl.where(live_column, input_value, float("-inf"))
            log_probability_sum_shift = tl.maximum(
                log_probability_sum_shift, element, propagate_nan=tl.PropagateNan.ALL
            )
            grad_log_probability_sum_sum += tl.where(
                live_column,
                tl.where(target_value == ignore_index, 0.0, tl.full([], label_smoothing - 1.0, ACC))
                * tl.where(target_value == j, weight_value, 0.0)
                * grad_output_value
                + tl.where(
                    target_value == ignore_index,
                    0.0,
                    -tl.where(label_smoothing > 0.0, label_smoothing / tl.cast(K, ACC), 0.0),
                )
                * grad_output_value
                * weight_value,
                0.0,
            )
        missing = tl.max((log_probability_sum_shift != log_probability_sum_shift).to(tl.int32), 1, keep_dims=True) > 0
        largest = tl.where(missing, float("nan"), tl.max(log_probability_sum_shift, 1, keep_dims=True))
        log_probability_sum_shift = largest
        grad_log_probability_sum_sum = tl.sum(grad_log_probability_sum_sum, 1, keep_dims=True)
        log_probability_sum_shifted = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            log_probability_sum_shifted += tl.where(live_column, tl.exp(input_value - log_probability_sum_shift), 0.0)
        log_probability_sum_shifted = tl.sum(log_probability_sum_shifted, 1, keep_dims=True)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            if weight_ptr is not None:
                weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
            else:
                weight_value = 1.0
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            tl.store(
                grad_input_ptr + n * grad_input_stride_n + j * grad_input_stride_k + m * grad_input_stride_m,
                tl.where(target_value == ignore_index, 0.0, tl.full([], label_smoothing - 1.0, ACC))
                * tl.where(target_value == j, weight_value, 0.0)
                * grad_output_value
                + tl.where(
                    target_value == ignore_index,
                    0.0,
                    -tl.where(label_smoothing > 0.0, label_smoothing / tl.cast(K, ACC), 0.0),
                )
                * grad_output_value
                * weight_value
                - tl.exp(input_value - log_probability_sum_shift)
                * grad_log_probability_sum_sum
                / log_probability_sum_shifted,
                mask=live_row & live_column,
            )


@triton.jit
def cross_entropy_labels_none_output(
    input_ptr,
    target_ptr,
    weight_ptr,
    output_ptr,
    input_stride_n,
    input_stride_k,
    input_stride_m,
    target_stride_n,
    target_stride_m,
    weight_stride_k,
    output_stride_n,
    output_stride_m,
    K,
    M,
    N,
    ignore_index: tl.constexpr,
    label_smoothing: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SINGLE: tl.constexpr,
):
    """Compute, in one row kernel:
    log_probability_sum_shift[n, m] = max(j: input[n, j, m])
    log_probability_sum_shifted[n, m] = sum(j: exp(input[n, j, m] - log_probability_sum_shift[n, m]))
    loss_sum[n, m] = sum(j: (-log(log_probability_sum_shifted[n, m]) + input[n, j, m] -
        log_probability_sum_shift[n, m])*weight[j])
    loss_sum_2[n, m] = sum(j: Select(Eq(target[n, m], j), (-log(log_probability_sum_shifted[n, m]) +
        input[n, j, m] - log_probability_sum_shift[n, m])*weight[j], 0))
    output[n, m] = Select(Eq(target[n, m], ignore_index), 0, (label_smoothing - 1)*loss_sum_2[n, m] -
        Select(label_smoothing > 0, label_smoothing*loss_sum[n, m]/K, 0))
    """
    row = tl.cast(tl.program_id(0), INDEX) * ROWS + tl.arange(0, ROWS)[:, None]
    live_row = row < tl.cast(N, INDEX) * M
    m = row % M
    row_rest = row // M
    n = row_rest
    if SINGLE:
        column = tl.arange(0, COLUMNS)[None, :]
        live_column = column < tl.cast(K, INDEX)
        j = column
        log_probability_sum_shift = tl.full([ROWS, COLUMNS], float("-inf"), ACC)
        input_value = tl.load(
            input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
            mask=live_column & live_row,
            other=0,
        ).to(ACC)
        element = tl.where(live_column, input_value, float("-inf"))
        log_probability_sum_shift = tl.maximum(log_probability_sum_shift, element, propagate_nan=tl.PropagateNan.ALL)
        missing = tl.max((log_probability_sum_shift != log_probability_sum_shift).to(tl.int32), 1, keep_dims=True) > 0
        largest = tl.where(missing, float("nan"), tl.max(log_probability_sum_shift, 1, keep_dims=True))
        log_probability_sum_shift = largest
        log_probability_sum_shifted = tl.zeros([ROWS, COLUMNS], ACC)
        log_probability_sum_shifted += tl.where(live_column, tl.exp(input_value - log_probability_sum_shift), 0.0)
        log_probability_sum_shifted = tl.sum(log_probability_sum_shifted, 1, keep_dims=True)
        target_value = tl.load(target_ptr + n * target_stride_n + m * target_stride_m, mask=live_row, other=0)
        loss_sum = tl.zeros([ROWS, COLUMNS], ACC)
        loss_sum_2 = tl.zeros([ROWS, COLUMNS], ACC)
        if weight_ptr is not None:
            weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
        else:
            weight_value = 1.0
        value = (input_value - tl.log(log_probability_sum_shifted) - log_probability_sum_shift) * weight_value
        loss_sum += tl.where(live_column, value, 0.0)
        loss_sum_2 += tl.where(live_column, tl.where(target_value == j, value, 0.0), 0.0)
        loss_sum = tl.sum(loss_sum, 1, keep_dims=True)
        loss_sum_2 = tl.sum(loss_sum_2, 1, keep_dims=True)
        tl.store(
            output_ptr + n * output_stride_n + m * output_stride_m,
            tl.where(
                target_value == ignore_index,
                0.0,
                (label_smoothing - 1.0) * loss_sum_2
                - tl.where(label_smoothing > 0.0, label_smoothing * loss_sum / tl.cast(K, ACC), 0.0),
            ),
            mask=live_row,
        )
    else:
        log_probability_sum_shift = tl.full([ROWS, COLUMNS], float("-inf"), ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            element = tl.where(live_column, input_value, float("-inf"))
            log_probability_sum_shift = tl.maximum(
                log_probability_sum_shift, element, propagate_nan=tl.PropagateNan.ALL
            )
        missing = tl.max((log_probability_sum_shift != log_probability_sum_shift).to(tl.int32), 1, keep_dims=True) > 0
        largest = tl.where(missing, float("nan"), tl.max(log_probability_sum_shift, 1, keep_dims=True))
        log_probability_sum_shift = largest
        log_probability_sum_shifted = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            log_probability_sum_shifted += tl.where(live_column, tl.exp(input_value - log_probability_sum_shift), 0.0)
        log_probability_sum_shifted = tl.sum(log_probability_sum_shifted, 1, keep_dims=True)
        target_value = tl.load(target_ptr + n * target_stride_n + m * target_stride_m, mask=live_row, other=0)
        loss_sum = tl.zeros([ROWS, COLUMNS], ACC)
        loss_sum_2 = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            if weight_ptr is not None:
                weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
            else:
                weight_value = 1.0
            value = (input_value - tl.log(log_probability_sum_shifted) - log_probability_sum_shift) * weight_value
            loss_sum += tl.where(live_column, value, 0.0)
            loss_sum_2 += tl.where(live_column, tl.where(target_value == j, value, 0.0), 0.0)
        loss_sum = tl.sum(loss_sum, 1, keep_dims=True)
        loss_sum_2 = tl.sum(loss_sum_2, 1, keep_dims=True)
        tl.store(
            output_ptr + n * output_stride_n + m * output_stride_m,
            tl.where(
                target_value == ignore_index,
                0.0,
                (label_smoothing - 1.0) * loss_sum_2
                - tl.where(label_smoothing > 0.0, label_smoothing * loss_sum / tl.cast(K, ACC), 0.0),
            ),
            mask=live_row,
        )


@triton.jit
def cross_entropy_labels_none_grad_input(
    input_ptr,
    target_ptr,
    weight_ptr,
    grad_output_ptr,
    grad_input_ptr,
    input_stride_n,
    input_stride_k,
    input_stride_m,
    target_stride_n,
    target_stride_m,
    weight_stride_k,
    grad_output_stride_n,
    grad_output_stride_m,
    grad_input_stride_n,
    grad_input_stride_k,
    grad_input_stride_m,
    K,
    M,
    N,
    ignore_index: tl.constexpr,
    label_smoothing: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SINGLE: tl.constexpr,
):
    """Compute, in one row kernel:
    log_probability_sum_shift[n, m] = max(j: input[n, j, m])
    log_probability_sum_shifted[n, m] = sum(j: exp(input[n, j, m] - log_probability_sum_shift[n, m]))
    grad_log_probability_sum_sum[n, m] = sum(j: grad_output[n, m]*weight[j]*Select(Eq(target[n, m],
        ignore_index), 0, -Select(label_smoothing > 0, label_smoothing/K, 0)) + grad_output[n,
        m]*Select(Eq(target[n, m], j), weight[j], 0)*Select(Eq(target[n, m], ignore_index), 0,
        label_smoothing - 1))
    grad_input[n, j, m] = -exp(input[n, j, m] - log_probability_sum_shift[n,
        m])*grad_log_probability_sum_sum[n, m]/log_probability_sum_shifted[n, m] + grad_output[n,
        m]*weight[j]*Select(Eq(target[n, m], ignore_index), 0, -Select(label_smoothing > 0,
        label_smoothing/K, 0)) + grad_output[n, m]*Select(Eq(target[n, m], j), weight[j],
        0)*Select(Eq(target[n, m], ignore_index), 0, label_smoothing - 1)
    """
    row = tl.cast(tl.program_id(0), INDEX) * ROWS + tl.arange(0, ROWS)[:, None]
    live_row = row < tl.cast(N, INDEX) * M
    m = row % M
    row_rest = row // M
    n = row_rest
    if SINGLE:
        column = tl.arange(0, COLUMNS)[None, :]
        live_column = column < tl.cast(K, INDEX)
        j = column
        target_value = tl.load(target_ptr + n * target_stride_n + m * target_stride_m, mask=live_row, other=0)
        grad_output_value = tl.load(
            grad_output_ptr + n * grad_output_stride_n + m * grad_output_stride_m, mask=live_row, other=0
        ).to(ACC)
        log_probability_sum_shift = tl.full([ROWS, COLUMNS], float("-inf"), ACC)
        grad_log_probability_sum_sum = tl.zeros([ROWS, COLUMNS], ACC)
        input_value = tl.load(
            input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
            mask=live_column & live_row,
            other=0,
        ).to(ACC)
        if weight_ptr is not None:
            weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
        else:
            weight_value = 1.0
        element = tl.where(live_column, input_value, float("-inf"))
        log_probability_sum_shift = tl.maximum(log_probability_sum_shift, element, propagate_nan=tl.PropagateNan.ALL)
        grad_log_probability_sum_sum += tl.where(
            live_column,
            tl.where(target_value == ignore_index, 0.0, tl.full([], label_smoothing - 1.0, ACC))
            * tl.where(target_value == j, weight_value, 0.0)
            * grad_output_value
            + tl.where(
                target_value == ignore_index,
                0.0,
                -tl.where(label_smoothing > 0.0, label_smoothing / tl.cast(K, ACC), 0.0),
            )
            * grad_output_value
            * weight_value,
            0.0,
        )
        missing = tl.max((log_probability_sum_shift != log_probability_sum_shift).to(tl.int32), 1, keep_dims=True) > 0
        largest = tl.where(missing, float("nan"), tl.max(log_probability_sum_shift, 1, keep_dims=True))
        log_probability_sum_shift = largest
        grad_log_probability_sum_sum = tl.sum(grad_log_probability_sum_sum, 1, keep_dims=True)
        log_probability_sum_shifted = tl.zeros([ROWS, COLUMNS], ACC)
        log_probability_sum_shifted += tl.where(live_column, tl.exp(input_value - log_probability_sum_shift), 0.0)
        log_probability_sum_shifted = tl.sum(log_probability_sum_shifted, 1, keep_dims=True)
        tl.store(
            grad_input_ptr + n * grad_input_stride_n + j * grad_input_stride_k + m * grad_input_stride_m,
            tl.where(target_value == ignore_index, 0.0, tl.full([], label_smoothing - 1.0, ACC))
            * tl.where(target_value == j, weight_value, 0.0)
            * grad_output_value
            + tl.where(
                target_value == ignore_index,
                0.0,
                -tl.where(label_smoothing > 0.0, label_smoothing / tl.cast(K, ACC), 0.0),
            )
            * grad_output_value
            * weight_value
            - tl.exp(input_value - log_probability_sum_shift)
            * grad_log_probability_sum_sum
            / log_probability_sum_shifted,
            mask=live_row & live_column,
        )
    else:
        target_value = tl.load(target_ptr + n * target_stride_n + m * target_stride_m, mask=live_row, other=0)
        grad_output_value = tl.load(
            grad_output_ptr + n * grad_output_stride_n + m * grad_output_stride_m, mask=live_row, other=0
        ).to(ACC)
        log_probability_sum_shift = tl.full([ROWS, COLUMNS], float("-inf"), ACC)
        grad_log_probability_sum_sum = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            if weight_ptr is not None:
                weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
            else:
                weight_value = 1.0
            element = tl.where(live_column, input_value, float("-inf"))
            log_probability_sum_shift = tl.maximum(
                log_probability_sum_shift, element, propagate_nan=tl.PropagateNan.ALL
            )
            grad_log_probability_sum_sum += tl.where(
                live_column,
                tl.where(target_value == ignore_index, 0.0, tl.full([], label_smoothing - 1.0, ACC))
                * tl.where(target_value == j, weight_value, 0.0)
                * grad_output_value
                + tl.where(
                    target_value == ignore_index,
                    0.0,
                    -tl.where(label_smoothing > 0.0, label_smoothing / tl.cast(K, ACC), 0.0),
                )
                * grad_output_value
                * weight_value,
                0.0,
            )
        missing = tl.max((log_probability_sum_shift != log_probability_sum_shift).to(tl.int32), 1, keep_dims=True) > 0
        largest = tl.where(missing, float("nan"), tl.max(log_probability_sum_shift, 1, keep_dims=True))
        log_probability_sum_shift = largest
        grad_log_probability_sum_sum = tl.sum(grad_log_probability_sum_sum, 1, keep_dims=True)
        log_probability_sum_shifted = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            log_probability_sum_shifted += tl.where(live_column, tl.exp(input_value - log_probability_sum_shift), 0.0)
        log_probability_sum_shifted = tl.sum(log_probability_sum_shifted, 1, keep_dims=True)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            if weight_ptr is not None:
                weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
            else:
                weight_value = 1.0
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            tl.store(
                grad_input_ptr + n * grad_input_stride_n + j * grad_input_stride_k + m * grad_input_stride_m,
                tl.where(target_value == ignore_index, 0.0, tl.full([], label_smoothing - 1.0, ACC))
                * tl.where(target_value == j, weight_value, 0.0)
                * grad_output_value
                + tl.where(
                    target_value == ignore_index,
                    0.0,
                    -tl.where(label_smoothing > 0.0, label_smoothing / tl.cast(K, ACC), 0.0),
                )
                * grad_output_value
                * weight_value
                - tl.exp(input_value - log_probability_sum_shift)
                * grad_log_probability_sum_sum
                / log_probability_sum_shifted,
                mask=live_row & live_column,
            )


@triton.jit
def cross_entropy_probabilities_mean_loss_sum(
    input_ptr,
    target_ptr,
    weight_ptr,
    loss_sum_ptr,
    input_stride_n,
    input_stride_k,
    input_stride_m,
    target_stride_n,
    target_stride_k,
    target_stride_m,
    weight_stride_k,
    loss_sum_stride_n,
    loss_sum_stride_m,
    K,
    M,
    N,
    label_smoothing: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SINGLE: tl.constexpr,
):
    """Compute, in one row kernel:
    log_probability_sum_shift[n, m] = max(j: input[n, j, m])
    log_probability_sum_shifted[n, m] = sum(j: exp(input[n, j, m] - log_probability_sum_shift[n, m]))
    loss_sum[n, m] = sum(j: ((1 - label_smoothing)*target[n, j, m] +
        label_smoothing/K)*(-log(log_probability_sum_shifted[n, m]) + input[n, j, m] -
        log_probability_sum_shift[n, m])*weight[j])
    """
    row = tl.cast(tl.program_id(0), INDEX) * ROWS + tl.arange(0, ROWS)[:, None]
    live_row = row < tl.cast(N, INDEX) * M
    m = row % M
    row_rest = row // M
    n = row_rest
    if SINGLE:
        column = tl.arange(0, COLUMNS)[None, :]
        live_column = column < tl.cast(K, INDEX)
        j = column
        log_probability_sum_shift = tl.full([ROWS, COLUMNS], float("-inf"), ACC)
        input_value = tl.load(
            input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
            mask=live_column & live_row,
            other=0,
        ).to(ACC)
        element = tl.where(live_column, input_value, float("-inf"))
        log_probability_sum_shift = tl.maximum(log_probability_sum_shift, element, propagate_nan=tl.PropagateNan.ALL)
        missing = tl.max((log_probability_sum_shift != log_probability_sum_shift).to(tl.int32), 1, keep_dims=True) > 0
        largest = tl.where(missing, float("nan"), tl.max(log_probability_sum_shift, 1, keep_dims=True))
        log_probability_sum_shift = largest
        log_probability_sum_shifted = tl.zeros([ROWS, COLUMNS], ACC)
        log_probability_sum_shifted += tl.where(live_column, tl.exp(input_value - log_probability_sum_shift), 0.0)
        log_probability_sum_shifted = tl.sum(log_probability_sum_shifted, 1, keep_dims=True)
        loss_sum = tl.zeros([ROWS, COLUMNS], ACC)
        target_value = tl.load(
            target_ptr + n * target_stride_n + j * target_stride_k + m * target_stride_m,
            mask=live_column & live_row,
            other=0,
        ).to(ACC)
        if weight_ptr is not None:
            weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
        else:
            weight_value = 1.0
        loss_sum += tl.where(
            live_column,
            ((1.0 - label_smoothing) * target_value + label_smoothing / tl.cast(K, ACC))
            * (input_value - tl.log(log_probability_sum_shifted) - log_probability_sum_shift)
            * weight_value,
            0.0,
        )
        loss_sum = tl.sum(loss_sum, 1, keep_dims=True)
        tl.store(loss_sum_ptr + n * loss_sum_stride_n + m * loss_sum_stride_m, loss_sum, mask=live_row)
    else:
        log_probability_sum_shift = tl.full([ROWS, COLUMNS], float("-inf"), ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            element = tl.where(live_column, input_value, float("-inf"))
            log_probability_sum_shift = tl.maximum(
                log_probability_sum_shift, element, propagate_nan=tl.PropagateNan.ALL
            )
        missing = tl.max((log_probability_sum_shift != log_probability_sum_shift).to(tl.int32), 1, keep_dims=True) > 0
        largest = tl.where(missing, float("nan"), tl.max(log_probability_sum_shift, 1, keep_dims=True))
        log_probability_sum_shift = largest
        log_probability_sum_shifted = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            log_probability_sum_shifted += tl.where(live_column, tl.exp(input_value - log_probability_sum_shift), 0.0)
        log_probability_sum_shifted = tl.sum(log_probability_sum_shifted, 1, keep_dims=True)
        loss_sum = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            target_value = tl.load(
                target_ptr + n * target_stride_n + j * target_stride_k + m * target_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            if weight_ptr is not None:
                weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
            else:
                weight_value = 1.0
            loss_sum += tl.where(
                live_column,
                ((1.0 - label_smoothing) * target_value + label_smoothing / tl.cast(K, ACC))
                * (input_value - tl.log(log_probability_sum_shifted) - log_probability_sum_shift)
                * weight_value,
                0.0,
            )
        loss_sum = tl.sum(loss_sum, 1, keep_dims=True)
        tl.store(loss_sum_ptr + n * loss_sum_stride_n + m * loss_sum_stride_m, loss_sum, mask=live_row)


@triton.jit
def cross_entropy_probabilities_mean_output(
    loss_sum_ptr,
    output_ptr,
    loss_sum_stride_n,
    loss_sum_stride_m,
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
    output_sum[] = sum(n, m: -loss_sum[n, m])
    output[] = output_sum[]/(M*N)
    """
    row = tl.cast(tl.program_id(0), INDEX) * ROWS + tl.arange(0, ROWS)[:, None]
    live_row = row < tl.cast(1, INDEX)
    if SINGLE:
        column = tl.arange(0, COLUMNS)[None, :]
        live_column = column < tl.cast(N, INDEX) * M
        m = column % M
        column_rest = column // M
        n = column_rest
        output_sum = tl.zeros([ROWS, COLUMNS], ACC)
        loss_sum_value = tl.load(
            loss_sum_ptr + n * loss_sum_stride_n + m * loss_sum_stride_m, mask=live_column, other=0
        ).to(ACC)
        output_sum += tl.where(live_column, -loss_sum_value, 0.0)
        output_sum = tl.sum(output_sum, 1, keep_dims=True)
        tl.store(output_ptr + row * 0, output_sum / (tl.cast(M, ACC) * tl.cast(N, ACC)), mask=live_row)
    else:
        output_sum = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(N, INDEX) * M, COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(N, INDEX) * M
            m = column % M
            column_rest = column // M
            n = column_rest
            loss_sum_value = tl.load(
                loss_sum_ptr + n * loss_sum_stride_n + m * loss_sum_stride_m, mask=live_column, other=0
            ).to(ACC)
            output_sum += tl.where(live_column, -loss_sum_value, 0.0)
        output_sum = tl.sum(output_sum, 1, keep_dims=True)
        tl.store(output_ptr + row * 0, output_sum / (tl.cast(M, ACC) * tl.cast(N, ACC)), mask=live_row)


@triton.jit
def cross_entropy_probabilities_mean_grad_input(
    input_ptr,
    target_ptr,
    weight_ptr,
    grad_output_ptr,
    grad_input_ptr,
    grad_target_ptr,
    input_stride_n,
    input_stride_k,
    input_stride_m,
    target_stride_n,
    target_stride_k,
    target_stride_m,
    weight_stride_k,
    grad_input_stride_n,
    grad_input_stride_k,
    grad_input_stride_m,
    grad_target_stride_n,
    grad_target_stride_k,
    grad_target_stride_m,
    K,
    M,
    N,
    label_smoothing: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SINGLE: tl.constexpr,
):
    """Compute, in one row kernel:
    log_probability_sum_shift[n, m] = max(j: input[n, j, m])
    log_probability_sum_shifted[n, m] = sum(j: exp(input[n, j, m] - log_probability_sum_shift[n, m]))
    grad_log_probability_sum_sum[n, m] = sum(j: -((1 - label_smoothing)*target[n, j, m] +
        label_smoothing/K)*grad_output[]*weight[j]/(M*N))
    grad_input[n, j, m] = -exp(input[n, j, m] - log_probability_sum_shift[n,
        m])*grad_log_probability_sum_sum[n, m]/log_probability_sum_shifted[n, m] - ((1 -
        label_smoothing)*target[n, j, m] + label_smoothing/K)*grad_output[]*weight[j]/(M*N)
    grad_target[n, j, m] = -(1 - label_smoothing)*(-log(log_probability_sum_shifted[n, m]) + input[n, j,
        m] - log_probability_sum_shift[n, m])*grad_output[]*weight[j]/(M*N)
    """
    row = tl.cast(tl.program_id(0), INDEX) * ROWS + tl.arange(0, ROWS)[:, None]
    live_row = row < tl.cast(N, INDEX) * M
    m = row % M
    row_rest = row // M
    n = row_rest
    if SINGLE:
        column = tl.arange(0, COLUMNS)[None, :]
        live_column = column < tl.cast(K, INDEX)
        j = column
        grad_output_value = tl.load(grad_output_ptr).to(ACC)
        log_probability_sum_shift = tl.full([ROWS, COLUMNS], float("-inf"), ACC)
        grad_log_probability_sum_sum = tl.zeros([ROWS, COLUMNS], ACC)
        input_value = tl.load(
            input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
            mask=live_column & live_row,
            other=0,
        ).to(ACC)
        target_value = tl.load(
            target_ptr + n * target_stride_n + j * target_stride_k + m * target_stride_m,
            mask=live_column & live_row,
            other=0,
        ).to(ACC)
        if weight_ptr is not None:
            weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
        else:
            weight_value = 1.0
        element = tl.where(live_column, input_value, float("-inf"))
        log_probability_sum_shift = tl.maximum(log_probability_sum_shift, element, propagate_nan=tl.PropagateNan.ALL)
        grad_log_probability_sum_sum += tl.where(
            live_column,
            -(
                ((1.0 - label_smoothing) * target_value + label_smoothing / tl.cast(K, ACC))
                * grad_output_value
                * weight_value
                / (tl.cast(M, ACC) * tl.cast(N, ACC))
            ),
            0.0,
        )
        missing = tl.max((log_probability_sum_shift != log_probability_sum_shift).to(tl.int32), 1, keep_dims=True) > 0
        largest = tl.where(missing, float("nan"), tl.max(log_probability_sum_shift, 1, keep_dims=True))
        log_probability_sum_shift = largest
        grad_log_probability_sum_sum = tl.sum(grad_log_probability_sum_sum, 1, keep_dims=True)
        log_probability_sum_shifted = tl.zeros([ROWS, COLUMNS], ACC)
        log_probability_sum_shifted += tl.where(live_column, tl.exp(input_value - log_probability_sum_shift), 0.0)
        log_probability_sum_shifted = tl.sum(log_probability_sum_shifted, 1, keep_dims=True)
        value = tl.cast(M, ACC) * tl.cast(N, ACC)
        if grad_input_ptr is not None:
            tl.store(
                grad_input_ptr + n * grad_input_stride_n + j * grad_input_stride_k + m * grad_input_stride_m,
                -(
                    ((1.0 - label_smoothing) * target_value + label_smoothing / tl.cast(K, ACC))
                    * grad_output_value
                    * weight_value
                    / value
                )
                - tl.exp(input_value - log_probability_sum_shift)
                * grad_log_probability_sum_sum
                / log_probability_sum_shifted,
                mask=live_row & live_column,
            )
        if grad_target_ptr is not None:
            tl.store(
                grad_target_ptr + n * grad_target_stride_n + j * grad_target_stride_k + m * grad_target_stride_m,
                -(
                    (input_value - tl.log(log_probability_sum_shifted) - log_probability_sum_shift)
                    * (1.0 - label_smoothing)
                    * grad_output_value
                    * weight_value
                    / value
                ),
                mask=live_row & live_column,
            )
    else:
        grad_output_value = tl.load(grad_output_ptr).to(ACC)
        log_probability_sum_shift = tl.full([ROWS, COLUMNS], float("-inf"), ACC)
        grad_log_probability_sum_sum = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            target_value = tl.load(
                target_ptr + n * target_stride_n + j * target_stride_k + m * target_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            if weight_ptr is not None:
                weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
            else:
                weight_value = 1.0
            element = tl.where(live_column, input_value, float("-inf"))
            log_probability_sum_shift = tl.maximum(
                log_probability_sum_shift, element, propagate_nan=tl.PropagateNan.ALL
            )
            grad_log_probability_sum_sum += tl.where(
                live_column,
                -(
                    ((1.0 - label_smoothing) * target_value + label_smoothing / tl.cast(K, ACC))
                    * grad_output_value
                    * weight_value
                    / (tl.cast(M, ACC) * tl.cast(N, ACC))
                ),
                0.0,
            )
        missing = tl.max((log_probability_sum_shift != log_probability_sum_shift).to(tl.int32), 1, keep_dims=True) > 0
        largest = tl.where(missing, float("nan"), tl.max(log_probability_sum_shift, 1, keep_dims=True))
        log_probability_sum_shift = largest
        grad_log_probability_sum_sum = tl.sum(grad_log_probability_sum_sum, 1, keep_dims=True)
        log_probability_sum_shifted = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            log_probability_sum_shifted += tl.where(live_column, tl.exp(input_value - log_probability_sum_shift), 0.0)
        log_probability_sum_shifted = tl.sum(log_probability_sum_shifted, 1, keep_dims=True)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            target_value = tl.load(
                target_ptr + n * target_stride_n + j * target_stride_k + m * target_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            if weight_ptr is not None:
                weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
            else:
                weight_value = 1.0
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            value = tl.cast(M, ACC) * tl.cast(N, ACC)
            if grad_input_ptr is not None:
                tl.store(
                    grad_input_ptr + n * grad_input_stride_n + j * grad_input_stride_k + m * grad_input_stride_m,
                    -(
                        ((1.0 - label_smoothing) * target_value + label_smoothing / tl.cast(K, ACC))
                        * grad_output_value
                        * weight_value
                        / value
                    )
                    - tl.exp(input_value - log_probability_sum_shift)
                    * grad_log_probability_sum_sum
                    / log_probability_sum_shifted,
                    mask=live_row & live_column,
                )
            if grad_target_ptr is not None:
                tl.store(
                    grad_target_ptr + n * grad_target_stride_n + j * grad_target_stride_k + m * grad_target_stride_m,
                    -(
                        (input_value - tl.log(log_probability_sum_shifted) - log_probability_sum_shift)
                        * (1.0 - label_smoothing)
                        * grad_output_value
                        * weight_value
                        / value
                    ),
                    mask=live_row & live_column,
                )


@triton.jit
def cross_entropy_probabilities_sum_output(
    loss_sum_ptr,
    output_ptr,
    loss_sum_stride_n,
    loss_sum_stride_m,
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
    output[] = sum(n, m: -loss_sum[n, m])
    """
    row = tl.cast(tl.program_id(0), INDEX) * ROWS + tl.arange(0, ROWS)[:, None]
    live_row = row < tl.cast(1, INDEX)
    if SINGLE:
        column = tl.arange(0, COLUMNS)[None, :]
        live_column = column < tl.cast(N, INDEX) * M
        m = column % M
        column_rest = column // M
        n = column_rest
        output = tl.zeros([ROWS, COLUMNS], ACC)
        loss_sum_value = tl.load(
            loss_sum_ptr + n * loss_sum_stride_n + m * loss_sum_stride_m, mask=live_column, other=0
        ).to(ACC)
        output += tl.where(live_column, -loss_sum_value, 0.0)
        output = tl.sum(output, 1, keep_dims=True)
        tl.store(output_ptr + row * 0, output, mask=live_row)
    else:
        output = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(N, INDEX) * M, COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(N, INDEX) * M
            m = column % M
            column_rest = column // M
            n = column_rest
            loss_sum_value = tl.load(
                loss_sum_ptr + n * loss_sum_stride_n + m * loss_sum_stride_m, mask=live_column, other=0
            ).to(ACC)
            output += tl.where(live_column, -loss_sum_value, 0.0)
        output = tl.sum(output, 1, keep_dims=True)
        tl.store(output_ptr + row * 0, output, mask=live_row)


@triton.jit
def cross_entropy_probabilities_sum_grad_input(
    input_ptr,
    target_ptr,
    weight_ptr,
    grad_output_ptr,
    grad_input_ptr,
    grad_target_ptr,
    input_stride_n,
    input_stride_k,
    input_stride_m,
    target_stride_n,
    target_stride_k,
    target_stride_m,
    weight_stride_k,
    grad_input_stride_n,
    grad_input_stride_k,
    grad_input_stride_m,
    grad_target_stride_n,
    grad_target_stride_k,
    grad_target_stride_m,
    K,
    M,
    N,
    label_smoothing: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SINGLE: tl.constexpr,
):
    """Compute, in one row kernel:
    log_probability_sum_shift[n, m] = max(j: input[n, j, m])
    log_probability_sum_shifted[n, m] = sum(j: exp(input[n, j, m] - log_probability_sum_shift[n, m]))
    grad_log_probability_sum_sum[n, m] = sum(j: -((1 - label_smoothing)*target[n, j, m] +
        label_smoothing/K)*grad_output[]*weight[j])
    grad_input[n, j, m] = -((1 - label_smoothing)*target[n, j, m] +
        label_smoothing/K)*grad_output[]*weight[j] - exp(input[n, j, m] - log_probability_sum_shift[n,
        m])*grad_log_probability_sum_sum[n, m]/log_probability_sum_shifted[n, m]
    grad_target[n, j, m] = -(1 - label_smoothing)*(-log(log_probability_sum_shifted[n, m]) + input[n, j,
        m] - log_probability_sum_shift[n, m])*grad_output[]*weight[j]
    """
    row = tl.cast(tl.program_id(0), INDEX) * ROWS + tl.arange(0, ROWS)[:, None]
    live_row = row < tl.cast(N, INDEX) * M
    m = row % M
    row_rest = row // M
    n = row_rest
    if SINGLE:
        column = tl.arange(0, COLUMNS)[None, :]
        live_column = column < tl.cast(K, INDEX)
        j = column
        grad_output_value = tl.load(grad_output_ptr).to(ACC)
        log_probability_sum_shift = tl.full([ROWS, COLUMNS], float("-inf"), ACC)
        grad_log_probability_sum_sum = tl.zeros([ROWS, COLUMNS], ACC)
        input_value = tl.load(
            input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
            mask=live_column & live_row,
            other=0,
        ).to(ACC)
        target_value = tl.load(
            target_ptr + n * target_stride_n + j * target_stride_k + m * target_stride_m,
            mask=live_column & live_row,
            other=0,
        ).to(ACC)
        if weight_ptr is not None:
            weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
        else:
            weight_value = 1.0
        element = tl.where(live_column, input_value, float("-inf"))
        log_probability_sum_shift = tl.maximum(log_probability_sum_shift, element, propagate_nan=tl.PropagateNan.ALL)
        grad_log_probability_sum_sum += tl.where(
            live_column,
            -(
                ((1.0 - label_smoothing) * target_value + label_smoothing / tl.cast(K, ACC))
                * grad_output_value
                * weight_value
            ),
            0.0,
        )
        missing = tl.max((log_probability_sum_shift != log_probability_sum_shift).to(tl.int32), 1, keep_dims=True) > 0
        largest = tl.where(missing, float("nan"), tl.max(log_probability_sum_shift, 1, keep_dims=True))
        log_probability_sum_shift = largest
        grad_log_probability_sum_sum = tl.sum(grad_log_probability_sum_sum, 1, keep_dims=True)
        log_probability_sum_shifted = tl.zeros([ROWS, COLUMNS], ACC)
        log_probability_sum_shifted += tl.where(live_column, tl.exp(input_value - log_probability_sum_shift), 0.0)
        log_probability_sum_shifted = tl.sum(log_probability_sum_shifted, 1, keep_dims=True)
        if grad_input_ptr is not None:
            tl.store(
                grad_input_ptr + n * grad_input_stride_n + j * grad_input_stride_k + m * grad_input_stride_m,
                -(
                    ((1.0 - label_smoothing) * target_value + label_smoothing / tl.cast(K, ACC))
                    * grad_output_value
                    * weight_value
                )
                - tl.exp(input_value - log_probability_sum_shift)
                * grad_log_probability_sum_sum
                / log_probability_sum_shifted,
                mask=live_row & live_column,
            )
        if grad_target_ptr is not None:
            tl.store(
                grad_target_ptr + n * grad_target_stride_n + j * grad_target_stride_k + m * grad_target_stride_m,
                -(
                    (input_value - tl.log(log_probability_sum_shifted) - log_probability_sum_shift)
                    * (1.0 - label_smoothing)
                    * grad_output_value
                    * weight_value
                ),
                mask=live_row & live_column,
            )
    else:
        grad_output_value = tl.load(grad_output_ptr).to(ACC)
        log_probability_sum_shift = tl.full([ROWS, COLUMNS], float("-inf"), ACC)
        grad_log_probability_sum_sum = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            target_value = tl.load(
                target_ptr + n * target_stride_n + j * target_stride_k + m * target_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            if weight_ptr is not None:
                weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
            else:
                weight_value = 1.0
            element = tl.where(live_column, input_value, float("-inf"))
            log_probability_sum_shift = tl.maximum(
                log_probability_sum_shift, element, propagate_nan=tl.PropagateNan.ALL
            )
            grad_log_probability_sum_sum += tl.where(
                live_column,
                -(
                    ((1.0 - label_smoothing) * target_value + label_smoothing / tl.cast(K, ACC))
                    * grad_output_value
                    * weight_value
                ),
                0.0,
            )
        missing = tl.max((log_probability_sum_shift != log_probability_sum_shift).to(tl.int32), 1, keep_dims=True) > 0
        largest = tl.where(missing, float("nan"), tl.max(log_probability_sum_shift, 1, keep_dims=True))
        log_probability_sum_shift = largest
        grad_log_probability_sum_sum = tl.sum(grad_log_probability_sum_sum, 1, keep_dims=True)
        log_probability_sum_shifted = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            log_probability_sum_shifted += tl.where(live_column, tl.exp(input_value - log_probability_sum_shift), 0.0)
        log_probability_sum_shifted = tl.sum(log_probability_sum_shifted, 1, keep_dims=True)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            target_value = tl.load(
                target_ptr + n * target_stride_n + j * target_stride_k + m * target_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            if weight_ptr is not None:
                weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
            else:
                weight_value = 1.0
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            if grad_input_ptr is not None:
                tl.store(
                    grad_input_ptr + n * grad_input_stride_n + j * grad_input_stride_k + m * grad_input_stride_m,
                    -(
                        ((1.0 - label_smoothing) * target_value + label_smoothing / tl.cast(K, ACC))
                        * grad_output_value
                        * weight_value
                    )
                    - tl.exp(input_value - log_probability_sum_shift)
                    * grad_log_probability_sum_sum
                    / log_probability_sum_shifted,
                    mask=live_row & live_column,
                )
            if grad_target_ptr is not None:
                tl.store(
                    grad_target_ptr + n * grad_target_stride_n + j * grad_target_stride_k + m * grad_target_stride_m,
                    -(
                        (input_value - tl.log(log_probability_sum_shifted) - log_probability_sum_shift)
                        * (1.0 - label_smoothing)
                        * grad_output_value
                        * weight_value
                    ),
                    mask=live_row & live_column,
                )


@triton.jit
def cross_entropy_probabilities_none_output(
    input_ptr,
    target_ptr,
    weight_ptr,
    output_ptr,
    input_stride_n,
    input_stride_k,
    input_stride_m,
    target_stride_n,
    target_stride_k,
    target_stride_m,
    weight_stride_k,
    output_stride_n,
    output_stride_m,
    K,
    M,
    N,
    label_smoothing: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SINGLE: tl.constexpr,
):
    """Compute, in one row kernel:
    log_probability_sum_shift[n, m] = max(j: input[n, j, m])
    log_probability_sum_shifted[n, m] = sum(j: exp(input[n, j, m] - log_probability_sum_shift[n, m]))
    loss_sum[n, m] = sum(j: ((1 - label_smoothing)*target[n, j, m] +
        label_smoothing/K)*(-log(log_probability_sum_shifted[n, m]) + input[n, j, m] -
        log_probability_sum_shift[n, m])*weight[j])
    output[n, m] = -loss_sum[n, m]
    """
    row = tl.cast(tl.program_id(0), INDEX) * ROWS + tl.arange(0, ROWS)[:, None]
    live_row = row < tl.cast(N, INDEX) * M
    m = row % M
    row_rest = row // M
    n = row_rest
    if SINGLE:
        column = tl.arange(0, COLUMNS)[None, :]
        live_column = column < tl.cast(K, INDEX)
        j = column
        log_probability_sum_shift = tl.full([ROWS, COLUMNS], float("-inf"), ACC)
        input_value = tl.load(
            input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
            mask=live_column & live_row,
            other=0,
        ).to(ACC)
        element = tl.where(live_column, input_value, float("-inf"))
        log_probability_sum_shift = tl.maximum(log_probability_sum_shift, element, propagate_nan=tl.PropagateNan.ALL)
        missing = tl.max((log_probability_sum_shift != log_probability_sum_shift).to(tl.int32), 1, keep_dims=True) > 0
        largest = tl.where(missing, float("nan"), tl.max(log_probability_sum_shift, 1, keep_dims=True))
        log_probability_sum_shift = largest
        log_probability_sum_shifted = tl.zeros([ROWS, COLUMNS], ACC)
        log_probability_sum_shifted += tl.where(live_column, tl.exp(input_value - log_probability_sum_shift), 0.0)
        log_probability_sum_shifted = tl.sum(log_probability_sum_shifted, 1, keep_dims=True)
        loss_sum = tl.zeros([ROWS, COLUMNS], ACC)
        target_value = tl.load(
            target_ptr + n * target_stride_n + j * target_stride_k + m * target_stride_m,
            mask=live_column & live_row,
            other=0,
        ).to(ACC)
        if weight_ptr is not None:
            weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
        else:
            weight_value = 1.0
        loss_sum += tl.where(
            live_column,
            ((1.0 - label_smoothing) * target_value + label_smoothing / tl.cast(K, ACC))
            * (input_value - tl.log(log_probability_sum_shifted) - log_probability_sum_shift)
            * weight_value,
            0.0,
        )
        loss_sum = tl.sum(loss_sum, 1, keep_dims=True)
        tl.store(output_ptr + n * output_stride_n + m * output_stride_m, -loss_sum, mask=live_row)
    else:
        log_probability_sum_shift = tl.full([ROWS, COLUMNS], float("-inf"), ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            element = tl.where(live_column, input_value, float("-inf"))
            log_probability_sum_shift = tl.maximum(
                log_probability_sum_shift, element, propagate_nan=tl.PropagateNan.ALL
            )
        missing = tl.max((log_probability_sum_shift != log_probability_sum_shift).to(tl.int32), 1, keep_dims=True) > 0
        largest = tl.where(missing, float("nan"), tl.max(log_probability_sum_shift, 1, keep_dims=True))
        log_probability_sum_shift = largest
        log_probability_sum_shifted = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            log_probability_sum_shifted += tl.where(live_column, tl.exp(input_value - log_probability_sum_shift), 0.0)
        log_probability_sum_shifted = tl.sum(log_probability_sum_shifted, 1, keep_dims=True)
        loss_sum = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            target_value = tl.load(
                target_ptr + n * target_stride_n + j * target_stride_k + m * target_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            if weight_ptr is not None:
                weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
            else:
                weight_value = 1.0
            loss_sum += tl.where(
                live_column,
                ((1.0 - label_smoothing) * target_value + label_smoothing / tl.cast(K, ACC))
                * (input_value - tl.log(log_probability_sum_shifted) - log_probability_sum_shift)
                * weight_value,
                0.0,
            )
        loss_sum = tl.sum(loss_sum, 1, keep_dims=True)
        tl.store(output_ptr + n * output_stride_n + m * output_stride_m, -loss_sum, mask=live_row)


@triton.jit
def cross_entropy_probabilities_none_grad_input(
    input_ptr,
    target_ptr,
    weight_ptr,
    grad_output_ptr,
    grad_input_ptr,
    grad_target_ptr,
    input_stride_n,
    input_stride_k,
    input_stride_m,
    target_stride_n,
    target_stride_k,
    target_stride_m,
    weight_stride_k,
    grad_output_stride_n,
    grad_output_stride_m,
    grad_input_stride_n,
    grad_input_stride_k,
    grad_input_stride_m,
    grad_target_stride_n,
    grad_target_stride_k,
    grad_target_stride_m,
    K,
    M,
    N,
    label_smoothing: tl.constexpr,
    LAST: tl.constexpr,
    INDEX: tl.constexpr,
    ACC: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SINGLE: tl.constexpr,
):
    """Compute, in one row kernel:
    log_probability_sum_shift[n, m] = max(j: input[n, j, m])
    log_probability_sum_shifted[n, m] = sum(j: exp(input[n, j, m] - log_probability_sum_shift[n, m]))
    grad_log_probability_sum_sum[n, m] = sum(j: -((1 - label_smoothing)*target[n, j, m] +
        label_smoothing/K)*grad_output[n, m]*weight[j])
    grad_input[n, j, m] = -((1 - label_smoothing)*target[n, j, m] + label_smoothing/K)*grad_output[n,
        m]*weight[j] - exp(input[n, j, m] - log_probability_sum_shift[n, m])*grad_log_probability_sum_sum[n,
        m]/log_probability_sum_shifted[n, m]
    grad_target[n, j, m] = -(1 - label_smoothing)*(-log(log_probability_sum_shifted[n, m]) + input[n, j,
        m] - log_probability_sum_shift[n, m])*grad_output[n, m]*weight[j]
    """
    row = tl.cast(tl.program_id(0), INDEX) * ROWS + tl.arange(0, ROWS)[:, None]
    live_row = row < tl.cast(N, INDEX) * M
    m = row % M
    row_rest = row // M
    n = row_rest
    if SINGLE:
        column = tl.arange(0, COLUMNS)[None, :]
        live_column = column < tl.cast(K, INDEX)
        j = column
        grad_output_value = tl.load(
            grad_output_ptr + n * grad_output_stride_n + m * grad_output_stride_m, mask=live_row, other=0
        ).to(ACC)
        log_probability_sum_shift = tl.full([ROWS, COLUMNS], float("-inf"), ACC)
        grad_log_probability_sum_sum = tl.zeros([ROWS, COLUMNS], ACC)
        input_value = tl.load(
            input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
            mask=live_column & live_row,
            other=0,
        ).to(ACC)
        target_value = tl.load(
            target_ptr + n * target_stride_n + j * target_stride_k + m * target_stride_m,
            mask=live_column & live_row,
            other=0,
        ).to(ACC)
        if weight_ptr is not None:
            weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
        else:
            weight_value = 1.0
        element = tl.where(live_column, input_value, float("-inf"))
        log_probability_sum_shift = tl.maximum(log_probability_sum_shift, element, propagate_nan=tl.PropagateNan.ALL)
        grad_log_probability_sum_sum += tl.where(
            live_column,
            -(
                ((1.0 - label_smoothing) * target_value + label_smoothing / tl.cast(K, ACC))
                * grad_output_value
                * weight_value
            ),
            0.0,
        )
        missing = tl.max((log_probability_sum_shift != log_probability_sum_shift).to(tl.int32), 1, keep_dims=True) > 0
        largest = tl.where(missing, float("nan"), tl.max(log_probability_sum_shift, 1, keep_dims=True))
        log_probability_sum_shift = largest
        grad_log_probability_sum_sum = tl.sum(grad_log_probability_sum_sum, 1, keep_dims=True)
        log_probability_sum_shifted = tl.zeros([ROWS, COLUMNS], ACC)
        log_probability_sum_shifted += tl.where(live_column, tl.exp(input_value - log_probability_sum_shift), 0.0)
        log_probability_sum_shifted = tl.sum(log_probability_sum_shifted, 1, keep_dims=True)
        if grad_input_ptr is not None:
            tl.store(
                grad_input_ptr + n * grad_input_stride_n + j * grad_input_stride_k + m * grad_input_stride_m,
                -(
                    ((1.0 - label_smoothing) * target_value + label_smoothing / tl.cast(K, ACC))
                    * grad_output_value
                    * weight_value
                )
                - tl.exp(input_value - log_probability_sum_shift)
                * grad_log_probability_sum_sum
                / log_probability_sum_shifted,
                mask=live_row & live_column,
            )
        if grad_target_ptr is not None:
            tl.store(
                grad_target_ptr + n * grad_target_stride_n + j * grad_target_stride_k + m * grad_target_stride_m,
                -(
                    (input_value - tl.log(log_probability_sum_shifted) - log_probability_sum_shift)
                    * (1.0 - label_smoothing)
                    * grad_output_value
                    * weight_value
                ),
                mask=live_row & live_column,
            )
    else:
        grad_output_value = tl.load(
            grad_output_ptr + n * grad_output_stride_n + m * grad_output_stride_m, mask=live_row, other=0
        ).to(ACC)
        log_probability_sum_shift = tl.full([ROWS, COLUMNS], float("-inf"), ACC)
        grad_log_probability_sum_sum = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            target_value = tl.load(
                target_ptr + n * target_stride_n + j * target_stride_k + m * target_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            if weight_ptr is not None:
                weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
            else:
                weight_value = 1.0
            element = tl.where(live_column, input_value, float("-inf"))
            log_probability_sum_shift = tl.maximum(
                log_probability_sum_shift, element, propagate_nan=tl.PropagateNan.ALL
            )
            grad_log_probability_sum_sum += tl.where(
                live_column,
                -(
                    ((1.0 - label_smoothing) * target_value + label_smoothing / tl.cast(K, ACC))
                    * grad_output_value
                    * weight_value
                ),
                0.0,
            )
        missing = tl.max((log_probability_sum_shift != log_probability_sum_shift).to(tl.int32), 1, keep_dims=True) > 0
        largest = tl.where(missing, float("nan"), tl.max(log_probability_sum_shift, 1, keep_dims=True))
        log_probability_sum_shift = largest
        grad_log_probability_sum_sum = tl.sum(grad_log_probability_sum_sum, 1, keep_dims=True)
        log_probability_sum_shifted = tl.zeros([ROWS, COLUMNS], ACC)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            log_probability_sum_shifted += tl.where(live_column, tl.exp(input_value - log_probability_sum_shift), 0.0)
        log_probability_sum_shifted = tl.sum(log_probability_sum_shifted, 1, keep_dims=True)
        for start in tl.range(0, tl.cast(K, INDEX), COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            live_column = column < tl.cast(K, INDEX)
            j = column
            target_value = tl.load(
                target_ptr + n * target_stride_n + j * target_stride_k + m * target_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            if weight_ptr is not None:
                weight_value = tl.load(weight_ptr + j * weight_stride_k, mask=live_column, other=0).to(ACC)
            else:
                weight_value = 1.0
            input_value = tl.load(
                input_ptr + n * input_stride_n + j * input_stride_k + m * input_stride_m,
                mask=live_column & live_row,
                other=0,
            ).to(ACC)
            if grad_input_ptr is not None:
                tl.store(
                    grad_input_ptr + n * grad_input_stride_n + j * grad_input_stride_k + m * grad_input_stride_m,
                    -(
                        ((1.0 - label_smoothing) * target_value + label_smoothing / tl.cast(K, ACC))
                        * grad_output_value
                        * weight_value
                    )
                    - tl.exp(input_value - log_probability_sum_shift)
                    * grad_log_probability_sum_sum
                    / log_probability_sum_shifted,
                    mask=live_row & live_column,
                )
            if grad_target_ptr is not None:
                tl.store(
                    grad_target_ptr + n * grad_target_stride_n + j * grad_target_stride_k + m * grad_target_stride_m,
                    -(
                        (input_value - tl.log(log_probability_sum_shifted) - log_probability_sum_shift)
                        * (1.0 - label_smoothing)
                        * grad_output_value
                        * weight_value
                    ),
                    mask=live_row & live_column,
                )


cross_entropy_labels_mean_RESIDUALS = 1


def cross_entropy_labels_mean_forward(
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None,
    *,
    ignore_index: int,
    label_smoothing: float,
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
        return _cross_entropy_labels_mean_saving(
            input, target, weight, ignore_index=ignore_index, label_smoothing=label_smoothing, skipped=skipped
        )
    N = input.shape[0]
    K = input.shape[1]
    M = input.shape[2]
    how = launching.prepare(input)
    kept_sum = launching.empty((N, M), how.accumulator, how)
    loss_sum_2 = launching.empty((N, M), how.accumulator, how)
    loss_sum = launching.empty((N, M), how.accumulator, how)
    launching.run(
        cross_entropy_labels_mean_kept_sum,
        how,
        schedule.rows(N * M, K, input.stride(2) == 1, how.accumulator),
        (
            input,
            target,
            weight,
            loss_sum,
            loss_sum_2,
            kept_sum,
            *input.stride(),
            *target.stride(),
            0 if weight is None else weight.stride(0),
            *loss_sum.stride(),
            *loss_sum_2.stride(),
            *kept_sum.stride(),
            K,
            M,
            N,
        ),
        {},
    )
    output = launching.empty((), input.dtype, how)
    launching.run(
        cross_entropy_labels_mean_output,
        how,
        schedule.rows(1, N * M, False, how.accumulator),
        (
            target,
            loss_sum,
            loss_sum_2,
            kept_sum,
            output,
            *target.stride(),
            *loss_sum.stride(),
            *loss_sum_2.stride(),
            *kept_sum.stride(),
            K,
            M,
            N,
        ),
        {"ignore_index": ignore_index, "label_smoothing": label_smoothing},
    )
    return (output,)


def _cross_entropy_labels_mean_saving(
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None,
    *,
    ignore_index: int,
    label_smoothing: float,
    skipped: tuple[str, ...],
) -> tuple[torch.Tensor | None, ...]:
    N = input.shape[0]
    K = input.shape[1]
    M = input.shape[2]
    how = launching.prepare(input)
    kept_sum = launching.empty((N, M), how.accumulator, how)
    loss_sum_2 = launching.empty((N, M), how.accumulator, how)
    loss_sum = launching.empty((N, M), how.accumulator, how)
    launching.run(
        cross_entropy_labels_mean_kept_sum,
        how,
        schedule.rows(N * M, K, input.stride(2) == 1, how.accumulator),
        (
            input,
            target,
            weight,
            loss_sum,
            loss_sum_2,
            kept_sum,
            *input.stride(),
            *target.stride(),
            0 if weight is None else weight.stride(0),
            *loss_sum.stride(),
            *loss_sum_2.stride(),
            *kept_sum.stride(),
            K,
            M,
            N,
        ),
        {},
    )
    output_sum = launching.empty((), how.accumulator, how)
    output = launching.empty((), input.dtype, how)
    launching.run(
        cross_entropy_labels_mean_output_sum,
        how,
        schedule.rows(1, N * M, False, how.accumulator),
        (
            target,
            loss_sum,
            loss_sum_2,
            kept_sum,
            output_sum,
            output,
            *target.stride(),
            *loss_sum.stride(),
            *loss_sum_2.stride(),
            *kept_sum.stride(),
            K,
            M,
            N,
        ),
        {"ignore_index": ignore_index, "label_smoothing": label_smoothing},
    )
    return (output, output_sum)


def cross_entropy_labels_mean_backward(
    grad_output: torch.Tensor,
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None,
    output_sum: torch.Tensor,
    *,
    ignore_index: int,
    label_smoothing: float,
    wanted: tuple[bool, ...],
) -> tuple[torch.Tensor | None, ...]:
    """Run the backward kernels that the wanted gradients need.

    Returns:
        grad_input, None; None where not wanted.
    """
    N = input.shape[0]
    K = input.shape[1]
    M = input.shape[2]
    how = launching.prepare(input)
    grad_input = launching.gradient_like(input)
    launching.run(
        cross_entropy_labels_mean_grad_input,
        how,
        schedule.rows(N * M, K, input.stride(2) == 1, how.accumulator),
        (
            input,
            target,
            weight,
            grad_output,
            output_sum,
            grad_input,
            *input.stride(),
            *target.stride(),
            0 if weight is None else weight.stride(0),
            *grad_input.stride(),
            K,
            M,
            N,
        ),
        {"ignore_index": ignore_index, "label_smoothing": label_smoothing},
    )
    return (grad_input, None)


cross_entropy_labels_sum_RESIDUALS = 0


def cross_entropy_labels_sum_forward(
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None,
    *,
    ignore_index: int,
    label_smoothing: float,
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
    K = input.shape[1]
    M = input.shape[2]
    how = launching.prepare(input)
    loss_sum_2 = launching.empty((N, M), how.accumulator, how)
    loss_sum = launching.empty((N, M), how.accumulator, how)
    launching.run(
        cross_entropy_labels_sum_loss_sum_2,
        how,
        schedule.rows(N * M, K, input.stride(2) == 1, how.accumulator),
        (
            input,
            target,
            weight,
            loss_sum,
            loss_sum_2,
            *input.stride(),
            *target.stride(),
            0 if weight is None else weight.stride(0),
            *loss_sum.stride(),
            *loss_sum_2.stride(),
            K,
            M,
            N,
        ),
        {},
    )
    output = launching.empty((), input.dtype, how)
    launching.run(
        cross_entropy_labels_sum_output,
        how,
        schedule.rows(1, N * M, False, how.accumulator),
        (target, loss_sum, loss_sum_2, output, *target.stride(), *loss_sum.stride(), *loss_sum_2.stride(), K, M, N),
        {"ignore_index": ignore_index, "label_smoothing": label_smoothing},
    )
    return (output,)


def cross_entropy_labels_sum_backward(
    grad_output: torch.Tensor,
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None,
    *,
    ignore_index: int,
    label_smoothing: float,
    wanted: tuple[bool, ...],
) -> tuple[torch.Tensor | None, ...]:
    """Run the backward kernels that the wanted gradients need.

    Returns:
        grad_input, None; None where not wanted.
    """
    N = input.shape[0]
    K = input.shape[1]
    M = input.shape[2]
    how = launching.prepare(input)
    grad_input = launching.gradient_like(input)
    launching.run(
        cross_entropy_labels_sum_grad_input,
        how,
        schedule.rows(N * M, K, input.stride(2) == 1, how.accumulator),
        (
            input,
            target,
            weight,
            grad_output,
            grad_input,
            *input.stride(),
            *target.stride(),
            0 if weight is None else weight.stride(0),
            *grad_input.stride(),
            K,
            M,
            N,
        ),
        {"ignore_index": ignore_index, "label_smoothing": label_smoothing},
    )
    return (grad_input, None)


cross_entropy_labels_none_RESIDUALS = 0


def cross_entropy_labels_none_forward(
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None,
    *,
    ignore_index: int,
    label_smoothing: float,
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
    K = input.shape[1]
    M = input.shape[2]
    how = launching.prepare(input)
    output = launching.empty((N, M), input.dtype, how)
    launching.run(
        cross_entropy_labels_none_output,
        how,
        schedule.rows(N * M, K, input.stride(2) == 1, how.accumulator),
        (
            input,
            target,
            weight,
            output,
            *input.stride(),
            *target.stride(),
            0 if weight is None else weight.stride(0),
            *output.stride(),
            K,
            M,
            N,
        ),
        {"ignore_index": ignore_index, "label_smoothing": label_smoothing},
    )
    return (output,)


def cross_entropy_labels_none_backward(
    grad_output: torch.Tensor,
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None,
    *,
    ignore_index: int,
    label_smoothing: float,
    wanted: tuple[bool, ...],
) -> tuple[torch.Tensor | None, ...]:
    """Run the backward kernels that the wanted gradients need.

    Returns:
        grad_input, None; None where not wanted.
    """
    N = input.shape[0]
    K = input.shape[1]
    M = input.shape[2]
    how = launching.prepare(input)
    grad_input = launching.gradient_like(input)
    launching.run(
        cross_entropy_labels_none_grad_input,
        how,
        schedule.rows(N * M, K, input.stride(2) == 1, how.accumulator),
        (
            input,
            target,
            weight,
            grad_output,
            grad_input,
            *input.stride(),
            *target.stride(),
            0 if weight is None else weight.stride(0),
            *grad_output.stride(),
            *grad_input.stride(),
            K,
            M,
            N,
        ),
        {"ignore_index": ignore_index, "label_smoothing": label_smoothing},
    )
    return (grad_input, None)


cross_entropy_probabilities_mean_RESIDUALS = 0


def cross_entropy_probabilities_mean_forward(
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None,
    *,
    label_smoothing: float,
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
    K = input.shape[1]
    M = input.shape[2]
    how = launching.prepare(input)
    loss_sum = launching.empty((N, M), how.accumulator, how)
    launching.run(
        cross_entropy_probabilities_mean_loss_sum,
        how,
        schedule.rows(N * M, K, input.stride(2) == 1, how.accumulator),
        (
            input,
            target,
            weight,
            loss_sum,
            *input.stride(),
            *target.stride(),
            0 if weight is None else weight.stride(0),
            *loss_sum.stride(),
            K,
            M,
            N,
        ),
        {"label_smoothing": label_smoothing},
    )
    output = launching.empty((), input.dtype, how)
    launching.run(
        cross_entropy_probabilities_mean_output,
        how,
        schedule.rows(1, N * M, False, how.accumulator),
        (loss_sum, output, *loss_sum.stride(), M, N),
        {},
    )
    return (output,)


def cross_entropy_probabilities_mean_backward(
    grad_output: torch.Tensor,
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None,
    *,
    label_smoothing: float,
    wanted: tuple[bool, ...],
) -> tuple[torch.Tensor | None, ...]:
    """Run the backward kernels that the wanted gradients need.

    Returns:
        grad_input, grad_target; None where not wanted.
    """
    N = input.shape[0]
    K = input.shape[1]
    M = input.shape[2]
    how = launching.prepare(input)
    grad_input = launching.gradient_like(input) if wanted[0] else None
    grad_target = launching.gradient_like(target) if wanted[1] else None
    launching.run(
        cross_entropy_probabilities_mean_grad_input,
        how,
        schedule.rows(N * M, K, input.stride(2) == 1, how.accumulator),
        (
            input,
            target,
            weight,
            grad_output,
            grad_input,
            grad_target,
            *input.stride(),
            *target.stride(),
            0 if weight is None else weight.stride(0),
            0 if grad_input is None else grad_input.stride(0),
            0 if grad_input is None else grad_input.stride(1),
            0 if grad_input is None else grad_input.stride(2),
            0 if grad_target is None else grad_target.stride(0),
            0 if grad_target is None else grad_target.stride(1),
            0 if grad_target is None else grad_target.stride(2),
            K,
            M,
            N,
        ),
        {"label_smoothing": label_smoothing},
    )
    return (grad_input, grad_target)


cross_entropy_probabilities_sum_RESIDUALS = 0


def cross_entropy_probabilities_sum_forward(
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None,
    *,
    label_smoothing: float,
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
    K = input.shape[1]
    M = input.shape[2]
    how = launching.prepare(input)
    loss_sum = launching.empty((N, M), how.accumulator, how)
    launching.run(
        cross_entropy_probabilities_mean_loss_sum,
        how,
        schedule.rows(N * M, K, input.stride(2) == 1, how.accumulator),
        (
            input,
            target,
            weight,
            loss_sum,
            *input.stride(),
            *target.stride(),
            0 if weight is None else weight.stride(0),
            *loss_sum.stride(),
            K,
            M,
            N,
        ),
        {"label_smoothing": label_smoothing},
    )
    output = launching.empty((), input.dtype, how)
    launching.run(
        cross_entropy_probabilities_sum_output,
        how,
        schedule.rows(1, N * M, False, how.accumulator),
        (loss_sum, output, *loss_sum.stride(), M, N),
        {},
    )
    return (output,)


def cross_entropy_probabilities_sum_backward(
    grad_output: torch.Tensor,
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None,
    *,
    label_smoothing: float,
    wanted: tuple[bool, ...],
) -> tuple[torch.Tensor | None, ...]:
    """Run the backward kernels that the wanted gradients need.

    Returns:
        grad_input, grad_target; None where not wanted.
    """
    N = input.shape[0]
    K = input.shape[1]
    M = input.shape[2]
    how = launching.prepare(input)
    grad_input = launching.gradient_like(input) if wanted[0] else None
    grad_target = launching.gradient_like(target) if wanted[1] else None
    launching.run(
        cross_entropy_probabilities_sum_grad_input,
        how,
        schedule.rows(N * M, K, input.stride(2) == 1, how.accumulator),
        (
            input,
            target,
            weight,
            grad_output,
            grad_input,
            grad_target,
            *input.stride(),
            *target.stride(),
            0 if weight is None else weight.stride(0),
            0 if grad_input is None else grad_input.stride(0),
            0 if grad_input is None else grad_input.stride(1),
            0 if grad_input is None else grad_input.stride(2),
            0 if grad_target is None else grad_target.stride(0),
            0 if grad_target is None else grad_target.stride(1),
            0 if grad_target is None else grad_target.stride(2),
            K,
            M,
            N,
        ),
        {"label_smoothing": label_smoothing},
    )
    return (grad_input, grad_target)


cross_entropy_probabilities_none_RESIDUALS = 0


def cross_entropy_probabilities_none_forward(
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None,
    *,
    label_smoothing: float,
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
    K = input.shape[1]
    M = input.shape[2]
    how = launching.prepare(input)
    output = launching.empty((N, M), input.dtype, how)
    launching.run(
        cross_entropy_probabilities_none_output,
        how,
        schedule.rows(N * M, K, input.stride(2) == 1, how.accumulator),
        (
            input,
            target,
            weight,
            output,
            *input.stride(),
            *target.stride(),
            0 if weight is None else weight.stride(0),
            *output.stride(),
            K,
            M,
            N,
        ),
        {"label_smoothing": label_smoothing},
    )
    return (output,)


def cross_entropy_probabilities_none_backward(
    grad_output: torch.Tensor,
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None,
    *,
    label_smoothing: float,
    wanted: tuple[bool, ...],
) -> tuple[torch.Tensor | None, ...]:
    """Run the backward kernels that the wanted gradients need.

    Returns:
        grad_input, grad_target; None where not wanted.
    """
    N = input.shape[0]
    K = input.shape[1]
    M = input.shape[2]
    how = launching.prepare(input)
    grad_input = launching.gradient_like(input) if wanted[0] else None
    grad_target = launching.gradient_like(target) if wanted[1] else None
    launching.run(
        cross_entropy_probabilities_none_grad_input,
        how,
        schedule.rows(N * M, K, input.stride(2) == 1, how.accumulator),
        (
            input,
            target,
            weight,
            grad_output,
            grad_input,
            grad_target,
            *input.stride(),
            *target.stride(),
            0 if weight is None else weight.stride(0),
            *grad_output.stride(),
            0 if grad_input is None else grad_input.stride(0),
            0 if grad_input is None else grad_input.stride(1),
            0 if grad_input is None else grad_input.stride(2),
            0 if grad_target is None else grad_target.stride(0),
            0 if grad_target is None else grad_target.stride(1),
            0 if grad_target is None else grad_target.stride(2),
            K,
            M,
            N,
        ),
        {"label_smoothing": label_smoothing},
    )
    return (grad_input, grad_target)
