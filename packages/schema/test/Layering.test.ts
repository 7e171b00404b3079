import { describe, expect, it } from "@effect/vitest"
import { dependency, manifest, packages, resolve, type Source, sources } from "./Sources.ts"

const byPath = new Map(sources.map((source) => [source.path, source]))

const level = (name: string) => packages.indexOf(name)

const packageOf = (path: string) => path.split("/")[1] ?? ""

/** `file -> import`, for every import that breaks a rule. */
const violations = (
  breaks: (source: Source, specifier: string) => boolean,
  among: ReadonlyArray<Source> = sources
): ReadonlyArray<string> =>
  among.flatMap((source) =>
    source.imports
      .filter(({ specifier }) => breaks(source, specifier))
      .map(({ specifier }) => `${source.path} -> ${specifier}`)
  )

/** Everything that is loaded together with a file, and the way there. */
const reachable = (entry: string): ReadonlyMap<string, string> => {
  const ways = new Map([[entry, entry]])
  for (const [path, way] of ways) {
    const source = byPath.get(path)
    for (const { specifier, typeOnly } of source?.imports ?? []) {
      const target = (source && resolve(source, specifier)) ?? specifier
      if (!typeOnly && !ways.has(target)) ways.set(target, `${way} -> ${target}`)
    }
  }
  return ways
}

describe("the packages", () => {
  it("import downwards only: schema <- scheduler <- runtime <- gateway", () => {
    expect(sources.length).toBeGreaterThan(0)
    expect(
      violations((source, specifier) => {
        const target = resolve(source, specifier)
        return target !== undefined && level(packageOf(target)) > level(source.package)
      })
    ).toEqual([])
  })

  it("reach each other by name, never by path", () => {
    expect(
      violations((source, specifier) => {
        const target = resolve(source, specifier)
        return specifier.startsWith(".") && target !== undefined && !target.startsWith(`packages/${source.package}/`)
      })
    ).toEqual([])
  })

  it("declare what they import", () => {
    const declared = new Map<string, ReadonlyArray<string>>(
      packages.map((name) => {
        const { dependencies, optionalDependencies } = manifest(`packages/${name}`)
        return [name, Object.keys({ ...dependencies, ...optionalDependencies })]
      })
    )
    expect(
      violations((source, specifier) => {
        const name = dependency(specifier)
        return name !== undefined && !declared.get(source.package)?.includes(name)
      })
    ).toEqual([])
  })
})

describe("the server's process", () => {
  const loaded = reachable("packages/gateway/src/bin.ts")

  it("is made of the gateway and the runtime", () => {
    expect([...loaded.keys()].filter((path) => path.startsWith("packages/runtime/")).length).toBeGreaterThan(0)
  })

  it("never loads an inference engine: that is the worker processes' part", () => {
    const engines = ["packages/runtime/src/OrtApi.ts", "packages/runtime/src/OnnxSession.ts"]
    expect(
      [...loaded]
        .filter(([target]) => target.startsWith("onnxruntime") || engines.includes(target))
        .map(([, way]) => way)
    ).toEqual([])
  })

  it("calls no native library but NVIDIA's, to see what GPUs there are", () => {
    const callers = [...loaded].filter(([target]) => target === "koffi").map(([, way]) => way.split(" -> ").at(-2))
    expect(callers).toEqual(["packages/runtime/src/Nvml.ts"])
  })
})

describe("the environment", () => {
  it("is read by Config alone: no source file takes a variable by name", () => {
    expect(sources.filter(({ text }) => /\bprocess\.env\s*[.[]/.test(text)).map(({ path }) => path)).toEqual([])
  })
})
