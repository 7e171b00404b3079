/** Which generations a client may come back to. */
import type { Keep } from "@helixflow/runtime/SessionStore"
import { type AnswerForm, toText } from "./AnswerForm.ts"

/**
 * Streams are kept, unless the client says `store: false`: one whose client hangs up rests until it comes back. With `store: true` an
 * answer is kept whether streamed or not, and it is finished even if nobody listens. Undefined: it is not kept.
 */
export const keeping = (
  { store, stream }: { readonly store?: boolean | null | undefined; readonly stream?: boolean | null | undefined },
  tenant: string,
  form: AnswerForm,
  connection?: string
): Keep | undefined =>
  store === true || (stream === true && store !== false)
    ? { tenant, answer: toText(form), detached: store === true, connection }
    : undefined
