/**
 * Who listens to which topic. Events of a topic are numbered from 1; one that a subscriber has no room for, or was not there for, is
 * left out, which it sees by the gap. A topic that nobody listens to is forgotten when there are too many of that kind, the oldest first:
 * then its numbers begin anew.
 */
export interface Subscriber {
  readonly isFull: boolean
  readonly send: (text: string) => void
}

interface Topic {
  seq: number
  readonly subscribers: Set<Subscriber>
}

/** Most topics without subscribers whose numbers are known. */
const mostUnheard = 10_000

export class Topics {
  readonly #topics = new Map<string, Topic>()
  /** Those that nobody listens to, the oldest first. */
  readonly #unheard = new Set<string>()

  constructor(private readonly limit = mostUnheard) {}

  /** `key` tells topics apart that have the same name for their subscribers. Gives what ends the subscription. */
  subscribe(key: string, subscriber: Subscriber): () => void {
    const { subscribers } = this.#at(key)
    this.#unheard.delete(key)
    subscribers.add(subscriber)
    return () => {
      if (subscribers.delete(subscriber) && subscribers.size === 0) this.#leave(key)
    }
  }

  hasSubscribers(key: string): boolean {
    return (this.#topics.get(key)?.subscribers.size ?? 0) > 0
  }

  /** `data` is JSON. */
  publish(key: string, name: string, data: string): void {
    const topic = this.#at(key)
    const text = event(name, ++topic.seq, data)
    for (const subscriber of topic.subscribers) if (!subscriber.isFull) subscriber.send(text)
  }

  #at(key: string): Topic {
    const known = this.#topics.get(key)
    if (known !== undefined) return known
    const topic = { seq: 0, subscribers: new Set<Subscriber>() }
    this.#topics.set(key, topic)
    this.#leave(key)
    return topic
  }

  #leave(key: string): void {
    this.#unheard.add(key)
    if (this.#unheard.size <= this.limit) return
    for (const oldest of this.#unheard) {
      this.#unheard.delete(oldest)
      this.#topics.delete(oldest)
      return
    }
  }
}

/** `data` is JSON. */
export const event = (topic: string, seq: number, data: string): string =>
  `{"type":"event","topic":${JSON.stringify(topic)},"seq":${seq},"data":${data}}`
