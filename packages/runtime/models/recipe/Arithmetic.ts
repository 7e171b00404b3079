/**
 * Addition, subtraction and counting. Sums of more than one digit are first said again and then worked out column by column, ones
 * first, as at school: each step then needs no more than the digits it names, which is what a small model can learn. Counting says
 * first from where to where, and comparing which way round two numbers are, for the same reason.
 */
import { type Draw, expand } from "./Draw.ts"
import type { Turn } from "./Turn.ts"

/** The digit of `n` that counts `10 ** place`. */
const digit = (n: number, place: number): number => Math.floor(n / 10 ** place) % 10

/** `a + b`, worked out. */
export function addition(a: number, b: number): string {
  if (a < 10 && b < 10) return `${a}+${b}=${a + b}.`
  const steps: Array<string> = []
  let carry = 0
  for (let place = 0; place < Math.max(`${a}`.length, `${b}`.length); place++) {
    const sum = digit(a, place) + digit(b, place) + carry
    steps.push(`${digit(a, place)}+${digit(b, place)}${carry === 1 ? "+1" : ""}=${sum}`)
    carry = sum >= 10 ? 1 : 0
  }
  return `${a} + ${b}: ${steps.join(", ")}. That makes ${a + b}.`
}

/** `a - b`, worked out; a negative difference as the positive one the other way round. */
export function subtraction(a: number, b: number): string {
  if (a < b) return `-(${b} - ${a}): ${worked(b, a)}. That makes ${a - b}.`
  return a < 10 ? `${a}-${b}=${a - b}.` : `${a} - ${b}: ${worked(a, b)}. That makes ${a - b}.`
}

function worked(a: number, b: number): string {
  const steps: Array<string> = []
  let borrow = 0
  for (let place = 0; place < `${a}`.length; place++) {
    const short = digit(a, place) < digit(b, place) + borrow
    const top = digit(a, place) + (short ? 10 : 0)
    const difference = top - digit(b, place) - borrow
    steps.push(`${top}-${digit(b, place)}${borrow === 1 ? "-1" : ""}=${difference}`)
    borrow = short ? 1 : 0
  }
  return steps.join(", ")
}

export const additionPhrases = expand(
  "(What is|What's|whats|How much is|Compute|Calculate|Work out|Tell me|Solve|) {a} (+|plus) {b}?",
  "(Can|Could) you (compute|calculate|work out|tell me) {a} (+|plus) {b}?",
  "{a}+{b}",
  "{a} + {b} =",
  "(Please |)(add|sum) {a} and {b}.",
  "(What is|What's|Give me|Find) the sum of {a} and {b}?",
  "(What do you get|What is the result) (if|when) you add {a} and {b}?",
  "What does {a} (+|plus) {b} (make|give|equal)?",
  "(I have|She has|We have|Tom has) {a} (apples|coins|books|eggs) and (get|find|buy|win) {b} more. How many (is that|are there now|in total)?",
  "add {a} (to|and) {b}"
)

export const subtractionPhrases = expand(
  "(What is|What's|whats|How much is|Compute|Calculate|Work out|Tell me|Solve|) {a} (-|minus) {b}?",
  "(Can|Could) you (compute|calculate|work out|tell me) {a} (-|minus) {b}?",
  "{a}-{b}",
  "{a} - {b} =",
  "(Please |)(subtract|take|deduct|remove) {b} from {a}.",
  "(Can you |Could you |)(take|subtract|remove) {b} (away from|out of) {a}.",
  "(What do you get|What is the result|What remains) (if|when) you (subtract|take|take away|remove) {b} from {a}?",
  "From {a} (take|subtract|take away|remove) {b}.",
  "What does {a} (-|minus) {b} (make|give|equal)?",
  "(I have|She has|We have|Tom has) {a} (apples|coins|books|eggs) and (lose|sell|eat|give away) {b}. How many are left?",
  "(How much is|What is|What's|) {a} (less|without|take away|reduced by) {b}?",
  "(If|When) (you|I|we) (take|subtract|remove|deduct) {b} from {a}, what (is left|remains|do you get)?",
  "How much (is left|remains) (of|from) {a} (if|when|after) (you|I|we) (take|remove|subtract) {b}?",
  "{b} (subtracted|taken|taken away|deducted|removed) from {a}(|?)",
  "(What is|What's|How much is|Give me|Compute) {b} (subtracted|taken|deducted|removed) from {a}?",
  "{a} with {b} (subtracted|taken away|deducted|removed)(|?)",
  "(Start with|Begin with|Start at) {a} (and|then) (subtract|take away|remove|go back) {b}.",
  "(I had|She had|We had|There were) {a} (apples|coins|books|eggs) and {b} (are|were) (gone|sold|lost|eaten). How many (are left|remain)?"
)

const fill = (phrase: string, a: number, b: number) => phrase.replaceAll("{a}", `${a}`).replaceAll("{b}", `${b}`)

const numberWords =
  "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split(" ")

/** As `fill`; small numbers are now and then written out, as people do. */
function fillSpoken(draw: Draw, phrase: string, a: number, b: number): string {
  const [left, right] = [numberWords[a], numberWords[b]]
  if (left === undefined || right === undefined || !draw.chance(0.3)) return fill(phrase, a, b)
  return phrase.replaceAll("{a}", left).replaceAll("{b}", right)
}

/** Operands of one to three digits; lengths are drawn first, so that short numbers are as frequent as long ones. */
function operand(draw: Draw): number {
  const length = draw.pick([1, 2, 2, 2, 3, 3])
  return length === 1 ? draw.integer(0, 9) : draw.integer(10 ** (length - 1), 10 ** length - 1)
}

/** The same pair either way round, so that neither order leaks the other. */
export const operandsKey = (operator: "+" | "-", a: number, b: number): string =>
  `${operator} ${Math.min(a, b)} ${Math.max(a, b)}`

/** Pairs that need care are more frequent than chance makes them: digits alone, negative differences, tens to borrow. */
function operands(draw: Draw, operator: "+" | "-"): readonly [number, number] {
  const shape = draw.next()
  const wanted = (a: number, b: number): boolean => {
    if (shape < 0.15) return a < 10 && b < 10
    if (operator === "+") return shape < 0.45 ? digit(a, 0) + digit(b, 0) > 9 : true
    if (shape < 0.35) return a < b
    return a >= b && (shape > 0.65 || digit(a, 0) < digit(b, 0))
  }
  return draw.untilSplit(
    "operands",
    ([a, b]) => operandsKey(operator, a, b),
    () => {
      for (;;) {
        const [a, b] = [operand(draw), operand(draw)]
        if (wanted(a, b)) return [a, b] as const
      }
    }
  )
}

export function drawAddition(draw: Draw): Turn {
  const [a, b] = operands(draw, "+")
  const phrase = draw.pickSplit("phrase", additionPhrases)
  return {
    user: fillSpoken(draw, phrase, a, b),
    assistant: addition(a, b),
    keys: [`operands:${operandsKey("+", a, b)}`, `phrase:${phrase}`]
  }
}

export function drawSubtraction(draw: Draw): Turn {
  const [a, b] = operands(draw, "-")
  const phrase = draw.pickSplit("phrase", subtractionPhrases)
  return {
    user: fillSpoken(draw, phrase, a, b),
    assistant: subtraction(a, b),
    keys: [`operands:${operandsKey("-", a, b)}`, `phrase:${phrase}`]
  }
}

const nextPhrases = expand(
  "(What|Which) number (comes|is|goes|follows) (right |directly |just |)after {a}?",
  "What (comes|is|follows) (right |directly |)after {a}?",
  "(What is|What's|whats|Tell me|Name|Give me|Say|Do you know) the (next |)number (right |)after {a}?",
  "(What is|What's|Tell me) the (successor of|number following) {a}?",
  "(Which|What) number follows {a}?",
  "(after {a}|next after {a}|the number after {a})(|?)"
).filter((phrase) => !/follows (right |directly |just |)after/.test(phrase))
const previousPhrases = expand(
  "(What|Which) number (comes|is|goes) (right |directly |just |)before {a}?",
  "What (comes|is|goes) (right |directly |just |)before {a}?",
  "(What is|What's|whats|Tell me|Name|Give me|Say|Do you know) the number (right |just |)before {a}?",
  "(What is|What's|Tell me) the (predecessor of|number preceding) {a}?",
  "(Which|What) number precedes {a}?",
  "(before {a}|the number before {a})(|?)"
)
const upPhrases = expand(
  "(Please |Can you |Could you |)count (up |)(from {a} to {b}|to {b} from {a}|from {a} up to {b}).",
  "(List|Give me|Say|Write|Tell me|Show me) (all |)the numbers (from {a} to {b}|between {a} and {b}|from {a} up to {b}).",
  "(count|numbers|from|go from|counting from|now from|go) {a} to {b}",
  "count {a} up to {b}"
)
const upToPhrases = expand(
  "(Please |Can you |Could you |Would you |)count (up |)to {b}(| for me| now).",
  "(Count|Say|List|Write|Give me|Tell me) (all |)the numbers up to {b}.",
  "(Count|Say|List|Write) (all |)the first {b} numbers.",
  "(Let us|Let's|Now) count (up |)to {b}."
)
const downPhrases = expand(
  "(Please |Can you |Could you |)count (down|backwards|back) (from {b} to {a}|to {a} from {b}|from {b} down to {a}).",
  "(List|Give me|Say|Write|Tell me) (all |)the numbers (from {b} down to {a}|down from {b} to {a}|from {b} to {a} backwards).",
  "(count|numbers|from|count from|go from|go) {b} down to {a}",
  "(countdown|count down|a countdown|counting down|the countdown|do a countdown) from {b} to {a}"
)
const largerPhrases = expand(
  "Which (number |one |)is (bigger|larger|greater|more|higher)(,|:) {a} or {b}?",
  "Which is the (bigger|larger|greater|higher) (number|one|of the two), {a} or {b}?",
  "What is (bigger|larger|more|greater|higher)(,|:) {a} or {b}?",
  "(Tell me|Do you know|Can you tell me) which is (bigger|larger|greater|more), {a} or {b}?",
  "(Tell me|Name|Give me) the (bigger|larger|greater) (number |)of {a} and {b}.",
  "(Is {a} or {b}|{a} or {b}, which is|{a} or {b}: which is|Of {a} and {b}, which is) (bigger|larger|more|greater)?"
)
const smallerPhrases = expand(
  "Which (number |one |)is (smaller|less|lower)(,|:) {a} or {b}?",
  "Which is the (smaller|lower|lesser) (number|one|of the two), {a} or {b}?",
  "What is (smaller|less|lower)(,|:) {a} or {b}?",
  "(Tell me|Do you know|Can you tell me) which is (smaller|less|lower), {a} or {b}?",
  "(Tell me|Name|Give me) the (smaller|lower) (number |)of {a} and {b}.",
  "(Is {a} or {b}|{a} or {b}, which is|{a} or {b}: which is|Of {a} and {b}, which is) (smaller|less|lower)?"
)

export function drawCounting(draw: Draw): Turn {
  const turn = (key: string, phrases: ReadonlyArray<string>, a: number, b: number, assistant: string): Turn => {
    const phrase = draw.pickSplit("phrase", phrases)
    return { user: fill(phrase, a, b), assistant, keys: [`phrase:${phrase}`, key] }
  }
  const range = (): readonly [number, number, ReadonlyArray<number>] =>
    draw.untilSplit(
      "count",
      ([a, b]) => `range ${a} ${b}`,
      () => {
        const a = draw.chance(0.25) ? 1 : draw.integer(0, 89)
        const b = a + draw.integer(2, 11)
        return [a, b, Array.from({ length: b - a + 1 }, (_, i) => a + i)] as const
      }
    )
  const single = (kind: string) =>
    draw.untilSplit(
      "count",
      (a) => `${kind} ${a} 0`,
      () => operand(draw) + 1
    )
  switch (draw.integer(0, 5)) {
    case 0: {
      const a = single("next")
      return turn(`count:next ${a} 0`, nextPhrases, a, 0, `After ${a} comes ${a + 1}.`)
    }
    case 1: {
      const a = single("previous")
      return turn(`count:previous ${a} 0`, previousPhrases, a, 0, `Before ${a} comes ${a - 1}.`)
    }
    case 2: {
      const [a, b, numbers] = range()
      const phrases = a === 1 && draw.chance(0.5) ? upToPhrases : upPhrases
      return turn(`count:range ${a} ${b}`, phrases, a, b, `From ${a} up to ${b}: ${numbers.join(", ")}.`)
    }
    case 3: {
      const [a, b, numbers] = range()
      return turn(
        `count:range ${a} ${b}`,
        downPhrases,
        a,
        b,
        `From ${b} down to ${a}: ${numbers.toReversed().join(", ")}.`
      )
    }
    default: {
      const [a, b] = draw.untilSplit(
        "operands",
        ([x, y]) => operandsKey("-", x, y),
        () => {
          const x = operand(draw)
          const y = draw.chance(0.3) ? x + draw.integer(1, 9) : operand(draw)
          return [x, x === y ? y + 1 : y] as const
        }
      )
      const [low, high] = [Math.min(a, b), Math.max(a, b)]
      const order = `${a} ${a < b ? "<" : ">"} ${b}`
      return draw.chance(0.5)
        ? turn(`operands:${operandsKey("-", a, b)}`, largerPhrases, a, b, `${order}: ${high} is more than ${low}.`)
        : turn(`operands:${operandsKey("-", a, b)}`, smallerPhrases, a, b, `${order}: ${low} is less than ${high}.`)
    }
  }
}
