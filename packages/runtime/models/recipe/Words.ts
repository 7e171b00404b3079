/** Spelling, reversing and counting the letters of words. */
import { type Draw, expand } from "./Draw.ts"
import type { Turn } from "./Turn.ts"
import { names, spellingWords } from "./WorldFacts.ts"

const letters = (word: string): ReadonlyArray<string> => [...word.toUpperCase()]
const numbered = (word: string): ReadonlyArray<string> => letters(word).map((letter, i) => `${letter}${i + 1}`)

export const spelled = (word: string): string => `${letters(word).join(" ")}.`
/** The numbers make it exact: a letter that occurs twice would not say which one comes next. */
export const reversed = (word: string): string =>
  `${numbered(word).join(" ")}. Backwards: ${numbered(word).toReversed().join(" ")}.`
const counted = (word: string): string => `${numbered(word).join(" ")}: ${word.length} letters.`

export const spellingPhrases = expand(
  "(How do you|How do I|How to|How would you) spell (the word |){w}?",
  "(Please |Can you |Could you |)spell (the word |out |){w}.",
  "(What is|What's|Tell me|Give me) the spelling of {w}?",
  "How is {w} (spelled|written|spelt)?",
  "spell {w} (for me|letter by letter)",
  "(What are|Tell me|List) the letters (in|of) {w}?",
  "(Spell|spell out|spelling of|letters of) {w}",
  "(How is|How was) (the word |){w} (spelled|spelt|written)(| correctly| right)?",
  "How do (people|we|they) spell (the word |){w}?",
  "(I want to|Help me to|Teach me to|Can you help me) spell {w}.",
  "{w}, (spelled|spelt|letter by letter|spelled out)(.|)"
)
export const reversingPhrases = expand(
  "(Please |Can you |Could you |)(reverse|flip|turn around) (the word |){w}.",
  "(Please |Can you |Could you |)(spell|write|say) {w} (backwards|in reverse|the other way round).",
  "(What is|What's) {w} (backwards|reversed|in reverse)?",
  "How (do you|do I) (spell|write) {w} (backwards|in reverse)?",
  "{w} (backwards|reversed|in reverse|the other way round|from the end)(|?|.)",
  "(Reverse|Backwards:|Turn around|In reverse:) {w}",
  "(Write|Say|Spell|Read|Give me|Tell me) (the word |){w} (from back to front|from right to left|from the end|backwards)."
)
export const letterCountPhrases = expand(
  "How many letters (are in|does|are there in) {w} (have|)?",
  "How (long is|many letters has) (the word |){w}?",
  "Count the letters (in|of) {w}.",
  "(What is|Tell me|What's) the (length|number of letters) (of|in) {w}?",
  "(letters in|length of|number of letters in) {w}(|?)",
  "How long is (the word |the name |){w}(| in letters)?"
).filter((phrase) => phrase.includes("does") === phrase.includes("have"))
const firstPhrases = expand(
  "(What is|What's|Tell me|Give me) the (first|initial) letter (of|in) {w}?",
  "(What|Which) letter (comes|is) first in {w}?",
  "(Which|What) letter does {w} (start|begin) with?",
  "{w} (starts|begins) with (which|what) letter?",
  "(first letter of|the first letter of|first letter in) {w}(|?)"
)
const lastPhrases = expand(
  "(What is|What's|Tell me|Give me) the (last|final) letter (of|in) {w}?",
  "(What|Which) letter (comes|is) last in {w}?",
  "(Which|What) letter does {w} (end|stop|finish) (with|in)?",
  "{w} (ends|finishes) (with|in) (which|what) letter?",
  "(last letter of|the last letter of|last letter in|final letter of) {w}(|?)"
)

const onsets = "b c d f g h j k l m n p r s t v w br cl dr fl gr pl pr sh sl st th tr ch".split(" ")
const vowels = "a e i o u ai ea oo ou".split(" ")
const LONGEST = 11
const codas = ["", "", "", "n", "r", "l", "t", "s", "m", "ck", "nd", "st", "ng"]

/** A made-up word: words never seen are spelled by those who have learned to copy, not to remember. */
export function inventedWord(draw: Draw): string {
  const syllables = draw.pick([1, 2, 2, 3])
  const word = Array.from({ length: syllables }, () => draw.pick(onsets) + draw.pick(vowels) + draw.pick(codas)).join(
    ""
  )
  return word.length > LONGEST ? inventedWord(draw) : word
}

/** A made-up word of this side of the split. */
export const drawInvented = (draw: Draw): string =>
  draw.untilSplit(
    "word",
    (word) => word,
    () => inventedWord(draw)
  )

export const capitalized = (word: string): string => `${word.slice(0, 1).toUpperCase()}${word.slice(1)}`

/** A name; in training mostly a made-up one, because a name is to be copied, not remembered. */
export const drawName = (draw: Draw): string =>
  draw.split === "test" || draw.chance(0.4)
    ? draw.pickSplit("name", names)
    : draw.untilSplit(
        "name",
        (name) => name,
        () => capitalized(drawInvented(draw))
      )

/** In the evaluation: a real word that training has not spelled. */
export function drawWord(draw: Draw): string {
  return draw.split === "test" || draw.chance(0.5) ? draw.pickSplit("word", spellingWords) : drawInvented(draw)
}

function about(draw: Draw, phrases: ReadonlyArray<string>, answer: (word: string) => string): Turn {
  const word = drawWord(draw)
  const phrase = draw.pickSplit("phrase", phrases)
  const written = draw.chance(0.1) ? capitalized(word) : word
  const shown = draw.chance(0.15) ? `"${written}"` : written
  return {
    user: phrase.replace("{w}", shown),
    assistant: answer(word),
    keys: [`word:${word}`, `phrase:${phrase}`]
  }
}

export function drawSpelling(draw: Draw): Turn {
  switch (draw.integer(0, 7)) {
    case 0:
      return about(draw, firstPhrases, (word) => `It starts with ${letters(word)[0]}.`)
    case 1:
      return about(draw, lastPhrases, (word) => `It ends with ${letters(word).at(-1)}.`)
    default:
      return about(draw, spellingPhrases, spelled)
  }
}

export const drawReversing = (draw: Draw): Turn => about(draw, reversingPhrases, reversed)
export const drawLetterCount = (draw: Draw): Turn => about(draw, letterCountPhrases, counted)
