/** The actors behind this page: their state, their pids, and a log of what happened to them. */
import { INTERRUPTED } from "./channels.js";
import { bound, byId, element, flash, onClick, setEnabled, timeOfDay } from "./dom.js";

const HISTORY_LIMIT = 100;
const CLOSE_REASONS = {
  1000: "The server closed the connection for good (1000)",
  1001: "The server disconnected this user (1001)",
  1012: "The server is restarting (1012)",
  [INTERRUPTED]: "You have cut the connection",
};

/** Why the buttons of a channel are grey, by its state. */
const REASONS = {
  joining: "The join is not answered yet",
  errored: "The channel is down until the client has rejoined",
  closed: "You are not in the room",
  leaving: "You are leaving",
};

export class Supervision {
  #lobby;
  #demo;
  #counts = { joins: 0, crashes: 0, reconnects: 0 };
  #pids = { channel: null, transport: null };
  #wasConnected = false;
  #roomEnding = null;
  #demoCrashed = false;

  constructor(lobby, demo) {
    this.#lobby = lobby;
    this.#demo = demo;
    byId("demo-topic").textContent = demo.topic;
    this.#watchRoom();
    this.#watchDemo();
    this.#bindButtons();
    this.#refresh();
  }

  socketChanged(state, { code, wasConnected }) {
    if (state === "connected") this.#connected();
    if (state === "disconnected" && wasConnected) this.#disconnected(code);
    // The socket notifies its channels after its own listeners.
    queueMicrotask(() => this.#refresh());
  }

  #connected() {
    if (this.#wasConnected) this.#increment("reconnects");
    this.#wasConnected = true;
    setState("transport-node", "joined");
  }

  #disconnected(code) {
    setState("transport-node", "errored");
    const lost = [this.#lobby, this.#demo].filter((channel) => channel.state === "joined").length;
    const taken = lost ? `, and ${lost === 1 ? "its channel" : `its ${lost} channels`} with it` : "";
    const reason = CLOSE_REASONS[code] ?? `The connection was lost without a close frame (${code ?? "no heartbeat"})`;
    this.#note("crash", `${reason}: transport ${this.#pids.transport ?? ""} has exited${taken}.`);
  }

  #watchRoom() {
    this.#lobby.onJoin(() => this.#roomJoined());
    this.#lobby.onError((cause) => this.#roomFailed(cause));
    this.#lobby.onClose(() => this.#roomClosed());
  }

  #roomJoined() {
    this.#increment("joins");
    this.#refresh();
    this.#lobby.push("whoami").then((answer) => this.#identify(answer), () => {});
  }

  #identify({ channel, transport }) {
    const before = this.#pids;
    this.#pids = { channel, transport };
    showPid("channel-pid", channel, before.channel);
    showPid("transport-pid", transport, before.transport);
    this.#note("birth", birthSentence(before, this.#pids, this.#roomEnding));
    this.#roomEnding = null;
  }

  #roomFailed({ source, reason }) {
    this.#roomEnding = source === "transport" ? "transport" : "crash";
    this.#refresh();
    if (source === "transport") return;
    if (source === "join") return this.#note("crash", `The join of room:lobby failed: ${reason}.`);
    this.#increment("crashes");
    const others = `its transport ${this.#pids.transport ?? ""} and ${this.#demo.topic} keep running`;
    this.#note("crash", `Channel ${this.#pids.channel ?? "room:lobby"} crashed (phx_error); ${others}. The client rejoins in a second.`);
  }

  #roomClosed() {
    const how = this.#roomEnding === "stop" ? "stopped normally" : "ended because you left";
    this.#note("end", `Channel ${this.#pids.channel ?? "room:lobby"} ${how} (phx_close). It is not started again until you rejoin.`);
    this.#refresh();
    byId("join-room").focus({ preventScroll: true });
  }

  #watchDemo() {
    this.#demo.on("tick", ({ value }) => { byId("demo-state").textContent = `state: tick ${value}`; });
    this.#demo.onJoin(() => this.#demoJoined());
    this.#demo.onError((cause) => this.#demoFailed(cause));
  }

  #demoJoined() {
    this.#increment("joins");
    this.#refresh();
    flash(byId("demo-node"), "born");
    if (this.#demoCrashed) this.#note("birth", `${this.#demo.topic} has rejoined as a new actor, without the state of the old one: it counts from 0.`);
    this.#demoCrashed = false;
  }

  #demoFailed({ source, reason }) {
    this.#refresh();
    if (source === "transport") return;
    if (source === "join") return this.#note("crash", `The join of ${this.#demo.topic} failed: ${reason}.`);
    this.#demoCrashed = true;
    this.#increment("crashes");
    this.#note("crash", `${this.#demo.topic} crashed on “ping:soon”, which has no number. Its ticks stop; the chat goes on.`);
  }

  #bindButtons() {
    onClick("crash-channel", () => this.#lobby.tell("crash"));
    onClick("crash-demo", () => this.#demo.tell("ping:soon"));
    onClick("crash-transport", () => this.#lobby.tell("crash_transport"));
    onClick("stop-channel", () => this.#end("stop", () => this.#lobby.push("stop").catch(() => {})));
    onClick("leave", () => this.#end("leave", () => this.#lobby.leave()));
    onClick("fail", () => this.#fail());
    onClick("join-room", () => this.#joinRoom());
  }

  #end(how, action) {
    this.#roomEnding = how;
    action();
  }

  async #fail() {
    const asked = "You pushed “fail” to room:lobby";
    try {
      await this.#lobby.push("fail");
      this.#note("end", `${asked}, and the reply was ok.`);
    } catch ({ message }) {
      this.#note("end", `${asked}: it replied error, “${message}”. An error is a reply, not a crash: the channel keeps running.`);
    }
  }

  #joinRoom() {
    this.#lobby.join();
    this.#refresh();
    byId("crash-channel").focus({ preventScroll: true });
  }

  #refresh() {
    this.#refreshRoom();
    this.#refreshDemo();
  }

  #refreshRoom() {
    const { state } = this.#lobby;
    const joined = state === "joined";
    setState("room-node", state);
    byId("room-state").textContent = stateText(state);
    const why = joined ? "" : `${REASONS[state] ?? "Not joined"}, so these buttons have no channel to push to.`;
    for (const id of ["crash-channel", "stop-channel", "leave", "fail"]) setEnabled(byId(id), joined, why);
    setEnabled(byId("crash-transport"), joined, joined ? "" : "The crash is requested through room:lobby, which is not joined.");
    explain("room-why", why);
    explain("transport-why", joined ? "" : byId("crash-transport").title);
    byId("join-room").hidden = state !== "closed";
  }

  #refreshDemo() {
    const { state } = this.#demo;
    setState("demo-node", state);
    const why = state === "joined" ? "" : `${REASONS[state] ?? "Not joined"}: there is no channel to crash.`;
    setEnabled(byId("crash-demo"), state === "joined", why);
    explain("demo-why", why);
    if (state !== "joined") byId("demo-state").textContent = stateText(state);
  }

  #increment(name) {
    this.#counts[name] += 1;
    byId(name).textContent = this.#counts[name];
    flash(byId(name), "bumped");
  }

  #note(kind, sentence) {
    const time = element("time", "", timeOfDay());
    const history = byId("history");
    history.prepend(element("li", kind, time, element("span", "", sentence)));
    bound(history, HISTORY_LIMIT, "first");
  }
}

function birthSentence(before, after, ending) {
  if (!before.channel) return `Joined room:lobby: the server started channel ${after.channel} below transport ${after.transport}.`;
  if (ending === "transport") {
    return `Reconnected and rejoined automatically: transport ${before.transport} → ${after.transport}, channel ${before.channel} → ${after.channel}.`;
  }
  if (ending === "crash") return `Channel ${before.channel} crashed → rejoined as ${after.channel}; the connection was not affected.`;
  return `Joined again: a new channel, ${after.channel}, below the same transport ${after.transport}.`;
}

function stateText(state) {
  return { joining: "joining…", joined: "joined", errored: "down, will rejoin", closed: "not joined", leaving: "leaving…" }[state];
}

function explain(id, why) {
  byId(id).textContent = why;
  byId(id).hidden = !why;
}

function setState(id, state) {
  byId(id).dataset.state = state;
}

function showPid(id, pid, previous) {
  const target = byId(id);
  target.textContent = pid;
  if (pid === previous) return;
  target.dataset.changes = Number(target.dataset.changes) + (previous ? 1 : 0);
  flash(target, "changed");
  flash(target.closest(".node"), "born");
}
