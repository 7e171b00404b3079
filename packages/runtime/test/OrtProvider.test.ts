import * as fs from "node:fs"
import * as path from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { explainFailure, type OpenLibrary, type Surroundings } from "../src/OrtProvider.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

const folder = temporaryFolder()
const complete = path.join(folder, "complete")
fs.mkdirSync(complete)
for (const part of ["shared", "cuda"]) fs.writeFileSync(path.join(complete, `libonnxruntime_providers_${part}.so`), "")

/** Opens all libraries but those that are said to be missing, each by the name that the system gives. */
const without =
  (missing: Readonly<Record<string, string>>): OpenLibrary =>
  (library) => {
    const named = missing[path.basename(library)]
    if (named !== undefined) throw new Error(`${named}: cannot open shared object file`)
  }
const surroundings = (options: Partial<Surroundings> = {}): Surroundings => ({
  open: without({}),
  folder: complete,
  platform: "linux",
  arch: "x64",
  ...options
})
const cuda = { kind: "cuda", index: 1 } as const
const webgpu = { kind: "webgpu", index: 0 } as const
const explain = (...args: Parameters<typeof explainFailure>) => explainFailure(...args)?.message

describe("a device that can't be computed on", () => {
  it.each([
    [
      "the provider's library",
      { folder },
      /cuda:1 .*libonnxruntime_providers_shared\.so is missing.*ONNXRUNTIME_NODE_INSTALL=cuda12/
    ],
    ["the driver", { open: without({ "libcuda.so.1": "libcuda.so.1" }) }, /driver is missing: libcuda\.so\.1/],
    [
      "a library of CUDA's, which the system names",
      { open: without({ "libonnxruntime_providers_cuda.so": "libcudart.so.12" }) },
      /library is missing: libcudart\.so\.12.*CUDA 12.*LD_LIBRARY_PATH/
    ],
    ["another platform", { platform: "darwin", arch: "arm64" }, /linux-x64 alone, and this is darwin-arm64/]
  ] as const)("names what is missing for CUDA: %s", (_, options, message) => {
    expect(explain(cuda, new Error("Failed to load shared library"), surroundings(options))).toMatch(message)
  })

  it("names what is missing for WebGPU", () => {
    const failed = new Error("Failed to get a WebGPU adapter: No supported adapters")
    const open = without({ "libvulkan.so.1": "libvulkan.so.1" })
    expect(explain(webgpu, failed, surroundings({ open }))).toMatch(/webgpu:0 .*libvulkan\.so\.1.*libvulkan1/)
    expect(explain(webgpu, failed, surroundings())).toMatch(/no adapter; install the GPU's Vulkan driver/)
  })

  it("is WebGPU's second, whatever is installed", () => {
    expect(explain({ kind: "webgpu", index: 1 }, new Error("x"), surroundings())).toMatch(/webgpu:0 alone/)
  })

  it("is not blamed for a graph that the runtime refuses", () => {
    expect(explainFailure(cuda, new Error("Hardmix is not a registered function/op"), surroundings())).toBeNull()
  })
})
