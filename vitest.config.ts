import { availableParallelism } from "node:os"
import { defineConfig } from "vitest/config"

/** Their tests start nothing and share nothing but code, so that it is loaded and compiled once for all of a package's files. */
const pure = ["schema", "scheduler"]

export default defineConfig({
  test: {
    // The two pools run beside each other, and of what starts processes two files at least: they wait for these a third of the time.
    poolOptions: {
      threads: { isolate: false, singleThread: true },
      forks: { minForks: 1, maxForks: Math.max(2, availableParallelism() - 1) }
    },
    projects: [...pure, "runtime", "gateway"].map((name) => ({
      resolve: { conditions: ["source"] },
      ssr: { resolve: { conditions: ["source"] } },
      test: {
        name,
        root: `packages/${name}`,
        include: ["test/**/*.test.ts"],
        pool: pure.includes(name) ? "threads" : "forks",
        // A bound for what hangs, not a measure of speed: tests start real processes, on machines that are busy too.
        testTimeout: 60_000,
        hookTimeout: 60_000
      }
    }))
  }
})
