/**
 * Conversations, by their keys, and which replica each was on last: there its beginning is in the KV cache. It is a hint, kept in memory and
 * bounded: what is forgotten costs a prompt that is computed once more. Pure.
 */
import { createHash, createHmac, randomBytes } from "node:crypto"
import type { GenerationRequest } from "@helixflow/schema/Generation"
import type { ReplicaId } from "@helixflow/schema/Ids"
import { affinityOf } from "./Affinity.ts"

const length = 22
const digest = (text: string): string => createHash("sha256").update(text).digest("base64url").slice(0, length)

const secret = randomBytes(32)

/**
 * A conversation as the scheduler and its log know it, until the process ends. A key that is a digest of how a conversation began could be
 * compared with guesses by whoever reads the log.
 */
export const blinded = (key: string): string =>
  createHmac("sha256", secret).update(key).digest("base64url").slice(0, length)

/** The key of a conversation that its client names. */
export const named = (tenant: string, name: string): string => digest(JSON.stringify([tenant, { name }]))

/** The key of the conversation that a request belongs to: as it says itself, or told from how it begins. */
export const keyOf = (request: Pick<GenerationRequest, "cacheSalt" | "conversation" | "prompt">): string =>
  request.conversation ?? digest(affinityOf(request))

const most = 10_000

export class Conversations {
  /** The one that was used last is last. */
  readonly #replicas = new Map<string, ReplicaId>()

  constructor(private readonly limit = most) {}

  at(key: string): ReplicaId | undefined {
    return this.#replicas.get(key)
  }

  went(key: string, replica: ReplicaId): void {
    this.#replicas.delete(key)
    this.#replicas.set(key, replica)
    if (this.#replicas.size <= this.limit) return
    for (const oldest of this.#replicas.keys()) {
      this.#replicas.delete(oldest)
      return
    }
  }
}
