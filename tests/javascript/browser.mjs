// Runs the stock phoenix client in a browser: node browser.mjs http://127.0.0.1:<port> <path of chromium>
import {fileURLToPath} from "node:url"
import {playInBrowser} from "./chromium.mjs"

const [address, executablePath] = process.argv.slice(2)
const FALLBACK_MS = 1000
// The package's build for script tags: it makes a global Phoenix.
const PHOENIX = fileURLToPath(new URL("node_modules/phoenix/priv/static/phoenix.js", import.meta.url))
const BARE_PAGE = `${address}/assets/demo.css` // of the demo's origin, but without the client of the demo's page

// Runs in the page, next to the global Phoenix: one client in one topic, and all that it was told.
function equip(){
  window.seen = []
  let waiting = []
  const look = () => waiting = waiting.filter(check => !check())
  const note = (kind, value = null) => {
    window.seen.push({kind, value, at: performance.now()})
    look()
  }
  // Resolves once the check succeeds; it is made again after whatever happens.
  window.when = check => new Promise(resolve => {
    waiting.push(() => check() && (resolve(true), true))
    look()
  })

  window.enter = (topic, {user, transport, events, ...options}) => {
    const socket = new Phoenix.Socket("/socket", {params: {user}, transport: Phoenix[transport], ...options})
    socket.onOpen(() => note("open"))
    socket.onClose(event => note("close", event.code))
    const channel = socket.channel(topic)
    channel.onError(reason => note("error", reason))
    events.forEach(event => channel.on(event, payload => note(event, payload)))
    const presence = new Phoenix.Presence(channel)
    presence.onSync(() => note("synced"))
    window.metas = () => Object.fromEntries(presence.list((user, {metas}) => [user, metas]))
    window.polls = () => socket.transport === Phoenix.LongPoll
    // Resolves with the reply to a push, whatever its status.
    window.ask = (event, payload) => new Promise(resolve => {
      const push = channel.push(event, payload)
      for(const status of ["ok", "error", "timeout"]) push.receive(status, response => resolve({status, response}))
    })
    window.push = (event, payload) => void channel.push(event, payload)
    socket.connect()
    channel.join().receive("ok", reply => note("joined", reply)).receive("error", reply => note("refused", reply))
  }
}

// A page with one client, and all that went wrong in it.
class Tab {
  static async open(context){
    const tab = new Tab(await context.newPage())
    await tab.page.goto(BARE_PAGE)
    await tab.page.addScriptTag({path: PHOENIX})
    await tab.page.evaluate(equip)
    return tab
  }

  constructor(page){
    this.page = page
    this.problems = []
    this.polls = new Set()
    page.on("console", said => {
      const ofIcon = said.location().url.endsWith("/favicon.ico") // what the browser asks for where a page names no icon
      if(["error", "warning"].includes(said.type()) && !ofIcon) this.problems.push(`console: ${said.text()}`)
    })
    page.on("pageerror", error => this.problems.push(`uncaught: ${error.message}`))
    page.on("request", request => request.url().includes("/socket/longpoll?") && this.polls.add(request.method()))
  }

  // Connects, and resolves once the topic is joined.
  async enter(topic, {events = [], ...options}){
    await this.page.evaluate(([topic, options]) => window.enter(topic, options), [topic, {events, ...options}])
    await this.until("joined")
  }

  // Resolves with all values of the kind once there are `count`.
  async until(kind, count = 1){
    await this.page.waitForFunction(
      ([kind, count]) => window.when(() => window.seen.filter(entry => entry.kind === kind).length >= count), [kind, count])
    return (await this.seen(kind)).map(entry => entry.value)
  }

  // Resolves with the list of the stock Presence once these users are in it, each with so many metas.
  async untilPresent(counts){
    await this.page.waitForFunction(counts => window.when(() => {
      const metas = window.metas()
      const users = Object.keys(metas)
      return users.length === Object.keys(counts).length && users.every(user => metas[user].length === counts[user])
    }), counts)
    return await this.page.evaluate(() => window.metas())
  }

  seen(kind){
    return this.page.evaluate(kind => window.seen.filter(entry => entry.kind === kind), kind)
  }

  // What happened to the client, if a scenario fails and the tab is not closed.
  async trace(){
    const lines = () => window.seen.map(({kind, value}) => `${kind} ${JSON.stringify(value)}`)
    return this.page.isClosed() ? [] : await this.page.evaluate(lines)
  }

  ask(event, payload = {}){
    return this.page.evaluate(([event, payload]) => window.ask(event, payload), [event, payload])
  }

  push(event, payload = {}){
    return this.page.evaluate(([event, payload]) => window.push(event, payload), [event, payload])
  }

  async whoami(){
    return (await this.ask("whoami")).response
  }

  // Which transport the client has, and with which methods the browser polled.
  async transport(){
    const longPoll = await this.page.evaluate(() => window.polls())
    return {longPoll, methods: [...this.polls].sort()}
  }
}

// Networks in which no WebSocket is of any use: each breaks those of a context before its first page.
const breakages = {
  // The handshake gets an answer that is none: the browser's own error.
  refused: context => context.addInitScript(() => {
    window.WebSocket = class extends WebSocket {
      constructor(url, ...rest){
        super(url.replace("/websocket", "/blocked"), ...rest)
      }
    }
  }),
  // The handshake never ends.
  stuck: context => context.routeWebSocket(/\/websocket/, () => new Promise(() => {})),
  // It opens, and swallows every frame.
  mute: context => context.routeWebSocket(/\/websocket/, () => {}),
}

// One who can but poll talks with one who has a WebSocket.
async function talk(topic, poller, other, options){
  const events = ["new_msg"]
  await Promise.all([
    poller.enter(topic, {user: "poller", events, ...options}),
    other.enter(topic, {user: "other", events}),
  ])
  const echo = await poller.ask("echo", {text: "grüß dich", numbers: [1, 2.5, null]})
  const failure = await poller.ask("fail")
  await poller.ask("new_msg", {body: "from the poller"})
  await Promise.all([poller, other].map(tab => tab.until("new_msg")))
  await other.ask("new_msg", {body: "from the other"})
  const [heard, heardByOther] = await Promise.all([poller, other].map(tab => tab.until("new_msg", 2)))
  const transports = {poller: await poller.transport(), other: await other.transport()}
  return {echo, failure, heard, heardByOther, transports, user: (await poller.whoami()).user}
}

const fallback = how => async open => {
  const poller = await open({network: breakages[how]})
  return await talk(`room:browser-${how}`, poller, await open(), {longPollFallbackMs: FALLBACK_MS})
}

const scenarios = {
  async "ticks and pings"(open){
    const tab = await open()
    await tab.enter("demo:browser", {user: "ticker", events: ["tick"]})
    const ping = await tab.ask("ping")
    await tab.until("tick", 2)
    return {ping, ticks: await tab.seen("tick"), transport: await tab.transport()}
  },

  async "crashes"(open){
    const tab = await open()
    await tab.enter("room:browser-crashes", {user: "crasher"})
    const lives = [await tab.whoami()]
    const log = async () => {
      const entries = await Promise.all(["joined", "error", "open", "close"].map(kind => tab.seen(kind)))
      const [joined, errors, opened, closed] = entries.map(seen => seen.map(({value}) => value))
      return {joined: joined.length, errors, opened: opened.length, closed}
    }
    await tab.push("crash")
    await tab.until("joined", 2)
    lives.push(await tab.whoami())
    const channel = await log()
    await tab.push("crash_transport")
    await tab.until("joined", 3)
    lives.push(await tab.whoami())
    return {lives, channel, transport: await log()}
  },

  async "presence"(open){
    const first = await open(), second = await open({beside: first}), other = await open()
    const topic = "room:browser-presence"
    const tabs = [[first, "ann"], [second, "ann"], [other, "ben"]]
    await Promise.all(tabs.map(([tab, user]) => tab.enter(topic, {user})))
    const together = await Promise.all(tabs.map(([tab]) => tab.untilPresent({ann: 2, ben: 1})))
    await second.page.close()
    const after = await Promise.all([first, other].map(tab => tab.untilPresent({ann: 1, ben: 1})))
    await first.page.close()
    return {together, after, alone: await other.untilPresent({ben: 1})}
  },

  "refused": fallback("refused"),
  "stuck": fallback("stuck"),
  "mute": fallback("mute"),

  async "polling"(open){
    return await talk("room:browser-polling", await open(), await open(), {transport: "LongPoll"})
  },
}

await playInBrowser(executablePath, scenarios, newContext => {
  const tabs = []
  // Opens a tab in a context of its own, or beside another; `network` may break its connections.
  const open = async ({beside, network} = {}) => {
    const context = beside?.page.context() ?? await newContext({bypassCSP: true})
    await network?.(context)
    const tab = await Tab.open(context)
    tabs.push(tab)
    return tab
  }
  return {given: open, tabs}
})
