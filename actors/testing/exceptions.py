"""The failures of a simulation.

AssertionError
├── ScenarioError           a scenario failed under a seed
└── SimulatedCrashError     an actor crashed unexpectedly
"""

from __future__ import annotations

from collections.abc import Sequence

from actors.pickling import Portable
from actors.redaction import error_text

__all__ = ["ScenarioError", "SimulatedCrashError"]


class ScenarioError(Portable, AssertionError):
    """A scenario failed under a seed; the exception that it raised is the cause.

    `trace` has the last steps. `replays` is False if a second run with the seed took other steps: then the scenario depends on
    something else, such as the order of a set, real time, a file or a thread.
    """

    def __init__(self, seed: int, error: str, report: str, trace: Sequence[str]) -> None:
        self.seed, self.trace, self.replays = seed, list(trace), True
        super().__init__(
            f"seed {seed}: {error}\n"
            f"replay it: ASHTREE_SEED={seed} in the environment, or explore(scenario, seeds=[{seed}])\n"
            f"{report}"
        )

    def compare(self, again: ScenarioError | None) -> None:
        """Add a note if a second run with the same seed took other steps."""
        self.replays = again is not None and again.trace == self.trace
        if not self.replays:
            self.add_note(
                "it will not replay: a second run with this seed took other steps; the scenario depends on something else, "
                "such as the order of a set, real time, a file or a thread"
            )


class SimulatedCrashError(Portable, AssertionError):
    """An actor crashed unexpectedly; the actor's own exception is the cause."""

    def __init__(self, actor: str, error: BaseException) -> None:
        self.actor, self.error = actor, error
        name = type(error).__name__
        super().__init__(f"{actor} crashed: {error_text(error)}; if that may happen: expected_crashes={name}")
