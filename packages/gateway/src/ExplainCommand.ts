/** `helixflow explain` */
import { Args, Command, Options } from "@effect/cli"
import { HttpClientRequest } from "@effect/platform"
import { Console, Effect } from "effect"
import type { CommandHelp } from "./CommandHelp.ts"
import { bytes } from "./PullProgress.ts"
import { type DeviceAlone, type DeviceGroup, ScheduleExplanation } from "./ScheduleApi.ts"
import { ServerClient } from "./ServerClient.ts"
import { againstServer, serverOptions } from "./ServerOptions.ts"
import { table } from "./Table.ts"

const model = Args.text({ name: "model" }).pipe(Args.withDescription("A model's id or alias."))
const json = Options.boolean("json").pipe(Options.withDescription("Print the explanation as JSON."))

const everyDevice = Options.boolean("devices").pipe(
  Options.withDescription("A line for every device, also where many would be treated alike.")
)

const meanings = { use: "ready", load: "would load", none: "no" } as const

type Line = Omit<DeviceAlone, "id"> & Pick<DeviceGroup, "devices" | "examples">

const namesOf = ({ devices, examples }: Line): string =>
  devices > examples.length ? `${examples.join(", ")} and ${devices - examples.length} more` : examples.join(", ")

const fitOf = ({ devices, fits, missing_bytes }: Line): string =>
  fits ? "yes" : `${bytes(missing_bytes)}${devices > 1 ? " or more" : ""} missing`

/** The explanation as a sentence and a table of the fleet's devices, or of those that would be treated alike. */
export const draw = ({ decision, devices, groups, summary, waiting, waiting_helps }: ScheduleExplanation): string => {
  const waits = waiting === 0 ? "" : ` ${waiting} ${waiting === 1 ? "request waits" : "requests wait"} for it.`
  const helps = decision === "placed" ? "" : waiting_helps ? " Waiting helps." : " Waiting does not help."
  const lines: ReadonlyArray<Line> =
    devices?.map(({ id, ...said }) => ({ ...said, devices: 1, examples: [id] })) ?? groups
  if (lines.length === 0) return `${summary}.${waits}${helps}`
  const rows = lines.map((line) => [
    namesOf(line),
    fitOf(line),
    meanings[line.action],
    [...line.reasons, ...(line.evict.length === 0 ? [] : [`would have to leave: ${line.evict.join(", ")}`])].join("; ")
  ])
  return `${summary}.${waits}${helps}\n\n${table([["DEVICES", "FITS", "HERE", "WHY"], ...rows])}`
}

export const explainCommand = Command.make(
  "explain",
  { model, devices: everyDevice, json, ...serverOptions },
  ({ devices, json, model, ...server }) =>
    Effect.gen(function* () {
      const client = yield* ServerClient
      const request = HttpClientRequest.get("/admin/v1/schedule/explain").pipe(
        HttpClientRequest.setUrlParams({ model, ...(devices && { devices: "all" }) })
      )
      const explanation = yield* client.call(request, ScheduleExplanation)
      yield* Console.log(json ? JSON.stringify(explanation, null, 2) : draw(explanation))
    }).pipe(againstServer(server))
).pipe(Command.withDescription("Say where a request for a model would go now, and why not elsewhere."))

export const explainHelp: CommandHelp = {
  usage: ["explain <model> [options]"],
  examples: [
    ["helixflow explain helix-demo", "in words"],
    ["helixflow explain helix-demo --devices", "each device by itself"],
    ["helixflow explain helix-demo --json", "for scripts"]
  ]
}
