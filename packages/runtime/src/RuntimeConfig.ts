/** What the runtime takes from its environment. No other file of this package reads it. */
import { delimiter, join, resolve } from "node:path"
import { defaults as schedulerDefaults } from "@helixflow/scheduler/SchedulerOptions"
import { PolicyName } from "@helixflow/schema/Model"
import { Config, type ConfigError, Context, Duration, Either, Layer, Option, Redacted, Schema } from "effect"
import { bundledModelsDir } from "./BundledModels.ts"
import { type DeviceDeclaration, parseBytes, parseDevices } from "./DeviceDeclaration.ts"
import type { LivenessLimits } from "./Liveness.ts"
import type { ContinuationLimits } from "./Losses.ts"
import type { QuarantineLimits } from "./Quarantine.ts"
import * as Setting from "./Setting.ts"

/** Requests that are remembered to kill workers, at some 100 bytes each. */
const quarantineEntries = 1_024

/** Milliseconds before a request may be preempted; `off`: `Infinity`. */
export const parseQuantum = (text: string): Either.Either<number, string> =>
  text === "off"
    ? Either.right(Number.POSITIVE_INFINITY)
    : Either.mapLeft(
        Setting.parseDuration(text),
        () => `must be a time such as 500ms, 2s, 1min or 1h, or off, but is \`${text}\``
      )

export const settings = {
  dataDir: Setting.make({
    name: "HELIX_DATA_DIR",
    defaultText: "`.helix`",
    description:
      "Folder for what is made once and kept: the database, the API key and the certificate. Made if missing.",
    fallback: () => resolve(".helix"),
    parse: (text) => Either.right(resolve(text))
  }),
  databaseUrl: Setting.make<Option.Option<Redacted.Redacted>>({
    name: "HELIX_DATABASE_URL",
    defaultText: "SQLite: `helixflow.db` (mode 0600) in the data folder",
    description:
      "PostgreSQL to use instead, e.g. `postgres://user:password@host:5432/database`. Tables are made at start.",
    fallback: Option.none,
    parse: (text) =>
      /^postgres(ql)?:\/\//.test(text) && URL.canParse(text)
        ? Either.right(Option.some(Redacted.make(text)))
        : Either.left("must be like postgres://user:password@host:5432/database")
  }),
  sessionRetention: Setting.make({
    name: "HELIX_SESSION_RETENTION",
    defaultText: "`600`",
    description:
      "Seconds that a stream is kept after its last change, for its client to come back to; at most 31536000 (a year). `0`: none is kept, " +
      "and what a client has not read is lost when it hangs up.",
    fallback: () => Duration.seconds(600),
    parse: (text) =>
      /^\d{1,8}$/.test(text) && Number(text) <= 31_536_000
        ? Either.right(Duration.seconds(Number(text)))
        : Either.left(`must be a whole number of seconds from 0 to 31536000, but is \`${text}\``)
  }),
  sessionBytes: Setting.make({
    name: "HELIX_SESSION_BYTES",
    defaultText: "`1GiB`",
    description:
      "Most bytes of kept streams in the database, e.g. `200MB`. Those that would expire first are removed first.",
    fallback: () => 2 ** 30,
    parse: (text) => Either.mapLeft(parseBytes(text), () => `must be a size such as 200MB or 1GiB, but is \`${text}\``)
  }),
  modelsDirs: Setting.make<Option.Option<ReadonlyArray<string>>>({
    name: "HELIX_MODELS_DIR",
    defaultText: "the bundled models, and `models` in the data folder",
    description:
      "Folders of models, more than one separated by `:` (`;` on Windows). A model's id is its folder's path below, so " +
      "`org/name` is possible; of two models with the same id the one in the earlier folder is used. `helixflow pull` writes " +
      "to the first, or where none is named to `models` in the data folder.",
    fallback: Option.none,
    parse: (text) => {
      const folders = text.split(delimiter).filter((folder) => folder !== "")
      return folders.length === 0
        ? Either.left("must name a folder")
        : Either.right(Option.some(folders.map((folder) => resolve(folder))))
    }
  }),
  defaultModel: Setting.make<Option.Option<string>>({
    name: "HELIX_DEFAULT_MODEL",
    defaultText: "`helix-demo` where it is listed",
    description: "The model that is loaded at start. `/readyz` waits for it, and without one only for the scheduler.",
    fallback: Option.none,
    parse: (text) => Either.right(Option.some(text))
  }),
  devices: Setting.make<Option.Option<ReadonlyArray<DeviceDeclaration>>>({
    name: "HELIX_DEVICES",
    defaultText: "detected",
    description:
      "The devices to use and, after `=`, how much memory of each: `cpu:0=4GiB,cpu:1=4GiB`. CPUs without a size share what " +
      "the others leave, GPUs have all of theirs. `cuda:0` is the first GPU of `CUDA_VISIBLE_DEVICES`, or else on the bus; of a " +
      "partitioned GPU (MIG) each instance counts. Detected are all GPUs, or where there are none the CPUs. Units are `KB`, `MB`, `GB` (powers of 1000) and `KiB`, `MiB`, `GiB` (powers of 1024). Kinds are " +
      "`cpu`, `cuda` and `webgpu`, whose size has to be said. A device that is named and can't be computed on is refused at the start " +
      "with what is missing ([engine.md](engine.md#devices)).",
    fallback: Option.none,
    parse: (text) =>
      Either.mapBoth(parseDevices(text), {
        onLeft: (problem) => `must be devices such as cpu:0=4GiB,cuda:0, but ${problem}`,
        onRight: Option.some
      })
  }),
  environment: Setting.make<"production" | "development">({
    name: "HELIX_ENVIRONMENT",
    defaultText: "`production`",
    description: "`development` allows what is meant for development only: the command `helixflow chaos`.",
    fallback: () => "production",
    parse: (text) =>
      text === "production" || text === "development"
        ? Either.right(text)
        : Either.left(`must be production or development, but is \`${text}\``)
  }),
  freezeTimeout: Setting.make({
    name: "HELIX_FREEZE_TIMEOUT",
    defaultText: "`2s`",
    description:
      "How long a worker may be stopped, or answer nothing without computing anything, before it is killed and its streams " +
      "continue elsewhere. Written `500ms`, `2s`, `1min` or `1h`, like all times.",
    fallback: () => 2_000,
    parse: Setting.parseDuration
  }),
  stepTimeout: Setting.make({
    name: "HELIX_STEP_TIMEOUT",
    defaultText: "`30s`",
    description:
      "How long a worker may compute a single step before it is taken for an endless one and killed. Where the system does not " +
      "tell whether a process computes (any but Linux), the one limit for workers that do not answer.",
    fallback: () => 30_000,
    parse: Setting.parseDuration
  }),
  decisionLog: Setting.make<Option.Option<number>>({
    name: "HELIX_DECISION_LOG",
    defaultText: "`16MiB`",
    description:
      "Size of a file of the scheduler's decision log, `decisions.jsonl` in the data folder; four older ones are kept. It has ids, times " +
      "and figures, never what is in requests; `helixflow replay` reads it. `off` writes none.",
    fallback: () => Option.some(16 * 2 ** 20),
    parse: (text) =>
      text === "off"
        ? Either.right(Option.none())
        : Either.mapBoth(parseBytes(text), {
            onLeft: () => `must be a size such as 16MiB, or off, but is \`${text}\``,
            onRight: Option.some
          })
  }),
  policy: Setting.make<PolicyName>({
    name: "HELIX_POLICY",
    defaultText: "`best-fit`",
    description:
      "Which device a model is loaded on and which replica a request goes to, unless the model's `helixflow.json` says otherwise: " +
      "`best-fit`, `first-fit`, `round-robin`, `least-loaded` or `affinity`.",
    fallback: () => "best-fit",
    parse: (text) =>
      Schema.is(PolicyName)(text) ? Either.right(text) : Either.left(`must be one of ${PolicyName.literals.join(", ")}`)
  }),
  preload: Setting.make<boolean>({
    name: "HELIX_PRELOAD",
    defaultText: "`off`",
    description:
      "`on`: models are loaded that will probably be asked for soon, by the hour of the week and by what tenants ask for one after the " +
      "other, where memory is free or idle models are worth less ([scheduler.md](scheduler.md#loading-ahead)). Off unless asked for, " +
      "because a load takes a disk and processors from what computes, and pays only where requests have a rhythm: " +
      "`helixflow replay decisions.jsonl --preload on` says whether yours have.",
    fallback: () => false,
    parse: (text) =>
      text === "on" || text === "off"
        ? Either.right(text === "on")
        : Either.left(`must be on or off, but is \`${text}\``)
  }),
  quantum: Setting.make<number>({
    name: "HELIX_PREEMPT_AFTER",
    defaultText: "`500ms`",
    description:
      "How long a generation keeps its place at least where a tenant waits that has less of the model: then it may have to give it up, and " +
      "goes on later where it was ([scheduler.md](scheduler.md#who-makes-way)). `off`: what runs keeps its place to its end.",
    fallback: () => schedulerDefaults.quantum,
    parse: parseQuantum
  }),
  devicePeriod: Setting.make({
    name: "HELIX_DEVICE_PERIOD",
    defaultText: "`2s`",
    description:
      "Time between two readings of each device's memory, load and temperature. They are read besides whenever a " +
      "model is about to be loaded or has gone.",
    fallback: () => 2_000,
    parse: Setting.parseDuration
  }),
  nvml: Setting.make({
    name: "HELIX_NVML_LIBRARY",
    defaultText: "`libnvidia-ml.so.1`",
    description:
      "NVIDIA's management library, which GPUs are detected and read with: a path, or a name that the system's loader finds. " +
      "Without it there are no GPUs, which is no error.",
    fallback: () => "libnvidia-ml.so.1",
    parse: (text) => Either.right(text)
  }),
  nvidiaSmi: Setting.make({
    name: "HELIX_NVIDIA_SMI",
    defaultText: "`nvidia-smi`",
    description:
      "NVIDIA's command that is asked instead where the library can't be called: a path, or a name on `PATH`.",
    fallback: () => "nvidia-smi",
    parse: (text) => Either.right(text)
  }),
  visible: Setting.make<Option.Option<ReadonlyArray<string>>>({
    name: "CUDA_VISIBLE_DEVICES",
    defaultText: "all",
    description:
      "CUDA's own: the GPUs that may be used and their order, by number or by the beginning of their UUID. `-1` hides all.",
    fallback: Option.none,
    parse: (text) => Either.right(Option.some(text.split(",").map((entry) => entry.trim())))
  }),
  continuationAttempts: Setting.make({
    name: "HELIX_CONTINUATION_ATTEMPTS",
    defaultText: "`10`",
    description:
      "How many workers in a row a request may lose without getting a token further before it fails with `attempts_exhausted`.",
    fallback: () => 10,
    parse: (text) =>
      /^[1-9]\d{0,5}$/.test(text)
        ? Either.right(Number(text))
        : Either.left(`must be a number from 1 on, but is \`${text}\``)
  }),
  continuationTimeout: Setting.make({
    name: "HELIX_CONTINUATION_TIMEOUT",
    defaultText: "`2min`",
    description: "How long a request that has lost its worker may go without a further token before it fails likewise.",
    fallback: () => 120_000,
    parse: Setting.parseDuration
  }),
  continuationTotal: Setting.make({
    name: "HELIX_CONTINUATION_TOTAL",
    defaultText: "`10min`",
    description:
      "How long a request that loses workers again and again may have waited for a further token, all in all, before it fails likewise.",
    fallback: () => 600_000,
    parse: Setting.parseDuration
  }),
  quarantineTime: Setting.make({
    name: "HELIX_QUARANTINE_TIME",
    defaultText: "`10min`",
    description:
      "How long a request that was found to kill workers, and any that is the same for a worker, is refused with " +
      "`request_quarantined`.",
    fallback: () => 600_000,
    parse: Setting.parseDuration
  }),
  threads: Setting.make<Option.Option<number>>({
    name: "HELIX_THREADS",
    defaultText: "the machine's CPUs divided by the devices",
    description:
      "Threads that a replica computes an operator with; `threads` in a model's `helixflow.json` wins, and graphs of text models below " +
      "4 MiB have one, because more would only wait for each other. Replicas that compute at the " +
      "same time share the CPUs equally, so fewer are worth setting only where many replicas compute all the time.",
    fallback: Option.none,
    parse: (text) => {
      const threads = Number(text)
      return Number.isInteger(threads) && threads > 0 && threads <= 1024
        ? Either.right(Option.some(threads))
        : Either.left("must be a whole number from 1 to 1024")
    }
  })
}

export class RuntimeConfig extends Context.Tag("@helixflow/runtime/RuntimeConfig")<
  RuntimeConfig,
  {
    /** Absolute. Need not exist yet. */
    readonly dataDir: string
    /** None: SQLite in the data folder. */
    readonly databaseUrl: Option.Option<Redacted.Redacted>
    /** Zero: no session is kept. */
    readonly sessionRetention: Duration.Duration
    readonly sessionBytes: number
    /** Absolute, in the order in which they are searched. Need not exist. */
    readonly modelsDirs: ReadonlyArray<string>
    /** Absolute. Where models that are fetched go; one of `modelsDirs`. Need not exist. */
    readonly pulledModelsDir: string
    /** None: `helix-demo` where it is listed, else no model is loaded at start. */
    readonly defaultModel: Option.Option<string>
    /** None: whatever is detected. */
    readonly devices: Option.Option<ReadonlyArray<DeviceDeclaration>>
    readonly environment: "production" | "development"
    readonly liveness: LivenessLimits
    /** Of models that do not say. */
    readonly policy: PolicyName
    /** Bytes of a file of the decision log. None: it is not written. */
    readonly decisionLog: Option.Option<number>
    readonly preload: boolean
    /** Milliseconds; `Infinity`: nothing is preempted. */
    readonly quantum: number
    /** Milliseconds between two readings of a device. */
    readonly devicePeriod: number
    readonly nvml: string
    readonly nvidiaSmi: string
    /** Entries of `CUDA_VISIBLE_DEVICES`. None: all GPUs. */
    readonly visible: Option.Option<ReadonlyArray<string>>
    readonly continuation: ContinuationLimits
    readonly quarantine: QuarantineLimits
    /** Threads of one operator, for each replica; none: what there is is divided among the devices. */
    readonly threads: Option.Option<number>
  }
>() {
  static readonly config = Config.all({
    dataDir: settings.dataDir.config,
    databaseUrl: settings.databaseUrl.config,
    sessionRetention: settings.sessionRetention.config,
    sessionBytes: settings.sessionBytes.config,
    modelsDirs: settings.modelsDirs.config,
    defaultModel: settings.defaultModel.config,
    devices: settings.devices.config,
    policy: settings.policy.config,
    decisionLog: settings.decisionLog.config,
    preload: settings.preload.config,
    quantum: settings.quantum.config,
    devicePeriod: settings.devicePeriod.config,
    nvml: settings.nvml.config,
    nvidiaSmi: settings.nvidiaSmi.config,
    visible: settings.visible.config,
    threads: settings.threads.config,
    environment: settings.environment.config,
    liveness: Config.all({ freezeMillis: settings.freezeTimeout.config, stepMillis: settings.stepTimeout.config }),
    continuation: Config.all({
      attempts: settings.continuationAttempts.config,
      millis: settings.continuationTimeout.config,
      totalMillis: settings.continuationTotal.config
    }),
    quarantine: Config.all({ millis: settings.quarantineTime.config, entries: Config.succeed(quarantineEntries) })
  }).pipe(
    Config.map(({ modelsDirs, ...config }) => {
      const pulled = join(config.dataDir, "models")
      const folders = Option.getOrElse(modelsDirs, () => [...Option.toArray(bundledModelsDir()), pulled])
      return {
        ...config,
        modelsDirs: folders,
        pulledModelsDir: Option.match(modelsDirs, { onNone: () => pulled, onSome: ([first = pulled]) => first })
      }
    })
  )

  /** From the environment, or whatever `ConfigProvider` is installed. All that is wrong is reported at once. */
  static readonly layer: Layer.Layer<RuntimeConfig, ConfigError.ConfigError> = Layer.effect(this, this.config)
}
