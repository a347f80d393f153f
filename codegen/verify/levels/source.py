"""Level "source": the emitted kernel, unmodified, executed on symbols, equals the formula.

``codegen.verify.symbolic`` implements it.
"""

from __future__ import annotations

from svertka.codegen.verify.levels.outcome import Outcome
from svertka.codegen.verify.levels.target import Subject
from svertka.codegen.verify.recording import defined_name
from svertka.codegen.verify.symbolic import prove
from svertka.codegen.verify.symbolic.coverage import Coverage
from svertka.codegen.verify.symbolic.regions import BOXES, BOXES_OF_ROWS, REGIONS

__all__ = ["check"]

NAME = "source"


def check(subject: Subject) -> Outcome:
    """Prove forward, backward and the forward that saves no tensors; every statement of every kernel runs.

    One case in every region and with boxes, the others in the last region.
    """
    first, *rest = subject.small_cases
    runs = [(first, REGIONS), *((case, REGIONS[-1:]) for case in rest)]
    runs += [(case, (BOXES if case.last else BOXES_OF_ROWS,)) for case in subject.small_box_cases]
    coverage = Coverage()
    proofs = [
        prove(subject.module, subject.variant, subject.kernels, case, regions=regions, coverage=coverage)
        for case, regions in runs
    ]
    ran = {kernel for proof in proofs for kernel in proof.kernels}
    figures = {
        "kernels": sorted(ran),
        "statements": coverage.passed,
        "certain": sum(proof.certain for proof in proofs),
        "points": max(proof.points for proof in proofs),
        "error_probability": sum(proof.error_probability for proof in proofs),
        "nodes": sum(proof.nodes for proof in proofs),
        "proofs": [
            {
                "sizes": dict(proof.sizes),
                "shapes": {name: list(shape) for name, shape in proof.shapes},
                "regions": list(proof.regions),
            }
            for proof in proofs
        ],
    }
    failures = tuple(f"{case.name}: {text}" for (case, _), p in zip(runs, proofs, strict=True) for text in p.failures)
    boxed = sorted(f"{kernel.name}_boxes" for kernel in subject.boxed)
    missed = [name for name in boxed if defined_name(subject.kernels, name) not in ran]
    failures += tuple(f"{name}: no case reached it" for name in missed)
    if not failures:  # a kernel that fails stops early
        failures = tuple(coverage.missed())
    elements = sum(proof.elements for proof in proofs)
    return Outcome(NAME, subject.layer.name, len(proofs), elements, figures, failures)
