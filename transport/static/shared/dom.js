/** The few things every part of the page does with elements. Text goes in as text, never as HTML. */

export const byId = (id) => document.getElementById(id);

/** An element with a class name and children: elements or text. */
export function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** Runs the CSS animation of `className` once, from its start. */
export function flash(target, className) {
  target.classList.remove(className);
  void target.offsetWidth; // an animation starts again only after a layout without its class
  target.classList.add(className);
}

/** Buttons stay focusable while they cannot be used, so that a keyboard user keeps the place. */
export function setEnabled(button, enabled) {
  button.setAttribute("aria-disabled", String(!enabled));
}

export function onClick(id, action) {
  byId(id).addEventListener("click", ({ currentTarget }) => {
    if (currentTarget.getAttribute("aria-disabled") !== "true") action();
  });
}

/** Keeps a list's newest `limit` children, which are at its end or at its start. */
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
