// Pushes to a room through stock phoenix clients until its input ends, and keeps a ledger: node ledger.mjs ws://…/socket 2
// Prints a line for each client that has got a reply on a new connection, and at last the ledgers of all of them.
import {Socket} from "phoenix"
import WebSocket from "ws"

const [endpoint, count] = process.argv.slice(2)
const PUSH_TIMEOUT_MS = 2000
const PACE_MS = 20
let isOver = false

class Member {
  constructor(user){
    this.user = user
    this.pushed = 0
    this.ledger = {acknowledged: [], seen: {}, codes: []}
    this.isNew = true
    this.socket = new Socket(endpoint, {transport: WebSocket, params: {user}})
    this.socket.onOpen(() => { this.isNew = true })
    this.socket.onClose(event => this.ledger.codes.push(event.code))
    this.channel = this.socket.channel("room:ledger")
    this.channel.on("new_msg", message => this.see(message))
  }

  see({user, body}){
    if(user === this.user) this.ledger.seen[body] = (this.ledger.seen[body] || 0) + 1
  }

  async run(){
    this.socket.connect()
    this.channel.join()
    while(!isOver) await this.push()
    this.socket.disconnect()
  }

  async push(){
    const body = `${this.user} ${this.pushed++}`
    const status = await new Promise(resolve => {
      const push = this.channel.push("new_msg", {body}, PUSH_TIMEOUT_MS)
      for(const status of ["ok", "error", "timeout"]) push.receive(status, () => resolve(status))
    })
    if(status === "ok") this.acknowledge(body)
    // A server that starts gets a processor.
    await new Promise(resolve => setTimeout(resolve, PACE_MS))
  }

  acknowledge(body){
    this.ledger.acknowledged.push(body)
    if(this.isNew) console.log(JSON.stringify({back: this.user}))
    this.isNew = false
  }
}

const members = Array.from({length: Number(count)}, (_, number) => new Member(`phoenix.js-${number}`))
process.stdin.on("end", () => { isOver = true }).resume()
await Promise.all(members.map(member => member.run()))
console.log(JSON.stringify({ledgers: members.map(member => member.ledger)}))
