// A browser's own WebSocket on a server that compresses: node compression.mjs http://127.0.0.1:<port> <path of chromium>
import {playInBrowser} from "./chromium.mjs"

const [address, executablePath] = process.argv.slice(2)

// Runs in the page: a WebSocket without a client, which joins, and resolves with what it was told.
function converse({messages, ends}){
  return new Promise(resolve => {
    const socket = new WebSocket(`${location.origin.replace("http", "ws")}/socket/websocket?vsn=2.0.0`)
    const heard = []
    socket.onopen = () => messages.forEach(message => socket.send(message))
    socket.onmessage = ({data}) => {
      heard.push(JSON.parse(data))
      if(!ends && heard.length === messages.length){ socket.close(1000) }
    }
    socket.onclose = ({code, wasClean}) => resolve({extensions: socket.extensions, heard, code, wasClean})
  })
}

const LONG = Array.from({length: 1000}, (_, number) => `the ${number}th of them`)
const JOIN = JSON.stringify(["1", "1", "room:1", "phx_join", {}])
const push = (ref, payload) => JSON.stringify(["1", ref, "room:1", "echo", payload])

class Tab {
  static async open(context){
    const tab = new Tab(await context.newPage())
    await tab.page.goto(address)
    return tab
  }

  constructor(page){
    this.page = page
    this.problems = [] // the page is not what is tested: it has not even an icon
  }

  async trace(){ return [] }
}

const scenarios = {
  "messages of all sizes": async open => {
    const tab = await open()
    const payloads = [{}, {a: "short"}, {a: "x".repeat(300)}, {a: LONG}, {a: LONG.concat(LONG)}]
    const messages = [JOIN, ...payloads.map((payload, number) => push(`${number + 2}`, payload))]
    const {heard, ...result} = await tab.page.evaluate(converse, {messages})
    const echoed = heard.slice(1).map(([, , , , {response}]) => JSON.stringify(response))
    return {...result, same: JSON.stringify(echoed) === JSON.stringify(payloads.map(payload => JSON.stringify(payload)))}
  },
  "a malformed message": async open => {
    const tab = await open()
    const {heard, ...result} = await tab.page.evaluate(converse, {messages: [JOIN, `{"a": "${"x".repeat(500)}`], ends: true})
    return {...result, heard: heard.length}
  },
}

await playInBrowser(executablePath, scenarios, newContext => {
  const tabs = []
  const given = async () => {
    const tab = await Tab.open(await newContext())
    tabs.push(tab)
    return tab
  }
  return {given, tabs}
})
