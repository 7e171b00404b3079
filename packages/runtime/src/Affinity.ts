/**
 * What a request has in common with others that had better be computed by the same replica, where the KV cache of their shared
 * beginning is kept: a conversation, whose turns all begin alike.
 */
import type { GenerationRequest } from "@helixflow/schema/Generation"

/** As much of a text or of tokens as tells one beginning from another. */
const beginning = 256

/** Requests of one tenant with the same key are drawn to one replica, by models with the policy `affinity`. */
export const affinityOf = ({ cacheSalt, prompt }: Pick<GenerationRequest, "cacheSalt" | "prompt">): string => {
  switch (prompt._tag) {
    case "Chat": {
      // what comes behind the first question is what the turns of a conversation differ in
      const question = prompt.messages.findIndex(({ role }) => role === "user")
      const shared = question < 0 ? prompt.messages : prompt.messages.slice(0, question + 1)
      return JSON.stringify([cacheSalt, ...shared.map(({ content, role }) => [role, content.slice(0, beginning)])])
    }
    case "Text":
      return JSON.stringify([cacheSalt, prompt.text.slice(0, beginning)])
    case "Tokens":
      return JSON.stringify([cacheSalt, prompt.tokens.slice(0, beginning)])
  }
}
