"""Tests of actors: time that moves when you say so, chance that a seed repeats, and an actor that stands for the test.

    with ManualRuntime() as runtime:
        ref = Ticker.start()
        runtime.advance(12)
        assert runtime.ask(ref, "ticks") == 2

No test waits for a timer, and none sleeps: what has happened is settled before a call returns.
"""

from actors.testing.exceptions import ScenarioError, SimulatedCrashError
from actors.testing.manual_clock import ManualClock
from actors.testing.manual_runtime import ManualRuntime
from actors.testing.probe import WAIT, Probe, sync
from actors.testing.replay import replay
from actors.testing.simulation import Simulation, explore

__all__ = [
    "WAIT",
    "ManualClock",
    "ManualRuntime",
    "Probe",
    "ScenarioError",
    "SimulatedCrashError",
    "Simulation",
    "explore",
    "replay",
    "sync",
]
