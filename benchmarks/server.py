"""The contract's bench channel and nothing else: `python benchmarks/server.py --port 4000`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from actors.pubsub.pubsub import PubSub
from actors.pubsub.redis.redis_pubsub import RedisPubSub
from demo import BenchChannel
from supervisors import System
from transport import Endpoint, Socket


class BenchSocket(Socket):
    channels = {"bench:*": BenchChannel}  # noqa: RUF012  # as an author writes it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4000, help="0 takes a free one")
    parser.add_argument("--reuse-port", action="store_true", help="let other processes accept on the port too")
    parser.add_argument("--redis", metavar="URL", help="connect all processes with this Redis")
    parser.add_argument("--workers", type=int, metavar="N", help="so many processes")
    options = parser.parse_args()
    endpoint = Endpoint({"/socket": BenchSocket}, host=options.host, port=options.port, reuse_port=options.reuse_port)
    pubsub = PubSub(adapter=RedisPubSub(options.redis)) if options.redis else None
    System([endpoint], pubsub=pubsub).run(lambda _: print(endpoint.url, flush=True), workers=options.workers)


if __name__ == "__main__":
    main()
