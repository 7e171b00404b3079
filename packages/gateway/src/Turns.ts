/**
 * New requests and WebSockets begin a few in each turn of the event loop. To begin one takes a millisecond of steps, and Node.js hands over
 * all that has come before it looks at a socket or a timer again: a thousand requests in a moment would hold up every stream that runs until
 * all have begun.
 */
import { Effect } from "effect"

/** How many begin in a turn. One that comes alone waits for nothing. */
export const mostInTurn = 2

const waiting: Array<() => void> = []
let begun = 0

const turned = () => {
  begun = 0
  for (const begin of waiting.splice(0, mostInTurn)) {
    enter()
    begin()
  }
}

const enter = () => {
  if (begun++ === 0) setImmediate(turned)
}

/** Waits for a turn in which there is room for a request more, in the order of their coming. */
export const turn: Effect.Effect<void> = Effect.async<void>((resume) => {
  const begin = () => resume(Effect.void)
  if (begun < mostInTurn && waiting.length === 0) {
    enter()
    return begin()
  }
  waiting.push(begin)
  return Effect.sync(() => {
    const index = waiting.indexOf(begin)
    if (index >= 0) waiting.splice(index, 1)
  })
})
