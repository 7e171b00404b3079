/** `upstream.json` in a folder below a models directory: another server of this API, whose models are served as if they were ours. */
import * as fs from "node:fs"
import * as path from "node:path"
import { Config, Effect, Either, Option, ParseResult, type Redacted, Schema, Redacted as Secret } from "effect"

const Seconds = Schema.Number.pipe(Schema.between(0.1, 3600))

export const UpstreamSettings = Schema.Struct({
  /** With its path, e.g. `https://api.example.com/v1`. */
  url: Schema.String.pipe(
    Schema.filter((text) => /^https?:\/\//.test(text) && URL.canParse(text), {
      message: () => "must be like https://api.example.com/v1"
    })
  ),
  /** Where its key is: never in this file, which is no secret. */
  key: Schema.optional(
    Schema.Union(
      Schema.Struct({ env: Schema.NonEmptyString }),
      /** Relative to this folder. */
      Schema.Struct({ file: Schema.NonEmptyString })
    )
  ),
  /** Which of its models are served; all where there is none. */
  models: Schema.optional(Schema.NonEmptyArray(Schema.NonEmptyString)),
  /** Put before the names of its models here. */
  prefix: Schema.optionalWith(Schema.String, { default: () => "" }),
  /** Further names here, and which of its models they stand for. */
  aliases: Schema.optionalWith(Schema.Record({ key: Schema.NonEmptyString, value: Schema.NonEmptyString }), {
    default: () => ({})
  }),
  /** Models that are asked in its place, in this order, when it can't answer. */
  fallback: Schema.optionalWith(Schema.Array(Schema.NonEmptyString), { default: () => [] }),
  /** How often a request is sent again that has no answer yet. */
  retries: Schema.optionalWith(Schema.Int.pipe(Schema.between(0, 10)), { default: () => 2 }),
  /** How long it may be silent: before its answer, and within it. */
  timeoutSeconds: Schema.optionalWith(Seconds, { default: () => 60 }),
  /** How often its models are asked for, which shows that it lives. */
  probeSeconds: Schema.optionalWith(Seconds, { default: () => 30 })
})
export type UpstreamSettings = typeof UpstreamSettings.Type

export interface UpstreamFolder {
  /** The folder's path below the models directory. */
  readonly name: string
  readonly settings: UpstreamSettings
  readonly key: Option.Option<Redacted.Redacted>
}

const fileName = "upstream.json"

/** A folder at most so deep is looked into. */
const maxDepth = 3

const decode = Schema.decodeUnknownEither(Schema.parseJson(UpstreamSettings), { onExcessProperty: "error" })

const folders = (directory: string, depth: number): ReadonlyArray<string> => {
  if (fs.existsSync(path.join(directory, fileName))) return [directory]
  if (depth === 0 || !fs.existsSync(directory)) return []
  return fs
    .readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith("."))
    .map((entry) => path.join(directory, entry.name))
    .sort()
    .flatMap((entry) => folders(entry, depth - 1))
}

const readKey = (
  folder: string,
  source: UpstreamSettings["key"]
): Effect.Effect<Option.Option<Redacted.Redacted>, string> => {
  if (source === undefined) return Effect.succeed(Option.none())
  if ("env" in source) {
    return Config.redacted(source.env).pipe(
      Effect.map(Option.some),
      Effect.mapError(() => `\`key\`: the environment has no variable ${source.env}`)
    )
  }
  return Effect.try({
    try: () => Option.some(Secret.make(fs.readFileSync(path.join(folder, source.file), "utf8").trim())),
    catch: () => `\`key\`: ${path.join(folder, source.file)} can't be read`
  })
}

const readFolder = (folder: string, name: string): Effect.Effect<UpstreamFolder, string> =>
  Effect.gen(function* () {
    const settings = yield* Either.mapLeft(decode(fs.readFileSync(path.join(folder, fileName), "utf8")), (error) => {
      const [issue] = ParseResult.ArrayFormatter.formatErrorSync(error)
      const where = issue === undefined || issue.path.length === 0 ? "" : `\`${issue.path.join(".")}\`: `
      return `${where}${issue?.message ?? "malformed"}`
    })
    return { name, settings, key: yield* readKey(folder, settings.key) }
  })

/** Every upstream below the directories. One that can't be used is told of in the log, and left out. */
export const read = (modelsDirs: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<UpstreamFolder>> =>
  Effect.gen(function* () {
    const found: Array<UpstreamFolder> = []
    for (const directory of modelsDirs) {
      for (const folder of folders(directory, maxDepth)) {
        const name = path.relative(directory, folder).split(path.sep).join("/") || path.basename(directory)
        yield* readFolder(folder, name).pipe(
          Effect.match({
            onSuccess: (upstream) => void found.push(upstream),
            onFailure: (reason) => reason
          }),
          Effect.tap((reason) =>
            reason === undefined
              ? Effect.void
              : Effect.logWarning(`The upstream \`${name}\` is not used: ${reason} (${path.join(folder, fileName)}).`)
          )
        )
      }
    }
    return found
  })
