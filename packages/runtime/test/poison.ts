import { TokenId } from "@helixflow/schema/Ids"

/** The token that `poisonWorker.ts` dies of. */
export const poison = TokenId.make(77)

/** One that kills before a token has come. */
export const swiftPoison = TokenId.make(78)
