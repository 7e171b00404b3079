import { TokenId } from "@helixflow/schema/Ids"

/** The token that `poisonWorker.ts` dies of. */
export const poison = TokenId.make(77)
