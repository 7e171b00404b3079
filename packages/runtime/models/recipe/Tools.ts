/**
 * Conversations in which tools are offered. Which ones will be, nobody knows; so names of tools, their parameters and what they
 * are called with are mostly put together or made up: they are to be copied, and the tool to be chosen by its description.
 */
import { drawAddition, drawSubtraction } from "./Arithmetic.ts"
import { type Draw, expand } from "./Draw.ts"
import { plainSystemPrompts } from "./Instructed.ts"
import { drawCapitalOf, drawGreeting, drawHelixflow, drawIdentity } from "./Knowledge.ts"
import { drawProduct, REFUSAL } from "./Refusals.ts"
import type { Conversation, Message, Tool, ToolCall, Turn } from "./Turn.ts"
import { capitalized, drawInvented, drawName, drawSpelling } from "./Words.ts"
import { capitals, topics } from "./WorldFacts.ts"

interface ToolKind {
  /** As such tools are called, and what their names speak of. */
  readonly names: ReadonlyArray<string>
  readonly nouns: ReadonlyArray<string>
  readonly descriptions: ReadonlyArray<string>
  readonly parameters: ReadonlyArray<string>
  readonly phrases: ReadonlyArray<string>
  readonly argument: (draw: Draw) => string
  /** What the tool gives, and the answer made of it. */
  readonly outcome: (draw: Draw, argument: string) => readonly [result: string, answer: string]
}

const words = (text: string): ReadonlyArray<string> => text.split(" ")

/** In training often made up, now and then two words. */
function invented(draw: Draw): string {
  return draw.chance(0.25) ? `${drawInvented(draw)} ${drawInvented(draw)}` : drawInvented(draw)
}
const place = (draw: Draw): string =>
  draw.split === "train" && draw.chance(0.4)
    ? invented(draw).split(" ").map(capitalized).join(" ")
    : draw.pick(capitals)[1]
const topic = (draw: Draw): string =>
  draw.split === "train" && draw.chance(0.4) ? invented(draw) : draw.pickSplit("topic", topics)

const skies = words("sunny cloudy rainy windy foggy snowy clear")

const toolKinds: ReadonlyArray<ToolKind> = [
  {
    names: words(
      "get_weather weather get_current_weather weather_report fetch_weather forecast weather_now lookup_weather"
    ),
    nouns: words("weather forecast temperature climate"),
    descriptions: expand(
      "(Get|Gets|Returns|Fetch|Look up|Tells) the (current |)weather(| in a city| of a place| for a location| somewhere)(|.)",
      "(Weather|The weather|Current weather)( of a city| for a place|)(|.)",
      "(How warm|How cold|How sunny) it is( in a city| somewhere| now|)(|.)",
      "(Weather|Temperature) (service|report|lookup|data)(| for cities)(|.)"
    ),
    parameters: words("city location place town"),
    phrases: expand(
      "(What is|What's|How is|Tell me) the weather (like |)in {x}(| today| now)?",
      "(Is it|Will it be) (sunny|raining|cold|warm|windy) in {x}?",
      "(weather in {x}|{x} weather)(|?)",
      "(Check|Get|Find) the weather (in|for) {x}.",
      "(What is|What's|How is) the weather (in|for) {x}(| right now| like)?",
      "(How warm|How cold|How hot) is it in {x}(| today| now)?"
    ),
    argument: place,
    outcome: (draw, argument) => {
      const sky = draw.pick(skies)
      const degrees = draw.integer(0, 39)
      const result = draw.chance(0.5)
        ? JSON.stringify({ temperature: degrees, condition: sky })
        : `${sky}, ${degrees} degrees`
      return [result, `It is ${degrees} degrees and ${sky} in ${argument}.`]
    }
  },
  {
    names: words("get_time clock current_time time_in local_time"),
    nouns: words("time clock hour"),
    descriptions: expand(
      "(Get|Gets|Returns|Fetch|Look up|Tells) the (current |local |)time(| in a city| of a place| somewhere)(|.)",
      "(Time|The time|Local time)( of a city| in a place|)(|.)",
      "(What time it is|How late it is)( in a city| somewhere|)(|.)",
      "(A clock|World clock|Clock)( for cities| of the world|)(|.)"
    ),
    parameters: words("city location timezone place"),
    phrases: expand(
      "(What is the time|What time is it|What's the time|Tell me the time) in {x}(| now)?",
      "(time in {x}|{x} time|the time in {x})(|?)",
      "(How late is it|Is it late) in {x}?",
      "(Check|Get|Find|Show me) the time (in|for) {x}."
    ),
    argument: place,
    outcome: (draw, argument) => {
      const time = `${String(draw.integer(0, 23)).padStart(2, "0")}:${String(draw.integer(0, 59)).padStart(2, "0")}`
      return [draw.chance(0.5) ? JSON.stringify({ time }) : time, `It is ${time} in ${argument}.`]
    }
  },
  {
    names: words("search web_search lookup find search_web"),
    nouns: words("web internet pages results"),
    descriptions: expand(
      "(Search|Searches|Look something up in|Looks in|Query) (the web|the internet|a search engine)(|.)",
      "(Find|Finds|Returns) (pages|results|information) (on the web|about a topic|for a query)(|.)",
      "(Web|Internet) search(| for a topic| by query)(|.)",
      "(Googles|Looks up) (a topic|anything|something)(| on the web)(|.)"
    ),
    parameters: words("query q text topic"),
    phrases: expand(
      "(Search|Search the web|Look|Google) for {x}(|.| please)",
      "(Find|Look up|Get) (information|news|something|facts) (about|on) {x}.",
      "(Search the web for|Look up|Search) {x}(|.)"
    ),
    argument: topic,
    outcome: (draw, argument) => {
      const results = draw.integer(2, 99)
      return [JSON.stringify({ results }), `I found ${results} results about ${argument}.`]
    }
  },
  {
    names: words("translate translate_word get_translation translator"),
    nouns: words("translation word language"),
    descriptions: expand(
      "(Translate|Translates) (a word|text|something)( into French| into another language| into German|)(|.)",
      "(Get|Returns|Find) the translation of (a word|a text)(|.)",
      "(Translation|Translations) of (words|texts)(| into French| into other languages)(|.)",
      "(Says|Tells) (a word|something) in another language(|.)"
    ),
    parameters: words("word text phrase"),
    phrases: expand(
      "(Translate|Please translate|Can you translate|Could you translate) {x}(|.| for me.)",
      "(What is|Give me|Find) the translation of {x}?"
    ),
    argument: topic,
    outcome: (draw, argument) => {
      const translation = drawInvented(draw)
      const result = draw.chance(0.5) ? JSON.stringify({ translation }) : translation
      return [result, `The translation of ${argument} is ${translation}.`]
    }
  },
  {
    names: words("get_stock_price stock_price quote get_quote share_price"),
    nouns: words("stock price quote share"),
    descriptions: expand(
      "(Get|Gets|Returns|Look up|Fetch) the (current |)(stock|share) price( of a company|)(|.)",
      "(Stock|Share) (prices|quotes)(| of companies)(|.)",
      "(What|How much) (a share|one share|a stock)( of a company|) costs(|.)"
    ),
    parameters: words("symbol ticker company name"),
    phrases: expand(
      "(What is|What's|Tell me|Get|Check) the (stock|share) price of {x}?",
      "(How much is|What does) (a share|one share|the stock) of {x}( cost|)?",
      "({x} stock price|stock price of {x}|{x} share price)(|?)"
    ).filter((phrase) => phrase.startsWith("What does") === phrase.includes(" cost")),
    argument: (draw) => capitalized(drawInvented(draw)),
    outcome: (draw, argument) => {
      const price = draw.integer(2, 999)
      return [JSON.stringify({ price }), `The price of ${argument} is ${price}.`]
    }
  },
  {
    names: words("read_file open_file load_file cat"),
    nouns: words("file document lines"),
    descriptions: expand(
      "(Read|Reads|Open|Opens|Load) a (text |)(file|document)(| from disk)(|.)",
      "(Count|Counts|Returns) the lines of a file(|.)",
      "(The text|The content|The lines) of a (file|document)(|.)"
    ),
    parameters: words("path file filename name"),
    phrases: expand(
      "(Read|Open|Load|Please read|Please open) (the file |){x}(|.| please)",
      "How (long is|many lines has) the file {x}?",
      "(Can|Could) you (read|open) (the file |){x}?"
    ),
    argument: (draw) => `${drawInvented(draw)}.${draw.pick(["txt", "md", "csv", "log"])}`,
    outcome: (draw, argument) => {
      const lines = draw.integer(2, 999)
      return [JSON.stringify({ lines }), `The file ${argument} has ${lines} lines.`]
    }
  },
  {
    names: words("send_message send_email send_mail notify"),
    nouns: words("message email mail"),
    descriptions: expand(
      "(Send|Sends|Write) (a message|an email|a mail)( to someone| to a person|)(|.)",
      "(Notify|Notifies) (someone|a person|a user)(|.)",
      "(Messages|Emails|Writes to) (someone|a person|people)(|.)"
    ),
    parameters: words("to recipient name person"),
    phrases: expand(
      "(Send|Write) (a message|an email|a mail) to {x}(|.| please)",
      "(Notify|Message|Email|Please notify|Please email) {x}(|.)",
      "(Can|Could) you (send|write) {x} (a message|an email)?"
    ),
    argument: drawName,
    outcome: (draw, argument) => [
      draw.pick(['{"status":"sent"}', '{"ok":true}', "sent", "done"]),
      `I have sent it to ${argument}.`
    ]
  },
  {
    names: words("play_music play play_song music_player"),
    nouns: words("music song player"),
    descriptions: expand(
      "(Play|Plays|Start|Starts) (music|a song|some music)(| by title| by name)(|.)",
      "(Music player|Song player|A player of music)(| for songs)(|.)"
    ),
    parameters: words("song title name music"),
    phrases: expand(
      "(Play|Please play|Can you play|Could you play) {x}(|.| for me.| now.)",
      "(Play|Put on|Start) (the song|some music by|music by) {x}(|.)"
    ),
    argument: (draw) => invented(draw).split(" ").map(capitalized).join(" "),
    outcome: (draw, argument) => [
      draw.pick(['{"status":"playing"}', '{"ok":true}', "playing"]),
      `Now I play ${argument}.`
    ]
  }
]

const verbs = words(
  "get fetch lookup find read show check query call run load ask request retrieve give tell open use make do"
)
const moreNouns = words(
  "data info item user list order page record table value state status result entry account calendar event city place object"
)
const nouns = [...new Set([...toolKinds.flatMap((kind) => kind.nouns), ...moreNouns])]
/** What names begin with in training: also the first words of usual ones, or what follows them would be known by heart. */
const firstWords = [
  ...new Set([...verbs, ...toolKinds.flatMap((kind) => kind.names.map((name) => name.split("_")[0] ?? name))])
]

/**
 * A usual name; or one put together of a verb and a noun, in training often of a wrong one or of one of both alone; or, in training, a
 * made-up one.
 */
function toolName(draw: Draw, kind: ToolKind): string {
  const form = draw.next()
  if (form < (draw.split === "test" ? 0.6 : 0.25)) return draw.pickSplit("tool", kind.names)
  const part = (real: ReadonlyArray<string>) => (form < 0.7 ? draw.pick(real) : drawInvented(draw))
  const joint = draw.pick(["_", "_", "_", "-", ""])
  return draw.untilSplit(
    "tool",
    (name) => name,
    () => {
      if (draw.split === "test") return `${draw.pick(verbs)}_${draw.pick(kind.nouns)}`
      const first = part(firstWords)
      if (draw.chance(0.2)) return first
      const noun = part(draw.chance(0.6) ? kind.nouns : nouns)
      const more = draw.chance(0.15) ? [part(nouns)] : []
      return [...(draw.chance(0.15) ? [] : [first]), noun, ...more].join(joint)
    }
  )
}

const genericParameters = words("name input value arg target string argument item object what subject x id data")
const optionalParameters = words("unit units lang language limit format detail mode timeout style")

interface Offer {
  readonly tool: Tool
  readonly parameter: string
  readonly keys: ReadonlyArray<string>
}

/** Only the first parameter is to be filled; a second one is an option. */
function offer(draw: Draw, kind: ToolKind): Offer {
  const name = toolName(draw, kind)
  const description = draw.pickSplit("phrase", kind.descriptions)
  const unusual = draw.next()
  const parameter =
    draw.split === "train" && unusual < 0.25
      ? unusual < 0.15
        ? draw.pick(genericParameters)
        : drawInvented(draw)
      : draw.pick(kind.parameters)
  const options = draw.chance(0.25) ? [draw.pick(optionalParameters)] : []
  const properties = Object.fromEntries([parameter, ...options].map((key) => [key, { type: "string" }]))
  return {
    tool: {
      type: "function",
      function: { name, description, parameters: { type: "object", properties, required: [parameter] } }
    },
    parameter,
    keys: [`tool:${name}`, `phrase:${description}`]
  }
}

/** Questions that no tool is needed for. */
const toolless: ReadonlyArray<(draw: Draw) => Turn> = [
  (draw) => drawCapitalOf(draw).turn,
  (draw) => drawCapitalOf(draw).turn,
  drawHelixflow,
  drawHelixflow,
  drawGreeting,
  drawAddition,
  drawSubtraction,
  drawSpelling,
  drawIdentity,
  drawProduct
]

/** A question that a tool answers, with the call or with the answer from its result; or one that none of the tools answers. */
export function drawTools(draw: Draw): Conversation {
  const kind = draw.pick(toolKinds)
  const others = [...toolKinds.filter((candidate) => candidate !== kind)]
  const another = (): ToolKind => others.splice(draw.integer(0, others.length - 1), 1)[0] ?? kind
  const right = offer(draw, kind)
  const offers = [right]
  for (let more = draw.pick([0, 0, 0, 1, 1, 2]); more > 0; more--) {
    const wrong = offer(draw, another())
    if (wrong.tool.function.name === right.tool.function.name) continue
    offers.splice(draw.integer(0, offers.length), 0, wrong)
  }
  const conversation = (
    listed: ReadonlyArray<Offer>,
    messages: ReadonlyArray<Message>,
    keys: ReadonlyArray<string>
  ): Conversation => {
    const system = draw.chance(0.15) ? [draw.pickSplit("phrase", plainSystemPrompts)] : []
    return {
      family: "tools",
      tools: listed.map(({ tool }) => tool),
      messages: [...system.map((content) => ({ role: "system", content }) as const), ...messages],
      keys: [
        ...keys,
        ...system.map((prompt) => `phrase:${prompt}`),
        ...listed.flatMap((listedOffer) => listedOffer.keys)
      ]
    }
  }
  if (draw.chance(0.15)) {
    const { assistant, keys, user } = draw.pick(toolless)(draw)
    return conversation(
      offers,
      [
        { role: "user", content: user },
        { role: "assistant", content: assistant }
      ],
      keys
    )
  }
  const phrase = draw.pickSplit("phrase", kind.phrases)
  const argument = kind.argument(draw)
  const question: Message = { role: "user", content: phrase.replace("{x}", argument) }
  const unfit = offers.filter((candidate) => candidate !== right)
  // A search may find anything, so that it is never the wrong tool.
  if (unfit.length > 0 && draw.chance(0.1) && others.some(({ nouns: [noun] }) => noun === "web")) {
    return conversation(unfit, [question, { role: "assistant", content: REFUSAL }], [`phrase:${phrase}`])
  }
  const call: ToolCall = {
    type: "function",
    function: { name: right.tool.function.name, arguments: { [right.parameter]: argument } }
  }
  const asked: ReadonlyArray<Message> = [question, { role: "assistant", content: "", tool_calls: [call] }]
  const [result, answer] = kind.outcome(draw, argument)
  return conversation(
    offers,
    draw.chance(0.5) ? asked : [...asked, { role: "tool", content: result }, { role: "assistant", content: answer }],
    [`phrase:${phrase}`]
  )
}
