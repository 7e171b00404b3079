/**
 * What a server does on the side for as long as it lives: it writes behind, sweeps, looks after connections. Each such service is a
 * child of one supervisor, `services` of the node, so that one that fails is started again and the tree tells of it.
 *
 * They are known here and not to the supervisor alone: a service may be added before there is a node, and all of them are there
 * again when their supervisor is restarted. That never gives up: a service that keeps failing is no reason to end streams.
 */
import { ChildId } from "@helixflow/schema/Ids"
import { Context, Effect, Layer, type Scope } from "effect"
import type { ChildSpec } from "./ChildInstance.ts"
import type { Directory } from "./Directory.ts"
import { defaultRestartPolicy } from "./RestartPolicy.ts"
import * as Supervisor from "./Supervisor.ts"

export interface ServicesShape {
  /**
   * Runs it until the scope closes, from when there is a node. `run` is never done: it is run again whenever it ends, after a pause
   * that grows with each failure.
   */
  readonly add: (name: string, run: Effect.Effect<unknown, unknown>) => Effect.Effect<void, never, Scope.Scope>
  /** Their supervisor, with all that were added; at most one at a time. */
  readonly supervisor: Effect.Effect<Supervisor.SupervisorHandle, never, Scope.Scope>
}

export const id = ChildId.make("services")

const restartPolicy = { ...defaultRestartPolicy, intensity: Number.POSITIVE_INFINITY }

const make = (): ServicesShape => {
  const specs = new Map<ChildId, ChildSpec>()
  let running: Supervisor.SupervisorHandle | null = null

  return {
    add: (name, run) =>
      Effect.acquireRelease(
        Effect.suspend(() => {
          const spec: ChildSpec<never> = { id: ChildId.make(name), restart: "permanent", start: Effect.succeed(run) }
          if (specs.has(spec.id)) return Effect.dieMessage(`There is a service \`${name}\` already`)
          specs.set(spec.id, spec)
          // one whose supervisor is ending is there again with the next
          return running === null ? Effect.void : Effect.ignore(running.startChild(spec))
        }),
        () =>
          Effect.suspend(() => {
            const child = ChildId.make(name)
            specs.delete(child)
            return running === null ? Effect.void : Effect.ignore(running.terminateChild(child))
          })
      ),
    supervisor: Effect.acquireRelease(
      Effect.tap(
        Effect.suspend(() =>
          Supervisor.make({ name: id, strategy: "one_for_one", restartPolicy, children: [...specs.values()] })
        ),
        (supervisor) => {
          running = supervisor
        }
      ),
      () =>
        Effect.sync(() => {
          running = null
        })
    )
  }
}

export class Services extends Context.Tag("@helixflow/runtime/Services")<Services, ServicesShape>() {
  /** For a node, which runs them. */
  static readonly layer: Layer.Layer<Services> = Layer.sync(this, make)

  /** Where there is no node: they run by themselves. */
  static readonly layerAlone: Layer.Layer<Services> = Layer.scoped(
    this,
    Effect.suspend(() => {
      const services = make()
      return Effect.as(services.supervisor, services)
    })
  )
}

/** The services as a child of the node's supervisor. */
export const child = ({ supervisor }: ServicesShape, directory: Directory, place: string) =>
  Supervisor.asChild({
    id,
    restart: "permanent",
    supervisor: Effect.tap(supervisor, (handle) => directory.supervisors.register(place, handle))
  })
