import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { writeTinyChatModel } from "@helixflow/runtime/TestModels"

/** A small chat model in a folder of models, with what its operator says of it. */
export const writeChatModel = (models: string, name: string, settings: object): void => {
  writeTinyChatModel(join(models, name))
  writeFileSync(join(models, name, "helixflow.json"), JSON.stringify({ slots: 2, prefixCache: 0, ...settings }))
}
