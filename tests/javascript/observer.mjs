// Plays with the observer's page in a browser:
//   node observer.mjs http://127.0.0.1:<port of the demo> <path of chromium> http://127.0.0.1:<port of another one> <token of both>
import {barriers, overflows, playInBrowser, problemsOf} from "./chromium.mjs"

const [address, executablePath, another, token] = process.argv.slice(2)

// A page of the demo's origin with a WebSocket of its own, and no more client than that.
class Visitor {
  static async connect(page){
    await page.goto(`${address}/assets/demo.css`)
    await page.evaluate(() => new Promise((resolve, reject) => {
      window.frames_ = []
      window.socket = new WebSocket(`ws://${location.host}/socket/websocket?vsn=2.0.0&user=visitor&user_secret=xyz`)
      window.socket.onmessage = ({data}) => window.frames_.push(JSON.parse(data))
      window.socket.onopen = resolve
      window.socket.onerror = reject
    }))
    return new Visitor(page)
  }

  constructor(page){
    this.page = page
    this.ref = 0
  }

  // Resolves once there is an answer, or a push of that event.
  async push(topic, event, payload = {}, wanted = "phx_reply"){
    const ref = String(++this.ref)
    if(event === "phx_join") this.joinRef = ref
    await this.page.evaluate(frame => window.socket.send(JSON.stringify(frame)), [this.joinRef, ref, topic, event, payload])
    await this.page.waitForFunction(
      ([topic, wanted, ref]) => window.frames_.some(
        ([, of, on, what]) => on === topic && what === wanted && (wanted !== "phx_reply" || of === ref)),
      [topic, wanted, ref])
  }

  join(topic, payload){
    return this.push(topic, "phx_join", payload)
  }
}

// The observer's page, and all that went wrong in it.
class Observer {
  constructor(page){
    this.page = page
    this.problems = problemsOf(page)
  }

  async visit(url = `${address}/observer#token=${token}`){
    await this.page.goto(url)
    await this.row("listener").waitFor()
  }

  row(name){
    return this.page.locator(`.row:not(.ghost)[data-name="${name}"]`)
  }

  ghost(name, kind){
    return this.page.locator(`.row.ghost.${kind}[data-name="${name}"]`)
  }

  names(){
    return this.page.locator(".row:not(.ghost) .name").allTextContents()
  }

  // The names in the tree, if a scenario fails.
  trace(){
    return this.names()
  }

  pid(name){
    return this.row(name).locator(".pid").textContent()
  }

  text(selector){
    return this.page.textContent(selector)
  }

  async choose(name){
    await this.row(name).locator(".name").click()
    await this.page.locator("#actor-name").filter({hasText: name}).waitFor()
  }

  // What is shown of a selected actor's attribute.
  state(attribute){
    return this.page.locator(`#state [data-attribute="${attribute}"] dd`)
  }

  // The row that has the focus, as a screen reader is told of it.
  focused(){
    return this.page.evaluate(() => {
      const {dataset, role, ariaExpanded, ariaLevel} = document.activeElement
      return {name: dataset.name, role, expanded: ariaExpanded, level: ariaLevel}
    })
  }
}

const scenarios = {
  async "tree"({observe}){
    const observer = await observe()
    // Its own channel is the last to come, on a busy machine after the first look.
    await observer.row("observer").first().waitFor()
    // All of it at one time: between two reads the page may show that another scenario has connected.
    return await observer.page.evaluate(() => {
      const text = (selector, element = document) => element.querySelector(selector).textContent
      const rows = [...document.querySelectorAll("#tree > .row:not(.ghost)")]
      return {
        tree: document.querySelector("#tree").role,
        items: rows.map(({role, ariaLevel, ariaPosInSet, ariaSetSize, tabIndex}) => [role, ariaLevel, ariaPosInSet, ariaSetSize, tabIndex]),
        status: text("#status"),
        actors: text("#actors"),
        names: rows.map(row => text(".name", row)),
      }
    })
  },

  async "join"({observe, visit}){
    const observer = await observe(), visitor = await visit()
    const topic = "room:seen joining"
    const before = Date.now()
    await visitor.join(topic)
    await observer.row(topic).waitFor()
    const ms = Date.now() - before
    // The transport was there before; a join brings the supervisor of its channels, and the channel.
    const level = Number(await observer.row(topic).getAttribute("aria-level"))
    const above = await observer.row(topic).evaluate(row => {
      const names = []
      for(let [at, level] = [row, Number(row.ariaLevel)]; at; at = at.previousElementSibling)
        if(Number(at.ariaLevel) === level - 1 && at.dataset.name){ names.push(at.dataset.name); level -= 1 }
      return names
    })
    return {ms, level, above, isBorn: (await observer.row(topic).getAttribute("class")).includes("born")}
  },

  async "crash"({observe, visit}){
    const observer = await observe(), visitor = await visit()
    const topic = "room:seen crashing"
    await visitor.join(topic)
    await observer.row(topic).waitFor()
    const before = await observer.pid(topic)
    await observer.row(topic).focus()
    const ghost = observer.ghost(topic, "crashed").waitFor()
    await visitor.push(topic, "crash", {}, "phx_error")
    await ghost
    const focused = (await observer.focused()).name
    const told = await observer.page.locator("#journal li span").filter({hasText: topic}).textContent()
    await observer.ghost(topic, "crashed").waitFor({state: "detached"}) // a client may take longer than that to join again
    await visitor.join(topic)
    await observer.row(topic).waitFor()
    await observer.page.locator("#journal li.reborn").filter({hasText: topic}).waitFor()
    return {before, focused, after: await observer.pid(topic), struck: await observer.row(topic).locator(".before").textContent(), told}
  },

  async "state"({observe, visit}){
    const observer = await observe(), visitor = await visit()
    const topic = "room:seen inside"
    await visitor.join(topic, {password: "hunter2", colour: "<b>green</b>"})
    await observer.row(topic).waitFor()
    await observer.choose(topic)
    const assigns = await observer.state("assigns").textContent()
    const joined = await observer.state("_join_message").textContent()
    await visitor.push(topic, "echo", {token: "abc", n: 1})
    await observer.page.locator("#messages summary").filter({hasText: "echo"}).waitFor()
    const message = await observer.text("#messages summary")
    const whole = await observer.page.locator("#messages pre").first().textContent()
    const ancestors = await observer.page.locator("#ties div:first-child .tie").allTextContents()
    await observer.page.locator("#ties .tie").filter({hasText: "System"}).click()
    await observer.page.locator("#actor-name").filter({hasText: "System"}).waitFor()
    return {assigns, joined, message, whole, ancestors, html: await observer.page.locator("#state b").count()}
  },

  async "orders"({observe, visit}){
    const observer = await observe(), visitor = await visit()
    const topic = "room:seen dying"
    await visitor.join(topic)
    await observer.row(topic).waitFor()
    await observer.choose(topic)
    await observer.page.click("#suspend")
    await observer.page.locator(`.row[data-name="${topic}"][data-status=suspended]`).waitFor()
    const suspended = await observer.text("#actor-status")
    await observer.page.click("#resume")
    await observer.page.locator(`.row[data-name="${topic}"][data-status=running]`).waitFor()
    const ghost = observer.ghost(topic, "crashed").waitFor()
    await observer.page.click("#kill")
    const asked = await observer.text("#kill")
    await observer.page.click("#kill")
    await ghost
    const reason = observer.page.locator("#reason-text").filter({hasText: "killed"})
    await reason.waitFor()
    await visitor.page.waitForFunction(() => window.frames_.some(([,,, event]) => event === "phx_error"))
    await visitor.join(topic)
    await observer.page.locator("#successor").waitFor()
    await observer.page.click("#successor")
    await observer.page.locator("#actor-status").filter({hasText: "running"}).waitFor()
    return {suspended, asked, reason: await observer.text("#reason-text"), orders: await observer.page.locator(".orders button:visible").allTextContents()}
  },

  async "own"({observe}){
    const observer = await observe()
    await observer.page.click(".row.own[data-name=observer] .name")
    await observer.page.click("#suspend")
    await observer.page.locator("#answer").filter({hasText: "Not done"}).waitFor()
    return {answer: await observer.text("#answer")}
  },

  async "recovery"({observe}){
    const observer = await observe()
    const before = await observer.page.textContent(".row.own[data-name=observer] .pid")
    await observer.page.click(".row.own[data-name=transport] .name")
    await observer.page.locator("#actor-name").filter({hasText: "transport"}).waitFor()
    await observer.page.click("#kill")
    // At once, as the page is back within milliseconds.
    await observer.page.evaluate(() => {
      document.querySelector("#kill").click()
      document.querySelector(".row[data-name=pubsub]").focus()
    })
    await observer.page.locator(".row.own[data-name=observer] .pid").filter({hasNotText: before}).waitFor()
    const focused = (await observer.focused()).name
    const reason = observer.page.locator("#actor-status").filter({hasText: "dead"})
    await reason.waitFor()
    const own = await observer.page.locator(".row.own").count(), systems = await observer.row("System").count()
    return {own, systems, focused, status: await observer.text("#status")}
  },

  async "keyboard"({observe}){
    const observer = await observe()
    const press = async (...keys) => {
      for(const key of keys) await observer.page.keyboard.press(key)
      return await observer.focused()
    }
    const seen = {}
    seen.found = await press("/").then(() => observer.page.evaluate(() => document.activeElement.id))
    seen.first = await press("Enter")
    await press("ArrowLeft")
    await observer.row("pubsub").waitFor({state: "detached"})
    seen.folded = await press()
    await press("ArrowRight")
    await observer.row("pubsub").waitFor()
    seen.below = await press("ArrowRight")
    seen.last = await press("End")
    seen.home = await press("Home")
    seen.parent = await press("ArrowDown", "ArrowDown", "ArrowLeft")
    await press("ArrowDown", "Enter")
    await observer.page.locator("#actor-name").filter({hasText: "pubsub"}).waitFor()
    await press("Escape")
    await observer.page.locator("#nobody").waitFor()
    seen.back = await press()
    return seen
  },

  async "search"({observe, visit}){
    const observer = await observe(), visitor = await visit()
    await visitor.join("room:seen in the haystack")
    await observer.page.fill("#search", "Haystack RoomChannel")
    await observer.row("room:seen in the haystack").waitFor()
    await observer.row("pubsub").waitFor({state: "detached"})
    const found = {hits: await observer.text("#hits"), names: await observer.names()}
    await observer.page.fill("#search", "")
    await observer.row("pubsub").waitFor()
    return {found, hits: await observer.text("#hits")}
  },

  async "accessibility"({observe, visit}){
    const observer = await observe(), visitor = await visit()
    const topic = "room:seen by all"
    await visitor.join(topic, {text: "y".repeat(500)})
    await observer.row(topic).waitFor()
    await observer.choose(topic)
    await visitor.push(topic, "echo", {n: 1})
    await observer.page.locator("#messages summary").filter({hasText: "echo"}).waitFor()
    await visitor.push(topic, "crash", {}, "phx_error")
    await observer.page.locator("#journal li").filter({hasText: topic}).waitFor()
    const links = await observer.page.locator("#links a").evaluateAll(all => all.map(({pathname, textContent}) => [textContent, pathname]))
    return {links, barriers: await barriers(observer.page)}
  },

  async "widths"({observe, visit}){
    const observer = await observe(), visitor = await visit()
    const topic = `room:${"x".repeat(200)}`
    await visitor.join(topic, {text: "y".repeat(500)})
    await observer.row(topic).waitFor()
    await observer.choose(topic)
    await observer.state("_join_message").waitFor()
    return {overflows: await overflows(observer.page)}
  },

  async "token"({observe}){
    const observer = await observe({url: null})
    let tries = 0
    observer.page.on("websocket", () => { tries += 1 })
    await observer.page.clock.install()
    await observer.page.goto(`${another}/observer`)
    await observer.page.locator("#access").waitFor()
    const obstacles = await barriers(observer.page)
    const asked = await observer.text("#access-text")
    await observer.page.fill("#search", "what is typed before it has a token")
    await observer.page.clock.fastForward("02:00")
    await observer.page.fill("#search", "")
    await observer.page.fill("#token", "not the token of this server")
    await observer.page.keyboard.press("Enter")
    await observer.page.locator("#access-text").filter({hasText: "does not accept this token"}).waitFor()
    await observer.page.clock.fastForward("02:00")
    const attempts = tries
    const refused = observer.problems.splice(0)
    const before = await observer.page.locator(".row").count()
    // Also with the whole address that the server has printed.
    await observer.page.fill("#token", ` ${another}/observer#token=${token}`)
    await observer.page.keyboard.press("Enter")
    await observer.row("listener").waitFor()
    await observer.page.locator("#access").waitFor({state: "hidden"})
    await observer.page.reload()
    await observer.row("listener").waitFor()
    const other = await observe({url: null})
    await other.visit(`${another}/observer#token=${token}`)
    // What was refused while it waited for its token is no fault of the page.
    observer.problems.length = 0
    return {asked, refused, before, url: other.page.url(), attempts, obstacles}
  },

  // A page of a foreign name that leads to this machine, and a page of this machine.
  async "rebound"({observe}){
    const reports = {}
    for(const host of ["rebound.test", "127.0.0.1"]){
      const {page, problems} = await observe({url: null})
      await page.goto(`http://${host}:${new URL(another).port}/observer`)
      await page.locator("#access").waitFor()
      reports[host] = await page.evaluate(async () => {
        const websocket = await new Promise(resolve => {
          const socket = new WebSocket(`ws://${location.host}/socket/websocket?vsn=2.0.0`)
          socket.onopen = () => resolve("open")
          socket.onerror = () => resolve("refused")
        })
        const ask = async (query, options) => (await fetch(`/socket/longpoll?vsn=2.0.0${query}`, options)).json()
        // A browser adds no Origin to a GET of the page's own host; what is opened so cannot be spoken to.
        const {token} = await ask("", {})
        const headers = {"X-Forwarded-For": "203.0.113.9", "Content-Type": "application/json"}
        const {status} = await ask(`&token=${token}`, {method: "POST", headers, body: '["1","1","room","phx_join",{}]'})
        return {websocket, status}
      })
      problems.length = 0
    }
    return reports
  },
}

await playInBrowser(executablePath, scenarios, newContext => {
  const tabs = []
  const newPage = async () => {
    const context = await newContext({viewport: {width: 1400, height: 900}, reducedMotion: "reduce"})
    return await context.newPage()
  }
  const observe = async ({url} = {}) => {
    const observer = new Observer(await newPage())
    tabs.push(observer)
    if(url !== null) await observer.visit(url)
    return observer
  }
  const visit = async () => Visitor.connect(await newPage())
  return {given: {observe, visit}, tabs}
})
