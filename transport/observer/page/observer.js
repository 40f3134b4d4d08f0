/** Connects the parts of the page: one channel, the tree, the selected actor, and the log. */
import { Actor } from "./actor.js";
import { Socket } from "./channels.js";
import { byId, element, onClick } from "./dom.js";
import { Journal } from "./journal.js";
import { Totals } from "./totals.js";
import { Tree } from "./tree.js";

const TOKEN = "ashtree observer token";
const SEARCH_DELAY = 150;
/** How often in a row a server that has accepted the page may refuse it, as one that restarts does, until a token is asked for. */
const MOST_REFUSALS = 8;
const UNREACHABLE_DELAY = 2000;
/** The topic of the node that serves this page. */
const OWN_NODE = "observer";

const journal = new Journal(byId("journal"));
const totals = new Totals();
let socket = null;
/** Null until there is a token. */
let channel = null;
/** The topics whose channels have their handlers. */
const watched = new Set();
let searchTimer = null;
let wasConnected = false;
let refusals = 0;

const tree = new Tree(byId("tree"), {
  onFold: (id, open) => channel.tell(open ? "unfold" : "fold", { id }),
  onPage: (id, first) => channel.tell("page", { id, first }),
  onSelect: select,
  onEnded: (row, reason, graceful) => journal.ended(row, reason, graceful),
  onReborn: (row, before) => {
    journal.reborn(row, before);
    actor.succeeded(row, before);
  },
});
const actor = new Actor({ onGo: (id) => select(id), onOrder: order });

/** Takes the token from the fragment of the URL, which browsers do not send to servers, and keeps it for this tab only. */
function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem(TOKEN, given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem(TOKEN);
}

function connect(authToken) {
  if (!authToken) return askForToken();
  socket?.disconnect();
  refusals = 0;
  byId("access").hidden = true;
  // The socket and the files of the page are below its own path.
  socket = new Socket(`${location.pathname.replace(/\/$/, "")}/socket`, { authToken, onState: socketChanged });
  watched.clear();
  socket.connect();
  watch(OWN_NODE);
}

/** Joins the channel of a node; what comes from another one is no longer shown. */
function watch(topic) {
  channel = socket.channel(topic);
  const own = channel;
  if (!watched.has(topic)) {
    watched.add(topic);
    const shown = (show) => (payload) => own === channel && show(payload);
    own.onJoin(shown(joined));
    own.onError(shown(failed));
    // It was left, and is wanted again.
    own.onClose(shown(() => own.join()));
    own.on("difference", shown(changed));
    own.on("nodes", shown(({ nodes }) => showNodes(nodes)));
  }
  own.join();
}

function watchAnother(topic) {
  const before = channel;
  tree.selected = null;
  actor.begin(null);
  tree.forget();
  showLost("");
  watch(topic);
  before.leave();
}

function failed({ source, reason }) {
  tree.forget();
  if (source === "join") showLost(reason);
}

/** The nodes by name, if there are several; those that have ended disappear, but not the one that is shown. */
function showNodes(nodes) {
  const select = byId("node");
  const gone = nodes.every(([topic]) => topic !== channel.topic);
  const shown = gone ? [...nodes, [channel.topic, `${select.selectedOptions[0]?.textContent ?? channel.topic}`]] : nodes;
  select.replaceChildren(...shown.map(([topic, name]) => {
    const option = element("option", "", name);
    option.value = topic;
    return option;
  }));
  select.value = channel.topic;
  byId("nodes").hidden = shown.length < 2;
}

function showLost(reason) {
  byId("lost").textContent = reason;
  byId("lost").hidden = !reason;
}

function socketChanged(state, { code, wasConnected: wasOpen } = {}) {
  byId("status").textContent = state;
  byId("status").dataset.status = state;
  document.body.classList.toggle("stale", state !== "connected");
  if (state === "connected") {
    wasConnected = true;
    refusals = 0;
  }
  if (state === "disconnected" && code) tree.forget();
  if (state === "disconnected" && !wasOpen) refused();
}

/** Asks for the token instead of trying again, if the server is there and refuses this page. */
async function refused() {
  refusals += 1;
  if (refusals < (wasConnected ? MOST_REFUSALS : 1)) return;
  const waiting = socket;
  waiting.disconnect();
  const isThere = await isReachable();
  if (waiting !== socket) return;
  if (isThere) askForToken();
  else setTimeout(() => waiting === socket && waiting.connect(), UNREACHABLE_DELAY);
}

/** A browser does not say why it could not connect: a server that serves this page has refused it. */
async function isReachable() {
  try {
    return (await fetch(location.pathname, { method: "HEAD", cache: "no-store" })).ok;
  } catch {
    return false;
  }
}

function askForToken() {
  const known = sessionStorage.getItem(TOKEN);
  byId("access-text").textContent = known
    ? "The server does not accept this token. It prints the address with the token when it starts; paste the address or the token here."
    : "This page needs a token. The server prints the address with the token when it starts; paste the address or the token here.";
  byId("status").textContent = "waiting for the token";
  byId("access").hidden = false;
  byId("token").select();
}

/** Restores the search and the selection, which a new channel does not know. */
function joined({ own, links }) {
  showLost("");
  tree.own = new Set(own);
  showLinks(links);
  if (byId("search").value.trim()) channel.tell("search", { text: byId("search").value });
  // After a restart of the server its pid may be another actor's, so the panel is cleared.
  if (actor.id) select(actor.id);
  if (document.hidden) channel.tell("rest");
}

/** Links to the other pages of the server; their paths are relative to the path below which the server is mounted. */
function showLinks(links) {
  byId("links").replaceChildren(...links.map(([title, path]) => {
    const link = element("a", "", title);
    link.href = `.${path}`;
    return link;
  }));
  byId("links").hidden = !links.length;
}

function changed({ totals: figures, actor: facts, lost, ...difference }) {
  if (lost !== undefined) showLost(lost ? "did not answer" : "");
  tree.apply(difference);
  if (figures) {
    totals.show(figures);
    showHits(figures);
  }
  if (facts) actor.apply(facts);
}

function showHits({ hits, most }) {
  byId("hits").textContent = hits === undefined ? "" : hits === 0 ? "none found" : hits >= most ? `the first ${most}` : `${hits} found`;
}

function select(id) {
  tree.selected = id;
  actor.begin(id);
  channel.tell("select", { id });
}

async function order(verb, id) {
  try {
    await channel.push(verb, { id });
    return "";
  } catch ({ message }) {
    return message;
  }
}

byId("search").addEventListener("input", () => {
  clearTimeout(searchTimer);
  searchTimer = setTimeout(() => {
    tree.expectOthers();
    channel?.tell("search", { text: byId("search").value });
  }, SEARCH_DELAY);
});
byId("search").addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" || event.key === "Enter") {
    event.preventDefault();
    tree.focus();
  }
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    byId("search").focus();
  }
  if (event.key === "Escape" && !typing && actor.id) close();
});
document.addEventListener("visibilitychange", () => channel?.tell(document.hidden ? "rest" : "watch"));
byId("access").addEventListener("submit", (event) => {
  event.preventDefault();
  const pasted = byId("token").value.trim();
  if (pasted) sessionStorage.setItem(TOKEN, pasted.split("token=").pop());
  connect(sessionStorage.getItem(TOKEN));
});
byId("node").addEventListener("change", ({ target }) => watchAnother(target.value));
onClick("close", close);

function close() {
  const id = actor.id;
  select(null);
  tree.focus(id);
}

connect(takeToken());
