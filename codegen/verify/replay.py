"""Triton's interpreter, with the type checks of each operation made once.

Triton's language decides by types, shapes and compile-time constants what an operation is made of: which casts,
broadcasts and instructions of the builder. In a compiler it could not look at data; in the interpreter it makes the
same decision again each time an operation runs, and that takes most of the time. Here the first run of an operation
with some types records the builder's calls, and later runs with the same types and constants repeat those calls on
their own data. What the builder does stays as it is, also where others have replaced its methods.

Where an operation asks whether a number is 0 (``tl.load`` asks of its mask), the calls are repeated only where the
answer is the same. An operation that looks at data in another way, or whose arguments are of a kind that is not known
here, runs as Triton has it.

Two things are left out, which have no effect on any value: the language is patched once and not once a call, and
overflow checks are not computed whose results Triton throws away, as assertions of the device are off.

Programs of a launch run together (``together``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from types import SimpleNamespace
from typing import Any
from unittest import mock

import triton.language as tl
from triton.runtime import interpreter as engine

from svertka.codegen.verify import together, together_numbers
from svertka.codegen.verify.replay_keys import PLAIN, UnknownError, described, key, repeated

__all__ = ["by_name", "replaying", "replaying_on"]

_BUILDER, _SEMANTIC = engine.interpreter_builder, engine.interpreter_semantic
_Handle, _Tile, _Constant = engine.TensorHandle, tl.core.tensor, tl.core.constexpr
_MOST_PLANS = 1 << 12  # of one operation; where there are more, constants vary that a plan should not depend on


@contextmanager
def replaying() -> Iterator[None]:
    """Let kernels that run inside have each operation's types checked once."""
    if _State.active:
        yield
        return
    _State.active = True
    scope = engine._LangPatchScope()
    options = _BUILDER.options
    try:
        for owner, name, value in _patches(engine._patch_lang_tensor):
            scope.set_attr(owner, name, value)
        _BUILDER.options = replace(options, sanitize_overflow=options.sanitize_overflow and options.debug)
        with ExitStack() as stack:
            stack.enter_context(mock.patch.object(engine, "_patch_lang", _patch_nothing))
            stack.enter_context(mock.patch.object(engine, "_get_np_dtype", by_name(engine._get_np_dtype)))
            stack.enter_context(mock.patch.object(_SEMANTIC, "to_tensor", _assigned))
            launch = together_numbers.launching(engine.GridExecutor.__call__)
            stack.enter_context(mock.patch.object(engine.GridExecutor, "__call__", launch))
            yield
    finally:
        _BUILDER.options = options
        scope.restore()
        _State.active = False


def _patch_nothing(_: Any) -> Any:
    return engine._LangPatchScope()


def replaying_on(device: str) -> AbstractContextManager[None]:
    """``replaying`` where kernels run in the interpreter, on the CPU; nothing elsewhere.

    Tensors of the CPU may also stand in for a GPU's, with compiled kernels: the language must stay as it is then.
    """
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    return replaying() if device == "cpu" and interpreted else nullcontext()


def by_name(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of a type, asked once for each; a type's name says all of it."""
    known: dict[str, Any] = {}

    def asked(kind: Any) -> Any:
        name = kind.name
        if name not in known:
            known[name] = function(kind)
        return known[name]

    return asked


class _State:
    """Whether the language is patched, and which recording is under way."""

    active = False
    recording: _Recorder | None = None


@lru_cache(maxsize=1)
def _patches(_: Any) -> tuple[tuple[Any, str, Any], ...]:
    """Everything that Triton patches for interpreted kernels: where, under which name, and what stands there then."""
    found: list[tuple[Any, str, Any]] = []
    known: dict[int, Any] = {}

    class Noted(engine._LangPatchScope):  # type: ignore[misc]
        def set_attr(self, obj: object, name: str, value: object) -> None:
            found.append((obj, name, value))

    def patch(owner: Any, name: str, member: Any, builder: Any, scope: Any) -> None:
        if id(member) not in known:
            known[id(member)] = _replayed(member, _SEMANTIC)
        scope.set_attr(owner, name, known[id(member)])

    with mock.patch.object(engine, "_LangPatchScope", Noted), mock.patch.object(engine, "_patch_attr", patch):
        engine._patch_lang(SimpleNamespace(__globals__={"tl": tl, "core": tl.core}))
    return tuple((owner, name, _seen(owner, name, value)) for owner, name, value in found)


def _seen(owner: Any, name: str, value: Any) -> Any:
    """What stands for something by which kernels make values of Python from tiles."""
    if name in ("range", "static_range"):
        return together.ranged(value)
    if owner is _Tile and name == "__bool__":
        return _telling_answer(together.answered(value))
    if owner is _Tile and name == "__index__":
        return _telling_number(together.numbered(value))
    return together.transposed(value) if owner is _Tile and name == "T" else value


def _telling_answer(look: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Whether a tile is true, which is told to the recording that is under way."""

    def told(tile: Any) -> bool:
        answer = look(tile)
        if _State.recording is not None:
            _State.recording.asked(look, tile, answer)
        return answer

    return told


def _telling_number(look: Callable[[Any], int]) -> Callable[[Any], int]:
    """A tile's number; what depends on it is not repeated."""

    def told(tile: Any) -> int:
        if _State.recording is not None:
            _State.recording.repeatable = False
        return look(tile)

    return told


# Recording -----------------------------------------------------------------------------------------------------------


_Step = tuple[Any, tuple[Any, ...], tuple[tuple[int, int], ...]]
_NOWHERE = -1  # where the answer to a question is kept
_OF_CONSTANTS = frozenset(
    {f"get_{sign}int{width}" for sign in ("", "u") for width in (8, 16, 32, 64)}
    | {"get_int1", "get_null_value", "create_splat", "create_broadcast", "create_expand_dims", "create_make_range"}
)
_TOUCHING = ("load", "store", "atomic")  # what a step may not do before a question whose answer may differ


class _OtherAnswerError(Exception):
    """A question has another answer than when the plan was recorded."""


@dataclass(frozen=True)
class _Plan:
    """What an operation is made of.

    Attributes:
        steps: the builder's methods, their arguments, and which of these are values of the plan; or a question, the
            answer for which the plan holds, and of which value.
        constants: values that are the same each time.
        results: attributes of the tiles that come out, and their values.
        single: whether one tile comes out, and not a tuple of them.
    """

    steps: tuple[_Step, ...]
    constants: tuple[Any, ...]
    results: tuple[tuple[dict[str, Any], int], ...]
    single: bool

    def run(self, values: list[Any]) -> Any:
        """Repeat the steps on other data; ``values`` are those of the arguments.

        Raises:
            _OtherAnswerError: the steps would be others here; nothing was loaded or stored yet.
        """
        values += self.constants
        for name, arguments, places in self.steps:
            if not isinstance(name, str):
                if name(_tile({}, values[places[0][1]])) != arguments[0]:
                    raise _OtherAnswerError
                continue
            given = list(arguments)
            for position, number in places:
                given[position] = values[number]
            values.append(getattr(_BUILDER, name)(*given))
        found = [_tile(attributes, values[number]) for attributes, number in self.results]
        return found[0] if self.single else tuple(found)


def _tile(attributes: dict[str, Any], handle: Any) -> Any:
    made = object.__new__(_Tile)
    made.__dict__.update(attributes)
    made.handle = handle
    return made


def _is_constant(argument: Any) -> bool:
    """Whether an argument of the builder is a number, a type, or one of the builder's words."""
    kind = type(argument)
    return kind in PLAIN or kind is float or isinstance(argument, tl.dtype) or kind.__module__.startswith("triton._C")


class _Recorder:
    """Stands for the builder, and notes what it is asked for.

    Attributes:
        repeatable: whether nothing happened that a plan cannot repeat.
        constants: values that depend on no argument, by their place.
    """

    def __init__(self, handles: list[Any]) -> None:
        self.repeatable = True
        self.steps: list[tuple[_Step, int]] = []
        self.given = len(handles)
        self.kept = list(handles)  # so that no number of an object is given again
        self.places = {id(handle): number for number, handle in enumerate(handles)}
        self.constants: dict[int, Any] = {}

    def __getattr__(self, name: str) -> Any:
        member = getattr(_BUILDER, name)
        if not callable(member):
            return member

        def noted(*arguments: Any, **keywords: Any) -> Any:
            result = member(*arguments, **keywords)
            if not (name.startswith("get_") and isinstance(result, tl.dtype)):
                self._note(name, arguments, keywords, result)
            return result

        return noted

    def _note(self, name: str, arguments: tuple[Any, ...], keywords: Any, result: Any) -> None:
        places = []
        for position, argument in enumerate(arguments):
            if isinstance(argument, _Handle):
                place = self.places.get(id(argument))
                self.repeatable &= place is not None
                places.append((position, place or 0))
            elif isinstance(argument, list | tuple):
                self.repeatable &= all(type(part) is int for part in argument)
            else:
                self.repeatable &= _is_constant(argument)
        self.repeatable &= not keywords and (result is None or isinstance(result, _Handle))
        self.places[id(result)] = len(self.kept)
        self.kept.append(result)
        if name in _OF_CONSTANTS and self._is_whole(result) and all(place in self.constants for _, place in places):
            result.data.flags.writeable = False
            self.constants[self.places[id(result)]] = result
        held = {position for position, _ in places}
        plain = tuple(None if position in held else argument for position, argument in enumerate(arguments))
        self.steps.append(((name, plain, tuple(places)), self.places[id(result)]))

    def _is_whole(self, result: Any) -> bool:
        """Whether something is a tile of integers, which nobody replaces by anything else."""
        return isinstance(result, _Handle) and type(result.dtype) is tl.dtype and result.dtype.is_int()

    def asked(self, look: Callable[[Any], bool], tile: Any, answer: bool) -> None:
        """Note a question about data and its answer."""
        place = self.places.get(id(tile.handle))
        touched = any(part in step[0] for step, _ in self.steps if isinstance(step[0], str) for part in _TOUCHING)
        self.repeatable &= place is not None and not touched
        self.steps.append(((look, (answer,), ((0, place or 0),)), _NOWHERE))

    def plan(self, result: Any) -> _Plan | None:
        """The plan of an operation that gave a result; None where it cannot be repeated."""
        single = isinstance(result, _Tile)
        tiles = (result,) if single else result
        if not self.repeatable or not isinstance(tiles, tuple) or not all(isinstance(tile, _Tile) for tile in tiles):
            return None
        steps, numbers = self._numbered()
        results = []
        for tile in tiles:
            place = self.places.get(id(tile.handle))
            if place is None:
                return None
            attributes = {name: value for name, value in vars(tile).items() if name != "handle"}
            results.append((attributes | {"_key": key(tile)}, numbers[place]))
        return _Plan(steps, tuple(self.constants.values()), tuple(results), single)

    def _numbered(self) -> tuple[tuple[_Step, ...], dict[int, int]]:
        """The steps without those that give constants, and the numbers of all places: arguments, constants, others."""
        numbers = {place: place for place in range(self.given)}
        for place in self.constants:
            numbers[place] = len(numbers)
        steps = []
        for (name, arguments, places), result in self.steps:
            if result not in self.constants:
                steps.append((name, arguments, tuple((position, numbers[place]) for position, place in places)))
            if result not in self.constants and result != _NOWHERE:
                numbers[result] = len(numbers)
        return tuple(steps), numbers


# Replaying -----------------------------------------------------------------------------------------------------------


def _replayed(member: Any, semantic: Any) -> Callable[..., Any]:
    """An operation of the language that checks types once."""
    kept: tuple[dict[Any, _Plan | None], ...] = ({}, {})  # constants have one more axis where programs run together

    def operation(*arguments: Any, **keywords: Any) -> Any:
        keywords.pop("_semantic", None)
        if _State.recording is not None:  # a part of what is recorded
            return member(*arguments, **keywords, _semantic=semantic)
        handles: list[Any] = []
        parts: list[Any] = []
        try:
            for argument in arguments:
                if type(argument) is _Tile:
                    handles.append(argument.handle)
                    parts.append(argument.__dict__.get("_key") or key(argument))
                else:
                    parts.append(described(argument, handles))
            for name, argument in keywords.items():
                parts.append((name, described(argument, handles)))
        except UnknownError:
            return member(*arguments, **keywords, _semantic=semantic)
        if len(handles) > 1:
            parts += repeated(handles)
        found, plans = tuple(parts), kept[together.running()]
        plan = plans.get(found)
        if plan is not None:
            try:
                return plan.run(handles)
            except _OtherAnswerError:
                return member(*arguments, **keywords, _semantic=semantic)
        if found in plans or len(plans) >= _MOST_PLANS:
            return member(*arguments, **keywords, _semantic=semantic)
        result, plans[found] = _recorded(lambda: member(*arguments, **keywords, _semantic=semantic), handles)
        return result

    return operation


def _recorded(run: Callable[[], Any], handles: list[Any]) -> tuple[Any, _Plan | None]:
    recorder = _Recorder(handles)
    _State.recording, _SEMANTIC.builder = recorder, recorder
    try:
        result = run()
    finally:
        _State.recording, _SEMANTIC.builder = None, _BUILDER
    return result, recorder.plan(result)


_TRITONS_TO_TENSOR = _SEMANTIC.to_tensor


def _to_tensor(value: Any, check_type: bool = True, _semantic: Any = None) -> Any:
    return _TRITONS_TO_TENSOR(value, check_type)


_NUMBER = _replayed(_to_tensor, _SEMANTIC)


def _assigned(value: Any, check_type: bool = True) -> Any:
    """Every assignment in a kernel asks for this."""
    return value if type(value) is _Tile else _NUMBER(value, check_type)
