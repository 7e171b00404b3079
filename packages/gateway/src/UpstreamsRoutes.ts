/** What `UpstreamsApi.ts` defines, served. */
import { Effect } from "effect"
import * as AdminRouter from "./AdminRouter.ts"
import { Upstreams } from "./Upstreams.ts"
import { UpstreamsApi } from "./UpstreamsApi.ts"

const breakers = { Closed: "closed", Open: "open", HalfOpen: "half_open" } as const

export const layer = AdminRouter.implement(UpstreamsApi, {
  list: () =>
    Effect.map(Upstreams, ({ all }) => ({
      object: "list" as const,
      data: all.map((upstream) => {
        const { breaker, lastFailure, models, name, url } = upstream.status()
        return { name, url, breaker: breakers[breaker], models, last_failure: lastFailure }
      })
    }))
})
