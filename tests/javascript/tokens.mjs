// Runs the stock phoenix client against servers/tokens.py: node tokens.mjs ws://127.0.0.1:<port> WebSocket|LongPoll
import {LongPoll, Socket} from "phoenix"
import WebSocket from "ws"
import {playAll} from "./scenarios.mjs"

const [server, transportName] = process.argv.slice(2)
const transport = {WebSocket, LongPoll}[transportName]
const sockets = []

function open(path, token){
  const socket = new Socket(server + path, {transport, params: () => ({user_token: token()})})
  sockets.push(socket)
  socket.closes = []
  socket.onClose(({code}) => socket.closes.push(code))
  socket.connect()
  return socket
}

function answered(push){
  return new Promise((resolve, reject) => {
    push.receive("ok", resolve).receive("error", reason => reject(new Error(JSON.stringify(reason)))).receive("timeout", reject)
  })
}

// As an application answers the warning, over the socket itself.
function refresh(socket, token){
  const refs = [], replies = []
  const warnings = []
  socket.onMessage(({topic, event, payload, ref}) => {
    if(topic !== "phoenix") return
    if(event === "token_expires"){
      warnings.push(payload)
      refs.push(socket.makeRef())
      socket.push({topic, event: "access_token", payload: {access_token: token}, ref: refs.at(-1)})
    }
    if(event === "phx_reply" && refs.includes(ref)) replies.push(payload)
  })
  return {warnings, replies}
}

const scenarios = {
  async "answers the warning"(){
    const socket = open("/socket", () => "ann:1")
    const {warnings, replies} = refresh(socket, "ben:600")
    const room = socket.channel("room:1")
    const renamed = new Promise(resolve => room.on("renamed", resolve))
    await answered(room.join())
    await renamed
    const after = await answered(room.push("who", {}))
    return {warnings: warnings.map(Object.keys), replies, name: after.name, isLong: after.left > 60, closes: [...socket.closes]}
  },

  async "sends another token on a topic"(){
    const socket = open("/socket", () => "ann:600")
    const room = socket.channel("room:1")
    await answered(room.join())
    const reply = await answered(room.push("access_token", {access_token: "ben:600"}))
    const refused = await answered(room.push("access_token", {access_token: "ben"})).catch(error => error.message)
    return {reply, refused, name: (await answered(room.push("who", {}))).name, closes: [...socket.closes]}
  },

  async "expires and connects again"(){
    const tokens = ["ann:1", "ben:600"]
    const socket = open("/short", () => tokens.length > 1 ? tokens.shift() : tokens[0])
    const room = socket.channel("room:1")
    await new Promise(resolve => room.join().receive("ok", () => socket.closes.length > 0 && resolve()))
    return {name: (await answered(room.push("who", {}))).name, closes: [...socket.closes]}
  },
}

await playAll(scenarios, () => ({given: null, trace: () => [], close: () => sockets.forEach(socket => socket.disconnect())}), {atATime: 1})
process.stdout.write("", () => process.exit(0))
