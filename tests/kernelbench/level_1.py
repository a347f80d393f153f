"""KernelBench's level 1: single operations. Names are KernelBench's; shapes are small, and their sides differ."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .problem import Drawn, Problem, Shape, labels, mask, positive, state

__all__ = ["PROBLEMS"]

MAPS = (3, 4, 5, 2)
OVER = {"dim": 1}


def _layer(
    number: int, name: str, function: str, *shapes: Shape | Drawn, torch_has: str = "", **settings: Any
) -> Problem:
    """A layer of the library, which has torch's arguments."""
    theirs = partial(getattr(functional, torch_has or function), **settings)
    return Problem(number, name, function, theirs, shapes, settings)


def _formula(
    number: int, name: str, function: str, theirs: Callable[..., Tensor], *shapes: Shape | Drawn, **settings: Any
) -> Problem:
    """A formula of ``examples/kernelbench``."""
    return Problem(number, name, function, theirs, shapes, settings, own=True)


def _product(number: int, name: str, left: Shape, right: Shape) -> Problem:
    return _formula(number, name, "product", torch.matmul, left, right)


def _transposed(number: int, name: str, image: Shape, weight: Shape, **windows: int | Shape) -> Problem:
    return _layer(number, name, f"conv_transpose{len(image) - 2}d", image, weight, **windows)


def _scaled(number: int, name: str, function: str, over: Any, image: Shape, scale: Shape, **settings: Any) -> Problem:
    """A normalization with weight and bias, ``over`` groups or a shape."""
    torchs = getattr(functional, function)
    names = ("input", "weight", "bias")
    return Problem(
        number, name, function, lambda x, w, b: torchs(x, over, w, b), (image, scale, scale), settings, names=names
    )


def _depthwise(number: int, name: str, image: Shape, weight: Shape, **windows: int | Shape) -> Problem:
    return _layer(number, name, "conv2d", image, weight, groups=image[1], **windows)


def _hinge(scores: Tensor, targets: Tensor) -> Tensor:
    return (1 - scores * targets).clamp(min=0).mean()


def _divergence(probabilities: Tensor, targets: Tensor) -> Tensor:
    return functional.kl_div(probabilities.log(), targets, reduction="batchmean")


def _separable(image: Tensor, depthwise: Tensor, pointwise: Tensor) -> Tensor:
    maps = functional.conv2d(image, depthwise.unsqueeze(1), stride=2, padding=1, groups=image.shape[1])
    return functional.conv2d(maps, pointwise[:, :, None, None])


def _exclusive(values: Tensor) -> Tensor:
    return values.cumsum(1) - values


PRODUCTS = (
    _product(1, "Square_matrix_multiplication_", (7, 7), (7, 7)),
    _product(2, "Standard_matrix_multiplication_", (5, 9), (9, 4)),
    _formula(3, "Batched_matrix_multiplication", "products", torch.bmm, (2, 3, 5), (2, 5, 4)),
    _product(4, "Matrix_vector_multiplication_", (6, 17), (17, 1)),
    _formula(5, "Matrix_scalar_multiplication", "scaled", lambda a: a * 3.25, (5, 7), scale=3.25),
    _product(6, "Matmul_with_large_K_dimension_", (3, 70), (70, 5)),
    _product(7, "Matmul_with_small_K_dimension_", (11, 2), (2, 9)),
    _product(8, "Matmul_with_irregular_shapes_", (13, 11), (11, 7)),
    _product(9, "Tall_skinny_matrix_multiplication_", (23, 3), (3, 19)),
    _product(10, "3D_tensor_matrix_multiplication", (2, 5, 7), (7, 3)),
    _product(11, "4D_tensor_matrix_multiplication", (2, 3, 4, 7), (7, 5)),
    _formula(12, "Matmul_with_diagonal_matrices_", "diagonal_product", lambda a, b: a[:, None] * b, (5,), (5, 7)),
    _product(13, "Matmul_for_symmetric_matrices", (6, 6), (6, 6)),
    _formula(
        14,
        "Matmul_for_upper_triangular_matrices",
        "upper_product",
        lambda a, b: torch.triu(a @ b),
        (7, 7),
        (7, 7),
    ),
    _formula(
        15,
        "Matmul_for_lower_triangular_matrices",
        "lower_product",
        lambda a, b: torch.tril(a @ b),
        (7, 7),
        (7, 7),
    ),
    _formula(16, "Matmul_with_transposed_A", "first_transposed", lambda a, b: a.T @ b, (9, 5), (9, 4)),
    _layer(17, "Matmul_with_transposed_B", "linear", (5, 9), (4, 9)),
    _formula(18, "Matmul_with_transposed_both", "both_transposed", lambda a, b: a.T @ b.T, (9, 5), (4, 9)),
)

ACTIVATIONS = (
    _layer(19, "ReLU", "relu", MAPS),
    _layer(20, "LeakyReLU", "leaky_relu", MAPS, negative_slope=0.01),
    _layer(21, "Sigmoid", "sigmoid", MAPS),
    _layer(22, "Tanh", "tanh", MAPS),
    _layer(23, "Softmax", "softmax", (3, 7), **OVER),
    _layer(24, "LogSoftmax", "log_softmax", (3, 7), **OVER),
    _layer(25, "Swish", "silu", MAPS),
    _layer(26, "GELU_", "gelu", MAPS),
    _layer(27, "SELU_", "selu", MAPS),
    _layer(28, "HardSigmoid", "hardsigmoid", MAPS),
    _layer(29, "Softplus", "softplus", MAPS),
    _layer(30, "Softsign", "softsign", MAPS),
    _layer(31, "ELU", "elu", MAPS, alpha=1.0),
    _layer(32, "HardTanh", "hardtanh", MAPS, min_val=-1.0, max_val=1.0),
    _layer(88, "MinGPTNewGelu", "gelu", MAPS, approximate="tanh"),
)

NORMALIZATIONS = (
    _layer(33, "BatchNorm", "batch_norm", MAPS, state(4), state(4), (4,), (4,), training=True),
    _layer(34, "InstanceNorm", "instance_norm", MAPS),
    _scaled(35, "GroupNorm_", "group_norm", 2, (3, 6, 5, 2), (6,), num_groups=2),
    _formula(
        36,
        "RMSNorm_",
        "rms_norm",
        lambda x: x / (x.square().mean(1, keepdim=True) + 1e-5).sqrt(),
        MAPS,
        **OVER,
    ),
    _formula(37, "FrobeniusNorm_", "frobenius_norm", lambda x: x / torch.norm(x, p="fro"), MAPS),
    _formula(38, "L1Norm_", "l1_norm", lambda x: x / x.abs().mean(1, keepdim=True), (3, 7), **OVER),
    _formula(39, "L2Norm_", "l2_norm", lambda x: x / x.norm(p=2, dim=1, keepdim=True), (3, 7), **OVER),
    _scaled(40, "LayerNorm", "layer_norm", (4, 5, 2), MAPS, (4, 5, 2), normalized_shape=(4, 5, 2)),
)

REDUCTIONS = (
    _layer(41, "Max_Pooling_1D", "max_pool1d", (2, 3, 17), kernel_size=3, stride=2, padding=1, dilation=2),
    _layer(42, "Max_Pooling_2D", "max_pool2d", (2, 3, 9, 7), kernel_size=3, stride=2, padding=1, dilation=1),
    _layer(43, "Max_Pooling_3D", "max_pool3d", (2, 3, 7, 9, 8), kernel_size=3, stride=2, padding=1, dilation=2),
    _layer(44, "Average_Pooling_1D", "avg_pool1d", (2, 3, 17), kernel_size=4, stride=1, padding=1),
    _layer(45, "Average_Pooling_2D", "avg_pool2d", (2, 3, 9, 7), kernel_size=3),
    _layer(46, "Average_Pooling_3D", "avg_pool3d", (2, 3, 5, 7, 6), kernel_size=3, stride=2, padding=1),
    _formula(47, "Sum_reduction_over_a_dimension", "total", lambda x: x.sum(1), (3, 7, 5), **OVER),
    _formula(48, "Mean_reduction_over_a_dimension", "mean", lambda x: x.mean(1), (3, 7, 5), **OVER),
    _formula(49, "Max_reduction_over_a_dimension", "largest", lambda x: x.max(1).values, (3, 7, 5), **OVER),
    _formula(51, "Argmax_over_a_dimension", "place_of_largest", lambda x: x.argmax(1), (3, 7, 5), **OVER),
    _formula(52, "Argmin_over_a_dimension", "place_of_smallest", lambda x: x.argmin(1), (3, 7, 5), **OVER),
    _formula(53, "Min_reduction_over_a_dimension", "smallest", lambda x: x.min(1).values, (3, 7, 5), **OVER),
)

CONVOLUTIONS = (
    _layer(
        50,
        "conv_standard_2D__square_input__square_kernel",
        "conv2d",
        (2, 3, 23, 23),
        (5, 3, 11, 11),
        (5,),
        stride=4,
        padding=2,
    ),
    _layer(54, "conv_standard_3D__square_input__square_kernel", "conv3d", (2, 3, 6, 6, 6), (4, 3, 3, 3, 3)),
    _layer(55, "conv_standard_2D__asymmetric_input__square_kernel", "conv2d", (2, 3, 6, 9), (4, 3, 3, 3)),
    _layer(56, "conv_standard_2D__asymmetric_input__asymmetric_kernel", "conv2d", (2, 3, 9, 8), (4, 3, 5, 2)),
    _transposed(57, "conv_transposed_2D__square_input__square_kernel", (2, 3, 6, 6), (3, 4, 3, 3)),
    _transposed(58, "conv_transposed_3D__asymmetric_input__asymmetric_kernel", (2, 3, 3, 4, 5), (3, 4, 3, 2, 4)),
    _layer(59, "conv_standard_3D__asymmetric_input__square_kernel", "conv3d", (2, 3, 6, 5, 4), (4, 3, 3, 3, 1)),
    _layer(60, "conv_standard_3D__square_input__asymmetric_kernel", "conv3d", (2, 3, 7, 7, 7), (4, 3, 3, 5, 2)),
    _transposed(61, "conv_transposed_3D__square_input__square_kernel", (2, 3, 4, 4, 4), (3, 5, 3, 3, 3)),
    _layer(62, "conv_standard_2D__square_input__asymmetric_kernel", "conv2d", (2, 3, 9, 9), (4, 3, 5, 3)),
    _layer(63, "conv_standard_2D__square_input__square_kernel", "conv2d", (2, 5, 8, 8), (4, 5, 3, 3)),
    _transposed(64, "conv_transposed_1D", (2, 3, 9), (3, 4, 3)),
    _transposed(65, "conv_transposed_2D__square_input__asymmetric_kernel", (2, 3, 6, 6), (3, 4, 3, 5)),
    _layer(66, "conv_standard_3D__asymmetric_input__asymmetric_kernel", "conv3d", (2, 3, 5, 8, 9), (4, 3, 3, 5, 2)),
    _layer(67, "conv_standard_1D", "conv1d", (2, 3, 11), (4, 3, 3)),
    _transposed(68, "conv_transposed_3D__square_input__asymmetric_kernel", (2, 3, 4, 4, 4), (3, 2, 3, 5, 2)),
    _transposed(69, "conv_transposed_2D__asymmetric_input__asymmetric_kernel", (2, 3, 4, 6), (3, 5, 3, 2)),
    _transposed(70, "conv_transposed_3D__asymmetric_input__square_kernel", (2, 3, 3, 5, 4), (3, 2, 3, 3, 3)),
    _transposed(71, "conv_transposed_2D__asymmetric_input__square_kernel", (2, 5, 4, 7), (5, 3, 3, 3)),
    _transposed(
        72,
        "conv_transposed_3D_asymmetric_input_asymmetric_kernel___strided_padded_grouped_",
        (2, 6, 3, 4, 5),
        (6, 2, 3, 2, 4),
        stride=2,
        padding=(1, 0, 2),
        output_padding=1,
        groups=3,
    ),
    _transposed(
        73,
        "conv_transposed_3D_asymmetric_input_square_kernel__strided_padded__grouped",
        (2, 6, 3, 4, 2),
        (6, 2, 3, 3, 3),
        stride=2,
        padding=1,
        groups=2,
    ),
    _transposed(74, "conv_transposed_1D_dilated", (2, 3, 9), (3, 4, 5), dilation=3),
    _transposed(
        75,
        "conv_transposed_2D_asymmetric_input_asymmetric_kernel_strided__grouped____padded____dilated__",
        (2, 6, 4, 5),
        (6, 2, 3, 5),
        stride=(2, 3),
        padding=(1, 2),
        dilation=(2, 1),
        groups=2,
    ),
    _layer(76, "conv_standard_1D_dilated_strided__", "conv1d", (2, 3, 19), (4, 3, 3), stride=3, dilation=4),
    _transposed(
        77,
        "conv_transposed_3D_square_input_square_kernel___padded____dilated____strided__",
        (2, 3, 3, 3, 3),
        (3, 4, 3, 3, 3),
        stride=2,
        padding=1,
        dilation=2,
    ),
    _transposed(
        78,
        "conv_transposed_2D_asymmetric_input_asymmetric_kernel___padded__",
        (2, 3, 4, 7),
        (3, 4, 3, 5),
        padding=(1, 2),
    ),
    _transposed(
        79,
        "conv_transposed_1D_asymmetric_input_square_kernel___padded____strided____dilated__",
        (2, 3, 7),
        (3, 5, 3),
        stride=2,
        padding=1,
        dilation=2,
    ),
    _layer(
        80,
        "conv_standard_2D_square_input_asymmetric_kernel___dilated____padded__",
        "conv2d",
        (2, 3, 9, 9),
        (4, 3, 5, 3),
        padding=(2, 4),
        dilation=(2, 3),
    ),
    _transposed(
        81,
        "conv_transposed_2D_asymmetric_input_square_kernel___dilated____padded____strided__",
        (2, 3, 4, 6),
        (3, 5, 3, 3),
        stride=5,
        padding=1,
        dilation=2,
    ),
    _depthwise(82, "conv_depthwise_2D_square_input_square_kernel", (2, 5, 8, 8), (5, 1, 3, 3)),
    _depthwise(83, "conv_depthwise_2D_square_input_asymmetric_kernel", (2, 5, 8, 8), (5, 1, 3, 1)),
    _depthwise(84, "conv_depthwise_2D_asymmetric_input_square_kernel", (2, 3, 7, 9), (6, 1, 3, 3)),
    _depthwise(85, "conv_depthwise_2D_asymmetric_input_asymmetric_kernel", (2, 5, 7, 9), (5, 1, 3, 4), padding=(0, 1)),
    _formula(
        86,
        "conv_depthwise_separable_2D",
        "separable_conv2d",
        _separable,
        (2, 3, 7, 9),
        (3, 2, 3),
        (5, 3),
        stride=2,
        padding=1,
    ),
    _layer(87, "conv_pointwise_2D", "conv2d", (2, 5, 7, 9), (4, 5, 1, 1)),
)

SCANS = (
    _formula(89, "cumsum", "cumsum", lambda x: x.cumsum(1), (3, 7), **OVER),
    _formula(90, "cumprod", "cumprod", lambda x: x.cumprod(1), positive(3, 7), **OVER),
    _formula(91, "cumsum_reverse", "reverse_cumsum", lambda x: x.flip(1).cumsum(1).flip(1), (3, 7), **OVER),
    _formula(92, "cumsum_exclusive", "exclusive_cumsum", _exclusive, (3, 7), **OVER),
    _formula(93, "masked_cumsum", "masked_cumsum", lambda x, m: (x * m).cumsum(1), (3, 7), mask(3, 7), **OVER),
)

LOSSES = (
    _formula(94, "MSELoss", "mse_loss", functional.mse_loss, (3, 7), (3, 7)),
    _layer(95, "CrossEntropyLoss", "cross_entropy", (5, 7), labels(5, below=7)),
    _formula(96, "HuberLoss", "smooth_l1_loss", functional.smooth_l1_loss, (3, 7), (3, 7)),
    _formula(
        97,
        "ScaledDotProductAttention",
        "attention",
        functional.scaled_dot_product_attention,
        (2, 3, 5, 4),
        (2, 3, 7, 4),
        (2, 3, 7, 6),
    ),
    _formula(98, "KLDivLoss", "kl_loss", _divergence, positive(3, 7), positive(3, 7)),
    _formula(99, "TripletMarginLoss", "triplet_margin_loss", functional.triplet_margin_loss, (3, 7), (3, 7), (3, 7)),
    _formula(100, "HingeLoss", "hinge_loss", _hinge, (3, 7), (7,)),
)

PROBLEMS = tuple(
    sorted(
        (*PRODUCTS, *ACTIVATIONS, *NORMALIZATIONS, *REDUCTIONS, *CONVOLUTIONS, *SCANS, *LOSSES),
        key=lambda problem: problem.number,
    )
)
"""All of the level, by number."""
