/** `POST /v1/rerank` and `/v1/score`: pairs of texts and the one score that a cross-encoder gives each. */
import { HttpServerResponse } from "@effect/platform"
import type { Classifications } from "@helixflow/schema/Classification"
import {
  type OpenAiRerankList,
  OpenAiRerankRequest,
  type OpenAiScoreList,
  OpenAiScoreRequest
} from "@helixflow/schema/OpenAiRerank"
import { Effect, Layer } from "effect"
import { authenticated } from "./Authentication.ts"
import { classify, envelope, scorerFor, toUsage } from "./Classifications.ts"
import { endpoint } from "./Endpoint.ts"
import { relayed } from "./Relay.ts"
import { decodeBody } from "./RequestBody.ts"

const decodeRerank = decodeBody(OpenAiRerankRequest)
const decodeScore = decodeBody(OpenAiScoreRequest)

const toPair = (first: string, second: string) => ({ _tag: "Pair" as const, first, second })

/** The scores, with the place of each in the request. */
const indexed = ({ scores }: Classifications) => scores.map(([score = 0], index) => ({ index, score }))

const rerank = Effect.gen(function* () {
  const body = yield* decodeRerank
  const spec = yield* scorerFor(body.model, "reranking")
  const texts = body.documents.map((document) => (typeof document === "string" ? document : document.text))
  const classified = yield* classify(
    "rerank",
    spec,
    texts.map((text) => toPair(body.query, text)),
    (index) => `documents[${index}]`
  )
  const { id, model, object } = yield* envelope("rerank", spec)
  const ranked = indexed(classified)
    .sort((a, b) => b.score - a.score)
    .slice(0, body.top_n ?? texts.length)
  const answer: OpenAiRerankList = {
    object,
    id,
    model,
    results: ranked.map(({ index, score }) => ({
      index,
      relevance_score: score,
      ...((body.return_documents ?? true) && { document: { text: texts[index] ?? "" } })
    })),
    usage: toUsage(classified.promptTokens)
  }
  return HttpServerResponse.unsafeJson(answer)
})

const score = Effect.gen(function* () {
  const { model, text_1, text_2 } = yield* decodeScore
  const spec = yield* scorerFor(model, "scoring")
  const firsts = [text_1].flat()
  const classified = yield* classify(
    "score",
    spec,
    [text_2].flat().map((second, index) => toPair(firsts[firsts.length === 1 ? 0 : index] ?? "", second)),
    (index) => (typeof text_2 === "string" ? "text_2" : `text_2[${index}]`)
  )
  const answer: OpenAiScoreList = {
    ...(yield* envelope("score", spec)),
    data: indexed(classified).map((scored) => ({ object: "score", ...scored })),
    usage: toUsage(classified.promptTokens)
  }
  return HttpServerResponse.unsafeJson(answer)
})

export const layer = Layer.mergeAll(
  endpoint("POST", "/v1/rerank", authenticated(relayed("/rerank", rerank))),
  endpoint("POST", "/v1/score", authenticated(score))
)
