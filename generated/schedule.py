"""Tile sizes, warps and stages, chosen by a problem's structure from a table. Nothing is measured at run time."""

from __future__ import annotations

import functools
from typing import Any

import torch
import triton
import triton.language as tl

from .launching import INTERPRETING

Tiles = tuple[int, dict[str, Any]]
TABLE: dict[str, Any] = {
    "lanes": {"block": 1024, "window_block": 256, "unroll": 16, "warps": 4},
    "rows": {"elements": 8192, "contiguous_rows": 32, "short_row": 1024, "elements_a_warp": 512, "most_warps": 16},
    "interpreter": {
        "block": 4096,
        "window_block": 4096,
        "unroll": 1,
        "warps": 4,
        "elements": 4096,
        "contiguous_rows": 16,
        "short_row": 1024,
        "elements_a_warp": 512,
        "most_warps": 4,
    },
    "contraction": {
        "half": [
            {"least_m": 2048, "least_n": 256, "tile": [128, 256, 64], "warps": 8, "stages": 3},
            {"least_m": 512, "least_n": 65, "tile": [128, 128, 64], "warps": 8, "stages": 3},
            {"least_m": 65, "least_n": 17, "tile": [128, 64, 64], "warps": 4, "stages": 3},
            {"least_m": 0, "least_n": 0, "tile": [64, 32, 64], "warps": 4, "stages": 3},
        ],
        "float32": [
            {"least_m": 512, "least_n": 33, "tile": [64, 64, 16], "warps": 4, "stages": 2},
            {"least_m": 0, "least_n": 0, "tile": [64, 32, 32], "warps": 4, "stages": 2},
        ],
        "float64": [{"least_m": 0, "least_n": 0, "tile": [32, 32, 16], "warps": 4, "stages": 2}],
        "half_gathered": [
            {"least_m": 0, "least_n": 33, "tile": [64, 64, 32], "warps": 4, "stages": 3},
            {"least_m": 0, "least_n": 0, "tile": [64, 32, 32], "warps": 4, "stages": 3},
        ],
        "half_gathered_last": [
            {"least_m": 512, "least_n": 65, "tile": [128, 128, 64], "warps": 8, "stages": 3},
            {"least_m": 65, "least_n": 17, "tile": [128, 64, 64], "warps": 4, "stages": 3},
            {"least_m": 0, "least_n": 0, "tile": [64, 32, 64], "warps": 4, "stages": 3},
        ],
        "float32_gathered": [{"least_m": 0, "least_n": 0, "tile": [64, 32, 32], "warps": 4, "stages": 2}],
        "float32_gathered_last": [
            {"least_m": 512, "least_n": 33, "tile": [64, 64, 16], "warps": 4, "stages": 2},
            {"least_m": 0, "least_n": 0, "tile": [64, 32, 32], "warps": 4, "stages": 2},
        ],
    },
    "interpreter_contraction": {
        "half": [{"least_m": 0, "least_n": 0, "tile": [256, 64, 64], "warps": 4, "stages": 1}],
        "float32": [{"least_m": 0, "least_n": 0, "tile": [256, 64, 64], "warps": 4, "stages": 1}],
        "float64": [{"least_m": 0, "least_n": 0, "tile": [256, 64, 64], "warps": 4, "stages": 1}],
    },
}


def _power_of_two(number: int, low: int, high: int) -> int:
    return min(max(triton.next_power_of_2(max(number, 1)), low), high)


@functools.lru_cache(maxsize=4096)
def lanes(results: int, window: int) -> Tiles:
    """Tiles of a pointwise or window kernel.

    Args:
        results: number of elements stored.
        window: number of elements each is reduced from.
    """
    table = TABLE["interpreter" if INTERPRETING else "lanes"]
    block = _power_of_two(results, 32, table["window_block" if window > 1 else "block"])
    unroll = window if window <= table["unroll"] else 1
    return -(-results // block), {"BLOCK": block, "UNROLL": max(unroll, 1), "num_warps": table["warps"]}


@functools.lru_cache(maxsize=4096)
def rows(count: int, length: int, contiguous_rows: bool, accumulator: torch.dtype) -> Tiles:
    """Tiles of a row program.

    Args:
        count: number of rows; ``length``: elements a row.
        contiguous_rows: whether neighbouring rows, not neighbouring elements of a row, are neighbours in memory.
        accumulator: type of the arithmetic.
    """
    table = TABLE["interpreter" if INTERPRETING else "rows"]
    budget = table["elements"] // (accumulator.itemsize // 4)
    beside = _power_of_two(count, 1, table["contiguous_rows"]) if contiguous_rows else 1
    columns = _power_of_two(length, 1, max(budget // beside, 1))
    height = max(beside, _power_of_two(count, 1, max(table["short_row"] // columns, 1)))
    single = columns >= length
    warps = min(max(height * columns // table["elements_a_warp"], 1), table["most_warps"])
    tiles = {"ROWS": height, "COLUMNS": columns, "SINGLE": single, "num_warps": warps}
    return -(-count // height), tiles


def contraction(batch: int, m: int, n: int, k: int, taps: int, operand: Any, access: str) -> Tiles:
    """Tiles of a batched product of an m x k and a k x n matrix.

    Args:
        batch: how many products; ``m``, ``n``: their sizes.
        k: summed elements, but for ``taps`` places of a window at each of which they are summed.
        operand: type in which elements enter the matrix unit.
        access: ``"plain"``; ``"gathered"`` if an operand is read through an index map with conditions, or computed;
            ``"gathered_last"`` if it is then read along the fastest dimension.
    """
    strict = torch.get_float32_matmul_precision() == "highest" or operand == tl.float64
    return _contraction(batch, m, n, k, taps, operand, access, "ieee" if strict else "tf32")


@functools.lru_cache(maxsize=4096)
def _contraction(batch: int, m: int, n: int, k: int, taps: int, operand: Any, access: str, precision: str) -> Tiles:
    width = {tl.float64: "float64", tl.float32: "float32"}.get(operand, "half")
    table = TABLE["interpreter_contraction"] if INTERPRETING else TABLE["contraction"]
    best = next(
        row for row in table.get(f"{width}_{access}", table[width]) if m >= row["least_m"] and n >= row["least_n"]
    )
    block_m, block_n, block_k = best["tile"]
    if INTERPRETING:
        block_m, block_n = _power_of_two(m, 16, block_m), _power_of_two(n, 16, block_n)
        block_k = _power_of_two(k, 16, block_k)
    tiles = {"BLOCK_M": block_m, "BLOCK_N": block_n, "BLOCK_K": block_k, "GROUP": 8}
    tiles |= {"PRECISION": precision, "DOT": operand, "TAPS": k >= block_k // 2}
    tiles |= {"num_warps": best["warps"], "num_stages": best["stages"]}
    return batch * -(-m // block_m) * -(-n // block_n), tiles
