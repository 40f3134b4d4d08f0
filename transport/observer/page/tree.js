/** The tree: rows keyed by actor, moved and updated only where they differ, with keyboard navigation (WAI-ARIA tree). */
import { element, flash } from "./dom.js";

const GHOST_MS = 2500;
/** How long an actor that has ended may have a successor: phoenix.js joins again after at most 10 s. */
const SUCCESSION_MS = 12_000;
const REBORN_MS = 4000;
const QUIET_MS = 1200;
const LEAP = 10;

export class Tree {
  own = new Set();
  #root;
  #on;
  #rows = new Map();
  #order = [];
  #ghosts = new Map();
  #current = null;
  #selected = null;
  #quietUntil = 0;
  #isFirst = true;

  /** `onFold(id, open)`, `onPage(id, first)`, `onSelect(id)`, `onEnded(row, reason, graceful)`, `onReborn(row, before)`. */
  constructor(root, on) {
    this.#root = root;
    this.#on = on;
    root.addEventListener("click", (event) => this.#clicked(event));
    root.addEventListener("keydown", (event) => this.#pressed(event));
    root.addEventListener("focusin", (event) => this.#focused(event));
  }

  set selected(id) {
    this.#mark(this.#selected, false);
    this.#selected = id;
    this.#mark(id, true);
    this.expectOthers();
  }

  focus(id = this.#current) {
    const row = this.#rows.get(id) ?? this.#rows.get(this.#current) ?? this.#rows.get(this.#order[0]);
    row?.element.focus();
  }

  /** The next rows appear because of a request of this page: they are not highlighted as new actors. */
  expectOthers() {
    this.#quietUntil = performance.now() + QUIET_MS;
  }

  /** The next difference is the complete tree. */
  forget() {
    this.#isFirst = true;
  }

  apply({ rows = [], order, ended = [] }) {
    const hadFocus = this.#root.contains(document.activeElement);
    const quiet = this.#isFirst || performance.now() < this.#quietUntil;
    if (this.#isFirst && order) this.#clear();
    const endings = new Map(ended.map((ending) => [ending.id, ending]));
    const changed = new Map(rows.map((row) => [row.id, row]));
    if (order) this.#leave(new Set(order), endings);
    for (const row of changed.values()) this.#write(row, quiet);
    if (order) this.#arrange(order);
    this.#keepReachable(hadFocus);
  }

  #clear() {
    this.#isFirst = false;
    this.#rows.clear();
    this.#ghosts.clear();
    this.#root.replaceChildren();
  }

  // Rows that are removed, and the ghosts that stay for a short time

  #leave(staying, endings) {
    if (!staying.has(this.#current)) this.#current = this.#above(this.#current, staying);
    for (const [id, row] of this.#rows) {
      if (staying.has(id)) continue;
      this.#rows.delete(id);
      const ending = endings.get(id);
      if (ending) this.#haunt(row, ending);
      else row.element.remove();
    }
  }

  /** The nearest row above that stays. */
  #above(id, staying) {
    return this.#order.slice(0, Math.max(this.#order.indexOf(id), 0)).findLast((other) => staying.has(other)) ?? null;
  }

  #haunt({ element: shown, data }, { reason, graceful }) {
    const key = keyOf(data);
    const ghost = { element: shown, data };
    shown.className = `row ghost ${graceful ? "over" : "crashed"}`;
    shown.setAttribute("aria-hidden", "true");
    shown.removeAttribute("role");
    shown.tabIndex = -1;
    shown.querySelector(".note").textContent = reason;
    this.#ghosts.set(key, ghost);
    setTimeout(() => shown.remove(), GHOST_MS);
    setTimeout(() => this.#exorcise(key, ghost), SUCCESSION_MS);
    this.#on.onEnded(data, reason, graceful);
  }

  #exorcise(key, ghost) {
    ghost.element.remove();
    if (this.#ghosts.get(key) === ghost) this.#ghosts.delete(key);
  }

  // Rows that are added or change

  #write(data, quiet) {
    const known = this.#rows.get(data.id);
    const row = known ?? { element: make(data), data };
    const before = row.data;
    row.data = data;
    this.#rows.set(data.id, row);
    if ("first" in data) fillPager(row.element, data);
    else fill(row.element, data, this.own.has(data.id));
    this.#mark(data.id, data.id === this.#selected);
    if (!known) this.#born(row, quiet);
    else if (before.restarts < data.restarts) flash(row.element, "reborn");
  }

  #born(row, quiet) {
    const ghost = this.#ghosts.get(keyOf(row.data));
    if (ghost && this.#succeeds(row, ghost)) {
      ghost.element.replaceWith(row.element);
      this.#exorcise(keyOf(row.data), ghost);
      row.element.querySelector(".before").textContent = ghost.data.pid;
      row.element.classList.add("reborn");
      setTimeout(() => row.element.classList.remove("reborn"), REBORN_MS);
      this.#on.onReborn(row.data, ghost.data.pid);
    } else if (!quiet && row.data.pid) {
      row.element.classList.add("born");
    }
  }

  /** Among several of one name, such as connections, a successor is known only if a supervisor has restarted it. */
  #succeeds(row, ghost) {
    if (row.data.restarts > ghost.data.restarts) return true;
    const key = keyOf(row.data);
    return ![...this.#rows.values()].some((other) => other !== row && keyOf(other.data) === key);
  }

  #arrange(order) {
    this.#order = order;
    let next = this.#root.firstElementChild;
    for (const id of order) {
      while (next?.classList.contains("ghost")) next = next.nextElementSibling;
      const { element: wanted } = this.#rows.get(id);
      if (wanted === next) next = next.nextElementSibling;
      else this.#root.insertBefore(wanted, next);
    }
  }

  // One row can be reached with Tab, the others from it with the arrow keys.

  #keepReachable(hadFocus) {
    if (!this.#rows.has(this.#current)) this.#current = this.#order[0] ?? null;
    const row = this.#rows.get(this.#current);
    if (!row) return;
    row.element.tabIndex = 0;
    // An element that is moved or becomes a ghost loses the focus.
    if (hadFocus && document.activeElement !== row.element) row.element.focus({ preventScroll: true });
  }

  #mark(id, isSelected) {
    this.#rows.get(id)?.element.setAttribute("aria-selected", String(isSelected));
  }

  #focused({ target }) {
    const id = target.closest(".row")?.dataset.id;
    if (!id) return;
    const before = this.#rows.get(this.#current);
    if (before) before.element.tabIndex = -1;
    this.#current = id;
    this.#rows.get(id).element.tabIndex = 0;
  }

  #clicked({ target }) {
    const row = this.#rows.get(target.closest(".row:not(.ghost)")?.dataset.id);
    if (!row) return;
    row.element.focus({ preventScroll: true });
    if ("first" in row.data) this.#turn(row.data, target.closest("[data-turn]")?.dataset.turn ?? "next");
    else if (target.closest(".twist") && row.data.open !== null) this.#fold(row.data);
    else if (row.data.pid) this.#on.onSelect(row.data.id);
  }

  #fold({ id, open }) {
    this.expectOthers();
    this.#on.onFold(id, !open);
  }

  #turn({ parent, first, last, siblings }, way) {
    const size = last - first + 1;
    const next = way === "next" ? last : first - 1 - size;
    this.expectOthers();
    this.#on.onPage(parent, next >= siblings || next < -size + 1 ? 0 : Math.max(next, 0));
  }

  #pressed(event) {
    const row = this.#rows.get(this.#current);
    if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
    const at = this.#order.indexOf(this.#current);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: LEAP, PageUp: -LEAP, Home: -Infinity, End: Infinity };
    if (event.key in steps) this.#goTo(Math.min(Math.max(at + steps[event.key], 0), this.#order.length - 1));
    else if ("first" in row.data) this.#pressedOnPager(event, row.data);
    else if (event.key === "ArrowRight") this.#right(row.data, at);
    else if (event.key === "ArrowLeft") this.#left(row.data);
    else if ((event.key === "Enter" || event.key === " ") && row.data.pid) this.#on.onSelect(row.data.id);
    else return;
    event.preventDefault();
  }

  #pressedOnPager({ key }, data) {
    if (key === "ArrowRight" || key === "Enter" || key === " ") this.#turn(data, "next");
    if (key === "ArrowLeft") this.#turn(data, "previous");
  }

  #right(data, at) {
    if (data.open === false) this.#fold(data);
    else if (data.open) this.#goTo(at + 1);
  }

  #left(data) {
    if (data.open) this.#fold(data);
    else this.#rows.get(data.parent)?.element.focus();
  }

  #goTo(at) {
    this.#rows.get(this.#order[at])?.element.focus();
  }
}

/** An actor with the same name and parent may be the successor. */
function keyOf({ parent, name }) {
  return `${parent}/${name}`;
}

function make(data) {
  const row = element("div", "row");
  row.dataset.id = data.id;
  row.setAttribute("role", "treeitem");
  row.tabIndex = -1;
  row.style.setProperty("--level", data.level - 1);
  if ("first" in data) {
    const [previous, next] = [["previous", "‹", "Previous page"], ["next", "›", "Next page"]].map(([turn, sign, title]) => {
      const button = element("span", "turn", sign);
      button.dataset.turn = turn;
      button.title = title;
      return button;
    });
    const spoken = element("span", "visually-hidden", "Enter shows the next");
    row.append(element("span", "more"), " ", unspoken(previous), element("span", "range"), " ", unspoken(next), spoken);
  } else {
    const figures = element("span", "figures", element("span", "restarts"), element("span", "rate"), element("span", "mailbox"));
    // A screen reader says the text of the row, and the figures in words. The spaces, which are not shown, separate the words.
    row.append(
      unspoken(element("span", "twist")), unspoken(element("span", "dot")), element("span", "name"), " ", unspoken(element("code", "before")),
      element("code", "pid"), " ", element("span", "kind"), " ", element("span", "note"), " ", unspoken(figures),
      element("span", "visually-hidden spoken"),
    );
  }
  return row;
}

/** Hides a part from screen readers. */
function unspoken(part) {
  part.setAttribute("aria-hidden", "true");
  return part;
}

function fillPager(row, { level, first, last, siblings, id }) {
  const more = siblings - (last - first + 1);
  row.className = "row pager";
  row.setAttribute("aria-level", level);
  row.dataset.pagerOf = id.slice(0, -1);
  row.querySelector(".more").textContent = `… and ${more.toLocaleString("en")} more`;
  row.querySelector(".range").textContent = `${first.toLocaleString("en")}–${last.toLocaleString("en")} of ${siblings.toLocaleString("en")}`;
}

function fill(row, data, isOwn) {
  const flashing = ["born", "reborn"].filter((name) => row.classList.contains(name));
  row.className = ["row", data.supervisor ? "supervisor" : "worker", data.hit ? "hit" : "", isOwn ? "own" : "", ...flashing].join(" ");
  row.dataset.status = data.status;
  row.dataset.name = data.name;
  row.setAttribute("aria-level", data.level);
  row.setAttribute("aria-setsize", data.siblings);
  row.setAttribute("aria-posinset", data.position);
  if (data.open === null) row.removeAttribute("aria-expanded");
  else row.setAttribute("aria-expanded", String(data.open));
  const notes = [data.status === "running" ? "" : data.status, data.children ? childrenOf(data) : "", isOwn ? "this page" : ""];
  write(row, ".name", data.name);
  write(row, ".pid", data.pid ?? "");
  write(row, ".kind", data.actor === data.name ? "" : data.actor);
  write(row, ".note", notes.filter(Boolean).join(" · "));
  write(row, ".restarts", data.restarts ? `↻ ${data.restarts.toLocaleString("en")}` : "");
  write(row, ".rate", data.rate ? `${data.rate.toLocaleString("en")}/s` : "");
  writeMailbox(row.querySelector(".mailbox"), data);
  write(row, ".spoken", spoken(data));
}

function write(row, selector, text) {
  const shown = row.querySelector(selector);
  if (shown.textContent !== text) shown.textContent = text;
}

/** Colours the mailbox by its length, up to its limit or 10,000; a collapsed branch shows the longest one below. */
function writeMailbox(shown, { mailbox, limit, below, open }) {
  const waiting = Math.max(mailbox, open ? 0 : below);
  shown.textContent = waiting ? waiting.toLocaleString("en") : "";
  const most = limit && mailbox >= waiting ? ` of ${limit} that may` : "";
  shown.title = waiting ? `${waiting} messages wait${mailbox < waiting ? " in one below" : most}` : "";
  shown.classList.toggle("inherited", mailbox < waiting);
  const heat = limit && mailbox >= waiting ? mailbox / limit : Math.log10(waiting + 1) / 4;
  shown.style.setProperty("--heat", `${Math.min(heat, 1) * 100}%`);
}

function childrenOf({ children }) {
  return children === 1 ? "1 child" : `${children.toLocaleString("en")} children`;
}

/** The figures of a row in words. */
function spoken({ mailbox, restarts, rate }) {
  const parts = [];
  if (mailbox) parts.push(`${mailbox} messages wait`);
  if (restarts) parts.push(`restarted ${restarts} times`);
  if (rate >= 10) parts.push("busy");
  return parts.join(", ");
}
