/** API keys: what a key may do, and the digest that it is known by. No key is in here. */
import * as SqlClient from "@effect/sql/SqlClient"
import { Effect } from "effect"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`
    CREATE TABLE api_keys (
      id text PRIMARY KEY,
      digest text NOT NULL UNIQUE,
      hint text NOT NULL,
      name text NOT NULL,
      scopes text NOT NULL,
      limits text NOT NULL,
      created_by text NOT NULL,
      created_at bigint NOT NULL,
      expires_at bigint,
      last_used_at bigint
    )`
})
