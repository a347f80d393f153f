"""KernelBench's level 2, the first half: chains of operations, at shapes of this project."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional

from .chain import Chain, Step
from .problem import Drawn, Shape, state

__all__ = ["CHAINS"]

IMAGE, VOLUME, FEATURES = (2, 3, 7, 9), (2, 3, 5, 7, 6), (5, 7)
SMALL_IMAGE, SMALL_VOLUME = (2, 3, 4, 5), (2, 3, 3, 4, 2)
CHANNELS = 6


def _over_channels(numbers: Tensor, like: Tensor) -> Tensor:
    """A number for every channel, as a tensor that torch spreads over maps."""
    return numbers.view(-1, *[1] * (like.dim() - 2))


THEIRS: dict[str, Callable[..., Tensor]] = {
    "add": lambda x, other: x + other,
    "add_multiply": lambda x, other: (x + other) * other,
    "add_one": lambda x, one: x + one,
    "at_most": lambda x, amount: x.clamp(max=amount),
    "channel_add": lambda x, shift: x + _over_channels(shift, x),
    "channel_logsumexp": lambda x: x.logsumexp(1),
    "channel_min": lambda x: x.min(1).values,
    "channel_scale": lambda x, scale: x * _over_channels(scale, x),
    "channel_softmax": lambda x: x.softmax(1),
    "channel_subtract": lambda x, shift: x - _over_channels(shift, x),
    "channel_sum": lambda x: x.sum(1),
    "depth_mean": lambda x: x.mean(2),
    "depth_min": lambda x: x.min(2).values,
    "example_mean": lambda x: x.flatten(1).mean(1),
    "feature_norm": lambda x: functional.layer_norm(x, x.shape[1:]),
    "gemm": functional.linear,
    "place_mean": lambda x: x.flatten(2).mean(2),
    "place_softmax": lambda x: x.flatten(2).softmax(2).view_as(x),
    "row_sum": lambda x: x.sum(1),
    "scale_by_one": lambda x, one: x * one,
    "scaled": lambda x, scale: x * scale,
    "shifted": lambda x, amount: x + amount,
    "times_hardswish": lambda x: x * functional.hardswish(x),
    "times_mish": lambda x: x * functional.mish(x),
    "without_mean": lambda x: x - x.flatten(2).mean(2)[(..., *[None] * (x.dim() - 2))],
}
"""What torch computes for a step that it has no function of the same name for."""


def _step(function: str, *, of: Mapping[str, Shape | Drawn] | None = None, **settings: Any) -> Step:
    return Step(function, of or {}, settings, THEIRS.get(function))


def _conv(rank: int, **windows: int) -> Step:
    return _step(f"conv{rank}d", of={"weight": (CHANNELS, 3, *(3, 2, 3)[:rank]), "bias": (CHANNELS,)}, **windows)


def _transposed(rank: int, *kernel: int, **windows: int) -> Step:
    weight = (3, CHANNELS, *(kernel or (3, 2, 3)[:rank]))
    return _step(f"conv_transpose{rank}d", of={"weight": weight, "bias": (CHANNELS,)}, **windows)


def _scaled(by: float) -> Step:
    return _step("scaled", scale=by)


def _shifted(by: float) -> Step:
    return _step("shifted", amount=by)


def _clamped(low: float, high: float) -> Step:
    return _step("hardtanh", min_val=low, max_val=high)


def _group_norm(groups: int) -> Step:
    return _step("group_norm", of={"weight": (CHANNELS,), "bias": (CHANNELS,)}, num_groups=groups)


def _pool(function: str) -> Step:
    return _step(function, kernel_size=2)


CHANNEL_ADD = _step("channel_add", of={"shift": (CHANNELS,)})
CHANNEL_SUBTRACT = _step("channel_subtract", of={"shift": (CHANNELS,)})
CHANNEL_SCALE = _step("channel_scale", of={"scale": (CHANNELS,)})
GEMM = _step("gemm", of={"weight": (CHANNELS, FEATURES[1]), "bias": (CHANNELS,)})
RELU, GELU, MISH, TANH, SIGMOID = map(_step, ("relu", "gelu", "mish", "tanh", "sigmoid"))
HARDSWISH, SILU, LEAKY = _step("hardswish"), _step("silu"), _step("leaky_relu", negative_slope=0.125)
SUM, LEAST, LOG, SOFTMAX = map(_step, ("channel_sum", "channel_min", "channel_logsumexp", "channel_softmax"))
MEAN = _step("place_mean")
ADD_ONE, SCALE_BY_ONE = _step("add_one", of={"one": ()}), _step("scale_by_one", of={"one": ()})
ESTIMATES = {"running_mean": state(CHANNELS), "running_var": state(CHANNELS)}
BATCH_NORM = _step("batch_norm", of={**ESTIMATES, "weight": (CHANNELS,), "bias": (CHANNELS,)}, training=True)

UP = {"stride": 2, "padding": 1}
ONCE = {"stride": 1, "padding": 1}


def _layer_norm(size: int) -> Step:
    return _step("layer_norm", of={"weight": (size,), "bias": (size,)}, normalized_shape=(size,))


def _chain(number: int, name: str, shape: Shape, *steps: Step) -> Chain:
    return Chain(number, name, shape, steps)


CHAINS = (
    _chain(1, "Conv2D_ReLU_BiasAdd", IMAGE, _conv(2), RELU, CHANNEL_ADD),
    _chain(
        2,
        "ConvTranspose2d_BiasAdd_Clamp_Scaling_Clamp_Divide",
        SMALL_IMAGE,
        _transposed(2, **UP, output_padding=1),
        CHANNEL_ADD,
        _clamped(0.0, 1.0),
        _scaled(2.0),
        _clamped(0.0, 1.0),
        _scaled(0.5),
    ),
    _chain(
        3,
        "ConvTranspose3d_Sum_LayerNorm_AvgPool_GELU",
        SMALL_VOLUME,
        _transposed(3, **UP, output_padding=1),
        ADD_ONE,
        _layer_norm(4),
        _pool("avg_pool3d"),
        GELU,
    ),
    _chain(4, "Conv2d_Mish_Mish", IMAGE, _conv(2), MISH, MISH),
    _chain(
        5,
        "ConvTranspose2d_Subtract_Tanh",
        SMALL_IMAGE,
        _transposed(2, 4, 4, **UP, output_padding=1),
        CHANNEL_SUBTRACT,
        TANH,
    ),
    _chain(
        6,
        "Conv3d_Softmax_MaxPool_MaxPool",
        (2, 3, 6, 8, 7),
        _conv(3),
        SOFTMAX,
        _pool("max_pool3d"),
        _pool("max_pool3d"),
    ),
    _chain(7, "Conv3d_ReLU_LeakyReLU_GELU_Sigmoid_BiasAdd", VOLUME, _conv(3), RELU, LEAKY, GELU, SIGMOID, CHANNEL_ADD),
    _chain(
        8,
        "Conv3d_Divide_Max_GlobalAvgPool_BiasAdd_Sum",
        VOLUME,
        _conv(3),
        _scaled(0.5),
        _pool("max_pool3d"),
        MEAN,
        CHANNEL_ADD,
        SUM,
    ),
    _chain(9, "Matmul_Subtract_Multiply_ReLU", FEATURES, GEMM, _shifted(-2.0), _scaled(1.5), RELU),
    _chain(
        10,
        "ConvTranspose2d_MaxPool_Hardtanh_Mean_Tanh",
        SMALL_IMAGE,
        _transposed(2, **ONCE),
        _pool("max_pool2d"),
        _clamped(-1.0, 1.0),
        MEAN,
        TANH,
    ),
    _chain(
        11,
        "ConvTranspose2d_BatchNorm_Tanh_MaxPool_GroupNorm",
        SMALL_IMAGE,
        _transposed(2, **ONCE),
        BATCH_NORM,
        TANH,
        _pool("max_pool2d"),
        _group_norm(2),
    ),
    _chain(12, "Gemm_Multiply_LeakyReLU", FEATURES, GEMM, _scaled(2.0), LEAKY),
    _chain(
        13,
        "ConvTranspose3d_Mean_Add_Softmax_Tanh_Scaling",
        SMALL_VOLUME,
        _transposed(3, **ONCE),
        _step("depth_mean"),
        CHANNEL_ADD,
        SOFTMAX,
        TANH,
        _scaled(2.0),
    ),
    _chain(14, "Gemm_Divide_Sum_Scaling", FEATURES, GEMM, _scaled(0.5), SUM, _scaled(1.5)),
    _chain(
        15, "ConvTranspose3d_BatchNorm_Subtract", SMALL_VOLUME, _transposed(3, **UP), BATCH_NORM, _step("without_mean")
    ),
    _chain(
        16,
        "ConvTranspose2d_Mish_Add_Hardtanh_Scaling",
        SMALL_IMAGE,
        _transposed(2, **UP, output_padding=1),
        MISH,
        _shifted(0.5),
        _clamped(-1.0, 1.0),
        _scaled(2.0),
    ),
    _chain(17, "Conv2d_InstanceNorm_Divide", IMAGE, _conv(2), _step("instance_norm"), _scaled(0.5)),
    _chain(18, "Matmul_Sum_Max_AvgPool_LogSumExp_LogSumExp", FEATURES, GEMM, SUM),
    _chain(19, "ConvTranspose2d_GELU_GroupNorm", SMALL_IMAGE, _transposed(2, **ONCE), GELU, _group_norm(2)),
    _chain(
        21, "Conv2d_Add_Scale_Sigmoid_GroupNorm", IMAGE, _conv(2), CHANNEL_ADD, CHANNEL_SCALE, SIGMOID, _group_norm(2)
    ),
    _chain(
        22,
        "Matmul_Scale_ResidualAdd_Clamp_LogSumExp_Mish",
        FEATURES,
        GEMM,
        _scaled(2.0),
        _scaled(2.0),
        _clamped(-10.0, 10.0),
        LOG,
        _step("times_mish"),
    ),
    _chain(23, "Conv3d_GroupNorm_Mean", VOLUME, _conv(3), _group_norm(2), _step("example_mean")),
    _chain(24, "Conv3d_Min_Softmax", VOLUME, _conv(3), _step("depth_min"), SOFTMAX),
    _chain(25, "Conv2d_Min_Tanh_Tanh", IMAGE, _conv(2), LEAST, TANH, TANH),
    _chain(
        26,
        "ConvTranspose3d_Add_HardSwish",
        SMALL_VOLUME,
        _transposed(3, **UP, output_padding=1),
        _step("add", of={"other": (2, CHANNELS, 6, 7, 4)}),
        _step("times_hardswish"),
    ),
    _chain(27, "Conv3d_HardSwish_GroupNorm_Mean", VOLUME, _conv(3), HARDSWISH, _group_norm(2), MEAN),
    _chain(
        28,
        "BMM_InstanceNorm_Sum_ResidualAdd_Multiply",
        FEATURES,
        GEMM,
        _step("feature_norm"),
        _step("add_multiply", of={"other": (FEATURES[0], CHANNELS)}),
    ),
    _chain(29, "Matmul_Mish_Mish", FEATURES, GEMM, MISH, MISH),
    _chain(30, "Gemm_GroupNorm_Hardtanh", FEATURES, GEMM, _group_norm(2), _clamped(-2.0, 2.0)),
    _chain(31, "Conv2d_Min_Add_Multiply", IMAGE, _conv(2), _step("at_most", amount=0.5), CHANNEL_ADD, _scaled(2.0)),
    _chain(32, "Conv2d_Scaling_Min", IMAGE, _conv(2), _scaled(2.0), LEAST),
    _chain(33, "Gemm_Scale_BatchNorm", FEATURES, GEMM, CHANNEL_SCALE, BATCH_NORM),
    _chain(
        34,
        "ConvTranspose3d_LayerNorm_GELU_Scaling",
        SMALL_VOLUME,
        _transposed(3, **UP),
        _layer_norm(3),
        GELU,
        _scaled(1.0),
    ),
    _chain(
        35,
        "Conv2d_Subtract_HardSwish_MaxPool_Mish",
        IMAGE,
        _conv(2),
        _shifted(-0.5),
        HARDSWISH,
        _pool("max_pool2d"),
        MISH,
    ),
    _chain(
        36,
        "ConvTranspose2d_Min_Sum_GELU_Add",
        SMALL_IMAGE,
        _transposed(2, **UP, output_padding=1),
        LEAST,
        _step("row_sum"),
        GELU,
        ADD_ONE,
    ),
    _chain(37, "Matmul_Swish_Sum_GroupNorm", FEATURES, GEMM, SILU, CHANNEL_ADD, _group_norm(2)),
    _chain(
        38,
        "ConvTranspose3d_AvgPool_Clamp_Softmax_Multiply",
        (2, 3, 4, 6, 5),
        _pool("avg_pool3d"),
        _transposed(3, **UP, output_padding=1),
        _clamped(0.0, 1.0),
        _step("place_softmax"),
        CHANNEL_SCALE,
    ),
    _chain(39, "Gemm_Scale_BatchNorm", FEATURES, GEMM, CHANNEL_SCALE, BATCH_NORM),
    _chain(
        42,
        "ConvTranspose2d_GlobalAvgPool_BiasAdd_LogSumExp_Sum_Multiply",
        SMALL_IMAGE,
        _transposed(2),
        MEAN,
        CHANNEL_ADD,
        LOG,
        _scaled(10.0),
    ),
    _chain(43, "Conv3d_Max_LogSumExp_ReLU", VOLUME, _conv(3, padding=1), _pool("max_pool3d"), LOG, RELU),
    _chain(
        44,
        "ConvTranspose2d_Multiply_GlobalAvgPool_GlobalAvgPool_Mean",
        SMALL_IMAGE,
        _transposed(2, **UP, output_padding=1),
        _scaled(0.5),
        MEAN,
    ),
    _chain(
        45,
        "Gemm_Sigmoid_LogSumExp",
        FEATURES,
        GEMM,
        SIGMOID,
        _step("gemm", of={"weight": (4, CHANNELS), "bias": (4,)}),
        LOG,
    ),
    _chain(
        46,
        "Conv2d_Subtract_Tanh_Subtract_AvgPool",
        IMAGE,
        _conv(2),
        _shifted(-0.5),
        TANH,
        _shifted(-0.25),
        _pool("avg_pool2d"),
    ),
    _chain(47, "Conv3d_Mish_Tanh", VOLUME, _conv(3), MISH, TANH),
    _chain(48, "Conv3d_Scaling_Tanh_Multiply_Sigmoid", VOLUME, _conv(3), CHANNEL_SCALE, TANH, CHANNEL_SCALE, SIGMOID),
    _chain(
        49,
        "ConvTranspose3d_Softmax_Sigmoid",
        SMALL_VOLUME,
        _transposed(3, **UP, output_padding=1),
        SOFTMAX,
        SIGMOID,
    ),
    _chain(
        50,
        "ConvTranspose3d_Scaling_AvgPool_BiasAdd_Scaling",
        SMALL_VOLUME,
        _transposed(3, **UP),
        SCALE_BY_ONE,
        _pool("avg_pool3d"),
        CHANNEL_ADD,
        SCALE_BY_ONE,
    ),
)
"""By number; 20, 40 and 41 are not among them, as the table says."""
