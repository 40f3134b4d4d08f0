"""The demo as an ASGI application."""

from __future__ import annotations

from demo import demo_endpoint, presence
from supervisors import System

endpoint = demo_endpoint(port=None)
app = endpoint.asgi(System([presence, endpoint]))
