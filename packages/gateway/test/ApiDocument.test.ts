import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { OpenAiChatRequest } from "@helixflow/schema/OpenAiChat"
import { OpenAiClassifyRequest } from "@helixflow/schema/OpenAiClassify"
import { OpenAiCompletionRequest } from "@helixflow/schema/OpenAiCompletions"
import { OpenAiEmbeddingRequest } from "@helixflow/schema/OpenAiEmbeddings"
import { OpenAiRerankRequest, OpenAiScoreRequest } from "@helixflow/schema/OpenAiRerank"
import { OpenAiDetokenizeRequest, OpenAiTokenizeRequest } from "@helixflow/schema/OpenAiTokenize"
import { type Schema, SchemaAST } from "effect"
import { NewKeyBody } from "../src/KeysApi.ts"

const document = readFileSync(new URL("../../../docs/api.md", import.meta.url), "utf8")

const parametersOf = ({ ast }: Schema.Schema.All) =>
  SchemaAST.getPropertySignatures(SchemaAST.encodedAST(ast)).map(({ name }) => String(name))

describe("The API's document", () => {
  const requests = {
    chat: OpenAiChatRequest,
    completions: OpenAiCompletionRequest,
    embeddings: OpenAiEmbeddingRequest,
    rerank: OpenAiRerankRequest,
    score: OpenAiScoreRequest,
    classify: OpenAiClassifyRequest,
    "new keys": NewKeyBody,
    tokenize: OpenAiTokenizeRequest,
    detokenize: OpenAiDetokenizeRequest
  }
  for (const [name, schema] of Object.entries(requests)) {
    it(`names every parameter of ${name}`, () => {
      const parameters = parametersOf(schema)
      assert.isNotEmpty(parameters)
      assert.deepStrictEqual(
        parameters.filter((parameter) => !document.includes(`\`${parameter}\``)),
        []
      )
    })
  }
})
