/**
 * Which files a model's folder holds, in short. A worker that is started anew must load what the one before it had loaded, or a stream
 * would go on with other weights than it began with; so the model store names the files by a revision, and a worker refuses others.
 *
 * Nothing large is read: names, sizes, times of change and beginnings tell files apart, unless somebody takes pains to forge them.
 */
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { Either, Schema } from "effect"
import { ModelSettings } from "./ModelSettings.ts"

/** What of `helixflow.json` decides which files are loaded and how they are read; the rest comes to workers by message. */
const { dtype, file, specialTokensInMessages } = ModelSettings.fields
const decodeChoice = Schema.decodeUnknownEither(
  Schema.parseJson(Schema.Struct({ dtype, file, specialTokensInMessages }))
)

const settingsName = "helixflow.json"

/** As much of each file as has an ONNX graph's beginning. */
const beginning = 64 * 1024

/** What people read and machines don't. */
const isProse = (name: string): boolean => /\.(md|png|jpe?g|gif|svg|pdf)$|^(LICENSE|NOTICE|README)/i.test(name)

/** The files of a model's folder and of those in it, relative to it, sorted. */
export const filesOf = (folder: string): ReadonlyArray<string> => {
  const below = (name: string, depth: number): ReadonlyArray<string> =>
    entriesOf(path.join(folder, name))
      .filter((entry) => !entry.name.startsWith(".") && !isProse(entry.name))
      .flatMap((entry) => {
        const inner = path.join(name, entry.name)
        const stat = fs.statSync(path.join(folder, inner), { throwIfNoEntry: false })
        if (stat?.isDirectory() === true) return depth > 0 ? below(inner, depth - 1) : []
        return stat?.isFile() === true ? [inner] : []
      })
  return [...below("", 1)].sort()
}

/** None where there is no such folder, or no more. */
const entriesOf = (folder: string): ReadonlyArray<fs.Dirent> => {
  try {
    return fs.readdirSync(folder, { withFileTypes: true })
  } catch {
    return []
  }
}

/** Of a folder or a file: changes when files come or go, or one of them changes. Costs a look at each. */
export const appearance = (place: string): string =>
  ["", ...filesOf(place)]
    .map((name) => {
      const stat = fs.statSync(path.join(place, name), { throwIfNoEntry: false })
      // a folder that is moved is the same
      return stat === undefined || !stat.isFile() ? name : `${name}:${stat.ino}:${stat.size}:${stat.mtimeMs}`
    })
    .join(" ")

/** Throws where the folder can't be read. */
export const revisionOf = (folder: string): string => {
  const hash = createHash("sha256")
  for (const name of filesOf(folder)) {
    const file = path.join(folder, name)
    if (name === settingsName) {
      const choice = decodeChoice(fs.readFileSync(file, "utf8"))
      hash.update(JSON.stringify(Either.isRight(choice) ? choice.right : "malformed"))
      continue
    }
    const { mtimeMs, size } = fs.statSync(file)
    hash.update(JSON.stringify([name, size, mtimeMs]))
    hash.update(beginningOf(file))
  }
  return hash.digest("hex").slice(0, 16)
}

const beginningOf = (file: string): Buffer => {
  const descriptor = fs.openSync(file, "r")
  try {
    const bytes = Buffer.alloc(beginning)
    return bytes.subarray(0, fs.readSync(descriptor, bytes, 0, beginning, 0))
  } finally {
    fs.closeSync(descriptor)
  }
}
