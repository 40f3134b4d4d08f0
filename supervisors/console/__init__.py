"""A prompt inside a running server: `System(console=PATH)` opens it, `python -m supervisors.console PATH` attaches.

It uses Python's own `codeop` with top-level `await`, as `python -m asyncio` does, and `readline`. aioconsole, and aiomonitor
which builds on it, evaluate on the server's event loop, so that a typed statement would block it; IPython would need a kernel
and ZeroMQ.
"""
