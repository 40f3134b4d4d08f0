/** The chat of one room: its messages, the users who are typing, the users in the room. */
import { bound, byId, element, onClick } from "./dom.js";
import { Presence } from "./presence.js";

const MESSAGE_LIMIT = 200;
const TYPING_EVERY = 1500;
const TYPING_SHOWN = 2500;
const CUT_FOR = 5000;

export class Chat {
  #socket;
  #channel;
  #user;
  #hasJoined = false;
  #typists = new Map();
  #lastTyping = -Infinity;

  constructor(socket, channel, user) {
    this.#socket = socket;
    this.#channel = channel;
    this.#user = user;
    channel.onJoin(({ recover }) => this.#joined(recover));
    channel.onClose(() => this.#open(false));
    channel.on("new_msg", (message, ref) => this.#show(message, channel.isRecovered(ref)));
    channel.on("typing", ({ user: typist }) => this.#noteTyping(typist));
    new Presence(channel, (present) => this.#showPresent(present));
    byId("compose").addEventListener("submit", (event) => this.#submit(event));
    byId("message-input").addEventListener("input", () => this.#tellTyping());
    onClick("cut", () => this.#cut());
  }

  /** What was missed follows, or it was too much to be kept. */
  #joined({ recovered }) {
    this.#open(true);
    if (this.#hasJoined && !recovered) this.#append(element("li", "gap", "Messages were missed that the server no longer keeps."));
    this.#hasJoined = true;
  }

  #cut() {
    this.#socket.interrupt(CUT_FOR);
    byId("chat-note").textContent = `The connection is cut for ${CUT_FOR / 1000} s. What others say meanwhile follows then.`;
  }

  /** What is said while the channel is down is sent after the rejoin; a room that was left is not rejoined by itself. */
  #open(isOpen) {
    for (const id of ["message-input", "send"]) byId(id).disabled = !isOpen;
    byId("chat-note").textContent = isOpen ? "" : "You are not in the room. Join again to write.";
  }

  async #submit(event) {
    event.preventDefault();
    const input = byId("message-input");
    const body = input.value.trim();
    if (!body) return;
    input.value = "";
    this.#lastTyping = -Infinity;
    const sent = await this.#send(body);
    if (!sent && !input.value) input.value = body;
  }

  async #send(body) {
    const note = byId("chat-note");
    note.textContent = this.#channel.state === "joined" ? "" : "The channel is not joined; the message is sent after the rejoin.";
    try {
      await this.#channel.push("new_msg", { body });
      note.textContent = "";
      return true;
    } catch ({ status, message }) {
      note.textContent = status === "closed" ? "Not sent: you are not in the room. Join again first." : `Not sent: ${message}.`;
      return false;
    }
  }

  #tellTyping() {
    const now = performance.now();
    if (now - this.#lastTyping < TYPING_EVERY) return;
    this.#lastTyping = now;
    this.#channel.tell("typing");
  }

  #show({ user, body }, isRecovered) {
    const name = element("span", "from", user);
    name.style.setProperty("--hue", hue(user));
    const message = element("li", user === this.#user ? "own" : "", name, element("span", "body", String(body)));
    message.dataset.user = user;
    if (isRecovered) message.append(element("span", "missed", "missed, and recovered"));
    this.#append(message);
    this.#forgetTyping(user);
  }

  #append(item) {
    const messages = byId("messages");
    messages.append(item);
    bound(messages, MESSAGE_LIMIT);
    messages.scrollTop = messages.scrollHeight;
  }

  #noteTyping(user) {
    clearTimeout(this.#typists.get(user));
    this.#typists.set(user, setTimeout(() => this.#forgetTyping(user), TYPING_SHOWN));
    this.#showTyping();
  }

  #forgetTyping(user) {
    clearTimeout(this.#typists.get(user));
    this.#typists.delete(user);
    this.#showTyping();
  }

  #showTyping() {
    const users = [...this.#typists.keys()];
    const text = { 0: "", 1: `${users[0]} is typing` }[users.length] ?? `${users.join(" and ")} are typing`;
    byId("typing").textContent = text;
  }

  #showPresent(present) {
    const list = byId("present");
    list.hidden = present.length === 0;
    list.replaceChildren(...present.map(({ user, count }) => this.#presentItem(user, count)));
  }

  #presentItem(user, count) {
    const own = user === this.#user ? " (you)" : "";
    const item = element("li", "", `${user}${own}${count > 1 ? ` ×${count}` : ""}`);
    item.style.setProperty("--hue", hue(user));
    item.dataset.user = user;
    return item;
  }
}

function hue(name) {
  let sum = 0;
  for (const character of String(name)) sum = (sum * 31 + character.codePointAt(0)) % 360;
  return sum;
}
