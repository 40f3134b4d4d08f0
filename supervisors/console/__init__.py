"""A prompt inside a running server: `System(console=PATH)` opens it, `python -m supervisors.console PATH` attaches.

It is made of Python's own `codeop` and top-level `await`, as `python -m asyncio` is, and `readline`. aioconsole, and aiomonitor
that builds on it, evaluate on the server's event loop, which what is typed would block; IPython would need a kernel and ZeroMQ.
"""
