/** `helixflow models` */
import { Args, Command, Options } from "@effect/cli"
import { HttpClientRequest } from "@effect/platform"
import { Console, Effect } from "effect"
import { failed } from "./CommandFailure.ts"
import { type CommandHelp, summary } from "./CommandHelp.ts"
import { CatalogModel, CatalogModels, ModelLoad, UnloadedModel, VersionsView } from "./ModelCatalogApi.ts"
import { pathOf, showCommand } from "./ModelShowCommand.ts"
import { bytes } from "./PullProgress.ts"
import { type Model, ServerClient } from "./ServerClient.ts"
import { againstServer, serverOptions } from "./ServerOptions.ts"
import { table } from "./Table.ts"

const json = Options.boolean("json").pipe(
  Options.withDescription("Print what the server says of each as a JSON array.")
)
const model = Args.text({ name: "model" }).pipe(Args.withDescription("Its id or an alias."))

const publicRows = (models: ReadonlyArray<Model>) => [
  ["MODEL", "TASK", "CONTEXT"],
  ...models.map(({ id, task = "-", max_model_len }) => [id, task, max_model_len?.toString() ?? "-"])
]

/** Where a model runs, or how it stands with it if it does not. */
const whereabouts = ({ failure, replicas, state }: CatalogModel): string =>
  replicas
    .map(({ active, device, further_devices, slots, state }) => {
      const devices = [device, ...further_devices].join(" and ")
      return `${state} on ${devices} ${active}/${slots}`
    })
    .join(", ") || (state === "unloaded" ? "-" : failure === null ? state : `${state}: ${failure}`)

const catalogRows = (models: ReadonlyArray<CatalogModel>) => [
  ["MODEL", "TASK", "CONTEXT", "MEMORY", "LOADED"],
  ...models.map((entry) => [entry.id, entry.task, String(entry.context), bytes(entry.claim_bytes), whereabouts(entry)])
]

/** Everything that an operator may see; what anybody may, where the key is no operator's or the server another one. */
const list = (asJson: boolean) =>
  Effect.gen(function* () {
    const client = yield* ServerClient
    yield* client.call(HttpClientRequest.get("/admin/v1/models"), CatalogModels).pipe(
      Effect.tap(({ data }) => Console.log(asJson ? JSON.stringify(data, null, 2) : table(catalogRows(data)))),
      Effect.tap(({ refused }) =>
        Effect.forEach(refused, ({ id, reason }) => Console.error(`${id} can't be served: ${reason}`))
      ),
      Effect.catchIf(
        (error) => error._tag === "ServerRefused" && (error.status === 403 || error.status === 404),
        () =>
          Effect.flatMap(client.models, (models) =>
            Console.log(asJson ? JSON.stringify(models, null, 2) : table(publicRows(models)))
          )
      )
    )
  })

const lsCommand = Command.make("ls", { json, ...serverOptions }, ({ json, ...server }) =>
  list(json).pipe(againstServer(server))
).pipe(Command.withDescription("List them, as `helixflow models` does."))

const noWait = Options.boolean("no-wait").pipe(
  Options.withDescription("Do not wait until it is loaded; `helixflow models` says how it stands.")
)

const loadCommand = Command.make("load", { model, noWait, ...serverOptions }, ({ model, noWait, ...server }) =>
  Effect.gen(function* () {
    const client = yield* ServerClient
    const request = HttpClientRequest.post(pathOf(model, "/load"))
    if (noWait) {
      const { id, state } = yield* client.call(HttpClientRequest.setUrlParam(request, "wait", "false"), ModelLoad)
      return yield* Console.log(`${id} is ${state}; \`helixflow models\` says how it goes on.`)
    }
    const loaded = yield* client.call(request, CatalogModel)
    yield* Console.log(`${loaded.id} is ${whereabouts(loaded)}`)
  }).pipe(againstServer(server))
).pipe(Command.withDescription("Load a model before anyone asks for it."))

const unloadCommand = Command.make("unload", { model, ...serverOptions }, ({ model, ...server }) =>
  Effect.gen(function* () {
    const client = yield* ServerClient
    const unloaded = yield* client.call(HttpClientRequest.post(pathOf(model, "/unload")), UnloadedModel)
    const { freed_bytes: freed, id } = unloaded
    yield* Console.log(`${id} is not loaded; its memory is free${freed === null ? "" : `: ${bytes(freed)}`}.`)
  }).pipe(againstServer(server))
).pipe(Command.withDescription("Let its requests end, stop its workers and free its memory."))

const rmCommand = Command.make("rm", { model, ...serverOptions }, ({ model, ...server }) =>
  Effect.gen(function* () {
    const client = yield* ServerClient
    yield* client.send(HttpClientRequest.del(pathOf(model)))
    yield* Console.log(`${model} is removed.`)
  }).pipe(againstServer(server))
).pipe(Command.withDescription("Unload it and delete its folder."))

const weights = Args.repeated(
  Args.text({ name: "version=share" }).pipe(Args.withDescription("v1=0.9 v2=0.1; the shares add up to 1."))
)

/** `v1=0.9` */
const weightOf = (text: string) => {
  const [, version = "", share = ""] = /^(.+)=(\d*\.?\d+)$/.exec(text) ?? []
  return version === ""
    ? failed(`\`${text}\` is no version with its share, such as v1=0.9.`)
    : Effect.succeed([version, Number(share)] as const)
}

const routeCommand = Command.make("route", { model, weights, ...serverOptions }, ({ model, weights, ...server }) =>
  Effect.gen(function* () {
    const client = yield* ServerClient
    const shares = yield* Effect.forEach(weights, weightOf)
    const request =
      shares.length === 0
        ? HttpClientRequest.get(pathOf(model, "/versions"))
        : HttpClientRequest.put(pathOf(model, "/versions")).pipe(
            HttpClientRequest.bodyUnsafeJson({ weights: Object.fromEntries(shares) })
          )
    const { versions } = yield* client.call(request, VersionsView)
    const rows = versions.map(({ model, version, weight }) => [version, model, String(weight)])
    yield* Console.log(table([["VERSION", "MODEL", "SHARE"], ...rows]))
  }).pipe(againstServer(server))
).pipe(Command.withDescription("Show or change which share of the conversations each version of a model has."))

export const modelsCommand = Command.make("models", { json, ...serverOptions }, ({ json, ...server }) =>
  list(json).pipe(againstServer(server))
).pipe(
  Command.withDescription("List the models of a running server, load, unload and remove them."),
  Command.withSubcommands([lsCommand, showCommand, loadCommand, unloadCommand, routeCommand, rmCommand])
)

export const modelsHelp: CommandHelp = {
  usage: [
    "models [options]",
    "models show <model> [options]",
    "models load <model> [--no-wait] [options]",
    "models unload|rm <model> [options]",
    "models route <model> [<version>=<share>...] [options]"
  ],
  examples: [
    ["helixflow models", "a table"],
    ["helixflow models --json", "for scripts"],
    ["helixflow models show helix-demo", "what it is, how good, how it was made"],
    ["helixflow models load org/name", "before anyone asks for it"],
    ["helixflow models load org/name --no-wait", "and go on at once"],
    ["helixflow models route org/name v1=0.9 v2=0.1", "a tenth of the conversations for the new version"],
    ["helixflow models rm org/name", "what `helixflow pull` fetched"]
  ]
}

export const modelsSubcommands = [
  summary(lsCommand),
  summary(showCommand),
  summary(loadCommand),
  summary(unloadCommand),
  summary(routeCommand),
  summary(rmCommand)
]
