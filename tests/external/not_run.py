"""The ONNX cases that svertka does not run, each with its reason; and the faults that they have found."""

from __future__ import annotations

from .answers import Lacking

__all__ = ["FAULTS", "NOT_RUN", "REASONS"]

REASONS: dict[str, Lacking] = {
    "NumPy's mask": Lacking("what NumPy's generator drops; svertka's mask is Philox's", "dropout", "mask"),
    "an odd rest": Lacking(
        "an odd rest of a crop cut behind; svertka rounds to even, as torchvision", "center_crop", "low"
    ),
    "dilated averages": Lacking("windows with gaps; avg_pool has no dilation, as torch's", "avg_pool2d", "dilation"),
    "no flatten": Lacking("a view of a tensor's memory: torch.flatten; nothing to compute", "flatten"),
    "no loss of log-probabilities": Lacking(
        "a loss of log-probabilities; cross_entropy takes scores, as the lecture's", "nll_loss"
    ),
    "not bilinear": Lacking(
        "nearest or cubic interpolation; the lecture's images are resized bilinearly", "resize", "mode"
    ),
    "not half-pixel centres": Lacking("other coordinates than half-pixel centres", "resize", "align_corners"),
    "not the scale of the sizes": Lacking(
        "a scale that is not that of output to input; resize takes the size", "resize", "scale_factor"
    ),
    "pads": Lacking("padding of an image; center_crop crops", "center_crop", "padding"),
}

NOT_RUN: dict[str, str] = {
    case: reason
    for reason, names in {
        "NumPy's mask": """
            test_training_dropout test_training_dropout_default test_training_dropout_default_mask
            test_training_dropout_mask
        """,
        "an odd rest": "test_center_crop_pad_crop",
        "dilated averages": """
            test_averagepool_2d_dilations test_averagepool_3d_dilations_small
            test_averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_False
            test_averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_True
            test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_False
            test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True
        """,
        "no flatten": """
            test_flatten_axis0 test_flatten_axis1 test_flatten_axis2 test_flatten_axis3 test_flatten_default_axis
            test_flatten_negative_axis1 test_flatten_negative_axis2 test_flatten_negative_axis3
            test_flatten_negative_axis4
        """,
        "no loss of log-probabilities": """
            test_nllloss_NC test_nllloss_NCd1 test_nllloss_NCd1_ii test_nllloss_NCd1_mean_weight_negative_ii
            test_nllloss_NCd1_weight test_nllloss_NCd1_weight_ii test_nllloss_NCd1d2
            test_nllloss_NCd1d2_no_weight_reduction_mean_ii test_nllloss_NCd1d2_reduction_mean
            test_nllloss_NCd1d2_reduction_sum test_nllloss_NCd1d2_with_weight
            test_nllloss_NCd1d2_with_weight_reduction_mean test_nllloss_NCd1d2_with_weight_reduction_sum
            test_nllloss_NCd1d2_with_weight_reduction_sum_ii test_nllloss_NCd1d2d3_none_no_weight_negative_ii
            test_nllloss_NCd1d2d3_sum_weight_high_ii test_nllloss_NCd1d2d3d4d5_mean_weight
            test_nllloss_NCd1d2d3d4d5_none_no_weight
        """,
        "not bilinear": """
            test_resize_downsample_scales_cubic test_resize_downsample_scales_cubic_A_n0p5_exclude_outside
            test_resize_downsample_scales_cubic_align_corners test_resize_downsample_scales_cubic_antialias
            test_resize_downsample_scales_nearest test_resize_downsample_sizes_cubic
            test_resize_downsample_sizes_cubic_antialias test_resize_downsample_sizes_nearest
            test_resize_downsample_sizes_nearest_not_larger test_resize_downsample_sizes_nearest_not_smaller
            test_resize_upsample_scales_cubic test_resize_upsample_scales_cubic_A_n0p5_exclude_outside
            test_resize_upsample_scales_cubic_align_corners test_resize_upsample_scales_cubic_asymmetric
            test_resize_upsample_scales_nearest test_resize_upsample_scales_nearest_axes_2_3
            test_resize_upsample_scales_nearest_axes_3_2 test_resize_upsample_sizes_cubic
            test_resize_upsample_sizes_nearest test_resize_upsample_sizes_nearest_axes_2_3
            test_resize_upsample_sizes_nearest_axes_3_2 test_resize_upsample_sizes_nearest_ceil_half_pixel
            test_resize_upsample_sizes_nearest_floor_align_corners test_resize_upsample_sizes_nearest_not_larger
            test_resize_upsample_sizes_nearest_not_smaller
            test_resize_upsample_sizes_nearest_round_prefer_ceil_asymmetric test_upsample_nearest
        """,
        "not half-pixel centres": """
            test_resize_downsample_scales_linear_align_corners
            test_resize_downsample_sizes_linear_pytorch_half_pixel test_resize_tf_crop_and_resize
            test_resize_tf_crop_and_resize_axes_2_3 test_resize_tf_crop_and_resize_axes_3_2
            test_resize_tf_crop_and_resize_extrapolation_value test_resize_upsample_scales_linear_align_corners
        """,
        "not the scale of the sizes": """
            test_resize_downsample_scales_linear test_resize_downsample_scales_linear_antialias
            test_resize_downsample_scales_linear_half_pixel_symmetric
            test_resize_upsample_scales_linear_half_pixel_symmetric
        """,
        "pads": """
            test_center_crop_pad_crop_and_pad test_center_crop_pad_crop_axes_chw
            test_center_crop_pad_crop_axes_hwc test_center_crop_pad_crop_negative_axes_hwc
            test_center_crop_pad_pad
        """,
    }.items()
    for case in names.split()
}

# Cases that fail because of a fault in svertka, by road; a repaired case must be removed from this table.
FAULTS: dict[tuple[str, str], str] = {}
