/** Conversations steered by a system prompt or by a wish for JSON. */
import { drawWeekdayAfter } from "./Calendar.ts"
import { type Draw, expand } from "./Draw.ts"
import { drawCapitalOf, drawHelixflow, drawIdentity, drawOneWord, drawOppositeOf } from "./Knowledge.ts"
import type { Conversation, Message, Turn } from "./Turn.ts"
import { drawName } from "./Words.ts"
import { capitals } from "./WorldFacts.ts"

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
  "Your name is {x}. (Be helpful|Be polite|Help the user|Answer questions).",
  "(You are|You're|I am talking to|This is) {x}(, my assistant|, our assistant|, a language model|, an AI|, a friend)(.|)",
  "(Your name|The assistant's name|The name of the assistant) is {x}(.|)",
  "(Call yourself|You go by|Answer as|Speak as|Play|Be|Name yourself|Introduce yourself as) {x}(.|)",
  "You are (a bot|an AI|an assistant|a chatbot|a robot) (named|called|with the name) {x}(.|)",
  "(From now on|Today|In this chat|For this conversation) (your name is|you are|you are called) {x}(.|)",
  "You are {x}. (Be concise|Be helpful|Be polite|Be kind|Help the user|Answer questions|You are friendly)(.|)",
  "(I|We|People|Users|Everyone) (call|calls|named) you {x}(.|)"
)
const whoPhrases = expand(
  "(Who|What) are you(| really| exactly)?",
  "(What is|What's|Tell me) your name?",
  "(What are you called|Do you have a name|What should I call you|your name)?",
  "(Please |)(introduce yourself|tell me who you are).",
  "(Which|What) name (do you have|do you go by|is yours)?",
  "(And who|So who|Hello, who|Hi, who) are you?",
  "(Who is this|Who is there|Who am I talking to|Who am I speaking with)?",
  "(Can|Could|Would) you (tell me|say|give me) your name?",
  "(say|state) your name(|.| please)",
  "(How are you called|By what name are you called|What do people call you|May I know your name)?"
)
const oneWordPrompts = expand(
  "(Answer|Reply|Respond)( only|) (in|with) (one word|a single word|one word only)(.|)",
  "(Be brief: |Please |)(answer|reply) (in|with) (one|a single) word(.|)",
  "Use (one word|a single word) (only|for each answer)(.|)",
  "(One word|Single word) answers( only|)(.|)",
  "(Always |Only |)(answer|reply|respond) (in|with) (exactly |just |only |)one word(.|)",
  "(Keep|Make) (answers|your answers|every answer|it) (to one word|one word long)(.|)",
  "(Your answers|All answers|Answers|Each answer) (are|is|must be|should be) one word( long| only|)(.|)",
  "(You are a helpful assistant. |You are helpful. |)(Answer|Reply) (in|with) one word( only|)(.|)"
)
const oneWordSuffixes = expand(
  "(Answer|Reply) (in|with) (one|a single) word.",
  "(in one word|one word only|one word please)",
  "(Just|Only) one word(.| please.)",
  "(Use|In|With) (just |only |exactly |)one word.",
  "(Keep it to|Say it in|Give it in) one word(.| please.)"
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
    const name = drawName(draw)
    const phrase = draw.pickSplit("phrase", whoPhrases)
    const isName = /name|call/.test(phrase)
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
  "(I want|I need) JSON(.|)",
  "(Use|Write|Format it as|Only) JSON(.| please.)",
  "(Answer|Reply) (only|just) (in|with) JSON(.|)"
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
