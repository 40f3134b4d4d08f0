/** The frames of the connection, as a browser's network tab shows them. */
import { bound, byId, element, onClick, timeOfDay } from "./dom.js";

const LIMIT = 400;
const ARROWS = { out: ["↑", "sent"], in: ["↓", "received"] };

export class FrameLog {
  #frames = [];
  #fresh = [];
  #topics = new Set();
  #missed = 0;
  #paused = false;
  #rows = byId("frames");
  #scroll = byId("frame-scroll");
  #topic = byId("frame-topic");
  #text = byId("frame-text");

  constructor() {
    this.#topic.addEventListener("change", () => this.#show());
    this.#text.addEventListener("input", () => this.#show());
    onClick("frame-pause", () => this.#togglePause());
    onClick("frame-clear", () => this.#clear());
  }

  add(direction, text) {
    const frame = { direction, text, at: new Date(), fields: JSON.parse(text) };
    this.#frames.push(frame);
    if (this.#frames.length > LIMIT) this.#frames.shift();
    this.#offerTopic(frame.fields[2]);
    if (this.#paused) this.#missed += 1;
    // Rows are created once per animation frame, so that the log does not slow down what it shows.
    if (this.#fresh.length === 0) requestAnimationFrame(() => this.#flush());
    this.#fresh.push(frame);
    if (this.#fresh.length > LIMIT) this.#fresh.shift();
  }

  #flush() {
    const fresh = this.#fresh.splice(0);
    if (!this.#paused) this.#append(fresh.filter((frame) => this.#matches(frame)));
    this.#count();
  }

  #append(frames) {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroll;
    const following = scrollHeight - scrollTop - clientHeight < 40;
    this.#rows.append(...frames.map(row));
    bound(this.#rows, LIMIT);
    if (following) this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }

  #show() {
    this.#fresh = [];
    this.#rows.replaceChildren();
    this.#append(this.#frames.filter((frame) => this.#matches(frame)));
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
    this.#count();
  }

  #matches({ text, fields }) {
    if (this.#topic.value && fields[2] !== this.#topic.value) return false;
    const wanted = this.#text.value.trim().toLowerCase();
    const hide = wanted.length > 1 && wanted.startsWith("-");
    return hide ? !text.toLowerCase().includes(wanted.slice(1)) : text.toLowerCase().includes(wanted);
  }

  #offerTopic(topic) {
    if (this.#topics.has(topic)) return;
    this.#topics.add(topic);
    this.#topic.add(new Option(topic, topic));
  }

  #togglePause() {
    this.#paused = !this.#paused;
    this.#missed = 0;
    byId("frame-pause").setAttribute("aria-pressed", String(this.#paused));
    byId("frame-pause").textContent = this.#paused ? "Resume" : "Pause";
    if (this.#paused) this.#count();
    else this.#show();
  }

  #clear() {
    this.#frames = [];
    this.#missed = 0;
    this.#show();
  }

  #count() {
    const shown = this.#rows.childElementCount;
    const total = this.#frames.length;
    const count = shown === total ? `${total}` : `${shown} of ${total}`;
    byId("frame-count").textContent = this.#paused ? `paused, ${this.#missed} more` : count;
  }
}

function row({ direction, at, fields }) {
  const [joinRef, ref, topic, event, payload] = fields;
  const [arrow, meaning] = ARROWS[direction];
  const made = element("tr", "",
    cell("arrow", element("span", "visually-hidden", meaning), glyph(arrow)),
    cell("time", timeOfDay(at, 3)),
    cell("ref", refText(joinRef)),
    cell("ref", refText(ref)),
    cell("topic", topic),
    cell("event", event),
    cell("payload", payloadView(payload)));
  made.dataset.direction = direction;
  made.dataset.event = event;
  if (payload?.status) made.dataset.status = payload.status;
  return made;
}

function cell(className, ...children) {
  return element("td", className, ...children);
}

function glyph(arrow) {
  const made = element("span", "", arrow);
  made.setAttribute("aria-hidden", "true");
  return made;
}

function refText(ref) {
  return ref === null ? element("span", "null", "null") : ref;
}

function payloadView(payload) {
  const short = JSON.stringify(payload);
  if (short.length < 24) return short;
  const view = element("details", "", element("summary", "", short), element("pre", "", JSON.stringify(payload, null, 2)));
  view.addEventListener("toggle", () => view.open && view.scrollIntoView({ block: "nearest" }));
  return view;
}
