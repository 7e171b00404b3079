/**
 * Runs fibers so that the event loop turns. Effect's own scheduler resumes each fiber in a microtask, and Node.js looks at no socket and
 * no timer while there is one more: a thousand requests that come at once, each dozens of steps long, then hold up every stream that
 * runs until all of them have begun. Here what is to run stands in one queue, and when fibers have had the processor for a slice of time, the
 * loop turns once before they go on.
 */
import type { Scheduler } from "effect"
import { defaultShouldYield, PriorityBuckets } from "effect/Scheduler"

/** What fibers may take before sockets and timers have their turn, in milliseconds. */
const sliceMillis = 4

/** Tasks between two looks at the clock, in one microtask. */
const stride = 8

const soon = Promise.resolve()

/** First come, first served; of what comes together, higher priorities last, as Effect's own has it. */
export class FairScheduler implements Scheduler.Scheduler {
  readonly #coming = new PriorityBuckets()
  #tasks: ReadonlyArray<Scheduler.Task> = []
  /** Which of the tasks is next. */
  #at = 0
  #isScheduled = false
  /** Since the loop last turned, in milliseconds. */
  #spent = 0

  readonly shouldYield = defaultShouldYield

  scheduleTask(task: Scheduler.Task, priority: number): void {
    this.#coming.scheduleTask(task, priority)
    if (!this.#isScheduled) this.#schedule()
  }

  #schedule(): void {
    this.#isScheduled = true
    if (this.#spent < sliceMillis) {
      void soon.then(this.#run)
    } else {
      this.#spent = 0
      setImmediate(this.#run)
    }
  }

  readonly #run = (): void => {
    const began = performance.now()
    try {
      for (let n = 0; n < stride && this.#hasNext(); n++) this.#tasks[this.#at++]?.()
    } finally {
      this.#spent += performance.now() - began
      if (this.#hasNext()) this.#schedule()
      else this.#isScheduled = false
    }
  }

  #hasNext(): boolean {
    if (this.#at < this.#tasks.length) return true
    this.#tasks = this.#coming.buckets.flatMap(([_, tasks]) => tasks)
    this.#coming.buckets = []
    this.#at = 0
    return this.#tasks.length > 0
  }
}
