"""The contract's bench channel and nothing else: `python benchmarks/server.py --port 4000`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from demo import BenchChannel
from supervisors import System
from transport import Endpoint, Socket


class BenchSocket(Socket):
    channels = {"bench:*": BenchChannel}  # noqa: RUF012  # as an author writes it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4000, help="0 takes a free one")
    options = parser.parse_args()
    endpoint = Endpoint({"/socket": BenchSocket}, host=options.host, port=options.port)
    System([endpoint]).run(lambda _: print(endpoint.url, flush=True))


if __name__ == "__main__":
    main()
