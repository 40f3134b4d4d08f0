/** The figures of all actors, with the last minute of their messages. */
import { byId } from "./dom.js";

const SAMPLES = 120;
const WIDTH = 120;
const HEIGHT = 24;
const PERIOD = 500;

export class Totals {
  #rates = [];
  #latest = 0;

  constructor() {
    setInterval(() => this.#draw(), PERIOD);
  }

  show({ actors, rate, waiting }) {
    this.#latest = rate;
    byId("actors").textContent = actors.toLocaleString("en");
    byId("rate").textContent = rate.toLocaleString("en", { maximumFractionDigits: rate < 10 ? 1 : 0 });
    byId("waiting").textContent = waiting.toLocaleString("en");
  }

  #draw() {
    if (document.hidden) return;
    this.#rates = [...this.#rates, this.#latest].slice(-SAMPLES);
    const top = Math.max(...this.#rates, 1);
    const step = WIDTH / (SAMPLES - 1);
    const start = WIDTH - (this.#rates.length - 1) * step;
    const points = this.#rates.map((rate, at) => `${(start + at * step).toFixed(1)},${(HEIGHT - 2 - (rate / top) * (HEIGHT - 4)).toFixed(1)}`);
    const [area, line] = byId("spark").children;
    line.setAttribute("points", points.join(" "));
    area.setAttribute("points", `${start.toFixed(1)},${HEIGHT} ${points.join(" ")} ${WIDTH},${HEIGHT}`);
  }
}
