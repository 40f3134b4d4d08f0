// A recoverable channel of the stock phoenix client that comes and goes: node recovery.mjs ws://…/socket WebSocket|LongPoll
import {LongPoll, Socket} from "phoenix"
import WebSocket from "ws"
import {recoverable} from "../../transport/static/shared/recoverable.js"
import {playAll} from "./scenarios.mjs"

const [endpoint, transportName] = process.argv.slice(2)
const transport = {WebSocket, LongPoll}[transportName]
const KEPT = 100

class Room {
  constructor(topic){
    this.topic = topic
    this.heard = []
    this.answers = []
    this.errors = []
    this.waiting = []
    this.speaker = new Socket(endpoint, {transport, params: {user: "speaker"}})
    this.speaker.connect()
    this.speech = this.speaker.channel(topic)
    this.speech.join()
    this.socket = new Socket(endpoint, {transport, params: {user: "listener"}})
    this.channel = recoverable(this.socket, topic, () => ({own: 1}))
    this.channel.on("new_msg", ({body}, ref) => this.note(this.heard, {body, ref, isRecovered: this.channel.isRecovered(ref)}))
    this.channel.onError(reason => this.errors.push(reason?.reason))
    this.socket.connect()
    this.channel.join().receive("ok", ({recover}) => this.note(this.answers, recover))
  }

  note(list, value){
    list.push(value)
    this.waiting = this.waiting.filter(check => !check())
  }

  until(list, count){
    return new Promise(resolve => {
      const check = () => list.length >= count && (resolve(), true)
      check() || this.waiting.push(check)
    })
  }

  // Says numbers, and returns when the server has answered.
  say(from, to){
    const numbers = Array.from({length: to - from}, (_, index) => from + index)
    return Promise.all(numbers.map(body => new Promise((resolve, reject) => {
      this.speech.push("new_msg", {body}).receive("ok", resolve).receive("error", reject).receive("timeout", reject)
    })))
  }

  // Pushes numbers that are handled once, and returns how each was answered, in the order of the numbers.
  once(from, to){
    return Array.from({length: to - from}, (_, index) => this.sayOnce(from + index))
  }

  sayOnce(body, ...rest){
    return new Promise(resolve => {
      const push = this.channel.pushOnce("new_msg", {body}, ...rest)
      for(const status of ["ok", "error", "timeout"]) push.receive(status, response => resolve([status, response]))
    })
  }

  report(){
    return {heard: this.heard, answers: this.answers, errors: this.errors}
  }

  async gone(){
    await new Promise(resolve => this.socket.disconnect(resolve))
  }

  close(){
    this.socket.disconnect()
    this.speaker.disconnect()
  }
}

const scenarios = {
  async "away and back"(room){
    await room.until(room.answers, 1)
    await room.say(0, 3)
    await room.until(room.heard, 3)
    for(let round = 1; round <= 3; round++){
      await room.gone()
      await room.say(3 * round, 3 * round + 2)
      room.socket.connect()
      await room.until(room.answers, 1 + round)
      await room.say(3 * round + 2, 3 * round + 3)
      await room.until(room.heard, 3 + 3 * round)
    }
  },

  async "away before anything was said"(room){
    await room.until(room.answers, 1)
    await room.gone()
    await room.say(0, 2)
    room.socket.connect()
    await room.until(room.heard, 2)
  },

  async "away for too long"(room){
    await room.until(room.answers, 1)
    await room.gone()
    await room.say(0, KEPT + 1)
    room.socket.connect()
    await room.until(room.answers, 2)
    await room.say(KEPT + 1, KEPT + 2)
    await room.until(room.heard, 1)
  },

  // As if a message had been lost on the way: the channel sees the gap, and joins again over the same connection.
  async "a lost message"(room){
    await room.until(room.answers, 1)
    await room.say(0, 1)
    await room.until(room.heard, 1)
    const trigger = room.channel.trigger
    room.channel.trigger = (event, payload, ref, ...rest) => ref === "@2" ? room.channel.trigger = trigger : trigger(event, payload, ref, ...rest)
    await room.say(1, 4)
    await room.until(room.heard, 4)
  },
}

scenarios["payloads that look binary"] = async room => {
  await room.until(room.answers, 1)
  const payloads = []
  room.channel.on("blob", payload => payloads.push(payload instanceof ArrayBuffer ? [...new Uint8Array(payload)] : payload))
  room.channel.trigger("blob", {"@binary": "AAH/"}, "@1")
  room.channel.trigger("blob", {"@binary": "no Base64!"}, "@2")
  return {payloads}
}

scenarios["refs that are no offsets"] = async room => {
  await room.until(room.answers, 1)
  await room.gone()
  room.socket.connect()
  await room.until(room.answers, 2)
  return {recovered: ["0", "@0", null, undefined, "@1"].map(ref => room.channel.isRecovered(ref))}
}

// What was sent is answered over a connection that has gone, if at all.
scenarios["pushes over connections that break"] = async room => {
  await room.until(room.answers, 1)
  const answers = []
  for(let round = 0; round < 4; round++){
    answers.push(...room.once(3 * round, 3 * round + 2))
    await room.gone()
    answers.push(...room.once(3 * round + 2, 3 * round + 3))
    room.socket.connect()
    await room.until(room.answers, 2 + round)
  }
  const answered = await Promise.all(answers)
  await room.until(room.heard, 12)
  return {answered}
}

// The answer is lost, and the channel joins again over the same connection: the first answer is repeated.
scenarios["a lost answer"] = async room => {
  await room.until(room.answers, 1)
  const trigger = room.channel.trigger
  const lost = new Promise(resolve => {
    room.channel.trigger = (event, payload, ref, joinRef) => event === "phx_reply" && joinRef ? resolve() : trigger(event, payload, ref, joinRef)
  })
  const answer = room.sayOnce(0)
  await lost
  room.channel.trigger = trigger
  await room.gone()
  room.socket.connect()
  const answered = [await answer, await room.sayOnce(1)]
  await room.until(room.heard, 2)
  return {answered}
}

// The channel has crashed on the server, and the client does not know it yet.
scenarios["a push that finds no channel"] = async room => {
  await room.until(room.answers, 1)
  const trigger = room.channel.trigger
  const crashed = new Promise(resolve => {
    room.channel.trigger = (event, ...rest) => event === "phx_error" ? resolve(rest) : trigger(event, ...rest)
  })
  room.channel.push("crash", {})
  const error = await crashed
  const answer = room.sayOnce(0)
  await new Promise(resolve => {
    room.channel.trigger = (event, ...rest) => {
      trigger(event, ...rest)
      if(event === "phx_reply") resolve()
    }
  })
  room.channel.trigger = trigger
  trigger("phx_error", ...error)
  const answered = [await answer]
  await room.until(room.heard, 1)
  return {answered}
}

// Another process may have handled it: the server says when to ask again, twice.
scenarios["a push that is asked for again"] = async room => {
  await room.until(room.answers, 1)
  const trigger = room.channel.trigger
  let refusals = 0
  room.channel.trigger = (event, payload, ...rest) => {
    const isRefused = event === "phx_reply" && refusals++ < 2
    trigger(event, isRefused ? {status: "error", response: {reason: "in progress", "@retry": 0.01}} : payload, ...rest)
  }
  const answered = [await room.sayOnce(0)]
  room.channel.trigger = trigger
  await room.until(room.heard, 1)
  return {answered, refusals}
}

scenarios["a key of one's own"] = async room => {
  await room.until(room.answers, 1)
  const answered = [await room.sayOnce(0, 5000, "k"), await room.sayOnce(0, 5000, "k"), await room.sayOnce(1, 5000, "k")]
  await room.until(room.heard, 1)
  return {answered}
}

// A connection that does not come back: given up, and not sent later.
scenarios["a push that is given up"] = async room => {
  await room.until(room.answers, 1)
  await room.gone()
  const answered = [await room.sayOnce(0, 20)]
  room.socket.connect()
  await room.until(room.answers, 2)
  answered.push(await room.sayOnce(1))
  await room.until(room.heard, 1)
  return {answered}
}

let number = 0
await playAll(scenarios, () => {
  const room = new Room(`room:recovery-${transportName}-${number++}`)
  return {given: room, report: () => room.report(), trace: () => [], close: () => room.close()}
})
process.exit()
