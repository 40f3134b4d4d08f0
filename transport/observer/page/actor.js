/** The panel of one actor: its state, its messages, its links and monitors, and the buttons that act on it. */
import { bound, byId, element, flash, onClick, timeOfDay } from "./dom.js";

const MESSAGES = 20;
const CONFIRM_MS = 4000;
const PID = /<0\.(\d+)\.0>/;
const FIGURES = {
  mailbox: "waiting", mailbox_limit: "may wait", left_out: "found no room", handled: "handled", restarts: "restarts", children: "children", message: "handling", names: "registered as",
  timers: "timers", trap_exit: "traps exits",
};
const TIES = { ancestors: "ancestors", links: "links", monitors: "monitors", monitored_by: "monitored by" };

export class Actor {
  id = null;
  #on;
  #facts = {};
  #bornAt = 0;
  #values = new Map();
  #confirmTimer = null;

  /** `onGo(id)` selects another actor; `onOrder(verb, id)` resolves to the reason of a refusal, or "". */
  constructor(on) {
    this.#on = on;
    for (const verb of ["suspend", "resume"]) onClick(verb, () => this.#order(verb));
    onClick("kill", () => this.#kill());
    byId("actor").addEventListener("click", ({ target }) => target.dataset.go && on.onGo(target.dataset.go));
    setInterval(() => this.#showAge(), 1000);
  }

  /** Clears the panel for another actor; `apply` fills it in. */
  begin(id) {
    this.id = id;
    this.#facts = {};
    this.#values.clear();
    this.#calm();
    byId("nobody").hidden = id !== null;
    byId("chosen").hidden = true;
    byId("actor").classList.toggle("open", id !== null);
    byId("answer").textContent = "";
    byId("successor").hidden = true;
    for (const list of ["state", "messages", "ties", "figures"]) byId(list).replaceChildren();
  }

  apply({ id, messages = [], ...facts }) {
    if (id !== this.id) return;
    Object.assign(this.#facts, facts);
    if ("age" in facts) this.#bornAt = performance.now() - facts.age * 1000;
    byId("chosen").hidden = false;
    this.#showHead();
    if (Object.keys(FIGURES).some((name) => name in facts)) this.#showFigures();
    if ("record" in facts) this.#showSince(facts.record);
    if ("state" in facts) this.#showState(facts.state);
    if (Object.keys(TIES).some((name) => name in facts)) this.#showTies();
    for (const message of messages) this.#showMessage(message);
  }

  /** The actor that is shown has exited; offers the one that has taken its place. */
  succeeded({ id, pid }, before) {
    if (this.#facts.pid !== before) return;
    byId("successor").dataset.go = id;
    byId("successor").textContent = `Show its successor ${pid}`;
    byId("successor").hidden = false;
  }

  #showHead() {
    const { name, pid, actor, status, reason } = this.#facts;
    byId("actor-name").textContent = name ?? "";
    byId("actor-pid").textContent = pid ?? "";
    byId("actor-class").textContent = actor ?? "";
    byId("actor-status").textContent = status;
    byId("actor-status").dataset.status = status;
    byId("reason").hidden = status !== "dead";
    if (byId("reason-text").textContent !== `Exited: ${reason}`) byId("reason-text").textContent = `Exited: ${reason}`;
    const dead = status === "dead";
    byId("suspend").hidden = dead || status === "suspended";
    byId("resume").hidden = dead || status !== "suspended";
    byId("kill").hidden = dead;
  }

  #showFigures() {
    const shown = [["age", ""]];
    for (const [fact, title] of Object.entries(FIGURES)) {
      const text = figure(fact, this.#facts[fact]);
      if (text) shown.push([title, text]);
    }
    byId("figures").replaceChildren(...shown.map(([title, text]) => {
      const pair = element("div", text.length > 24 ? "wide" : "", element("dt", "", title), element("dd", "", text));
      pair.dataset.fact = title;
      return pair;
    }));
    this.#showAge();
  }

  #showAge() {
    const shown = byId("figures").querySelector("[data-fact=age] dd");
    if (shown && this.#facts.status !== "dead") shown.textContent = duration((performance.now() - this.#bornAt) / 1000);
  }

  /** Highlights values that have changed; the others are not touched, so that text stays selected. */
  #showState(state) {
    const gone = new Set(this.#values.keys());
    const isFirst = gone.size === 0;
    for (const [name, text] of state) {
      gone.delete(name);
      const known = this.#values.get(name);
      if (known?.textContent === text) continue;
      const value = known ?? element("dd");
      value.textContent = text;
      value.classList.toggle("filtered", text === "[FILTERED]");
      if (!known) {
        const isWide = text.includes("\n") || text.length > 40;
        const pair = element("div", isWide ? "wide" : "", element("dt", "", name), isWide ? focusable(value) : value);
        pair.dataset.attribute = name;
        byId("state").append(pair);
        this.#values.set(name, value);
      }
      if (!isFirst) flash(value, "changed");
    }
    for (const name of gone) {
      this.#values.get(name).parentElement.remove();
      this.#values.delete(name);
    }
  }

  /** Says which messages are listed: an actor with a recorder has kept earlier ones. */
  #showSince(record) {
    byId("since").textContent = record ? "recorded earlier ones included, newest first" : "since you selected it, newest first";
  }

  #showTies() {
    const rows = Object.entries(TIES).filter(([fact]) => this.#facts[fact]?.length);
    byId("ties").replaceChildren(...rows.map(([fact, title]) => {
      const names = this.#facts[fact].map((name) => tie(name));
      return element("div", "", element("dt", "", title), element("dd", "", ...names));
    }));
  }

  #showMessage({ ago, ms, text, brief, reply, error }) {
    const at = new Date(Date.now() - ago * 1000);
    const whole = element("details", "", element("summary", "", inOneLine(brief ?? text)), focusable(element("pre", "", text)));
    const item = element("li", error ? "failed" : "", element("time", "", timeOfDay(at, 1)), whole, element("span", "took", `${format(ms)} ms`));
    if (reply) item.append(element("pre", "reply", `→ ${reply}`));
    if (error) item.append(element("pre", "error", error));
    byId("messages").prepend(item);
    bound(byId("messages"), MESSAGES, "first");
  }

  // Orders

  async #order(verb) {
    const id = this.id;
    const refused = await this.#on.onOrder(verb, id);
    if (id !== this.id) return;
    byId("answer").textContent = refused ? `Not done: ${refused}` : "";
    if (!refused && verb !== "kill") byId(verb === "suspend" ? "resume" : "suspend").focus();
  }

  /** Kills on the second of two clicks. */
  #kill() {
    if (this.#confirmTimer === null) {
      byId("kill").textContent = `Kill ${this.#facts.name}?`;
      byId("kill").classList.add("sure");
      this.#confirmTimer = setTimeout(() => this.#calm(), CONFIRM_MS);
    } else {
      this.#calm();
      this.#order("kill");
    }
  }

  #calm() {
    clearTimeout(this.#confirmTimer);
    this.#confirmTimer = null;
    byId("kill").textContent = "Kill";
    byId("kill").classList.remove("sure");
  }
}

function figure(fact, value) {
  if (fact === "trap_exit") return value ? "yes" : "";
  if (fact === "timers") return value?.length ? value.map((seconds) => `${seconds} s`).join(", ") : "";
  if (Array.isArray(value)) return value.join(", ");
  if (fact === "mailbox" || fact === "handled") return value.toLocaleString("en");
  return value ? value.toLocaleString("en") : "";
}

/** Lets what may have to be scrolled be scrolled with the keyboard. */
function focusable(shown) {
  shown.tabIndex = 0;
  return shown;
}

function inOneLine(text) {
  return text.replace(/([([{])\s+/g, "$1").replace(/,?\s+([)\]}])/g, "$1").replace(/\s+/g, " ");
}

function tie(name) {
  const number = PID.exec(name)?.[1];
  const shown = element(number ? "button" : "span", number ? "tie" : "", name);
  if (number) shown.dataset.go = number;
  return shown;
}

function format(ms) {
  return ms < 1 ? ms.toFixed(3) : ms < 100 ? ms.toFixed(1) : Math.round(ms).toLocaleString("en");
}

function duration(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} days`;
}
