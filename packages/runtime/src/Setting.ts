/**
 * A setting as data: its name in the environment, what it means, and how its text is read. The configuration of every package
 * is a record of these, and `docs/configuration.md` is generated from them, so that the two cannot drift apart.
 */
import { Config, ConfigError, Either, Option } from "effect"

export interface Setting<A> {
  /** The environment variable. */
  readonly name: string
  /** The default as a reader of the documentation should see it. */
  readonly defaultText: string
  /** Markdown, one paragraph. */
  readonly description: string
  readonly config: Config.Config<A>
}

/**
 * `parse` gives the value, or what is wrong with the text as the rest of a sentence that begins with the variable's name:
 * "must be a port". An empty variable counts as unset.
 */
export const make = <A>(options: {
  readonly name: string
  readonly defaultText: string
  readonly description: string
  readonly fallback: () => A
  readonly parse: (text: string) => Either.Either<A, string>
}): Setting<A> => ({
  name: options.name,
  defaultText: options.defaultText,
  description: options.description,
  config: Config.option(Config.string(options.name)).pipe(
    Config.map(Option.filter((text) => text.trim() !== "")),
    Config.mapOrFail(
      Option.match({
        onNone: () => Either.right(options.fallback()),
        onSome: (text) =>
          Either.mapLeft(options.parse(text.trim()), (problem) => ConfigError.InvalidData([options.name], problem))
      })
    ),
    Config.withDescription(options.description)
  )
})

/** What is wrong with the configuration, one line per variable, for the person who set it. */
export const explain = (error: ConfigError.ConfigError): ReadonlyArray<string> => {
  switch (error._op) {
    case "And":
    case "Or":
      return [...explain(error.left), ...explain(error.right)]
    default:
      return [`${error.path.at(-1) ?? "The configuration"} ${error.message}`]
  }
}

const units = { ms: 1, s: 1_000, min: 60_000, h: 3_600_000 } as const

/** A length of time in milliseconds, e.g. `500ms`, `2s`, `1.5min`, `1h`; more than none. */
export const parseDuration = (text: string): Either.Either<number, string> => {
  const [, amount, unit] = /^(\d+(?:\.\d+)?) ?(ms|s|min|h)$/.exec(text) ?? []
  const factor = Object.entries(units).find(([name]) => name === unit)?.[1]
  const millis = Number(amount) * (factor ?? Number.NaN)
  return millis > 0
    ? Either.right(millis)
    : Either.left(`must be a time such as 500ms, 2s, 1min or 1h, but is \`${text}\``)
}
