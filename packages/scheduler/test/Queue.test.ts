import { describe, expect, it } from "@effect/vitest"
import { anonymous, type ServiceTier } from "@helixflow/schema/Caller"
import { ModelId, ReplicaId } from "@helixflow/schema/Ids"
import * as FastCheck from "effect/FastCheck"
import * as FairShare from "../src/FairShare.ts"
import * as Queue from "../src/Queue.ts"
import * as Serving from "../src/Serving.ts"
import { request } from "./fixtures.ts"

const waiting = (
  ticket: number,
  model = "a",
  deadline = 100,
  caller: { readonly tenant?: string; readonly tier?: ServiceTier; readonly weight?: number } = {}
): Queue.Waiting => ({
  ticket,
  request: request(ticket),
  model: ModelId.make(model),
  caller: { ...anonymous, ...caller },
  not: [],
  since: 0,
  deadline
})

/** A queue where nothing but the lane's limit matters. */
const empty = (limit: number, more: Partial<Queue.QueueLimits> = {}) =>
  Queue.empty({ limit, tenantLimit: 1000, aging: 1000, ...more })

const offered = (queue: Queue.Queue, ...all: ReadonlyArray<Queue.Waiting>): Queue.Queue =>
  all.reduce((current, one) => {
    const result = Queue.offer(current, one, 0)
    if (result._tag === "Full") throw new Error("the lane is full")
    return result.queue
  }, queue)

const tickets = (all: ReadonlyArray<Queue.Waiting>) => all.map(({ ticket }) => ticket)

/** Serves whoever `may` be served, at most `slots` in all; gives the order. */
const serveSome = (queue: Queue.Queue, slots: number, may: (one: Queue.Waiting) => boolean = () => true, now = 0) =>
  Serving.serve<ReadonlyArray<number>>(queue, [], now, (served, one) =>
    served.length < slots && may(one)
      ? { outcome: "served", state: [...served, one.ticket] }
      : { outcome: one.not.length > 0 ? "passed" : "blocked", state: served }
  )

describe("a lane", () => {
  it("is first in, first out, and says the position", () => {
    const queue = offered(empty(4), waiting(1), waiting(2))
    expect(Queue.offer(queue, waiting(3), 0)).toMatchObject({ _tag: "Queued", position: 2 })
    expect(serveSome(queue, 9).state).toEqual([1, 2])
  })

  it("takes no more than its limit, whatever the others hold", () => {
    const queue = offered(empty(2), waiting(1), waiting(2))
    expect(Queue.offer(queue, waiting(3), 0)).toEqual({ _tag: "Full", limit: 2, of: "model" })
    expect(Queue.offer(queue, waiting(3, "b"), 0)._tag).toBe("Queued")
  })

  it("gives one who returns the old place", () => {
    const queue = offered(empty(4), waiting(1), waiting(3), waiting(4))
    expect(Queue.offer(queue, waiting(2), 0)).toMatchObject({ position: 1 })
    expect(tickets(Queue.all(offered(queue, waiting(2))))).toEqual([1, 2, 3, 4])
  })

  it("is left by who is removed, once", () => {
    const queue = Queue.remove(offered(empty(4), waiting(1), waiting(2)), ModelId.make("a"), 1)
    expect(tickets(Queue.all(queue))).toEqual([2])
    expect(Queue.remove(queue, ModelId.make("a"), 1)).toBe(queue)
  })

  it("lets nobody pass one who cannot be served, unless that one excludes replicas", () => {
    const picky = { ...waiting(1), not: [ReplicaId.make("local/cpu:0/a#0")] }
    const servable = ({ ticket }: Queue.Waiting) => ticket !== 1
    expect(serveSome(offered(empty(4), waiting(1), waiting(2)), 9, servable).state).toEqual([])
    expect(serveSome(offered(empty(4), picky, waiting(2)), 9, servable).state).toEqual([2])
  })
})

describe("tenants", () => {
  const of = (ticket: number, tenant: string, more: { tier?: ServiceTier; weight?: number } = {}) =>
    waiting(ticket, "a", 100, { tenant, ...more })

  it("share a model, however many requests one of them sends", () => {
    const queue = offered(empty(9), of(1, "flood"), of(2, "flood"), of(3, "flood"), of(4, "one"), of(5, "two"))
    expect(serveSome(queue, 9).state).toEqual([1, 4, 5, 2, 3])
  })

  it("have as much more of it as their weight says", () => {
    const many = Array.from({ length: 12 }, (_, ticket) =>
      ticket < 6 ? of(ticket, "heavy", { weight: 2 }) : of(ticket, "light")
    )
    const { state } = serveSome(offered(empty(20), ...many), 9)
    expect(state.filter((ticket) => ticket < 6)).toHaveLength(6)
  })

  it("are charged what their requests cost, not how many they are", () => {
    const first = [of(1, "long"), of(2, "short"), of(3, "long"), of(4, "short"), of(5, "short"), of(6, "short")]
    let { queue } = serveSome(offered(empty(9), ...first), 2)
    const { model } = of(1, "long")
    queue = Queue.settle(queue, model, of(1, "long").caller, 256, 4000)
    queue = Queue.settle(queue, model, of(2, "short").caller, 256, 10)
    expect(serveSome(queue, 9).state).toEqual([4, 5, 6, 3])
  })

  it("gain no more credit by being idle than one request", () => {
    let queue = offered(empty(9), of(1, "busy"), of(2, "busy"), of(3, "busy"), of(4, "busy"))
    queue = serveSome(queue, 2).queue
    queue = offered(queue, of(5, "new"), of(6, "new"), of(7, "new"))
    expect(serveSome(queue, 9).state).toEqual([5, 3, 6, 4, 7])
  })

  it("get back what they were charged for a place that they did not use", () => {
    const { model, caller } = of(1, "one")
    const before = offered(empty(9), of(1, "one"), of(2, "two"))
    const { charged, queue } = Queue.charge(before, { model, caller }, 0)
    const after = Queue.settle(queue, model, caller, charged, null)
    expect(serveSome(queue, 9).state).toEqual([2, 1])
    expect(serveSome(after, 9).state).toEqual([1, 2])
  })

  it("hold no more of the queue than their own limit", () => {
    const queue = offered(empty(9, { tenantLimit: 2 }), of(1, "one"), waiting(2, "b", 100, { tenant: "one" }))
    expect(Queue.offer(queue, of(3, "one"), 0)).toEqual({ _tag: "Full", limit: 2, of: "tenant" })
    expect(Queue.offer(queue, of(3, "two"), 0)._tag).toBe("Queued")
    expect(Queue.offer(Queue.remove(queue, ModelId.make("b"), 2), of(3, "one"), 0)._tag).toBe("Queued")
  })

  it("find room in a full lane where another has more: its newest request leaves", () => {
    const queue = offered(empty(4), of(1, "flood"), of(2, "flood"), of(3, "flood"), of(4, "one"))
    expect(Queue.offer(queue, of(5, "flood"), 0)._tag).toBe("Full")
    const joined = Queue.offer(queue, of(5, "two"), 0)
    expect(joined).toMatchObject({ _tag: "Queued", displaced: { ticket: 3 } })
    if (joined._tag === "Queued") {
      expect(tickets(Queue.all(joined.queue))).toEqual([1, 2, 4, 5])
      // now nobody has more than one above the others
      expect(Queue.offer(joined.queue, of(6, "three"), 0)).toMatchObject({ displaced: { ticket: 2 } })
      expect(Queue.offer(joined.queue, of(6, "two"), 0)._tag).toBe("Full")
    }
  })

  it("are told the place in the order of service, not of arrival", () => {
    const queue = offered(empty(9), of(1, "flood"), of(2, "flood"), of(3, "flood"), of(4, "one"))
    expect([1, 2, 3, 4].map((ticket) => Queue.position(queue, of(ticket, ticket < 4 ? "flood" : "one"), 0))).toEqual([
      0, 2, 3, 1
    ])
  })
})

describe("who was preempted", () => {
  const past = (tenant: string): Queue.Past => ({
    model: ModelId.make("a"),
    caller: { ...anonymous, tenant },
    times: 1,
    heldMillis: 10,
    charged: 300,
    cost: 100,
    at: 0
  })
  const of = (ticket: number, tenant: string) => waiting(ticket, "a", 100, { tenant })
  const again = (ticket: number, tenant: string) => ({ ...of(ticket, tenant), past: past(tenant) })

  it("goes before others of its tenant, not before other tenants, and is charged no more", () => {
    let queue = offered(empty(9), of(1, "one"), of(2, "two"))
    queue = Queue.restore(queue, again(3, "one"))
    expect(serveSome(queue, 3, () => true, 1).state).toEqual([3, 2, 1])
    const before = FairShare.counter(Queue.share(queue, ModelId.make("a")), "one")
    expect(FairShare.counter(Queue.share(serveSome(queue, 1).queue, ModelId.make("a")), "one")).toBe(before)
  })

  it("is not displaced from a full lane", () => {
    const full = offered(empty(3), of(1, "one"), of(2, "two"))
    const queue = Queue.restore(Queue.restore(full, again(3, "one")), again(4, "one"))
    expect(Queue.offer(queue, of(5, "three"), 0)).toMatchObject({ _tag: "Queued", displaced: { ticket: 1 } })
    const begun = [3, 4, 5].reduce((all, ticket) => Queue.restore(all, again(ticket, "one")), empty(3))
    expect(Queue.offer(begun, of(6, "three"), 0)._tag).toBe("Full")
  })

  it("is passed by whom its place was given up for", () => {
    const queue = Queue.restore(offered(empty(9), of(1, "two"), of(2, "three")), again(3, "one"))
    const promised = Queue.promise(queue, ModelId.make("a"), new Set([2]))
    expect(serveSome(promised, 1).state).toEqual([2])
  })
})

describe("service tiers", () => {
  const of = (ticket: number, tier: ServiceTier, tenant = "one") => waiting(ticket, "a", 1e9, { tier, tenant })

  it("go before each other, whoever's they are", () => {
    const queue = offered(empty(9), of(1, "flex"), of(2, "default"), of(3, "priority", "two"), of(4, "default"))
    expect(serveSome(queue, 9).state).toEqual([3, 2, 4, 1])
  })

  it("are left behind by waiting", () => {
    let queue = offered(empty(9, { aging: 50 }), of(1, "flex"))
    for (let ticket = 2; ticket < 5; ticket++) {
      queue = offered(queue, { ...of(ticket, "priority"), since: 90 + ticket })
    }
    expect(serveSome(queue, 1, () => true, 99).state).toEqual([2])
    expect(serveSome(queue, 1, () => true, 100).state).toEqual([1])
  })
})

describe("deadlines", () => {
  it("end a wait at their instant and not a millisecond earlier", () => {
    const queue = offered(empty(4), waiting(1, "a", 50), waiting(2, "b", 60))
    expect(Queue.expire(queue, 49)).toEqual({ queue, expired: [] })
    const { expired, queue: left } = Queue.expire(queue, 50)
    expect(tickets(expired)).toEqual([1])
    expect(left).toMatchObject({ size: 1, nextDeadline: 60, turns: ["b"] })
  })
})

describe("turns", () => {
  it("go round the models", () => {
    const queue = offered(empty(9), waiting(1), waiting(2), waiting(3), waiting(4, "b"), waiting(5, "c"))
    expect(serveSome(queue, 9).state).toEqual([1, 4, 5, 2, 3])
  })

  it("go on where they were", () => {
    const queue = offered(empty(9), waiting(1), waiting(2), waiting(3, "b"))
    const first = serveSome(queue, 1)
    expect(first.state).toEqual([1])
    expect(serveSome(first.queue, 1).state).toEqual([3])
  })
})

const operation = FastCheck.oneof(
  FastCheck.record({
    op: FastCheck.constant("offer" as const),
    model: FastCheck.constantFrom("a", "b", "c"),
    tenant: FastCheck.constantFrom("one", "two", "three"),
    tier: FastCheck.constantFrom<ServiceTier>("priority", "default", "flex"),
    weight: FastCheck.constantFrom(0.5, 1, 4),
    wait: FastCheck.integer({ min: 1, max: 40 })
  }),
  FastCheck.record({
    op: FastCheck.constant("remove" as const),
    model: FastCheck.constantFrom("a", "b", "c"),
    ticket: FastCheck.nat(40)
  }),
  FastCheck.record({
    op: FastCheck.constant("serve" as const),
    slots: FastCheck.integer({ min: 1, max: 4 }),
    models: FastCheck.subarray(["a", "b", "c"])
  }),
  FastCheck.record({ op: FastCheck.constant("wait" as const), millis: FastCheck.integer({ min: 0, max: 15 }) })
)

describe("under any sequence of operations", () => {
  it("nobody is lost, served twice, served late or out of order; no lane is over its limit; no model starves", () => {
    const limit = 3
    FastCheck.assert(
      FastCheck.property(FastCheck.array(operation, { maxLength: 80, size: "max" }), (operations) => {
        let queue = empty(limit, { tenantLimit: 4, aging: 10 })
        let now = 0
        let ticket = 0
        const inside = new Map<number, Queue.Waiting>()
        const leave = (ticket: number) => {
          expect(inside.delete(ticket)).toBe(true)
        }
        for (const operation of operations) {
          switch (operation.op) {
            case "offer": {
              const one = { ...waiting(ticket++, operation.model, now + operation.wait, operation), since: now }
              const result = Queue.offer(queue, one, now)
              const before = [...inside.values()].filter(({ model }) => model === one.model)
              const own = [...inside.values()].filter(({ caller }) => caller.tenant === operation.tenant)
              if (own.length >= 4) expect(result).toMatchObject({ _tag: "Full", of: "tenant" })
              else if (before.length < limit) expect(result).toMatchObject({ _tag: "Queued", displaced: undefined })
              else expect(result._tag === "Full" || result.displaced !== undefined).toBe(true)
              if (result._tag === "Full") break
              expect(result.position).toBeLessThanOrEqual(before.length)
              if (result.displaced !== undefined) {
                const has = (tenant: string) => before.filter(({ caller }) => caller.tenant === tenant).length
                expect(has(result.displaced.caller.tenant)).toBeGreaterThan(has(operation.tenant) + 1)
                leave(result.displaced.ticket)
              }
              queue = result.queue
              inside.set(one.ticket, one)
              break
            }
            case "remove": {
              const one = inside.get(operation.ticket)
              queue = Queue.remove(queue, ModelId.make(operation.model), operation.ticket)
              if (one?.model === operation.model) leave(operation.ticket)
              break
            }
            case "wait": {
              now += operation.millis
              const expired = Queue.expire(queue, now)
              queue = expired.queue
              for (const one of expired.expired) {
                expect(one.deadline).toBeLessThanOrEqual(now)
                leave(one.ticket)
              }
              break
            }
            case "serve": {
              const may = new Set<string>(operation.models)
              const ready = new Set([...inside.values()].map(({ model }) => model).filter((model) => may.has(model)))
              const { queue: after, state } = serveSome(queue, operation.slots, ({ model }) => may.has(model), now)
              const counts = new Map<string, number>()
              for (const served of state) {
                const one = inside.get(served)
                expect(one?.deadline).toBeGreaterThan(now)
                const first = [...inside.values()].find(
                  ({ caller, model }) =>
                    model === one?.model && caller.tenant === one.caller.tenant && caller.tier === one.caller.tier
                )
                expect(first?.ticket).toBe(served)
                counts.set(one?.model ?? "", (counts.get(one?.model ?? "") ?? 0) + 1)
                leave(served)
              }
              // whoever is served twice was preceded by one of each model that could be served
              if ([...counts.values()].some((count) => count > 1)) {
                for (const model of ready) expect(counts.get(model) ?? 0).toBeGreaterThan(0)
              }
              queue = after
            }
          }
          expect(queue.size).toBe(inside.size)
          for (const tenant of ["one", "two", "three"]) {
            const held = [...inside.values()].filter(({ caller }) => caller.tenant === tenant).length
            expect(Queue.ofTenant(queue, tenant)).toBe(held)
            expect(held).toBeLessThanOrEqual(4)
          }
          expect(tickets(Queue.all(queue)).sort()).toEqual([...inside.keys()].sort())
          expect([...queue.turns].sort()).toEqual([...new Set([...inside.values()].map(({ model }) => model))].sort())
          for (const { deadline } of inside.values()) expect(queue.nextDeadline).toBeLessThanOrEqual(deadline)
        }
      }),
      { numRuns: 150, seed: 42 }
    )
  })
})

describe("whatever the others send", () => {
  it("nobody waits for ever", () => {
    const arrivals = FastCheck.array(
      FastCheck.record({
        tenant: FastCheck.integer({ min: 1, max: 6 }),
        tier: FastCheck.constantFrom<ServiceTier>("priority", "default", "flex"),
        weight: FastCheck.constantFrom(0.5, 1, 4),
        cost: FastCheck.integer({ min: 1, max: 2000 })
      }),
      { minLength: 60, maxLength: 60 }
    )
    FastCheck.assert(
      FastCheck.property(arrivals, FastCheck.constantFrom<ServiceTier>("default", "flex"), (others, tier) => {
        const aging = 10
        let ticket = 1
        let queue = offered(empty(1000, { aging }), {
          ...waiting(0, "a", 1e9, { tenant: "meek", tier, weight: 0.5 }),
          since: 0
        })
        // every millisecond two come, of whom many would go first, and one is served
        for (let now = 0; now < 2000; now++) {
          const costs = new Map<number, number>()
          for (const { tenant, ...other } of [others[now % 60], others[(now * 7 + 3) % 60]].filter(
            (o) => o !== undefined
          )) {
            const one = { ...waiting(ticket, "a", 1e9, { ...other, tenant: `tenant ${tenant}` }), since: now }
            costs.set(ticket++, other.cost)
            const result = Queue.offer(queue, one, now)
            if (result._tag === "Queued") queue = result.queue
          }
          const before = queue
          const { queue: after, state } = serveSome(queue, 1, () => true, now)
          const served = Queue.all(before).find((one) => one.ticket === state[0])
          if (served?.ticket === 0) return
          queue = after
          if (served === undefined) continue
          const charged = FairShare.estimate(Queue.share(before, served.model), served.caller.tenant)
          queue = Queue.settle(queue, served.model, served.caller, charged, costs.get(served.ticket) ?? 1)
        }
        throw new Error("it was never served")
      }),
      { numRuns: 10, seed: 7 }
    )
  })
})
