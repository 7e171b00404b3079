/** What the server itself publishes: what models and devices are doing, and what becomes of completions that are kept. */

import type { SessionNews } from "@helixflow/runtime/LiveSession"
import { Runtime } from "@helixflow/runtime/Runtime"
import { Services } from "@helixflow/runtime/Services"
import { Effect, Option, Schedule, Stream } from "effect"
import { keyOf } from "./TopicRules.ts"
import type { Topics } from "./Topics.ts"

/** How often models and devices are looked at while somebody listens. */
const pulse = "1 second"

/** Publishes in the current scope. `refresh`: says how models and devices are at the next pulse, for who is new. */
export const make = (topics: Topics) =>
  Effect.gen(function* () {
    const runtime = yield* Runtime
    const said = new Map<string, string>()
    const say = (topic: "devices" | "models", data: unknown) => {
      const text = JSON.stringify(data)
      if (said.get(topic) === text) return
      said.set(topic, text)
      topics.publish(topic, topic, text)
    }
    const look = Effect.gen(function* () {
      if (!topics.hasSubscribers("models") && !topics.hasSubscribers("devices")) return
      const fleet = yield* Effect.option(runtime.fleet)
      if (Option.isNone(fleet)) return
      const { devices, replicas } = fleet.value
      say(
        "models",
        replicas.map(({ active, model, replica, slots, state }) => ({ model, replica, state, active, slots }))
      )
      say("devices", devices)
    })
    const services = yield* Services
    yield* services.add("status-topics", Effect.schedule(look, Schedule.spaced(pulse)))

    const tell = ({ model, session, state, tenant }: SessionNews) =>
      Effect.sync(() =>
        topics.publish(keyOf(tenant, "streams"), "streams", JSON.stringify({ id: session, model, state }))
      )
    if (runtime.sessions !== null) {
      yield* services.add("stream-topics", Stream.runForEach(Stream.fromPubSub(runtime.sessions.news), tell))
    }
    return { refresh: () => said.clear() }
  })
