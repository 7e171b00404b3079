/**
 * How V8 marks what is alive before it collects the rest of a large heap: in threads of its own, and in the program's, where by default one
 * step after the other is a task of the event loop. Between any two of them the loop turns once, so that with many streams marking has four fifths of
 * the program's time, for as long as half a second.
 */
import { readdirSync } from "node:fs"
import { constants, setPriority } from "node:os"
import { setFlagsFromString } from "node:v8"

/**
 * For the whole process, to be called by who owns it, before it starts threads of its own: the program's thread marks only as it allocates.
 * The others, which mark the more (four, on however few processors), get the processors that it leaves, where a thread has a priority: on Linux.
 */
export const keepMarkingOffTheLoop = (): void => {
  setFlagsFromString("--no-incremental-marking-task")
  if (process.platform !== "linux") return
  // also those of libuv's that there are: nothing tells them apart
  for (const thread of readdirSync("/proc/self/task").map(Number)) {
    if (thread !== process.pid) yieldToProgram(thread)
  }
}

const yieldToProgram = (thread: number): void => {
  try {
    setPriority(thread, constants.priority.PRIORITY_LOW)
  } catch {
    // it has ended meanwhile, or the process may not: then all is as it was
  }
}
