import { assert, describe, it } from "@effect/vitest"
import { PromptLogprob, TokenLogprob, TopLogprob, Usage } from "@helixflow/schema/Generation"
import { SessionId, TokenId } from "@helixflow/schema/Ids"
import { Completed, Delta } from "@helixflow/schema/SessionActor"
import { CompletionAnswer, completionEncoder } from "../src/CompletionAnswer.ts"

const identity = { id: SessionId.make("cmpl-1"), created: 1, model: "m", fingerprint: "fp_1" }

const likely = (text: string, logprob: number) =>
  TopLogprob.make({ token: TokenId.make(7), text, bytes: [...Buffer.from(text)], logprob })

const delta = (text: string, finish: "stop" | null, choice = 0) =>
  new Delta({
    seq: 1,
    choice,
    text,
    tokens: [TokenId.make(7)],
    logprobs: [TokenLogprob.make({ ...likely(text, -1), top: [likely(text, -1), likely("z", -2)] })],
    finish
  })

const choicesOf = ([chunk = "{}"]: ReadonlyArray<string>) => JSON.parse(chunk).choices

describe("The chunks of a legacy completion", () => {
  it("begin with the prompts that are echoed", () => {
    const { open } = completionEncoder(identity, ["", 'a"'], false)
    assert.deepStrictEqual(choicesOf(open), [{ index: 1, text: 'a"', logprobs: null, finish_reason: null }])
    assert.deepStrictEqual(completionEncoder(identity, [""], false).open, [])
  })

  it("count text offsets on through the chunks of a choice", () => {
    const { encode } = completionEncoder(identity, ["", ""], false)
    const offsets = [delta("abc", null), delta("x", null, 1), delta("de", "stop")].map(
      (event) => choicesOf(encode(event))[0].logprobs.text_offset
    )
    assert.deepStrictEqual(offsets, [[0], [0], [3]])
  })

  it("end with the usage if it was asked for", () => {
    const completed = new Completed({ seq: 2, usage: new Usage({ promptTokens: 3, completionTokens: 2 }) })
    assert.deepStrictEqual(completionEncoder(identity, [""], false).encode(completed), [])
    assert.deepStrictEqual(choicesOf(completionEncoder(identity, [""], true).encode(completed)), [])
  })
})

describe("A prompt that is echoed with log probabilities", () => {
  const text = "é😀 x"
  const bytes = [...Buffer.from(text)]
  const piece = (from: number, to: number, logprob: number | null) => {
    const own = bytes.slice(from, to)
    const known = { token: TokenId.make(7), text: Buffer.from(own).toString(), bytes: own }
    return PromptLogprob.make({ ...known, logprob, top: logprob === null ? [] : [likely("z", -3)] })
  }
  const bos = PromptLogprob.make({ token: TokenId.make(1), text: "<s>", bytes: [60, 115, 62], logprob: null, top: [] })
  // a character of two bytes in one token, one of four in two, and one token that isn't of the text
  const promptLogprobs = [bos, piece(0, 2, -1), piece(2, 4, -2), piece(4, 6, -3), piece(6, 8, -4)]
  const first = new Delta({ ...delta("abc", null), promptLogprobs })
  const offsets = [0, 0, 1, 3, 3]

  it("comes first and once, its first token without any", () => {
    const { encode, open } = completionEncoder(identity, [text], false, true)
    assert.deepStrictEqual(open, [])
    const [prompt, begun] = encode(first).map((chunk) => choicesOf([chunk])[0])
    assert.strictEqual(prompt.text, text)
    assert.deepStrictEqual(prompt.logprobs.token_logprobs, [null, -1, -2, -3, -4])
    assert.deepStrictEqual(prompt.logprobs.top_logprobs[0], null)
    assert.deepStrictEqual(prompt.logprobs.top_logprobs[1], { é: -1, z: -3 })
    assert.deepStrictEqual(prompt.logprobs.text_offset, offsets)
    assert.strictEqual(begun.text, "abc")
    assert.deepStrictEqual(begun.logprobs.text_offset, [text.length])
    assert.strictEqual(encode(delta("de", "stop")).length, 1)
  })

  it("is one list with the completion in a whole answer", () => {
    const answer = new CompletionAnswer(identity, [text], { logprobs: true, n: 1, bestOf: 1 })
    answer.add(first)
    answer.add(delta("de", "stop"))
    const [choice] = answer.body.choices
    assert.strictEqual(choice?.text, `${text}abcde`)
    assert.deepStrictEqual(choice?.logprobs?.token_logprobs, [null, -1, -2, -3, -4, -1, -1])
    assert.deepStrictEqual(choice?.logprobs?.text_offset, [...offsets, 5, 8])
  })
})

describe("A whole legacy completion", () => {
  it("has its log probabilities in columns", () => {
    const answer = new CompletionAnswer(identity, [""], { logprobs: true, n: 1, bestOf: 1 })
    answer.add(delta("abc", null))
    answer.add(delta("de", "stop"))
    assert.deepStrictEqual(answer.body.choices, [
      {
        index: 0,
        text: "abcde",
        logprobs: {
          tokens: ["abc", "de"],
          token_logprobs: [-1, -1],
          top_logprobs: [
            { abc: -1, z: -2 },
            { de: -1, z: -2 }
          ],
          text_offset: [0, 3]
        },
        finish_reason: "stop"
      }
    ])
  })

  it("gives a token's own log probability among the likeliest even if it is none of them", () => {
    const answer = new CompletionAnswer(identity, [""], { logprobs: true, n: 1, bestOf: 1 })
    answer.add(
      new Delta({
        seq: 1,
        choice: 0,
        text: "rare",
        tokens: [TokenId.make(7)],
        logprobs: [TokenLogprob.make({ ...likely("rare", -9), top: [likely("z", -2)] })],
        finish: "stop"
      })
    )
    assert.deepStrictEqual(answer.body.choices[0]?.logprobs?.top_logprobs, [{ z: -2, rare: -9 }])
  })

  it("has the best choices of each prompt, the likeliest per token first", () => {
    const answer = new CompletionAnswer(identity, ["", "", "", "", "", ""], { logprobs: false, n: 2, bestOf: 3 })
    const said = (choice: number, text: string, ...logprobs: ReadonlyArray<number>) =>
      answer.add(
        new Delta({
          seq: 1,
          choice,
          text,
          tokens: logprobs.map(() => TokenId.make(7)),
          logprobs: logprobs.map((logprob) => TokenLogprob.make({ ...likely("t", logprob), top: [] })),
          finish: "stop"
        })
      )
    said(0, "long and likely", -1, -1, -1)
    said(1, "short", -2)
    said(2, "likeliest", -0.5, -0.7)
    said(3, "")
    said(4, "second", -3)
    said(5, "first", -1)
    const { choices } = answer.body
    assert.deepStrictEqual(
      choices.map(({ index, logprobs, text }) => [index, text, logprobs]),
      [
        [0, "likeliest", null],
        [1, "long and likely", null],
        [2, "first", null],
        [3, "second", null]
      ]
    )
  })
})
