/** Which server is finishing a stream that goes on unheard, and until when nobody else need. */
import * as SqlClient from "@effect/sql/SqlClient"
import { Effect } from "effect"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`ALTER TABLE sessions ADD COLUMN owner text`
  yield* sql`ALTER TABLE sessions ADD COLUMN leased_until bigint NOT NULL DEFAULT 0`
  yield* sql`CREATE INDEX sessions_unfinished ON sessions (leased_until) WHERE detached = 1 AND failure IS NULL`
})
