/** `helixflow tree` */
import { Args, Command, Options } from "@effect/cli"
import { HttpClientRequest } from "@effect/platform"
import { Clock, Console, Effect, Option, Schedule } from "effect"
import { type CommandHelp, render, summary } from "./CommandHelp.ts"
import { ServerClient } from "./ServerClient.ts"
import { againstServer, serverOptions } from "./ServerOptions.ts"
import { table } from "./Table.ts"
import { TreeAction, TreeList, type TreeView } from "./TreeApi.ts"

const json = Options.boolean("json").pipe(Options.withDescription("Print the tree as JSON."))
const watch = Options.boolean("watch").pipe(
  Options.withAlias("w"),
  Options.withDescription("Print it anew every second, until Ctrl-C.")
)

/** `90` as `1m30s`: the two greatest units. */
export const age = (seconds: number): string => {
  const units = [
    ["d", Math.floor(seconds / 86_400)],
    ["h", Math.floor(seconds / 3600) % 24],
    ["m", Math.floor(seconds / 60) % 60],
    ["s", Math.floor(seconds) % 60]
  ] as const
  const first = units.findIndex(([, count]) => count > 0)
  if (first === -1) return "0s"
  return units
    .slice(first, first + 2)
    .map(([unit, count]) => `${count}${unit}`)
    .join("")
}

/** What there is to say of a place besides its state. */
const remarks = ({ last_failure, process, replica }: TreeView): string =>
  [
    replica === null ? "" : `${replica.model} ${replica.state} ${replica.active}/${replica.slots}`,
    process === null ? "" : `pid ${process.pid}`,
    process?.rss_bytes == null ? "" : `${(process.rss_bytes / 2 ** 20).toFixed(0)} MiB`,
    last_failure === null ? "" : `last failure: ${last_failure}`
  ]
    .filter((remark) => remark !== "")
    .join(", ")

const row = (tree: TreeView, branch: string, now: number) => [
  branch + tree.id,
  tree.kind,
  tree.state,
  age(Math.max(0, now - tree.since)),
  String(tree.restarts),
  tree.mailbox === null ? "-" : String(tree.mailbox.held),
  remarks(tree)
]

/** A row for each place, below and after its parent. */
const rowsOf = (tree: TreeView, now: number, branch = "", stem = ""): ReadonlyArray<ReadonlyArray<string>> => [
  row(tree, branch, now),
  ...tree.children.flatMap((child, index) => {
    const last = index === tree.children.length - 1
    return rowsOf(child, now, `${stem}${last ? "└─ " : "├─ "}`, `${stem}${last ? "   " : "│  "}`)
  })
]

/** The trees as lines of a terminal; `now` in seconds. */
export const draw = (trees: ReadonlyArray<TreeView>, now: number): string =>
  table([["ID", "KIND", "STATE", "FOR", "RESTARTS", "MAILBOX", ""], ...trees.flatMap((tree) => rowsOf(tree, now))])

/** Where a person looks, the next picture is painted over the last. */
const clear = () => (process.stdout.isTTY ? "\u001b[2J\u001b[H" : "")

const place = Args.text({ name: "id" }).pipe(
  Args.withDescription("As `helixflow tree` shows it: local/cpu:0/helix-demo#0")
)

const grace = Options.float("grace").pipe(
  Options.withPseudoName("seconds"),
  Options.withDescription("How long what runs may take to end before it is continued elsewhere. Default: 30."),
  Options.optional
)

const act = (action: string, id: string, query: Readonly<Record<string, string>>) =>
  Effect.gen(function* () {
    const client = yield* ServerClient
    const path = `/admin/v1/tree/${encodeURIComponent(id)}/${action}`
    yield* client.call(HttpClientRequest.setUrlParams(HttpClientRequest.post(path), query), TreeAction)
    yield* Console.error(`${id}: ${action} done.`)
  })

const restart = Command.make("restart", { ...serverOptions, place }, ({ place, ...server }) =>
  againstServer(server)(act("restart", place, {}))
).pipe(Command.withDescription("Stop it and start it again. Streams go on."))

const drain = Command.make("drain", { grace, ...serverOptions, place }, ({ grace, place, ...server }) =>
  againstServer(server)(
    act(
      "drain",
      place,
      Option.match(grace, { onNone: () => ({}), onSome: (seconds) => ({ grace_seconds: String(seconds) }) })
    )
  )
).pipe(Command.withDescription("Take its replicas out of service. Streams end, or are continued elsewhere."))

const kill = Command.make("kill", { ...serverOptions, place }, ({ place, ...server }) =>
  againstServer(server)(act("kill", place, {}))
).pipe(
  Command.withDescription("Kill its worker processes, as a crash would. They are started anew, and streams go on.")
)

export const treeCommand = Command.make("tree", { json, watch, ...serverOptions }, ({ json, watch, ...server }) =>
  Effect.gen(function* () {
    const client = yield* ServerClient
    const print = Effect.gen(function* () {
      const { data } = yield* client.call(HttpClientRequest.get("/admin/v1/tree"), TreeList)
      const now = (yield* Clock.currentTimeMillis) / 1000
      yield* Console.log((watch ? clear() : "") + (json ? JSON.stringify(data, null, 2) : draw(data, now)))
    })
    yield* watch ? Effect.repeat(print, Schedule.spaced("1 second")) : print
  }).pipe(againstServer(server))
).pipe(
  Command.withDescription("Show what runs in a server: devices, models, workers, and what failed last."),
  Command.withSubcommands([restart, drain, kill])
)

const treeHelp: CommandHelp = {
  usage: ["tree [options]", "tree restart <id>", "tree drain [--grace <seconds>] <id>", "tree kill <id>"],
  examples: [
    ["helixflow tree", "once"],
    ["helixflow tree --watch", "and again every second"],
    ["helixflow tree --json", "for scripts"],
    ["helixflow tree drain local/cpu:0", "take the models of a device out of service"],
    ["helixflow tree restart local/cpu:0/helix-demo#0/model", "start its worker anew"]
  ]
}

const pageOf = <Name extends string, R, E, A>(command: Command.Command<Name, R, E, A>, usage: string) =>
  render(command, { usage: [usage], examples: [] })

/** The help page of each of its commands. */
export const treePages: ReadonlyArray<readonly [string, string]> = [
  ["tree restart", pageOf(restart, "tree restart [options] <id>")],
  ["tree drain", pageOf(drain, "tree drain [options] <id>")],
  ["tree kill", pageOf(kill, "tree kill [options] <id>")],
  ["tree", render(treeCommand, treeHelp, [summary(restart), summary(drain), summary(kill)])]
]
