/**
 * The supervision tree of a node as it is now: what runs below what, in which state, and why it failed last.
 *
 *     local                              node
 *     ├── local/cpu:0                    device
 *     │   ├── local/cpu:0/gpu            actor: the device's ledger
 *     │   ├── local/cpu:0/replicas       supervisor
 *     │   │   └── local/cpu:0/m#0        replica
 *     │   │       └── local/cpu:0/m#0/model           actor: the loaded model
 *     │   │           └── local/cpu:0/m#0/model/worker    its process
 *     │   └── local/cpu:0/quarantine/m#1     quarantine: a worker that suspects are tried in, see Isolation.ts
 *     ├── local/scheduler                actor
 *     ├── local/models                   task
 *     ├── local/default-model            task
 *     └── local/services                 supervisor
 *         └── local/services/session-writer, …    service: see Services.ts
 */
import type { ActorUnreachable } from "@helixflow/schema/Errors"
import { DeviceId, deviceOf, ReplicaId } from "@helixflow/schema/Ids"
import type { ReplicaState } from "@helixflow/schema/Model"
import type { ModelActor } from "@helixflow/schema/ModelActor"
import type { ChildState, ChildStatus } from "@helixflow/schema/Supervisor"
import { type Context, Effect, Option, Schema } from "effect"
import type { ClientOf } from "./Actor.ts"
import { type Directory, schedulerId } from "./Directory.ts"
import * as InProcess from "./InProcess.ts"
import type { Cell, Isolation } from "./Isolation.ts"
import type { Node } from "./Node.ts"
import { id as servicesId } from "./Services.ts"
import type { SupervisorHandle } from "./Supervisor.ts"

export type TreeNodeKind =
  | "node"
  | "device"
  | "supervisor"
  | "replica"
  | "actor"
  | "worker"
  | "quarantine"
  | "service"
  | "task"

export interface TreeNode {
  /** Its place in the tree. */
  readonly id: string
  readonly kind: TreeNodeKind
  readonly state: ChildState
  /** Since its supervisor started. */
  readonly restarts: number
  /** When it came into its state, in milliseconds since the epoch. */
  readonly since: number
  /** When it will be started again, while it backs off. */
  readonly nextStartAt: number | null
  readonly lastFailure: string | null
  /** Of actors: messages that wait or run. */
  readonly mailbox: InProcess.MailboxDepth | null
  /** Of a loaded model's actor. */
  readonly replica: {
    readonly model: string
    readonly state: ReplicaState
    /** Requests being computed, and how many can be at once. */
    readonly active: number
    readonly slots: number
  } | null
  /** Of a worker; `rss` is resident bytes as it last told. */
  readonly process: { readonly pid: number; readonly rss: number | null } | null
  readonly children: ReadonlyArray<TreeNode>
}

/** What a child adds to what its supervisor knows of it. */
type Details = Partial<Pick<TreeNode, "kind" | "mailbox" | "replica" | "children">>

type NodeShape = Pick<Context.Tag.Service<Node>, "id" | "since" | "directory" | "supervisor"> & {
  readonly isolation: Pick<Isolation, "cells">
}

const isDeviceId = Schema.is(DeviceId)
const isReplicaId = Schema.is(ReplicaId)

/** A child whose id is a place already (a device, a replica) keeps it; others are named below their parent. */
export const placeOf = (parent: string, node: string, { id }: ChildStatus): string =>
  id.startsWith(`${node}/`) ? id : `${parent}/${id}`

const depthOf = (actor: object): TreeNode["mailbox"] => InProcess.mailboxDepth(actor) ?? null

const mailboxOf = <E>(actor: Effect.Effect<object, E>): Effect.Effect<Details, E> =>
  Effect.map(actor, (client) => ({ mailbox: depthOf(client) }))

/** A loaded model, with its worker below it. */
const modelDetails = (actor: ClientOf<typeof ModelActor>, place: string) =>
  Effect.gen(function* () {
    const { active, model, pid, rss, since, slots, state } = yield* actor.Status()
    const children = pid === null ? [] : [{ ...leaf(`${place}/worker`, "worker", since), process: { pid, rss } }]
    return { mailbox: depthOf(actor), replica: { model, state, active, slots }, children }
  })

/** What the actor says that a replica's, a device's or the node's supervisor (`parent`) keeps. */
const actorDetails = (directory: Directory, parent: string, place: string): Effect.Effect<Details> => {
  const details: Effect.Effect<Details, unknown> = isReplicaId(parent)
    ? Effect.flatMap(directory.replicas.find(parent), (actor) => modelDetails(actor, place))
    : mailboxOf(
        Effect.suspend(
          (): Effect.Effect<object, ActorUnreachable> =>
            isDeviceId(parent) ? directory.gpus.find(parent) : directory.scheduler.find(schedulerId)
        )
      )
  // it is not there now, which its supervisor tells of
  return Effect.orElseSucceed(details, () => ({}))
}

const leaf = (id: string, kind: TreeNodeKind, since: number): TreeNode => ({
  id,
  kind,
  state: "running",
  restarts: 0,
  since,
  nextStartAt: null,
  lastFailure: null,
  mailbox: null,
  replica: null,
  process: null,
  children: []
})

const kindOf = (place: string): TreeNodeKind =>
  isDeviceId(place) ? "device" : isReplicaId(place) ? "replica" : "supervisor"

const cellNode = (cell: Cell): Effect.Effect<TreeNode> =>
  modelDetails(cell.replica, cell.id).pipe(
    // one that is being opened or ended
    Effect.orElseSucceed(() => ({})),
    Effect.map((details) => ({ ...leaf(cell.id, "quarantine", cell.since), ...details }))
  )

/** The tree of a node. Its parts are asked one after the other, so that it is exact in each and not a snapshot of all. */
export const read = ({ directory, id, isolation, since, supervisor }: NodeShape): Effect.Effect<TreeNode> => {
  const detailsOf = (parent: string, place: string, status: ChildStatus): Effect.Effect<Details> =>
    Effect.flatMap(Effect.option(directory.supervisors.find(place)), (below) => {
      if (Option.isSome(below)) {
        return Effect.zipWith(childrenOf(place, below.value), cellsOn(place), (children, cells) => ({
          kind: kindOf(place),
          children: [...children, ...cells]
        }))
      }
      if (isDeviceId(place) || isReplicaId(place)) return Effect.succeed({ kind: kindOf(place) })
      if (parent === `${id}/${servicesId}`) return Effect.succeed({ kind: "service" as const })
      const isActor = status.id === schedulerId || isDeviceId(parent) || isReplicaId(parent)
      return isActor ? actorDetails(directory, parent, place) : Effect.succeed({ kind: "task" as const })
    })

  const cellsOn = (place: string) =>
    Effect.flatMap(isolation.cells, (cells) =>
      Effect.forEach(
        cells.filter((cell) => deviceOf(cell.id) === place),
        cellNode
      )
    )

  const childrenOf = (parent: string, handle: SupervisorHandle): Effect.Effect<ReadonlyArray<TreeNode>> =>
    Effect.flatMap(handle.children, (children) =>
      Effect.forEach(children, (status) => {
        const place = placeOf(parent, id, status)
        const { lastFailure, nextStartAt, restarts, since, state } = status
        return Effect.map(
          detailsOf(parent, place, status),
          (details): TreeNode => ({
            ...leaf(place, "actor", since),
            ...details,
            state,
            restarts,
            nextStartAt,
            lastFailure
          })
        )
      })
    )

  return Effect.map(childrenOf(id, supervisor), (children) => ({ ...leaf(id, "node", since), children }))
}
