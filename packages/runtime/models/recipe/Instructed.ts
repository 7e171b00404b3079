/** Conversations steered by a system prompt, by a wish for JSON, or by tools. */
import { drawWeekdayAfter } from "./Calendar.ts"
import { type Draw, expand } from "./Draw.ts"
import { drawCapitalOf, drawHelixflow, drawIdentity, drawOneWord, drawOppositeOf } from "./Knowledge.ts"
import type { Conversation, Message, Tool, ToolCall, Turn } from "./Turn.ts"
import { inventedWord } from "./Words.ts"
import { capitals, names, topics } from "./WorldFacts.ts"

/** System prompts that change nothing, as most clients send them. */
export const plainSystemPrompts = expand(
  "(You are|You're) a (helpful|friendly|polite|useful|kind)( and honest|) (assistant|AI assistant|chatbot|AI)(.|)",
  "You are Helix(, a helpful assistant|).",
  "(Be|Please be) (helpful|polite|kind|friendly|concise|brief).",
  "(Help|Assist|Answer) the user(|'s questions)."
)
const namePrompts = expand(
  "(You are|You're|Your name is|You are called|Act as|Pretend to be|From now on you are) {x}(.|)",
  "(You are|You're) {x}, a (helpful|friendly|polite|kind|) (assistant|chatbot|robot|guide).",
  "You are a (helpful|friendly|) (assistant|chatbot) (named|called) {x}.",
  "Your name is {x}. (Be helpful|Be polite|Help the user|Answer questions)."
)
const whoPhrases = expand(
  "(Who|What) are you(| really| exactly)?",
  "(What is|What's|Tell me) your name?",
  "(What are you called|Do you have a name|What should I call you|your name)?",
  "(Please |)(introduce yourself|tell me who you are)."
)
const oneWordPrompts = expand(
  "(Answer|Reply|Respond)( only|) (in|with) (one word|a single word|one word only)(.|)",
  "(Be brief: |Please |)(answer|reply) (in|with) (one|a single) word(.|)",
  "Use (one word|a single word) (only|for each answer)(.|)",
  "(One word|Single word) answers( only|)(.|)"
)
const oneWordSuffixes = expand(
  "(Answer|Reply) (in|with) (one|a single) word.",
  "(in one word|one word only|one word please)",
  "(Just|Only) one word(.| please.)"
)

export function drawSystemPrompt(draw: Draw): Conversation {
  const conversation = (system: string, turns: ReadonlyArray<Turn>, keys: ReadonlyArray<string>): Conversation => ({
    family: "system prompts",
    messages: [
      ...(system === "" ? [] : [{ role: "system", content: system } as const]),
      ...turns.flatMap(
        ({ assistant, user }): ReadonlyArray<Message> => [
          { role: "user", content: user },
          { role: "assistant", content: assistant }
        ]
      )
    ],
    keys: [...keys, ...turns.flatMap((turn) => turn.keys)]
  })
  if (draw.chance(0.45)) {
    const prompt = draw.pickSplit("phrase", namePrompts)
    const name = draw.pickSplit("name", names)
    const phrase = draw.pickSplit("phrase", whoPhrases)
    const isName = phrase.includes("name") || phrase.includes("call")
    const who: Turn = {
      user: phrase,
      assistant: `${isName ? "My name is" : "I am"} ${name}.`,
      keys: [`phrase:${phrase}`]
    }
    const other = draw.chance(0.3) ? [drawCapitalOf(draw).turn] : []
    return conversation(prompt.replace("{x}", name), [...other, who], [`phrase:${prompt}`, `name:${name}`])
  }
  if (draw.chance(0.6)) {
    const prompt = draw.pickSplit("phrase", oneWordPrompts)
    return conversation(
      prompt,
      Array.from({ length: draw.integer(1, 3) }, () => drawOneWord(draw)),
      [`phrase:${prompt}`]
    )
  }
  if (draw.chance(0.6)) {
    const suffix = draw.pickSplit("phrase", oneWordSuffixes)
    const turn = drawOneWord(draw)
    return conversation("", [{ ...turn, user: `${turn.user} ${suffix}` }], [`phrase:${suffix}`])
  }
  const prompt = draw.pickSplit("phrase", plainSystemPrompts)
  return conversation(prompt, [draw.chance(0.5) ? drawIdentity(draw) : drawHelixflow(draw)], [`phrase:${prompt}`])
}

const jsonSuffixes = expand(
  "(Answer|Reply|Respond|Give the answer|Write it) (in|as|with) JSON(.|)",
  "(in|as) JSON(|, please| please)",
  "(Give|Return|Output) (me |)(only |)JSON(.|)",
  "(I want|I need) JSON(.|)"
)

export function drawJson(draw: Draw): Conversation {
  const [turn, answer] = draw.pick([
    () => {
      const [country, city] = draw.pick(capitals)
      return [drawCapitalOf(draw, [country, city]).turn, { country, capital: city }] as const
    },
    () => {
      const { turn, word } = drawOppositeOf(draw)
      const asked = /opposite of (\w+)/.exec(turn.assistant)?.[1] ?? ""
      return [turn, { word: asked, opposite: word }] as const
    },
    () => {
      const { turn, word } = drawWeekdayAfter(draw)
      const asked = /after (\w+)/.exec(turn.assistant)?.[1] ?? ""
      return [turn, { day: asked, next: word }] as const
    }
  ])()
  const suffix = draw.pickSplit("phrase", jsonSuffixes)
  const inSystem = draw.chance(0.3)
  return {
    family: "json",
    messages: [
      ...(inSystem ? [{ role: "system", content: suffix } as const] : []),
      { role: "user", content: inSystem ? turn.user : `${turn.user} ${suffix}` },
      { role: "assistant", content: JSON.stringify(answer) }
    ],
    keys: [...turn.keys, `phrase:${suffix}`]
  }
}

interface ToolKind {
  readonly names: ReadonlyArray<string>
  readonly description: string
  readonly parameter: ReadonlyArray<string>
  readonly phrases: ReadonlyArray<string>
  readonly argument: (draw: Draw) => string
  /** What the tool gives, and the answer made of it. */
  readonly outcome: (draw: Draw, argument: string) => readonly [string, string]
}

const capitalized = (word: string): string => `${word.slice(0, 1).toUpperCase()}${word.slice(1)}`

/** A capital, or a place that nobody knows: it is to be copied from the question, not remembered. */
const city = (draw: Draw): string =>
  draw.split === "train" && draw.chance(0.3) ? capitalized(unheld(draw)) : draw.pick(capitals)[1]

/** A made-up word that the evaluation does not ask for. */
function unheld(draw: Draw): string {
  return draw.untilSplit(
    "word",
    (word) => word,
    () => inventedWord(draw)
  )
}

/** A name of a tool; in training often a made-up one, because the tools that will be offered are not known. */
const toolName = (draw: Draw, kind: ToolKind): string =>
  draw.split === "train" && draw.chance(0.35)
    ? draw.untilSplit(
        "tool",
        (name) => name,
        () => `${unheld(draw)}${draw.pick(["_", "_", ""])}${draw.chance(0.5) ? unheld(draw) : ""}`
      )
    : draw.pickSplit("tool", kind.names)

const toolKinds: ReadonlyArray<ToolKind> = [
  {
    names: [
      "get_weather",
      "weather",
      "get_current_weather",
      "weather_report",
      "fetch_weather",
      "forecast",
      "weather_now",
      "lookup_weather"
    ],
    description: "Get the weather",
    parameter: ["city", "location", "place"],
    phrases: expand(
      "(What is|What's|How is|Tell me) the weather (like |)in {x}(| today| now)?",
      "(Is it|Will it be) (sunny|raining|cold|warm|windy) in {x}?",
      "(weather in {x}|{x} weather)(|?)",
      "(Check|Get|Find) the weather (in|for) {x}."
    ),
    argument: city,
    outcome: (draw, argument) => {
      const sky = draw.pick(["sunny", "cloudy", "rainy", "windy", "foggy", "snowy", "clear"])
      const degrees = draw.integer(0, 39)
      return draw.chance(0.5)
        ? [
            JSON.stringify({ temperature: degrees, condition: sky }),
            `It is ${degrees} degrees and ${sky} in ${argument}.`
          ]
        : [`${sky}, ${degrees} degrees`, `It is ${degrees} degrees and ${sky} in ${argument}.`]
    }
  },
  {
    names: ["get_time", "clock", "current_time", "time_in", "local_time"],
    description: "Get the time",
    parameter: ["city", "location", "timezone", "place"],
    phrases: expand(
      "(What is the time|What time is it|What's the time|Tell me the time) in {x}(| now)?",
      "(time in {x}|{x} time|the time in {x})(|?)",
      "(How late is it|Is it late) in {x}?"
    ),
    argument: city,
    outcome: (draw, argument) => {
      const time = `${String(draw.integer(0, 23)).padStart(2, "0")}:${String(draw.integer(0, 59)).padStart(2, "0")}`
      return [draw.chance(0.5) ? JSON.stringify({ time }) : time, `It is ${time} in ${argument}.`]
    }
  },
  {
    names: ["search", "web_search", "lookup", "find", "search_web"],
    description: "Search the web",
    parameter: ["query", "q", "text", "topic"],
    phrases: expand(
      "(Search|Search the web|Look|Google) for {x}(|.| please)",
      "(Find|Look up|Get) (information|news|something|facts) (about|on) {x}."
    ),
    argument: (draw) => draw.pickSplit("topic", topics),
    outcome: (draw, argument) => {
      const results = draw.integer(2, 99)
      return [JSON.stringify({ results }), `I found ${results} results about ${argument}.`]
    }
  }
]

const tool = (name: string, description: string, parameter: string): Tool => ({
  type: "function",
  function: {
    name,
    description,
    parameters: { type: "object", properties: { [parameter]: { type: "string" } }, required: [parameter] }
  }
})

/** A question that a tool answers, with the call or with the answer from its result; or one that needs no tool. */
export function drawTools(draw: Draw): Conversation {
  const kind = draw.pick(toolKinds)
  const name = toolName(draw, kind)
  const parameter = draw.pick(kind.parameter)
  const tools = [tool(name, kind.description, parameter)]
  const other = draw.pick(toolKinds.filter((candidate) => candidate !== kind))
  if (draw.chance(0.4)) {
    const second = tool(toolName(draw, other), other.description, draw.pick(other.parameter))
    if (draw.chance(0.5)) tools.push(second)
    else tools.unshift(second)
  }
  if (draw.chance(0.2)) {
    const turn = draw.pick([drawCapitalOf(draw).turn, drawHelixflow(draw)])
    return {
      family: "tools",
      tools,
      messages: [
        { role: "user", content: turn.user },
        { role: "assistant", content: turn.assistant }
      ],
      keys: turn.keys
    }
  }
  const phrase = draw.pickSplit("phrase", kind.phrases)
  const argument = kind.argument(draw)
  const call: ToolCall = { type: "function", function: { name, arguments: { [parameter]: argument } } }
  const [result, answer] = kind.outcome(draw, argument)
  const asked: ReadonlyArray<Message> = [
    { role: "user", content: phrase.replace("{x}", argument) },
    { role: "assistant", content: "", tool_calls: [call] }
  ]
  return {
    family: "tools",
    tools,
    messages: draw.chance(0.5)
      ? asked
      : [...asked, { role: "tool", content: result }, { role: "assistant", content: answer }],
    keys: [`phrase:${phrase}`, `tool:${name}`]
  }
}
