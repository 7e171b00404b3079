/** How many connections this process can hold: each takes a descriptor, and files, the database and workers need some too. */
import { readFileSync } from "node:fs"

/** What is left for all that is no connection: an eighth, and no less than this. */
const reserve = 256

/** From the text of `/proc/self/limits`; node raises the soft limit to the hard one at its start. */
export const connectionsWithin = (limits: string): number => {
  const [, open] = /^Max open files +(\d+)/m.exec(limits) ?? []
  if (open === undefined) return Number.POSITIVE_INFINITY
  return Math.max(1, Number(open) - Math.max(reserve, Math.ceil(Number(open) / 8)))
}

/** Infinite where nobody says. */
export const connections = (): number => {
  try {
    return connectionsWithin(readFileSync("/proc/self/limits", "utf8"))
  } catch {
    return Number.POSITIVE_INFINITY
  }
}
