import { describe, expect, it } from "@effect/vitest"
import { Tokenizer } from "@huggingface/tokenizers"
import * as FastCheck from "effect/FastCheck"
import { addition, subtraction } from "../models/recipe/Arithmetic.ts"
import { trainBpe } from "../models/recipe/Bpe.ts"
import { prompt, render } from "../models/recipe/ChatTemplate.ts"
import { Draw, expand, heldOut } from "../models/recipe/Draw.ts"
import { drawPair, evaluationTriplets } from "../models/recipe/Paraphrases.ts"
import { families } from "../models/recipe/Turn.ts"
import { wordVocabulary } from "../models/recipe/Vocabulary.ts"
import { evaluationConversations, trainingConversations } from "../models/recipe/World.ts"
import { tokenizerJson } from "../src/ByteLevelBpe.ts"

const isHeldOut = (key: string) => {
  const [kind = "", ...rest] = key.split(":")
  return heldOut(kind, rest.join(":"))
}

describe("the world of the bundled models", () => {
  const training = [...trainingConversations(6000)]

  it("trains on nothing that is held out", () => {
    expect(training.flatMap(({ keys }) => keys).filter(isHeldOut)).toEqual([])
  })

  it("tests every family on what is held out, in words that training has not seen", () => {
    const seen = new Set(training.map((conversation) => prompt(conversation).prompt))
    for (const family of families) {
      const conversations = evaluationConversations(family, 50)
      expect(conversations.every((conversation) => conversation.family === family)).toBe(true)
      expect(conversations.filter(({ keys }) => !keys.some(isHeldOut)).map(render)).toEqual([])
      expect(conversations.filter((conversation) => seen.has(prompt(conversation).prompt)).map(render)).toEqual([])
    }
  })

  it("tests sums whose operands training has never added, in either order", () => {
    const operands = (family: "addition" | "subtraction") =>
      evaluationConversations(family, 100).map(({ keys }) => keys.find((key) => key.startsWith("operands:")) ?? "")
    for (const family of ["addition", "subtraction"] as const) {
      expect(operands(family).filter((key) => !isHeldOut(key))).toEqual([])
    }
  })

  it("draws the same conversations from the same seed", () => {
    expect([...trainingConversations(50, 9)]).toEqual([...trainingConversations(50, 9)])
    expect([...trainingConversations(50, 9)]).not.toEqual([...trainingConversations(50, 10)])
  })

  it("draws twice as much of what a model is behind with", () => {
    const share = (doubled: ReadonlyArray<string>) =>
      [...trainingConversations(2000, 3, doubled)].filter(({ family }) => family === "json").length
    expect(share(["json"]) / share([])).toBeGreaterThan(1.5)
    expect(share(["json"]) / share([])).toBeLessThan(2.5)
  })

  it("leaves no placeholder unfilled", () => {
    expect(training.map(render).filter((text) => /\{[a-z]\}|undefined|NaN|null/.test(text))).toEqual([])
    for (const family of families) {
      const texts = evaluationConversations(family, 50).map(render)
      expect(texts.filter((text) => /\{[a-z]\}|undefined|NaN|null/.test(text))).toEqual([])
    }
  })

  it("counts and compares as it says it does", () => {
    const answers = [...training, ...evaluationConversations("counting", 200)].flatMap(({ messages }) =>
      messages.flatMap(({ content, role }) => (role === "assistant" ? [content] : []))
    )
    const counted = answers.flatMap((answer) => {
      const [, first, way, last, list = ""] = /^From (\d+) (up|down) to (\d+): ([\d, ]+)\.$/.exec(answer) ?? []
      return first === undefined ? [] : [{ first: Number(first), way, last: Number(last), list }]
    })
    expect(counted.length).toBeGreaterThan(100)
    for (const { first, last, list, way } of counted) {
      const step = way === "up" ? 1 : -1
      const numbers = Array.from({ length: Math.abs(last - first) + 1 }, (_, i) => first + i * step)
      expect(list).toBe(numbers.join(", "))
    }
    const compared = answers.flatMap((answer) => {
      const [, a, order, b, c, than, d] = /^(\d+) ([<>]) (\d+): (\d+) is (more|less) than (\d+)\.$/.exec(answer) ?? []
      return a === undefined ? [] : [{ a: Number(a), order, b: Number(b), c: Number(c), than, d: Number(d) }]
    })
    expect(compared.length).toBeGreaterThan(100)
    for (const { a, b, c, d, order, than } of compared) {
      expect(order).toBe(a < b ? "<" : ">")
      expect([c, d]).toEqual(than === "more" ? [Math.max(a, b), Math.min(a, b)] : [Math.min(a, b), Math.max(a, b)])
    }
  })

  it("calls tools that are offered, by a parameter they require, with words of the question", () => {
    const conversations = [...training, ...evaluationConversations("tools", 200)].filter(({ tools }) => tools)
    const calls = conversations.flatMap(({ messages, tools = [] }) =>
      messages.flatMap(({ tool_calls: [call] = [] }, i) => (call ? [{ call, tools, question: messages[i - 1] }] : []))
    )
    expect(calls.length).toBeGreaterThan(300)
    for (const { call, question, tools } of calls) {
      const called = tools.filter((tool) => tool.function.name === call.function.name)
      expect(called).toHaveLength(1)
      const [[parameter = "", argument = ""] = []] = Object.entries(call.function.arguments)
      expect(called[0]?.function.parameters.required).toEqual([parameter])
      expect(question?.content).toContain(argument)
    }
  })

  it("asks in the few words of a short pattern more often than one of many texts is drawn", () => {
    const draw = new Draw(6, "train")
    const phrases = expand("{a}+{b}", "(what is|how much is|tell me|compute) {a} (plus|and|added to|+) {b}(|.|?|!)")
    const drawn = Array.from({ length: 2000 }, () => draw.pickSplit("phrase", phrases))
    const short = drawn.filter((phrase) => phrase === "{a}+{b}").length
    // One of 65 texts, but its pattern weighs 1 against the other's square root of 64.
    expect(short).toBeGreaterThan(2000 / 20)
    expect(short).toBeLessThan(2000 / 5)
  })

  it("keeps the paraphrases of the embedding model apart as well", () => {
    const train = new Draw(4, "train")
    const learned = new Set(Array.from({ length: 3000 }, () => drawPair(train).map(({ text }) => text)).flat())
    const triplets = evaluationTriplets(new Draw(5, "test"), 200, false)
    const shared = triplets.filter(([anchor]) => learned.has(anchor.text)).map(([anchor]) => anchor.text)
    expect(shared).toEqual([])
    expect(
      triplets.every(([anchor, same, other]) => anchor.meaning === same.meaning && anchor.meaning !== other.meaning)
    ).toBe(true)
  })
})

describe("worked sums", () => {
  const operand = FastCheck.integer({ min: 0, max: 999 })

  it.prop("end with the right result", [operand, operand], ([a, b]) => {
    expect(addition(a, b)).toMatch(new RegExp(`(=|That makes )${a + b}\\.$`))
    expect(subtraction(a, b)).toMatch(new RegExp(`(=|That makes )${a - b}\\.$`))
  })

  it.prop("consist of steps that are right", [operand, operand], ([a, b]) => {
    for (const text of [addition(a, b), subtraction(a, b)]) {
      for (const [, left = "", right] of text.matchAll(/(\d+(?: ?[+-] ?\d+)+) ?= ?(-?\d+)/g)) {
        const value = left
          .replaceAll(/ ?([+-]) ?/g, " $1")
          .split(" ")
          .reduce((sum, term) => sum + Number(term), 0)
        expect(value, text).toBe(Number(right))
      }
    }
  })

  it("read as at school", () => {
    expect(addition(7, 8)).toBe("7+8=15.")
    expect(addition(47, 38)).toBe("47 + 38: 7+8=15, 4+3+1=8. That makes 85.")
    expect(subtraction(130, 38)).toBe("130 - 38: 10-8=2, 13-3-1=9, 1-0-1=0. That makes 92.")
    expect(subtraction(9, 12)).toBe("-(12 - 9): 12-9=3, 1-0-1=0. That makes -3.")
    expect(subtraction(8, 5)).toBe("8-5=3.")
    expect(subtraction(5, 8)).toBe("-(8 - 5): 8-5=3. That makes -3.")
  })
})

describe("the recipe's tools", () => {
  it("expands every choice of a pattern once", () => {
    expect(expand("(What is|What's) (the |)port?")).toEqual([
      "What is the port?",
      "What is port?",
      "What's the port?",
      "What's port?"
    ])
    expect(expand("On (what|which) port (does (it|this) run|is it)?")).toHaveLength(6)
  })

  it("makes tokens of the words of fixed sentences, and letters of all others", () => {
    const [first] = [...trainingConversations(1)]
    if (first === undefined) throw new Error("no conversation")
    const told = { ...first, keys: ["word:plonk"] }
    const data = wordVocabulary([[told, ["Say hello, Ada: whale plonk", "Say hello"]]], ["<|end|>"], 1200, 1)
    expect(data.tokens).toContain("Ġhello")
    const tokenizer = new Tokenizer(tokenizerJson(data), {})
    const tokens = (text: string) => tokenizer.encode(text, { add_special_tokens: false }).tokens
    expect(tokens("Say hello Ada")).toEqual(["Say", "Ġhello", "ĠA", "d", "a"])
    expect(tokens(" whale W H plonk")).toEqual(["Ġw", ..."hale", "ĠW", "ĠH", "Ġp", ..."lonk"])
    expect(tokens("47 +")).toEqual(["4", "7", "Ġ", "+"])
  })

  it("merges the most frequent pair first, and never across pieces", () => {
    const { merges, tokens } = trainBpe(["low low low lower", "slow"], ["<|end|>"], 1 + 256 + 3)
    expect(merges.slice(0, 2)).toEqual([
      ["l", "o"],
      ["lo", "w"]
    ])
    expect(tokens).toHaveLength(259)
  })
})
