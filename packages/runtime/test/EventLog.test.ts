import { assert, describe, it } from "@effect/vitest"
import { TokenId } from "@helixflow/schema/Ids"
import { SessionEvent } from "@helixflow/schema/SessionActor"
import { Arbitrary, Schema } from "effect"
import * as FastCheck from "effect/FastCheck"
import { EventLog } from "../src/EventLog.ts"

const only = { logprobs: null, promptLogprobs: undefined, finish: null, cachedTokens: undefined }

/** What makes a token an event of which there is more to say. */
const more = [{}, {}, {}, { logprobs: [] }, { promptLogprobs: [] }, { finish: "stop" }, { cachedTokens: 3 }]

/** Events of every kind, many of them a token of which there is nothing more to say, or one thing, mostly with the number of their place. */
const events = FastCheck.array(
  FastCheck.tuple(
    Arbitrary.make(SessionEvent),
    FastCheck.record({
      numbered: FastCheck.boolean(),
      more: FastCheck.option(FastCheck.constantFrom(...more))
    })
  ),
  { maxLength: 40 }
).map((drawn) =>
  drawn.map(([event, { more, numbered }], index): SessionEvent => {
    const seq = numbered ? index : event.seq
    const fields = event._tag === "Delta" && more !== null ? { ...only, tokens: [TokenId.make(index)], ...more } : {}
    return Object.assign(Object.create(Object.getPrototypeOf(event)), event, fields, { seq })
  })
)

/** What there is to an event, whatever the order of its fields. */
const written = Schema.encodeSync(Schema.parseJson(Schema.Array(SessionEvent)))

describe("the log of a session's events", () => {
  it("gives back what was put into it, from wherever it is read", () => {
    FastCheck.assert(
      FastCheck.property(events, FastCheck.nat(45), FastCheck.nat(45), (all, from, to) => {
        const log = new EventLog(all.slice(0, 5))
        for (const event of all.slice(5)) log.push(event)
        assert.strictEqual(log.length, all.length)
        assert.strictEqual(written([...log]), written(all))
        assert.strictEqual(written(log.slice(from)), written(all.slice(from)))
        assert.strictEqual(written(log.slice(from, to)), written(all.slice(from, to)))
        for (const [index, event] of log.slice(0).entries()) {
          assert.strictEqual(Object.getPrototypeOf(event), Object.getPrototypeOf(all[index]))
        }
      })
    )
  })
})
