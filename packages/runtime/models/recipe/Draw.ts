/**
 * Seeded chance, and the split between what the models learn from and what they are tested on. The split is a property of each
 * phrase, word and pair of operands (a hash of its text), so it holds before anything is drawn and whatever is drawn.
 */

export type Split = "train" | "test"

/** One in this many phrases, words, operand pairs and names is kept for the evaluation. */
const HELD_OUT_ONE_IN = 8

/** Chosen so that every list of phrasings has some on both sides of the split. */
const SALT = 39545

/** Words of politeness and haste that may stand before and after a sentence without making it another. */
export const openers = [
  "Please: ",
  "Hi, ",
  "Hey, ",
  "Hello! ",
  "Ok, ",
  "So, ",
  "Hey Helix, ",
  "Quick question: ",
  "Now "
]
export const closers = [" Thanks!", " Please.", " please", " thanks", "?", "!"]

/** Words that a phrase means the same without. */
const idle = new Set("a an the me please Please right all is are does do number word".split(" "))

const bare = (text: string): string =>
  text
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}'{} +-]/gu, "")
    .trim()
const opening = new RegExp(`^((${openers.map(bare).join("|")}) )+(?=.)`)
const closing = new RegExp(`( (${closers.map(bare).filter(Boolean).join("|")}))+$`)

/** The sentence without what typing habits add, so that "Hi, what is X" does not give "What is X?" away. */
const essence = (text: string): string => bare(text).replace(opening, "").replace(closing, "").trim()

/** Whether training must never see `text`. `kind` separates the splits of words, phrases and so on from each other. */
export function heldOut(kind: string, text: string): boolean {
  let hash = 2166136261
  for (const character of `${SALT}${kind}:${essence(text)}`) {
    hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 16777619)
  }
  // Murmur's finalizer: FNV alone leaves the low bits of similar texts alike.
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) % HELD_OUT_ONE_IN === 0
}

/** A source of random choices that stay on one side of the split (mulberry32). */
export class Draw {
  #state: number

  constructor(
    seed: number,
    readonly split: Split
  ) {
    this.#state = seed >>> 0
  }

  /** In [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }

  /** Both ends included. */
  integer(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1))
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  pick<A>(choices: ReadonlyArray<A>): A {
    const choice = choices[this.integer(0, choices.length - 1)]
    if (choice === undefined) throw new RangeError("nothing to choose from")
    return choice
  }

  /** A choice from this side of the split; from either side where this one is empty in the evaluation. See {@link expand} for the weights. */
  pickSplit(kind: string, choices: ReadonlyArray<string>): string {
    const { texts, upTo } = side(this.split, kind, choices)
    const at = this.next() * (upTo.at(-1) ?? 0)
    const picked = texts[upTo.findIndex((sum) => at < sum)]
    if (picked === undefined) throw new RangeError("nothing to choose from")
    return this.split === "train" && kind === "phrase" && this.chance(0.1) ? this.#clipped(picked) : picked
  }

  /** As people in a hurry write it: without one of the words that carry no meaning. Never a phrase that is held out. */
  #clipped(phrase: string): string {
    const words = phrase.split(" ")
    const at = this.pick([...words.keys()])
    const rest = words.filter((_, i) => i !== at).join(" ")
    return idle.has(words[at] ?? "") && rest !== "" && !heldOut("phrase", rest) ? rest : phrase
  }

  /** Draws until the result is on this side of the split. */
  untilSplit<A>(kind: string, key: (value: A) => string, draw: () => A): A {
    for (;;) {
      const value = draw()
      if (heldOut(kind, key(value)) === (this.split === "test")) return value
    }
  }
}

/** The texts of a list that lie on one side of the split, and the running sums of their weights. */
interface Side {
  readonly texts: ReadonlyArray<string>
  readonly upTo: ReadonlyArray<number>
}

/** Lists are drawn from again and again, and hashing a thousand phrases is slow. */
const sides = new WeakMap<ReadonlyArray<string>, Map<string, Side>>()

function side(split: Split, kind: string, choices: ReadonlyArray<string>): Side {
  const ofChoices = sides.get(choices) ?? new Map<string, Side>()
  sides.set(choices, ofChoices)
  const known = ofChoices.get(`${split} ${kind}`)
  if (known !== undefined) return known
  const mine = choices.filter((choice) => heldOut(kind, choice) === (split === "test"))
  const texts = mine.length === 0 && split === "test" ? choices : mine
  let sum = 0
  const upTo = texts.map((text) => {
    sum += 1 / Math.sqrt(patternSizes.get(text) ?? 1)
    return sum
  })
  const made = { texts, upTo }
  ofChoices.set(`${split} ${kind}`, made)
  return made
}

/** How many texts the pattern of a text stands for. */
const patternSizes = new Map<string, number>()

/**
 * Every text that a pattern stands for: `(a|b|)` is a choice, spaces that an empty choice leaves behind are removed.
 * `expand("(what is|what's) it")` is `["what is it", "what's it"]`. A pattern of many texts is drawn more often than one of few,
 * but not as much more as it has texts: `{a}+{b}` is what people type, however many ways there are to say it in words.
 */
export function expand(...patterns: ReadonlyArray<string>): ReadonlyArray<string> {
  const texts = patterns.flatMap((pattern) => {
    const ofPattern = [...new Set(textsOf(pattern))]
    for (const text of ofPattern) {
      patternSizes.set(text, Math.min(patternSizes.get(text) ?? Number.POSITIVE_INFINITY, ofPattern.length))
    }
    return ofPattern
  })
  return [...new Set(texts)]
}

function textsOf(pattern: string): ReadonlyArray<string> {
  const choice = /\(([^()]*)\)/.exec(pattern)
  if (choice === null) {
    const text = pattern.replaceAll(/\s+/g, " ").replaceAll(/ ([?.,!])/g, "$1")
    return [text.trim()]
  }
  const before = pattern.slice(0, choice.index)
  const after = pattern.slice(choice.index + choice[0].length)
  return (choice[1] ?? "").split("|").flatMap((option) => textsOf(`${before}${option}${after}`))
}
