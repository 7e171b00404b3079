/** The program. */
import { Effect } from "effect"
import { run } from "./Cli.ts"

// The reader of a pipe (`helixflow chat … | head`) may have seen enough.
process.stdout.on("error", () => process.exit())
process.exit(await Effect.runPromise(run(process.argv)))
