import { describe, expect, it } from "@effect/vitest"
import { type ClaimState, Device } from "@helixflow/schema/Device"
import { Bytes, DeviceId, ReservationId } from "@helixflow/schema/Ids"
import * as FastCheck from "effect/FastCheck"
import * as Ledger from "../src/Ledger.ts"

const total = 100
const device = new Device({ id: DeviceId.make("local/cpu:0"), kind: "cpu", name: "test", total: Bytes.make(total) })
const id = (name: string) => ReservationId.make(name)

interface Figures {
  readonly bytes?: number
  readonly shareable?: number
  readonly within?: string
  readonly ttl?: number
}

const request = (name: string, figures: Figures = {}): Ledger.ClaimRequest => ({
  reservation: id(name),
  owner: "test",
  bytes: Bytes.make(figures.bytes ?? 10),
  shareable: Bytes.make(figures.shareable ?? 0),
  within: figures.within === undefined ? null : id(figures.within),
  ttlMillis: figures.ttl ?? 1000
})

/** The ledger of a result that must be Ok. */
const taken = (result: Ledger.Reserved | Ledger.Committed): Ledger.Ledger => {
  if (result._tag !== "Ok") throw new Error(`expected Ok, got ${result._tag}`)
  return result.ledger
}

const replica = taken(Ledger.reserve(Ledger.empty(device), request("A", { bytes: 60, shareable: 40 }), 0))

describe("reserve", () => {
  it("takes from the device", () => {
    expect(replica.free).toBe(40)
    expect(Ledger.claim(replica, id("A"))).toMatchObject({ bytes: 60, state: "reserved", expiresAt: 1000 })
  })

  it("takes a claim within another from the other's shareable bytes and not from the device", () => {
    const ledger = taken(Ledger.reserve(replica, request("r1", { bytes: 30, within: "A" }), 0))
    expect(ledger.free).toBe(40)
    expect(Ledger.shareLeft(ledger, id("A"))).toBe(10)
    expect(Ledger.reserve(ledger, request("r2", { bytes: 11, within: "A" }), 0)).toMatchObject({
      _tag: "OutOfMemory",
      needed: 11,
      free: 10
    })
  })

  it("names the bytes needed and free when the device has too few", () => {
    expect(Ledger.reserve(replica, request("B", { bytes: 41 }), 0)).toMatchObject({
      _tag: "OutOfMemory",
      device: "local/cpu:0",
      needed: 41,
      free: 40
    })
  })

  it("can take the last byte", () => {
    expect(taken(Ledger.reserve(replica, request("B", { bytes: 40 }), 0)).free).toBe(0)
  })

  it("changes nothing when the same claim is asked for again, however far it has come", () => {
    const resident = taken(Ledger.commit(replica, { reservation: id("A"), state: "resident", ttlMillis: null }, 5))
    expect(taken(Ledger.reserve(resident, request("A", { bytes: 60, shareable: 40 }), 9))).toBe(resident)
  })

  it("refuses an id that stands for other figures", () => {
    for (const other of [
      { bytes: 61, shareable: 40 },
      { bytes: 60, shareable: 39 },
      { bytes: 60, shareable: 40, within: "B" }
    ]) {
      expect(Ledger.reserve(replica, request("A", other), 0)._tag).toBe("ReservationConflict")
    }
  })

  it("refuses to be within a claim that does not exist", () => {
    expect(Ledger.reserve(replica, request("r", { within: "gone" }), 0)).toMatchObject({
      _tag: "ReservationNotFound",
      reservation: "gone"
    })
  })

  it("never shares more than the claim has", () => {
    const ledger = taken(Ledger.reserve(Ledger.empty(device), request("A", { bytes: 10, shareable: 50 }), 0))
    expect(Ledger.shareLeft(ledger, id("A"))).toBe(10)
  })
})

describe("commit", () => {
  const step = (state: Exclude<ClaimState, "reserved">, ttlMillis: number | null = null) => ({
    reservation: id("A"),
    state,
    ttlMillis
  })

  it("moves a claim forward and can end its expiry", () => {
    const ledger = taken(Ledger.commit(replica, step("resident"), 1))
    expect(Ledger.claim(ledger, id("A"))).toMatchObject({ state: "resident", expiresAt: null })
    expect(Ledger.expire(ledger, 1e9).free).toBe(40)
  })

  it("renews the expiry in the state it has", () => {
    const loading = taken(Ledger.commit(replica, step("loading", 100), 0))
    const renewed = taken(Ledger.commit(loading, step("loading", 100), 60))
    expect(Ledger.claim(renewed, id("A"))?.expiresAt).toBe(160)
  })

  it("ignores a step back", () => {
    const draining = taken(Ledger.commit(replica, step("draining"), 0))
    expect(taken(Ledger.commit(draining, step("resident", 5), 0))).toBe(draining)
  })

  it("does not find a claim that has expired", () => {
    expect(Ledger.commit(replica, step("resident"), 1000)._tag).toBe("ReservationNotFound")
  })
})

describe("release", () => {
  it("frees the claim and all claims within it", () => {
    const ledger = taken(Ledger.reserve(replica, request("r1", { bytes: 5, within: "A" }), 0))
    const released = Ledger.release(ledger, id("A"))
    expect(released.free).toBe(total)
    expect(Ledger.claims(released)).toEqual([])
  })

  it("gives a share back to the claim it was taken from", () => {
    const ledger = taken(Ledger.reserve(replica, request("r1", { bytes: 5, within: "A" }), 0))
    expect(Ledger.shareLeft(Ledger.release(ledger, id("r1")), id("A"))).toBe(40)
  })

  it("changes nothing for what is gone", () => {
    expect(Ledger.release(replica, id("gone"))).toBe(replica)
  })
})

describe("observe", () => {
  const seen = (ledger: Ledger.Ledger, free: number | null, observed: Record<string, number> = {}) =>
    Ledger.observe(ledger, {
      free,
      observed: new Map(Object.entries(observed).map(([name, bytes]) => [id(name), bytes]))
    })

  it("counts what strangers took, besides what claims may still take", () => {
    // of the 60 claimed 20 are taken: 45 free, of which 40 are promised
    expect(seen(replica, 45, { A: 20 }).free).toBe(5)
    expect(seen(replica, 1000, { A: 20 }).free).toBe(40)
  })

  it("charges a process that takes more than it claimed with what it takes", () => {
    const ledger = seen(replica, 25, { A: 75 })
    expect(ledger.free).toBe(25)
    expect(Ledger.release(ledger, id("A")).free).toBe(25)
    expect(seen(Ledger.release(ledger, id("A")), 100).free).toBe(100)
  })

  it("says how much is missing when strangers took what is claimed", () => {
    expect(seen(replica, 30)).toMatchObject({ free: 0, deficit: 30 })
    expect(Ledger.reserve(seen(replica, 30), request("B", { bytes: 1 }), 0)).toMatchObject({ free: 0 })
    expect(seen(seen(replica, 30), 90)).toMatchObject({ free: 30, deficit: 0 })
  })

  it("believes the ledger alone when the device says nothing", () => {
    expect(seen(seen(replica, 0), null).free).toBe(40)
  })
})

describe("expire", () => {
  it("drops a claim at its instant and not a millisecond earlier", () => {
    expect(Ledger.expire(replica, 999)).toBe(replica)
    expect(Ledger.expire(replica, 1000).free).toBe(total)
  })

  it("keeps the next instant after a drop", () => {
    const two = taken(Ledger.reserve(replica, request("B", { ttl: 2000 }), 0))
    expect(Ledger.expire(two, 1000).nextExpiry).toBe(2000)
  })

  it("makes room for a reservation that comes before any timer", () => {
    expect(taken(Ledger.reserve(replica, request("B", { bytes: 100 }), 1000)).free).toBe(0)
  })
})

/** Random operations over few names, so that they meet. */
const name = FastCheck.constantFrom("a", "b", "c", "d", "e", "f")
const operation = FastCheck.oneof(
  {
    weight: 5,
    arbitrary: FastCheck.record({
      op: FastCheck.constant("reserve" as const),
      name,
      // Mostly small claims with large shares, so that claims come to be within claims within claims.
      bytes: FastCheck.oneof(FastCheck.integer({ min: 0, max: 70 }), FastCheck.integer({ min: 0, max: 15 })),
      shareable: FastCheck.integer({ min: 0, max: 70 }),
      within: FastCheck.option(name, { nil: undefined, freq: 3 }),
      ttl: FastCheck.integer({ min: 1, max: 50 })
    })
  },
  {
    weight: 2,
    arbitrary: FastCheck.record({
      op: FastCheck.constant("commit" as const),
      name,
      state: FastCheck.constantFrom("loading" as const, "resident" as const, "draining" as const),
      ttl: FastCheck.option(FastCheck.integer({ min: 1, max: 50 }))
    })
  },
  { weight: 1, arbitrary: FastCheck.record({ op: FastCheck.constant("release" as const), name }) },
  {
    weight: 1,
    arbitrary: FastCheck.record({
      op: FastCheck.constant("observe" as const),
      free: FastCheck.option(FastCheck.integer({ min: 0, max: 100 })),
      name,
      taken: FastCheck.integer({ min: 0, max: 80 })
    })
  },
  {
    weight: 1,
    arbitrary: FastCheck.record({
      op: FastCheck.constant("wait" as const),
      millis: FastCheck.integer({ min: 0, max: 30 })
    })
  }
)
type Operation = typeof operation extends FastCheck.Arbitrary<infer A> ? A : never

const apply = (ledger: Ledger.Ledger, operation: Operation, now: number): Ledger.Ledger => {
  switch (operation.op) {
    case "reserve": {
      const { bytes, shareable, within, ttl } = operation
      const asked = request(operation.name, { bytes, shareable, ttl, ...(within === undefined ? {} : { within }) })
      const result = Ledger.reserve(ledger, asked, now)
      return result._tag === "Ok" ? result.ledger : ledger
    }
    case "commit": {
      const step = { reservation: id(operation.name), state: operation.state, ttlMillis: operation.ttl }
      const result = Ledger.commit(ledger, step, now)
      return result._tag === "Ok" ? result.ledger : ledger
    }
    case "release":
      return Ledger.release(ledger, id(operation.name))
    case "observe": {
      const { free, name, taken } = operation
      return Ledger.observe(ledger, { free, observed: new Map([[id(name), taken]]) })
    }
    case "wait":
      return Ledger.expire(ledger, now)
  }
}

/** Runs the operations, showing every ledger on the way. */
const run = (
  operations: ReadonlyArray<Operation>,
  visit: (ledger: Ledger.Ledger, now: number, before: Ledger.Ledger, operation: Operation) => void = () => {}
) => {
  let ledger = Ledger.empty(device)
  let now = 0
  for (const operation of operations) {
    if (operation.op === "wait") now += operation.millis
    const next = apply(ledger, operation, now)
    visit(next, now, ledger, operation)
    ledger = next
  }
  return { ledger, now }
}

const sum = (values: Iterable<number>) => Array.from(values).reduce((a, b) => a + b, 0)

const forAll = (property: (operations: ReadonlyArray<Operation>) => void) =>
  FastCheck.assert(FastCheck.property(FastCheck.array(operation, { maxLength: 60, size: "max" }), property), {
    numRuns: 250,
    seed: 20240607
  })

describe("under any sequence of operations", () => {
  it("never over-commits a device or a share, and free is exact", () => {
    forAll((operations) => {
      run(operations, (ledger) => {
        const all = Ledger.claims(ledger)
        const top = all.filter((claim) => claim.within === null)
        const charges = sum(top.map(({ bytes, observed }) => Math.max(bytes, observed)))
        const pending = sum(top.map(({ bytes, observed }) => Math.max(0, bytes - observed)))
        expect(ledger.free - ledger.deficit).toBe(Math.min(total - charges, ledger.reported - pending))
        expect(Math.min(ledger.free, ledger.deficit)).toBe(0)
        expect(sum(top.map(({ bytes }) => bytes))).toBeLessThanOrEqual(total)
        for (const parent of all) {
          const shared = sum(all.filter((claim) => claim.within === parent.reservation).map((claim) => claim.bytes))
          expect(shared).toBeLessThanOrEqual(parent.shareable)
          expect(Ledger.shareLeft(ledger, parent.reservation)).toBe(parent.shareable - shared)
        }
      })
    })
  })

  it("no claim outlives the claim it is within", () => {
    forAll((operations) => {
      run(operations, (ledger) => {
        const ids = new Set(Ledger.claims(ledger).map((claim) => claim.reservation))
        for (const claim of Ledger.claims(ledger)) {
          if (claim.within !== null) expect(ids.has(claim.within)).toBe(true)
        }
      })
    })
  })

  it("never leaks: releasing everything, in any order, leaves the device empty", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.array(operation, { maxLength: 60, size: "max" }),
        FastCheck.shuffledSubarray(["a", "b", "c", "d", "e", "f"], { minLength: 6 }),
        (operations, order) => {
          const { ledger } = run(operations)
          const released = order.map(id).reduce(Ledger.release, ledger)
          expect(released).toMatchObject({ charged: 0, pending: 0 })
          expect(released.free).toBe(Math.min(total, ledger.reported))
          expect(Ledger.claims(released)).toEqual([])
        }
      ),
      { numRuns: 250, seed: 7 }
    )
  })

  it("the order of releases does not matter", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.array(operation, { maxLength: 60, size: "max" }),
        FastCheck.subarray(["a", "b", "c", "d", "e", "f"]),
        (operations, names) => {
          const { ledger } = run(operations)
          const left = (order: ReadonlyArray<string>) => {
            const after = order.map(id).reduce(Ledger.release, ledger)
            return {
              free: after.free,
              claims: Ledger.claims(after)
                .map((claim) => claim.reservation)
                .sort()
            }
          }
          expect(left(names)).toEqual(left([...names].reverse()))
        }
      ),
      { numRuns: 300, seed: 11 }
    )
  })

  it("expires exactly what is due", () => {
    forAll((operations) => {
      const { ledger, now } = run(operations)
      for (const at of [now, now + 7, now + 60]) {
        const after = Ledger.expire(ledger, at)
        const kept = new Set(Ledger.claims(after).map((claim) => claim.reservation))
        const due = (claim: { readonly expiresAt: number | null; readonly within: ReservationId | null }): boolean =>
          (claim.expiresAt !== null && claim.expiresAt <= at) ||
          Ledger.claims(ledger).some((parent) => parent.reservation === claim.within && due(parent))
        for (const claim of Ledger.claims(ledger)) expect(kept.has(claim.reservation)).toBe(!due(claim))
        expect(after.nextExpiry).toBeGreaterThan(at)
      }
    })
  })

  it("an operation done twice is done once", () => {
    forAll((operations) => {
      run(operations, (ledger, now, _before, operation) => {
        const again = apply(ledger, operation, now)
        const { version: _again, ...told } = Ledger.status(again)
        const { version: _once, ...before } = Ledger.status(ledger)
        expect(told).toEqual(before)
      })
    })
  })

  it("every change has a higher version", () => {
    forAll((operations) => {
      run(operations, (ledger, _now, before) => {
        const same = JSON.stringify(Ledger.status(before).claims) === JSON.stringify(Ledger.status(ledger).claims)
        if (!same) expect(ledger.version).toBeGreaterThan(before.version)
      })
    })
  })
})
