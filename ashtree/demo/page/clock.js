/** The panel of the demo channel: ticks, pings and debounced broadcasts. */
import { bound, byId, element, flash, onClick } from "./dom.js";
import { PingLanes } from "./ping_lanes.js";

const TICK_PERIOD = 5000;
const ANSWERS_SHOWN = 6;
const DELAYED_FIRST = ["ping:3000", "ping:2000", "ping:1000", "ping"];
const OUTCOMES = { lost: "lost with its actor", timeout: "no reply in 10 s", closed: "not joined", error: "refused" };
const REDUCED_MOTION = matchMedia("(prefers-reduced-motion: reduce)");

export class Clock {
  #channel;
  #lanes = new PingLanes(byId("lanes"));
  #asked = 0;
  #countdown = null;

  constructor(channel) {
    this.#channel = channel;
    channel.on("tick", ({ value }) => this.#tick(value));
    channel.on("debounce_ping", () => count("debounce-arrivals", "arrival-strip"));
    channel.onError(() => this.#stopTicking());
    onClick("ping", () => this.#ping("ping"));
    onClick("delayed-pings", () => DELAYED_FIRST.forEach((event) => this.#ping(event)));
    onClick("debounce", () => this.#debounce());
  }

  #tick(value) {
    byId("tick").textContent = value;
    byId("tick-note").textContent = "the next tick comes when the ring is empty";
    flash(byId("tick"), "bumped");
    this.#countdown?.cancel();
    const easing = REDUCED_MOTION.matches ? "steps(5)" : "linear";
    this.#countdown = byId("tick-ring").animate({ strokeDashoffset: [0, -1] }, { duration: TICK_PERIOD, easing, fill: "forwards" });
  }

  #stopTicking() {
    this.#countdown?.pause();
    byId("tick-note").textContent = "the channel has crashed, and its timer with it";
  }

  async #ping(event) {
    this.#asked += 1;
    const lane = this.#lanes.ask(`#${this.#asked} ${event}`);
    const number = this.#asked;
    const answer = await this.#channel.push(event).then(() => "answered", ({ status }) => status);
    const milliseconds = this.#lanes.answer(lane, answer);
    this.#showAnswer(number, event, answer, milliseconds);
  }

  #showAnswer(number, event, answer, milliseconds) {
    const time = OUTCOMES[answer] ?? `pong after ${format(milliseconds)}`;
    const item = element("li", answer, element("b", "", `#${number}`), ` ${event}: ${time}`);
    item.dataset.event = event;
    byId("pings").prepend(item);
    bound(byId("pings"), ANSWERS_SHOWN, "first");
  }

  #debounce() {
    if (this.#channel.state !== "joined") return;
    this.#channel.tell("debounce_ping");
    count("debounce-clicks", "click-strip");
  }
}

function format(milliseconds) {
  return `${milliseconds < 100 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`;
}

function count(counterId, stripId) {
  const counter = byId(counterId);
  counter.textContent = Number(counter.textContent) + 1;
  if (!REDUCED_MOTION.matches) drift(byId(stripId));
}

function drift(strip) {
  const dot = element("i", "dot");
  dot.addEventListener("animationend", () => dot.remove());
  strip.append(dot);
}
