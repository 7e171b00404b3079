/** Conversations whose last question cannot be understood without what came before. */
import { addition, drawAddition, drawCounting, drawSubtraction, operandsKey, subtraction } from "./Arithmetic.ts"
import { drawCalendar, drawWeekdayAfter } from "./Calendar.ts"
import { type Draw, expand, heldOut } from "./Draw.ts"
import {
  drawCapital,
  drawCapitalOf,
  drawHelixflow,
  drawIdentity,
  drawOppositeOf,
  named,
  opposite
} from "./Knowledge.ts"
import { drawRefusal } from "./Refusals.ts"
import type { Turn } from "./Turn.ts"
import { drawName, drawReversing, drawSpelling, drawWord, reversed, spelled } from "./Words.ts"
import { capitals, months, opposites, weekdays } from "./WorldFacts.ts"

const andOfPhrases = expand(
  "(and |)(what about|how about) {x}?",
  "(and|And) (of |for |)(that of |) {x}?",
  "(now|next|then|also) {x}(| please)",
  "the same for {x}(|.|?)",
  "(and|And) what is (it for|that of) {x}?",
  "{x}?",
  "(and|And) (in|with|about|for) {x}(|?)",
  "(Same question|The same|Again) (for|with|about) {x}(.|?|)",
  "(Ok|Okay|Good|Thanks|Thank you)(,|.) (and|now|what about|how about) {x}?",
  "(And now|And then|Next:|And also) {x}(|?|.)"
)
const addPhrases = expand(
  "(add|Add|now add|Now add|then add|and add) {n}( to that| to it| to the result| more|)(|.)",
  "(plus|and plus|Plus) {n}(|?|.)",
  "(What is|What's) that plus {n}?",
  "{n} more(|.|?)",
  "(and|now|What) if you add {n}( to that|)?",
  "(Add|Add another|Then add|Add also|Next add) {n}(.| to this.| to the sum.| to that number.)",
  "(+|and +|then +|that +) {n}",
  "(What is|What's|How much is|And what is) (that|this|it|the result) (plus|+|and) {n}(|?)",
  "(Increase|Raise) (it|that|this) by {n}(|.)",
  "(and|And|then|Then|now|Now|ok,) plus {n}(|?|.)"
)
const subtractPhrases = expand(
  "(subtract|Subtract|now subtract|take away|Take away|now take) {n}( from that| from it| from the result|)(|.)",
  "(minus|and minus|Minus) {n}(|?|.)",
  "(What is|What's) that minus {n}?",
  "{n} less(|.|?)",
  "(and|now|What) if you (subtract|take away) {n}( from that|)?",
  "(Subtract|Take|Then subtract|Next subtract|Then take away) {n}(.| from this.| from the sum.| from that number.)",
  "(-|and -|then -|that -) {n}",
  "(What is|What's|How much is|And what is) (that|this|it|the result) (minus|-|less) {n}(|?)",
  "(Decrease|Lower|Reduce) (it|that|this) by {n}(|.)",
  "(and|And|then|Then|now|Now|ok,) minus {n}(|?|.)"
)
const nextPhrases = expand(
  "(and|And) (after that|then|next)?",
  "(what|What) (comes|is) (next|after that)?",
  "(and|And) the (day|one|next one) after(| that)?",
  "(What|what|Which|which) (one |)(comes|is|follows) (then|next|after that|after this)?",
  "(and|And) what (comes|is|follows) (next|after that|after this|then)?",
  "(the next one|next one|the one after|and the following one|one more|go on)(|?|.)"
)
const backwardsPhrases = expand(
  "(and|now|And|Now) (backwards|in reverse|reversed)(|?|.)",
  "(and|now|then|) (reverse|flip) (it|that)(|.)",
  "(Can you |Please |Could you |Now |)(reverse|spell|say|write) (it|that|this|the word) (backwards|in reverse|the other way round)(|?|.)",
  "(And|and|Now|now) (from the end|the other way round|from back to front|turned around)(|?|.)",
  "(What is|What's|How is) (it|that) (backwards|in reverse|reversed)?",
  "backwards(|?|.| please)"
)
const againPhrases = expand(
  "(Say|Tell me|Repeat) (that|it) again(|.| please)",
  "(Can you |Please |)repeat (that|it|the answer)(|?|.)",
  "(What|what) was that(| again)?",
  "(Pardon|Sorry, what)?",
  "(Once more|Again|One more time|Repeat|Come again)(|.|?| please|, please.)",
  "(What|what) did you (say|answer|tell me)(| again| just now)?",
  "(I did not|I didn't|I could not) (hear|get|catch|read|understand) (that|it|you)(|.)",
  "(Say|Tell me|Give me|Show me|Write|Repeat) (your|the|the last|your last) answer (again|once more|one more time)(|.)",
  "(Can|Could|Would) you (say|tell me|repeat) (that|it) (again|once more|one more time)?"
)
const thatPhrases = expand(
  "(My name is|I am called|I'm called|Call me|You can call me) {x}(|.|!)",
  "(Hi|Hello|Hey), (my name is|I am|I'm) {x}(|.|!)",
  "(My name's|The name is|I go by|People call me|Everyone calls me|Please call me|I am|I'm|This is|It is) {x}(|.|!)",
  "(Good morning|Good day|Good evening|Hi there|Hello there|Hey there)(,|!|.) (my name is|I am|I'm|this is) {x}(|.|!)",
  "{x} is my name(|.|!)",
  "(Remember|Remember that|Please remember|Note|Please note that) my name is {x}(|.)",
  "(Hi|Hello|Hey|Good morning)(,|!) {x} here(|.|!)",
  "(You can|You may|Please|Just) call me {x}(|.|!)"
)
const whoPhrases = expand(
  "(What is|What's|Do you know|Do you remember|Tell me|Say) my name(|?)",
  "Who am I?",
  "(What am I called|What did I say my name is|Remember my name)?",
  "(and |so |)(what is|what's|do you know|do you remember|tell me|say) my name(|?| again?| now?| please?)",
  "(Which|What) name (did I|have I) (tell|told|give|given|say) you?",
  "(Can|Could|Do) you (tell me|say|remember|know|recall) (my name|who I am|what I am called|what my name is)?",
  "(How am I called|What was my name|What is my name again|Who is talking to you|What did I tell you my name was)?",
  "(my name|my name please)?"
).filter((phrase) => !/did I (told|given)|have I (tell|give|say)/.test(phrase))

/** The turns of a conversation, of which the last depends on the others. */
export function drawFollowUp(draw: Draw): ReadonlyArray<Turn> {
  return draw.pick([capital, sum, sum, sum, oppositeOf, next, spelling, repeat, ownName, ownName])(draw)
}

function reply(
  draw: Draw,
  phrases: ReadonlyArray<string>,
  x: string,
  assistant: string,
  keys: ReadonlyArray<string> = []
): Turn {
  const phrase = draw.pickSplit("phrase", phrases)
  return { user: phrase.replace("{x}", x).replace("{n}", x), assistant, keys: [`phrase:${phrase}`, ...keys] }
}

function capital(draw: Draw): ReadonlyArray<Turn> {
  const turns = [drawCapitalOf(draw).turn]
  for (let i = draw.integer(1, 2); i > 0; i--) {
    const [country, city] = draw.pick(capitals)
    const asked = draw.chance(0.5) ? country : named(country)
    turns.push(reply(draw, andOfPhrases, asked, `The capital of ${named(country)} is ${city}.`))
  }
  return turns
}

function oppositeOf(draw: Draw): ReadonlyArray<Turn> {
  const word = draw.pick(draw.pick(opposites))
  return [drawOppositeOf(draw).turn, reply(draw, andOfPhrases, word, `The opposite of ${word} is ${opposite(word)}.`)]
}

/** The result that an answer ends with. */
const result = (turn: Turn): number => Number(/(-?\d+)\.$/.exec(turn.assistant)?.[1])

function sum(draw: Draw): ReadonlyArray<Turn> {
  const turns = [draw.chance(0.6) ? drawAddition(draw) : drawSubtraction(draw)]
  for (let steps = draw.integer(1, 2); steps > 0; steps--) {
    const last = turns.at(-1)
    const before = last === undefined ? Number.NaN : result(last)
    if (!(before >= 0 && before <= 999)) break
    const adds = before < 10 || draw.chance(0.6)
    const operator = adds ? "+" : "-"
    const candidates = Array.from({ length: 200 }, () => draw.integer(1, draw.pick([9, 9, 99, 999]))).filter(
      (n) => (adds || n <= before) && heldOut("operands", operandsKey(operator, before, n)) === (draw.split === "test")
    )
    if (candidates.length === 0) break
    const n = draw.pick(candidates)
    const keys = [`operands:${operandsKey(operator, before, n)}`]
    turns.push(
      adds
        ? reply(draw, addPhrases, `${n}`, addition(before, n), keys)
        : reply(draw, subtractPhrases, `${n}`, subtraction(before, n), keys)
    )
  }
  return turns.length === 1 ? sum(draw) : turns
}

function next(draw: Draw): ReadonlyArray<Turn> {
  const [kind, list] = draw.chance(0.6) ? (["day", weekdays] as const) : (["month", months] as const)
  const index = draw.integer(0, list.length - 1)
  const at = (i: number) => list[i % list.length] ?? ""
  return [
    drawWeekdayAfter(draw, kind, at(index)).turn,
    reply(draw, nextPhrases, "", `${at(index + 2)} comes after ${at(index + 1)}.`)
  ]
}

/** A word spelled, then another one, then either of them backwards: "spell whale", "and shark", "backwards". */
function spelling(draw: Draw): ReadonlyArray<Turn> {
  const first = drawSpelling(draw)
  let word = first.keys.find((key) => key.startsWith("word:"))?.slice("word:".length) ?? ""
  if (first.assistant !== spelled(word)) return spelling(draw)
  const turns = [first]
  const others = draw.pick([0, 0, 1, 1, 2])
  for (let i = 0; i < others; i++) {
    word = drawWord(draw)
    turns.push(reply(draw, andOfPhrases, word, spelled(word), [`word:${word}`]))
  }
  if (others === 0 || draw.chance(0.35)) turns.push(reply(draw, backwardsPhrases, "", reversed(word)))
  return turns
}

const repeatable = [
  drawCapital,
  drawCapital,
  (draw: Draw) => drawOppositeOf(draw).turn,
  drawHelixflow,
  drawHelixflow,
  drawAddition,
  drawSubtraction,
  drawSpelling,
  drawReversing,
  drawCounting,
  drawCalendar,
  drawIdentity,
  drawRefusal
]

function repeat(draw: Draw): ReadonlyArray<Turn> {
  const first = draw.pick(repeatable)(draw)
  return [first, reply(draw, againPhrases, "", first.assistant)]
}

function ownName(draw: Draw): ReadonlyArray<Turn> {
  if (draw.chance(0.2)) return [reply(draw, whoPhrases, "", "You have not told me your name.")]
  const name = drawName(draw)
  const told: Turn = { ...reply(draw, thatPhrases, name, `Nice to meet you, ${name}!`, [`name:${name}`]), exact: true }
  const between = draw.chance(0.5) ? [drawCapitalOf(draw).turn] : []
  return [told, ...between, reply(draw, whoPhrases, "", `Your name is ${name}.`, [`name:${name}`])]
}
