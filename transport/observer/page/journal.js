/** A log of exits and restarts of the actors in view. */
import { bound, element, timeOfDay } from "./dom.js";

const LIMIT = 100;

export class Journal {
  #list;

  constructor(list) {
    this.#list = list;
  }

  ended({ name, pid }, reason, graceful) {
    this.#note(graceful ? "over" : "crashed", element("b", "", name), " ", element("code", "", pid), graceful ? ` exited: ${reason}` : ` crashed: ${reason}`);
  }

  reborn({ name, pid }, before) {
    this.#note("reborn", element("b", "", name), " is now ", element("code", "", pid), ", before: ", element("code", "", before));
  }

  #note(kind, ...parts) {
    this.#list.prepend(element("li", kind, element("time", "", timeOfDay()), element("span", "", ...parts)));
    bound(this.#list, LIMIT, "first");
  }
}
