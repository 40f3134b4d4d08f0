// Looks at another node on the observer's page of this one:
//   node nodes.mjs http://127.0.0.1:<port of a demo> <path of chromium> <token>
import {barriers, overflows, playInBrowser, problemsOf} from "./chromium.mjs"

const [address, executablePath, token] = process.argv.slice(2)

const scenarios = {
  async "another node"({open}){
    const page = await open()
    await page.goto(`${address}/observer#token=${token}`)
    await page.locator("#node option").nth(1).waitFor({state: "attached"})
    const names = await page.locator("#node option").allTextContents()
    const topics = await page.locator("#node option").evaluateAll(options => options.map(({value}) => value))
    const rows = () => page.locator(".row:not(.ghost) .name").allTextContents()
    await page.locator('.row[data-name="observer"]').first().waitFor()
    await page.locator('.row[data-name="listener"] .name').click()
    await page.locator("#chosen").waitFor()
    await page.locator("#node").selectOption(topics[1])
    // The other node has no client: this page is one of the first.
    await page.waitForFunction(() => document.querySelector('.row[data-name="listener"]')
      && !document.querySelector('.row[data-name="observer"]:not(.ghost)'))
    const other = {rows: await rows(), chosen: await page.locator("#chosen").isVisible(), lost: await page.textContent("#lost")}
    await page.locator('.row[data-name="presence"] .name').click()
    await page.locator('#state [data-attribute]').first().waitFor()
    const barriersThere = await barriers(page)
    const overflow = await overflows(page)
    await page.locator("#node").selectOption(topics[0])
    await page.locator('.row[data-name="observer"]:not(.ghost)').first().waitFor()
    return {names, topics, other, back: await rows(), barriers: barriersThere, overflow}
  },
}

await playInBrowser(executablePath, scenarios, newContext => {
  const tabs = []
  const open = async () => {
    const page = await (await newContext({viewport: {width: 1400, height: 900}, reducedMotion: "reduce"})).newPage()
    tabs.push({problems: problemsOf(page), trace: () => page.locator(".row .name").allTextContents()})
    return page
  }
  return {given: {open}, tabs}
})
