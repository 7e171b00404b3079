/** `helixflow models show`: what a model's folder says of it, and what a running server knows besides. */
import * as fs from "node:fs"
import * as path from "node:path"
import { Args, Command } from "@effect/cli"
import { HttpClientRequest } from "@effect/platform"
import { scan } from "@helixflow/runtime/ModelScan"
import { RuntimeConfig } from "@helixflow/runtime/RuntimeConfig"
import { Console, Effect, Option } from "effect"
import { failed } from "./CommandFailure.ts"
import { DeviceList, type DeviceView } from "./DevicesApi.ts"
import { CatalogModel } from "./ModelCatalogApi.ts"
import { bytes } from "./PullProgress.ts"
import { ServerClient, ServerUnreachable } from "./ServerClient.ts"
import { againstServer, serverOptions } from "./ServerOptions.ts"
import { table } from "./Table.ts"

/** A model's path in the operators' API. */
export const pathOf = (id: string, action = "") => `/admin/v1/models/${encodeURIComponent(id)}${action}`

/** A card without the fields for the hub that stand before it. */
const withoutFrontMatter = (card: string): string => card.replace(/^---\n.*?\n---\n+/s, "").trimEnd()

/** A model's folder on this machine, and its card where it has one. */
const onDisk = (name: string) =>
  Effect.map(RuntimeConfig, ({ modelsDirs }) => {
    const stored = scan(modelsDirs).names.get(name)
    if (stored === undefined) {
      return { id: name, card: null, lacks: `There is no model \`${name}\` in ${modelsDirs.join(", ")}.` }
    }
    const file = path.join(stored.folder, "README.md")
    const card = fs.existsSync(file) ? withoutFrontMatter(fs.readFileSync(file, "utf8")) : null
    return { id: stored.spec.id, card, lacks: `\`${name}\` has no model card (README.md) in ${stored.folder}.` }
  })

/** A server that is only looked for has so long to answer. */
const patience = "5 seconds"

/** What the server says of a model and of the devices. */
const fromServer = (id: string) =>
  Effect.gen(function* () {
    const client = yield* ServerClient
    const model = yield* client.call(HttpClientRequest.get(pathOf(id)), CatalogModel)
    const { data } = yield* client.call(HttpClientRequest.get("/admin/v1/devices"), DeviceList)
    return { model, devices: data, url: client.url }
  }).pipe(
    Effect.timeoutFail({
      duration: patience,
      onTimeout: () => new ServerUnreachable({ url: "the server", reason: `it was silent for ${patience}` })
    })
  )

const share = (part: number, whole: number): string => `${bytes(part)} of ${bytes(whole)}`

/** A row for each part of each replica: its device, and what it has claimed and taken there. */
const replicaRows = ({ replicas }: CatalogModel, devices: ReadonlyArray<DeviceView>) =>
  replicas.flatMap(({ active, device: first, further_devices, id, pid, slots, state }) =>
    [first, ...further_devices].map((on) => {
      const device = devices.find(({ id }) => id === on)
      const claim = device?.claims.find(({ owner, within }) => owner === id && within === null)
      return [
        id,
        on,
        state,
        `${active}/${slots}`,
        claim === undefined ? "-" : `${bytes(claim.bytes)} ${claim.state}`,
        claim === undefined ? "-" : bytes(claim.observed_bytes),
        device === undefined ? "-" : share(device.free_bytes, device.total_bytes),
        pid?.toString() ?? "-"
      ]
    })
  )

const replicaHead = ["REPLICA", "DEVICE", "STATE", "REQUESTS", "CLAIMED", "TAKEN", "FREE THERE", "PROCESS"]

/** A server's words on a model. */
export const draw = (url: string, model: CatalogModel, devices: ReadonlyArray<DeviceView>): string => {
  const { aliases, failure, folder, id, kept_loaded, max_replicas, memory, state } = model
  const claims = memory.map(
    ({ claim_bytes, device_kind, weights_bytes }) =>
      `${bytes(claim_bytes)} on ${device_kind} (${bytes(weights_bytes)} of that without its KV cache)`
  )
  const lines = [
    `## On ${url}`,
    "",
    `${id} is ${state}${failure === null ? "" : `: ${failure}`}${kept_loaded ? " (the default model, kept loaded)" : ""}`,
    `Folder: ${folder}`,
    ...(aliases.length === 0 ? [] : [`Aliases: ${aliases.join(", ")}`]),
    `A replica claims ${claims.join(" or ")}; there may be ${max_replicas}`
  ]
  const rows = replicaRows(model, devices)
  return [...lines, ...(rows.length === 0 ? [] : ["", table([replicaHead, ...rows])])].join("\n")
}

const model = Args.text({ name: "model" }).pipe(Args.withDescription("Its id or an alias."))

export const showCommand = Command.make("show", { model, ...serverOptions }, ({ model, ...server }) =>
  Effect.gen(function* () {
    const { card, id, lacks } = yield* onDisk(model)
    const known = yield* Effect.either(fromServer(id))
    if (known._tag === "Right") {
      const { devices, model, url } = known.right
      const live = draw(url, model, devices)
      return yield* Console.log(card === null ? live : `${card}\n\n${live}`)
    }
    const error = known.left
    // whoever has named a server wants to hear of it; that of this machine need not be there
    if (Option.isSome(server.url)) return yield* error
    if (card === null) return yield* failed(lacks)
    yield* Console.log(card)
    if (error._tag === "ServerRefused")
      yield* Console.error(`The server on this machine tells no more: ${error.message}`)
  }).pipe(againstServer(server))
).pipe(
  Command.withDescription(
    "Print the model card of a model on this machine, and what a running server knows of it: replicas, devices, memory."
  )
)
