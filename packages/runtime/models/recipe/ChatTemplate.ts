/**
 * The chat template of helix-demo, and conversations as token ids. Tools are listed as signatures, `Get the weather: get_weather(city)`,
 * because a JSON schema would fill a small model's context, and behind what they do, because then a name is read knowing whether it is to be
 * copied; calls have the form that Hermes and Qwen models use.
 */
import { Template } from "@huggingface/jinja"
import type { Tokenizer } from "@huggingface/tokenizers"
import type { Conversation } from "./Turn.ts"

/** Ids 0 to 6, in this order. */
export const specialTokens = [
  "<|endoftext|>",
  "<|system|>",
  "<|user|>",
  "<|assistant|>",
  "<|tool|>",
  "<|end|>"
] as const
export const PADDING_ID = 0
export const ASSISTANT_ID = specialTokens.indexOf("<|assistant|>")
export const END_ID = specialTokens.indexOf("<|end|>")

export const chatTemplate = [
  "{%- set first = messages[0]['role'] if messages else '' -%}",
  "{%- set system = messages[0]['content'] if first == 'system' or first == 'developer' else '' -%}",
  "{%- if system or tools -%}",
  "{{- '<|system|>\\n' + system -}}",
  "{%- if tools -%}",
  "{{- '\\nTools:' if system else 'Tools:' -}}",
  "{%- for tool in tools -%}",
  "{{- '\\n' + (tool.function.description + ': ' if tool.function.description else '') + tool.function.name + '(' -}}",
  "{%- for name, schema in ((tool.function.parameters or {}).properties or {}) | items -%}",
  "{{- (', ' if not loop.first else '') + name -}}",
  "{%- endfor -%}",
  "{{- ')' -}}",
  "{%- endfor -%}",
  "{%- endif -%}",
  "{{- '<|end|>\\n' -}}",
  "{%- endif -%}",
  "{%- for message in messages -%}",
  "{%- if not (loop.first and (message.role == 'system' or message.role == 'developer')) -%}",
  "{%- set role = 'system' if message.role == 'developer' else message.role -%}",
  "{{- '<|' + role + '|>\\n' + (message.content or '') -}}",
  "{%- for call in message.tool_calls or [] -%}",
  "{%- set arguments = call.function.arguments -%}",
  '{{- \'<tool_call>{"name": "\' + call.function.name + \'", "arguments": \' -}}',
  "{{- arguments if arguments is string else arguments | tojson -}}",
  "{{- '}</tool_call>' -}}",
  "{%- endfor -%}",
  "{{- '<|end|>\\n' -}}",
  "{%- endif -%}",
  "{%- endfor -%}",
  "{%- if add_generation_prompt -%}",
  "{{- '<|assistant|>\\n' -}}",
  "{%- endif -%}"
].join("")

const template = new Template(chatTemplate)

/** A whole conversation as text. */
export const render = ({ messages, tools }: Pick<Conversation, "messages" | "tools">): string =>
  template.render({ messages, tools: tools ?? null, add_generation_prompt: false })

/** The conversation up to its last answer as a prompt, and that answer as the model is to give it. */
export function prompt(conversation: Conversation): { readonly prompt: string; readonly answer: string } {
  const whole = render(conversation)
  const before = template.render({
    messages: conversation.messages.slice(0, -1),
    tools: conversation.tools ?? null,
    add_generation_prompt: true
  })
  return { prompt: before, answer: whole.slice(before.length, -"<|end|>\n".length) }
}

/** Token ids, and for each whether it belongs to an answer and is to be learned. */
export function encode(
  tokenizer: Tokenizer,
  conversation: Conversation
): { readonly ids: ReadonlyArray<number>; readonly learned: ReadonlyArray<boolean> } {
  const ids: ReadonlyArray<number> = tokenizer.encode(render(conversation), { add_special_tokens: false }).ids
  let start = Number.POSITIVE_INFINITY
  const learned = ids.map((id, i) => {
    // The header is `<|assistant|>` and a newline; the answer begins after both.
    if (id === ASSISTANT_ID) start = i + 2
    const inside = i >= start
    if (id === END_ID) start = Number.POSITIVE_INFINITY
    return inside
  })
  return { ids, learned }
}
