/**
 * How many threads V8 marks with what is alive, beside the one that runs the program. It has four on every machine, and on two processors
 * they keep the program from running for several times what a collection itself takes.
 */
import { setFlagsFromString } from "node:v8"
import { cpus } from "@helixflow/runtime/Machine"

/** One for each processor but the program's. */
export const markingThreads = (processors: number): number => Math.max(1, Math.floor(processors) - 1)

export const flag = (threads: number): string => `--concurrent-marking-max-worker-num=${threads}`

/** For the whole process: to be called by who owns it, before there is much to mark. */
export const limitMarkingThreads = (): void => setFlagsFromString(flag(markingThreads(cpus())))
