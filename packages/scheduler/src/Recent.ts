/**
 * A persistent map that remembers the keys that were used lately, and never more than twice `limit` of them. Two generations: a key that
 * is set goes into the young one; when that is full it becomes the old one, and the old one is forgotten. So a key is remembered for at
 * least `limit` others after it was set last, and nothing has to be searched for to be forgotten.
 */
import { HashMap, Option } from "effect"

export interface Recent<K, V> {
  readonly limit: number
  readonly young: HashMap.HashMap<K, V>
  readonly old: HashMap.HashMap<K, V>
}

export const empty = <K, V>(limit: number): Recent<K, V> => ({ limit, young: HashMap.empty(), old: HashMap.empty() })

export const get = <K, V>({ old, young }: Recent<K, V>, key: K): V | undefined =>
  Option.getOrUndefined(Option.orElse(HashMap.get(young, key), () => HashMap.get(old, key)))

export const set = <K, V>(recent: Recent<K, V>, key: K, value: V): Recent<K, V> => {
  const young = HashMap.set(recent.young, key, value)
  return HashMap.size(young) < recent.limit ? { ...recent, young } : { ...recent, young: HashMap.empty(), old: young }
}

/** Each key once, with the value that it was set to last. */
export function* entries<K, V>({ old, young }: Recent<K, V>): Generator<readonly [K, V]> {
  yield* young
  for (const entry of old) if (!HashMap.has(young, entry[0])) yield entry
}

export const from = <K, V>(limit: number, known: Iterable<readonly [K, V]>): Recent<K, V> => {
  let recent = empty<K, V>(limit)
  for (const [key, value] of known) recent = set(recent, key, value)
  return recent
}
