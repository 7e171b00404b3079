/**
 * Making room by moving: where memory enough is free for a model, but in pieces, some replicas are loaded elsewhere and leave, so that one
 * device has it all. Nobody loses what is loaded, so it is worth more than an eviction where what would be evicted is asked for soon.
 *
 *     a ██████░░░░   b ████░░░░░░   a model of 8 fits nowhere
 *     a ██████████   b ░░░░░░░░░░   once the one on b has moved to a
 *
 * A plan is a sequence: each move finds its room free on arrival, with all that moved before it gone, and takes it before it leaves its
 * own. So no device is ever over-committed. Those that leave a device are tried the largest first, each on the device that it fits best
 * (best-fit decreasing); where it fits on none, others make room for it there first. The search is exhaustive up to `mostMoves`, and ends
 * with the best that it has found after `mostSteps`. Of the fleet, the `mostDevices` are looked at that have the largest share free.
 */
import type { DeviceId, ReplicaId } from "@helixflow/schema/Ids"
import type { ModelSpec } from "@helixflow/schema/Model"
import * as DeviceIndex from "./DeviceIndex.ts"
import * as Fit from "./Fit.ts"
import * as FleetIndex from "./FleetIndex.ts"
import * as FleetView from "./FleetView.ts"
import { compareIds } from "./Policy.ts"

export const mostMoves = 3
export const mostDevices = 64
/** Pairs of a replica and a device. */
const mostSteps = 20_000

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
  /** Milliseconds that all the loads take. */
  readonly cost: number
}

/** A device, as it would be after the moves that are being tried. */
interface Place {
  readonly entry: FleetView.DeviceEntry
  readonly id: DeviceId
  free: number
  readonly pieces: Set<Piece>
}

/** A replica that may move. */
interface Piece {
  readonly entry: FleetView.ReplicaEntry
  readonly spec: ModelSpec
  /** Bytes that it takes where it goes, and that it leaves free where it was. */
  readonly takes: number
  readonly leaves: number
  readonly cost: number
  readonly home: Place
  moved: boolean
}

/**
 * Its streams continue elsewhere, or it has no requests: those of a program of its own can't be continued. What fails or drains is no
 * business of ours.
 */
const isMovable = (entry: FleetView.ReplicaEntry, spec: ModelSpec): boolean =>
  entry.life === "running" && FleetView.stateOf(entry) === "ready" && (entry.taken === 0 || !spec.external)

const look = (view: FleetView.FleetView): ReadonlyArray<Place> => {
  const places: Array<Place> = []
  for (const { id } of DeviceIndex.inOrder(FleetIndex.indexOf(view), () => true, "share", 0)) {
    const entry = FleetView.device(view, id)
    if (entry === undefined) continue
    const place: Place = { entry, id, free: entry.free, pieces: new Set() }
    for (const id of FleetView.replicasOn(view, place.id)) {
      const replica = FleetView.replica(view, id)
      const spec = replica && FleetView.model(view, replica.status.model)
      if (replica === undefined || spec === undefined || !isMovable(replica, spec)) continue
      place.pieces.add({
        entry: replica,
        spec,
        takes: spec.claim,
        leaves: FleetView.bytesOf(view, replica),
        cost: FleetView.reloadMillisOf(view, replica),
        home: place,
        moved: false
      })
    }
    places.push(place)
    if (places.length >= mostDevices) break
  }
  return places
}

/** Goes on with what has been tried: so many moves are left, and so much was spent. */
type Then = (left: number, spent: number) => void

class Search {
  best: Plan | undefined
  private readonly path: Array<Move> = []
  private readonly movable: ReadonlySet<ReplicaId>
  private steps = 0

  constructor(
    private readonly view: FleetView.FleetView,
    private readonly places: ReadonlyArray<Place>,
    private bound: number,
    private readonly now: number
  ) {
    this.movable = new Set(places.flatMap(({ pieces }) => Array.from(pieces, ({ entry }) => entry.status.replica)))
  }

  /** Whether the model may be on the device, memory aside and beside those that stay there. */
  private readonly allowed = new Map<string, boolean>()
  private isAllowed(spec: ModelSpec, { entry, id }: Place): boolean {
    const key = `${spec.id} ${id}`
    const known = this.allowed.get(key)
    if (known !== undefined) return known
    const { device } = entry.status
    const failure = FleetView.failuresOf(this.view, spec.id).get(id)
    const stays = (replica: ReplicaId | undefined) => replica !== undefined && !this.movable.has(replica)
    const allowed =
      Fit.suits(spec, device) &&
      Fit.isPinnedTo(spec, device) &&
      spec.claim <= device.total &&
      FleetView.loadingOn(this.view, id) === undefined &&
      (failure === undefined || failure.until <= this.now) &&
      !stays(Fit.spreadOver(this.view, spec, entry)) &&
      !Fit.conflicts(this.view, spec, entry).some(stays)
    this.allowed.set(key, allowed)
    return allowed
  }

  /** And beside those that may move and are there now. */
  private suits(spec: ModelSpec, place: Place): boolean {
    if (!this.isAllowed(spec, place)) return false
    for (const { spec: other } of place.pieces) {
      const apart =
        other.id === spec.id
          ? spec.placing.spread
          : other.placing.notBeside.includes(spec.id) || spec.placing.notBeside.includes(other.id)
      if (apart) return false
    }
    return true
  }

  /** Makes `needed` bytes free in the place. */
  private vacate(place: Place, needed: number, left: number, spent: number, then: Then): void {
    if (place.free >= needed) {
      then(left, spent)
      return
    }
    if (left === 0) return
    const leaving = [...place.pieces].filter(({ moved }) => !moved)
    leaving.sort((a, b) => b.leaves - a.leaves || compareIds(a.entry.status.replica, b.entry.status.replica))
    for (const piece of leaving) {
      if (spent + piece.cost >= this.bound) continue
      if (left === 1 && place.free + piece.leaves < needed) break
      if (left === 1 && !this.places.some((to) => to !== place && to.free >= piece.takes)) continue
      for (const to of this.destinations(piece, place, left)) {
        this.vacate(to, piece.takes, left - 1, spent + piece.cost, (left, spent) => {
          if (piece.moved || spent >= this.bound || !this.suits(piece.spec, to)) return
          this.move(piece, place, to)
          this.vacate(place, needed, left, spent, then)
          this.undo(piece, place, to)
        })
      }
    }
  }

  /** Where the piece may go, the best fit first, then where others would have to leave. */
  private destinations(piece: Piece, from: Place, left: number): ReadonlyArray<Place> {
    const { kind } = from.entry.status.device
    this.steps += this.places.length
    if (this.steps > mostSteps) return []
    return this.places
      .filter(
        (to) =>
          to !== from &&
          (to.free >= piece.takes || left > 1) &&
          to.entry.status.device.kind === kind &&
          this.suits(piece.spec, to)
      )
      .sort((a, b) => {
        const [lacksA, lacksB] = [a.free < piece.takes, b.free < piece.takes]
        if (lacksA !== lacksB) return lacksA ? 1 : -1
        return (lacksA ? b.free - a.free : a.free - b.free) || compareIds(a.id, b.id)
      })
  }

  private move(piece: Piece, from: Place, to: Place): void {
    to.free -= piece.takes
    from.free += piece.leaves
    from.pieces.delete(piece)
    to.pieces.add(piece)
    piece.moved = true
    this.path.push({ replica: piece.entry.status.replica, from: from.id, to: to.id })
  }

  private undo(piece: Piece, from: Place, to: Place): void {
    this.path.pop()
    piece.moved = false
    to.pieces.delete(piece)
    from.pieces.add(piece)
    from.free -= piece.leaves
    to.free += piece.takes
  }

  /** Looks for a cheaper plan with so many moves at most. */
  run(spec: ModelSpec, targets: ReadonlyArray<Place>, moves: number): void {
    for (const target of targets) {
      if (!this.isAllowed(spec, target)) continue
      this.vacate(target, spec.claim, moves, 0, (_, cost) => {
        if (!this.suits(spec, target)) return
        this.bound = cost
        this.best = { moves: [...this.path], device: target.id, cost }
      })
    }
  }
}

/**
 * The cheapest moves after which the model fits on a device, if there are some that cost less than `limit` (milliseconds of loading);
 * undefined where memory is short altogether, or a device that it asks for has enough of it and is only not to be had now.
 */
export const plan = (view: FleetView.FleetView, spec: ModelSpec, limit: number, now: number): Plan | undefined => {
  const places = look(view)
  const asked = places.filter(
    ({ entry: { status } }) => Fit.suits(spec, status.device) && Fit.isPinnedTo(spec, status.device)
  )
  const free = places.reduce((sum, { free }) => sum + Math.max(0, free), 0)
  if (free < spec.claim || asked.some(({ free }) => free >= spec.claim)) return undefined
  const targets = [...asked].sort((a, b) => b.free - a.free || compareIds(a.id, b.id))
  const search = new Search(view, places, limit, now)
  for (let moves = 1; moves <= mostMoves; moves++) search.run(spec, targets, moves)
  return search.best
}
