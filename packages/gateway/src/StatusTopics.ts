/** The topics that the server itself publishes to: what models and devices are doing, whenever it changes. */
import { Runtime } from "@helixflow/runtime/Runtime"
import { Effect, Option, Schedule } from "effect"
import type { Topics } from "./Topics.ts"

const names = ["models", "devices"] as const

export const isStatus = (topic: string): boolean => names.some((name) => name === topic)

/** Devices are the operators' business. */
export const needsAdmin = (topic: string): boolean => topic === "devices"

/** How often it is looked at while somebody listens. */
const pulse = "1 second"

/** Publishes in the current scope. `refresh`: says all again at the next pulse, for who is new. */
export const make = (topics: Topics) =>
  Effect.gen(function* () {
    const runtime = yield* Runtime
    const said = new Map<string, string>()
    const say = (topic: (typeof names)[number], data: unknown) => {
      const text = JSON.stringify(data)
      if (said.get(topic) === text) return
      said.set(topic, text)
      topics.publish(topic, topic, text)
    }
    const look = Effect.gen(function* () {
      if (!names.some((name) => topics.hasSubscribers(name))) return
      const fleet = yield* Effect.option(runtime.fleet)
      if (Option.isNone(fleet)) return
      const { devices, replicas } = fleet.value
      say(
        "models",
        replicas.map(({ active, model, replica, slots, state }) => ({ model, replica, state, active, slots }))
      )
      say("devices", devices)
    })
    yield* Effect.forkScoped(Effect.schedule(look, Schedule.spaced(pulse)))
    return { refresh: () => said.clear() }
  })
