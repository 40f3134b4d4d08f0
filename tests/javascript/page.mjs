// Plays with the demo's page in a browser: node page.mjs http://127.0.0.1:<port> <path of chromium>
import {barriers, overflows, playInBrowser, problemsOf} from "./chromium.mjs"

const [address, executablePath] = process.argv.slice(2)

// One user's page, sharing nothing with other tabs but the browser, and all that went wrong in it.
class Tab {
  static async open(newContext, {width = 1400, reducedMotion = "reduce"} = {}){
    const context = await newContext({viewport: {width, height: 900}, reducedMotion})
    return new Tab(await context.newPage())
  }

  constructor(page){
    this.page = page
    this.problems = problemsOf(page)
  }

  async visit(user){
    await this.page.goto(user ? `${address}/?${new URLSearchParams({user})}` : address)
    await this.untilJoined()
  }

  async untilJoined(){
    await this.until("#joins", "2")
    await this.until("#channel-pid", /^</)
  }

  all(selector){
    return this.page.locator(selector)
  }

  click(id){
    return this.page.click(id)
  }

  // Clicks all of them before the page does anything else.
  clickAtOnce(...ids){
    return this.page.evaluate(ids => ids.forEach(id => document.querySelector(id).click()), ids)
  }

  // The history of the page, if a scenario fails.
  trace(){
    return this.texts("#history li")
  }

  text(id){
    return this.page.textContent(id)
  }

  texts(selector){
    return this.all(selector).allTextContents()
  }

  // Whether something can be said in the room.
  writable(){
    return this.page.isEnabled("#message-input")
  }

  // The buttons that are disabled, with the reasons in their titles.
  grey(){
    return this.all('button[aria-disabled="true"]').evaluateAll(all => all.map(({id, title}) => [id, title]))
  }

  // Resolves once the text is the one wanted, or matches it.
  async until(id, wanted){
    const hasText = typeof wanted === "string" ? new RegExp(`^${wanted}$`) : wanted
    await this.all(id).filter({hasText}).waitFor()
  }

  // Resolves once there are `count` of them.
  async untilCount(selector, count){
    await this.all(selector).nth(count - 1).waitFor()
  }

  async say(body){
    await this.page.fill("#message-input", body)
    await this.page.keyboard.press("Enter")
  }

  // The messages of the users named; the lobby is shared with the other scenarios.
  async messages(...users){
    const bodies = await this.all("#messages li").evaluateAll(
      items => items.map(item => [item.dataset.user, item.querySelector(".body").textContent]))
    return bodies.filter(([user]) => users.includes(user))
  }

  // Those of the users named who are in the room.
  async present(...users){
    const all = await this.all("#present li").evaluateAll(items => items.map(item => [item.dataset.user, item.textContent]))
    return Object.fromEntries(all.filter(([user]) => users.includes(user)))
  }

  // What became of the pings, in the order in which it did.
  async pings(){
    const newestFirst = await this.all("#pings li").evaluateAll(
      items => items.map(item => ({event: item.dataset.event, outcome: item.className, text: item.textContent})))
    return newestFirst.reverse()
  }

  // The newest sentence of the history.
  told(){
    return this.text("#history li span")
  }

  // The frames in the log, each with the seconds since midnight at which it passed.
  frames(){
    return this.all("#frames tr").evaluateAll(rows => rows.map(row => {
      const [time, topic, event, payload] = ["time", "topic", "event", "payload"].map(name => row.querySelector(`.${name}`))
      const [hours, minutes, seconds] = time.textContent.split(":").map(Number)
      return {
        direction: row.dataset.direction,
        at: 3600 * hours + 60 * minutes + seconds,
        topic: topic.textContent,
        event: event.textContent,
        payload: JSON.parse((payload.querySelector("summary") ?? payload).textContent),
      }
    }))
  }

  async actors(){
    const ids = {channel: "#channel-pid", transport: "#transport-pid", room: "#room-node", demo: "#demo-node"}
    const [channel, transport] = await Promise.all([ids.channel, ids.transport].map(id => this.text(id)))
    const [room, demo] = await Promise.all([ids.room, ids.demo].map(id => this.page.getAttribute(id, "data-state")))
    return {channel, transport, room, demo}
  }

  async counts(){
    const names = ["joins", "crashes", "reconnects"]
    const counts = await Promise.all(names.map(async name => [name, Number(await this.text(`#${name}`))]))
    return Object.fromEntries(counts)
  }

  // Resolves once the pid has changed so many times since the page was opened.
  untilReborn(id, changes){
    return this.all(`${id}[data-changes="${changes}"]`).waitFor()
  }
}

const scenarios = {
  async "names"(open){
    const tab = await open()
    const first = {status: await tab.text("#status"), user: await tab.text("#user"), url: tab.page.url()}
    await tab.page.fill("#user-name", "carol")
    await tab.page.keyboard.press("Enter")
    await tab.until("#user", "carol")
    await tab.untilJoined()
    return {first, renamed: {status: await tab.text("#status"), url: tab.page.url()}}
  },

  async "chat"(open){
    const names = ["<u>ann</u>", "ben"]
    const [ann, ben] = await Promise.all(names.map(name => open(name)))
    await Promise.all([ann, ben].flatMap(tab => names.map(name => tab.all(`#present li[data-user="${name}"]`).waitFor())))
    await ben.page.locator("#message-input").pressSequentially("hel")
    await ann.until("#typing", /\bben\b.* typing$/)
    await ben.say("good evening")
    await ann.until("#messages", /good evening/)
    await ann.say("<img src=x onerror=alert(1)>")
    await ben.until("#messages", /onerror/)
    const messages = {ann: await ann.messages(...names), ben: await ben.messages(...names)}
    const made = await Promise.all([ann, ben].map(tab => tab.all("img, u").count()))
    const present = {ann: await ann.present(...names), ben: await ben.present(...names)}
    await ben.page.close()
    await ann.all("#present li[data-user=ben]").waitFor({state: "detached"})
    const presentAfter = await ann.present(...names)
    const user = await ann.text("#user"), own = await ann.texts("#messages .own .body")
    return {messages, own, user, made, present, presentAfter}
  },

  // One tab is cut off, while the other one talks.
  async "a connection is cut"(open){
    const [cut, speaker] = await Promise.all(["castaway", "talker"].map(name => open(name)))
    await speaker.say("before")
    await cut.until("#messages", /before/)
    // The five seconds end when all has been said, however slow the machine is.
    await cut.page.evaluate(() => {
      const wait = window.setTimeout
      window.setTimeout = (callback, delay, ...rest) => delay === 5000 ? void (window.endOfCut = callback) : wait(callback, delay, ...rest)
    })
    await cut.click("#cut")
    await cut.until("#status", "disconnected")
    const note = await cut.text("#chat-note")
    await speaker.say("one")
    await speaker.say("two")
    await speaker.until("#messages", /two/)
    await cut.page.evaluate(() => window.endOfCut())
    await cut.until("#messages", /two/)
    await cut.untilReborn("#transport-pid", 1)
    await speaker.say("after")
    await cut.until("#messages", /after/)
    const missed = await cut.texts("#messages li[data-user=talker]:has(.missed) .body")
    const messages = await cut.messages("talker")
    return {note, missed, messages, noteAfter: await cut.text("#chat-note"), told: await cut.texts("#history li span"), barriers: await barriers(cut.page)}
  },

  async "ticks, pings and debounce"(open){
    const tab = await open("clock", {reducedMotion: "no-preference"})
    await tab.clickAtOnce(...Array(5).fill("#debounce"))
    await tab.click("#ping")
    await tab.untilCount("#pings li", 1)
    await tab.click("#delayed-pings")
    await tab.untilCount("#pings li", 5)
    const pings = await tab.pings()
    const lanes = await tab.texts("#lanes li.answered .lane-label")
    await tab.until("#debounce-arrivals", "2")
    await tab.untilCount("#frames tr[data-event=tick]", 2)
    const debounce = {clicks: await tab.text("#debounce-clicks"), arrivals: await tab.text("#debounce-arrivals")}
    return {pings, lanes, debounce, frames: await tab.frames()}
  },

  async "crashes"(open){
    const tab = await open("crasher")
    const before = await tab.actors()
    await tab.click("#crash-channel")
    await tab.untilReborn("#channel-pid", 1)
    const channel = {actors: await tab.actors(), counts: await tab.counts(), told: await tab.told()}

    await tab.click("#crash-transport")
    await tab.untilReborn("#transport-pid", 1)
    await tab.until("#joins", "5")
    const transport = {actors: await tab.actors(), counts: await tab.counts(), told: await tab.told()}
    await tab.click("#ping")
    await tab.untilCount("#pings li.answered", 1)
    await tab.until("#present li[data-user=crasher]", "crasher \\(you\\)")
    return {before, channel, transport}
  },

  async "a clock crashes"(open){
    const tab = await open("clockbreaker")
    const before = await tab.actors()
    await tab.clickAtOnce("#delayed-pings", "#crash-demo")
    await tab.untilCount("#pings li.lost", 3)
    await tab.until("#joins", "3")
    await tab.until("#demo-state", "state: tick 0")
    return {before, after: await tab.actors(), counts: await tab.counts(), pings: await tab.pings(), told: await tab.told()}
  },

  async "endings"(open){
    const tab = await open("leaver")
    const lives = [await tab.actors()]
    const endings = []
    for(const [changes, button] of ["#stop-channel", "#leave"].entries()){
      await tab.click(button)
      await tab.all("#join-room").waitFor()
      endings.push({
        actors: await tab.actors(), note: await tab.text("#chat-note"), told: await tab.told(), writable: await tab.writable(),
        why: await tab.texts(".why:visible"), grey: await tab.grey(),
      })
      await tab.click("#join-room")
      await tab.untilReborn("#channel-pid", changes + 1)
      lives.push({...await tab.actors(), note: await tab.text("#chat-note"), writable: await tab.writable(), grey: await tab.grey()})
    }
    return {lives, endings, counts: await tab.counts()}
  },

  async "accessibility"(open){
    const tab = await open("reader")
    await tab.say("good evening")
    await tab.untilCount("#messages .own", 1)
    await tab.click("#ping")
    await tab.untilCount("#pings li", 1)
    await tab.click("#fail")
    await tab.until("#history li >> nth=0", /failed/)
    const joined = await barriers(tab.page)
    await tab.click("#leave")
    await tab.all("#join-room").waitFor()
    return {joined, left: await barriers(tab.page)}
  },

  async "links"(open){
    const tab = await open("linker")
    const links = await tab.all("nav a").evaluateAll(all => all.map(({pathname, textContent}) => [textContent, pathname]))
    const answers = []
    for(const [, path] of links) answers.push((await tab.page.request.get(address + path)).status())
    await tab.page.goto(`${address}/docs`)
    const guides = await tab.all("li a").evaluateAll(all => all.map(({pathname}) => pathname))
    const guide = await tab.page.request.get(address + guides[0])
    return {links, answers, guides, guide: await guide.text(), barriers: await barriers(tab.page)}
  },

  async "failure"(open){
    const tab = await open("failer")
    await tab.click("#fail")
    await tab.until("#history li >> nth=0", /failed/)
    return {told: await tab.told(), actors: await tab.actors(), counts: await tab.counts()}
  },

  async "frames"(open){
    const tab = await open("watcher")
    await tab.untilCount("#frames tr[data-event=tick]", 1)
    const all = await tab.frames()
    await tab.page.selectOption("#frame-topic", "demo:watcher")
    const ofTopic = await tab.frames()
    await tab.page.fill("#frame-text", "-tick")
    const withoutTicks = await tab.frames()
    await tab.page.fill("#frame-text", "")
    await tab.click("#frame-pause")
    await tab.click("#ping")
    await tab.untilCount("#pings li", 1)
    const paused = await tab.all("#frames tr[data-event=ping]").count()
    await tab.click("#frame-pause")
    await tab.untilCount("#frames tr[data-event=ping]", 1)
    return {all, ofTopic, withoutTicks, paused}
  },

  async "widths"(open){
    const tab = await open("x".repeat(60), {width: 400})
    await tab.say("y".repeat(400))
    await tab.untilCount("#messages .own", 1)
    await tab.click("#delayed-pings")
    await tab.click("#crash-channel")
    await tab.untilReborn("#channel-pid", 1)
    return {overflows: await overflows(tab.page)}
  },
}

await playInBrowser(executablePath, scenarios, newContext => {
  const tabs = []
  const open = async (user, options) => {
    const tab = await Tab.open(newContext, options)
    tabs.push(tab)
    await tab.visit(user)
    return tab
  }
  return {given: open, tabs}
})
