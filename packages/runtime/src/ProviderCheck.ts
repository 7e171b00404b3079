/**
 * Whether engines can compute on a node's GPUs, found out before the first request: a worker process is asked for each to compute
 * something there. A process of its own, because a driver that is broken may take its process with it.
 */
import { fork } from "node:child_process"
import type { LocalDevice } from "@helixflow/schema/Device"
import { DeviceUnavailable } from "@helixflow/schema/Errors"
import { Effect, Schema } from "effect"
import { nameOf } from "./ExecutionProvider.ts"
import { CHECK, type WorkerEntry } from "./WorkerEntry.ts"
import { workerEnvironment } from "./WorkerProcess.ts"

/** The first computation may compile shaders or load gigabytes of libraries. */
const timeout = "60 seconds"

/** Fails with why nothing can be computed on a device. */
export const make =
  (entry: WorkerEntry) =>
  (device: LocalDevice): Effect.Effect<void, DeviceUnavailable> =>
    ask(device, entry).pipe(
      Effect.timeoutFail({ duration: timeout, onTimeout: () => "computing three numbers on it does not end" }),
      Effect.mapError((reason) => new DeviceUnavailable({ device: nameOf(device), reason }))
    )

const Answer = Schema.Struct({ reason: Schema.NullOr(Schema.String) })

/** Fails with the reason. */
const ask = ({ index, kind }: LocalDevice, entry: WorkerEntry) =>
  Effect.async<void, string>((resume) => {
    const child = fork(entry.path, [CHECK, kind, String(index)], {
      execArgv: [...entry.execArgv],
      env: workerEnvironment(),
      // the runtime's own words go before ours, and say less
      stdio: ["ignore", "ignore", "ignore", "ipc"]
    })
    child.once("message", (message) => {
      const { reason } = Schema.decodeUnknownSync(Answer)(message)
      resume(reason === null ? Effect.void : Effect.fail(reason))
    })
    child.once("error", (error) => resume(Effect.fail(error.message)))
    child.once("exit", (code, signal) =>
      resume(Effect.fail(`the process that tried ended with ${signal ?? `code ${code}`}`))
    )
    return Effect.sync(() => void child.kill("SIGKILL"))
  })
