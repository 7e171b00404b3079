/** What `TreeApi.ts` defines, served. */
import { Runtime } from "@helixflow/runtime/Runtime"
import type { TreeNode } from "@helixflow/runtime/SupervisionTree"
import { Effect } from "effect"
import * as AdminRouter from "./AdminRouter.ts"
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

export const layer = AdminRouter.implement(TreeApi, {
  show: () =>
    Effect.gen(function* () {
      const tree = yield* (yield* Runtime).tree
      return { object: "list" as const, data: [toView(tree)] }
    })
})
