/**
 * A channel of stock phoenix.js that misses nothing: after each rejoin the server sends what was broadcast meanwhile, or says
 * that it no longer has all of it. The channel class on the server needs a `history`, and for `pushOnce` an `idempotency`
 * (docs/recovery.md).
 */

const BINARY = "@binary";
const KEY = "@key";
const SKIP = "phx_skip";

/** Returns `socket.channel(topic, params)`; its `recovery` is what the last join was answered: {epoch, offset, recovered, count}. */
export function recoverable(socket, topic, params = {}) {
  let position = null; // what was delivered last
  let asked = null; // the position of the last join
  let next = null; // the offset that must come next, null while none can be trusted
  const own = typeof params === "function" ? params : () => params;
  const channel = socket.channel(topic, () => ({ ...own(), recover: (asked = position && { ...position }) ?? true }));
  const dispatch = channel.trigger.bind(channel);
  const unanswered = new Map(); // pushes to be sent again, with the time at which each is given up

  function joined(recovery) {
    channel.recovery = recovery;
    if (!recovery.recovered) position = { epoch: recovery.epoch, offset: recovery.offset };
    next = (recovery.recovered ? asked.offset : recovery.offset) + 1;
  }

  function sendAgain() {
    for (const [push, end] of unanswered) {
      if (push.receivedResp) unanswered.delete(push);
      else if (!channel.pushBuffer.includes(push)) push.resend(Math.max(0, end - Date.now()));
    }
  }

  const waits = (ref) => [...unanswered.keys()].some((push) => push.ref === ref);

  /** Pushes an event that is sent again after each rejoin until it is answered, and handled once by the server. */
  channel.pushOnce = (event, payload, timeout = channel.timeout, key = randomKey()) => {
    const own = payload instanceof ArrayBuffer ? { [BINARY]: base64Of(payload) } : payload;
    const push = channel.push(event, { ...own, [KEY]: key }, timeout);
    unanswered.set(push, Date.now() + timeout);
    for (const status of ["ok", "error", "timeout"]) push.receive(status, () => unanswered.delete(push));
    return push;
  };

  channel.trigger = (event, payload, ref, joinRef) => {
    if (event === "phx_reply" && ref === channel.joinRef() && payload.status === "ok") {
      if (payload.response?.recover) joined(payload.response.recover);
      sendAgain(); // before stock phoenix.js sends what has waited for the join
    }
    if (event === "phx_reply" && isUnmatched(payload) && waits(ref)) return; // its channel has just crashed
    const offset = offsetOf(ref);
    if (offset === null) return dispatch(event, payload, ref, joinRef);
    if (next === null) return; // it comes again after the rejoin
    if (offset !== next) {
      next = null;
      return dispatch("phx_error", { reason: "missed" }); // phoenix.js rejoins
    }
    next += 1;
    if (offset <= position.offset) return; // it came before the answer to the join
    position.offset = offset;
    if (event !== SKIP) dispatch(event, isBinary(payload) ? bytesOf(payload) : payload, ref, joinRef);
  };

  /** Whether a callback's second argument is that of a broadcast that was missed, and not of a live one. */
  channel.isRecovered = (ref) =>
    offsetOf(ref) !== null && Boolean(channel.recovery?.recovered) && offsetOf(ref) <= channel.recovery.offset;
  return channel;
}

/** The offset that a recorded broadcast has in the place of a ref; null for anything else. */
function offsetOf(ref) {
  return typeof ref === "string" && ref.startsWith("@") ? Number(ref.slice(1)) : null;
}

/** Whether a push has found no channel on the server, and so was not handled. */
function isUnmatched({ status, response }) {
  return status === "error" && response?.reason === "unmatched topic";
}

function isBinary(payload) {
  return typeof payload[BINARY] === "string" && Object.keys(payload).length === 1;
}

function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (number) => number.toString(36)).join("");
}

function base64Of(buffer) {
  return btoa(Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join(""));
}

function bytesOf(payload) {
  try {
    return Uint8Array.from(atob(payload[BINARY]), (character) => character.charCodeAt(0)).buffer;
  } catch {
    return payload; // it is the application's own
  }
}
