/**
 * How V8 marks what is alive before it collects the rest of a large heap: in threads of its own, and in the program's, where by default one
 * step after the other is a task of the event loop. Between any two of them the loop turns once, so that with many streams marking has four fifths of
 * the program's time, for as long as half a second.
 */
import { setFlagsFromString } from "node:v8"

/**
 * For the whole process: the program's thread marks only as it allocates, and the others the more. To be called by who owns the process.
 * Those others must not get a lower priority: the program waits for them when new objects are collected, and beside an engine that uses all
 * processors, tokens came 270 to 450 ms late instead of 20.
 */
export const keepMarkingOffTheLoop = (): void => setFlagsFromString("--no-incremental-marking-task")
