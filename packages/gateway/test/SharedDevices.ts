/** Many models on few devices: their folders, and what a server and its workers have of the devices' memory, sampled while it serves. */
import { linkSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { writeTinyChatModel } from "@helixflow/runtime/TestModels"
import { Schema } from "effect"

export const nameOf = (index: number): string => `model-${index}`

/** So many chat models that each claim so many bytes. The files of the first are linked to by the others. */
export const writeModels = (folder: string, count: number, bytes: number): void => {
  const first = join(folder, nameOf(0))
  writeTinyChatModel(first)
  writeFileSync(
    join(first, "helixflow.json"),
    JSON.stringify({ memory: bytes, slots: 2, context: 128, prefixCache: 0 })
  )
  const files = readdirSync(first, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  for (let index = 1; index < count; index++) {
    for (const file of files) {
      const from = join(file.parentPath, file.name)
      const to = join(folder, nameOf(index), from.slice(first.length))
      mkdirSync(dirname(to), { recursive: true })
      linkSync(from, to)
    }
  }
}

/** Every process that the server has started, in bytes of resident memory. */
const residentOf = (server: number): number => {
  let bytes = 0
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const status = readFileSync(`/proc/${pid}/status`, "utf8")
      if (Number(/^PPid:\s*(\d+)/m.exec(status)?.[1]) !== server) continue
      bytes += Number(/^VmRSS:\s*(\d+)/m.exec(status)?.[1] ?? 0) * 1024
    } catch {
      // it has ended meanwhile
    }
  }
  return bytes
}

const Devices = Schema.Struct({
  data: Schema.Array(
    Schema.Struct({
      total_bytes: Schema.Number,
      claims: Schema.Array(
        Schema.Struct({ bytes: Schema.Number, observed_bytes: Schema.Number, within: Schema.NullOr(Schema.String) })
      )
    })
  )
})

export interface Samples {
  readonly count: number
  /** Of these, those with more claimed of a device, or taken by its workers, than it has. */
  readonly above: number
  /** The most that was claimed or taken of a device, and of all together by all workers, as shares of what there is. */
  readonly mostClaimed: number
  readonly mostResident: number
}

const sum = (values: ReadonlyArray<number>): number => values.reduce((total, value) => total + value, 0)

const sample = async (url: string, key: string, server: number, before: Samples): Promise<Samples> => {
  const response = await fetch(`${url}/admin/v1/devices`, { headers: { authorization: `Bearer ${key}` } })
  const { data } = Schema.decodeUnknownSync(Devices)(await response.json())
  const resident = residentOf(server) / sum(data.map(({ total_bytes }) => total_bytes))
  const claimed = data.map(({ claims, total_bytes }) => {
    const own = claims.filter(({ within }) => within === null)
    return Math.max(sum(own.map(({ bytes }) => bytes)), sum(own.map((claim) => claim.observed_bytes))) / total_bytes
  })
  return {
    count: before.count + 1,
    above: before.above + (resident > 1 || claimed.some((share) => share > 1) ? 1 : 0),
    mostClaimed: Math.max(before.mostClaimed, ...claimed),
    mostResident: Math.max(before.mostResident, resident)
  }
}

/** Samples the memory of a server's devices every `period` milliseconds for as long as something takes. */
export const sampleWhile = async (
  {
    key,
    period,
    pid,
    url
  }: { readonly url: string; readonly key: string; readonly pid: number; readonly period: number },
  something: Promise<unknown>
): Promise<Samples> => {
  let going = true
  const stopped = something.finally(() => {
    going = false
  })
  let samples: Samples = { count: 0, above: 0, mostClaimed: 0, mostResident: 0 }
  while (going) {
    samples = await sample(url, key, pid, samples)
    await Promise.race([stopped, new Promise((resolve) => setTimeout(resolve, period))])
  }
  return samples
}
