/**
 * How a choice is made among places that all would do. Every policy has one shape: a score per candidate, lower is better, for
 * each of the two questions (which ready replica to use, which device to load on). Ties fall to the lower id, so that a choice
 * is a pure function of the candidates and the cursor.
 *
 * | policy | ready replica | device to load on | assumes |
 * |---|---|---|---|
 * | best-fit | smallest share of slots taken | least memory left afterwards | memory is what runs short: large holes are kept whole for large models. A ready replica's memory is spent already, so there latency decides |
 * | first-fit | the first | the first | packing onto the first devices is wanted, so that the last ones stay empty |
 * | round-robin | the next after the last chosen | the next after the last chosen | requests and replicas are alike |
 * | least-loaded | smallest share of slots taken | smallest share of memory taken | computing is what runs short: work is spread |
 * | affinity | the one that requests of its kind go to, unless it is far busier than the others | least memory left afterwards | what a replica has computed for such requests before (a conversation, a shared beginning) is worth more than evenness |
 */
import type { DeviceId, ReplicaId } from "@helixflow/schema/Ids"
import type { PolicyName } from "@helixflow/schema/Model"
import type { Order } from "./DeviceIndex.ts"
import { hash } from "./FitTree.ts"

/** A ready replica with a free slot. */
export interface UseCandidate {
  readonly id: ReplicaId
  readonly taken: number
  readonly slots: number
}

/** A device that can take the model. */
export interface LoadCandidate {
  readonly id: DeviceId
  /** Bytes free before the load; with evictions, after them. */
  readonly free: number
  readonly total: number
  /** Bytes the load takes. */
  readonly needed: number
}

export interface PolicyState {
  /** The id chosen last, "" at first. */
  readonly cursor: string
  /** What requests have in common that had better go to one replica; null: nothing. */
  readonly affinity?: string | null
  /** Mean share of slots taken of the candidates. */
  readonly meanTaken?: number
}

type Score<Candidate> = (candidate: Candidate, state: PolicyState) => number

export interface Policy {
  readonly use: Score<UseCandidate>
  /** The order of devices in which scores for loading never fall: the first that suits is the best. */
  readonly order: Order
  readonly load: Score<LoadCandidate>
}

export interface Choice<Candidate> {
  readonly candidate: Candidate
  readonly score: number
}

const isDigit = (code: number): boolean => code >= 48 && code <= 57

/** Where the digits end that begin there. */
const endOfDigits = (text: string, from: number): number => {
  let at = from
  while (at < text.length && isDigit(text.charCodeAt(at))) at += 1
  return at
}

/** The order of ids as people read them: `cpu:2` before `cpu:10`. The same as that of `sortKey`, without making any. */
export const compareIds = (a: string, b: string): number => {
  let [inA, inB] = [0, 0]
  while (inA < a.length && inB < b.length) {
    const [codeA, codeB] = [a.charCodeAt(inA), b.charCodeAt(inB)]
    if (isDigit(codeA) && isDigit(codeB)) {
      const [endA, endB] = [endOfDigits(a, inA), endOfDigits(b, inB)]
      const difference = Number(a.slice(inA, endA)) - Number(b.slice(inB, endB))
      if (difference !== 0) return difference
      inA = endA
      inB = endB
    } else if (codeA === codeB) {
      inA += 1
      inB += 1
    } else {
      return codeA - codeB
    }
  }
  return a.length - inA - (b.length - inB) || (a < b ? -1 : a > b ? 1 : 0)
}

const slotsTaken: Score<UseCandidate> = ({ taken, slots }) => taken / slots
const afterCursor: Score<{ readonly id: string }> = ({ id }, { cursor }) => (compareIds(id, cursor) > 0 ? 0 : 1)

/** How far above the mean the share of slots taken of a replica may be for requests still to be drawn to it. */
const loadGuard = 0.25

/** Whether a replica is not so much busier than the others that its requests had better go elsewhere. */
export const mayKeep = ({ slots, taken }: Omit<UseCandidate, "id">, meanTaken: number): boolean =>
  taken / slots <= meanTaken + loadGuard

/**
 * Multi-probe consistent hashing (Appleton and O'Reilly, arXiv 1505.00062): every replica is a point on a ring, every key several, and a
 * key belongs to the replica that is the nearest behind one of its points. When a replica comes or goes only its share of the keys moves.
 * With so many points to a key, no replica's share is more than a few hundredths above the mean.
 */
const probes = 21

const circumference = 2 ** 32

/** Where a replica is on the ring. */
export const pointOf = (id: ReplicaId): number => hash(id)

/** Where a key is. */
export const probesOf = (key: string): ReadonlyArray<number> =>
  Array.from({ length: probes }, (_, index) => hash(`${index}\n${key}`))

/** How far behind the probe the point is, as a share of the ring. */
export const distanceOn = (probe: number, point: number): number => ((point - probe) >>> 0) / circumference

const drawn: Score<UseCandidate> = (candidate, { affinity, meanTaken = 0 }) => {
  const taken = slotsTaken(candidate, { cursor: "" })
  if (affinity == null) return taken
  if (!mayKeep(candidate, meanTaken)) return 1 + taken
  const point = pointOf(candidate.id)
  return Math.min(...probesOf(affinity).map((probe) => distanceOn(probe, point)))
}

export const policies: Record<PolicyName, Policy> = {
  "best-fit": { use: slotsTaken, order: "free", load: ({ free, needed }) => free - needed },
  "first-fit": { use: () => 0, order: "id", load: () => 0 },
  "round-robin": { use: afterCursor, order: "id", load: afterCursor },
  "least-loaded": { use: slotsTaken, order: "share", load: ({ free, total }) => 1 - free / total },
  affinity: { use: drawn, order: "free", load: ({ free, needed }) => free - needed }
}

/** The candidate of the lowest score; undefined when there is none. */
export const choose = <Candidate extends { readonly id: string }>(
  candidates: ReadonlyArray<Candidate>,
  score: Score<Candidate>,
  state: PolicyState
): Choice<Candidate> | undefined => {
  let best: Choice<Candidate> | undefined
  for (const candidate of candidates) {
    const scored = score(candidate, state)
    const better =
      best === undefined ||
      scored < best.score ||
      (scored === best.score && compareIds(candidate.id, best.candidate.id) < 0)
    if (better) best = { candidate, score: scored }
  }
  return best
}
