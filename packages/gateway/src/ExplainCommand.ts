/** `helixflow explain` */
import { Args, Command, Options } from "@effect/cli"
import { HttpClientRequest } from "@effect/platform"
import { Console, Effect } from "effect"
import type { CommandHelp } from "./CommandHelp.ts"
import { table } from "./ModelsCommand.ts"
import { ScheduleExplanation } from "./ScheduleApi.ts"
import { ServerClient } from "./ServerClient.ts"
import { againstServer, serverOptions } from "./ServerOptions.ts"

const model = Args.text({ name: "model" }).pipe(Args.withDescription("A model's id or alias."))
const json = Options.boolean("json").pipe(Options.withDescription("Print the explanation as JSON."))

const meanings = { use: "ready", load: "would load", none: "no" } as const

/** The explanation as a sentence and a table of the fleet's devices by how they would be treated. */
export const draw = ({ groups, summary, waiting, waiting_helps, decision }: ScheduleExplanation): string => {
  const waits = waiting === 0 ? "" : ` ${waiting} ${waiting === 1 ? "request waits" : "requests wait"} for it.`
  const helps = decision === "placed" ? "" : waiting_helps ? " Waiting helps." : " Waiting does not help."
  if (groups.length === 0) return `${summary}.${waits}${helps}`
  const rows = groups.map(({ action, devices, evict, examples, reasons }) => [
    devices > examples.length ? `${examples.join(", ")} and ${devices - examples.length} more` : examples.join(", "),
    meanings[action],
    [...reasons, ...(evict.length === 0 ? [] : [`would have to leave: ${evict.join(", ")}`])].join("; ")
  ])
  return `${summary}.${waits}${helps}\n\n${table([["DEVICES", "HERE", "WHY"], ...rows])}`
}

export const explainCommand = Command.make("explain", { model, json, ...serverOptions }, ({ json, model, ...server }) =>
  Effect.gen(function* () {
    const client = yield* ServerClient
    const request = HttpClientRequest.get("/admin/v1/schedule/explain").pipe(
      HttpClientRequest.setUrlParam("model", model)
    )
    const explanation = yield* client.call(request, ScheduleExplanation)
    yield* Console.log(json ? JSON.stringify(explanation, null, 2) : draw(explanation))
  }).pipe(againstServer(server))
).pipe(Command.withDescription("Say where a request for a model would go now, and why not elsewhere."))

export const explainHelp: CommandHelp = {
  usage: ["explain <model> [options]"],
  examples: [
    ["helixflow explain helix-demo", "in words"],
    ["helixflow explain helix-demo --json", "for scripts"]
  ]
}
