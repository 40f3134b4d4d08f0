/**
 * A small client of Phoenix Channels, protocol version 2.0.0.
 * Every message is one text frame: [join_ref, ref, topic, event, payload].
 */

const PUSH_TIMEOUT = 10_000;
const HEARTBEAT_INTERVAL = 30_000;
const RECONNECT_DELAYS = [10, 50, 100, 150, 200, 250, 500, 1000, 2000, 5000];
const REJOIN_DELAYS = [1000, 2000, 5000, 10_000];
const NORMAL_CLOSURE = 1000;

/** The code with which `interrupt` closes. */
export const INTERRUPTED = 4000;

/** A failed push: `status` is "error" (the server's reply), "timeout", "lost" (the channel crashed) or "closed". */
export class PushError extends Error {
  constructor(status, response = {}) {
    super(response?.reason ?? status);
    this.name = "PushError";
    this.status = status;
    this.response = response;
  }
}

/** Calls `action` after the next of `delays`; the last delay repeats. */
class Backoff {
  #delays;
  #action;
  #tries = 0;
  #timer = null;

  constructor(delays, action) {
    this.#delays = delays;
    this.#action = action;
  }

  schedule() {
    const delay = this.#delays[Math.min(this.#tries, this.#delays.length - 1)];
    this.#tries += 1;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#action, delay);
    return delay;
  }

  reset() {
    this.#tries = 0;
    clearTimeout(this.#timer);
  }
}

/** One connection, shared by the channels of many topics. */
export class Socket {
  state = "disconnected";
  #url;
  #protocols;
  #onFrame;
  #onState;
  #webSocket = null;
  #channels = new Map();
  #lastRef = 0;
  #heartbeatTimer = null;
  #heartbeatRef = null;
  #interruption = null;
  #reconnect = new Backoff(RECONNECT_DELAYS, () => this.connect());

  /** `onFrame(direction, text)` is called for every frame, `onState(state, detail)` for connecting, connected and disconnected. */
  constructor(path, { params = {}, authToken = null, onFrame = () => {}, onState = () => {} } = {}) {
    this.#url = new URL(`${path}/websocket`, location.href);
    this.#url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    this.#url.search = new URLSearchParams({ ...params, vsn: "2.0.0" });
    this.#protocols = authToken ? ["phoenix", `base64url.bearer.phx.${btoa(authToken).replaceAll("=", "")}`] : [];
    this.#onFrame = onFrame;
    this.#onState = onState;
  }

  get connected() {
    return this.state === "connected";
  }

  connect() {
    if (this.#webSocket) return;
    const webSocket = new WebSocket(this.#url, this.#protocols);
    this.#webSocket = webSocket;
    webSocket.onopen = () => this.#opened();
    webSocket.onmessage = ({ data }) => this.#received(data);
    webSocket.onclose = ({ code }) => this.#closed(code);
    this.#change("connecting");
  }

  disconnect() {
    this.#reconnect.reset();
    this.#drop(NORMAL_CLOSURE);
  }

  /** Closes the connection, and connects again after so many milliseconds. */
  interrupt(milliseconds) {
    this.#drop(INTERRUPTED);
    this.#reconnect.reset();
    clearTimeout(this.#interruption);
    this.#interruption = setTimeout(() => this.connect(), milliseconds);
  }

  /** The channel of `topic`, created on first use; `join` it before pushing. */
  channel(topic, params = {}) {
    if (!this.#channels.has(topic)) this.#channels.set(topic, new Channel(this, topic, params));
    return this.#channels.get(topic);
  }

  makeRef() {
    this.#lastRef += 1;
    return String(this.#lastRef);
  }

  send(frame) {
    if (!this.connected) return;
    const text = JSON.stringify(frame);
    this.#onFrame("out", text);
    this.#webSocket.send(text);
  }

  #change(state, detail = {}) {
    this.state = state;
    this.#onState(state, detail);
  }

  #opened() {
    this.#reconnect.reset();
    this.#heartbeatTimer = setInterval(() => this.#heartbeat(), HEARTBEAT_INTERVAL);
    this.#change("connected");
    for (const channel of this.#channels.values()) channel.socketOpened();
  }

  #received(text) {
    if (typeof text !== "string") return;
    this.#onFrame("in", text);
    const [joinRef, ref, topic, event, payload] = JSON.parse(text);
    if (topic === "phoenix" && ref === this.#heartbeatRef) this.#heartbeatRef = null;
    this.#channels.get(topic)?.receive({ joinRef, ref, event, payload });
  }

  #heartbeat() {
    // A dead network does not answer a closing handshake either, so the connection is dropped on this side only.
    if (this.#heartbeatRef) return this.#drop();
    this.#heartbeatRef = this.makeRef();
    this.send([null, this.#heartbeatRef, "phoenix", "heartbeat", {}]);
  }

  #drop(code) {
    const webSocket = this.#webSocket;
    if (!webSocket) return;
    webSocket.onopen = webSocket.onmessage = webSocket.onclose = null;
    webSocket.close();
    this.#closed(code);
  }

  #closed(code) {
    clearInterval(this.#heartbeatTimer);
    this.#heartbeatRef = null;
    this.#webSocket = null;
    const wasConnected = this.connected;
    // With code 1000 the server asks the client not to reconnect.
    const retryIn = code === NORMAL_CLOSURE ? null : this.#reconnect.schedule();
    this.#change("disconnected", { code, wasConnected, retryIn });
    for (const channel of this.#channels.values()) channel.socketClosed();
  }
}

/**
 * One joined topic; its state is closed, joining, joined, errored or leaving. `params` is the payload of the join, or a function
 * that returns it. What is received goes through `trigger`, as in phoenix.js.
 */
export class Channel {
  state = "closed";
  #socket;
  #params;
  #joinRef = null;
  #sent = new Map();
  #waiting = [];
  #handlers = new Map();
  #callbacks = { join: [], error: [], close: [] };
  #rejoin = new Backoff(REJOIN_DELAYS, () => this.#sendJoin());

  constructor(socket, topic, params) {
    this.#socket = socket;
    this.topic = topic;
    this.#params = params;
  }

  /** The ref of the last join. */
  joinRef() {
    return this.#joinRef;
  }

  /** Calls `handler(payload, ref)` for each event of that name. */
  on(event, handler) {
    this.#handlers.set(event, [...(this.#handlers.get(event) ?? []), handler]);
  }

  /** Called with the reply after every successful join, including rejoins. */
  onJoin(callback) {
    this.#callbacks.join.push(callback);
  }

  /** Called with `{source, reason}`, where source is "channel", "transport" or "join"; the client rejoins automatically. */
  onError(callback) {
    this.#callbacks.error.push(callback);
  }

  /** Called after a leave or a normal stop; the client does not rejoin. */
  onClose(callback) {
    this.#callbacks.close.push(callback);
  }

  join() {
    if (this.state === "closed") this.#sendJoin();
  }

  leave() {
    if (this.state === "closed" || this.state === "leaving") return;
    this.#rejoin.reset();
    if (!this.#socket.connected) return this.#close();
    this.state = "leaving";
    const close = () => this.state === "leaving" && this.#close();
    this.#transmit(this.#newPush("phx_leave", {}, close, close));
  }

  /** Resolves to the response of the reply, or rejects with a PushError. A push is sent once the join has succeeded. */
  push(event, payload = {}) {
    return new Promise((resolve, reject) => {
      if (this.state === "closed" || this.state === "leaving") return reject(new PushError("closed"));
      const push = this.#newPush(event, payload, resolve, reject);
      if (this.state === "joined") this.#transmit(push);
      else this.#waiting.push(push);
    });
  }

  /** Pushes an event without a reply; nothing is sent unless the channel is joined. */
  tell(event, payload = {}) {
    if (this.state !== "joined") return;
    this.#socket.send([this.#joinRef, this.#socket.makeRef(), this.topic, event, payload]);
  }

  socketOpened() {
    if (this.state === "joining" || this.state === "errored") this.#sendJoin();
  }

  socketClosed() {
    if (this.state === "leaving") this.#close();
    else if (this.state !== "closed") this.#fail("transport", "connection closed");
  }

  receive({ joinRef, ref, event, payload }) {
    const stale = joinRef !== null && joinRef !== this.#joinRef;
    if (stale || this.state === "closed") return;
    this.trigger(event, payload, ref);
  }

  trigger(event, payload, ref) {
    if (event === "phx_reply") this.#settle(ref, payload);
    else if (event === "phx_close") this.#close();
    else if (event === "phx_error") this.#fail("channel", payload.reason);
    else for (const handler of this.#handlers.get(event) ?? []) handler(payload, ref);
  }

  #sendJoin() {
    this.state = "joining";
    if (!this.#socket.connected) return;
    const joinRef = this.#socket.makeRef();
    this.#joinRef = joinRef;
    const refused = (error) => this.#joinRef === joinRef && this.#joinRefused(error);
    const params = typeof this.#params === "function" ? this.#params() : this.#params;
    this.#transmit(this.#newPush("phx_join", params, (response) => this.#joined(response), refused), joinRef);
  }

  #joined(response) {
    if (this.state !== "joining") return;
    this.state = "joined";
    this.#rejoin.reset();
    this.#run("join", response);
    for (const push of this.#waiting.splice(0)) this.#transmit(push);
  }

  #joinRefused(error) {
    if (error.status === "lost" || error.status === "closed") return;
    // The server may still be handling a join that has timed out; it must not succeed unnoticed.
    if (error.status === "timeout") this.#socket.send([this.#joinRef, this.#socket.makeRef(), this.topic, "phx_leave", {}]);
    this.#fail("join", error.message);
  }

  #fail(source, reason) {
    if (this.state === "leaving") return this.#close();
    this.state = "errored";
    this.#abandon([...this.#sent.values()], "lost");
    if (this.#socket.connected) this.#rejoin.schedule();
    else this.#rejoin.reset();
    this.#run("error", { source, reason });
  }

  #close() {
    this.state = "closed";
    this.#rejoin.reset();
    this.#abandon([...this.#sent.values(), ...this.#waiting.splice(0)], "closed");
    this.#run("close");
  }

  #newPush(event, payload, resolve, reject) {
    const push = { ref: null, event, payload, resolve, reject };
    push.timer = setTimeout(() => this.#abandon([push], "timeout"), PUSH_TIMEOUT);
    return push;
  }

  #transmit(push, ref = this.#socket.makeRef()) {
    push.ref = ref;
    this.#sent.set(ref, push);
    this.#socket.send([this.#joinRef, ref, this.topic, push.event, push.payload]);
  }

  #settle(ref, { status, response }) {
    const push = this.#sent.get(ref);
    if (!push) return;
    this.#forget(push);
    if (status === "ok") push.resolve(response);
    else push.reject(new PushError(status, response));
  }

  #abandon(pushes, status) {
    for (const push of pushes) {
      this.#forget(push);
      push.reject(new PushError(status));
    }
  }

  #forget(push) {
    clearTimeout(push.timer);
    this.#sent.delete(push.ref);
    this.#waiting = this.#waiting.filter((waiting) => waiting !== push);
  }

  #run(name, argument) {
    for (const callback of this.#callbacks[name]) callback(argument);
  }
}
