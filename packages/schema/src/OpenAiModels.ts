/** `GET /v1/models`. Source: https://platform.openai.com/docs/api-reference/models */
import type { ModelTask } from "./Model.ts"

export interface OpenAiModel {
  readonly id: string
  readonly object: "model"
  /** Seconds since the epoch. */
  readonly created: number
  readonly owned_by: string
  /** Most tokens of prompt and completion together. Not OpenAI's but vLLM's. */
  readonly max_model_len?: number
  /** What the model is for. HelixFlow's own. */
  readonly task?: ModelTask
}

export interface OpenAiModelList {
  readonly object: "list"
  readonly data: ReadonlyArray<OpenAiModel>
}
