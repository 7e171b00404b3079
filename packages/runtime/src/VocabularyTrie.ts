/**
 * The tokens of a vocabulary by their bytes: what tokens begin alike share the nodes of. Nodes are in the order of a walk from the root, so
 * that what is below one are the nodes up to `ends`, and a walk is a loop. Pure.
 */
import type { TokenBytes } from "./TokenBytes.ts"

/** Bytes that JSON's strings and the text around calls take like any others. */
const isPlain = (byte: number): boolean =>
  byte >= 0x20 && byte < 0x7f && byte !== 0x22 && byte !== 0x3c && byte !== 0x5c

export const PLAIN_BYTES: ReadonlyArray<number> = Array.from({ length: 256 }, (_, byte) => byte).filter(isPlain)

export interface VocabularyTrie {
  /** The byte of each node, and how many lie before it. */
  readonly bytes: Uint8Array
  readonly depths: Uint16Array
  /** The first node that is not below. */
  readonly ends: Uint32Array
  /** Most bytes of a way downwards from the node, its own among them, where all are {@link PLAIN_BYTES}; 0 where some aren't. */
  readonly plain: Uint16Array
  /** The first of the node's own tokens in `tokens`; one more at the end. Those of all nodes below follow. */
  readonly firsts: Uint32Array
  readonly tokens: Uint32Array
  /** Most bytes of a token. */
  readonly longest: number
}

/** @param isText tells which ids have a place in texts; those without bytes never do */
export const makeTrie = (table: TokenBytes, vocabulary: number, isText: (id: number) => boolean): VocabularyTrie => {
  /** Bytes as characters: texts are sorted faster than bytes. */
  const ids = new Map<string, Array<number>>()
  for (let id = 0; id < vocabulary; id++) {
    const text = isText(id) ? Buffer.from(table.bytes(id)).toString("latin1") : ""
    if (text === "") continue
    const alike = ids.get(text)
    if (alike === undefined) ids.set(text, [id])
    else alike.push(id)
  }

  const bytes: Array<number> = []
  const depths: Array<number> = []
  const firsts: Array<number> = []
  /** Nodes from the root to the last token. */
  const path: Array<number> = []
  const ends: Array<number> = []
  const close = (depth: number) => {
    while (path.length > depth) ends[path.pop() ?? 0] = bytes.length
  }
  const tokens: Array<number> = []
  let before = ""
  for (const text of [...ids.keys()].sort()) {
    let common = 0
    while (common < before.length && before.charCodeAt(common) === text.charCodeAt(common)) common++
    close(common)
    for (let depth = common; depth < text.length; depth++) {
      path.push(bytes.length)
      bytes.push(text.charCodeAt(depth))
      depths.push(depth)
      firsts.push(tokens.length)
    }
    for (const id of ids.get(text) ?? []) tokens.push(id)
    before = text
  }
  close(0)
  firsts.push(tokens.length)
  const plain = new Uint16Array(bytes.length)
  for (let node = bytes.length - 1; node >= 0; node--) {
    let most = isPlain(bytes[node] ?? 0) ? 1 : 0
    for (let child = node + 1; most > 0 && child < (ends[node] ?? 0); child = ends[child] ?? 0) {
      const below = plain[child] ?? 0
      most = below === 0 ? 0 : Math.max(most, 1 + below)
    }
    plain[node] = most
  }
  return {
    bytes: Uint8Array.from(bytes),
    depths: Uint16Array.from(depths),
    ends: Uint32Array.from(ends),
    plain,
    firsts: Uint32Array.from(firsts),
    tokens: Uint32Array.from(tokens),
    longest: depths.reduce((most, depth) => Math.max(most, depth + 1), 0)
  }
}
