import { assert, describe, it } from "@effect/vitest"
import { TokenLogprob, Usage } from "@helixflow/schema/Generation"
import { SessionId, TokenId } from "@helixflow/schema/Ids"
import { Completed, Delta } from "@helixflow/schema/SessionActor"
import { ChatAnswer, chatEncoder } from "../src/ChatAnswer.ts"

const identity = { id: SessionId.make("chatcmpl-1"), created: 1, model: "m", fingerprint: "fp_1" }

const delta = (more: Partial<ConstructorParameters<typeof Delta>[0]>) =>
  new Delta({ seq: 1, choice: 0, text: "", tokens: [], logprobs: null, finish: null, ...more })

const logprob = TokenLogprob.make({ token: TokenId.make(7), text: "a", bytes: [97], logprob: -1, top: [] })
const usageBody = {
  prompt_tokens: 3,
  completion_tokens: 2,
  total_tokens: 5,
  prompt_tokens_details: { cached_tokens: 1 }
}
const completed = new Completed({ seq: 2, usage: new Usage({ promptTokens: 3, completionTokens: 2, cachedTokens: 1 }) })

/** The chunks without what all have in common. */
const chunks = (encoded: ReadonlyArray<string>) =>
  encoded.map((chunk) => {
    const { choices, usage } = JSON.parse(chunk)
    return usage === undefined ? choices : { choices, usage }
  })

describe("The chunks of a chat", () => {
  it("say nothing while text lags behind its tokens", () => {
    const { encode } = chatEncoder(identity, 1, false)
    assert.deepStrictEqual(encode(delta({ tokens: [TokenId.make(7)] })), [])
  })

  it("have log probabilities even then", () => {
    const { encode } = chatEncoder(identity, 1, false)
    assert.deepStrictEqual(chunks(encode(delta({ tokens: [TokenId.make(7)], logprobs: [logprob] }))), [
      [
        {
          index: 0,
          delta: { content: "" },
          logprobs: { content: [{ token: "a", logprob: -1, bytes: [97], top_logprobs: [] }], refusal: null },
          finish_reason: null
        }
      ]
    ])
  })

  it("keep the last text apart from the finish reason", () => {
    const { encode } = chatEncoder(identity, 2, false)
    assert.deepStrictEqual(chunks(encode(delta({ choice: 1, text: 'a"\n', finish: "stop" }))), [
      [{ index: 1, delta: { content: 'a"\n' }, logprobs: null, finish_reason: null }],
      [{ index: 1, delta: {}, logprobs: null, finish_reason: "stop" }]
    ])
    assert.lengthOf(chunks(encode(delta({ finish: "length" }))), 1)
  })

  it("end with the usage if it was asked for", () => {
    assert.deepStrictEqual(chatEncoder(identity, 1, false).encode(completed), [])
    assert.deepStrictEqual(chunks(chatEncoder(identity, 1, true).encode(completed)), [
      { choices: [], usage: usageBody }
    ])
  })
})

const called = 'Wait.<tool_call>{"name": "get_time", "arguments": {"city": "Oslo"}}</tool_call>'
const call = {
  id: "call_1_0_0",
  type: "function",
  function: { name: "get_time", arguments: '{"city":"Oslo"}' }
}

describe("The chunks of a chat with tools", () => {
  it("have calls in a chunk of their own and end for their sake", () => {
    const { encode } = chatEncoder(identity, 1, false, { parallel: true })
    const deltas = [called.slice(0, 10), called.slice(10, 40), called.slice(40)].map((text) => delta({ text }))
    const frames = [...deltas, delta({ finish: "stop" })].flatMap(encode)
    const unfinished = { logprobs: null, finish_reason: null }
    assert.deepStrictEqual(chunks(frames), [
      [{ index: 0, delta: { content: "Wait." }, ...unfinished }],
      [{ index: 0, delta: { tool_calls: [{ index: 0, ...call }] }, ...unfinished }],
      [{ index: 0, delta: {}, logprobs: null, finish_reason: "tool_calls" }]
    ])
  })

  it("are text where no tool was offered", () => {
    const { encode } = chatEncoder(identity, 1, false)
    const [[first], [last]] = chunks(encode(delta({ text: called, finish: "stop" })))
    assert.strictEqual(first.delta.content, called)
    assert.strictEqual(last.finish_reason, "stop")
  })
})

describe("A whole chat", () => {
  it("has calls besides its text, and no text where there is none", () => {
    const answerTo = (text: string) => {
      const answer = new ChatAnswer(identity, 1, false, { parallel: true })
      answer.add(delta({ text, finish: "stop" }))
      return answer.body.choices[0]
    }
    const message = { role: "assistant", refusal: null, tool_calls: [call] }
    assert.deepStrictEqual(answerTo(called)?.message, { ...message, content: "Wait." })
    assert.deepStrictEqual(answerTo(called.slice("Wait.".length))?.message, { ...message, content: null })
    assert.strictEqual(answerTo(called)?.finish_reason, "tool_calls")
    assert.strictEqual(answerTo("No.")?.finish_reason, "stop")
  })

  it("has the text of all deltas of each choice", () => {
    const answer = new ChatAnswer(identity, 2, true)
    answer.add(delta({ text: "a", logprobs: [logprob] }))
    answer.add(delta({ choice: 1, text: "x", finish: "stop" }))
    answer.add(delta({ text: "b", logprobs: [logprob], finish: "length" }))
    answer.add(completed)
    const { choices, usage } = answer.body
    assert.deepStrictEqual(
      choices.map(({ finish_reason, index, logprobs, message }) => [
        index,
        message.content,
        finish_reason,
        logprobs?.content.length
      ]),
      [
        [0, "ab", "length", 2],
        [1, "x", "stop", 0]
      ]
    )
    assert.deepStrictEqual(usage, usageBody)
  })
})
