"""Checkpoints: everything that a run needs to continue, in one file that is complete at every moment.

A file is written beside the old one, flushed to the disk and renamed to replace it, so that a run killed at any moment
leaves the old checkpoint or the new one. A file contains a dictionary of tensors, numbers and text that
``torch.load(path, weights_only=True)`` reads; its digest detects damage, which PyTorch does not check.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

__all__ = ["FILE", "load", "read", "write", "write_bytes"]

FILE = "checkpoint.pt"
FORMAT = 1


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...


def write(state: Mapping[str, Any], path: Path) -> None:
    """Write a state to a file."""
    plain = _on_cpu(state)
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "digest": _digest(plain), "state": plain}, buffer)
    write_bytes(buffer.getvalue(), path)


def read(path: Path) -> dict[str, Any]:
    """The state of a file, its tensors on the CPU.

    Raises:
        ValueError: the file is damaged, or not a checkpoint of this format.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: there is no checkpoint; start a run without --resume") from error
    except Exception as error:  # a damaged zip archive or pickle raises any exception
        raise _damaged(path, f"it cannot be read ({type(error).__name__})") from error
    if not isinstance(found, dict) or set(found) != {"format", "digest", "state"}:
        raise _damaged(path, "it holds something else")
    if found["format"] != FORMAT:
        raise ValueError(f"{path}: has format {found['format']!r}, must be {FORMAT}; start anew with --fresh")
    if found["digest"] != _digest(found["state"]):
        raise _damaged(path, "its content does not have its digest")
    state: dict[str, Any] = found["state"]
    return state


def load(path: Path) -> tuple[nn.Module, tuple[str, ...]]:
    """The network of a checkpoint, with its parameters, ready to classify; and the names of its classes.

    Raises:
        ValueError: the file is damaged, or its network is unknown.
    """
    from . import NETWORKS  # that package imports this module

    state = read(path)
    name, data, parameters = state["settings"]["network"], state["data"], state["network"]
    if name not in NETWORKS:
        raise ValueError(f"{path}: has network {name!r}, which is unknown; known are {', '.join(NETWORKS)}")
    normalized = {key: parameters[f"input.{key}"] for key in ("mean", "std")}
    network = NETWORKS[name](classes=len(data["classes"]), channels=data["channels"], **normalized)
    network.load_state_dict(parameters)
    return network.eval(), tuple(data["classes"])


def _damaged(path: Path, why: str) -> ValueError:
    return ValueError(
        f"{path}: is damaged, or no checkpoint: {why}; start anew with --fresh, or in another folder with --into"
    )


def write_bytes(content: bytes, path: Path) -> None:
    """Write a file in one step: at every moment it has its old content or all of the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.partial")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def _on_cpu(value: Any) -> Any:
    """The same in plain containers, with tensors on the CPU."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, Mapping):
        return {key: _on_cpu(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_on_cpu(item) for item in value]
    return value


def _digest(state: Any) -> str:
    found = hashlib.sha256()
    _feed(found, state)
    return found.hexdigest()


def _feed(found: _Hash, value: Any) -> None:
    """Update the digest with every value in order, with its type."""
    if isinstance(value, Tensor):
        found.update(f"{value.dtype} {tuple(value.shape)}".encode())
        found.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, Mapping):
        found.update(f"mapping {len(value)}".encode())
        for key, item in value.items():
            found.update(repr(key).encode())
            _feed(found, item)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        found.update(f"sequence {len(value)}".encode())
        for item in value:
            _feed(found, item)
    else:
        found.update(f"{type(value).__name__} {value!r}".encode())
