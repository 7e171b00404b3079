/** Children whose ends a test decides, under a supervisor with real fibers. */
import { expect } from "@effect/vitest"
import { ChildId } from "@helixflow/schema/Ids"
import type { ChildStatus, RestartType, Strategy } from "@helixflow/schema/Supervisor"
import { Data, Deferred, Effect, Exit, Option, Stream } from "effect"
import type { ChildSpec } from "../src/ChildInstance.ts"
import { defaultRestartPolicy, type RestartPolicy } from "../src/RestartPolicy.ts"
import * as Supervisor from "../src/Supervisor.ts"

export class Broken extends Data.TaggedError("Broken")<{ readonly what: string }> {
  override get message() {
    return `broken: ${this.what}`
  }
}

export const [a, b, c] = [ChildId.make("a"), ChildId.make("b"), ChildId.make("c")]

/** Delays of 100, 200, 400 … 1,000 ms; a fourth restart within a minute escalates. */
export const restartPolicy: RestartPolicy = {
  ...defaultRestartPolicy,
  intensity: 3,
  backoff: { minMillis: 100, factor: 2, maxMillis: 1_000 }
}

/** Children that live until told how to end, and write down when they hold their resource. */
export const makeStage = Effect.sync(() => {
  const log: Array<string> = []
  const ends = new Map<ChildId, Deferred.Deferred<void, Broken>>()
  const end = (id: ChildId, exit: Exit.Exit<void, Broken>) =>
    Effect.suspend(() => Deferred.done(ends.get(id) ?? expect.fail(`no ${id}`), exit))
  return {
    child: (id: ChildId, restart: RestartType = "permanent"): ChildSpec<never> => ({
      id,
      restart,
      start: Effect.gen(function* () {
        yield* Effect.acquireRelease(
          Effect.sync(() => log.push(`start ${id}`)),
          () => Effect.sync(() => log.push(`stop ${id}`))
        )
        const ending = yield* Deferred.make<void, Broken>()
        ends.set(id, ending)
        return Deferred.await(ending)
      })
    }),
    fail: (id: ChildId) => end(id, Exit.fail(new Broken({ what: id }))),
    finish: (id: ChildId) => end(id, Exit.void),
    /** What was written down since the last look. */
    look: Effect.sync(() => log.splice(0).join(", "))
  }
})

/** The children's states, once they are as given: `a running, b backing-off`. */
export const become = (supervisor: Supervisor.SupervisorHandle, expected: string) =>
  supervisor.watch.pipe(
    Stream.filter((children) => show(children) === expected),
    Stream.runHead,
    Effect.map(Option.getOrThrow)
  )

export const show = (children: ReadonlyArray<ChildStatus>) =>
  children.map(({ id, state }) => `${id} ${state}`).join(", ")

export const makeTrio = (strategy: Strategy, types: ReadonlyArray<RestartType> = []) =>
  Effect.gen(function* () {
    const stage = yield* makeStage
    const children = [a, b, c].map((id, i) => stage.child(id, types[i]))
    const supervisor = yield* Supervisor.make({ name: "trio", strategy, restartPolicy, children })
    yield* supervisor.started
    expect(yield* stage.look).toBe("start a, start b, start c")
    return { supervisor, ...stage }
  })
