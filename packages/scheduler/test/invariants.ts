/** What holds of a scheduler and its fleet whatever goes wrong, looked at from outside after any step. */
import type { ReplicaId, ReservationId } from "@helixflow/schema/Ids"
import { partsOf } from "@helixflow/schema/Model"
import { HashMap, HashSet } from "effect"
import * as Decide from "../src/Decide.ts"
import * as FleetView from "../src/FleetView.ts"
import * as Ledger from "../src/Ledger.ts"
import * as Placing from "../src/Placing.ts"
import * as Queue from "../src/Queue.ts"
import { slotOf } from "../src/SchedulerState.ts"
import type { VirtualFleet } from "../src/VirtualFleet.ts"

/** Processes, and whatever counts as one, never have more than there is; and what they have is in the ledger. */
const overCommitted = ({ devices, replicas }: VirtualFleet): ReadonlyArray<string> =>
  devices.ids.flatMap((id) => {
    const ledger = devices.ledger(id)
    const { total } = ledger.device
    const processes = [...devices.processes(id)]
    const taken = processes.reduce((sum, [, { bytes }]) => sum + bytes, 0)
    const unclaimed = processes.filter(([, { reservation }]) => Ledger.claim(ledger, reservation) === undefined)
    const loading = [...replicas.loads.values()].filter(
      ({ phase, plan }) => partsOf(plan).some(({ device }) => device === id) && (phase === "starts" || phase === "told")
    )
    return [
      ...(taken > total ? [`processes have ${taken} bytes of ${id}, which has ${total}`] : []),
      ...(ledger.charged > total ? [`${ledger.charged} bytes of ${id} are claimed, which has ${total}`] : []),
      ...unclaimed.map(([replica]) => `the process of ${replica} lives without a claim`),
      ...(loading.length > 1 ? [`${id} loads ${loading.length} models at a time`] : [])
    ]
  })

/** Every claim has somebody that will give it back. */
const leaked = ({ devices, replicas, state }: VirtualFleet): ReadonlyArray<string> =>
  devices.ids.flatMap((id) =>
    Ledger.claims(devices.ledger(id)).flatMap(({ owner, reservation, within }) => {
      if (within !== null) return slotOf(state, reservation) === undefined ? [`the slot of ${owner} leaked`] : []
      const has = (replica: Parameters<typeof partsOf>[0]) =>
        partsOf(replica).some((part) => part.reservation === reservation)
      const held = [...replicas.workers.values()].some(has)
      const loading = [...replicas.loads.values()].some(({ plan }) => has(plan))
      return held || loading ? [] : [`the memory of ${owner} leaked`]
    })
  )

/** Of a replica that has a worker every part is claimed. */
const inParts = ({ devices, replicas }: VirtualFleet): ReadonlyArray<string> =>
  [...replicas.workers.values()].flatMap((worker) =>
    partsOf(worker).flatMap(({ device, reservation }) =>
      devices.claimed(device, reservation) === 0 ? [`${worker.replica} has no part on ${device}`] : []
    )
  )

/** Every request is somewhere, and a replica's slots are counted. */
const miscounted = ({ open, state }: VirtualFleet): ReadonlyArray<string> => {
  const taken = new Map<ReservationId, number>()
  for (const { within } of HashMap.values(state.slots)) taken.set(within, (taken.get(within) ?? 0) + 1)
  const waiting = new Set(Queue.all(state.queue).map(({ ticket }) => ticket))
  return [
    ...Array.from(HashMap.values(state.view.replicas)).flatMap((entry) => {
      const { replica, reservation, slots } = entry.status
      const held = taken.get(reservation) ?? 0
      return entry.taken !== held || held > slots
        ? [`${replica} has ${slots} slots, ${held} given, ${entry.taken} counted`]
        : []
    }),
    ...[...open].flatMap(([ticket, { arrival, binding, placed }]) => {
      const places = [waiting.has(ticket), binding !== undefined, placed !== undefined].filter(Boolean).length
      return places === 1 ? [] : [`${arrival.request} is in ${places} places`]
    }),
    ...(waiting.size > open.size ? ["somebody waits who has left"] : [])
  ]
}

/** What the scheduler waits for is on its way. */
const stuck = ({ replicas, state }: VirtualFleet): ReadonlyArray<string> => {
  const leaving = new Set<ReplicaId>([...replicas.stopping, ...replicas.retiring])
  for (const { plan } of replicas.loads.values()) for (const id of plan.evict) leaving.add(id)
  return Array.from(HashMap.values(state.view.replicas)).flatMap(({ life, status: { replica } }) =>
    (life === "starting" && !replicas.loads.has(replica)) || (life === "stopping" && !leaving.has(replica))
      ? [`${replica} is ${life}, and nobody does it`]
      : []
  )
}

/** Who waits though there is a place or a load to be had at this instant. */
export const servable = ({ core, state }: VirtualFleet): ReadonlyArray<string> => {
  const { options, queue, view } = state
  return queue.turns.flatMap((id) => {
    const spec = FleetView.model(view, id)
    const first = Queue.lane(queue, id).find((waiting) => !Placing.isParticular(waiting))
    if (spec === undefined || first === undefined || FleetView.isMovedFor(view, id)) return []
    const { _tag } = Decide.attempt(view, Placing.queryOf(state, spec, first), core.now, options)
    return _tag === "Wait" ? [] : [`${first.request} waits for ${id} though it could be ${_tag}`]
  })
}

/** What is broken; empty: nothing. */
export const broken = (fleet: VirtualFleet): ReadonlyArray<string> => [
  ...overCommitted(fleet),
  ...leaked(fleet),
  ...inParts(fleet),
  ...miscounted(fleet),
  ...stuck(fleet)
]

/** What is left when all has ended. */
export const left = ({ devices, open, replicas, state }: VirtualFleet): ReadonlyArray<string> => {
  const sizes = {
    "requests that are open": open.size,
    "loads under way": replicas.loads.size,
    "replicas on their way out": replicas.stopping.size + replicas.retiring.size,
    "requests that wait": state.queue.size + HashMap.size(state.queue.lanes) + HashMap.size(state.queue.ofTenant),
    slots: HashMap.size(state.slots) + HashMap.size(state.heldBy),
    "loads ahead": state.ahead.loads.length,
    // one that failed is kept until its supervisor's time is over
    replicas: HashMap.size(state.view.replicas) - HashSet.size(state.view.failed)
  }
  return [
    ...Object.entries(sizes).flatMap(([what, size]) => (size === 0 ? [] : [`${size} ${what}`])),
    ...devices.ids.flatMap((id) => {
      const { charged, device, free, pending } = devices.ledger(id)
      const claims = Ledger.claims(devices.ledger(id))
      const believed = FleetView.device(state.view, id)
      const zero = charged === 0 && pending === 0 && free === device.total && claims.length === 0
      return [
        ...(zero ? [] : [`${id}: ${charged} charged, ${pending} pending, ${free} of ${device.total} free`]),
        ...(believed?.free === device.total
          ? []
          : [`${id} is believed to have ${believed?.free} of ${device.total} free`])
      ]
    })
  ]
}
