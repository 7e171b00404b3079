/** Questions that one turn answers from memory: manners, identity, HelixFlow, capitals, opposites. */
import { drawWeekdayAfter } from "./Calendar.ts"
import { type Draw, expand } from "./Draw.ts"
import { type Fact, helixflowFacts } from "./HelixFlowFacts.ts"
import { greetings, identity } from "./Manners.ts"
import type { Turn, WithWord } from "./Turn.ts"
import { capitals, opposites } from "./WorldFacts.ts"

const fromFacts = (
  draw: Draw,
  facts: ReadonlyArray<Fact>
): { readonly turn: Turn; readonly word: string | undefined } => {
  const fact = draw.pick(facts)
  const phrase = draw.pickSplit("phrase", fact.phrases)
  return { turn: { user: phrase, assistant: fact.answer, keys: [`phrase:${phrase}`] }, word: fact.word }
}

export const drawGreeting = (draw: Draw): Turn => fromFacts(draw, greetings).turn
export const drawIdentity = (draw: Draw): Turn => fromFacts(draw, identity).turn
export const drawHelixflow = (draw: Draw): Turn => fromFacts(draw, helixflowFacts).turn

export const capitalPhrases = expand(
  "(What is|What's|whats|Tell me|Name|Give me) the capital (city |)of {x}?",
  "(Which|What) city is the capital of {x}?",
  "(Do you know|Can you tell me|Could you tell me|I want to know|Please tell me) the capital (city |)of {x}?",
  "(capital of {x}|{x} capital|{x}'s capital|the capital of {x})(|?)",
  "(What is|What's) {x}'s capital(| city)?",
  "(What|Which) capital (does {x} have|has {x}|belongs to {x})?",
  "(And what|So what|What city|Which town) is the capital of {x}?",
  "(Say|Find|Get me|Look up) the capital of {x}(|.)",
  "{x} has (which|what) (city as its |)capital?"
)
export const countryPhrases = expand(
  "{x} is the capital of (which|what) country?",
  "(Which|What) country has {x} as (its |the |)capital?",
  "(Which|What) country is {x} the capital of?",
  "(Which|What) country's capital is {x}?",
  "(Tell me|Name|Do you know) the country (whose capital is {x}|with the capital {x}|that has the capital {x}).",
  "{x} is (which|what) country's capital?",
  "Of (which|what) country is {x} the capital?",
  "{x} is the capital (of|city of) (what|which|which country|what country|what land)?",
  "(Of what|Of which) (land|state|nation) is {x} the capital(| city)?",
  "(Which|What) (country|land|nation|state) (has|has got|owns|uses) {x} (as|for) (its |a |the |)capital(| city)?",
  "(Which|What) (land|nation|place) is {x} the capital of?",
  "(Tell me|Say|Can you tell me|Could you tell me|Please tell me) (which|what) country (has the capital {x}|{x} is the capital of|has {x} as its capital).",
  "(country with capital|country of the capital|country whose capital is) {x}(|?)",
  "{x} (capital of|is capital of|the capital of|is the capital of)(|?)"
)

/** As it is called in a sentence. */
export const named = (country: string): string =>
  /^(Netherlands|Philippines|United)/.test(country) ? `the ${country}` : country

export function drawCapitalOf(draw: Draw, [country, city] = draw.pick(capitals)): WithWord {
  const phrase = draw.pickSplit("phrase", capitalPhrases)
  const asked = draw.chance(0.3) || !/(of|does|has|to) \{x\}/.test(phrase) ? country : named(country)
  return {
    turn: {
      user: phrase.replace("{x}", asked),
      assistant: `The capital of ${named(country)} is ${city}.`,
      keys: [`phrase:${phrase}`]
    },
    word: city
  }
}

export function drawCapital(draw: Draw): Turn {
  if (draw.chance(0.6)) return drawCapitalOf(draw).turn
  // London has two countries here, so it is not asked for.
  const [country, city] = draw.pick(capitals.filter(([, name]) => name !== "London"))
  const phrase = draw.pickSplit("phrase", countryPhrases)
  return {
    user: phrase.replace("{x}", city),
    assistant: `${city} is the capital of ${named(country)}.`,
    keys: [`phrase:${phrase}`]
  }
}

export const oppositePhrases = expand(
  "(What is|What's|whats|Tell me|Name|Give me) the opposite of {x}?",
  "(opposite of {x}|the opposite of {x}|{x} opposite)(|?)",
  "(Which|What) (word |)is (the opposite of|opposite to) {x}?",
  "(Do you know|Can you tell me|Please tell me) the opposite of {x}?",
  "(What is|What's) {x}'s opposite?",
  "(Give me|What is|Name) (an antonym|the antonym) (of|for) {x}.",
  "(Which|What) word (means the opposite of|is the reverse of|is the contrary of) {x}?",
  "(antonym of|the contrary of|contrary of) {x}(|?)",
  "(Find|Say|Can you give me|I need) the opposite of {x}(|.)",
  "{x} is the opposite of (what|which word)?"
)

export const opposite = (word: string): string | undefined =>
  opposites.find(([left]) => left === word)?.[1] ?? opposites.find(([, right]) => right === word)?.[0]

export function drawOppositeOf(draw: Draw): WithWord {
  const pair = draw.pick(opposites)
  const word = draw.pick(pair)
  const other = opposite(word) ?? word
  const phrase = draw.pickSplit("phrase", oppositePhrases)
  return {
    turn: {
      user: phrase.replace("{x}", word),
      assistant: `The opposite of ${word} is ${other}.`,
      keys: [`phrase:${phrase}`]
    },
    word: other
  }
}

/** A question whose answer is one word. */
export function drawOneWord(draw: Draw): Turn {
  const { turn, word } = draw.pick([
    () => drawCapitalOf(draw),
    () => drawCapitalOf(draw),
    () => drawOppositeOf(draw),
    () => drawWeekdayAfter(draw),
    () => fromFacts(draw, oneWordFacts),
    () => fromFacts(draw, oneWordFacts)
  ])()
  return { ...turn, assistant: word ?? turn.assistant }
}

const oneWordFacts = [...greetings, ...identity, ...helixflowFacts].filter((fact) => fact.word !== undefined)
