/** Connects the parts of the page: one socket, two channels, and the panels that show them. */
import { Socket } from "./channels.js";
import { Chat } from "./chat.js";
import { Clock } from "./clock.js";
import { byId } from "./dom.js";
import { FrameLog } from "./frame_log.js";
import { recoverable } from "./recoverable.js";
import { Supervision } from "./supervision.js";

const ADJECTIVES = ["amber", "brisk", "calm", "dapper", "eager", "fleet", "gentle", "humble", "jolly", "keen", "lucid", "merry"];
const ANIMALS = ["badger", "crane", "dormouse", "egret", "finch", "heron", "ibex", "lynx", "marten", "otter", "raven", "wren"];

const user = chooseUser();
byId("user").textContent = user;
document.title = `${user} · Ashtree`;

const frameLog = new FrameLog();
const socket = new Socket("/socket", {
  params: { user },
  onFrame: (direction, text) => frameLog.add(direction, text),
  onState: socketChanged,
});
const lobby = recoverable(socket, "room:lobby");
const demo = socket.channel(`demo:${user}`);
const supervision = new Supervision(lobby, demo);
new Chat(socket, lobby, user);
new Clock(demo);

socket.connect();
lobby.join();
demo.join();

function socketChanged(state, detail) {
  byId("status").textContent = state;
  byId("status").dataset.status = state;
  supervision.socketChanged(state, detail);
}

/** The user name is in the URL: a reload keeps it, and a tab opened without one is another user. */
function chooseUser() {
  const url = new URL(location.href);
  const given = url.searchParams.get("user")?.trim();
  if (given) return given;
  const name = `${pick(ADJECTIVES)}-${pick(ANIMALS)}`;
  url.searchParams.set("user", name);
  history.replaceState(null, "", url);
  return name;
}

function pick(list) {
  return list[Math.floor(Math.random() * list.length)];
}
