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
  /** Whether all bytes from the node on downwards are {@link PLAIN_BYTES}. */
  readonly plain: Uint8Array
  /** The first of the node's own tokens in `tokens`; one more at the end. Those of all nodes below follow. */
  readonly firsts: Uint32Array
  readonly tokens: Uint32Array
  /** Most bytes of a token. */
  readonly longest: number
}

/** @param isText tells which ids have a place in texts; those without bytes never do */
export const makeTrie = (table: TokenBytes, vocabulary: number, isText: (id: number) => boolean): VocabularyTrie => {
  const texts: Array<{ readonly id: number; readonly bytes: Uint8Array }> = []
  for (let id = 0; id < vocabulary; id++) {
    const bytes = isText(id) ? table.bytes(id) : null
    if (bytes !== null && bytes.length > 0) texts.push({ id, bytes })
  }
  texts.sort((a, b) => Buffer.compare(a.bytes, b.bytes))

  const bytes: Array<number> = []
  const depths: Array<number> = []
  const firsts: Array<number> = []
  /** Nodes from the root to the last token. */
  const path: Array<number> = []
  const ends: Array<number> = []
  const close = (depth: number) => {
    while (path.length > depth) ends[path.pop() ?? 0] = bytes.length
  }
  let before: Uint8Array = new Uint8Array(0)
  for (const [index, text] of texts.entries()) {
    let common = 0
    while (common < before.length && common < text.bytes.length && before[common] === text.bytes[common]) common++
    close(common)
    for (let depth = common; depth < text.bytes.length; depth++) {
      path.push(bytes.length)
      bytes.push(text.bytes[depth] ?? 0)
      depths.push(depth)
      firsts.push(index)
    }
    before = text.bytes
  }
  close(0)
  firsts.push(texts.length)
  const plain = new Uint8Array(bytes.length)
  for (let node = bytes.length - 1; node >= 0; node--) {
    let all = isPlain(bytes[node] ?? 0)
    for (let child = node + 1; all && child < (ends[node] ?? 0); child = ends[child] ?? 0) all = plain[child] === 1
    plain[node] = all ? 1 : 0
  }
  return {
    bytes: Uint8Array.from(bytes),
    depths: Uint16Array.from(depths),
    ends: Uint32Array.from(ends),
    plain,
    firsts: Uint32Array.from(firsts),
    tokens: Uint32Array.from(texts, ({ id }) => id),
    longest: depths.reduce((most, depth) => Math.max(most, depth + 1), 0)
  }
}
