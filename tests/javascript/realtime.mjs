// Runs the stock client of Supabase Realtime against servers/realtime.py: node realtime.mjs ws://127.0.0.1:<port>/realtime 1.0.0|2.0.0
import {RealtimeClient} from "@supabase/realtime-js"
import WebSocket from "ws"
import {playAll} from "./scenarios.mjs"

const [endpoint, vsn] = process.argv.slice(2)

// A client with the trace of its frames.
function open(trace){
  const logger = (kind, message) => trace.push(`${kind} ${message}`)
  return new RealtimeClient(endpoint, {transport: WebSocket, vsn, params: {apikey: "any"}, logger})
}

// Resolves with the first status of a subscription, and its error if there is one.
function subscribed(channel){
  return new Promise(resolve => channel.subscribe((status, error) => resolve({status, error: error?.message})))
}

function next(channel, type, event){
  return new Promise(resolve => channel.on(type, {event}, resolve))
}

// Resolves with the state of the presence once it has these keys.
function attended(channel, ...keys){
  const wanted = JSON.stringify(keys.sort())
  return new Promise(resolve => {
    channel.on("presence", {event: "sync"}, () => {
      const state = channel.presenceState()
      JSON.stringify(Object.keys(state).sort()) === wanted && resolve(state)
    })
  })
}

const scenarios = {
  async broadcast(clients){
    const [ann, ben] = clients.map(client => client.channel("chat", {config: {broadcast: {ack: true}}}))
    const heard = next(ben, "broadcast", "said")
    const echoes = []
    ann.on("broadcast", {event: "said"}, payload => echoes.push(payload))
    const statuses = [await subscribed(ann), await subscribed(ben)]
    const sent = await ann.send({type: "broadcast", event: "said", payload: {body: "hé"}})
    return {statuses, sent, heard: await heard, echoes, left: await ann.unsubscribe()}
  },

  async "broadcast to oneself"(clients){
    const ann = clients[0].channel("mirror", {config: {broadcast: {self: true}}})
    const heard = next(ann, "broadcast", "said")
    await subscribed(ann)
    return {sent: await ann.send({type: "broadcast", event: "said", payload: {n: 1}}), heard: await heard}
  },

  async "binary broadcast"(clients){
    if(vsn === "1.0.0") return {}
    const [ann, ben] = clients.map(client => client.channel("bytes", {config: {broadcast: {ack: true}}}))
    const heard = next(ben, "broadcast", "blob")
    await subscribed(ann)
    await subscribed(ben)
    const sent = await ann.send({type: "broadcast", event: "blob", payload: new Uint8Array([0, 255, 1]).buffer})
    const {payload} = await heard
    return {sent, heard: [payload.constructor.name, ...new Uint8Array(payload)]}
  },

  async presence(clients){
    const [ann, ben] = ["ann", "ben"].map((key, i) => clients[i].channel("here", {config: {presence: {key}}}))
    const together = [ann, ben].map(channel => attended(channel, "ann", "ben"))
    const left = next(ann, "presence", "leave")
    await subscribed(ann)
    const tracked = [await ann.track({status: "typing"})]
    await subscribed(ben)
    tracked.push(await ben.track({status: "reading"}))
    const states = await Promise.all(together)
    const untracked = await ben.untrack()
    return {tracked, states, untracked, left: await left, remaining: Object.keys(ann.presenceState())}
  },

  async "another token"(clients){
    const channels = ["one", "two"].map(topic => clients[0].channel(topic))
    const told = channels.map(channel => new Promise(resolve => channel.on("system", {}, resolve)))
    for(const channel of channels) await subscribed(channel)
    await clients[0].setAuth("new")
    return {messages: (await Promise.all(told)).map(payload => payload.message)}
  },

  async "refused join"(clients){
    return subscribed(clients[0].channel("private"))
  },
}

await playAll(scenarios, () => {
  const trace = [], clients = [open(trace), open(trace)]
  return {given: clients, trace: () => trace, close: () => clients.forEach(client => client.disconnect())}
})
// The clients hold timers for 10 s more; nothing waits for them.
process.stdout.write("", () => process.exit(0))
