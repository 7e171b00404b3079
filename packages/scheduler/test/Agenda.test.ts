import { expect, it } from "@effect/vitest"
import { Agenda } from "../src/Agenda.ts"
import { randomOf } from "./traces.ts"

it("an agenda gives what comes first, and of one instant what has the lower order, whenever it was added", () => {
  const random = randomOf(1)
  const agenda = new Agenda<number>()
  const entries = Array.from({ length: 500 }, (_, n) => ({ at: Math.floor(random() * 20), order: n, happening: n }))
  for (const entry of [...entries].sort(() => random() - 0.5)) agenda.add(entry)
  const sorted = [...entries].sort((a, b) => a.at - b.at || a.order - b.order)
  expect(sorted.map(() => agenda.next())).toEqual(sorted)
  expect(agenda.next()).toBeUndefined()
})
