/**
 * `helixflow chaos`: a load on a server of its own whose workers are killed, frozen and starved meanwhile. Every stream must give what
 * it gave undisturbed, and the server must be as it was.
 */
import * as fs from "node:fs"
import * as os from "node:os"
import { Command, Options } from "@effect/cli"
import { HttpClientRequest } from "@effect/platform"
import { LocalDevices } from "@helixflow/runtime/LocalDevices"
import { ModelStore } from "@helixflow/runtime/ModelStore"
import { RuntimeConfig, settings } from "@helixflow/runtime/RuntimeConfig"
import { Clock, Console, Effect, Layer, Option, Schedule, Schema } from "effect"
import * as ChaosClient from "./ChaosClient.ts"
import { type Blow, blows, type Harm, type Question, questions } from "./ChaosPlan.ts"
import { deviations, type Outcome, type Sample, summary } from "./ChaosReport.ts"
import * as ChaosServer from "./ChaosServer.ts"
import { CommandFailure, exitCodes, failed, interruptible } from "./CommandFailure.ts"
import type { CommandHelp } from "./CommandHelp.ts"
import { DeviceList } from "./DevicesApi.ts"
import { ServerClient } from "./ServerClient.ts"

const Whole = (least: number, most: number) => Schema.NumberFromString.pipe(Schema.int(), Schema.between(least, most))

const number = (name: string, description: string, least: number, most: number, fallback: number) =>
  Options.text(name).pipe(
    Options.withPseudoName("number"),
    Options.withDescription(`${description} Default: ${fallback}.`),
    Options.withSchema(Whole(least, most)),
    Options.withDefault(fallback)
  )

const minutes = Options.text("minutes").pipe(
  Options.withPseudoName("number"),
  Options.withDescription("How long workers are harmed. Default: 1."),
  Options.withSchema(Schema.NumberFromString.pipe(Schema.between(0.05, 1_440))),
  Options.withDefault(1)
)

const options = {
  seed: number("seed", "What is asked and harmed follows from it.", 0, 2 ** 31 - 1, 1),
  minutes,
  streams: number("streams", "Streams side by side.", 1, 1_024, 16),
  workers: number("workers", "Workers, each on a device of its own.", 1, 64, 3),
  every: number("every", "Milliseconds from one harm to the next.", 100, 60_000, 1_000),
  tokens: number("tokens", "Most tokens of a stream.", 1, 4_096, 64),
  model: Options.text("model").pipe(
    Options.withAlias("m"),
    Options.withDescription("The model. Default: helix-demo."),
    Options.withDefault("helix-demo")
  ),
  embedder: Options.text("embedder").pipe(
    Options.withDescription(
      "The model for embeddings; they are not asked for where it is not there. Default: helix-demo-embed."
    ),
    Options.withDefault("helix-demo-embed")
  )
}

const send = (pid: number, signal: NodeJS.Signals) =>
  Effect.sync(() => {
    try {
      process.kill(pid, signal)
    } catch {
      // it has ended meanwhile
    }
  })

/** A worker that gets the processor only now and then. */
const starve = (pid: number) =>
  Effect.gen(function* () {
    yield* Effect.ignore(Effect.try(() => os.setPriority(pid, os.constants.priority.PRIORITY_LOW)))
    yield* Effect.repeatN(
      send(pid, "SIGSTOP").pipe(
        Effect.zipRight(Effect.sleep("300 millis")),
        Effect.zipRight(send(pid, "SIGCONT")),
        Effect.zipRight(Effect.sleep("200 millis"))
      ),
      2
    )
  })

const harmWith: Record<Harm, (pid: number) => Effect.Effect<void>> = {
  kill: (pid) => send(pid, "SIGKILL"),
  freeze: (pid) => send(pid, "SIGSTOP"),
  starve
}

/** Harms workers as planned; gives how often. */
const harm = (server: ChaosServer.ChaosServer, plan: ReadonlyArray<Blow>) =>
  Effect.gen(function* () {
    const done: Record<Harm, number> = { kill: 0, freeze: 0, starve: 0 }
    const started = yield* Clock.currentTimeMillis
    yield* Effect.forEach(
      plan,
      ({ at, harm, pick }) =>
        Effect.gen(function* () {
          yield* Effect.sleep(Math.max(0, started + at - (yield* Clock.currentTimeMillis)))
          const workers = server.workers()
          const worker = workers[Math.floor(pick * workers.length)]
          if (worker === undefined) return
          done[harm]++
          yield* Effect.forkScoped(harmWith[harm](worker))
        }),
      { discard: true }
    )
    return done
  }).pipe(Effect.scoped)

const sample = (server: ChaosServer.ChaosServer, since: number): Effect.Effect<Sample> =>
  Effect.map(Clock.currentTimeMillis, (now) => ({
    at: now - since,
    descriptors: server.descriptors(),
    workers: server.workers().length,
    residentBytes: server.residentBytes()
  }))

/** How long a server that is asked nothing more has to become quiet, and how often one under load is looked at. */
const calm = "1 second"
const sampleEvery = "5 seconds"

/** Owners of slots that are claimed with nothing running: none, once the last answer's place has been given back. */
const slotsLeft = Effect.gen(function* () {
  const client = yield* ServerClient
  const { data } = yield* client.call(HttpClientRequest.get("/admin/v1/devices"), DeviceList)
  return data.flatMap(({ claims }) => claims.flatMap(({ owner, within }) => (within === null ? [] : [owner])))
}).pipe(Effect.delay(calm), Effect.repeat({ until: (owners) => owners.length === 0, times: 10 }))

/** Bytes that devices have claimed, by the server's own metrics. */
const claimed = (server: ChaosServer.ChaosServer) =>
  Effect.promise(async () => {
    const text = await (await fetch(`${server.url}/metrics`)).text()
    const values = [...text.matchAll(/^helixflow_device_memory_claimed_bytes\{.*\} (\S+)$/gm)].map(([, value]) =>
      Number(value)
    )
    return values.reduce((sum, value) => sum + value, 0)
  })

/** The load while workers are harmed, on a server that answers. */
const run = (server: ChaosServer.ChaosServer, given: Given) =>
  Effect.gen(function* () {
    const all = questions(given.seed, Math.max(32, given.streams), given.tokens)
    const ask = (question: Question) => ChaosClient.ask(server, ChaosServer.modelFor(question.kind), question)
    // a model whose template knows no tools refuses them
    const withTool = all.find(({ kind }) => kind === "tools")
    const knowsTools = withTool !== undefined && Option.isSome(yield* Effect.option(ask(withTool)))
    const asked = all.filter(({ kind }) => (kind === "tools" ? knowsTools : kind !== "embeddings" || server.embedder))
    const undisturbed = yield* Effect.forEach(asked, ask, { concurrency: given.streams })
    const begun = yield* Clock.currentTimeMillis
    const before = yield* Effect.delay(sample(server, begun), calm)
    const millis = given.minutes * 60_000
    yield* Console.log(`${given.streams} streams on ${server.workers().length} workers; harm begins`)

    const outcomes: Array<Outcome> = []
    const samples: Array<Sample> = []
    const end = (yield* Clock.currentTimeMillis) + millis
    let next = 0
    const one = Effect.suspend(() => {
      const index = next++ % asked.length
      const question = asked[index]
      if (question === undefined) return Effect.dieMessage("no such question")
      return Effect.gen(function* () {
        const started = yield* Clock.currentTimeMillis
        const answer = yield* Effect.catchAll(ask(question), (error) => Effect.succeed({ error: error.message }))
        const ended = yield* Clock.currentTimeMillis
        outcomes.push({ question: index, kind: question.kind, millis: ended - started, answer })
        return ended < end && server.ended() === null
      })
    })
    const load = Effect.all(
      Array.from({ length: given.streams }, () => Effect.repeat(one, { while: (more) => more })),
      { concurrency: "unbounded", discard: true }
    )
    const sampling = Effect.tap(sample(server, begun), (found) => Effect.sync(() => samples.push(found)))
    const harming = Effect.all([harm(server, blows(given.seed, millis, given.every)), load], {
      concurrency: "unbounded"
    })
    const [harms] = yield* Effect.raceFirst(
      harming,
      Effect.zipRight(Effect.repeat(sampling, Schedule.spaced(sampleEvery)), Effect.never)
    )

    const after = yield* Effect.delay(sample(server, begun), calm)
    const client = yield* ServerClient
    const zombies = server.zombies()
    const leftSlots = server.ended() === null ? yield* slotsLeft : []
    for (const model of server.models) {
      yield* client.send(HttpClientRequest.post(`/admin/v1/models/${model}/unload`))
    }
    const gone = Effect.all([claimed(server), Effect.sync(() => server.workers().length)]).pipe(
      Effect.repeat({
        until: ([bytes, workers]) => bytes + workers === 0,
        schedule: Schedule.intersect(Schedule.spaced("250 millis"), Schedule.recurs(60))
      }),
      Effect.zipRight(Effect.all([claimed(server), Effect.sync(() => server.workers().length)]))
    )
    const [claimedBytes, workersLeft] = yield* gone
    const serverEnded = server.ended()
    return {
      undisturbed,
      outcomes,
      harms,
      before,
      after,
      samples,
      zombies,
      slotsLeft: leftSlots,
      claimedBytes,
      workersLeft,
      serverEnded
    }
  })

interface Given {
  readonly seed: number
  readonly minutes: number
  readonly streams: number
  readonly workers: number
  readonly every: number
  readonly tokens: number
  readonly model: string
  readonly embedder: string
}

/** All workers are needed, and with one of four lost the others have room for nearly all streams. */
const slotsOf = ({ streams, workers }: Given) => Math.ceil((1.25 * streams) / workers)

const chaos = (given: Given) =>
  Effect.gen(function* () {
    const { environment } = yield* RuntimeConfig
    if (environment !== "development") {
      return yield* failed(
        `\`chaos\` kills processes on purpose and is for development only: set ${settings.environment.name}=development.`
      )
    }
    if (!fs.existsSync("/proc/self/stat")) return yield* failed("`chaos` finds workers in /proc, which only Linux has.")
    const store = yield* ModelStore
    const { folder } = yield* store.find(given.model)
    const embedder = Option.map(yield* Effect.option(store.find(given.embedder)), (found) => found.folder)
    const log = `${os.tmpdir()}/helixflow-chaos-${process.pid}.log`
    const server = yield* ChaosServer.start({
      model: folder,
      embedder,
      workers: given.workers,
      slots: slotsOf(given),
      log
    })
    const findings = yield* run(server, given).pipe(
      Effect.provide(ServerClient.layer({ url: server.url, key: Option.some(server.key), trusted: [] }))
    )
    const wrong = deviations(findings)
    yield* Console.log(summary(findings))
    if (wrong.length > 0) {
      return yield* new CommandFailure({
        message: `${wrong.length} deviations with seed ${given.seed}; the server's words are in ${log}:\n${wrong.slice(0, 20).join("\n")}`,
        exitCode: exitCodes.failed
      })
    }
    fs.rmSync(log, { force: true })
    yield* Console.log("every stream as if nothing had happened")
  }).pipe(Effect.scoped, Effect.provide(Layer.provideMerge(ModelStore.layer, LocalDevices.layer)), interruptible)

export const chaosCommand = Command.make("chaos", options, chaos).pipe(
  Command.withDescription(
    "Kill, freeze and starve the workers of a server under load, and check every stream (development only)."
  )
)

export const chaosHelp: CommandHelp = {
  usage: ["chaos [options]"],
  examples: [
    ["HELIX_ENVIRONMENT=development helixflow chaos --seed 7 --minutes 2", "two minutes, one harm a second"],
    ["helixflow chaos --streams 64 --workers 4 --every 500", "harder"]
  ]
}
