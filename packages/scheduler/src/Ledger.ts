/**
 * The exact memory ledger of one device: who holds how many bytes, in which state, until when.
 *
 * Claims form a forest. A claim without `within` takes from the device; a claim within another takes from the `shareable` bytes
 * (a replica's KV cache) that the other has paid for already, so that it never counts twice:
 *
 *     device total 100 ─┬─ replica A  60 (shareable 40) ─┬─ request 1  20
 *                       │                                └─ request 2  10
 *                       └─ free       40
 *
 * What a process really takes can be more than its claim, and strangers take memory too. Both are read from the device and told with
 * `observe`. With `charge` = max(claimed, observed) of a claim without `within`, and `pending` what it may still take of it:
 *
 *     free = min(total - sum of charges, device's own free - sum of pending)
 *
 * Either term grows by a claim's charge when the claim is released and its process gone, so what making room yields is exact.
 *
 * Invariants, held by every transition and checked by property tests:
 * - `free` - `deficit` is the formula's value, and one of them is 0;
 * - nothing is claimed from the device beyond `free`;
 * - what is claimed within a claim never exceeds its `shareable`, and that never its `bytes`;
 * - a claim lives no longer than the one it is within;
 * - a claim whose `expiresAt` has come counts no more, whether or not `expire` was called.
 *
 * The ledger is a persistent value (structure is shared, nothing is ever written to), so a transition costs O(log claims) and
 * any earlier ledger stays valid. Time is an argument: milliseconds since the epoch.
 */
import { Claim, type ClaimState, type Device, type DeviceReading, DeviceStatus } from "@helixflow/schema/Device"
import { OutOfMemory, ReservationConflict, ReservationNotFound } from "@helixflow/schema/Errors"
import { Bytes, Millis, type ReservationId } from "@helixflow/schema/Ids"
import { HashMap, HashSet, Option } from "effect"

interface Entry {
  readonly claim: Claim
  /** Bytes of `claim.shareable` that claims within this one have taken. */
  readonly shared: number
  readonly children: HashSet.HashSet<ReservationId>
}

export interface Ledger {
  readonly device: Device
  /** Bytes that may be claimed. */
  readonly free: Bytes
  /** Bytes that are missing for what is claimed already. */
  readonly deficit: Bytes
  /** Sum over the claims without `within` of what each is charged, and of what each may still take. */
  readonly charged: number
  readonly pending: number
  /** Bytes free by the device's own word; `Infinity` as long as it was not read. */
  readonly reported: number
  /** Grows with every change. */
  readonly version: number
  /** No claim expires before this instant; `Infinity` when none expires. A lower bound, exact after `expire`. */
  readonly nextExpiry: number
  readonly entries: HashMap.HashMap<ReservationId, Entry>
}

/** What is asked of `reserve`: the figures of a claim. The same figures under the same id are the same claim. */
export interface ClaimRequest {
  readonly reservation: ReservationId
  readonly owner: string
  readonly bytes: Bytes
  /** The part of `bytes` that later claims may take a share of; more than `bytes` counts as `bytes`. */
  readonly shareable: Bytes
  readonly within: ReservationId | null
  readonly ttlMillis: number
}

export interface Ok {
  readonly _tag: "Ok"
  readonly ledger: Ledger
}

export type Reserved = Ok | OutOfMemory | ReservationNotFound | ReservationConflict
export type Committed = Ok | ReservationNotFound

const ok = (ledger: Ledger): Ok => ({ _tag: "Ok", ledger })

/** The figures come from claims that were validated when they were decoded; computing with them keeps them whole and >= 0. */
const bytes = (value: number): Bytes => Bytes.make(value, { disableValidation: true })

const chargeOf = (claim: Claim): number => (claim.within === null ? Math.max(claim.bytes, claim.observed) : 0)
const pendingOf = (claim: Claim): number => (claim.within === null ? Math.max(0, claim.bytes - claim.observed) : 0)

/** The bytes that come back to the device when the claim is released and its process gone. */
export const charge = chargeOf

/** A ledger whose charges have changed by the difference between two versions of a claim (undefined: it is not there). */
const recharged = (ledger: Ledger, before: Claim | undefined, after: Claim | undefined): Ledger => {
  const charged = ledger.charged - (before ? chargeOf(before) : 0) + (after ? chargeOf(after) : 0)
  const pending = ledger.pending - (before ? pendingOf(before) : 0) + (after ? pendingOf(after) : 0)
  return weighed({ ...ledger, charged, pending })
}

const weighed = (ledger: Ledger): Ledger => {
  const left = Math.min(ledger.device.total - ledger.charged, ledger.reported - ledger.pending)
  return { ...ledger, free: bytes(Math.max(0, left)), deficit: bytes(Math.max(0, -left)) }
}

/** A device that nothing is claimed on. An actor that starts again passes a `version` above any it has told before. */
export const empty = (device: Device, version = 0): Ledger => ({
  device,
  free: device.total,
  deficit: bytes(0),
  charged: 0,
  pending: 0,
  reported: Number.POSITIVE_INFINITY,
  version,
  nextExpiry: Number.POSITIVE_INFINITY,
  entries: HashMap.empty()
})

const entryOf = (ledger: Ledger, reservation: ReservationId): Entry | undefined =>
  Option.getOrUndefined(HashMap.get(ledger.entries, reservation))

/** The claim as it is in the ledger. */
export const claim = (ledger: Ledger, reservation: ReservationId): Claim | undefined =>
  entryOf(ledger, reservation)?.claim

/** Every claim, in no particular order. */
export const claims = (ledger: Ledger): ReadonlyArray<Claim> =>
  Array.from(HashMap.values(ledger.entries), (entry) => entry.claim)

/** Bytes that a claim within `reservation` could still take. */
export const shareLeft = (ledger: Ledger, reservation: ReservationId): Bytes | undefined => {
  const entry = entryOf(ledger, reservation)
  return entry === undefined ? undefined : bytes(entry.claim.shareable - entry.shared)
}

/** What the device's actor says of itself. */
export const status = (ledger: Ledger, reading: DeviceReading | null = null): DeviceStatus =>
  new DeviceStatus(
    {
      device: ledger.device,
      free: ledger.free,
      deficit: ledger.deficit,
      claims: claims(ledger),
      reading,
      version: ledger.version
    },
    { disableValidation: true }
  )

/** What was read from a device. */
export interface Observation {
  /** Bytes free by the device's own word, strangers' memory counted; null where it does not say. */
  readonly free: number | null
  /** What the processes of claims take. A claim that is not named keeps what was observed before. */
  readonly observed: ReadonlyMap<ReservationId, number>
}

/** Takes over what was read. Always another version, so that whoever watches hears of it. */
export const observe = (ledger: Ledger, { free, observed }: Observation): Ledger => {
  let current: Ledger = { ...ledger, version: ledger.version + 1, reported: free ?? Number.POSITIVE_INFINITY }
  for (const [reservation, taken] of observed) {
    const entry = entryOf(current, reservation)
    if (entry === undefined || entry.claim.observed === taken) continue
    const seen = new Claim({ ...entry.claim, observed: bytes(taken) }, { disableValidation: true })
    const entries = HashMap.set(current.entries, reservation, { ...entry, claim: seen })
    current = recharged({ ...current, entries }, entry.claim, seen)
  }
  return weighed(current)
}

const sameFigures = (held: Claim, asked: ClaimRequest): boolean =>
  held.owner === asked.owner &&
  held.bytes === asked.bytes &&
  held.shareable === Math.min(asked.shareable, asked.bytes) &&
  held.within === asked.within

/**
 * Promises memory until `now + ttlMillis`. Asked again with the same figures it succeeds and changes nothing, however far the
 * claim has come since; with other figures it is a `ReservationConflict`. `OutOfMemory.free` is what is left of the device, or
 * of the shareable bytes of the claim it asks to be within.
 */
export const reserve = (ledger: Ledger, request: ClaimRequest, now: number): Reserved => {
  const current = expire(ledger, now)
  const held = claim(current, request.reservation)
  if (held !== undefined) {
    return sameFigures(held, request) ? ok(current) : new ReservationConflict({ reservation: request.reservation })
  }
  const parent = request.within === null ? undefined : entryOf(current, request.within)
  if (request.within !== null && parent === undefined) {
    return new ReservationNotFound({ reservation: request.within })
  }
  const available = parent === undefined ? current.free : parent.claim.shareable - parent.shared
  if (request.bytes > available) {
    return new OutOfMemory({ device: current.device.id, needed: request.bytes, free: bytes(available) })
  }
  const expiresAt = now + request.ttlMillis
  const made = new Claim(
    {
      reservation: request.reservation,
      owner: request.owner,
      bytes: request.bytes,
      shareable: bytes(Math.min(request.shareable, request.bytes)),
      observed: bytes(0),
      within: request.within,
      state: "reserved",
      expiresAt: Millis.make(expiresAt)
    },
    { disableValidation: true }
  )
  let entries = HashMap.set(current.entries, made.reservation, { claim: made, shared: 0, children: HashSet.empty() })
  if (parent !== undefined) {
    entries = HashMap.set(entries, parent.claim.reservation, {
      claim: parent.claim,
      shared: parent.shared + made.bytes,
      children: HashSet.add(parent.children, made.reservation)
    })
  }
  const version = current.version + 1
  const nextExpiry = Math.min(current.nextExpiry, expiresAt)
  return ok(recharged({ ...current, version, nextExpiry, entries }, undefined, made))
}

const age: Record<ClaimState, number> = { reserved: 0, loading: 1, resident: 2, draining: 3 }

/**
 * Moves a claim forward in its life and sets when it expires: `ttlMillis` from now, or never when null. The state it has
 * already only renews the expiry; an earlier state is a message that came late, and changes nothing.
 */
export const commit = (
  ledger: Ledger,
  step: {
    readonly reservation: ReservationId
    readonly state: Exclude<ClaimState, "reserved">
    readonly ttlMillis: number | null
  },
  now: number
): Committed => {
  const current = expire(ledger, now)
  const entry = entryOf(current, step.reservation)
  if (entry === undefined) return new ReservationNotFound({ reservation: step.reservation })
  const expiresAt = step.ttlMillis === null ? null : now + step.ttlMillis
  const unchanged = entry.claim.state === step.state && entry.claim.expiresAt === expiresAt
  if (unchanged || age[step.state] < age[entry.claim.state]) return ok(current)
  const moved = new Claim(
    { ...entry.claim, state: step.state, expiresAt: expiresAt === null ? null : Millis.make(expiresAt) },
    { disableValidation: true }
  )
  return ok({
    ...current,
    version: current.version + 1,
    nextExpiry: expiresAt === null ? current.nextExpiry : Math.min(current.nextExpiry, expiresAt),
    entries: HashMap.set(current.entries, step.reservation, { ...entry, claim: moved })
  })
}

/** The entries without `entry` and everything within it. */
const withoutSubtree = (entries: Ledger["entries"], entry: Entry): Ledger["entries"] => {
  let rest = HashMap.remove(entries, entry.claim.reservation)
  for (const id of entry.children) {
    const child = HashMap.get(rest, id)
    if (Option.isSome(child)) rest = withoutSubtree(rest, child.value)
  }
  return rest
}

const drop = (ledger: Ledger, entry: Entry): Ledger => {
  let entries = withoutSubtree(ledger.entries, entry)
  const parent = entry.claim.within === null ? undefined : entryOf(ledger, entry.claim.within)
  if (parent !== undefined) {
    entries = HashMap.set(entries, parent.claim.reservation, {
      claim: parent.claim,
      shared: parent.shared - entry.claim.bytes,
      children: HashSet.remove(parent.children, entry.claim.reservation)
    })
  }
  return recharged({ ...ledger, version: ledger.version + 1, entries }, entry.claim, undefined)
}

/** Frees a claim and all claims within it. What is gone already stays gone: the ledger is returned as it is. */
export const release = (ledger: Ledger, reservation: ReservationId): Ledger => {
  const entry = entryOf(ledger, reservation)
  return entry === undefined ? ledger : drop(ledger, entry)
}

/**
 * Drops every claim whose `expiresAt` is `now` or earlier, and the claims within it. O(1) while nothing is due; a scan of the
 * claims otherwise, which at most happens once per time to live because the bound is exact afterwards.
 */
export const expire = (ledger: Ledger, now: number): Ledger => {
  if (now < ledger.nextExpiry) return ledger
  let current = ledger
  for (const { claim: due } of HashMap.values(ledger.entries)) {
    if (due.expiresAt !== null && due.expiresAt <= now) current = release(current, due.reservation)
  }
  let nextExpiry = Number.POSITIVE_INFINITY
  for (const entry of HashMap.values(current.entries)) {
    if (entry.claim.expiresAt !== null) nextExpiry = Math.min(nextExpiry, entry.claim.expiresAt)
  }
  return { ...current, nextExpiry }
}
