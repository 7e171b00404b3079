/**
 * Who listens to which topic. Events of a topic are numbered from 1; one that a subscriber has no room for is left out, which its
 * subscriber sees by the gap.
 */
export interface Subscriber {
  readonly isFull: boolean
  readonly send: (text: string) => void
}

interface Topic {
  seq: number
  readonly subscribers: Set<Subscriber>
}

export class Topics {
  readonly #topics = new Map<string, Topic>()

  /** `key` tells topics apart that have the same name for their subscribers. Gives what ends the subscription. */
  subscribe(key: string, subscriber: Subscriber): () => void {
    const topic = this.#topics.get(key) ?? { seq: 0, subscribers: new Set() }
    this.#topics.set(key, topic)
    topic.subscribers.add(subscriber)
    return () => {
      topic.subscribers.delete(subscriber)
      if (topic.subscribers.size === 0 && this.#topics.get(key) === topic) this.#topics.delete(key)
    }
  }

  hasSubscribers(key: string): boolean {
    return this.#topics.has(key)
  }

  /** `data` is JSON. */
  publish(key: string, name: string, data: string): void {
    const topic = this.#topics.get(key)
    if (topic === undefined) return
    const text = event(name, ++topic.seq, data)
    for (const subscriber of topic.subscribers) if (!subscriber.isFull) subscriber.send(text)
  }
}

/** `data` is JSON. */
export const event = (topic: string, seq: number, data: string): string =>
  `{"type":"event","topic":${JSON.stringify(topic)},"seq":${seq},"data":${data}}`
