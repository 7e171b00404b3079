/** The ways to compute a workload that are compared, each in a process of its own, and the alternating rounds in which they do. */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { dirname } from "node:path"
import { fileURLToPath } from "node:url"
import { describeModelFolder } from "@helixflow/runtime/ModelFolder"
import { threadsOf } from "@helixflow/runtime/ModelSettings"
import { type EngineModel, graphOf } from "./EngineModels.ts"
import type { MeasuredServer } from "./MeasuredServer.ts"
import { streamAll } from "./OpenStream.ts"
import { median } from "./Report.ts"
import { type Generation, uneven } from "./Workload.ts"

export interface Contestant {
  readonly name: string
  /** Computes the workload and gives the milliseconds that took. */
  readonly run: (workload: ReadonlyArray<Generation>) => Promise<number>
}

/** A contestant's process. */
export interface Peer {
  readonly contestant: (name: string, options?: { readonly together: boolean }) => Contestant
  readonly stop: () => Promise<void>
}

/** Of every contestant: those of the machine, up to what a laptop has. HelixFlow gives tiny models one. */
export const threads = 2

/** What the server gives a model unasked. */
export const slots = 16
const prefixCache = 256 * 2 ** 20

interface Ask {
  readonly workload: ReadonlyArray<Generation>
  readonly together: boolean
}

/** In a peer's program: answers what it is asked, once it has said that it is ready. */
export const answer = (compute: (workload: ReadonlyArray<Generation>) => Promise<void>): void => {
  process.on("message", async ({ workload }: Ask) => {
    const start = performance.now()
    await compute(workload)
    process.send?.({ millis: performance.now() - start })
  })
  process.once("disconnect", () => process.exit())
  process.send?.({ ready: 1 })
}

/** The next message. Rejects when the process ends before. */
const told = (child: ChildProcess): Promise<{ readonly millis?: number }> =>
  new Promise((resolve, reject) => {
    const onMessage = (message: object) => {
      child.off("exit", onExit)
      resolve(message)
    }
    const onExit = (code: number | null) => reject(new Error(`what is compared ended with code ${code}`))
    child.once("message", onMessage).once("exit", onExit)
  })

const startPeer = async (file: string, args: ReadonlyArray<string | number>): Promise<Peer> => {
  const child = fork(fileURLToPath(new URL(file, import.meta.url)), args.map(String), {
    execArgv: file.endsWith(".ts") ? ["--import", "tsx", "--conditions=source"] : [],
    stdio: ["ignore", "ignore", "inherit", "ipc"]
  })
  await told(child)
  return {
    contestant: (name, { together } = { together: false }) => ({
      name,
      run: async (workload) => {
        const answered = told(child)
        child.send({ workload, together } satisfies Ask)
        const { millis } = await answered
        if (millis === undefined) throw new Error(`${name} did not say how long it took`)
        return millis
      }
    }),
    stop: async () => {
      const exited = once(child, "exit")
      child.disconnect()
      await exited
    }
  }
}

export const startRawLoop = (model: EngineModel): Promise<Peer> => startPeer("RawLoop.ts", [graphOf(model), threads])

export const startBareBatching = (model: EngineModel): Promise<Peer> =>
  startPeer("BareBatching.ts", [
    model.folder,
    model.context,
    slots,
    // as the server does
    threadsOf(describeModelFolder(model.folder, model.name)) ?? threads,
    prefixCache
  ])

/** Only loads. */
export const startLoader = (model: EngineModel): Promise<Peer> => startPeer("Loader.mjs", [graphOf(model), threads])

export const startTransformersJs = (model: EngineModel): Promise<Peer> =>
  startPeer("TransformersJs.mjs", [dirname(model.folder), model.name, model.dtype, threads])

/** All requests of the workload at once, as streams. */
export const overHttp = (name: string, server: MeasuredServer, model: EngineModel): Contestant => ({
  name,
  run: async (workload) => {
    const start = performance.now()
    const streams = await streamAll(server.port, model.name, workload)
    const millis = performance.now() - start
    for (const [index, { usage }] of streams.entries()) {
      const expected = workload[index]?.tokens
      if (usage.completion !== expected) throw new Error(`${usage.completion} tokens instead of ${expected}`)
    }
    return millis
  }
})

export interface Rounds {
  readonly model: EngineModel
  readonly rounds: number
  /** The workload of a round: another for each, since what was computed before may be known. */
  readonly workload: (seed: number) => ReadonlyArray<Generation>
}

/** Short requests that don't count, at once, for so long: code that has not been compiled yet is slow, and a server runs for long. */
const warmUp = { requests: 16, tokens: 16, millis: 2000 }

const warm = async ({ run }: Contestant, { vocabulary }: EngineModel) => {
  const { requests, tokens } = warmUp
  const until = performance.now() + warmUp.millis
  for (let seed = 1_000_000; performance.now() < until; seed++) {
    await run(uneven({ seed, requests, vocabulary, prompt: [tokens, tokens], tokens: [tokens, tokens] }))
  }
}

/** How often a model is measured: tiny ones take little, and vary more. */
export const roundsOf = (model: EngineModel, few = 3): number => (model.name === "helix-demo" ? 3 * few : few)

/** The medians of alternating rounds, in the order of the contestants, after a warm-up. */
export const compare = async (
  contestants: ReadonlyArray<Contestant>,
  { model, rounds, workload }: Rounds
): Promise<ReadonlyArray<number>> => {
  for (const contestant of contestants) await warm(contestant, model)
  const millis = contestants.map((): Array<number> => [])
  for (let round = 0; round < rounds; round++) {
    // the same seeds for all, so that in every round they compute the same
    for (const [index, { name, run }] of contestants.entries()) {
      const took = await run(workload(round + 1))
      millis[index]?.push(took)
      console.error(`round ${round + 1}: ${name} ${Math.round(took)} ms`)
    }
  }
  return millis.map(median)
}
