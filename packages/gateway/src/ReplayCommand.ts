/** `helixflow replay` */
import * as fs from "node:fs"
import { Args, Command, Options } from "@effect/cli"
import { parseDevices } from "@helixflow/runtime/DeviceDeclaration"
import { parseQuantum } from "@helixflow/runtime/RuntimeConfig"
import { formatBytes } from "@helixflow/scheduler/ReasonText"
import { LogLine, read, worldOf } from "@helixflow/scheduler/Replay"
import { defaults, type SchedulerOptions } from "@helixflow/scheduler/SchedulerOptions"
import * as VirtualFleet from "@helixflow/scheduler/VirtualFleet"
import type { Course } from "@helixflow/scheduler/World"
import { Device } from "@helixflow/schema/Device"
import { makeDeviceId, NodeId } from "@helixflow/schema/Ids"
import { Console, Effect, Either, Option, Schema } from "effect"
import { CommandFailure, exitCodes, failed } from "./CommandFailure.ts"
import type { CommandHelp } from "./CommandHelp.ts"
import { table } from "./Table.ts"

const file = Args.file({ name: "events.jsonl", exists: "yes" }).pipe(
  Args.withDescription("A decision log: decisions.jsonl of a data folder, or an older one.")
)
const devices = Options.text("devices").pipe(
  Options.withPseudoName("devices"),
  Options.withDescription("Other devices, each with its memory: cpu:0=4GiB,cuda:0=24GiB. Default: those of the log."),
  Options.optional
)
const preload = Options.choice("preload", ["on", "off"]).pipe(
  Options.withDescription(
    "Whether to load ahead of requests what will probably be asked for. Default: as the log was made."
  ),
  Options.optional
)
const preemptAfter = Options.text("preempt-after").pipe(
  Options.withPseudoName("time"),
  Options.withDescription(
    "How long a generation keeps its place before it may have to make way for a tenant that has less: 2s, or off. Default: as the log was made."
  ),
  Options.optional
)
const json = Options.boolean("json").pipe(Options.withDescription("Print the figures as JSON."))

const node = NodeId.make("local")

/** Devices that need not be there. */
const virtualDevices = (text: string): Either.Either<ReadonlyArray<Device>, string> =>
  Either.flatMap(parseDevices(text), (declared) =>
    Either.all(
      declared.map(({ bytes, index, kind }) =>
        Option.match(bytes, {
          onNone: () => Either.left(`\`${kind}:${index}\` says no memory`),
          onSome: (total) =>
            Either.right(new Device({ id: makeDeviceId(node, kind, index), kind, name: `${kind}:${index}`, total }))
        })
      )
    )
  )

const quantile = (values: ReadonlyArray<number>, share: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? 0

/** What a course comes to. Times are milliseconds, shares from 0 to 1. */
export const figuresOf = ({ evictions, failedLoads, loads, memory, millis, outcomes }: Course) => {
  const placed = outcomes.filter((outcome) => outcome.placed !== undefined)
  const waits = placed.map(({ waitedMillis }) => waitedMillis)
  const pauses = outcomes.filter(({ preempted }) => preempted > 0).map(({ pausedMillis }) => pausedMillis)
  const refusals: Record<string, number> = {}
  for (const { refusal } of outcomes) {
    if (refusal !== undefined) refusals[refusal] = (refusals[refusal] ?? 0) + 1
  }
  return {
    requests: outcomes.length,
    placed: placed.length,
    waited: waits.filter((wait) => wait > 0).length,
    cold: placed.filter((outcome) => outcome.placed?.cold === true).length,
    refused: outcomes.filter(({ end }) => end === "refused").length,
    refusals,
    left: outcomes.filter(({ end }) => end === "left").length,
    wait_mean_ms: Math.round(waits.reduce((sum, wait) => sum + wait, 0) / Math.max(1, waits.length)),
    wait_p50_ms: quantile(waits, 0.5),
    wait_p99_ms: quantile(waits, 0.99),
    loads,
    failed_loads: failedLoads,
    evictions,
    preemptions: outcomes.reduce((sum, { preempted }) => sum + preempted, 0),
    pause_mean_ms: Math.round(pauses.reduce((sum, pause) => sum + pause, 0) / Math.max(1, pauses.length)),
    millis,
    memory: [...memory].map(([device, { mean, peak }]) => ({ device, mean, peak }))
  }
}

type Figures = ReturnType<typeof figuresOf>

const percent = (share: number): string => `${(share * 100).toFixed(0)} %`
const seconds = (millis: number): string => `${(millis / 1000).toFixed(2)} s`

const rows: ReadonlyArray<readonly [string, (figures: Figures) => string]> = [
  ["requests", ({ requests }) => String(requests)],
  ["placed", ({ placed }) => String(placed)],
  ["  after a wait", ({ waited }) => String(waited)],
  ["  for which a model was loaded", ({ cold }) => String(cold)],
  [
    "refused",
    ({ refusals, refused }) => [refused, ...Object.entries(refusals).map(([tag, n]) => `${tag} ${n}`)].join(", ")
  ],
  ["left by their clients", ({ left }) => String(left)],
  ["wait: mean", ({ wait_mean_ms }) => seconds(wait_mean_ms)],
  ["wait: median", ({ wait_p50_ms }) => seconds(wait_p50_ms)],
  ["wait: 99 %", ({ wait_p99_ms }) => seconds(wait_p99_ms)],
  ["loads", ({ loads }) => String(loads)],
  ["  that failed", ({ failed_loads }) => String(failed_loads)],
  ["evictions", ({ evictions }) => String(evictions)],
  ["preemptions", ({ preemptions }) => String(preemptions)],
  ["  mean pause of who was preempted", ({ pause_mean_ms }) => seconds(pause_mean_ms)]
]

/** Side by side: what was, and what would have been otherwise. */
export const draw = (
  recorded: Figures,
  other:
    | {
        readonly figures: Figures
        readonly devices: ReadonlyArray<Device> | undefined
        readonly preload: boolean | undefined
        readonly quantum: number | undefined
      }
    | undefined
): string => {
  const lines = rows.map(([name, text]) => [
    name,
    text(recorded),
    ...(other === undefined ? [] : [text(other.figures)])
  ])
  const otherwise = [
    ...(other?.devices === undefined ? [] : ["THESE DEVICES"]),
    ...(other?.preload === undefined ? [] : [other.preload ? "LOADING AHEAD" : "NOT LOADING AHEAD"]),
    ...(other?.quantum === undefined
      ? []
      : [Number.isFinite(other.quantum) ? `PREEMPTING AFTER ${seconds(other.quantum)}` : "NOT PREEMPTING"])
  ]
  const sizes = new Map(other?.devices?.map(({ id, total }) => [id, formatBytes(total)]))
  const memory = ({ memory }: Figures) => memory.map(({ device, mean, peak }) => [device, percent(mean), percent(peak)])
  const used = (other?.figures ?? recorded).memory.length > 0 ? memory(other?.figures ?? recorded) : []
  return [
    table([["", "AS RECORDED", ...(other === undefined ? [] : [otherwise.join(", ")])], ...lines]),
    "",
    table([
      ["MEMORY OF", "MEAN", "PEAK", ""],
      ...used.map(([device = "", ...shares]) => [device, ...shares, sizes.get(Device.fields.id.make(device)) ?? ""])
    ])
  ].join("\n")
}

const usage = (message: string) => new CommandFailure({ message, exitCode: exitCodes.usage })

const decode = Schema.decodeUnknownEither(LogLine)

const entriesOf = (text: string) =>
  Effect.forEach(
    text.split("\n").flatMap((line, index) => (line.trim() === "" ? [] : [{ line, number: index + 1 }])),
    ({ line, number }) =>
      Either.match(decode(line), {
        onLeft: () => Effect.fail(failed(`Line ${number} is not one of a decision log.`)),
        onRight: (entry) => Effect.succeed(entry)
      })
  )

export const replayCommand = Command.make(
  "replay",
  { file, devices, preload, preemptAfter, json },
  ({ devices, file, json, preemptAfter, preload }) =>
    Effect.gen(function* () {
      const known = read(
        yield* Effect.flatten(
          Effect.map(
            Effect.sync(() => fs.readFileSync(file, "utf8")),
            entriesOf
          )
        )
      )
      if (known.lost > 0) {
        yield* Console.error(`The log lacks ${known.lost} events, whose requests are not decided here.`)
      }
      const others = yield* Option.match(devices, {
        onNone: () => Effect.succeed(undefined),
        onSome: (text) =>
          Effect.mapError(virtualDevices(text), (problem) =>
            usage(`--devices must be devices with their memory such as cpu:0=4GiB,cuda:0=24GiB, but ${problem}`)
          )
      })
      const asked = Option.getOrUndefined(Option.map(preload, (wanted) => wanted === "on"))
      const quantum = yield* Option.match(preemptAfter, {
        onNone: () => Effect.succeed(undefined),
        onSome: (text) => Effect.mapError(parseQuantum(text), (problem) => usage(`--preempt-after ${problem}`))
      })
      const course = (options: Pick<SchedulerOptions, "preload" | "quantum">, others?: ReadonlyArray<Device>) =>
        figuresOf(VirtualFleet.run(worldOf(known, { ...defaults, ...options }, others)))
      const was = { preload: known.preload, quantum: known.quantum }
      const recorded = course(was)
      const isOther = others !== undefined || asked !== undefined || quantum !== undefined
      const figures = () => course({ preload: asked ?? was.preload, quantum: quantum ?? was.quantum }, others)
      const other = isOther ? { figures: figures(), devices: others, preload: asked, quantum } : undefined
      yield* Console.log(
        json ? JSON.stringify({ recorded, ...(other && { other: other.figures }) }, null, 2) : draw(recorded, other)
      )
    })
).pipe(Command.withDescription("Decide a recorded log anew, on its devices or on others: what if there was one more?"))

export const replayHelp: CommandHelp = {
  usage: ["replay <events.jsonl> [options]"],
  examples: [
    ["helixflow replay .helix/decisions.jsonl", "what happened, in figures"],
    ["helixflow replay .helix/decisions.jsonl --devices cpu:0=4GiB,cuda:0=24GiB", "and what would have"],
    ["helixflow replay .helix/decisions.jsonl --preload on", "whether loading ahead would have helped"],
    ["helixflow replay .helix/decisions.jsonl --preempt-after off", "what waits and pauses preemption made of it"]
  ]
}
