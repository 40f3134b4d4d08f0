/** The users on a topic, from its presence_state and presence_diff events. */
export class Presence {
  #metas = Object.create(null); // keys are user names, and "__proto__" may be one
  #pendingDiffs = [];
  #onChange;

  constructor(channel, onChange) {
    this.#onChange = onChange;
    channel.onJoin(() => { this.#pendingDiffs = []; });
    channel.on("presence_state", (state) => this.#replace(state));
    channel.on("presence_diff", (diff) => this.#receive(diff));
  }

  #replace(state) {
    this.#metas = Object.create(null);
    for (const [key, { metas }] of Object.entries(state)) this.#metas[key] = metas;
    for (const diff of this.#pendingDiffs ?? []) this.#apply(diff);
    this.#pendingDiffs = null;
    this.#onChange(this.#list());
  }

  #receive(diff) {
    // Diffs may arrive before the state of a new join; they are applied on top of it.
    if (this.#pendingDiffs) return this.#pendingDiffs.push(diff);
    this.#apply(diff);
    this.#onChange(this.#list());
  }

  #apply({ joins, leaves }) {
    for (const [key, { metas }] of Object.entries(joins)) this.#metas[key] = [...this.#without(key, metas), ...metas];
    for (const [key, { metas }] of Object.entries(leaves)) this.#metas[key] = this.#without(key, metas);
  }

  #without(key, metas) {
    const refs = new Set(metas.map((meta) => meta.phx_ref));
    return (this.#metas[key] ?? []).filter((meta) => !refs.has(meta.phx_ref));
  }

  #list() {
    return Object.entries(this.#metas)
      .filter(([, metas]) => metas.length > 0)
      .map(([user, metas]) => ({ user, count: metas.length }))
      .sort((one, other) => one.user.localeCompare(other.user));
  }
}
