/** `/admin/v1/tree`: the supervision tree, live. */
import { HttpApiEndpoint, HttpApiGroup } from "@effect/platform"
import { ReplicaState } from "@helixflow/schema/Model"
import { expected } from "@helixflow/schema/OpenAiParameter"
import { ChildState } from "@helixflow/schema/Supervisor"
import { Schema } from "effect"

/** A place of the tree. Times are seconds since the epoch, as everywhere in this API. */
export interface TreeView {
  readonly id: string
  readonly kind: string
  readonly state: ChildState
  readonly restarts: number
  readonly since: number
  readonly next_start_at: number | null
  readonly last_failure: string | null
  readonly mailbox: { readonly held: number; readonly capacity: number | null } | null
  readonly replica: {
    readonly model: string
    readonly state: ReplicaState
    readonly active: number
    readonly slots: number
  } | null
  readonly process: { readonly pid: number; readonly rss_bytes: number | null } | null
  readonly children: ReadonlyArray<TreeView>
}

export const TreeView: Schema.Schema<TreeView> = Schema.Struct({
  id: Schema.String,
  kind: Schema.String,
  state: ChildState,
  restarts: Schema.NonNegativeInt,
  since: Schema.Number,
  next_start_at: Schema.NullOr(Schema.Number),
  last_failure: Schema.NullOr(Schema.String),
  mailbox: Schema.NullOr(Schema.Struct({ held: Schema.Int, capacity: Schema.NullOr(Schema.Int) })),
  replica: Schema.NullOr(
    Schema.Struct({ model: Schema.String, state: ReplicaState, active: Schema.Int, slots: Schema.Int })
  ),
  process: Schema.NullOr(Schema.Struct({ pid: Schema.Int, rss_bytes: Schema.NullOr(Schema.Number) })),
  children: Schema.Array(Schema.suspend((): Schema.Schema<TreeView> => TreeView))
}).annotations({ identifier: "Tree" })

/** The trees of the fleet's nodes. */
export const TreeList = Schema.Struct({ object: Schema.Literal("list"), data: Schema.Array(TreeView) })

/** What was done; answered when it is. */
export const TreeAction = Schema.Struct({ id: Schema.String, action: Schema.Literal("restart", "drain", "kill") })

const Place = Schema.Struct({ id: Schema.String })

/** How long what runs may take to end before it is handed over. */
const GraceSeconds = Schema.NumberFromString.pipe(
  Schema.between(0, 3600),
  expected("a number of seconds from 0 to 3600")
)

export const TreeApi = HttpApiGroup.make("tree")
  .add(HttpApiEndpoint.get("show", "/admin/v1/tree").addSuccess(TreeList))
  .add(HttpApiEndpoint.post("restart", "/admin/v1/tree/:id/restart").setPath(Place).addSuccess(TreeAction))
  .add(
    HttpApiEndpoint.post("drain", "/admin/v1/tree/:id/drain")
      .setPath(Place)
      .setUrlParams(Schema.Struct({ grace_seconds: Schema.optional(GraceSeconds) }))
      .addSuccess(TreeAction)
  )
  .add(HttpApiEndpoint.post("kill", "/admin/v1/tree/:id/kill").setPath(Place).addSuccess(TreeAction))
