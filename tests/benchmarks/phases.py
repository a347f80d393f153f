"""The phases of the command, in order, as data: phases in stages, each with its time.

Times are seconds after the start of a run of ``WHOLE`` seconds; in a shorter run all are shortened in proportion.
Phases of one stage run in parallel. If a stage ends early, the next begins early. Items that a phase does not reach are
listed in the summary, or are run by a later phase that ``resumes`` it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["STAGES", "WHOLE", "Phase"]

WHOLE = 530.0


@dataclass(frozen=True)
class Phase:
    """Items of one kind.

    Attributes:
        name: for reports and ``--phases``.
        kind: the module in ``items`` that runs an item.
        end: when it must have ended.
        processes: how many workers it has.
        limit: seconds that an item may take before its worker is killed.
        resumes: the phase whose remaining items it takes up.
        waits: whether its stage waits for it; otherwise it is ended with the others.
        gpu: whether its workers use the GPU.
    """

    name: str
    kind: str
    end: float
    processes: int
    limit: float
    resumes: str = ""
    waits: bool = True
    gpu: bool = True

    def limited(self, processes: int, limit: float) -> Phase:
        """The phase with at most so many workers, and another time limit per item."""
        return replace(self, processes=min(self.processes, processes), limit=limit)


STAGES: tuple[tuple[Phase, ...], ...] = (
    (
        Phase("machine", "machine", 60, 1, 55),
        Phase("items", "plan", 60, 1, 55, gpu=False),
    ),
    (
        Phase("correctness", "formulas", 110, 14, 80),
        Phase("memcheck", "memcheck", 110, 2, 75),
    ),
    (Phase("precompilation", "precompile", 135, 16, 40, gpu=False),),
    (Phase("benchmark", "benchmark", 250, 1, 30),),
    (Phase("training step", "training", 265, 1, 40),),
    (
        Phase("tiles", "tiles", 430, 1, 90),
        Phase("compilation of tiles", "precompile", 430, 14, 40, resumes="precompilation", waits=False, gpu=False),
    ),
    (Phase("torch.compile", "compiled", 500, 1, 40),),
    (
        Phase("large tensors", "large", 526, 1, 20),
        Phase("remaining correctness", "formulas", 526, 14, 30, resumes="correctness"),
    ),
)
