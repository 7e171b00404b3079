/**
 * NVIDIA's command `nvidia-smi`, for machines where the library can't be called. It lists whole GPUs: instances of partitioned ones
 * have no figures of their own there, so such a GPU is left out.
 */
import { execFile } from "node:child_process"
import { Effect } from "effect"
import { type Measurement, MeterFailed } from "./DeviceMeter.ts"
import { type GpuInventory, NoInventory } from "./GpuInventory.ts"

/** A driver in trouble can hold the command for ever. */
const timeoutMillis = 10_000

const fields = [
  "uuid",
  "name",
  "memory.total",
  "memory.free",
  "memory.used",
  "utilization.gpu",
  "temperature.gpu",
  "power.draw",
  "ecc.errors.uncorrected.volatile.total",
  "mig.mode.current"
] as const
type Field = (typeof fields)[number]
type Row = Readonly<Record<Field, string>>

const run = (command: string, args: ReadonlyArray<string>): Effect.Effect<string, MeterFailed> =>
  Effect.async((resume) => {
    const child = execFile(command, [...args], { timeout: timeoutMillis, killSignal: "SIGKILL" }, (error, stdout) =>
      resume(
        error === null ? Effect.succeed(stdout) : Effect.fail(new MeterFailed({ reason: reasonOf(command, error) }))
      )
    )
    return Effect.sync(() => void child.kill("SIGKILL"))
  })

const reasonOf = (command: string, error: Error): string =>
  "killed" in error && error.killed === true
    ? `${command} did not answer within ${timeoutMillis} ms`
    : (error.message.split("\n")[0] ?? "")

const lines = (csv: string): ReadonlyArray<ReadonlyArray<string>> =>
  csv
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => line.split(",").map((value) => value.trim()))

/** `[N/A]`, `[Not Supported]` and the like are null. */
const number = (text: string | undefined): number | null => {
  const value = Number.parseFloat(text ?? "")
  return Number.isNaN(value) ? null : value
}

/** The command says mebibytes. */
const bytes = (text: string | undefined): number => (number(text) ?? 0) * 2 ** 20

const rows = (csv: string): ReadonlyArray<Row> =>
  lines(csv).map((values) => {
    const at = (field: Field) => values[fields.indexOf(field)] ?? ""
    return Object.fromEntries(fields.map((field) => [field, at(field)])) as Row
  })

const query = (command: string) =>
  Effect.map(run(command, [`--query-gpu=${fields.join(",")}`, "--format=csv,noheader,nounits"]), rows)

/** Bytes by process of one GPU; null where some are not told. */
const processesOf = (csv: string, uuid: string): ReadonlyMap<number, number> | null => {
  const processes = new Map<number, number>()
  for (const [gpu, pid, used] of lines(csv)) {
    if (gpu !== uuid) continue
    if (number(used) === null) return null
    processes.set(Number(pid), (processes.get(Number(pid)) ?? 0) + bytes(used))
  }
  return processes
}

const measurement = (row: Row, processes: ReadonlyMap<number, number> | null): Measurement => {
  const percent = number(row["utilization.gpu"])
  return {
    figures: {
      free: bytes(row["memory.free"]),
      utilization: percent === null ? null : percent / 100,
      temperature: number(row["temperature.gpu"]),
      power: number(row["power.draw"]),
      eccErrors: number(row["ecc.errors.uncorrected.volatile.total"])
    },
    used: bytes(row["memory.used"]),
    processes
  }
}

/** Asks the command which GPUs there are. */
export const inventory = (command: string): Effect.Effect<GpuInventory, NoInventory> =>
  Effect.mapBoth(query(command), {
    onFailure: ({ reason }) => new NoInventory({ reason }),
    onSuccess: (found): GpuInventory => ({
      source: command,
      gpus: found
        .filter((row) => row["mig.mode.current"] !== "Enabled")
        .map((row) => ({ uuid: row.uuid, name: row.name, total: bytes(row["memory.total"]) })),
      read: (uuid) =>
        Effect.gen(function* () {
          const row = (yield* query(command)).find((row) => row.uuid === uuid)
          if (row === undefined) return yield* new MeterFailed({ reason: `${uuid} is not there` })
          const apps = ["--query-compute-apps=gpu_uuid,pid,used_memory", "--format=csv,noheader,nounits"]
          return measurement(row, processesOf(yield* run(command, apps), uuid))
        })
    })
  })
