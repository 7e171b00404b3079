/** What models were seen to take once they were loaded. */
import * as SqlClient from "@effect/sql/SqlClient"
import { Effect } from "effect"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`
    CREATE TABLE learned_memory (
      loaded text PRIMARY KEY,
      bytes bigint NOT NULL,
      seen_at bigint NOT NULL
    )`
})
