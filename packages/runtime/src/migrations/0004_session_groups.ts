/** Streams that were begun on one connection, to be resumed together. */
import * as SqlClient from "@effect/sql/SqlClient"
import { Effect } from "effect"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`ALTER TABLE sessions ADD COLUMN connection text`
  yield* sql`CREATE INDEX sessions_connection ON sessions (connection)`
})
