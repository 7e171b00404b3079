/** A started server with one model, in folders of its own. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type EngineModel, serveFrom } from "./EngineModels.ts"
import { type MeasuredServer, startHelixFlow } from "./MeasuredServer.ts"

export interface ServeOptions {
  readonly name?: string
  /** `helixflow.json` of the model. */
  readonly settings?: object
  /** Whether the model is loaded at the start; otherwise at the first request for it. */
  readonly loaded?: boolean
  readonly environment?: Readonly<Record<string, string>>
}

export interface BenchServer {
  readonly server: MeasuredServer
  /** The model as the server knows it. */
  readonly served: EngineModel
}

/** Starts a server, and waits for the model unless it is not to be loaded. */
export const serve = async (model: EngineModel, options: ServeOptions = {}): Promise<BenchServer> => {
  const { loaded = true, name = "HelixFlow over HTTP", settings = {} } = options
  const folder = mkdtempSync(join(tmpdir(), "helixflow-bench-"))
  const models = join(folder, "models")
  // the bundled model is loaded at the start wherever it is listed by its name
  const served = loaded ? model : { ...model, name: `cold-${model.name}` }
  serveFrom(models, served, settings)
  const environment = { ...options.environment, ...(loaded ? { HELIX_DEFAULT_MODEL: served.name } : {}) }
  const server = await startHelixFlow(name, models, join(folder, "data"), environment)
  const stop = async () => {
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  }
  return { server: { ...server, stop }, served }
}
