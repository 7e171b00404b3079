/** When models were asked for: what the scheduler forecasts with. One row. */
import * as SqlClient from "@effect/sql/SqlClient"
import { Effect } from "effect"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`
    CREATE TABLE forecast (
      id bigint PRIMARY KEY,
      arrivals text NOT NULL,
      saved_at bigint NOT NULL
    )`
})
