/** Questions outside the small world, and how they are turned down. */
import { type Draw, expand } from "./Draw.ts"
import { capitalPhrases } from "./Knowledge.ts"
import type { Turn } from "./Turn.ts"
import { drawWord } from "./Words.ts"
import { topics, unknownPlaces } from "./WorldFacts.ts"

export const REFUSAL = "Sorry, I do not know that. Ask me about HelixFlow, sums, words or capitals."

export const topicPhrases = expand(
  "(Write|Tell|Sing) (me |)(a|an) (poem|story|song|joke|essay|letter|limerick) about {x}.",
  "(What do you|Do you) (think|know) (about|of) {x}?",
  "(Tell me|Explain|Teach me|Talk) (something |everything |)about {x}.",
  "(What is|What are|Explain|Define) {x}?",
  "(Why|How) (is|are|do|does) {x} (work|important|so good|popular)?",
  "(Who|When) (invented|discovered|started) {x}?",
  "(Do you like|Are you interested in|Can you explain|What do you know about) {x}?",
  "(Give me|I need) (advice|tips|facts|news|ideas) (on|about) {x}.",
  "(Summarize|Translate|Draw|Recommend|Show me) (a book about|a picture of|an article about|something about) {x}.",
  "(Can you|Could you|Please) (write|tell me|sing) (a|an) (poem|story|song|joke|essay) about {x}(|.)",
  "(Who|When) (invented|discovered|started|made) {x}(| first)?",
  "(Which|What) (is the best|is your favorite|is the most famous) (kind of|thing about|book about) {x}?",
  "(What happened|What is new|What is going on) (with|in) {x}?"
)
const otherPhrases = expand(
  "(What is|What's) the (meaning of life|weather|weather like today|news today|price of gold|speed of light|time|date today)?",
  "(Who|Which team) (won|will win) the (world cup|election|game|match|super bowl)?",
  "(Who is|Where is|How old is) (the president|the king|my mother|Einstein|Napoleon|Elon Musk|Shakespeare|Mozart)?",
  "(Write|Show me|Give me) (a|some) (Python|Java|SQL|HTML|C) (program|code|script|function).",
  "(Tell me|Do you know) a (joke|secret|story|riddle).",
  "(How do I|How can I) (cook rice|bake bread|fix my car|lose weight|get rich|learn to swim|sleep better|find a job)?",
  "(Translate|Say) (hello|good morning|this|cat|I love you) (to|in|into) (French|German|Spanish|Latin|Japanese).",
  "What time is it(| now| in Tokyo| in London)?",
  "(Book|Order|Buy|Find) me a (flight|pizza|hotel|taxi|table)(| please| now).",
  "(Will it|Is it going to|Does it) rain(| today| tomorrow)?"
)
const workPhrases = expand(
  "(Summarize|Translate|Rewrite|Correct|Improve|Explain|Classify|Analyze|Continue|Shorten) (this|the following|this text)(:| text:) {x}.",
  "(What does|Can you tell me what) (this|the following) (mean|means): {x}?",
  "(I like|I love|I hate|I want|We need) {x}.",
  "(My|The|Our) {x} (is broken|is nice|does not work|is sick)."
)
const arithmeticPhrases = expand(
  "(What is|What's|Compute|Calculate|How much is|) {a} (times|x|*|multiplied by|divided by|/) {b}?",
  "(Multiply|Divide) {a} by {b}.",
  "(What is|Compute) the (square root|cube|square|logarithm) of {a}?"
)

/** Text that asks for nothing the model knows: made-up words, or much of something else to be worked on. */
function drawNoise(draw: Draw): Turn {
  const count = draw.pick([draw.integer(1, 4), draw.integer(1, 4), draw.integer(3, 12), draw.integer(3, 30)])
  const words = Array.from({ length: count }, () => drawWord(draw))
  const keys = words.map((word) => `word:${word}`)
  if (count < 5 && draw.chance(0.6)) return { user: words.join(" "), assistant: REFUSAL, keys }
  const phrase = draw.pickSplit("phrase", workPhrases)
  return { user: phrase.replace("{x}", words.join(" ")), assistant: REFUSAL, keys: [...keys, `phrase:${phrase}`] }
}

/** A sum that is none. */
export function drawProduct(draw: Draw): Turn {
  const phrase = draw.pickSplit("phrase", arithmeticPhrases)
  const [a, b] = [draw.integer(2, 99), draw.integer(2, 99)]
  return {
    user: phrase.replace("{a}", `${a}`).replace("{b}", `${b}`),
    assistant: "Sorry, I can only add and subtract.",
    keys: [`phrase:${phrase}`]
  }
}

export function drawRefusal(draw: Draw): Turn {
  const choice = draw.integer(0, 9)
  if (draw.chance(0.12)) return drawNoise(draw)
  if (choice < 5) {
    const phrase = draw.pickSplit("phrase", topicPhrases)
    const topic = draw.pickSplit("topic", topics)
    return { user: phrase.replace("{x}", topic), assistant: REFUSAL, keys: [`phrase:${phrase}`, `topic:${topic}`] }
  }
  if (choice < 7) {
    const phrase = draw.pickSplit("phrase", otherPhrases)
    return { user: phrase, assistant: REFUSAL, keys: [`phrase:${phrase}`] }
  }
  if (choice < 9) return drawProduct(draw)
  const phrase = draw.pickSplit("phrase", capitalPhrases)
  const place = draw.pickSplit("place", unknownPlaces)
  return {
    user: phrase.replace("{x}", place),
    assistant: `Sorry, I do not know the capital of ${place}.`,
    keys: [`phrase:${phrase}`, `place:${place}`],
    exact: true
  }
}
