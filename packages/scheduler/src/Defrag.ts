/**
 * Making room by moving: where memory enough is free for a model, but in pieces, some replicas are loaded elsewhere and leave, so that one
 * device has it all, or each of those that the model is split over its part. Nobody loses what is loaded, so it is worth more than an eviction where what would be evicted is asked for soon.
 *
 *     a ██████░░░░   b ████░░░░░░   a model of 8 fits nowhere
 *     a ██████████   b ░░░░░░░░░░   once the one on b has moved to a
 *
 * A plan is a sequence: each move finds its room free on arrival, with all that moved before it gone, and takes it before it leaves its
 * own. So no device is ever over-committed. Those that leave a device are tried the largest first, each on the device that it fits best
 * (best-fit decreasing); where it fits on none, others make room for it there first. One may move twice, out of another's way. The search is exhaustive up to `mostMoves`, and ends
 * with the best that it has found after `mostSteps`. Of the kind of devices that counts for the model, the `mostDevices` are looked at that
 * have the largest share free, and of the sets of them that it can be split over, the `mostSets` that lack least.
 */
import type { DeviceKind } from "@helixflow/schema/Device"
import type { DeviceId, ReplicaId } from "@helixflow/schema/Ids"
import type { ModelSpec } from "@helixflow/schema/Model"
import * as Asked from "./Asked.ts"
import { DeviceGroups } from "./DeviceGroups.ts"
import * as DeviceIndex from "./DeviceIndex.ts"
import * as FleetIndex from "./FleetIndex.ts"
import * as FleetView from "./FleetView.ts"
import { compareIds } from "./Policy.ts"
import * as Survey from "./Survey.ts"

export const mostMoves = 3
export const mostDevices = 64
export const mostSets = 64
/** Replicas that are tried to be moved, each counting more where there are more devices that it could go to. */
const mostSteps = 1_000
/** Of those that a replica fits on, and of those that it would fit on if others left. */
const mostDestinations = 8

export interface Move {
  readonly replica: ReplicaId
  readonly from: DeviceId
  readonly to: DeviceId
}

export interface Plan {
  /** In this order. */
  readonly moves: ReadonlyArray<Move>
  /** Where the model fits then. */
  readonly device: DeviceId
  /** The further devices of a model that is split. */
  readonly parts: ReadonlyArray<DeviceId>
  /** Milliseconds that all the loads take. */
  readonly cost: number
}

/** A device, as it would be after the moves that are being tried. */
interface Place {
  readonly entry: FleetView.DeviceEntry
  readonly id: DeviceId
  /** Its place in the order of ids. */
  rank: number
  free: number
  /** It loads a model, so nothing else can be loaded. */
  loading: boolean
  readonly pieces: Set<Piece>
  /** The models of those that can't move. */
  readonly stays: Array<ModelSpec>
}

/** A model that is to be on some device. */
interface Wanted {
  readonly spec: ModelSpec
  readonly takes: number
  readonly failures: ReadonlyMap<DeviceId, FleetView.LoadFailure>
}

/** A replica that may move. */
interface Piece extends Wanted {
  readonly entry: FleetView.ReplicaEntry
  /** Bytes that it leaves free where it is before anything moves. */
  readonly leaves: number
  readonly cost: number
  /** Its place in the order of ids on its device. */
  readonly rank: number
  /** How often it has been moved. */
  moves: number
}

/** Bytes that it would leave free where it is. */
const leavesNow = ({ leaves, moves, takes }: Piece): number => (moves === 0 ? leaves : takes)

/**
 * Its streams continue elsewhere, or it has no requests: those of a program of its own can't be continued, nor those that were begun with
 * files that were replaced. What fails or drains is no business of ours. What is split over several devices stays on them.
 */
const isMovable = (entry: FleetView.ReplicaEntry, spec: ModelSpec): boolean =>
  entry.life === "running" &&
  spec.placing.split === 1 &&
  entry.status.parts.length === 0 &&
  FleetView.stateOf(entry) === "ready" &&
  (entry.taken === 0 || (!spec.external && entry.status.revision === spec.revision))

/** Whether the one may not be on a device with the other. */
const areApart = (spec: ModelSpec, other: ModelSpec): boolean =>
  other.id === spec.id
    ? spec.placing.spread
    : other.placing.notBeside.includes(spec.id) || spec.placing.notBeside.includes(other.id)

/** The devices of the kind with the largest share of memory free. */
const look = (view: FleetView.FleetView, kind: DeviceKind): ReadonlyArray<Place> => {
  const places: Array<Place> = []
  for (const { id } of DeviceIndex.inOrder(FleetIndex.indexOf(view), kind, Asked.any, "share", 0)) {
    const entry = FleetView.device(view, id)
    if (entry === undefined) continue
    const place: Place = { entry, id, rank: 0, free: entry.free, loading: false, pieces: new Set(), stays: [] }
    for (const id of [...FleetView.replicasOn(view, place.id)].sort(compareIds)) {
      const replica = FleetView.replica(view, id)
      const spec = replica && FleetView.model(view, replica.status.model)
      if (replica === undefined || spec === undefined) continue
      if (FleetView.stateOf(replica) === "loading") place.loading = true
      if (!isMovable(replica, spec)) {
        // one that failed and was not brought back leaves with any load
        if (replica.status.state !== "failed") place.stays.push(spec)
        continue
      }
      place.pieces.add({
        entry: replica,
        spec,
        takes: spec.claimOn(kind),
        failures: FleetView.failuresOf(view, spec.id),
        leaves: FleetView.bytesOn(view, replica, place.id),
        cost: FleetView.reloadMillisOf(view, replica),
        rank: place.pieces.size,
        moves: 0
      })
    }
    places.push(place)
    if (places.length >= mostDevices) break
  }
  for (const [rank, place] of [...places].sort((a, b) => compareIds(a.id, b.id)).entries()) place.rank = rank
  return places
}

/** Goes on with what has been tried: so many moves are left, and so much was spent. */
type Then = (left: number, spent: number) => void

class Search {
  best: Plan | undefined
  private readonly path: Array<Move> = []
  private steps = 0

  constructor(
    private readonly places: ReadonlyArray<Place>,
    private bound: number,
    private readonly now: number
  ) {}

  /** Whether the model may be on the device now, free memory aside. */
  private suits({ failures, spec, takes }: Wanted, place: Place): boolean {
    const { device } = place.entry.status
    const { placing } = spec
    if (!Asked.suits(placing, device) || !Asked.isPinnedTo(placing, device)) return false
    if (place.loading || takes > device.total) return false
    const failure = failures.get(device.id)
    if (failure !== undefined && failure.until > this.now) return false
    for (const other of place.stays) if (areApart(spec, other)) return false
    for (const { spec: other } of place.pieces) if (areApart(spec, other)) return false
    return true
  }

  /** Makes `needed` bytes free in the place. */
  private vacate(place: Place, needed: number, left: number, spent: number, then: Then): void {
    if (place.free >= needed) {
      then(left, spent)
      return
    }
    if (left === 0) return
    const leaving: Array<Piece> = []
    for (const piece of place.pieces) if (spent + piece.cost < this.bound) leaving.push(piece)
    leaving.sort((a, b) => leavesNow(b) - leavesNow(a) || a.rank - b.rank)
    for (const piece of leaving) {
      if (this.steps++ > mostSteps) return
      if (spent + piece.cost >= this.bound) continue
      if (left === 1 && place.free + leavesNow(piece) < needed) break
      if (left === 1 && !this.places.some((to) => to !== place && to.free >= piece.takes)) continue
      for (const to of this.destinations(piece, place, left)) {
        this.vacate(to, piece.takes, left - 1, spent + piece.cost, (left, spent) => {
          if (!place.pieces.has(piece) || spent >= this.bound || !this.suits(piece, to)) return
          this.move(piece, place, to)
          this.vacate(place, needed, left, spent, then)
          this.undo(piece, place, to)
        })
      }
    }
  }

  /** Where the piece may go: the best fits first, then where least is missing, if others may leave for it. */
  private destinations(piece: Piece, from: Place, left: number): ReadonlyArray<Place> {
    this.steps += this.places.length / mostDestinations
    const fits: Array<Place> = []
    const lacks: Array<Place> = []
    for (const to of this.places) {
      if (to === from) continue
      if (to.free >= piece.takes) fits.push(to)
      else if (left > 1) lacks.push(to)
    }
    fits.sort((a, b) => a.free - b.free || a.rank - b.rank)
    lacks.sort((a, b) => b.free - a.free || a.rank - b.rank)
    return [...this.suitable(piece, fits), ...this.suitable(piece, lacks)]
  }

  private suitable(piece: Piece, places: ReadonlyArray<Place>): ReadonlyArray<Place> {
    const found: Array<Place> = []
    for (const place of places) {
      if (found.length === mostDestinations) break
      if (this.suits(piece, place)) found.push(place)
    }
    return found
  }

  private move(piece: Piece, from: Place, to: Place): void {
    to.free -= piece.takes
    from.free += leavesNow(piece)
    from.pieces.delete(piece)
    to.pieces.add(piece)
    piece.moves += 1
    this.path.push({ replica: piece.entry.status.replica, from: from.id, to: to.id })
  }

  private undo(piece: Piece, from: Place, to: Place): void {
    this.path.pop()
    piece.moves -= 1
    to.pieces.delete(piece)
    from.pieces.add(piece)
    from.free -= leavesNow(piece)
    to.free += piece.takes
  }

  /** Makes `needed` bytes free in each of the places: one after the other, and again where what moved for one has gone to another. */
  private clear(places: ReadonlyArray<Place>, needed: number, left: number, spent: number, then: Then): void {
    const short = places.find(({ free }) => free < needed)
    if (short === undefined) then(left, spent)
    else this.vacate(short, needed, left, spent, (left, spent) => this.clear(places, needed, left, spent, then))
  }

  /** Looks for a cheaper plan with so many moves at most, after which the model fits on all devices of one of the sets. */
  run(wanted: Wanted, sets: ReadonlyArray<ReadonlyArray<Place>>, moves: number): void {
    for (const places of sets) {
      this.clear(places, wanted.takes, moves, 0, (_, cost) => {
        if (!places.every((place) => this.suits(wanted, place))) return
        const [device, ...parts] = places.map(({ id }) => id)
        if (device === undefined || cost >= this.bound) return
        this.bound = cost
        this.best = { moves: [...this.path], device, parts, cost }
      })
    }
  }
}

/** All sets of so many of the places. */
const setsOf = (places: ReadonlyArray<Place>, size: number): ReadonlyArray<ReadonlyArray<Place>> =>
  size === 0
    ? [[]]
    : places.flatMap((place, at) => setsOf(places.slice(at + 1), size - 1).map((others) => [place, ...others]))

/** How many sets there are of so many places: n! / (size! (n - size)!). */
const countOfSets = (places: number, size: number): number => {
  let count = 1
  for (let n = 1; n <= size; n++) count = (count * (places - size + n)) / n
  return count
}

/** The sets of places that the model's parts may have, those first that lack least of what it takes. `places` are in that order. */
const targetsOf = (places: ReadonlyArray<Place>, split: number, takes: number): ReadonlyArray<ReadonlyArray<Place>> => {
  if (split === 1) return places.map((place) => [place])
  const groups = new DeviceGroups<Place>(split)
  for (const place of places) groups.add(place.entry.status.device, place)
  const sets = groups.complete().flatMap((group) => {
    let looked = split
    while (looked < group.length && countOfSets(looked + 1, split) <= mostSets) looked += 1
    return setsOf(group.slice(0, looked), split)
  })
  const lack = (set: ReadonlyArray<Place>) => set.reduce((sum, { free }) => sum + Math.max(0, takes - free), 0)
  return sets
    .map((set) => ({ set, lacks: lack(set) }))
    .sort((a, b) => a.lacks - b.lacks)
    .slice(0, mostSets)
    .map(({ set }) => set)
}

/**
 * The cheapest moves after which the model fits, if there are some that cost less than `limit` (milliseconds of loading); undefined where
 * memory is short altogether, or the devices that it asks for have enough of it and are only not to be had now.
 */
export const plan = (view: FleetView.FleetView, spec: ModelSpec, limit: number, now: number): Plan | undefined => {
  const kind = Survey.kindFor(view, spec, now)
  if (kind === undefined) return undefined
  const { placing } = spec
  const takes = spec.claimOn(kind)
  const places = look(view, kind)
  const free = places.reduce((sum, { free }) => sum + Math.max(0, free), 0)
  if (free < spec.wholeClaimOn(kind)) return undefined
  const asked = places.filter(
    ({ entry: { status } }) =>
      Asked.suits(placing, status.device) && Asked.isPinnedTo(placing, status.device) && takes <= status.device.total
  )
  asked.sort((a, b) => b.free - a.free || a.rank - b.rank)
  const fitting = new DeviceGroups<Place>(placing.split)
  for (const place of asked) {
    if (place.free >= takes && fitting.add(place.entry.status.device, place) !== undefined) return undefined
  }
  const targets = targetsOf(
    asked.filter(({ loading }) => !loading),
    placing.split,
    takes
  )
  const search = new Search(places, limit, now)
  const wanted: Wanted = { spec, takes, failures: FleetView.failuresOf(view, spec.id) }
  for (let moves = 1; moves <= mostMoves; moves++) search.run(wanted, targets, moves)
  return search.best
}
