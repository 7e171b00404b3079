/** Whether the models that others name as their `fallback` can answer in their place. Pure. */
import type { ModelId } from "@helixflow/schema/Ids"
import type { ModelSpec } from "@helixflow/schema/Model"

/** The models that a name stands for, several where it has versions; undefined: nobody has it. A folder that can't be served is none. */
export type Named = (name: string) => ReadonlyArray<ModelSpec> | undefined

/** The way from a model over what it and they name back to it, if there is one. */
const circle = (spec: ModelSpec, named: Named): ReadonlyArray<ModelId> | undefined => {
  const seen = new Set<ModelId>()
  const wayFrom = (from: ModelSpec): ReadonlyArray<ModelId> | undefined => {
    for (const next of from.fallback.flatMap((name) => named(name) ?? [])) {
      if (next.id === spec.id) return [from.id, next.id]
      if (seen.has(next.id)) continue
      seen.add(next.id)
      const way = wayFrom(next)
      if (way !== undefined) return [from.id, ...way]
    }
    return undefined
  }
  return wayFrom(spec)
}

/** Why a model's `fallback` can't be meant, if it can't. */
export const problemOf = (spec: ModelSpec, named: Named): string | undefined => {
  for (const name of spec.fallback) {
    const models = named(name)
    if (models === undefined) return `there is no model \`${name}\``
    const other = models.find(({ task }) => task !== spec.task)
    if (other !== undefined) return `\`${name}\` is for ${other.task}, not for ${spec.task}`
  }
  const way = circle(spec, named)
  return way === undefined ? undefined : `it comes back to the model itself: ${way.join(" -> ")}`
}
