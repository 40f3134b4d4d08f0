// Runs the stock phoenix client against a running demo: node session.mjs ws://127.0.0.1:<port>/socket WebSocket|LongPoll
import {LongPoll, Presence, Socket} from "phoenix"
import WebSocket from "ws"
import {playAll} from "./scenarios.mjs"

const [endpoint, transportName] = process.argv.slice(2)
const transport = {WebSocket, LongPoll}[transportName]

// What has happened to one socket or channel, and a way to wait for more of it.
class Log {
  constructor(){
    this.entries = []
    this.waiting = []
  }

  add(kind, value = null){
    this.entries.push({kind, value})
    this.waiting = this.waiting.filter(check => !check())
  }

  of(kind){
    return this.entries.filter(entry => entry.kind === kind).map(entry => entry.value)
  }

  // Resolves with all values of the kind once there are `count`.
  async until(kind, count = 1){
    await new Promise(resolve => {
      const check = () => this.of(kind).length >= count && (resolve(), true)
      check() || this.waiting.push(check)
    })
    return this.of(kind)
  }
}

// A network that lets no WebSocket through.
class Blocked extends WebSocket {
  constructor(url, ...rest){
    super(url.replace("/websocket", "/blocked"), ...rest)
  }
}

class Client {
  constructor(user, options = {}){
    this.log = new Log()
    this.trace = []
    const logger = (kind, message) => this.trace.push(`${kind} ${message}`)
    this.socket = new Socket(endpoint, {transport, params: {user}, logger, ...options})
    this.socket.onOpen(() => this.log.add("open"))
    this.socket.onClose(event => this.log.add("close", event.code))
    this.socket.connect()
  }

  // Joins a topic; the log of the channel holds join replies, errors, the close and the events named.
  join(topic, events = []){
    const channel = this.socket.channel(topic)
    const log = new Log()
    channel.onError(reason => log.add("error", reason))
    channel.onClose(() => log.add("closed"))
    events.forEach(event => channel.on(event, payload => log.add(event, payload)))
    channel.join().receive("ok", reply => log.add("joined", reply)).receive("error", reply => log.add("refused", reply))
    return {channel, log, joins: () => this.trace.filter(line => line.startsWith(`push ${topic} phx_join `)).length}
  }

  end(){
    this.socket.disconnect()
  }
}

// Resolves with the reply to a push, whatever its status.
function ask({channel}, event, payload = {}){
  return new Promise(resolve => {
    const push = channel.push(event, payload)
    for(const status of ["ok", "error", "timeout"]){
      push.receive(status, response => resolve({status, response}))
    }
  })
}

async function whoami(member){
  return (await ask(member, "whoami")).response
}

// How a channel stands, and how often it was joined, closed and in error to get there.
function standing({channel, log, joins}){
  return {
    state: channel.state,
    forgotten: !channel.socket.channels.includes(channel),
    joins: joins(),
    closed: log.of("closed").length,
    errors: log.of("error"),
  }
}

// A member of a room with the list that the stock Presence keeps for it, and what it was told of the others.
function attend(client, topic){
  const room = client.join(topic)
  const presence = new Presence(room.channel)
  const log = new Log()
  const changes = []
  presence.onJoin((key, current) => changes.push(`${key} ${current ? "again" : "joins"}`))
  presence.onLeave((key, current) => changes.push(`${key} ${current.metas.length > 0 ? "less" : "leaves"}`))
  presence.onSync(() => log.add("synced", presence.list((key, {metas}) => [key, metas])))
  const counts = list => JSON.stringify(list.map(([key, metas]) => [key, metas.length]).sort())

  // Resolves with the first list in which each key has so many metas, looking at each list once.
  let looked = 0
  const until = async wanted => {
    for(;;){
      const lists = await log.until("synced", looked + 1)
      const list = lists[looked++]
      if(counts(list) === JSON.stringify(Object.entries(wanted).sort())) return list
    }
  }
  return {client, room, changes, until}
}

const scenarios = {
  async "ticks and pings"(open){
    const client = open("ticker")
    const started = performance.now()
    const at = () => (performance.now() - started) / 1000
    const answers = []
    const demo = client.join("demo:ticks")
    const ticks = new Promise(resolve => {
      const seen = []
      demo.channel.on("tick", ({value}) => seen.push({value, at: at()}) === 2 && resolve(seen))
    })
    await demo.log.until("joined")
    const asked = at()
    const events = ["ping:3000", "ping:2000", "ping:1000", "ping"]
    await Promise.all(events.map(async event => {
      const {status, response} = await ask(demo, event)
      answers.push({event, status, response, after: at() - asked})
    }))
    return {answers, ticks: await ticks, standing: standing(demo)}
  },

  async "crashes"(open){
    const client = open("crasher")
    const room = client.join("room:crashes"), demo = client.join("demo:crashes", ["tick"])
    await room.log.until("joined")
    await demo.log.until("tick")
    const before = await whoami(room)

    room.channel.push("crash", {})
    await room.log.until("joined", 2)
    const afterChannel = await whoami(room)
    const ping = await ask(demo, "ping")
    const channelCrash = {
      errors: room.log.of("error"),
      joins: room.joins(),
      demo: {...standing(demo), ping, joined: demo.log.of("joined").length, ticks: demo.log.of("tick")},
      sockets: {opened: client.log.of("open").length, closed: client.log.of("close")},
    }

    room.channel.push("crash_transport", {})
    await client.log.until("open", 2)
    await room.log.until("joined", 3)
    await demo.log.until("joined", 2)
    const afterTransport = await whoami(room)
    const transportCrash = {
      closes: client.log.of("close"),
      errors: {room: room.log.of("error").slice(1), demo: demo.log.of("error")},
      joins: {room: room.joins(), demo: demo.joins()},
      ping: await ask(demo, "ping"),
    }
    return {before, afterChannel, channelCrash, afterTransport, transportCrash}
  },

  async "chat and kick"(open){
    const ann = open("ann"), ben = open("ben")
    const [annRoom, benRoom] = [ann, ben].map(client => client.join("room:chat", ["new_msg", "typing"]))
    await annRoom.log.until("joined")
    await benRoom.log.until("joined")

    const sent = await ask(annRoom, "new_msg", {body: "hello"})
    await benRoom.log.until("new_msg")
    annRoom.channel.push("typing", {})
    await benRoom.log.until("typing")
    await ask(annRoom, "echo") // whatever was on its way to ann came before this reply
    const typing = {ann: annRoom.log.of("typing"), ben: benRoom.log.of("typing")}

    const kicked = await ask(annRoom, "kick", {user: "ben"})
    const [code] = await ben.log.until("close")
    await benRoom.log.until("joined", 2)
    const again = await ask(annRoom, "new_msg", {body: "welcome back"})
    await benRoom.log.until("new_msg", 2)
    return {
      sent, typing, kicked, code, again,
      messages: {ann: annRoom.log.of("new_msg"), ben: benRoom.log.of("new_msg")},
      opened: {ann: ann.log.of("open").length, ben: ben.log.of("open").length},
    }
  },

  async "leave, stop and refusals"(open){
    const client = open("leaver")
    const left = client.join("room:left"), stopped = client.join("room:stopped"), clock = client.join("demo:leaver")
    await left.log.until("joined")
    await stopped.log.until("joined")

    left.channel.leave()
    await left.log.until("closed")
    const stop = await ask(stopped, "stop")
    await stopped.log.until("closed")
    const refusals = {}
    for(const topic of ["nope:x", "room:vip"]){
      const refused = client.join(topic)
      refusals[topic] = (await refused.log.until("refused"))[0]
      refused.channel.leave()
    }
    await ask(clock, "ping:1500") // the client rejoins after 1 s; by then it would have
    return {stop, refusals, left: standing(left), stopped: standing(stopped), closes: client.log.of("close")}
  },

  async "presence"(open){
    const topic = `room:presence-${transportName}`
    const ann = attend(open("ann"), topic)
    await ann.until({ann: 1})
    // The one whose closing is to be noticed at once.
    const tab = attend(open("ann", {transport: WebSocket}), topic)
    await tab.until({ann: 2})
    const odd = attend(open("__proto__"), topic)
    const all = {ann: 2, ["__proto__"]: 1}
    const together = await Promise.all([ann, tab, odd].map(member => member.until(all)))

    odd.room.channel.push("crash", {})
    const crashed = await ann.until({ann: 2})
    const rejoined = await Promise.all([ann, odd].map(member => member.until(all)))

    tab.client.end()
    const closed = await ann.until({ann: 1, ["__proto__"]: 1})
    odd.room.channel.leave()
    const left = await ann.until({ann: 1})
    return {together, crashed, rejoined, closed, left, changes: ann.changes}
  },

  async "binary"(open){
    // The stock client reads no binary message that comes by long polling.
    const [ann, ben] = ["bit", "byte"].map(user => open(user, {transport: WebSocket}))
    const topic = `bench:binary-${transportName}`
    const [room, ...benches] = [ann.join("room:binary"), ann.join(topic, ["shout"]), ben.join(topic, ["shout"])]
    await Promise.all([room, ...benches].map(member => member.log.until("joined")))
    const bytes = data => [data.constructor.name, ...new Uint8Array(data)]
    const data = new Uint8Array([0, 255, 1]).buffer
    const blob = await ask(room, "blob", data)
    const empty = await ask(room, "echo", new ArrayBuffer(0))
    benches[0].channel.push("shout", data)
    const shouts = await Promise.all(benches.map(({log}) => log.until("shout")))
    return {
      blob: [blob.status, ...bytes(blob.response)],
      empty: [empty.status, ...bytes(empty.response)],
      shouts: shouts.map(([shout]) => bytes(shout)),
    }
  },

  async "fallback"(open){
    const client = open("fallen", {transport: Blocked, longPollFallbackMs: 1000})
    const room = client.join("room:fallback")
    await room.log.until("joined")
    return {polls: client.socket.transport === LongPoll, user: (await whoami(room)).user}
  },
}

await playAll(scenarios, () => {
  const clients = []
  return {
    given: (...args) => clients[clients.push(new Client(...args)) - 1],
    trace: () => clients.flatMap(client => client.trace),
    close: () => clients.forEach(client => client.end()),
  }
})
// Pushes without a reply hold timers of the client for 10 s more; nothing waits for them.
process.stdout.write("", () => process.exit(0))
