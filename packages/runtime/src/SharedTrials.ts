/**
 * Trials of suspects in workers that others may be in, where there is no room for a worker of their own. Who was in a worker that crashed is
 * to blame only if nobody else had been in it meanwhile. So that a suspect is soon alone, nobody else of its model goes into any
 * worker while one is tried or waits for it: who is there already leaves by itself, or with the worker.
 */
import type { ModelId, ReplicaId } from "@helixflow/schema/Ids"
import { Effect } from "effect"

/** Somebody's time in a worker. */
export interface Stay {
  /** Whether anybody else was in the worker at any moment of it. */
  accompanied: boolean
}

/** The suspects of a model: those who are tried or wait for it. `latch`: keeps others out, where one of them had no worker of its own. */
interface Line {
  suspects: number
  latch: Effect.Latch | null
}

/** A suspect's place in the line. */
export interface LinePlace {
  readonly take: () => void
  /** Keeps others out until the line is empty. */
  readonly close: () => void
  readonly leave: () => void
}

export class SharedTrials {
  readonly #present = new Map<ReplicaId, Set<Stay>>()
  readonly #lines = new Map<ModelId, Line>()

  /** Runs what somebody has in a worker, and tells it of its company. */
  stay<A, E, R>(replica: ReplicaId, use: (stay: Stay) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.suspend(() => {
      const present = this.#present.get(replica) ?? new Set()
      this.#present.set(replica, present)
      for (const other of present) other.accompanied = true
      const stay = { accompanied: present.size > 0 }
      present.add(stay)
      return Effect.ensuring(
        use(stay),
        Effect.sync(() => {
          present.delete(stay)
          if (present.size === 0 && this.#present.get(replica) === present) this.#present.delete(replica)
        })
      )
    })
  }

  /** Whether those who are no suspects must wait (`opened`) before they ask for a place. */
  isClosed(model: ModelId): boolean {
    return (this.#lines.get(model)?.latch ?? null) !== null
  }

  opened(model: ModelId): Effect.Effect<void> {
    return Effect.suspend(() => this.#lines.get(model)?.latch?.await ?? Effect.void)
  }

  placeInLine(model: ModelId): LinePlace {
    let line: Line | null = null
    return {
      take: () => {
        if (line !== null) return
        line = this.#lines.get(model) ?? { suspects: 0, latch: null }
        line.suspects++
        this.#lines.set(model, line)
      },
      close: () => {
        if (line !== null) line.latch ??= Effect.unsafeMakeLatch(false)
      },
      leave: () => {
        if (line === null) return
        line.suspects--
        if (line.suspects === 0) {
          this.#lines.delete(model)
          line.latch?.unsafeOpen()
        }
        line = null
      }
    }
  }
}
