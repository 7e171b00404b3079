/** `helixflow pull` */
import { Args, Command, Options } from "@effect/cli"
import { LocalDevices } from "@helixflow/runtime/LocalDevices"
import { Dtype } from "@helixflow/runtime/ModelGraph"
import { RuntimeConfig } from "@helixflow/runtime/RuntimeConfig"
import { Console, Effect, Fiber, Option, Schedule, Schema } from "effect"
import { failed, interruptible } from "./CommandFailure.ts"
import type { CommandHelp } from "./CommandHelp.ts"
import { GatewayConfig } from "./GatewayConfig.ts"
import { ModelHub } from "./ModelHub.ts"
import { isModelName, type PullObserver, pull } from "./Pull.ts"
import * as PullProgress from "./PullProgress.ts"

const model = Args.text({ name: "model" }).pipe(
  Args.withDescription("The repository on the hub, org/name. It is the model's id here too."),
  Args.withSchema(
    Schema.String.pipe(
      Schema.filter(isModelName, { message: ({ actual }) => `\`${String(actual)}\` must be like org/name` })
    )
  )
)
const revision = Options.text("revision").pipe(
  Options.withPseudoName("name"),
  Options.withDescription("A branch, a tag or a commit. Default: main."),
  Options.withDefault("main")
)
const dtype = Options.choice("dtype", Dtype).pipe(
  Options.withDescription(
    `The precision: ${Dtype.join(", ")}. Default: what suits the devices (q8 on CPUs, fp16 on GPUs) of what there is.`
  ),
  Options.optional
)
const to = Options.text("to").pipe(
  Options.withPseudoName("folder"),
  Options.withDescription(
    "The folder of models. Default: the first of HELIX_MODELS_DIR, or `models` in HELIX_DATA_DIR."
  ),
  Options.optional
)

/** A bar that is drawn over itself on a terminal; elsewhere nothing between the beginning and the end. */
const draw = (progress: () => PullProgress.PullProgress | undefined): Effect.Effect<void> =>
  process.stderr.isTTY
    ? Effect.sync(() => {
        const now = progress()
        if (now !== undefined) process.stderr.write(`\r\x1b[K${PullProgress.line(now)}`)
      })
    : Effect.void

const observe = Effect.gen(function* () {
  const clock = yield* Effect.clock
  let progress: PullProgress.PullProgress | undefined
  const drawing = draw(() => progress)
  const drawer = yield* Effect.forkScoped(Effect.repeat(drawing, Schedule.spaced("200 millis")))
  const observer: PullObserver = {
    begin: (graph, total, there) => {
      progress = PullProgress.begin(total, there, clock.unsafeCurrentTimeMillis())
      const rest = there > 0 ? `, of which ${PullProgress.bytes(there)} are here already` : ""
      return Console.error(`Fetching ${graph} and what belongs to it: ${PullProgress.bytes(total)}${rest}.`)
    },
    progress: (there) => {
      if (progress !== undefined) progress = PullProgress.advance(progress, there, clock.unsafeCurrentTimeMillis())
    }
  }
  const end = Fiber.interrupt(drawer).pipe(
    Effect.zipRight(drawing),
    Effect.tap(() => (process.stderr.isTTY && progress !== undefined ? Console.error("") : Effect.void))
  )
  return { observer, end }
})

/** Whether a server would compute on a GPU here: one that is declared, or that is found and can be computed on. */
const hasGpu = Effect.flatMap(RuntimeConfig, ({ devices }) =>
  Option.match(devices, {
    onSome: (declared) => Effect.succeed(declared.some(({ kind }) => kind !== "cpu")),
    onNone: () =>
      LocalDevices.pipe(
        Effect.map(({ devices }) => devices.some(({ device }) => device.kind !== "cpu")),
        Effect.provide(LocalDevices.layer),
        Effect.mapError(({ message }) => failed(message))
      )
  })
)

export const pullCommand = Command.make("pull", { model, revision, dtype, to }, (options) =>
  Effect.gen(function* () {
    const { pulledModelsDir } = yield* RuntimeConfig
    const { hubEndpoint, hubToken } = yield* GatewayConfig
    const { end, observer } = yield* observe
    const pulled = yield* pull(
      {
        model: options.model,
        revision: options.revision,
        folder: Option.getOrElse(options.to, () => pulledModelsDir),
        device: (yield* hasGpu) ? "gpu" : "cpu",
        dtype: Option.getOrUndefined(options.dtype)
      },
      observer
    ).pipe(
      Effect.ensuring(end),
      Effect.provide(ModelHub.layer({ endpoint: hubEndpoint, token: hubToken })),
      Effect.mapError((error) => failed(error.message))
    )
    yield* Console.log(
      pulled.fetched
        ? `${options.model} is in ${pulled.folder} (${pulled.graph}, commit ${pulled.commit}).`
        : `${options.model} is in ${pulled.folder} already, at commit ${pulled.commit}.`
    )
  }).pipe(Effect.scoped, interruptible)
).pipe(Command.withDescription("Fetch a model from a hub (HF_ENDPOINT, HF_TOKEN) into the folder of models."))

export const pullHelp: CommandHelp = {
  usage: ["pull <model> [options]"],
  examples: [
    ["helixflow pull onnx-community/Qwen3-0.6B-ONNX", "what suits this machine's devices"],
    ["helixflow pull onnx-community/Qwen3-0.6B-ONNX --dtype q4", "a smaller one"],
    ["HF_ENDPOINT=https://hub.example helixflow pull org/name", "another hub"]
  ]
}
