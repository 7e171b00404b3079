/** What a load lacked. Null: nobody knows. */
import { Schema } from "effect"
import { Bytes } from "./Ids.ts"

export const MemoryShortage = Schema.Struct({
  /** What its worker had when there was no more, and what it asked for besides: it needs at least so much. */
  needed: Schema.NullOr(Bytes),
  claimed: Schema.NullOr(Bytes),
  /** What nobody had claimed of its device besides. */
  free: Schema.NullOr(Bytes)
})
export type MemoryShortage = typeof MemoryShortage.Type

export const unknownShortage: MemoryShortage = { needed: null, claimed: null, free: null }

export const shortageText = ({ claimed, free, needed }: MemoryShortage): string =>
  [
    ...(needed === null ? [] : [`it needs at least ${needed} bytes`]),
    ...(claimed === null ? [] : [`${claimed} were claimed for it`]),
    ...(free === null ? [] : [`${free} were free besides`])
  ].join(", ")
