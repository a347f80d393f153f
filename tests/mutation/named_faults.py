"""Faults with a name: mistakes that people make in these layers, planted by hand beside the operators' faults."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NAMED", "Named"]


@dataclass(frozen=True)
class Named:
    """A text that is replaced at its first occurrence in a function (or, without one, in the file)."""

    name: str
    kind: str
    file: str
    scope: str
    old: str
    new: str
    layers: tuple[str, ...]


BATCH = "generated/kernels/batch_normalization.py"
MEAN = "weight, bias, mean_sum, variance_sum, output,"
CONVOLUTION = "generated/kernels/convolution_1d.py"
NORMALIZED = ("batch_normalization",)

NAMED = (
    Named(
        "stale statistics",
        "emitted",
        BATCH,
        "batch_normalization_training_forward",
        MEAN,
        MEAN.replace("mean_sum", "running_mean", 1),
        NORMALIZED,
    ),
    Named(
        "stale statistics",
        "emitted",
        BATCH,
        "batch_normalization_training_forward",
        MEAN,
        MEAN.replace("variance_sum", "running_var", 1),
        NORMALIZED,
    ),
    Named(
        "stale statistics",
        "emitted",
        BATCH,
        "batch_normalization_training_variance_sum",
        "(1.0 - momentum) * running_mean_value + mean_sum * momentum / value_3",
        "running_mean_value",
        NORMALIZED,
    ),
    Named(
        "biased estimate",
        "emitted",
        BATCH,
        "batch_normalization_training_variance_sum",
        "(value_3 - 1.0)",
        "value_3",
        NORMALIZED,
    ),
    Named(
        "uncentred variance",
        "emitted",
        BATCH,
        "batch_normalization_training_variance_sum_part",
        "value = input_value - mean_sum_part / tl.cast(M, ACC)",
        "value = input_value",
        NORMALIZED,
    ),
    Named(
        "spread between examples forgotten",
        "emitted",
        BATCH,
        "batch_normalization_without_estimates_variance_sum",
        "variance_sum_part_value + value * value * tl.cast(M, ACC)",
        "variance_sum_part_value",
        NORMALIZED,
    ),
    Named(
        "examples counted for elements",
        "calculus",
        "codegen/passes/split.py",
        "_between",
        "* count(inner) *",
        "* count(outer) *",
        NORMALIZED,
    ),
    Named(
        "another mask",
        "emitted",
        "generated/kernels/dropout.py",
        "dropout_output",
        "primitives.uniform(seed, i)",
        "primitives.uniform(seed + 1, i)",
        ("dropout",),
    ),
    Named(
        "missing guard",
        "emitted",
        CONVOLUTION,
        "convolution_1d_grad_weight",
        "inside = (place >= 0) & (place < W)",
        "inside = place < W",
        ("convolution_1d",),
    ),
    Named(
        "another residue class",
        "emitted",
        CONVOLUTION,
        "convolution_1d_grad_input",
        "first_tap(dilation_w, padding_w + phase_w, stride_w, S)",
        "first_tap(dilation_w, phase_w, stride_w, S)",
        ("convolution_1d",),
    ),
    Named(
        "last maximum wins",
        "emitted",
        "generated/kernels/max_pooling_1d.py",
        "max_pooling_1d_position",
        "element > output",
        "element >= output",
        ("max_pooling_1d",),
    ),
    Named(
        "wrong accumulator type",
        "schedule",
        "codegen/emit/templates/launching.py.jinja",
        "",
        "torch.float64 if leading.dtype == torch.float64 else torch.float32",
        "leading.dtype",
        ("log_softmax", "batch_normalization"),
    ),
    Named(
        "every row first",
        "template",
        "codegen/emit/templates/contraction.jinja",
        "",
        "batch = tile // (tiles_m * tiles_n)",
        "batch = tile % (tiles_m * tiles_n)",
        ("convolution_1d",),
    ),
    Named(
        "one band of tiles",
        "template",
        "codegen/emit/templates/contraction.jinja",
        "",
        "tile_m = band * GROUP + tile",
        "tile_m = tile",
        ("linear", "convolution_1d"),
    ),
    Named(
        "last band as high as the others",
        "template",
        "codegen/emit/templates/contraction.jinja",
        "",
        "band_height = tl.minimum(tiles_m - band * GROUP, GROUP)",
        "band_height = GROUP",
        ("linear", "convolution_1d"),
    ),
    Named(
        "gradient of one reader only",
        "calculus",
        "spec/adjoint.py",
        "close",
        "Add(*parts) if parts",
        "parts[0] if parts",
        ("relu", "softmax", "batch_normalization", "cross_channel_normalization"),
    ),
    Named(
        "missing guard",
        "calculus",
        "spec/gather.py",
        "_back_substitute",
        "conditions.append(Divides(pivot.divisor, numerator))",
        "pass",
        ("average_pooling_1d", "convolution_1d"),
    ),
    Named(
        "missing guard",
        "calculus",
        "spec/gather.py",
        "_back_substitute",
        "conditions.append(InRange(solution[pivot.index], pivot.index.extent))",
        "pass",
        ("average_pooling_1d", "convolution_1d"),
    ),
)
