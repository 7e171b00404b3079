/** How exactly a graph's rows can be compared that were computed beside different others. */
import * as fs from "node:fs"
import { expect } from "vitest"
import type { WeightScheme } from "../src/Quantization.ts"

/**
 * Whether the last bits of a row depend on what is computed beside it. Without AVX-512, ONNX Runtime takes rows of products with 4-bit
 * weights in pairs, and adds up a row that is left alone in another order.
 */
export const roundsByNeighbours = (scheme: WeightScheme | undefined): boolean => scheme === "q4" && !hasAvx512

const hasAvx512 = ((): boolean => {
  try {
    return fs.readFileSync("/proc/cpuinfo", "utf8").includes(" avx512f")
  } catch {
    return false
  }
})()

/** What is to be equal to `expected`: itself, or numbers that are nearly so where the processor rounds by neighbours. */
export const sameRow = (expected: ReadonlyArray<number>, scheme: WeightScheme | undefined): unknown =>
  roundsByNeighbours(scheme) ? expected.map((value) => expect.closeTo(value, 3)) : expected
