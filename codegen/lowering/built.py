"""Kernels of definitions that were built before, by this process or by one before it.

Deriving all kernels of the library takes half a minute, and every command begins with some of them. They follow from
the definition and the generator, so they are built once for each pair.

Input: a ``Definition``. Output: a ``KernelModule``, equal to what ``build`` gives.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from typing import Any

from svertka.codegen.lowering.build import KernelModule, build
from svertka.codegen.user_cache import cache_folder, kept
from svertka.spec.definition import Definition
from svertka.spec.notation import Index

__all__ = ["built", "definition_digest"]

_BUILT: dict[tuple[str, str], KernelModule] = {}


def built(definition: Definition) -> KernelModule:
    """All kernels and programs of a definition, as ``build`` gives them."""
    key = (str(cache_folder()), definition_digest(definition))
    if key not in _BUILT:
        _BUILT[key] = kept("built", key[1], lambda: build(definition))
    return _BUILT[key]


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
