/**
 * Compiles HelixFlow: one file for the server and command line, one for the engine worker. A bundle starts in a third of a
 * second, loading a thousand source files takes two.
 */
import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { basename, dirname, join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { say } from "./progress.mjs"
import { root } from "./root.mjs"

const programs = [
  { source: "packages/gateway/src/bin.ts", target: "packages/gateway/dist/helixflow.js" },
  { source: "packages/runtime/src/worker.ts", target: "packages/runtime/dist/worker.cjs", format: "cjs" }
]

const stampFile = join(root, "packages", "gateway", "dist", ".sources")

/** Loaded from `node_modules` when the program runs: native code finds its files there, or is optional to its user. */
const external = [
  "onnxruntime-node",
  "koffi",
  "pg-native",
  "pg-cloudflare",
  "bufferutil",
  "utf-8-validate",
  "msgpackr-extract"
]

/** CommonJS dependencies in an ES module bundle still call `require`. */
const esmBanner =
  'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);'

/** And a CommonJS bundle has no `import.meta`. */
const cjsBanner = 'const __url = require("node:url").pathToFileURL(__filename).href;'

/** Everything that decides what the bundles contain, as one hash. */
const fingerprint = () => {
  const files = [fileURLToPath(import.meta.url), join(root, "package-lock.json"), join(root, "tsconfig.json")]
  for (const name of readdirSync(join(root, "packages"))) {
    const home = join(root, "packages", name)
    if (!existsSync(join(home, "package.json"))) continue
    files.push(join(home, "package.json"))
    for (const entry of readdirSync(join(home, "src"), { recursive: true, withFileTypes: true })) {
      if (entry.isFile()) files.push(join(entry.parentPath ?? entry.path, entry.name))
    }
  }
  const hash = createHash("sha256")
  for (const file of files.sort())
    hash
      .update(`${relative(root, file)}\0`)
      .update(readFileSync(file))
      .update("\0")
  return hash.digest("hex")
}

const isCurrent = (stamp) =>
  programs.every(({ target }) => existsSync(join(root, target))) &&
  existsSync(stampFile) &&
  readFileSync(stampFile, "utf8") === stamp

/** Readers of the old file keep it; nobody sees half of the new one. */
const replace = (file, contents) => {
  mkdirSync(dirname(file), { recursive: true })
  const draft = join(dirname(file), `.${basename(file)}.${process.pid}`)
  writeFileSync(draft, contents)
  renameSync(draft, file)
}

const compile = async (build, { format = "esm", source, target }) => {
  const result = await build({
    entryPoints: [join(root, source)],
    outfile: join(root, target),
    absWorkingDir: root,
    bundle: true,
    write: false,
    platform: "node",
    format,
    target: "node20",
    sourcemap: "linked",
    // The sources lie beside the bundle.
    sourcesContent: false,
    // No `keepNames`: it renames every closure whenever one is made, a fifth of what the gateway costs a request. Names that
    // nothing else has are kept anyway.
    conditions: ["source"],
    external,
    ...(format === "esm"
      ? { banner: { js: esmBanner } }
      : {
          banner: { js: cjsBanner },
          define: { "import.meta.url": "__url" },
          // what is external is required where it is imported dynamically too
          supported: { "dynamic-import": false }
        }),
    logLevel: "warning"
  })
  // The map first: a program is never there without it.
  for (const file of [...result.outputFiles].sort((a, b) => b.path.length - a.path.length)) {
    replace(file.path, file.contents)
  }
}

/** Compiles programs; their paths are relative to the root. Needs what `package.json` names to be installed. */
export const bundle = async (programs) => {
  const { build, stop } = await import("esbuild")
  await Promise.all(programs.map((program) => compile(build, program)))
  // its process would live, with hundreds of megabytes, for as long as this one, which goes on to serve
  await stop()
}

/** Has V8 make code of the worker once, so that its starts needn't. Without it they only take longer. */
const keepCode = () => {
  const folder = join(root, "packages", "runtime")
  for (const name of readdirSync(join(folder, "dist"))) if (name.endsWith(".code")) rmSync(join(folder, "dist", name))
  spawnSync(process.execPath, [join(folder, "bin", "worker.mjs"), "--check", "cpu", "0", "--keep-code"], {
    stdio: "ignore"
  })
}

/** Needs what `package.json` names to be installed. */
const build = async (stamp) => {
  await bundle(programs)
  keepCode()
  replace(stampFile, stamp)
}

/** Builds when a source is newer than what was built, by content. */
export const ensureBuilt = async () => {
  const stamp = fingerprint()
  if (isCurrent(stamp)) return
  say(existsSync(stampFile) ? "building, since sources have changed…" : "building…")
  const started = Date.now()
  await build(stamp)
  say(`built in ${((Date.now() - started) / 1000).toFixed(1)} s`)
}
