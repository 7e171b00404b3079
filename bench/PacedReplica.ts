/**
 * A replica that computes nothing: each of its sequences gets a token every 100 ms, at a time of its own. A token's text is its
 * position and the moment, in microseconds of the machine's clock, that it was due: whoever reads it knows what is missing and how long it
 * took to come, and a process that was too busy to make it in time has no excuse.
 */
import type { ClientOf } from "@helixflow/runtime/Actor"
import * as StreamMailbox from "@helixflow/runtime/StreamMailbox"
import type { SequenceRequest } from "@helixflow/schema/Generation"
import { TokenBatch } from "@helixflow/schema/Generation"
import { type DeviceId, type ReplicaId, ReservationId, TokenId } from "@helixflow/schema/Ids"
import { ModelActor } from "@helixflow/schema/ModelActor"
import type { SchedulerActor } from "@helixflow/schema/SchedulerActor"
import { Placement } from "@helixflow/schema/Scheduling"
import { unchecked } from "@helixflow/schema/Unchecked"
import { Effect, Exit, Stream } from "effect"
import { nowMicros } from "./MonotonicClock.ts"

/** Between two tokens of a sequence. */
export const stepMicros = 100_000

/** Sequences are due together that are due within this time. */
const grainMicros = 2_000

type Step = (due: number) => boolean

/** Calls what is due. */
class Pacer {
  readonly #phases = Array.from({ length: stepMicros / grainMicros }, () => new Set<Step>())
  #at = Math.floor(nowMicros() / grainMicros)
  #count = 0

  add(step: Step): () => void {
    const phase = this.#phases[Math.floor(nowMicros() / grainMicros) % this.#phases.length]
    phase?.add(step)
    if (this.#count++ === 0) {
      this.#at = Math.floor(nowMicros() / grainMicros)
      this.#schedule()
    }
    return () => {
      if (phase?.delete(step)) this.#count--
    }
  }

  #schedule(): void {
    setTimeout(() => {
      const now = Math.floor(nowMicros() / grainMicros)
      while (this.#at < now) {
        this.#at++
        const phase = this.#phases[this.#at % this.#phases.length] ?? new Set()
        for (const step of phase) {
          if (!step(this.#at * grainMicros)) {
            phase.delete(step)
            this.#count--
          }
        }
      }
      if (this.#count > 0) this.#schedule()
    }, grainMicros / 1_000)
  }
}

const unasked = Effect.dieMessage("the bench asks no such thing")
const unstreamed = Stream.dieMessage("the bench asks no such thing")

export const replica = () => {
  const pacer = new Pacer()
  const generate = (sequence: SequenceRequest) =>
    Effect.gen(function* () {
      const inlet = yield* StreamMailbox.inlet<TokenBatch, never>()
      const last = (sequence.stopping.maxTokens ?? 1) - 1
      let seq = sequence.emitted.length
      const step = (due: number) => {
        const finish = seq >= last ? "length" : null
        inlet.offer(
          unchecked(TokenBatch, {
            request: sequence.request,
            epoch: sequence.epoch,
            seq,
            tokens: [TokenId.make(seq)],
            text: `${seq}@${due} `,
            logprobs: null,
            finish,
            cachedTokens: 0
          })
        )
        seq++
        if (finish !== null) inlet.done(Exit.void)
        return finish === null
      }
      yield* Effect.acquireRelease(
        Effect.sync(() => pacer.add(step)),
        (leave) => Effect.sync(leave)
      )
      return inlet.mailbox
    })
  return ModelActor.of({
    Load: () => unasked,
    Tokenize: () => Effect.succeed({ tokens: [TokenId.make(1)] }),
    Detokenize: () => unasked,
    Generate: generate,
    Embed: () => unasked,
    Classify: () => unasked,
    Preempt: () => unasked,
    Drain: () => unasked,
    Unload: () => unasked,
    Status: () => unasked,
    Watch: () => unstreamed
  })
}

/** Has a place for everybody, at once. */
export const scheduler = (device: DeviceId, replica: ReplicaId): ClientOf<typeof SchedulerActor> => ({
  Place: ({ model, request }) =>
    Effect.succeed(
      Placement.make({
        request,
        model,
        replica,
        device,
        reservation: ReservationId.make(request),
        cold: false,
        queuedMillis: 0
      })
    ),
  Complete: () => Effect.void,
  Progress: () => Stream.empty,
  Evict: () => unasked,
  Observe: () => unasked,
  Explain: () => unasked,
  View: () => unasked,
  Watch: () => unstreamed
})
