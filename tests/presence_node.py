"""The demo with short periods of its Presence: presences of a silent process leave after 3 s."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import demo
from ashtree import Presence

if __name__ == "__main__":
    demo.presence = Presence(broadcast_period=0.3, down_period=3.0)
    demo.main(sys.argv[1:])
