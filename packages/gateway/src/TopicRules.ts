/** Which topics there are, and who may listen and speak there. Pure. */
import type { Scope } from "./Principal.ts"

export interface TopicRule {
  /** One for all tenants, or one of each tenant. */
  readonly shared: boolean
  readonly listen: Scope
  /** Null: only the server. */
  readonly speak: Scope | null
}

/** What models and devices do, what operators tell everybody, what becomes of the tenant's completions. */
const reserved: ReadonlyMap<string, TopicRule> = new Map<string, TopicRule>([
  ["models", { shared: true, listen: "inference", speak: null }],
  ["devices", { shared: true, listen: "admin", speak: null }],
  ["broadcast", { shared: true, listen: "inference", speak: "admin" }],
  ["streams", { shared: false, listen: "inference", speak: null }]
])

const own: TopicRule = { shared: false, listen: "inference", speak: "inference" }

export const ruleOf = (topic: string): TopicRule => reserved.get(topic) ?? own

/** Tells topics apart that have the same name for their subscribers. */
export const keyOf = (tenant: string, topic: string): string =>
  ruleOf(topic).shared ? topic : `${JSON.stringify(tenant)} ${topic}`
