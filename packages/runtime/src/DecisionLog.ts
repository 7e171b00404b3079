/**
 * The scheduler's decisions as a file: a JSON line per event, appended as they happen, never changed. What is in requests is not in it.
 *
 *     decisions.jsonl     being written, up to its size
 *     decisions.1.jsonl   the one before, and so on to decisions.4.jsonl
 *
 * Each file begins with the fleet (`FleetKnown`), so that each can be replayed by itself. A log that can't be written is no reason to
 * stop serving: it is told once and left. Entries are written as they are: they have nothing that JSON does not.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import type { LogEntry } from "@helixflow/scheduler/Replay"
import { Millis, type ModelId } from "@helixflow/schema/Ids"
import type { SchedulerActor } from "@helixflow/schema/SchedulerActor"
import type { SchedulerEvent } from "@helixflow/schema/Scheduling"
import { Cause, Chunk, Clock, Effect, Stream } from "effect"
import type { ClientOf } from "./Actor.ts"

export interface DecisionLogOptions {
  /** Made if missing. */
  readonly folder: string
  /** Bytes of a file; the last entry may go beyond. */
  readonly fileBytes: number
}

/** Besides the one being written. */
const olderFiles = 4

const nameOf = (folder: string, age: number): string =>
  path.join(folder, age === 0 ? "decisions.jsonl" : `decisions.${age}.jsonl`)

/** Makes room for a new file: each becomes one older, the oldest goes. */
const rotate = (folder: string): void => {
  fs.rmSync(nameOf(folder, olderFiles), { force: true })
  for (let age = olderFiles - 1; age >= 0; age--) {
    if (fs.existsSync(nameOf(folder, age))) fs.renameSync(nameOf(folder, age), nameOf(folder, age + 1))
  }
}

/** Writes what the scheduler tells until it ends. */
export const write = (
  { fileBytes, folder }: DecisionLogOptions,
  scheduler: ClientOf<typeof SchedulerActor>
): Effect.Effect<void> =>
  Effect.gen(function* () {
    const file = nameOf(folder, 0)
    let size = 0
    let known: ReadonlySet<ModelId> = new Set()
    const append = (entries: ReadonlyArray<LogEntry>) => {
      const text = entries.map((entry) => `${JSON.stringify(entry)}\n`).join("")
      fs.appendFileSync(file, text, { mode: 0o600 })
      size += Buffer.byteLength(text)
    }
    const fleet = Effect.gen(function* () {
      const { devices, models } = yield* scheduler.View()
      known = new Set(models.map(({ id }) => id))
      const at = yield* Clock.currentTimeMillis
      append([{ _tag: "FleetKnown", at: Millis.make(at), devices: devices.map(({ device }) => device), models }])
    })
    yield* Effect.sync(() => {
      fs.mkdirSync(folder, { recursive: true, mode: 0o700 })
      // one run's decisions are not another's: its requests are gone, and so are its replicas
      rotate(folder)
    })
    yield* fleet
    yield* Stream.runForEachChunk(scheduler.Watch(), (chunk) =>
      Effect.gen(function* () {
        const events = Chunk.toReadonlyArray(chunk)
        if (size >= fileBytes) {
          rotate(folder)
          size = 0
          yield* fleet
        } else if (events.some((event) => isNew(event, known))) {
          yield* fleet
        }
        append(events)
      })
    )
  }).pipe(
    Effect.catchAllCause((cause) =>
      Cause.isInterruptedOnly(cause)
        ? Effect.interrupt
        : Effect.logWarning("The decision log is not written any more", cause)
    ),
    Effect.withSpan("DecisionLog.write")
  )

const isNew = (event: SchedulerEvent, known: ReadonlySet<ModelId>): boolean =>
  event._tag === "Arrived" && !known.has(event.model)
