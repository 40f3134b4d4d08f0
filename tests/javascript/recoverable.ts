// The types of `recoverable`, as an application uses them: compiled by tests/test_recovery_types.py, and not run.
import {Channel, Push, Socket} from "phoenix"
import {recoverable, type RecoverableChannel, type Recovery} from "../../transport/static/shared/recoverable.js"

const socket = new Socket("/socket")
const channel: RecoverableChannel = recoverable(socket, "room:lobby")
const withParams = recoverable(socket, "room:lobby", () => ({token: "t"}))
const plain: Channel = recoverable(socket, "room:lobby", {token: "t"})

channel.on("new_msg", (message, ref) => show(message.body, channel.isRecovered(ref)))
channel.on("typing", message => show(message.user, false))
channel.on("closed", () => undefined)

channel.join().receive("ok", ({recover}: {recover: Recovery}) => {
  if(!recover.recovered) show(`${recover.epoch} ${recover.offset + recover.count}`, false)
})

const push: Push = channel.pushOnce("order", {article: 7})
push.receive("ok", answer => show(answer.number, false))
channel.pushOnce("photo", new ArrayBuffer(8), 60_000, "a key of one's own")
show(withParams.recovery?.epoch ?? plain.topic, false)

// @ts-expect-error  what the server has said is not to be changed
channel.recovery = undefined
// @ts-expect-error  a payload has to be an object, or binary
channel.pushOnce("order", "text")
// @ts-expect-error  a channel of phoenix.js has no such method
plain.pushOnce("order", {})

function show(text: string, missed: boolean): void {
  console.log(text, missed)
}
