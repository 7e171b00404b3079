import { assert, describe, it } from "@effect/vitest"
import { connectionsWithin } from "../src/DescriptorLimit.ts"

const limits = (soft: string) => `Limit                     Soft Limit           Hard Limit           Units
Max processes             95926                95926                processes
Max open files            ${soft.padEnd(20)} 1048576              files
`

describe("How many connections a process can hold", () => {
  it("leaves an eighth of its descriptors for others, and at least 256", () => {
    assert.strictEqual(connectionsWithin(limits("20000")), 17_500)
    assert.strictEqual(connectionsWithin(limits("1024")), 768)
    assert.strictEqual(connectionsWithin(limits("100")), 1)
  })

  it("is unknown where nobody says", () => {
    assert.strictEqual(connectionsWithin(limits("unlimited")), Number.POSITIVE_INFINITY)
    assert.strictEqual(connectionsWithin(""), Number.POSITIVE_INFINITY)
  })
})
