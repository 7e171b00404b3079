/**
 * How models write calls of tools in their text. Hermes and Qwen models do so.
 *
 *     <tool_call>{"name": "get_weather", "arguments": {"city": "Oslo"}}</tool_call>
 *
 * Source: https://github.com/NousResearch/Hermes-Function-Calling
 */
export const OPEN = "<tool_call>"
export const CLOSE = "</tool_call>"
