"""Tests of actors: virtual time, seeded simulations, and a probe that receives messages on behalf of the test.

    with ManualRuntime() as runtime:
        ref = Ticker.start()
        runtime.advance(12)
        assert runtime.ask(ref, "ticks") == 2

Tests neither wait for timers nor sleep: when a call returns, everything that it caused is done.
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
