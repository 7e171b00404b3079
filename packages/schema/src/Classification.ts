/**
 * Sequence classification, free of any wire format: a model reads one text, or two together, and gives a score per label. A model with a
 * single label is a cross-encoder that scores a pair, e.g. how well a document answers a query.
 */
import { Schema } from "effect"
import { Caller } from "./Caller.ts"
import { ModelId, TokenId } from "./Ids.ts"

/** What is read at once: a text, two texts that the model's tokenizer joins in its own way, or token ids as they are. */
export const ClassificationInput = Schema.Union(
  Schema.TaggedStruct("Text", { text: Schema.NonEmptyString }),
  Schema.TaggedStruct("Pair", { first: Schema.NonEmptyString, second: Schema.NonEmptyString }),
  Schema.TaggedStruct("Tokens", { tokens: Schema.Array(TokenId) })
)
export type ClassificationInput = typeof ClassificationInput.Type

/** Inputs to classify, each below the model's context: longer ones are refused, never truncated. */
export class ClassificationRequest extends Schema.Class<ClassificationRequest>("ClassificationRequest")({
  model: ModelId,
  inputs: Schema.Array(ClassificationInput),
  queueTimeout: Schema.Positive,
  caller: Schema.optional(Caller)
}) {}

/** Scores in the order of the inputs, and of an input in the order of the model's `labels`. */
export class Classifications extends Schema.Class<Classifications>("Classifications")({
  /**
   * After the activation that the model's files name: probabilities that sum to one (softmax), probabilities of each label alone
   * (sigmoid), or whatever the model was trained to give (none).
   */
  scores: Schema.Array(Schema.Array(Schema.Number)),
  promptTokens: Schema.NonNegativeInt
}) {}
