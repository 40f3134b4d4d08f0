// Plays scenarios and prints one JSON object a line for each: {scenario, report} or {scenario, error, trace}.
import {stripVTControlCharacters} from "node:util"

export const DEADLINE_MS = 1000 * Number(process.env.ASHTREE_TEST_WAIT || 15)

// Plays all scenarios, `atATime` of them concurrently, each for at most `deadlineMs`. `prepare` is called for each and returns
// {given, report, trace, close}: the argument of the scenario, what is added to its report, what explains a failure, the clean-up.
export async function playAll(scenarios, prepare, {atATime = Infinity, deadlineMs = DEADLINE_MS} = {}){
  const waiting = Object.entries(scenarios)
  const playNext = async () => {
    while(waiting.length > 0) console.log(JSON.stringify(await play(...waiting.shift(), prepare, deadlineMs)))
  }
  await Promise.all(Array.from({length: Math.min(atATime, waiting.length)}, playNext))
}

async function play(scenario, steps, prepare, deadlineMs){
  const {given, report = () => ({}), trace, close} = prepare()
  let timer
  const overdue = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${deadlineMs} ms`)), deadlineMs)
  })
  try {
    return {scenario, report: {...await Promise.race([steps(given), overdue]), ...report()}}
  } catch(error){
    return {scenario, error: stripVTControlCharacters(error.stack), trace: await trace()}
  } finally {
    clearTimeout(timer)
    await close()
  }
}
