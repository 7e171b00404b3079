/** What an operator may tune of the scheduler. All times are milliseconds. */

export interface SchedulerOptions {
  /** Most requests that wait for one model; more are refused with `QueueFull`. */
  readonly queueLimit: number
  /** Most requests of one tenant that wait for any model; more are refused with `TenantQueueFull`. */
  readonly tenantQueueLimit: number
  /** How much waiting lifts a request by one service tier. */
  readonly aging: number
  /** How long a request keeps its place at least before it may be preempted for a tenant that has less. `Infinity`: it is never. */
  readonly quantum: number
  /** How often a request is preempted at most. */
  readonly preemptions: number
  /** How long a promise of memory stands before it is committed. */
  readonly reservationTtl: number
  /** How long a replica may take to become ready. */
  readonly loadTimeout: number
  /** How long a replica that makes room may take to finish what it computes, before making room is given up. */
  readonly drainTimeout: number
  /** How long a request waits before a replica that is busy with other models' requests must make room for its model. */
  readonly patience: number
  /** The same of a replica that other requests wait for. */
  readonly wantedPatience: number
  /** How long a replica that was loaded stays at least while others wait for it; an idle one at most, if a load takes longer. */
  readonly minResidency: number
  /** How many times as long as its load took a replica stays while others wait for it, but no longer than `maxResidency`. */
  readonly groupFactor: number
  readonly maxResidency: number
  /** How long a failed replica is left to its supervisor before the scheduler replaces it. */
  readonly failedGrace: number
  /** How long a request is kept from a replica that failed it and is the only one, unless it became ready again since. */
  readonly exclusion: number
  /** How long a replica is passed over after its device refused a slot that the view showed as free. */
  readonly hold: number
  /** A load that failed is tried again on that device after `backoffBase * 2^(failures - 1)`, at most `backoffCap`. */
  readonly backoffBase: number
  readonly backoffCap: number
  /** How often at most moves are looked for that make room for models that wait; and for the same one. */
  readonly moveInterval: number
  readonly moveRetry: number
  /** Whether models are loaded that will probably be asked for soon. */
  readonly preload: boolean
  /** How often at most it is looked for such models. */
  readonly preloadInterval: number
  /** How long a model that was loaded ahead in vain is not loaded ahead again. */
  readonly preloadPause: number
}

export const defaults: SchedulerOptions = {
  queueLimit: 512,
  tenantQueueLimit: 256,
  aging: 15_000,
  quantum: 500,
  preemptions: 100,
  reservationTtl: 30_000,
  loadTimeout: 600_000,
  drainTimeout: 300_000,
  patience: 2_000,
  wantedPatience: 10_000,
  minResidency: 2_000,
  groupFactor: 2,
  maxResidency: 30_000,
  failedGrace: 5_000,
  exclusion: 1_000,
  hold: 500,
  backoffBase: 1_000,
  backoffCap: 30_000,
  moveInterval: 50,
  moveRetry: 500,
  preload: false,
  preloadInterval: 1_000,
  preloadPause: 600_000
}
