/**
 * What an operator may do to a place of the supervision tree:
 *
 * - restart: stop it and start it again, with whom its supervisor's strategy takes along; not counted as a failure;
 * - drain: take its replicas out of service. They take no new work, what runs may end within the time that is given, and what then still
 *   runs is continued on another replica;
 * - kill: end its worker processes at once, as a crash would: what they computed is continued, and their supervisors start them anew.
 */
import { InvalidRequest, TreePlaceNotFound } from "@helixflow/schema/Errors"
import { type ChildId, ReplicaId } from "@helixflow/schema/Ids"
import { type Duration, Effect, Option, Schema } from "effect"
import * as SupervisionTree from "./SupervisionTree.ts"
import type { SupervisorHandle } from "./Supervisor.ts"

export interface TreeControl {
  readonly restart: (place: string) => Effect.Effect<void, TreePlaceNotFound | InvalidRequest>
  /** Succeeds when the replicas are gone and their memory is free. */
  readonly drain: (place: string, grace: Duration.Duration) => Effect.Effect<void, TreePlaceNotFound | InvalidRequest>
  readonly kill: (place: string) => Effect.Effect<void, TreePlaceNotFound | InvalidRequest>
}

interface Child {
  readonly supervisor: SupervisorHandle
  readonly id: ChildId
}

type NodeShape = Parameters<typeof SupervisionTree.read>[0]

/** Sessions are told between two steps of the engine; what is no session (an embedding) is asked again by itself. */
const handOverTime = "10 seconds"

const isReplicaId = Schema.is(ReplicaId)

const refused = (place: string, why: string) =>
  new InvalidRequest({ reason: `\`${place}\` ${why}.`, param: "id", code: "unsupported_action" })

/** A place and all below it. */
const withDescendants = (place: SupervisionTree.TreeNode): ReadonlyArray<SupervisionTree.TreeNode> => [
  place,
  ...place.children.flatMap(withDescendants)
]

export const make = (node: NodeShape): TreeControl => {
  const { directory, id: root, supervisor } = node

  const below = (place: string): Effect.Effect<ReadonlyArray<SupervisionTree.TreeNode>, TreePlaceNotFound> =>
    Effect.flatMap(SupervisionTree.read(node), (tree) => {
      const found = withDescendants(tree).find(({ id }) => id === place)
      return found === undefined ? new TreePlaceNotFound({ place }) : Effect.succeed(withDescendants(found))
    })

  /** Whom to ask about a place; none of the node itself, and of workers, which nobody supervises but their models. */
  const childAt = (
    place: string,
    parent: string = root,
    handle: SupervisorHandle = supervisor
  ): Effect.Effect<Option.Option<Child>> =>
    Effect.gen(function* () {
      for (const status of yield* handle.children) {
        const here = SupervisionTree.placeOf(parent, root, status)
        if (here === place) return Option.some({ supervisor: handle, id: status.id })
        const deeper = yield* Effect.option(directory.supervisors.find(here))
        const found = Option.isSome(deeper) ? yield* childAt(place, here, deeper.value) : Option.none()
        if (Option.isSome(found)) return found
      }
      return Option.none()
    })

  const drainReplica = (replica: ReplicaId, grace: Duration.Duration) =>
    Effect.gen(function* () {
      const actor = yield* directory.replicas.find(replica)
      const ended = yield* Effect.timeoutOption(actor.Drain({ handOver: false }), grace)
      if (Option.isNone(ended)) yield* Effect.timeoutOption(actor.Drain({ handOver: true }), handOverTime)
    }).pipe(
      // one that is not loaded has nothing to finish
      Effect.catchAll(() => Effect.void),
      Effect.zipRight(childAt(replica)),
      Effect.flatMap(
        Option.match({
          onNone: () => Effect.void,
          // gone meanwhile is as good
          onSome: (child) => Effect.ignore(child.supervisor.terminateChild(child.id))
        })
      )
    )

  return {
    restart: Effect.fn("TreeControl.restart")(function* (place) {
      const [found] = yield* below(place)
      const child = yield* childAt(place)
      if (Option.isSome(child)) {
        const { id, supervisor } = child.value
        return yield* Effect.mapError(supervisor.restartChild(id), () => new TreePlaceNotFound({ place }))
      }
      return yield* refused(
        place,
        found?.kind === "worker" || found?.kind === "quarantine"
          ? "is restarted by killing it"
          : "is the node itself: stop the server and start it again"
      )
    }),
    drain: Effect.fn("TreeControl.drain")(function* (place, grace) {
      const replicas = (yield* below(place)).flatMap(({ id, kind }) =>
        kind === "replica" && isReplicaId(id) ? [id] : []
      )
      if (replicas.length === 0) return yield* refused(place, "has no replica that could be drained")
      yield* Effect.forEach(replicas, (replica) => drainReplica(replica, grace), {
        concurrency: "unbounded",
        discard: true
      })
    }),
    kill: Effect.fn("TreeControl.kill")(function* (place) {
      const pids = (yield* below(place)).flatMap(({ process }) => (process === null ? [] : [process.pid]))
      if (pids.length === 0) return yield* refused(place, "has no worker that could be killed")
      for (const pid of pids) {
        // the process may have ended since it was asked for
        yield* Effect.ignore(Effect.try(() => process.kill(pid, "SIGKILL")))
      }
    })
  }
}
