/** Weekdays and months. */
import { type Draw, expand } from "./Draw.ts"
import type { Turn, WithWord } from "./Turn.ts"
import { monthDays, months, ordinals, weekdays } from "./WorldFacts.ts"

const after = (list: ReadonlyArray<string>, item: string, step: number): string =>
  list[(list.indexOf(item) + step + list.length) % list.length] ?? item

export const afterPhrases = expand(
  "(What|Which) {k} (comes|is|follows) (right |)after {x}?",
  "(What|Which) {k} follows {x}?",
  "(What is|What's|Tell me|Name) the {k} after {x}?",
  "If (today|now) is {x}, what is (tomorrow|next)?",
  "(What|Which) (comes|is|follows) (right |directly |)(after {x}|next after {x})?",
  "(What is|What's|Tell me) the next {k} after {x}?",
  "(after {x}|{k} after {x}|the {k} after {x})(|?)",
  "{x} is followed by (what|which) {k}?"
).filter(
  (phrase) =>
    !phrase.includes("follows after") &&
    !phrase.includes("follows right") &&
    phrase.includes("today") === phrase.includes("tomorrow")
)
export const beforePhrases = expand(
  "(What|Which) {k} (comes|is) (right |just |directly |)before {x}?",
  "(What|Which) {k} precedes {x}?",
  "(What is|What's|Tell me|Name|Do you know) the {k} (right |)before {x}?",
  "What (comes|is|goes) before {x}?",
  "{x} comes after (which|what) {k}?",
  "(What|Which) (comes|is|goes) (right |directly |just |)before {x}?",
  "(What is|What's|Tell me|Name) the (last |previous |){k} before {x}?",
  "(before {x}|{k} before {x}|the {k} before {x})(|?)",
  "{x} follows (which|what) {k}?"
)
const listPhrases = expand("(List|Name|Tell me|Give me|Say|What are) (all |)the {k}s(| of the {p}| in order).")
const countPhrases = expand(
  "How many {k}s (are in|does|are there in|has|make) (a|one) {p}(| have)?",
  "(Tell me|What is) the number of {k}s (in|of) a {p}.",
  "(How many|The number of) {k}s (in|per) (a|one) {p}(|?)",
  "(a|one) {p} has how many {k}s?",
  "Of how many {k}s is a {p} made?"
).filter((phrase) => phrase.includes("does") === phrase.includes("have"))
const ordinalPhrases = expand(
  "(What is|What's|Which is|Tell me|Name|Give me) the {n} {k}(| of the {p}| in a {p})?",
  "(What|Which) {k} (is|comes) {n}?",
  "(the {n} {k}|{n} {k}|{n} {k} of the {p})(|?)",
  "(What|Which) {k} is the {n}( of the {p}| one| in the {p}|)?",
  "(What|Which) is the {n} {k}( in the {p}|)?"
)
export const daysPhrases = expand(
  "How many days (are in|are there in|has) {x}?",
  "How many days does {x} (have|last)?",
  "How long (is|does) {x}( last|)?",
  "(Tell me|Do you know|What is) the (number of days|length) (in|of) {x}.",
  "How many days (in|are in|there are in|are inside|make up) {x}?",
  "(How long is|How long are|How long was) (the month |the month of |){x}(| in days)?",
  "(days in|length of|number of days in) {x}(|?)",
  "{x} (has|is) how many days(| long)?"
).filter(
  (phrase) =>
    !/^How long (is|does) \{x\}( last)?\?$/.test(phrase) || phrase.includes("does") === phrase.includes("last")
)

export function drawWeekdayAfter(draw: Draw, kind = "day", day = draw.pick(weekdays)): WithWord {
  const phrase = draw.pickSplit(
    "phrase",
    afterPhrases.filter((text) => kind === "day" || !text.includes("today"))
  )
  const next = after(kind === "day" ? weekdays : months, day, 1)
  return {
    turn: {
      user: phrase.replace("{k}", kind).replace("{x}", day),
      assistant: `${next} comes after ${day}.`,
      keys: [`phrase:${phrase}`]
    },
    word: next
  }
}

export function drawCalendar(draw: Draw): Turn {
  const [kind, period, list] = draw.chance(0.5)
    ? (["day", "week", weekdays] as const)
    : (["month", "year", months] as const)
  const ask = (phrases: ReadonlyArray<string>, item: string, assistant: string): Turn => {
    const phrase = draw.pickSplit("phrase", phrases)
    const user = phrase.replace("{k}", kind).replace("{p}", period).replace("{x}", item).replace("{n}", item)
    return { user, assistant, keys: [`phrase:${phrase}`] }
  }
  const item = draw.pick(list)
  switch (draw.integer(0, 9)) {
    case 0:
      return ask(listPhrases, item, `${list.join(", ")}.`)
    case 1:
      return ask(countPhrases, item, `A ${period} has ${list.length} ${kind}s.`)
    case 2:
    case 3: {
      const index = draw.integer(0, list.length - 1)
      return ask(ordinalPhrases, ordinals[index] ?? "", `The ${ordinals[index]} ${kind} is ${list[index]}.`)
    }
    case 4: {
      const index = draw.integer(0, 11)
      return ask(daysPhrases, months[index] ?? "", `${months[index]} has ${monthDays[index]} days.`)
    }
    case 5:
    case 6:
    case 7:
      return ask(beforePhrases, item, `${after(list, item, -1)} comes before ${item}.`)
    default:
      return drawWeekdayAfter(draw, kind, item).turn
  }
}
