"""Trials of faults in compiled kernels: level "compiled" with one text altered. Nothing runs in Triton's interpreter.

Input: the library's kernels. Output: ``PtxMutant``s, the same ones every time, and what the level says of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from unittest import mock

from svertka.codegen.lowering.build import build
from svertka.codegen.ptx import launch, machine
from svertka.codegen.ptx.level import check_runs, compiled_texts
from svertka.codegen.ptx.parse import parse
from svertka.codegen.ptx.plan import Run, runs
from svertka.codegen.ptx.program import PtxError
from svertka.codegen.ptx.proof import prove_compiled
from svertka.codegen.ptx.targets import SYMBOLS
from svertka.codegen.verify.levels import Subject
from svertka.codegen.verify.recording import PACKAGE
from svertka.spec.layers import DEFINITIONS

from .faults import Mutant, chosen, mutants_of
from .ptx_faults import PTX_KINDS, ptx_edits

__all__ = ["PER_KIND", "PtxMutant", "ptx_catalogue", "try_fault"]

SUBJECTS = (
    ("linear", "sm_80", "float32"),
    ("linear", "sm_80", "bfloat16"),
    ("linear", "sm_80", "float64"),
    ("linear", "sm_90", "float16"),
    ("convolution_1d", "sm_90", "bfloat16"),
    ("convolution_1d", "sm_80", "float16"),
    ("softmax", "sm_90", "float32"),
    ("softmax", "sm_80", "float16"),
    ("cross_entropy", "sm_90", "bfloat16"),
    ("batch_normalization", "sm_80", "float32"),
    ("max_pooling_2d", "sm_90", "float32"),
    ("average_pooling_1d", "sm_80", "bfloat16"),
    ("cross_channel_normalization", "sm_90", "float32"),
    ("dropout", "sm_80", "float32"),
    ("relu", "sm_90", "float16"),
)
"""Layers, targets and dtypes: every loop pattern, every matrix unit, copies by groups and by boxes."""
PER_KIND = 48
ENDLESS = 100_000  # instructions of one launch; the longest sound one takes a tenth


@dataclass(frozen=True)
class PtxMutant:
    """A fault in the PTX of a kernel.

    Attributes:
        mutant: the edit; its operator is the kind, its ``file`` names layer, target, dtype and kernel.
        text: the sound PTX.
        subject: layer, target and dtype.
        runs: the runs that launch it.
    """

    mutant: Mutant
    text: str
    subject: tuple[str, str, str]
    runs: tuple[Run, ...]


@cache
def _subject(layer: str, target: str) -> Subject:
    module = build(DEFINITIONS[layer])
    return Subject(module, module.definition.variants[0], PACKAGE, target=target, known={})


@cache
def ptx_catalogue(per_kind: int = PER_KIND) -> tuple[PtxMutant, ...]:
    """All faults that are tried, kind by kind, spread over kernels."""
    proposals: dict[str, list[PtxMutant]] = {kind: [] for kind in PTX_KINDS}
    for subject in SUBJECTS:
        for kernel, text, some in _texts(subject):
            place = f"{'/'.join(subject)}/{kernel}"
            for mutant in mutants_of("ptx", place, text, ptx_edits(text, place), (subject[0],)):
                proposals[mutant.operator].append(PtxMutant(mutant, text, subject, some))
    found = []
    by_name = {one.mutant.identifier: one for some in proposals.values() for one in some}
    for some in proposals.values():
        picked = chosen([one.mutant for one in some], per_kind, lambda mutant: _is_known(by_name[mutant.identifier]))
        found += [by_name[mutant.identifier] for mutant in picked]
    return tuple(found)


def _is_known(fault: PtxMutant) -> bool:
    """Whether the machine knows every instruction of the altered text: not knowing one is no evidence."""
    try:
        machine.link(parse(fault.mutant.applied(fault.text)))
    except PtxError:
        return False
    return True


def _texts(subject: tuple[str, str, str]) -> Iterator[tuple[str, str, tuple[Run, ...]]]:
    """Kernels of a subject: each with its longest text, and the runs that launch it."""
    layer, target, dtype = subject
    about = _subject(layer, target)
    known: dict[str, dict[str, list[Run]]] = {}
    for run in runs(about):
        single = tuple(one for one in run.dtypes if str(one) == f"torch.{dtype}")
        if single:
            alone = replace(run, dtypes=single)
            for kernel, digests in compiled_texts(about, (alone,)).texts.items():
                for digest in digests:
                    known.setdefault(kernel, {}).setdefault(digest, []).append(alone)
    texts = {compiled.digest: compiled.text for compiled in launch.compiled_kernels()}
    for kernel, by_digest in sorted(known.items()):
        digest = max(by_digest, key=lambda one: (len(texts[one]), one))
        yield kernel, texts[digest], tuple(by_digest[digest])


def try_fault(fault: PtxMutant) -> str:
    """What the level says first of a fault; nothing if it passes."""
    layer, target, dtype = fault.subject
    altered = fault.mutant.applied(fault.text)
    with mock.patch.object(machine, "LONGEST", ENDLESS):
        for run in fault.runs:
            done = check_runs(_subject(layer, target), (run,), lambda text: altered if text == fault.text else text)
            if done.failures:
                return done.failures[0]
        if dtype == "float32":
            proof = prove_compiled(_subject(layer, target), lambda text: altered if text == fault.text else text)
            return f"{SYMBOLS}: {proof.failures[0]}" if proof.failures else ""
    return ""
