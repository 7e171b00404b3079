/**
 * Fair shares of one model among the tenants that wait for it: virtual token counters (Sheng et al. 2024, "Fairness in Serving Large
 * Language Models", arXiv 2401.00588). A tenant's counter is what it was served, in weighted tokens over its weight; the one with the
 * lowest counter is next.
 *
 * Two things differ from the paper's algorithm. Tokens never pass the scheduler, so a grant is charged with what the tenant's requests
 * usually cost, and corrected when it ends (the paper's variant with length prediction). And counters are per model: slots of
 * different models are different goods.
 *
 * Invariants, checked by property tests:
 * - who was idle gains no more credit by it than one request: on arrival its counter is lifted to that much below the lowest of those
 *   that wait, or if none does, that of the last one served. (Without it, half of those who come would go behind a request of who floods,
 *   whose counter goes up and down as its estimates are corrected.)
 * - between two tenants that wait all the while, what they were served (over their weights) never differs by more than what the
 *   slots of the model hold at once and one request.
 */
import type { Caller, Served, ServiceTier } from "@helixflow/schema/Caller"
import { HashMap, Option } from "effect"

/** Weights of the paper: a generated token costs about twice a computed one of the prompt. */
const inputWeight = 1
const outputWeight = 2

/** What a request costs before any has ended. */
const unknownCost = 256

/** How much the latest request says of a tenant's next. */
const recency = 0.2

/** Most tenants that are remembered per model. Of those that do not wait, the lowest counters are forgotten: a lift brings them back. */
const mostAccounts = 4096

interface Account {
  readonly counter: number
  /** Exponentially weighted mean of what its requests cost; null before the first has ended. */
  readonly usual: number | null
  /** When a request of each tier was served last, milliseconds since the epoch. */
  readonly servedAt: { readonly [Tier in ServiceTier]?: number }
}

export interface FairShare {
  /** The counter of the tenant that was served last. */
  readonly last: number
  /** As `Account.usual`, over all tenants. */
  readonly usual: number
  readonly accounts: HashMap.HashMap<string, Account>
}

export const empty: FairShare = { last: 0, usual: unknownCost, accounts: HashMap.empty() }

const newcomer: Account = { counter: 0, usual: null, servedAt: {} }

const accountOf = (share: FairShare, tenant: string): Account =>
  Option.getOrElse(HashMap.get(share.accounts, tenant), () => newcomer)

export const counter = (share: FairShare, tenant: string): number => accountOf(share, tenant).counter

/** What a request of the tenant probably costs, in weighted tokens. */
export const estimate = (share: FairShare, tenant: string): number => accountOf(share, tenant).usual ?? share.usual

/** When the tenant was served last in any tier; 0 for never. */
export const lastServedAt = (share: FairShare, tenant: string): number =>
  Math.max(0, ...Object.values(accountOf(share, tenant).servedAt))

/** When the tenant was served last in this tier; 0 for never. */
export const servedAt = (share: FairShare, { tenant, tier }: Caller): number =>
  accountOf(share, tenant).servedAt[tier] ?? 0

export const costOf = ({ input, output }: Served): number => inputWeight * input + outputWeight * output

const setAccount = (share: FairShare, tenant: string, account: Account): FairShare => ({
  ...share,
  accounts: HashMap.set(share.accounts, tenant, account)
})

/** A tenant of whom nobody waited now has somebody waiting beside `others`, those that waited before. */
export const lift = (share: FairShare, { tenant, weight }: Caller, others: Iterable<string>): FairShare => {
  let floor = Number.POSITIVE_INFINITY
  const waiting = new Set(others)
  for (const other of waiting) floor = Math.min(floor, counter(share, other))
  if (floor === Number.POSITIVE_INFINITY) floor = share.last
  const account = accountOf(share, tenant)
  const credit = estimate(share, tenant) / weight
  const lifted = setAccount(share, tenant, { ...account, counter: Math.max(account.counter, floor - credit) })
  return HashMap.size(lifted.accounts) > mostAccounts ? forgetLowest(lifted, waiting.add(tenant)) : lifted
}

/** A tenth of the accounts, so that it is seldom done. */
const forgetLowest = (share: FairShare, waiting: ReadonlySet<string>): FairShare => {
  const idle = [...share.accounts]
    .filter(([tenant]) => !waiting.has(tenant))
    .sort(([, a], [, b]) => a.counter - b.counter)
  const forgotten = idle.slice(0, Math.ceil(mostAccounts / 10)).map(([tenant]) => tenant)
  return { ...share, accounts: HashMap.removeMany(share.accounts, forgotten) }
}

/** A request of the tenant is served: it counts with what it probably costs. */
export const charge = (share: FairShare, { tenant, tier, weight }: Caller, cost: number, now: number): FairShare => {
  const account = accountOf(share, tenant)
  const servedAt = { ...account.servedAt, [tier]: now }
  const charged = { ...account, counter: account.counter + cost / weight, servedAt }
  return { ...setAccount(share, tenant, charged), last: charged.counter }
}

/** A request that was charged with `charged` has ended, and has cost `actual` really. */
export const settle = (share: FairShare, { tenant, weight }: Caller, charged: number, actual: number): FairShare => {
  const account = accountOf(share, tenant)
  const blend = (before: number) => before + recency * (actual - before)
  const settled = setAccount(share, tenant, {
    ...account,
    counter: Math.max(0, account.counter + (actual - charged) / weight),
    usual: account.usual === null ? actual : blend(account.usual)
  })
  return { ...settled, usual: blend(share.usual) }
}

/** The charge is taken back: the request was not served after all. */
export const refund = (share: FairShare, { tenant, weight }: Caller, charged: number): FairShare => {
  const account = accountOf(share, tenant)
  return setAccount(share, tenant, { ...account, counter: Math.max(0, account.counter - charged / weight) })
}
