/** What helix-demo-embed learns: sentences of the same small world that mean the same. */
import { addition, additionPhrases, operandsKey, subtraction, subtractionPhrases } from "./Arithmetic.ts"
import { afterPhrases, beforePhrases, daysPhrases } from "./Calendar.ts"
import type { Draw } from "./Draw.ts"
import { helixflowFacts } from "./HelixFlowFacts.ts"
import { capitalPhrases, countryPhrases, named, opposite, oppositePhrases } from "./Knowledge.ts"
import { greetings, identity } from "./Manners.ts"
import { topicPhrases } from "./Refusals.ts"
import { drawWord, letterCountPhrases, reversed, reversingPhrases, spelled, spellingPhrases } from "./Words.ts"
import { casual } from "./World.ts"
import { capitals, months, opposites, topics, weekdays } from "./WorldFacts.ts"

/** Something that can be asked in many ways. */
interface Meaning {
  /** The same for equal meanings, and for no others. */
  readonly name: string
  /** What kind of question it is: meanings of one kind differ only in what they ask about. */
  readonly kind: string
  readonly phrases: ReadonlyArray<string>
  readonly fill: (phrase: string) => string
  /** The answer lies near its question, so that questions find the passages that answer them. */
  readonly answer?: string
}

export interface Sentence {
  readonly meaning: string
  readonly kind: string
  readonly text: string
}

const facts = [...greetings, ...identity, ...helixflowFacts].map(
  (fact): Meaning => ({
    name: fact.answer,
    kind: fact.answer,
    phrases: fact.phrases,
    fill: (phrase) => phrase,
    answer: fact.answer
  })
)

const about = (kind: string, item: string, phrases: ReadonlyArray<string>, answer?: string): Meaning => ({
  name: `${kind} ${item}`,
  kind,
  phrases,
  fill: (phrase) => phrase.replace("{x}", item).replace("{w}", item),
  ...(answer === undefined ? {} : { answer })
})

function drawMeaning(draw: Draw): Meaning {
  const [country, city] = draw.pick(capitals)
  switch (draw.integer(0, 15)) {
    case 0:
    case 1:
      return about("capital", country, capitalPhrases, `The capital of ${named(country)} is ${city}.`)
    case 2:
      return about("country", city, countryPhrases)
    case 3: {
      const word = draw.pick(draw.pick(opposites))
      return about("opposite", word, oppositePhrases, `The opposite of ${word} is ${opposite(word)}.`)
    }
    case 4: {
      const word = drawWord(draw)
      return about("spelling", word, spellingPhrases, spelled(word))
    }
    case 5: {
      const word = drawWord(draw)
      return about("reversing", word, reversingPhrases, reversed(word))
    }
    case 6:
      return about("letters", drawWord(draw), letterCountPhrases)
    case 7: {
      const kind = draw.pick(["day", "month"] as const)
      const item = draw.pick(kind === "day" ? weekdays : months)
      const [name, phrases] = draw.pick([["after", afterPhrases] as const, ["before", beforePhrases] as const])
      const usable = phrases.filter((phrase) => kind === "day" || !phrase.includes("today"))
      return about(
        name,
        item,
        usable.map((phrase) => phrase.replace("{k}", kind))
      )
    }
    case 8:
      return about("days of", draw.pick(months), daysPhrases)
    case 9:
    case 10:
      return about("topic", draw.pickSplit("topic", topics), topicPhrases)
    case 11: {
      const operator = draw.pick(["+", "-"] as const)
      const [a, b] = draw.untilSplit(
        "operands",
        ([x, y]) => operandsKey(operator, x, y),
        () => [draw.integer(10, 199), draw.integer(1, 99)] as const
      )
      return {
        name: `${a} ${operator} ${b}`,
        kind: operator,
        phrases: operator === "+" ? additionPhrases : subtractionPhrases,
        fill: (phrase) => phrase.replace("{a}", `${a}`).replace("{b}", `${b}`),
        answer: operator === "+" ? addition(a, b) : subtraction(a, b)
      }
    }
    default:
      return draw.pick(facts)
  }
}

/** Two sentences of one meaning. In the evaluation both are phrasings that training has not seen. */
export function drawPair(draw: Draw): readonly [Sentence, Sentence] {
  const { answer, fill, kind, name, phrases } = drawMeaning(draw)
  const sentence = (text: string): Sentence => ({ meaning: name, kind, text })
  const question = () => sentence(casual(draw, fill(draw.pickSplit("phrase", phrases))))
  const first = question()
  if (answer !== undefined && draw.chance(0.2)) return [first, sentence(answer)]
  for (let attempt = 0; attempt < 20; attempt++) {
    const second = question()
    if (second.text.toLowerCase() !== first.text.toLowerCase()) return [first, second]
  }
  // One held-out phrasing only: draw something else.
  return drawPair(draw)
}

/** A sentence, another that means the same, and one that does not. */
export type Triplet = readonly [anchor: Sentence, same: Sentence, other: Sentence]

/**
 * Triplets of the evaluation. The third sentence is of another kind, or, where `hard`, asks the same kind of question about
 * something else ("the capital of Peru" and "the capital of Chile").
 */
export function evaluationTriplets(draw: Draw, count: number, hard: boolean): ReadonlyArray<Triplet> {
  const triplets: Array<Triplet> = []
  while (triplets.length < count) {
    const [anchor, same] = drawPair(draw)
    const [other] = drawPair(draw)
    const wanted = hard ? other.kind === anchor.kind && other.meaning !== anchor.meaning : other.kind !== anchor.kind
    if (wanted) triplets.push([anchor, same, other])
  }
  return triplets
}
