/**
 * Starts the compiled worker with the code that V8 has made of it before: to make it anew is a third of what a start takes. V8 refuses code of
 * another version of itself, and then makes it anew.
 *
 * With the argument `--keep-code`, last, it leaves the code that the others had it make; the build calls it so.
 */
import { createHash } from "node:crypto"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { fileURLToPath } from "node:url"
import { Script } from "node:vm"

const file = fileURLToPath(new URL("../dist/worker.cjs", import.meta.url))
const source = readFileSync(file, "utf8")
// V8 itself only compares lengths
const codeFile = `${file}.${createHash("sha256").update(source).digest("hex").slice(0, 16)}.code`

const script = new Script(`(function (require, __filename) {${source}\n})`, {
  filename: file,
  ...(existsSync(codeFile) ? { cachedData: readFileSync(codeFile) } : {})
})
if (process.argv.at(-1) === "--keep-code") {
  process.argv.pop()
  process.once("exit", () => writeFileSync(codeFile, script.createCachedData()))
}
script.runInThisContext()(createRequire(file), file)
