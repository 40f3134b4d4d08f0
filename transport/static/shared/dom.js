/** What every part of a page does with elements. Text is inserted as text, never as HTML. */

export const byId = (id) => document.getElementById(id);

/** Creates an element with a class name and children: elements or text. */
export function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** Runs the CSS animation of `className` once, from its start. */
export function flash(target, className) {
  target.classList.remove(className);
  void target.offsetWidth; // an animation restarts only after a layout without its class
  target.classList.add(className);
}

/** Enables or disables a button; a disabled one stays focusable, so that keyboard users keep their place, and its title says why. */
export function setEnabled(button, enabled, why = "") {
  button.dataset.title ??= button.title;
  button.title = enabled ? button.dataset.title : why;
  button.setAttribute("aria-disabled", String(!enabled));
}

export function onClick(id, action) {
  byId(id).addEventListener("click", ({ currentTarget }) => {
    if (currentTarget.getAttribute("aria-disabled") !== "true") action();
  });
}

/** Removes all but the newest `limit` children of a list; the newest are its last or its first. */
export function bound(list, limit, newest = "last") {
  while (list.childElementCount > limit) {
    (newest === "last" ? list.firstElementChild : list.lastElementChild).remove();
  }
}

/** The time of day as 09:41:00, with `digits` decimals of the second. */
export function timeOfDay(date = new Date(), digits = 0) {
  const time = date.toTimeString().slice(0, 8);
  return digits ? `${time}.${String(date.getMilliseconds()).padStart(3, "0").slice(0, digits)}` : time;
}
