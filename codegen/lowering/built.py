"""Kernels of definitions that were built before, by this process or by one before it.

Deriving all kernels of the library takes half a minute, and every command begins with some of them. They follow from
the definition and the generator, so they are built once for each pair.

Input: a ``Definition``. Output: a ``KernelModule``, equal to what ``build`` gives.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

from svertka.codegen.lowering.build import KernelModule, build
from svertka.codegen.user_cache import cache_folder, is_kept, kept
from svertka.spec.definition import Definition
from svertka.spec.notation import Index

__all__ = ["PROCESSES", "built", "built_together", "definition_digest"]

PROCESSES = max(1, min(8, len(os.sched_getaffinity(0)))) if hasattr(os, "sched_getaffinity") else 2
"""How many processes work side by side: one a core; each takes some 600 MB when it validates."""
FEW = 30  # building takes a tenth of a second on average, starting a process two seconds

_BUILT: dict[tuple[str, str], KernelModule] = {}


def built(definition: Definition) -> KernelModule:
    """All kernels and programs of a definition, as ``build`` gives them."""
    key = _key(definition)
    if key not in _BUILT:
        _BUILT[key] = kept("built", key[1], lambda: build(definition))
    return _BUILT[key]


def built_together(
    definitions: Sequence[Definition], done: Callable[[str], None], processes: int = 1
) -> dict[str, KernelModule]:
    """All kernels of some definitions, by name; several processes build what was not built before.

    Args:
        definitions: what to build.
        done: called with a definition's name when it is built.
        processes: how many build side by side. With more than one, the program that calls must be a module that can be
            imported again without running it.
    """
    found: dict[str, KernelModule] = {}
    missing = [definition for definition in definitions if not _is_kept(definition)]
    if processes > 1 and len(missing) > FEW:
        with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
            futures = {pool.submit(built, definition): definition.name for definition in missing}
            for future in as_completed(futures):
                found[futures[future]] = future.result()
                done(futures[future])
    for definition in definitions:
        if definition.name not in found:
            found[definition.name] = built(definition)
            done(definition.name)
    return found


def _is_kept(definition: Definition) -> bool:
    key = _key(definition)
    return key in _BUILT or is_kept("built", key[1])


def _key(definition: Definition) -> tuple[str, str]:
    return str(cache_folder()), definition_digest(definition)


def definition_digest(definition: Definition) -> str:
    """A digest of all that a definition holds; equal definitions have equal ones in every process."""
    stream = io.BytesIO()
    _Canonical(stream).dump((definition, _meanings(definition)))
    return hashlib.sha256(stream.getvalue()).hexdigest()[:32]


class _Canonical(pickle.Pickler):
    """Pickles equal values to equal bytes: without references to parts seen before, and without meanings of indices.

    Indices of one name and extent are equal, whatever they count. Therefore SymPy gives one for the other, from the
    expressions that it has made before in the same process.
    """

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, protocol=5)
        self.fast = True

    def reducer_override(self, value: Any) -> Any:
        """How a value is pickled; ``NotImplemented`` leaves it to the value."""
        if not isinstance(value, Index):
            return NotImplemented
        return Index, (value.name, value.extent, value.many, value.batch)


def _meanings(definition: Definition) -> list[tuple[str, str, str]]:
    """What the axes of tensors count; tensors are not SymPy's."""
    tensors = (tensor for variant in definition.variants for tensor in variant.layer.tensors.values())
    return [(tensor.name, index.name, index.meaning) for tensor in tensors for index in tensor.axes]
