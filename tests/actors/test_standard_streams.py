"""Programs that were started without standard streams, or have lost them: they work on, and end with their own status."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from actors import standard_streams
from actors.testing import WAIT

ROOT = Path(__file__).resolve().parent.parent.parent

# What a shell closes, or redirects to a full disk.
WITHOUT = ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"]
FULL = ["1>/dev/full", "2>/dev/full", "1>/dev/full 2>/dev/full"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it needs /proc and /dev/full")


def run(program: str, redirections: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a shell that closes or redirects its standard streams; what it prints is kept otherwise."""
    return subprocess.run(  # noqa: S603  # our own code
        ["/bin/sh", "-c", f'exec "$@" {redirections}', "sh", sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=10 * WAIT,
        check=False,
    )


CONNECTS = """
import asyncio, os, sys
import actors

async def main():
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    await reader.read()
    writer.close()
    server.close()
    with open(sys.argv[2], "w") as report:
        report.writelines(os.readlink(f"/proc/self/fd/{number}") + "\\n" for number in range(3))

if sys.argv[1] == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""


@pytest.mark.parametrize(("loop", "redirections"), [*(("uvloop", each) for each in WITHOUT), ("asyncio", WITHOUT[-1])])
def test_no_socket_gets_the_descriptor_of_a_stream_that_was_closed_at_the_start(
    loop: str, redirections: str, tmp_path: Path
) -> None:
    report = tmp_path / "report"
    assert run(CONNECTS, redirections, loop, str(report)).returncode == 0
    found = report.read_text().splitlines()
    assert os.devnull in found
    assert not [each for each in found if each.startswith(("socket:", "anon_inode:"))]


# Serves the demo, requests a page from itself in a thread, writes down what it got, and stops itself.
SERVES = """
import os, signal, sys, threading, urllib.request
import demo
from supervisors.system import System

def request(system):
    with urllib.request.urlopen(next(iter(places(system)))) as answer, open(sys.argv[1], "w") as report:
        report.write(str(answer.status))
    os.kill(os.getpid(), signal.SIGTERM)

def places(system):
    return [process.actor.listens_at for process in system.ref.process.scheduler.processes.values()
            if hasattr(process.actor, "listens_at")]

def run(system, welcome, **options):
    def then(system):
        welcome(system)
        threading.Thread(target=request, args=(system,)).start()
    serve(system, then, **options)

serve, System.run = System.run, run
demo.main(["--port", "0"])
"""


@pytest.mark.parametrize("redirections", [*WITHOUT, *FULL])
def test_the_demo_serves_without_output_and_ends_with_status_0(redirections: str, tmp_path: Path) -> None:
    report = tmp_path / "report"
    done = run(SERVES, redirections, str(report))
    assert (done.returncode, report.read_text()) == (0, "200"), done.stderr


CLOSED_LATER = """
import os, sys
from actors import lowlevel

for number in range(3):
    os.close(number)
lowlevel.new_event_loop().close()
found = [os.readlink(f"/proc/self/fd/{number}") for number in range(3)]
os._exit(found != [os.devnull] * 3)
"""


def test_an_event_loop_of_ours_gets_none_of_them_in_a_daemon_that_has_closed_them() -> None:
    assert run(CLOSED_LATER, "").returncode == 0


INHERITS = """
import subprocess, sys
import actors
sys.exit(subprocess.run([sys.executable, "-c", "import os; os.fstat(0); os.fstat(1); os.fstat(2)"]).returncode)
"""


def test_programs_that_it_starts_have_them() -> None:
    assert run(INHERITS, "0<&- 1>&- 2>&-").returncode == 0


PRINTS = """
import sys
from supervisors.system import System

def then(system):
    print("running")
    system.ref.kill()

try:
    System([]).run(then)
except BaseException:
    pass
"""


@pytest.mark.parametrize("redirections", ["1>/dev/full", "2>/dev/full"])
def test_output_that_cannot_be_written_does_not_change_the_status_of_a_program(redirections: str) -> None:
    assert run(PRINTS, redirections).returncode == 0


# Commands

COMMAND = "import sys; from ashtree.__main__ import main; sys.exit(main())"


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["console", "/nowhere"], 1),
        (["client", "ws://127.0.0.1:1/socket", "room:lobby", "--timeout", "0.01"], 1),
        (["nonsense"], 2),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_command_without_standard_streams_ends_with_its_status(command: list[str], status: int) -> None:
    done = run(COMMAND, WITHOUT[-1], *command)
    assert done.returncode == status


def test_a_command_without_stderr_complains_nowhere_else() -> None:
    done = run(COMMAND, "2>&-", "nonsense")
    assert (done.returncode, done.stdout) == (2, "")


def test_what_a_command_complains_of_is_lost_on_a_full_disk() -> None:
    done = run(COMMAND, "2>/dev/full", "nonsense")
    assert done.returncode == 2


PROMPT = """
import sys
if sys.argv[1] == "python":
    sys.modules["IPython"] = None
import demo
demo.main(["--port", "0", "--repl"])
"""


@pytest.mark.parametrize(("shell", "redirections"), [("python", "0<&-"), ("ipython", "0<&-"), ("ipython", WITHOUT[-1])])
def test_a_prompt_without_standard_streams_is_at_the_end_of_its_input(shell: str, redirections: str) -> None:
    done = run(PROMPT, redirections, shell)
    assert done.returncode == 0, done.stderr


def test_streams_that_are_there_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    before = sys.stdout, sys.stderr
    standard_streams.fill_missing()
    assert sys.stdin is not None
    assert sys.stdin.read() == ""
    sys.stdin.close()
    assert (sys.stdout, sys.stderr) == before
