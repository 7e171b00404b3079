/**
 * The scheduler's decisions as a file: a JSON line per event, appended as they happen, never changed. What is in requests is not in it.
 *
 *     decisions.jsonl     being written, up to its size
 *     decisions.1.jsonl   the one before, and so on to decisions.4.jsonl
 *
 * Each file begins with the fleet (`FleetKnown`), so that each can be replayed by itself. A log that can't be written is no reason to
 * stop serving: it is tried again, ever more seldom (`Services.ts`). Entries are written as they are: they have nothing that JSON does not.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import type { LogEntry } from "@helixflow/scheduler/Replay"
import { Millis, type ModelId } from "@helixflow/schema/Ids"
import type { SchedulerActor } from "@helixflow/schema/SchedulerActor"
import type { SchedulerEvent } from "@helixflow/schema/Scheduling"
import { Cause, Chunk, Clock, Effect, Exit, Mailbox, Option, type Scope, Stream } from "effect"
import type { ClientOf } from "./Actor.ts"

export interface DecisionLogOptions {
  /** Made if missing. */
  readonly folder: string
  /** Bytes of a file; the last entry may go beyond. */
  readonly fileBytes: number
  /** The scheduler's: without it what was decided could not be decided again. */
  readonly quantum: number
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

type Scheduler = ClientOf<typeof SchedulerActor>

export interface DecisionLog {
  /** Has what the scheduler decides from now on written, until it ends. */
  readonly follow: (scheduler: Scheduler) => Effect.Effect<void, never, Scope.Scope>
  /** The service that writes; what is decided while it does not run is written later, unless that is much. */
  readonly write: Effect.Effect<never, unknown>
}

/** Events that wait to be written; of more the oldest are lost. */
const backlog = 4_096

export const make = ({ fileBytes, folder, quantum }: DecisionLogOptions): DecisionLog => {
  const file = nameOf(folder, 0)
  const present = Effect.unsafeMakeLatch()
  let followed: {
    readonly scheduler: Scheduler
    readonly events: Mailbox.ReadonlyMailbox<SchedulerEvent, unknown>
  } | null = null
  /** Bytes of the newest file; null: none was begun in this run. */
  let size: number | null = null
  let known: ReadonlySet<ModelId> = new Set()

  const append = (entries: ReadonlyArray<LogEntry>) => {
    const text = entries.map((entry) => `${JSON.stringify(entry)}\n`).join("")
    fs.appendFileSync(file, text, { mode: 0o600 })
    size = (size ?? 0) + Buffer.byteLength(text)
  }

  const begin = (scheduler: Scheduler) =>
    Effect.gen(function* () {
      fs.mkdirSync(folder, { recursive: true, mode: 0o700 })
      // an empty file is as good as a new one: who can't write must not push out the older ones
      if (size !== 0) rotate(folder)
      size = 0
      yield* fleet(scheduler)
    })

  const fleet = (scheduler: Scheduler) =>
    Effect.gen(function* () {
      const { devices, models } = yield* scheduler.View()
      known = new Set(models.map(({ id }) => id))
      const at = yield* Clock.currentTimeMillis
      append([
        {
          _tag: "FleetKnown",
          at: Millis.make(at),
          devices: devices.map(({ device }) => device),
          models,
          quantum: Number.isFinite(quantum) ? Millis.make(quantum) : null
        }
      ])
    })

  const writeAll = ({ events, scheduler }: NonNullable<typeof followed>) =>
    Effect.zipRight(
      // what another scheduler decided is not this one's: its requests are gone, and so are its replicas
      begin(scheduler),
      Stream.runForEachChunk(Mailbox.toStream(events), (chunk) =>
        Effect.gen(function* () {
          const all = Chunk.toReadonlyArray(chunk)
          if ((size ?? 0) >= fileBytes) yield* begin(scheduler)
          else if (all.some((event) => isNew(event, known))) yield* fleet(scheduler)
          append(all)
        })
      )
    ).pipe(Effect.withSpan("DecisionLog.write"))

  return {
    follow: (scheduler) =>
      Effect.map(Mailbox.fromStream(scheduler.Watch(), { capacity: backlog, strategy: "sliding" }), (events) => {
        followed = { scheduler, events }
        present.unsafeOpen()
      }),
    write: Effect.gen(function* () {
      yield* present.await
      const now = followed
      if (now !== null) {
        const exit = yield* Effect.exit(writeAll(now))
        const hasEnded = Exit.isSuccess(exit) || Option.isSome(Cause.failureOption(exit.cause))
        // a defect is this service's own, and the scheduler is there for the next attempt
        if (!hasEnded) return yield* Effect.failCause(exit.cause)
        if (followed === now) followed = null
      }
      if (followed === null) present.unsafeClose()
    }).pipe(Effect.forever)
  }
}

const isNew = (event: SchedulerEvent, known: ReadonlySet<ModelId>): boolean =>
  event._tag === "Arrived" && !known.has(event.model)
