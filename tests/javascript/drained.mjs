// Stock phoenix clients whose server stops: node drained.mjs ws://127.0.0.1:<port>/socket <clients> [<seconds of deadline>]
// Prints "ready" when all have joined; then, when each has been closed and has joined again, or at the deadline, a JSON list
// of each client's [close code, when it was closed, when it had joined again], in milliseconds since 1970.
import {Socket} from "phoenix"
import WebSocket from "ws"

const [endpoint, count, deadline = "60"] = process.argv.slice(2)
const rows = []

function finish(){
  process.stdout.write(JSON.stringify(rows) + "\n", () => process.exit(0))
}

function client(row, joined){
  const socket = new Socket(endpoint, {transport: WebSocket, params: {user: `js${rows.length}`}})
  const channel = socket.channel("bench:drained")
  socket.onClose(event => {
    if(row[0] === null){ [row[0], row[1]] = [event.code, Date.now()] }
  })
  // The socket joins again by itself, and the channel's own back-off waits for a connection that is not open yet.
  channel.join().receive("ok", () => {
    if(row[0] === null){ joined() }
    else if(row[2] === null){ row[2] = Date.now(); rows.every(each => each[2] !== null) && finish() }
  })
  socket.connect()
}

await Promise.all(Array.from({length: Number(count)}, () => new Promise(resolve => {
  const row = [null, null, null]
  rows.push(row)
  client(row, resolve)
})))
process.stdout.write("ready\n")
setTimeout(finish, Number(deadline) * 1000)
