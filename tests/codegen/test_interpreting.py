"""Triton's interpreter and NumPy: a tile of one number can be used as an index with every version of both."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from triton.runtime import interpreter

from svertka.generated.kernels import interpreting

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("the interpreter is off", allow_module_level=True)


def refusing(tile: Any, scope: Any) -> None:
    """The interpreter's patch of Triton 3.6 with a NumPy that converts no array with dimensions to a number."""

    def index(self: Any) -> int:
        if self.handle.data.ndim:
            raise TypeError("only 0-dimensional arrays can be converted to Python scalars")
        return int(self.handle.data)

    scope.set_attr(tile, "__index__", index)
    scope.set_attr(tile, "__bool__", lambda self: True)


def test_the_interpreter_at_hand_makes_indices() -> None:
    """Every kernel needs them: ``tl.arange`` of a constant, the number of a program."""
    assert interpreting.makes_indices(interpreter._patch_lang_tensor)


def test_an_interpreter_that_refuses_is_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not interpreting.makes_indices(refusing)
    monkeypatch.setattr(interpreter, "_patch_lang_tensor", refusing)
    interpreting.mend()
    mended = interpreter._patch_lang_tensor
    assert mended is not refusing
    assert interpreting.makes_indices(mended)
    interpreting.mend()  # another generated package in the same process
    assert interpreter._patch_lang_tensor is mended


def test_nothing_else_of_a_tile_changes() -> None:
    class Tile:
        handle = type("Handle", (), {"data": np.array([7])})

    class Scope:
        changed: dict[str, Any]

        def __init__(self) -> None:
            self.changed = {}

        def set_attr(self, tile: Any, name: str, value: Any) -> None:
            self.changed[name] = value

    plain, mended = Scope(), Scope()
    refusing(Tile, plain)
    interpreting.with_indices(refusing)(Tile, mended)
    assert plain.changed.keys() == mended.changed.keys()
    assert mended.changed["__index__"](Tile()) == 7


def test_an_interpreter_that_needs_no_help_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    good = interpreting.with_indices(refusing)
    monkeypatch.setattr(interpreter, "_patch_lang_tensor", good)
    interpreting.mend()
    assert interpreter._patch_lang_tensor is good
