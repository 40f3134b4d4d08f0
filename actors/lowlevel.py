"""The kernel's door: what code outside `actors` may use of it, for supervisors, transports, tools and test kits.

An application needs none of this: it has `Actor`, `ActorRef` and the functions of `actors`. What is here stays as long as the
kernel needs it, and changes with it.

- `Process`: what the runtime knows of one actor, living or dead; `ref.process` leads there. `Bonds` is the part of it that is
  not about messages: links, monitors, names, timers. Read it from any thread; everything else is for the thread of its event
  loop.
- `Receipt`: notifies the sender of a message when it has been handled (`process.put_counted`). `SystemCall(function)`: such a
  message for the runtime itself, which calls the function.
- `Scheduler`: runs the actors of one event loop. `Scheduler.here()` finds it or makes it, `post` and `run_or_post` reach it
  from other threads; `run_on` does so and returns a future of the result.
- `in_thread(name)`: an event loop with a scheduler in a daemon thread. `new_event_loop()`: the fastest event loop that is
  installed. `DaemonExecutor`: a pool of threads that do not keep the program from ending.
- `spawn(actor_class, args, …)`: starts an actor below a parent, or below none.
- `next_round()`: awaits the next round of the event loop, so that others get their turns.
- `is_on_a_loop()`, `must_not_block(call, instead=…)`: whether the caller runs on an event loop, which it must not block.
- `not_inherited`: the context variables that an actor does not have from its starter.
- `CrashReport`, `last_crash()`, `last_crashes()`: what is logged and kept of crashes.
- `DEAD_LETTER`, `MAILBOX_LIMIT_REACHED`: the telemetry events of messages that no actor handles, or that find no room.
- `Behaviour`: the callbacks that the kernel calls of an actor; the type of `process.actor`. `FormatStatus`: what
  `format_status` gets and returns.
- `leave(error)`: lets an exception leave the event loop that is meant for the program, as KeyboardInterrupt is; foreign code
  raised it. `is_program_exit(error)`: whether it is one.
- `shown_message`, `shown_state`: what `Actor.format_status` returns, with the secrets; `secrets_of`: the words in their names;
  `described`: a message as text without secrets. `state_of`: the attributes of an actor.
- `waits_at`, `blocked_at`, `thread_is_at`: where an actor's handler, the thread of an event loop, or any thread is now, as the
  lines of a traceback.
"""

from actors.future import run_on
from actors.runtime.behaviour import (
    Behaviour,
    FormatStatus,
    described,
    secrets_of,
    shown_message,
    shown_state,
    state_of,
)
from actors.runtime.bonds import Bonds
from actors.runtime.bounded_process import MAILBOX_LIMIT_REACHED
from actors.runtime.coroutine import next_round
from actors.runtime.current import is_on_a_loop, not_inherited
from actors.runtime.daemon_executor import DaemonExecutor
from actors.runtime.dead_letters import DEAD_LETTER
from actors.runtime.envelope import SystemCall
from actors.runtime.process import Process
from actors.runtime.program_exit import is_program_exit, leave
from actors.runtime.receipt import Receipt
from actors.runtime.report import CrashReport, last_crash, last_crashes
from actors.runtime.scheduler import Scheduler, in_thread, new_event_loop
from actors.runtime.spawn import spawn
from actors.runtime.waits import must_not_block
from actors.stack import blocked_at, thread_is_at, waits_at

__all__ = [
    "DEAD_LETTER",
    "MAILBOX_LIMIT_REACHED",
    "Behaviour",
    "Bonds",
    "CrashReport",
    "DaemonExecutor",
    "FormatStatus",
    "Process",
    "Receipt",
    "Scheduler",
    "SystemCall",
    "blocked_at",
    "described",
    "in_thread",
    "is_on_a_loop",
    "is_program_exit",
    "last_crash",
    "last_crashes",
    "leave",
    "must_not_block",
    "new_event_loop",
    "next_round",
    "not_inherited",
    "run_on",
    "secrets_of",
    "shown_message",
    "shown_state",
    "spawn",
    "state_of",
    "thread_is_at",
    "waits_at",
]
