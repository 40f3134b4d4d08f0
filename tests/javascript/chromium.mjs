// A browser for scenarios, and what goes wrong in its pages.
import {createRequire} from "node:module"
import {readFileSync} from "node:fs"
import {chromium} from "playwright-core"
import {DEADLINE_MS, playAll} from "./scenarios.mjs"

const QUIET = [
  "--disable-gpu", "--disable-quic", "--disable-sync",
  "--no-first-run", "--disable-background-networking", "--disable-component-update",
  // As if the owner of the name had given it the address of this machine.
  "--host-resolver-rules=MAP rebound.test 127.0.0.1",
]
// A scenario has a deadline as a whole. On a busy machine one step takes a third of it: to open a page starts a process of the
// browser, and two others are being started; all later steps are short. A step has a deadline only to report which one failed.
const WAIT_MS = 3 * DEADLINE_MS
const AT_A_TIME = 3 // a browser that paints in software fills a small machine, and each page is a process

// Plays scenarios in one browser. `enter` makes what a scenario is given from `newContext`, and returns it as {given, tabs}:
// each of the tabs, which a scenario may open one by one, has its `problems` and a `trace()`.
export async function playInBrowser(executablePath, scenarios, enter){
  const browser = await chromium.launch({executablePath, args: QUIET})
  const prepare = () => {
    const contexts = []
    const newContext = async options => {
      const context = await browser.newContext(options)
      contexts.push(context)
      context.setDefaultTimeout(WAIT_MS)
      return context
    }
    const {given, tabs} = enter(newContext)
    return {
      given,
      report: () => ({problems: tabs.flatMap(tab => tab.problems)}),
      trace: async () => (await Promise.all(tabs.map(async tab => [...tab.problems, ...await tab.trace()]))).flat(),
      close: () => Promise.all(contexts.map(context => context.close())),
    }
  }
  await playAll(scenarios, prepare, {atATime: AT_A_TIME, deadlineMs: 4 * DEADLINE_MS})
  await browser.close()
}

// Returns a list to which everything is added that goes wrong in a page.
export function problemsOf(page){
  const problems = []
  page.on("console", said => ["error", "warning"].includes(said.type()) && problems.push(`console: ${said.text()}`))
  page.on("pageerror", error => problems.push(`uncaught: ${error.message}`))
  page.on("requestfailed", request => problems.push(`failed: ${request.url()}`))
  page.on("response", response => response.status() >= 400 && problems.push(`${response.status()}: ${response.url()}`))
  page.on("dialog", dialog => {
    problems.push(`dialog: ${dialog.message()}`)
    return dialog.dismiss()
  })
  return problems
}

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8")

// Returns what axe-core finds wrong in a page as it is now, in a wide and in a narrow window.
export async function barriers(page){
  const found = []
  for(const width of [1400, 400]){
    await page.setViewportSize({width, height: 900})
    await page.evaluate(AXE)
    const {violations} = await page.evaluate(() => window.axe.run(document, {resultTypes: ["violations"]}))
    found.push(...violations.map(({id, nodes}) => `${width}: ${id}: ${nodes[0].html}`))
  }
  await page.setViewportSize({width: 1400, height: 900})
  return found
}

// Returns by how many pixels a page is too wide for windows of several widths.
export async function overflows(page){
  const found = []
  for(const width of [320, 400, 768, 1024, 1400]){
    await page.setViewportSize({width, height: 900})
    found.push([width, await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)])
  }
  return found
}
