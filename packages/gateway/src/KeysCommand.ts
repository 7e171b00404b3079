/** `helixflow keys` */
import { Args, Command, Options } from "@effect/cli"
import { HttpClientRequest } from "@effect/platform"
import { Clock, Console, Effect, Option } from "effect"
import { type CommandHelp, render, summary } from "./CommandHelp.ts"
import { KeyDeleted, KeyList, type KeyView, NewKeyView } from "./KeysApi.ts"
import { ServerClient } from "./ServerClient.ts"
import { againstServer, serverOptions } from "./ServerOptions.ts"
import { table } from "./Table.ts"

const json = Options.boolean("json").pipe(Options.withDescription("Print what the server answers as JSON."))

const name = Args.text({ name: "name" }).pipe(Args.withDescription("Whose key it is, for the list."))

const scopes = Options.text("scopes").pipe(
  Options.withPseudoName("scopes"),
  Options.withDescription("inference, admin, priority, separated by commas. Default: inference."),
  Options.optional
)

const limit = (option: string, what: string) =>
  Options.integer(option).pipe(
    Options.withPseudoName("number"),
    Options.withDescription(`Most ${what}. Default: no limit.`),
    Options.optional
  )

const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 }

/** `30d` as seconds since the epoch; what is no duration is for the server to understand. */
export const expiryOf = (text: string, now: number): number | string => {
  const [, count, unit] = /^(\d+)([smhd])$/.exec(text) ?? []
  const seconds = unit === undefined ? undefined : units[unit]
  return seconds === undefined ? text : Math.floor(now / 1000) + Number(count) * seconds
}

const expires = Options.text("expires").pipe(
  Options.withPseudoName("time"),
  Options.withDescription(
    "When it ends: in a while such as 12h or 30d, or at a time such as 2030-01-31T12:00:00Z. Default: never."
  ),
  Options.optional
)

const weight = Options.float("weight").pipe(
  Options.withPseudoName("number"),
  Options.withDescription("How large its share of a model is beside other keys' while they compete. Default: 1."),
  Options.optional
)

const create = Command.make(
  "create",
  {
    scopes,
    rpm: limit("rpm", "requests a minute"),
    tpm: limit("tpm", "tokens a minute"),
    concurrency: limit("concurrency", "requests at once"),
    weight,
    expires,
    json,
    ...serverOptions,
    name
  },
  ({ concurrency, expires, json, name, rpm, scopes, tpm, weight, ...server }) =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const body = {
        name,
        scopes: Option.getOrUndefined(Option.map(scopes, (text) => text.split(",").map((scope) => scope.trim()))),
        limits: {
          rpm: Option.getOrUndefined(rpm),
          tpm: Option.getOrUndefined(tpm),
          concurrency: Option.getOrUndefined(concurrency),
          weight: Option.getOrUndefined(weight)
        },
        expires_at: Option.getOrUndefined(Option.map(expires, (text) => expiryOf(text, now)))
      }
      const client = yield* ServerClient
      const request = HttpClientRequest.bodyUnsafeJson(HttpClientRequest.post("/admin/v1/keys"), body)
      const made = yield* client.call(request, NewKeyView)
      if (json) return yield* Console.log(JSON.stringify(made, null, 2))
      yield* Console.error(`${made.id}, for ${made.name}. It is shown this once:`)
      yield* Console.log(made.key)
    }).pipe(againstServer(server))
).pipe(Command.withDescription("Make a key. It is printed alone, so that a script can take it."))

const date = (seconds: number | null) =>
  seconds === null ? "-" : `${new Date(seconds * 1000).toISOString().slice(0, 19)}Z`

const limitsText = ({ concurrency, rpm, tpm, weight }: KeyView["limits"]) =>
  [
    rpm === null ? "" : `${rpm} rpm`,
    tpm === null ? "" : `${tpm} tpm`,
    concurrency === null ? "" : `${concurrency} at once`,
    weight === 1 ? "" : `weight ${weight}`
  ]
    .filter((text) => text !== "")
    .join(", ") || "-"

const rows = (keys: ReadonlyArray<KeyView>) => [
  ["ID", "NAME", "KEY", "SCOPES", "LIMITS", "CREATED", "EXPIRES", "LAST USED"],
  ...keys.map(({ created_at, expires_at, hint, id, last_used_at, limits, name, scopes }) => [
    id,
    name,
    hint,
    scopes.join(","),
    limitsText(limits),
    date(created_at),
    date(expires_at),
    date(last_used_at)
  ])
]

const ls = Command.make("ls", { json, ...serverOptions }, ({ json, ...server }) =>
  Effect.gen(function* () {
    const client = yield* ServerClient
    const { data } = yield* client.call(HttpClientRequest.get("/admin/v1/keys"), KeyList)
    yield* Console.log(json ? JSON.stringify(data, null, 2) : table(rows(data)))
  }).pipe(againstServer(server))
).pipe(Command.withDescription("List the keys, the newest first."))

const id = Args.text({ name: "id" }).pipe(Args.withDescription("As `helixflow keys ls` has it: key_…"))

const revoke = Command.make("revoke", { ...serverOptions, id }, ({ id, ...server }) =>
  Effect.gen(function* () {
    const client = yield* ServerClient
    yield* client.call(HttpClientRequest.del(`/admin/v1/keys/${encodeURIComponent(id)}`), KeyDeleted)
    yield* Console.error(`${id} is revoked.`)
  }).pipe(againstServer(server))
).pipe(Command.withDescription("Revoke a key: it is refused from now on."))

export const keysCommand = Command.make("keys").pipe(
  Command.withDescription("Make, list and revoke the API keys of a running server."),
  Command.withSubcommands([create, ls, revoke])
)

const keysHelp: CommandHelp = {
  usage: ["keys create [options] <name>", "keys ls [options]", "keys revoke [options] <id>"],
  examples: [
    ["helixflow keys create alice", "a key for /v1"],
    ["helixflow keys create --rpm 60 --tpm 100000 --expires 30d bob", "with limits, for a month"],
    ["helixflow keys create --scopes admin ops", "a key for operators"],
    ["helixflow keys ls", "all keys, as far as they are known"],
    ["helixflow keys revoke key_0123456789abcdef01234567", "at once"]
  ]
}

/** The help page of each of its commands. */
export const keysPages: ReadonlyArray<readonly [string, string]> = [
  ["keys create", render(create, { usage: keysHelp.usage.slice(0, 1), examples: keysHelp.examples.slice(0, 3) })],
  ["keys ls", render(ls, { usage: keysHelp.usage.slice(1, 2), examples: keysHelp.examples.slice(3, 4) })],
  ["keys revoke", render(revoke, { usage: keysHelp.usage.slice(2), examples: keysHelp.examples.slice(4) })],
  ["keys", render(keysCommand, keysHelp, [summary(create), summary(ls), summary(revoke)])]
]
