/**
 * A channel of stock phoenix.js that misses nothing: after each rejoin the server sends what was broadcast meanwhile, or says
 * that it no longer has all of it. The channel class on the server needs a `history`, and for `pushOnce` an `idempotency`
 * (docs/recovery.md).
 */

const BINARY = "@binary";
const KEY = "@key";
const RETRY = "@retry";
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

  function sendAgain(push) {
    if (push.receivedResp) unanswered.delete(push);
    else if (!channel.pushBuffer.includes(push)) push.resend(Math.max(0, unanswered.get(push) - Date.now()));
  }

  /** Sends a push again, unless it is answered by now, or the rejoin will do so. */
  function retry(push) {
    if (unanswered.has(push) && channel.state === "joined") sendAgain(push);
  }

  /** Whether an answer says that a push was not handled, and may be sent again: after the rejoin, or in so many seconds. */
  function comesAgain(ref, { status, response }) {
    const push = [...unanswered.keys()].find((push) => push.ref === ref);
    if (!push || status !== "error") return false;
    const isLater = typeof response?.[RETRY] === "number";
    if (isLater) setTimeout(retry, response[RETRY] * 1000, push);
    return isLater || response?.reason === "unmatched topic"; // then its channel has just crashed
  }

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
      [...unanswered.keys()].forEach(sendAgain); // before stock phoenix.js sends what has waited for the join
    }
    if (event === "phx_reply" && comesAgain(ref, payload)) return;
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
