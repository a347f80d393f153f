"""Kernels that were built before are those that are built now; a cache is never trusted beyond its names."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from svertka.codegen.emit.launcher import module_source
from svertka.codegen.lowering import built as module
from svertka.codegen.lowering.build import KernelModule, build
from svertka.codegen.lowering.built import built, definition_digest
from svertka.codegen.user_cache import GENERATORS, ROOMS, WHOLE, generator_digest, kept
from svertka.spec.gradient import with_gradients
from svertka.spec.layers import DEFINITIONS

EVERY = {definition.name: definition for definition in with_gradients(list(DEFINITIONS.values()))}


@pytest.mark.parametrize("name", ["relu", "linear", "max_pooling_2d", "softmax_gradient", "cross_entropy", "dropout"])
@pytest.mark.usefixtures("own_cache")
def test_what_is_kept_is_what_is_built(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal, and printed with the same bytes; the second time nothing is built."""
    definition = EVERY[name]
    first = built(definition)
    monkeypatch.setattr(module, "_BUILT", {})
    monkeypatch.setattr(module, "build", _refuse)
    again = built(definition)
    assert again is not first
    assert again == first == build(definition)
    assert module_source(again) == module_source(build(definition))


def _refuse(definition: object) -> KernelModule:
    raise AssertionError("it is built although it is kept")


DIGESTS = """
from svertka.codegen.lowering.built import definition_digest
from svertka.spec.gradient import with_gradients
from svertka.spec.layers import DEFINITIONS
for definition in with_gradients(list(DEFINITIONS.values())):
    print(definition.name, definition_digest(definition))
"""


def test_digests_are_the_same_in_every_process_and_differ() -> None:
    """Whatever the hash seed; sent to a worker; and asked for again after the definition was worked with."""
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", DIGESTS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    elsewhere = dict(line.split() for line in done.stdout.splitlines())
    for definition in EVERY.values():
        built(definition)
    assert {name: definition_digest(definition) for name, definition in EVERY.items()} == elsewhere
    assert {name: definition_digest(pickle.loads(pickle.dumps(d))) for name, d in EVERY.items()} == elsewhere
    assert len(set(elsewhere.values())) == len(EVERY)


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps(1)[:-1], b"cmissing\nname\n."])
def test_what_cannot_be_read_is_made_anew(content: bytes, own_cache: Path) -> None:
    path = own_cache / "torch" / generator_digest(ROOMS["torch"]) / "one.pickle"
    assert kept("torch", "one", lambda: 1) == 1
    path.write_bytes(content)
    assert kept("torch", "one", lambda: 2) == 2
    assert kept("torch", "one", lambda: 3) == 2


def test_a_cache_that_cannot_be_written_to_costs_time_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SVERTKA_CACHE", str(tmp_path / "file"))
    assert kept("torch", "one", lambda: 1) == 1
    assert kept("torch", "one", lambda: 2) == 2


def test_what_other_generators_made_is_neither_taken_nor_kept_for_ever(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(GENERATORS + 3):
        monkeypatch.setattr("svertka.codegen.user_cache.generator_digest", lambda rooms, number=number: f"{number:032}")
        assert kept("torch", "one", lambda number=number: number) == number
    left = sorted(path.name for path in (own_cache / "torch").iterdir())
    assert left == [f"{number:032}" for number in range(3, GENERATORS + 3)]


@pytest.mark.usefixtures("own_cache")
def test_several_processes_build_what_one_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was built before is not built again; each is told once."""
    names = ["relu", "linear", "softmax_gradient", "max_pooling_1d"]
    monkeypatch.setattr(module, "FEW", 1)
    known, told = built(EVERY["relu"]), list[str]()
    found = module.built_together([EVERY[name] for name in names], told.append, processes=2)
    assert sorted(told) == sorted(found) == sorted(names)
    assert found["relu"] is known
    for name in names:
        assert found[name] == build(EVERY[name])


@pytest.mark.parametrize(
    ("path", "whole", "built"),
    [
        ("spec/layers/relu.py", False, False),
        ("spec/adjoint.py", True, True),
        ("codegen/lowering/lower.py", True, True),
        ("codegen/emit/templates/row.jinja", True, False),
    ],
)
def test_what_is_kept_survives_whatever_it_does_not_follow_from(
    path: str, whole: bool, built: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for known in ("spec/__init__.py", "codegen/__init__.py", path):
        (tmp_path / known).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / known).write_text("before")

    def found(name: str) -> SimpleNamespace:
        return SimpleNamespace(origin=str(tmp_path / name.removeprefix("svertka.") / "__init__.py"))

    monkeypatch.setattr("svertka.codegen.user_cache.importlib.util.find_spec", found)
    digests = [generator_digest.__wrapped__(rooms) for rooms in (WHOLE, ROOMS["built"])]
    (tmp_path / path).write_text("after")
    after = [generator_digest.__wrapped__(rooms) for rooms in (WHOLE, ROOMS["built"])]
    assert [a != b for a, b in zip(after, digests, strict=True)] == [whole, built]
