/** What `TreeApi.ts` defines, served. */
import { Runtime } from "@helixflow/runtime/Runtime"
import type { TreeNode } from "@helixflow/runtime/SupervisionTree"
import { Duration, Effect } from "effect"
import * as AdminRouter from "./AdminRouter.ts"
import { Principal } from "./Principal.ts"
import { TreeApi, type TreeView } from "./TreeApi.ts"

const toView = ({ children, lastFailure, nextStartAt, process, since, ...node }: TreeNode): TreeView => ({
  id: node.id,
  kind: node.kind,
  state: node.state,
  restarts: node.restarts,
  since: since / 1000,
  next_start_at: nextStartAt === null ? null : nextStartAt / 1000,
  last_failure: lastFailure,
  mailbox: node.mailbox,
  replica: node.replica,
  process: process === null ? null : { pid: process.pid, rss_bytes: process.rss },
  children: children.map(toView)
})

/** Seconds. */
const defaultGrace = 30

const control = Effect.map(Runtime, (runtime) => runtime.control)

/** What an operator does is in the log, with who did it. */
const done = <Action extends "restart" | "drain" | "kill", E, R>(
  action: Action,
  id: string,
  effect: Effect.Effect<void, E, R>
) =>
  Effect.gen(function* () {
    const { id: operator } = yield* Principal
    yield* Effect.logInfo("An operator acts on the supervision tree").pipe(
      Effect.annotateLogs({ action, place: id, operator })
    )
    yield* effect
    return { id, action }
  })

export const layer = AdminRouter.implement(TreeApi, {
  show: () =>
    Effect.gen(function* () {
      const tree = yield* (yield* Runtime).tree
      return { object: "list" as const, data: [toView(tree)] }
    }),
  restart: ({ path: { id } }) =>
    done(
      "restart",
      id,
      Effect.flatMap(control, ({ restart }) => restart(id))
    ),
  drain: ({ path: { id }, urlParams: { grace_seconds = defaultGrace } }) =>
    done(
      "drain",
      id,
      Effect.flatMap(control, ({ drain }) => drain(id, Duration.seconds(grace_seconds)))
    ),
  kill: ({ path: { id } }) =>
    done(
      "kill",
      id,
      Effect.flatMap(control, ({ kill }) => kill(id))
    )
})
