/** `helixflow.json` in a model's folder: what an operator says of a model. Unknown settings are refused, not ignored. */

import { DeviceKind } from "@helixflow/schema/Device"
import { type Bytes, ModelId } from "@helixflow/schema/Ids"
import { KeepAliveText } from "@helixflow/schema/KeepAlive"
import { EngineChoice, type Footprint, ModelSpec, Placing, PolicyName } from "@helixflow/schema/Model"
import { Either, Option, ParseResult, Schema } from "effect"
import { parseBytes } from "./DeviceDeclaration.ts"
import { sequenceBytes } from "./MemoryEstimate.ts"
import type { ModelFolder } from "./ModelFolder.ts"
import { Dtype } from "./ModelGraph.ts"

/** Bytes, as a number or as `"1.5GiB"`. */
export const Amount = Schema.transformOrFail(Schema.Union(Schema.Number, Schema.String), Schema.Number, {
  strict: true,
  decode: (amount, _, ast) =>
    // nothing is an amount too
    Number(amount) === 0
      ? Either.right(0)
      : Either.mapLeft(parseBytes(String(amount)), (problem) => new ParseResult.Type(ast, amount, problem)),
  encode: ParseResult.succeed
})
const Count = Schema.Int.pipe(Schema.positive())

/** On any device, or on those of some kinds: `"1.5GiB"`, or `{"cpu": "8GiB", "cuda": "3GiB"}`. */
const Memory = Schema.Union(
  Amount,
  Schema.partialWith(Schema.Record({ key: DeviceKind, value: Amount }), { exact: true })
)

/** `3` is at most three, none of them kept. */
const Replicas = Schema.transform(
  Schema.Union(Count, Schema.Struct({ min: Schema.NonNegativeInt, max: Count })),
  Schema.Struct({ min: Schema.NonNegativeInt, max: Count }).pipe(
    Schema.filter(({ max, min }) => min <= max || `"min" is ${min}, more than "max", which is ${max}`)
  ),
  {
    strict: true,
    decode: (asked) => (typeof asked === "number" ? { min: 0, max: asked } : asked),
    encode: (replicas) => replicas
  }
)

const DeviceName = Schema.String.pipe(
  Schema.pattern(/^([A-Za-z0-9_.-]+\/)?[a-z]+:\d+$/, {
    message: ({ actual }) => `\`${actual}\` is not a device such as cuda:0 or local/cuda:0`
  })
)

/** `2` is over two devices, on which a part takes its share of the memory and no more. */
const Split = Schema.transform(
  Schema.Union(Count, Schema.Struct({ devices: Count, overhead: Amount })),
  Schema.Struct({ devices: Count, overhead: Schema.Number }),
  {
    strict: true,
    decode: (asked) => (typeof asked === "number" ? { devices: asked, overhead: 0 } : asked),
    encode: (split) => split
  }
)

/** What a model asks of its devices. */
export const PlacingSettings = Schema.Struct({
  /** Only devices of this kind. */
  kind: Schema.optional(DeviceKind),
  /** Only devices in whose name this is found, e.g. `"H100"`. */
  name: Schema.optional(Schema.NonEmptyString),
  /** Only these devices. */
  devices: Schema.optionalWith(Schema.NonEmptyArray(DeviceName), { as: "Option" }),
  /** No two replicas on one device. */
  spread: Schema.optionalWith(Schema.Boolean, { default: () => false }),
  /** Models that it shares no device with. */
  notBeside: Schema.optionalWith(Schema.Array(ModelId), { default: () => [] }),
  /** Over how many devices each replica is split, or that and what a part takes besides its share of the memory. */
  split: Schema.optionalWith(Split, { default: () => ({ devices: 1, overhead: 0 }) })
})
const anywhere = Schema.decodeSync(PlacingSettings)({})

export const ModelSettings = Schema.Struct({
  /** The public name, instead of the folder's path. */
  id: Schema.optional(ModelId),
  aliases: Schema.optionalWith(Schema.Array(ModelId), { default: () => [] }),
  /** Models of ours that answer in its place, in this order, when it can't be had: ids, aliases or names of versions. */
  fallback: Schema.optionalWith(Schema.Array(ModelId), { default: () => [] }),
  /** What a loaded replica takes besides its KV cache, instead of the estimate. */
  memory: Schema.optional(Memory),
  /** Most replicas, or how many are kept loaded and how many there are at most. */
  replicas: Schema.optionalWith(Replicas, { default: () => ({ min: 0, max: 1 }) }),
  /** Most tokens of a sequence; the model's own limit where that is smaller. */
  context: Schema.optional(Count),
  /** Sequences computed at once. */
  slots: Schema.optional(Count),
  /** Memory for computed prefixes that are kept for other requests, besides the slots; 0 keeps none. */
  prefixCache: Schema.optional(Amount),
  /** How long a replica stays loaded once nobody uses it, e.g. `"10m"`; forever is until its memory is needed. */
  keepAlive: Schema.optionalWith(KeepAliveText, { default: () => "forever" as const }),
  /** Where replicas and requests go; the pool's policy unless said. */
  policy: Schema.optional(PolicyName),
  placing: Schema.optionalWith(PlacingSettings, { default: () => anywhere }),
  /** The ONNX file to load, relative to the model's folder, e.g. `"onnx/model_q4.onnx"`, instead of the one that suits best. */
  file: Schema.optional(Schema.NonEmptyString),
  /** The precision to load, of those that the folder has. */
  dtype: Schema.optional(Schema.Literal(...Dtype)),
  /** Whether clients may write special tokens in messages, e.g. `<|im_end|>`; otherwise only the chat template does. */
  specialTokensInMessages: Schema.optionalWith(Schema.Boolean, { default: () => false }),
  /** What computes a text model. */
  engine: Schema.optionalWith(EngineChoice, { default: () => "auto" as const }),
  /** Threads of one operator, instead of the node's. */
  threads: Schema.optional(Schema.Int.pipe(Schema.between(1, 1024)))
})
export type ModelSettings = typeof ModelSettings.Type

export const decode = Schema.decodeUnknownEither(Schema.parseJson(ModelSettings), { onExcessProperty: "error" })

export const defaults: ModelSettings = Schema.decodeSync(ModelSettings)({})

/** Longer contexts have to be asked for: their KV cache is paid for at load. */
const defaultContext = 4096
const mostSlots = 16
/** The KV cache that a replica may have unasked, bytes. */
const defaultKvCache = 2 * 2 ** 30

/** What a replica may keep of computed prefixes unasked, bytes; never more than its slots take. */
const defaultPrefixCache = 256 * 2 ** 20

/** Below, threads wait for each other for longer than they compute, bytes. */
const tiny = 4 * 2 ** 20

/** Threads of a model that doesn't say; null: the node's. */
export const threadsOf = ({ graphBytes, task }: Pick<ModelFolder, "graphBytes" | "task">): number | null =>
  task === "text-generation" && graphBytes < tiny ? 1 : null

/** What a model takes by its files, bytes. */
type Weighed = Pick<ModelFolder, "weights" | "kvPerToken">

/** What a model's files say of it. */
export interface Described {
  readonly task: ModelSpec["task"]
  readonly context: number
  /** On each kind of device that it may be loaded on; on each another file may be. */
  readonly onKinds: ReadonlyMap<DeviceKind, Weighed>
  readonly sampling: ModelSpec["sampling"]
  readonly labels: ModelSpec["labels"]
  /** Seconds since the epoch. */
  readonly created: number
  readonly revision: string
  /** Whether a program of its own serves the model over HTTP. */
  readonly external?: boolean
}

/** The spec of a model from its files and its settings; `policy` is the pool's. */
export const toSpec = (
  name: ModelId,
  files: Described,
  settings: ModelSettings,
  policy: PolicyName = "best-fit"
): ModelSpec => {
  const context = Math.min(files.context, settings.context ?? defaultContext)
  const mostPerToken = Math.max(0, ...Array.from(files.onKinds.values(), ({ kvPerToken }) => kvPerToken))
  const affordable = Math.floor(defaultKvCache / Math.max(1, mostPerToken * context))
  const slots = settings.slots ?? Math.max(1, Math.min(mostSlots, affordable))
  const footprints = Array.from(files.onKinds, ([kind, weighed]) => {
    const said = typeof settings.memory === "number" ? settings.memory : settings.memory?.[kind]
    return [kind, footprintOf(weighed, said, slots, files.external ?? false)] as const
  })
  return new ModelSpec({
    id: settings.id ?? name,
    aliases: settings.aliases,
    fallback: settings.fallback,
    task: files.task,
    context,
    slots,
    weights: bytes(Math.max(0, ...footprints.map(([, { weights }]) => weights))),
    declared: footprints.every(([, { declared }]) => declared),
    kvPerToken: bytes(mostPerToken),
    onKinds: Object.fromEntries(footprints),
    prefixCache: bytes(settings.prefixCache ?? Math.min(defaultPrefixCache, mostPerToken * context * slots)),
    replicas: settings.replicas.max,
    policy: settings.policy ?? policy,
    placing: placingOf(settings),
    sampling: files.sampling,
    labels: files.labels,
    keepAlive: settings.keepAlive,
    created: files.created,
    revision: files.revision,
    external: files.external ?? false
  })
}

/** `said` by the operator. What a program of its own takes is always an operator's word. */
const footprintOf = (
  { kvPerToken, weights }: Weighed,
  said: number | undefined,
  slots: number,
  external: boolean
): Footprint => ({
  weights: bytes(said ?? weights + (kvPerToken > 0 ? sequenceBytes(slots) : 0)),
  declared: said !== undefined || external,
  kvPerToken: bytes(kvPerToken)
})

const placingOf = ({ placing, replicas }: ModelSettings): Placing =>
  new Placing({
    minReplicas: replicas.min,
    kind: placing.kind ?? null,
    name: placing.name ?? null,
    devices: Option.getOrElse(placing.devices, () => []),
    spread: placing.spread,
    notBeside: placing.notBeside,
    split: placing.split.devices,
    partOverhead: bytes(placing.split.overhead)
  })

const bytes = (amount: number): Bytes => ModelSpec.fields.weights.make(Math.ceil(amount))
