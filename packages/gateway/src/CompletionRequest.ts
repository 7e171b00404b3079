/** From a legacy completion request to generations, one per prompt. Pure. */
import { GenerationRequest } from "@helixflow/schema/Generation"
import type { OpenAiCompletionRequest } from "@helixflow/schema/OpenAiCompletions"
import { Array as Arr } from "effect"
import { toPrompts } from "./PromptInput.ts"
import { toSampling, toStopping } from "./SamplingParameters.ts"

/** What this API generates where `max_tokens` is left out: https://platform.openai.com/docs/api-reference/completions/create */
const defaultMaxTokens = 16

/** How many choices are generated per prompt: of `best_of` the `n` likeliest are answered. */
export const generatedChoices = ({ best_of, n }: Pick<OpenAiCompletionRequest, "best_of" | "n">): number =>
  best_of ?? n ?? 1

export const toGenerationRequests = (
  body: OpenAiCompletionRequest,
  options: Pick<GenerationRequest, "model" | "queueTimeout" | "caller" | "cacheSalt"> & {
    readonly seed: number
    readonly progress?: boolean
  }
): Arr.NonEmptyReadonlyArray<GenerationRequest> =>
  Arr.map(
    toPrompts(body.prompt),
    (prompt) =>
      new GenerationRequest(
        {
          model: options.model,
          prompt,
          n: generatedChoices(body),
          sampling: toSampling(body, options.seed),
          stopping: toStopping(body, body.max_tokens ?? defaultMaxTokens),
          // the best are known by their log probabilities
          logprobs: body.logprobs ?? (generatedChoices(body) > (body.n ?? 1) ? 0 : null),
          promptLogprobs: body.echo === true && typeof body.logprobs === "number",
          queueTimeout: options.queueTimeout,
          caller: options.caller,
          progress: options.progress ?? false,
          cacheSalt: options.cacheSalt
        },
        { disableValidation: true }
      )
  )
