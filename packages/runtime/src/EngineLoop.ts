/**
 * Runs an engine's steps, one after the other, while there is work and somebody listens. A step may block the thread; then messages are
 * served between two steps. There is no other wait while there is work.
 */
import { setImmediate } from "node:timers/promises"
import { Coalescer } from "./Coalescer.ts"
import type { Engine, StepResult } from "./Engine.ts"

export interface EngineLoopOptions {
  /** Takes what one or more steps gave. The next step waits for it. */
  readonly publish: (result: StepResult) => Promise<void>
  /** Whether results would be heard. */
  readonly isHeard: () => boolean
}

export class EngineLoop {
  readonly #engine: Engine
  readonly #options: EngineLoopOptions
  readonly #take: EngineLoopOptions["publish"]
  #resume: (() => void) | null = null
  #steps = 0
  #step: Promise<unknown> = Promise.resolve()

  constructor(engine: Engine, options: EngineLoopOptions) {
    this.#engine = engine
    this.#options = options
    const coalescer = new Coalescer(options)
    // a step that blocks the thread would hold up what waits for a moment
    this.#take = engine.isOffThread === true ? (result) => coalescer.take(result) : options.publish
  }

  /** Steps since the start. */
  get steps(): number {
    return this.#steps
  }

  /** Waits for the end of the step under way, if there is one. */
  async betweenSteps(): Promise<void> {
    // what a broken engine ends with is told by `run`
    await this.#step.catch(() => {})
  }

  /** To be called when there may be work: after a submit, or when a listener has come. */
  wake(): void {
    this.#resume?.()
  }

  /** Never ends; rejects when the engine is broken. */
  async run(): Promise<never> {
    for (;;) {
      // only text is heard as events; vectors and scores answer their callers
      const ready = this.#engine.active > 0 && (this.#engine.task !== "text-generation" || this.#options.isHeard())
      if (!ready) {
        await new Promise<void>((resume) => {
          this.#resume = resume
        })
        continue
      }
      const step = this.#engine.step()
      this.#step = step
      const result = await step
      this.#steps++
      if (result.batches.length > 0 || result.failures.length > 0) await this.#take(result)
      // what was published goes out, and messages come in, while the next step computes, or else before it
      if (this.#engine.isOffThread !== true) await setImmediate()
    }
  }
}
