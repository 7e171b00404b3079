/** Models whose files are replaced while the node runs: the scheduler is told, and has the new ones loaded in place of the old. */
import { ChildId } from "@helixflow/schema/Ids"
import { type Context, Effect } from "effect"
import { type Directory, schedulerId } from "./Directory.ts"
import type { ModelStore } from "./ModelStore.ts"

const interval = "5 seconds"
/** While a folder is moved into another's place there is none for a moment. */
const moving = "1 second"

/** A supervised child: looks at the folders now and then. */
export const child = (store: Context.Tag.Service<typeof ModelStore>, directory: Directory) => {
  const tell = directory.scheduler.find(schedulerId).pipe(
    Effect.flatMap((scheduler) => scheduler.Observe({ devices: [], replicas: [] })),
    // one that starts anew asks for the models itself
    Effect.ignore
  )
  const takeNotice = Effect.zipRight(Effect.delay(store.look, moving), tell)
  const watch = Effect.delay(
    Effect.if(store.hasChanged, { onTrue: () => takeNotice, onFalse: () => Effect.void }),
    interval
  )
  return { id: ChildId.make("models"), restart: "permanent" as const, start: Effect.succeed(Effect.forever(watch)) }
}
