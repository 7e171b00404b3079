/**
 * The small world that the bundled models are made for: conversations drawn from every family, without end, the same for the
 * same seed. See {@link heldOut} for what training never sees.
 */
import { drawAddition, drawCounting, drawSubtraction } from "./Arithmetic.ts"
import { drawCalendar } from "./Calendar.ts"
import { closers, Draw, openers, type Split } from "./Draw.ts"
import { drawFollowUp } from "./FollowUps.ts"
import { drawJson, drawSystemPrompt, plainSystemPrompts } from "./Instructed.ts"
import { drawCapital, drawGreeting, drawHelixflow, drawIdentity, drawOppositeOf } from "./Knowledge.ts"
import { greetings } from "./Manners.ts"
import { drawRefusal } from "./Refusals.ts"
import { drawTools } from "./Tools.ts"
import type { Conversation, Family, Message, Turn } from "./Turn.ts"
import { drawLetterCount, drawReversing, drawSpelling } from "./Words.ts"

/** How each family is drawn, and its share of the training conversations. */
const generators: ReadonlyArray<{
  readonly family: Family
  readonly weight: number
  readonly draw: (draw: Draw) => Turn | ReadonlyArray<Turn> | Conversation
}> = [
  { family: "greetings", weight: 8, draw: drawGreeting },
  { family: "identity", weight: 7, draw: drawIdentity },
  { family: "helixflow", weight: 9, draw: drawHelixflow },
  { family: "addition", weight: 8, draw: drawAddition },
  { family: "subtraction", weight: 18, draw: drawSubtraction },
  { family: "capitals", weight: 8, draw: drawCapital },
  { family: "spelling", weight: 6, draw: drawSpelling },
  { family: "reversing", weight: 10, draw: drawReversing },
  { family: "counting", weight: 18, draw: (draw) => (draw.chance(0.2) ? drawLetterCount(draw) : drawCounting(draw)) },
  { family: "opposites", weight: 4, draw: (draw) => drawOppositeOf(draw).turn },
  { family: "calendar", weight: 6, draw: drawCalendar },
  { family: "follow-ups", weight: 15, draw: drawFollowUp },
  { family: "system prompts", weight: 10, draw: drawSystemPrompt },
  { family: "tools", weight: 28, draw: drawTools },
  { family: "json", weight: 6, draw: drawJson },
  { family: "refusals", weight: 6, draw: drawRefusal }
]

function weighted(draw: Draw, doubled: ReadonlyArray<string>): Family | undefined {
  const weights = generators.map(({ family, weight }) => (doubled.includes(family) ? 2 * weight : weight))
  let at = draw.next() * weights.reduce((sum, weight) => sum + weight, 0)
  const index = weights.findIndex((weight) => {
    at -= weight
    return at < 0
  })
  return generators.at(index)?.family
}

/** One conversation of a family. */
export function drawConversation(draw: Draw, family: Family | undefined): Conversation {
  const generator = generators.find((candidate) => candidate.family === family)
  if (generator === undefined) throw new RangeError(`no generator for ${family}`)
  const drawn = generator.draw(draw)
  if ("messages" in drawn) return { ...drawn, messages: drawn.messages.map((message) => typed(draw, message)) }

  const asked: ReadonlyArray<Turn> = "user" in drawn ? [drawn] : drawn
  // Earlier turns about something else: what came before must not disturb an answer that does not need it.
  const earlier = draw.chance(0.15)
    ? Array.from({ length: draw.pick([1, 1, 1, 1, 2, 3]) }, () => earlierTurn(draw))
    : []
  const turns = [...earlier, ...asked]
  const system = draw.chance(0.15) ? [draw.pickSplit("phrase", plainSystemPrompts)] : []
  return {
    family: generator.family,
    messages: [
      ...system.map((content) => ({ role: "system", content }) as const),
      ...turns.flatMap(
        (turn): ReadonlyArray<Message> => [
          { role: "user", content: turn.exact === true ? turn.user : casual(draw, turn.user) },
          { role: "assistant", content: turn.assistant }
        ]
      )
    ],
    keys: [...system.map((prompt) => `phrase:${prompt}`), ...turns.flatMap((turn) => turn.keys)]
  }
}

function earlierTurn(draw: Draw): Turn {
  return draw.pick([drawGreeting, drawIdentity, drawHelixflow, drawCapital, drawSpelling, drawRefusal, drawCalendar])(
    draw
  )
}

const typed = (draw: Draw, message: Message): Message =>
  message.role === "user" && draw.chance(0.2)
    ? { ...message, content: message.content.replace(/[?.!]+$/, "") }
    : message

const greetingPhrases = new Set(greetings.flatMap(({ phrases }) => phrases))

/** Not before a greeting or a single word: nobody says "Quick question: Good morning". */
const introductions: ReadonlyArray<string> = ["Quick question: ", "Now ", "Please: "]
const politeOpeners = openers.filter((opener) => !introductions.includes(opener))

/** The same words as people type them: without capitals, without the full stop, with a word of politeness. */
export function casual(draw: Draw, text: string): string {
  let result = text
  const short = greetingPhrases.has(text) || !text.includes(" ")
  if (draw.chance(0.08)) result = `${draw.pick(short ? politeOpeners : openers)}${result}`
  if (draw.chance(0.06)) result = `${result}${draw.pick(closers)}`
  if (draw.chance(0.15)) result = result.replace(/[?.!]+$/, "")
  if (draw.chance(0.25)) result = result.toLowerCase()
  return result
}

/**
 * Conversations to learn from, one by one: half a million do not fit into memory.
 *
 * @param doubled families that come twice as often, for what a model is behind with
 */
export function* trainingConversations(
  count: number,
  seed = 1,
  doubled: ReadonlyArray<string> = []
): Generator<Conversation> {
  const draw = new Draw(seed, "train" satisfies Split)
  for (let i = 0; i < count; i++) yield drawConversation(draw, weighted(draw, doubled))
}

/**
 * Conversations to be tested on: phrases, operands, words and names that training holds none of. Those of training's side, drawn
 * from another seed, tell what has not been learned from what has not been generalized.
 */
export function evaluationConversations(
  family: Family,
  count: number,
  seed = 2,
  split: Split = "test"
): ReadonlyArray<Conversation> {
  const draw = new Draw(seed, split)
  return Array.from({ length: count }, () => drawConversation(draw, family))
}
