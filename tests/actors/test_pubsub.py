"""PubSub: who hears what, how often it is encoded, and that nothing is lost when its actor dies."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from actors.actor import Actor
from actors.channels.fastlane import Fastlane
from actors.channels.message import Broadcast, Frame, Message, Opcode, Reply
from actors.exits import SHUTDOWN
from actors.future import Future
from actors.pubsub.peer_message import NODES
from actors.pubsub.pubsub import PubSub, PubSubServer, nearest_pubsub
from actors.runtime.scheduler import in_thread
from actors.runtime.spawn import spawn
from actors.testing import WAIT, ManualRuntime, Probe, sync
from actors.threads.threaded_actor import ThreadedActor
from supervisors.child_spec import ChildSpec
from supervisors.supervisor import Supervisor
from supervisors.system import System

if TYPE_CHECKING:
    from actors.ref import ActorRef


class Counting:
    """A serializer that counts what it encodes; with `mute`, one that has no form for broadcasts."""

    def __init__(self, *, mute: bool = False) -> None:
        self.mute, self.encoded = mute, 0

    def decode(self, data: Any) -> Message:
        raise NotImplementedError

    def encode_reply(self, join_ref: Any, ref: Any, topic: Any, reply: Reply) -> Frame:
        raise NotImplementedError

    def encode_push(self, join_ref: Any, ref: Any, topic: str, event: str, payload: Any) -> Frame:
        raise NotImplementedError

    def encode_broadcast(self, broadcast: Broadcast) -> Frame | None:
        self.encoded += 1
        return None if self.mute else Frame(Opcode.TEXT, broadcast)


class Recorder(Actor):
    def __init__(self) -> None:
        self.log: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        return message(self) if callable(message) else self.log.append(message)


def start(pubsub: PubSub) -> ActorRef[PubSubServer]:
    return spawn(PubSubServer, (pubsub,), label="pubsub")


@pytest.fixture
def pubsub(runtime: ManualRuntime) -> PubSub:
    pubsub = PubSub()
    start(pubsub)
    return pubsub


def fastlane(transport: Probe, serializer: Any) -> Fastlane:
    return Fastlane(transport.ref.process, serializer, transport.ref.process.put)


NEWS = Broadcast("a", "news", {"n": 1})


# Subscribe and broadcast


def test_subscribers_of_a_topic_hear_its_broadcasts(runtime: ManualRuntime, pubsub: PubSub) -> None:
    first, second, other = Probe(), Probe(), Probe()
    pubsub.subscribe("a", first.ref)
    pubsub.subscribe("a", second.ref)
    pubsub.subscribe("b", other.ref)
    pubsub.broadcast("a", NEWS)
    pubsub.broadcast("a", ("any", "thing"))
    runtime.settle()
    assert first.messages == second.messages == [NEWS, ("any", "thing")]
    assert other.messages == []


def test_a_broadcast_without_subscribers_reaches_nobody(runtime: ManualRuntime, pubsub: PubSub) -> None:
    pubsub.broadcast("nobody", NEWS)
    runtime.settle()
    assert pubsub.topics() == []


def test_an_actor_of_another_loop_hears_in_its_own_thread(
    runtime: ManualRuntime, pubsub: PubSub, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: Future[str] = Future()
    touched_by: list[str] = []

    class Far(Actor):
        def on_receive(self, message: Any) -> None:
            heard.set(threading.current_thread().name)

    loop, started = in_thread("far"), Future[Any]()
    ready = loop.scheduler.ready

    def watched(process: Any) -> None:
        touched_by.append(threading.current_thread().name)
        ready(process)

    monkeypatch.setattr(loop.scheduler, "ready", watched)
    try:
        loop.scheduler.post(lambda: started.set(Far.start()))
        pubsub.subscribe("a", started.get(timeout=WAIT))
        pubsub.broadcast("a", NEWS)
        assert heard.get(timeout=WAIT) == "far"
        assert touched_by == ["far"]
    finally:
        loop.stop()


def test_broadcast_from_leaves_out_the_sender(runtime: ManualRuntime, pubsub: PubSub) -> None:
    sender, other = Probe(), Probe()
    for probe in (sender, other):
        pubsub.subscribe("a", probe.ref)
    pubsub.broadcast_from(sender.ref, "a", NEWS)
    runtime.settle()
    assert (sender.messages, other.messages) == ([], [NEWS])


def test_a_sender_is_given_by_its_ref(pubsub: PubSub) -> None:
    wrong: Any
    for wrong in (None, "sender", Probe()):
        with pytest.raises(
            TypeError, match=r"^expected the ref of an actor, got .*; write broadcast_from\(ref, topic, …\)"
        ):
            pubsub.broadcast_from(wrong, "a", NEWS)


def test_whoever_subscribes_twice_hears_twice_and_unsubscribes_once(runtime: ManualRuntime, pubsub: PubSub) -> None:
    probe = Probe()
    pubsub.subscribe("a", probe.ref)
    pubsub.subscribe("a", probe.ref)
    pubsub.broadcast("a", "x")
    runtime.settle()
    assert probe.messages == ["x", "x"]
    pubsub.unsubscribe("a", probe.ref)
    pubsub.broadcast("a", "y")
    runtime.settle()
    assert probe.messages == ["x", "x"]
    assert (pubsub.topics(), pubsub.subscribers("a")) == ([], [])


def test_unsubscribing_from_one_topic_leaves_the_others(runtime: ManualRuntime, pubsub: PubSub) -> None:
    probe = Probe()
    for topic in ("a", "b"):
        pubsub.subscribe(topic, probe.ref)
    pubsub.unsubscribe("a", probe.ref)
    pubsub.broadcast("b", "x")
    runtime.settle()
    assert probe.messages == ["x"]
    probe.ref.stop()
    assert pubsub.topics() == []


def test_unsubscribing_what_was_never_subscribed_changes_nothing(runtime: ManualRuntime, pubsub: PubSub) -> None:
    probe = Probe()
    pubsub.unsubscribe("a", probe.ref)
    pubsub.subscribe("a", probe.ref)
    pubsub.unsubscribe("b", probe.ref)
    assert pubsub.subscribers("a") == [probe.ref]


def test_topics_and_subscribers_are_listed_in_their_order(runtime: ManualRuntime, pubsub: PubSub) -> None:
    first, second = Probe(), Probe()
    pubsub.subscribe("b", second.ref)
    pubsub.subscribe("a", first.ref)
    pubsub.subscribe("b", first.ref)
    assert pubsub.topics() == ["b", "a"]
    assert pubsub.subscribers("b") == [second.ref, first.ref]


def test_what_one_sender_broadcasts_and_sends_arrives_in_that_order(runtime: ManualRuntime, pubsub: PubSub) -> None:
    probe, sender = Probe(), Recorder.start()
    pubsub.subscribe("a", probe.ref)

    def speak(actor: Recorder) -> None:
        for number in range(100):
            pubsub.broadcast("a", ("broadcast", number))
            actor.send(probe.ref, ("sent", number))

    sender.tell(speak)
    runtime.settle()
    assert probe.messages == [(how, number) for number in range(100) for how in ("broadcast", "sent")]


def test_a_pubsub_that_was_never_started_says_what_to_do(runtime: ManualRuntime) -> None:
    pubsub, probe = PubSub("chat"), Probe()
    calls: list[Callable[[], None]] = [
        lambda: pubsub.subscribe("a", probe.ref),
        lambda: pubsub.unsubscribe("a", probe.ref),
        lambda: pubsub.broadcast("a", "x"),
        lambda: pubsub.broadcast_from(probe.ref, "a", "x"),
        lambda: pubsub.local_broadcast("a", "x"),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match="PubSub 'chat' is not running; make it a child of a System"):
            call()


def test_each_worker_of_a_process_with_a_name_has_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    named, unnamed = PubSub(node="web-1"), PubSub()
    before = unnamed.node
    assert named.node == "web-1"
    monkeypatch.setattr("os.getpid", lambda: 7)
    assert named.node == "web-1:7"
    assert unnamed.node != before


def test_actors_are_told_that_a_process_has_ended(runtime: ManualRuntime, pubsub: PubSub) -> None:
    probe = Probe()
    pubsub.subscribe(NODES, probe.ref)
    pubsub.node_down("web-1:812")
    probe.assert_receive({"down": "web-1:812"})


def test_its_actor_has_its_name(runtime: ManualRuntime) -> None:
    pubsub = PubSub("chat")
    server = start(pubsub)
    names = runtime._scheduler.names
    assert names.whereis("chat") is server
    assert names.lookup("chat") == [(server, pubsub)]


def test_its_actor_logs_what_it_does_not_know(
    runtime: ManualRuntime, pubsub: PubSub, caplog: pytest.LogCaptureFixture
) -> None:
    assert pubsub.server is not None
    pubsub.server.actor_ref.ask("what?")
    assert "got an unexpected message: 'what?'" in caplog.text


# The fast lane


def test_a_broadcast_is_encoded_once_for_all_and_goes_past_the_channels(runtime: ManualRuntime, pubsub: PubSub) -> None:
    serializer, channels = Counting(), [Recorder.start() for _ in range(50)]
    transports = [Probe() for _ in channels]
    for channel, transport in zip(channels, transports, strict=True):
        pubsub.subscribe("a", channel, fastlane(transport, serializer))
    pubsub.broadcast("a", NEWS)
    runtime.settle()
    assert serializer.encoded == 1
    frames = {id(frame): frame for transport in transports for frame in transport.messages}
    assert [frame.data for frame in frames.values()] == [NEWS]
    assert all(len(transport.messages) == 1 for transport in transports)
    assert all(channel.proxy().log.get() == [] for channel in channels)


def test_a_broadcast_is_encoded_once_for_each_serializer(runtime: ManualRuntime, pubsub: PubSub) -> None:
    old, new, probe = Counting(), Counting(), Probe()
    for serializer in (old, new, old, new, old):
        pubsub.subscribe("a", Recorder.start(), fastlane(probe, serializer))
    pubsub.broadcast("a", NEWS)
    runtime.settle()
    assert (old.encoded, new.encoded, len(probe.messages)) == (1, 1, 5)
    pubsub.broadcast("a", NEWS)
    assert (old.encoded, new.encoded) == (2, 2)


def test_a_serializer_without_a_form_for_it_leaves_its_clients_out(runtime: ManualRuntime, pubsub: PubSub) -> None:
    mute, plain = Counting(mute=True), Counting()
    old, new = Probe(), Probe()
    for _ in range(2):
        pubsub.subscribe("a", Recorder.start(), fastlane(old, mute))
    pubsub.subscribe("a", Recorder.start(), fastlane(new, plain))
    pubsub.broadcast("a", NEWS)
    runtime.settle()
    assert (old.messages, [frame.data for frame in new.messages], mute.encoded) == ([], [NEWS], 1)


def test_what_is_no_broadcast_goes_to_the_channel(runtime: ManualRuntime, pubsub: PubSub) -> None:
    serializer, channel, transport = Counting(), Recorder.start(), Probe()
    pubsub.subscribe("a", channel, fastlane(transport, serializer))
    pubsub.broadcast("a", "internal")
    runtime.settle()
    assert (channel.proxy().log.get(), transport.messages, serializer.encoded) == (["internal"], [], 0)


def test_intercepted_events_go_to_the_channel_unencoded(runtime: ManualRuntime, pubsub: PubSub) -> None:
    serializer, channel, transport = Counting(), Recorder.start(), Probe()
    pubsub.subscribe("a", channel, fastlane(transport, serializer), ["news"])
    pubsub.broadcast("a", NEWS)
    pubsub.broadcast("a", Broadcast("a", "weather", {}))
    runtime.settle()
    assert channel.proxy().log.get() == [NEWS]
    assert [frame.data.event for frame in transport.messages] == ["weather"]
    assert serializer.encoded == 1


def test_broadcast_from_leaves_out_the_senders_fast_lane(runtime: ManualRuntime, pubsub: PubSub) -> None:
    serializer, channel, transport = Counting(), Recorder.start(), Probe()
    pubsub.subscribe("a", channel, fastlane(transport, serializer))
    pubsub.broadcast_from(channel, "a", NEWS)
    runtime.settle()
    assert (transport.messages, serializer.encoded) == ([], 0)


def test_a_broadcast_that_cannot_be_encoded_is_the_senders_error(runtime: ManualRuntime, pubsub: PubSub) -> None:
    class Refusing(Counting):
        def encode_broadcast(self, broadcast: Broadcast) -> Frame:
            raise TypeError("not JSON")

    pubsub.subscribe("a", Recorder.start(), fastlane(Probe(), Refusing()))
    with pytest.raises(TypeError, match="not JSON"):
        pubsub.broadcast("a", NEWS)
    assert pubsub.server is not None
    assert pubsub.server.actor_ref.is_alive()


# Death


@pytest.mark.parametrize("end", ["stop", "kill", "exit"])
def test_dead_subscribers_leave_no_entry(runtime: ManualRuntime, pubsub: PubSub, end: str) -> None:
    ref = Recorder.start()
    for topic in ("a", "b", "a"):
        pubsub.subscribe(topic, ref)
    {"stop": lambda: ref.stop(block=False), "kill": ref.kill, "exit": lambda: ref.exit(SHUTDOWN)}[end]()  # type: ignore[no-untyped-call]  # a table of three
    runtime.settle()
    assert (pubsub.topics(), pubsub.subscriptions.subscribers()) == ([], [])
    assert pubsub.server is not None
    assert not pubsub.server._monitors


def test_the_dead_cannot_subscribe(runtime: ManualRuntime, pubsub: PubSub) -> None:
    ref = Recorder.start()
    ref.stop()
    pubsub.subscribe("a", ref)
    assert pubsub.topics() == []


def test_the_fast_lane_of_a_channel_that_died_this_very_moment_is_closed(
    runtime: ManualRuntime, pubsub: PubSub
) -> None:
    transport, channel = Probe(), Recorder.start()
    pubsub.subscribe("a", channel, fastlane(transport, Counting()))

    class Heir(Actor):
        def on_start(self) -> None:
            self.trap_exit = True
            self.link(channel)

        def on_receive(self, message: Any) -> None:
            still_listed.append(pubsub.subscribers("a") == [channel])
            pubsub.broadcast("a", NEWS)

    still_listed: list[bool] = []
    Heir.start()
    channel.kill()
    runtime.settle()
    assert still_listed == [True]
    assert transport.messages == []


def test_whoever_unsubscribes_from_everything_is_watched_no_more(runtime: ManualRuntime, pubsub: PubSub) -> None:
    probe = Probe()
    for topic in ("a", "b"):
        pubsub.subscribe(topic, probe.ref)
    assert len(probe.ref.process.watchers or ()) == 1
    pubsub.unsubscribe("a", probe.ref)
    assert len(probe.ref.process.watchers or ()) == 1
    pubsub.unsubscribe("b", probe.ref)
    assert not probe.ref.process.watchers


def test_broadcasts_go_on_while_its_actor_is_dead(runtime: ManualRuntime, pubsub: PubSub) -> None:
    probe, late = Probe(), Probe()
    pubsub.subscribe("a", probe.ref)
    assert pubsub.server is not None
    pubsub.server.actor_ref.kill()
    runtime.settle()
    pubsub.subscribe("a", late.ref)
    assert not late.ref.process.watchers
    pubsub.broadcast("a", "x")
    pubsub.unsubscribe("a", probe.ref)
    pubsub.broadcast("a", "y")
    runtime.settle()
    assert (probe.messages, late.messages) == (["x"], ["x", "y"])


def test_a_restarted_actor_watches_everybody_who_lives(runtime: ManualRuntime, pubsub: PubSub) -> None:
    living, dying, late = Recorder.start(), Recorder.start(), Recorder.start()
    for ref in (living, dying):
        pubsub.subscribe("a", ref)
    assert pubsub.server is not None
    pubsub.server.actor_ref.kill()
    runtime.settle()
    pubsub.subscribe("b", late)
    dying.kill()
    runtime.settle()
    assert pubsub.subscribers("a") == [living, dying]
    server = start(pubsub)
    runtime.settle()
    assert (pubsub.subscribers("a"), pubsub.subscribers("b")) == ([living], [late])
    assert set(server.proxy()._actor._monitors) == {living.process, late.process}
    living.kill()
    late.kill()
    runtime.settle()
    assert pubsub.topics() == []


# The PubSub of a tree


class Child(Actor):
    """Finds its PubSub when it starts."""

    def __init__(self, known: PubSub | None = None) -> None:
        self.known = known

    def on_start(self) -> None:
        self.found = nearest_pubsub(self._process, self.known)


def found_by(ref: ActorRef[Any]) -> PubSub | None:
    child = ref.process.actor
    assert isinstance(child, Child)
    return child.found


def tree(runtime: ManualRuntime, *children: Any) -> list[Any]:
    """Start a supervisor with these children; return its actors below, without those of supervisors, in the order of start."""
    before = set(runtime._scheduler.processes)
    spawn(Supervisor, (children,))
    runtime.settle()
    started = [process for number, process in runtime._scheduler.processes.items() if number not in before]
    return [process.ref for process in started if process.actor_class is Child]


def below(*children: Any, name: str = "below") -> ChildSpec:
    return ChildSpec(Supervisor, (children,), id=name)


def test_the_pubsub_of_the_nearest_supervisor_is_found(runtime: ManualRuntime) -> None:
    outer, inner = PubSub("outer"), PubSub("inner")
    nested = below(inner, Child, below(Child))
    children = tree(runtime, outer, nested, below(below(Child), name="others"))
    assert list(map(found_by, children)) == [inner, inner, outer]


def test_of_two_pubsubs_of_one_supervisor_the_first_is_found(runtime: ManualRuntime) -> None:
    one, two = PubSub("one"), PubSub("two")
    [child] = tree(runtime, one, two, Child)
    assert found_by(child) is one


def test_a_pubsub_that_is_started_later_or_in_another_tree_is_not_found(runtime: ManualRuntime) -> None:
    tree(runtime, PubSub("another tree's"))
    [child] = tree(runtime, Child, PubSub("late"))
    assert found_by(child) is None


def test_a_pubsub_without_a_supervisor_is_found_last(runtime: ManualRuntime, pubsub: PubSub) -> None:
    own = PubSub("own")
    assert list(map(found_by, tree(runtime, Child) + tree(runtime, own, Child) + [Child.start()])) == [
        pubsub,
        own,
        pubsub,
    ]


def test_a_pubsub_that_is_known_is_found_while_its_actor_is_down(runtime: ManualRuntime) -> None:
    outer, inner = PubSub("outer"), PubSub("inner")
    [child] = tree(runtime, outer, below(ChildSpec(PubSubServer, (inner,), restart="temporary"), Child))
    assert inner.server is not None
    inner.server.actor_ref.kill()
    runtime.settle()
    supervisor: Any = child.process.parent
    assert found_by(spawn(Child, (inner,), parent=supervisor)) is inner
    assert found_by(spawn(Child, (outer,), parent=supervisor)) is outer
    assert found_by(spawn(Child, parent=supervisor)) is outer


def test_a_pubsub_of_another_event_loop_is_not_found_though_it_is_known(runtime: ManualRuntime) -> None:
    elsewhere = PubSub("elsewhere")
    with System(pubsub=elsewhere):
        assert found_by(Child.start(elsewhere)) is None


# Other threads


@pytest.mark.parametrize("subscriber", ["another", "itself"])
def test_a_thread_that_broadcasts_faster_than_subscribers_handle_is_slowed(
    background: in_thread, monkeypatch: pytest.MonkeyPatch, subscriber: str
) -> None:
    class Planning(ThreadedActor):
        def on_receive(self, message: Any) -> None:
            if message == "plan":
                for number in range(8):
                    pubsub.broadcast("a", number)
                    sync(echo)  # so that it is in the mailbox

    class Waiting(Actor):
        async def on_receive(self, message: Any) -> None:
            await asyncio.Event().wait()

    delays: list[int] = []
    monkeypatch.setattr(background.scheduler, "slow", delays.append)
    background.scheduler.crowd = 4
    pubsub, echo, planning, waiting = PubSub(), Actor.start(), Planning.start(), Waiting.start()
    start(pubsub)
    pubsub.subscribe("a", planning if subscriber == "itself" else waiting)
    planning.ask("plan", timeout=WAIT)
    assert delays == [] if subscriber == "itself" else min(delays) > 4
    waiting.kill()
    planning.stop()


def test_it_is_used_from_any_thread(background: in_thread) -> None:
    pubsub, probe, sender = PubSub(), Probe(), Probe()
    server = start(pubsub)
    pubsub.subscribe("a", probe.ref)
    pubsub.subscribe("a", sender.ref)
    threads = [threading.Thread(target=pubsub.broadcast_from, args=(sender.ref, "a", number)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    sync(probe.ref, sender.ref)
    assert (sorted(probe.messages), sender.messages) == ([0, 1, 2], [])
    pubsub.unsubscribe("a", sender.ref)
    pubsub.broadcast("a", "to the one who is left")
    probe.assert_receive("to the one who is left")
    assert pubsub.subscribers("a") == [probe.ref]
    assert server.is_alive()


def test_what_one_thread_broadcasts_arrives_in_order(background: in_thread) -> None:
    pubsub, probe = PubSub(), Probe()
    start(pubsub)
    pubsub.subscribe("a", probe.ref)
    for number in range(500):
        pubsub.broadcast("a", number)
    sync(probe.ref)
    assert probe.messages == list(range(500))
