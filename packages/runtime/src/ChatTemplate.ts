/** A model's chat template: the messages of a conversation become the text that the model was trained on. */

import { InvalidRequest } from "@helixflow/schema/Errors"
import type { ChatMessage } from "@helixflow/schema/Generation"
import { Template } from "@huggingface/jinja"
import type { ChatTemplates } from "./ChatTemplates.ts"
import { contentOf, type TokenizerConfig } from "./ModelConfig.ts"

/** What a template is given. */
export interface Conversation {
  readonly messages: ReadonlyArray<ChatMessage>
  /** What the model may call, as OpenAI's API describes tools. */
  readonly tools?: ReadonlyArray<object> | undefined
  /** Texts that the answer is to be based on. */
  readonly documents?: ReadonlyArray<object>
}

const SPECIAL_TOKENS = [
  "bos_token",
  "eos_token",
  "unk_token",
  "sep_token",
  "pad_token",
  "cls_token",
  "mask_token"
] as const

export class ChatTemplate {
  readonly #template: Template
  readonly #toolUse: Template | null
  readonly #specialTokens: Readonly<Record<string, string>>

  /** Throws an `Error` if a source is no Jinja. */
  constructor(templates: ChatTemplates, config: TokenizerConfig) {
    this.#template = new Template(templates.default)
    this.#toolUse = templates.toolUse === null ? null : new Template(templates.toolUse)
    this.#specialTokens = Object.fromEntries(
      SPECIAL_TOKENS.flatMap((name) => {
        const content = contentOf(config[name])
        return content === undefined ? [] : [[name, content]]
      })
    )
  }

  /**
   * The prompt, up to where the assistant's answer begins. Throws `InvalidRequest`: templates refuse what their model was not
   * made for, e.g. two user messages in a row.
   */
  render(conversation: Conversation): string {
    const { tools } = conversation
    const text = this.#render(conversation)
    if (tools !== undefined && text === this.#render({ ...conversation, tools: undefined })) {
      throw new InvalidRequest({ reason: "The model's chat template has no place for tools.", param: "tools" })
    }
    return text
  }

  #render({ messages, tools, documents }: Conversation): string {
    const template = tools === undefined ? this.#template : (this.#toolUse ?? this.#template)
    try {
      return template.render({
        ...this.#specialTokens,
        messages,
        // templates ask whether these are none
        tools: tools ?? null,
        documents: documents ?? null,
        add_generation_prompt: true
      })
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause)
      throw new InvalidRequest({
        reason: `The model's chat template refuses the messages: ${reason}`,
        param: "messages"
      })
    }
  }
}
