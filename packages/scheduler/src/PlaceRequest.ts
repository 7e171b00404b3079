/**
 * One request's way to a place: decide, wait if need be, ask the device, answer. Whatever interrupts it on the way, the turn in the
 * queue, the slot and the claim are given back.
 */
import { anonymous, type Caller } from "@helixflow/schema/Caller"
import { QueueTimeout } from "@helixflow/schema/Errors"
import { Bytes, type ModelId, type ReplicaId, type RequestId } from "@helixflow/schema/Ids"
import { Placement } from "@helixflow/schema/Scheduling"
import { Clock, Deferred, Effect, Exit, FiberId, Option } from "effect"
import * as FleetView from "./FleetView.ts"
import * as Placing from "./Placing.ts"
import type * as Queue from "./Queue.ts"
import type { SchedulerCell } from "./SchedulerCell.ts"
import { emit, type Grant, heldBy, millis, type Refusal, reservationOf, type Slot, slotOf } from "./SchedulerState.ts"
import * as Slots from "./Slots.ts"

export interface PlaceRequest {
  readonly request: RequestId
  readonly model: ModelId
  /** Replicas that failed the request before. */
  readonly not: ReadonlyArray<ReplicaId>
  readonly timeoutMillis: number
  readonly caller?: Caller | undefined
  readonly affinity?: string | undefined
  /** The replica that requests of its kind were on last. */
  readonly prefer?: ReplicaId | undefined
  /** The only revision of the model that it can go on with. */
  readonly revision?: string | undefined
  readonly preemptible?: boolean | undefined
  readonly resumes?: RequestId | undefined
}

type Restore = <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>

const noBytes = Bytes.make(0)

const placementOf = (
  slot: Slot,
  { cold, queuedMillis, revision }: Pick<Placement, "cold" | "queuedMillis" | "revision">
): Placement =>
  new Placement(
    {
      request: slot.request,
      model: slot.model,
      replica: slot.replica,
      device: slot.device,
      reservation: reservationOf(slot.request),
      revision,
      cold,
      queuedMillis
    },
    { disableValidation: true }
  )

export const make = (cell: SchedulerCell) => {
  /** Requests on their way: the same request asked twice at a time has one place, not two. */
  const underway = new Map<RequestId, Deferred.Deferred<void>>()

  const revisionOf = ({ replica }: Slot): string => FleetView.replica(cell.state().view, replica)?.status.revision ?? ""

  /** Asks the device for the slot. False when it cannot be had, or its replica was lost meanwhile. */
  const bind = ({ claim, device, model, replica, request, within }: Slot): Effect.Effect<boolean> => {
    const bytes = FleetView.slotBytesOn(cell.state().view, model, device)
    if (bytes === undefined) return Effect.succeed(false)
    const ttlMillis = cell.options.reservationTtl
    return cell.fleet
      .reserve(device, { reservation: claim, owner: request, bytes, shareable: noBytes, within, ttlMillis })
      .pipe(
        Effect.zipRight(cell.fleet.commit(device, { reservation: claim, state: "resident", ttlMillis: null })),
        Effect.map(() => {
          const bound = Slots.bound(cell.state(), claim)
          if (bound !== undefined) cell.set(bound)
          return bound !== undefined
        }),
        Effect.catchAll((error) => Effect.as(Effect.logDebug(`${replica} is passed over: ${error.message}`), false))
      )
  }

  /** A slot that was granted and is not wanted, or not to be had after all. */
  const giveUp = ({ claim, device }: Slot): Effect.Effect<void> =>
    Effect.suspend(() =>
      slotOf(cell.state(), claim)?.phase === "binding"
        ? cell.giveBack(claim)
        : // lost while the device was asked: the release of then may have come before the claim
          cell.release(device, claim)
    )

  /** Waits for the ticket's answer. Interrupted, it leaves the queue, or gives up what was granted at that moment. */
  const wait = (arrival: Queue.Arrival, ticket: number, restore: Restore): Effect.Effect<Grant, Refusal> => {
    const answer = cell.answerTo(ticket)
    const giveUpGranted = Effect.flatMap(Deferred.poll(answer), (granted) =>
      Option.isNone(granted)
        ? cell.withdraw(arrival, ticket)
        : Effect.flatMap(Effect.either(granted.value), (either) =>
            either._tag === "Right" ? giveUp(either.right.slot) : Effect.void
          )
    )
    return cell
      .settle(() => ({ state: cell.state(), commands: [] }))
      .pipe(Effect.zipRight(Effect.onInterrupt(restore(Deferred.await(answer)), () => giveUpGranted)))
  }

  const grantOf = (
    arrival: Queue.Arrival,
    arrived: Placing.Arrived,
    restore: Restore
  ): Effect.Effect<Grant, Refusal> => {
    const { answer, commands, state } = arrived
    cell.set(state)
    for (const command of commands) cell.perform(command)
    switch (answer._tag) {
      case "Grant":
        // nobody waits, but what may be asked for next may have changed
        cell.wakeInTime(arrival.since)
        return Effect.succeed(answer)
      case "Refuse":
        return Effect.fail(answer.error)
      case "Queued":
        return wait(arrival, answer.ticket, restore)
    }
  }

  /** From an arrival's first answer to the placement, over as many slots as it takes until one can be had. */
  const follow = (
    arrival: Queue.Arrival,
    arrived: Placing.Arrived,
    restore: Restore
  ): Effect.Effect<Placement, Refusal> =>
    Effect.flatMap(grantOf(arrival, arrived, restore), (grant) =>
      Effect.flatMap(Effect.exit(restore(bind(grant.slot))), (exit) => {
        if (Exit.isFailure(exit)) return Effect.zipRight(giveUp(grant.slot), Effect.failCause(exit.cause))
        return Effect.flatMap(Clock.currentTimeMillis, (now) => {
          if (exit.value) {
            const { cold, slot } = grant
            const queuedMillis = Math.max(0, slot.since - arrival.since)
            const placement = placementOf(slot, { cold, queuedMillis, revision: revisionOf(slot) })
            cell.perform(emit({ _tag: "Placed", at: millis(now), placement }))
            return Effect.succeed(placement)
          }
          return Effect.zipRight(
            giveUp(grant.slot),
            Effect.suspend(() => follow(arrival, Placing.returnToQueue(cell.state(), arrival, grant, now), restore))
          )
        })
      })
    )

  /** The request has a place already: the same, unless its replica failed it. */
  const again = ({ not, request }: PlaceRequest): Effect.Effect<Placement | undefined> => {
    const slot = heldBy(cell.state(), request)
    if (slot === undefined) return Effect.succeed(undefined)
    return not.includes(slot.replica)
      ? Effect.as(cell.giveBack(slot.claim), undefined)
      : Effect.succeed(placementOf(slot, { cold: false, queuedMillis: 0, revision: revisionOf(slot) }))
  }

  const place = (asked: PlaceRequest, since: number, restore: Restore): Effect.Effect<Placement, Refusal> => {
    const { affinity = null, caller = anonymous, model, not, request, timeoutMillis } = asked
    const { preemptible = false, prefer = null, resumes = null, revision = null } = asked
    const deadline = since + timeoutMillis
    const before = underway.get(request)
    if (before !== undefined) {
      const timeout = () => new QueueTimeout({ model, waitedMillis: timeoutMillis, reasons: ["it is being placed"] })
      return restore(Deferred.await(before)).pipe(
        Effect.timeoutFail({ duration: timeoutMillis, onTimeout: timeout }),
        Effect.zipRight(Effect.suspend(() => place(asked, since, restore)))
      )
    }
    const done = Deferred.unsafeMake<void>(FiberId.none)
    underway.set(request, done)
    const first = Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const own = { request, model, caller, not, since, deadline }
      const arrival = { ...own, affinity, prefer, revision, preemptible, resumes }
      return follow(arrival, Placing.arrive(cell.state(), arrival, now), restore)
    })
    return cell.refreshModels.pipe(
      Effect.zipRight(Effect.suspend(() => again(asked))),
      Effect.flatMap((held) => (held === undefined ? first : Effect.succeed(held))),
      Effect.ensuring(
        Effect.sync(() => {
          underway.delete(request)
          Deferred.unsafeDone(done, Exit.void)
        })
      )
    )
  }

  return (asked: PlaceRequest): Effect.Effect<Placement, Refusal> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(Clock.currentTimeMillis, (since) => place(asked, since, restore))
    )
}
