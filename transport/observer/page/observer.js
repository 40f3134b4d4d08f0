/** Connects the parts of the page: one channel, the tree, the selected actor, and the log. */
import { Actor } from "./actor.js";
import { Socket } from "./channels.js";
import { byId, onClick } from "./dom.js";
import { Journal } from "./journal.js";
import { Totals } from "./totals.js";
import { Tree } from "./tree.js";

const TOKEN = "ashtree observer token";
const SEARCH_DELAY = 150;

const journal = new Journal(byId("journal"));
const totals = new Totals();
let socket = null;
let channel = null;
let searchTimer = null;
let wasConnected = false;

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
  socket?.disconnect();
  // The socket and the files of the page are below its own path.
  socket = new Socket(`${location.pathname.replace(/\/$/, "")}/socket`, { authToken, onState: socketChanged });
  channel = socket.channel("observer");
  channel.onJoin(joined);
  channel.onError(() => tree.forget());
  channel.on("difference", changed);
  socket.connect();
  channel.join();
}

function socketChanged(state, { code } = {}) {
  byId("status").textContent = state;
  byId("status").dataset.status = state;
  if (state === "connected") wasConnected = true;
  byId("access").hidden = state === "connected" || (state === "connecting" && byId("access").hidden) || wasConnected;
  document.body.classList.toggle("stale", state !== "connected");
  if (state === "disconnected" && code) tree.forget();
}

/** Restores the search and the selection, which a new channel does not know. */
function joined({ own }) {
  tree.own = new Set(own);
  if (byId("search").value.trim()) channel.tell("search", { text: byId("search").value });
  // After a restart of the server its pid may be another actor's, so the panel is cleared.
  if (actor.id) select(actor.id);
  if (document.hidden) channel.tell("rest");
}

function changed({ totals: figures, actor: facts, ...difference }) {
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
    channel.tell("search", { text: byId("search").value });
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
document.addEventListener("visibilitychange", () => channel.tell(document.hidden ? "rest" : "watch"));
byId("access").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, byId("token").value);
  connect(byId("token").value);
});
onClick("close", close);

function close() {
  const id = actor.id;
  select(null);
  tree.focus(id);
}

connect(takeToken());
