/** One lane for each ping of a burst, from the time it is sent to the time of its reply. */
import { element } from "./dom.js";

const SHORTEST_SPAN = 3300;
const LANE_LIMIT = 10;

export class PingLanes {
  #list;
  #lanes = [];
  #drawing = false;

  constructor(list) {
    this.#list = list;
  }

  ask(label) {
    if (this.#lanes.every((lane) => lane.answeredAt)) this.#clear();
    const bar = element("span", "bar");
    const time = element("span", "lane-time");
    const lane = { askedAt: performance.now(), answeredAt: null, bar, time };
    lane.item = element("li", "waiting", element("span", "lane-label", label), element("span", "track", bar), time);
    this.#lanes.push(lane);
    this.#list.append(lane.item);
    this.#dropOldest();
    this.#draw();
    return lane;
  }

  /** Ends the lane and returns the milliseconds it took. */
  answer(lane, outcome) {
    lane.answeredAt = performance.now();
    lane.item.className = outcome;
    return lane.answeredAt - lane.askedAt;
  }

  #clear() {
    this.#lanes = [];
    this.#list.replaceChildren();
  }

  #dropOldest() {
    if (this.#lanes.length <= LANE_LIMIT) return;
    const index = Math.max(0, this.#lanes.findIndex((lane) => lane.answeredAt));
    this.#lanes.splice(index, 1)[0].item.remove();
  }

  #draw() {
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => this.#drawFrame());
  }

  #drawFrame() {
    this.#drawing = false;
    const now = performance.now();
    const start = this.#lanes[0].askedAt;
    const span = Math.max(SHORTEST_SPAN, ...this.#lanes.map((lane) => (lane.answeredAt ?? now) - start));
    for (const lane of this.#lanes) drawLane(lane, start, span, now);
    if (this.#lanes.some((lane) => !lane.answeredAt)) this.#draw();
  }
}

function drawLane({ askedAt, answeredAt, bar, time }, start, span, now) {
  const took = (answeredAt ?? now) - askedAt;
  bar.style.left = `${((askedAt - start) / span) * 100}%`;
  bar.style.width = `${(took / span) * 100}%`;
  time.textContent = answeredAt ? `${took < 100 ? took.toFixed(1) : Math.round(took)} ms` : "";
}
