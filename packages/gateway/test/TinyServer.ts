/** `TinyServer.mjs`, as a `server.json` names it, and its processes by what they answer. */
import { fileURLToPath } from "node:url"

export const program = fileURLToPath(new URL("TinyServer.mjs", import.meta.url))

/** Who gave this answer. */
export const pidIn = (text: string): number => Number(/(\d+) heard/.exec(text)?.[1])

export const isRunning = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
