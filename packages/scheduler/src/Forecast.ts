/**
 * Which models will be asked for soon, from when they were asked for before. Two things are learned of what arrives:
 *
 * - the time of day: how many requests came in each hour of the week. An hour that was seen once says little, so each leans on the same
 *   hour of other days, and that on nothing: what was never seen is not expected. Two weeks halve what an hour counts;
 * - the sequence: what a tenant asks for after it asked for a model, itself included, and how soon.
 *
 * Hours are those of UTC: a habit that follows a clock that is put forward is an hour late until the next weeks have been seen.
 *
 * Memory is bounded: `mostModels` models, `mostTenants` tenants, `mostFollowers` followers of each model. The same arrivals always give
 * the same forecast. A persistent value; an arrival costs O(log models + log tenants).
 */
import { ModelId } from "@helixflow/schema/Ids"
import { Option, Schema } from "effect"
import * as Recent from "./Recent.ts"

const hourMillis = 3_600_000
const hoursOfWeek = 168

/** Remembered at least; see `Recent`. */
export const mostModels = 1024
export const mostTenants = 1024
export const mostFollowers = 16

/** After so many hours an arrival counts half. */
const halfLife = 2 * hoursOfWeek
/** What a week's age leaves of an arrival. */
const weekly = 2 ** (-hoursOfWeek / halfLife)

/** Gaps of a sequence by powers of two of seconds: below 1 s, below 2 s, …, below 512 s. What comes later does not follow. */
const gapBins = 10
const longestGapMillis = 2 ** (gapBins - 1) * 1000
/** So many arrivals of a model are remembered for what follows it. */
const remembered = 512
/** A sequence that was seen once may have been chance. */
const doubt = 2

/** What is known of a model. */
interface Habit {
  /** The hour (since the epoch) of its first arrival. */
  readonly since: number
  /** When it was asked for last. */
  readonly last: number
  /** Arrivals of the hour of then. */
  readonly hour: number
  readonly count: number
  /** Arrivals of each hour of the week before that, each weighing `2^(its hour - since) / halfLife)`: later ones more. */
  readonly hours: ReadonlyArray<number>
  /** Arrivals after which something could follow. */
  readonly arrivals: number
  /** How often each model came next of the same tenant, by the gap between. */
  readonly followers: ReadonlyMap<ModelId, ReadonlyArray<number>>
}

export interface Forecast {
  readonly habits: Recent.Recent<ModelId, Habit>
  /** What each tenant asked for last. */
  readonly tenants: Recent.Recent<string, { readonly model: ModelId; readonly at: number }>
}

export const empty: Forecast = { habits: Recent.empty(mostModels), tenants: Recent.empty(mostTenants) }

const noHours: ReadonlyArray<number> = Array.from({ length: hoursOfWeek }, () => 0)
const noGaps: ReadonlyArray<number> = Array.from({ length: gapBins }, () => 0)

const hourOf = (at: number): number => Math.floor(at / hourMillis)
const sum = (values: Iterable<number>): number => {
  let total = 0
  for (const value of values) total += value
  return total
}

/** The hour that is being counted becomes one of those before. */
const closed = (habit: Habit, hour: number): Habit => {
  if (hour <= habit.hour) return habit
  const hours = [...habit.hours]
  const weight = 2 ** ((habit.hour - habit.since) / halfLife)
  hours[habit.hour % hoursOfWeek] = (hours[habit.hour % hoursOfWeek] ?? 0) + habit.count * weight
  return { ...habit, hour, count: 0, hours }
}

/** When a model was asked for last; `-Infinity`: never. */
export const lastOf = ({ habits }: Forecast, model: ModelId): number =>
  Recent.get(habits, model)?.last ?? Number.NEGATIVE_INFINITY

/** The bin of a gap. */
const binOf = (millis: number): number => (millis < 1000 ? 0 : Math.floor(Math.log2(millis / 1000)) + 1)

const halved = ({ arrivals, followers, ...habit }: Habit): Habit => ({
  ...habit,
  arrivals: arrivals / 2,
  followers: new Map(Array.from(followers, ([model, gaps]) => [model, gaps.map((count) => count / 2)]))
})

/** One more time the model came so long after. Of too many followers the rarest is forgotten. */
const followed = (habit: Habit, model: ModelId, gap: number): Habit => {
  const followers = new Map(habit.followers)
  const bin = binOf(gap)
  const gaps = (followers.get(model) ?? noGaps).map((count, at) => (at === bin ? count + 1 : count))
  if (!followers.has(model) && followers.size >= mostFollowers) {
    const [rarest] = [...followers].reduce((least, other) => (sum(other[1]) < sum(least[1]) ? other : least))
    followers.delete(rarest)
  }
  return { ...habit, followers: followers.set(model, gaps) }
}

/** A tenant asked for a model. */
export const arrived = (forecast: Forecast, model: ModelId, tenant: string, now: number): Forecast => {
  const hour = hourOf(now)
  const before = Recent.get(forecast.tenants, tenant)
  let { habits } = forecast
  const gap = before === undefined ? Number.POSITIVE_INFINITY : now - before.at
  const first = before === undefined ? undefined : Recent.get(habits, before.model)
  if (before !== undefined && first !== undefined && gap < longestGapMillis) {
    habits = Recent.set(habits, before.model, followed(first, model, gap))
  }
  const known = Recent.get(habits, model)
  const habit = known ?? { since: hour, last: now, hour, count: 0, hours: noHours, arrivals: 0, followers: new Map() }
  const open = closed(habit, hour)
  const counted = { ...open, last: now, count: open.count + 1, arrivals: open.arrivals + 1 }
  return {
    habits: Recent.set(habits, model, counted.arrivals >= remembered ? halved(counted) : counted),
    tenants: Recent.set(forecast.tenants, tenant, { model, at: now })
  }
}

/** The arrivals that an hour of the week had, and the hours that could have had some, each weighing less the older it is. */
const past = (
  { hours, since }: Habit,
  hour: number,
  current: number
): { readonly arrivals: number; readonly of: number } => {
  // the last time it was this hour of the week before the current hour
  const latest = hour - hoursOfWeek * Math.ceil((hour - current + 1) / hoursOfWeek)
  if (latest < since) return { arrivals: 0, of: 0 }
  const times = Math.floor((latest - since) / hoursOfWeek) + 1
  return {
    arrivals: (hours[hour % hoursOfWeek] ?? 0) * 2 ** ((since - current) / halfLife),
    of: (2 ** ((latest - current) / halfLife) * (1 - weekly ** times)) / (1 - weekly)
  }
}

/** Arrivals to be expected in an hour, the current one or a later one. */
const perHour = (habit: Habit, hour: number, now: number): number => {
  const current = hourOf(now)
  const counted = closed(habit, current)
  const open = hour === current ? { arrivals: counted.count, of: now / hourMillis - current } : { arrivals: 0, of: 0 }
  let [daily, days] = [open.arrivals, open.of]
  for (let day = 0; day < 7; day++) {
    const { arrivals, of } = past(counted, hour + 24 * day, current)
    daily += arrivals
    days += of
  }
  const same = past(counted, hour, current)
  const usual = daily / (days + 1)
  return (same.arrivals + open.arrivals + usual) / (same.of + open.of + 1)
}

/** Arrivals to be expected from now on for so long. */
const expected = (habit: Habit, now: number, millis: number): number => {
  let arrivals = 0
  for (let from = now; from < now + millis; ) {
    const to = Math.min(now + millis, (hourOf(from) + 1) * hourMillis)
    arrivals += (perHour(habit, hourOf(from), now) * (to - from)) / hourMillis
    from = to
  }
  return arrivals
}

/** How many of these gaps ended before so many milliseconds, evenly spread within each bin. */
const endedBy = (gaps: ReadonlyArray<number>, millis: number): number => {
  let ended = 0
  for (const [bin, count] of gaps.entries()) {
    const from = bin === 0 ? 0 : 2 ** (bin - 1) * 1000
    const to = 2 ** bin * 1000
    if (millis <= from) break
    ended += count * Math.min(1, (millis - from) / (to - from))
  }
  return ended
}

/** A model, and how likely it is asked for within a time from now on. */
export interface Prediction {
  readonly model: ModelId
  readonly probability: number
}

/**
 * How likely each model is asked for within the time that is given of it, in no particular order. Tenants are taken to be independent
 * of each other and of the time of day.
 */
export const predict = (
  { habits, tenants }: Forecast,
  now: number,
  withinMillis: (model: ModelId) => number
): ReadonlyArray<Prediction> => {
  const unasked = new Map<ModelId, number>()
  for (const [model, habit] of Recent.entries(habits))
    unasked.set(model, Math.exp(-expected(habit, now, withinMillis(model))))
  for (const [, { at, model }] of Recent.entries(tenants)) {
    const habit = now - at < longestGapMillis ? Recent.get(habits, model) : undefined
    if (habit === undefined) continue
    const since = now - at
    let over = 0
    for (const gaps of habit.followers.values()) over += endedBy(gaps, since)
    for (const [follower, gaps] of habit.followers) {
      const still = unasked.get(follower)
      if (still === undefined) continue
      const within = endedBy(gaps, since + withinMillis(follower)) - endedBy(gaps, since)
      unasked.set(follower, still * (1 - within / (Math.max(within, habit.arrivals - over) + doubt)))
    }
  }
  return Array.from(unasked, ([model, probability]) => ({ model, probability: 1 - probability }))
}

/** When time alone may change much of what is expected: at once while something may follow what was asked for, else with the hour. */
export const nextChange = ({ tenants }: Forecast, now: number): number => {
  for (const [, { at }] of Recent.entries(tenants)) if (now - at < longestGapMillis) return now
  return (hourOf(now) + 1) * hourMillis
}

const Counts = (length: number) => Schema.Array(Schema.NonNegative).pipe(Schema.itemsCount(length))

const Stored = Schema.parseJson(
  Schema.Struct({
    habits: Schema.Array(
      Schema.Tuple(
        ModelId,
        Schema.Struct({
          since: Schema.Int,
          last: Schema.Number,
          hour: Schema.Int,
          count: Schema.NonNegative,
          hours: Counts(hoursOfWeek),
          arrivals: Schema.NonNegative,
          followers: Schema.ReadonlyMap({ key: ModelId, value: Counts(gapBins) })
        })
      )
    ),
    tenants: Schema.Array(Schema.Tuple(Schema.String, Schema.Struct({ model: ModelId, at: Schema.Number })))
  })
)

/** As text, to be kept for another process. */
export const encode = ({ habits, tenants }: Forecast): string =>
  Schema.encodeSync(Stored)({ habits: [...Recent.entries(habits)], tenants: [...Recent.entries(tenants)] })

/** From such a text; undefined where it is none. */
export const decode = (text: string): Forecast | undefined =>
  Option.match(Schema.decodeOption(Stored)(text), {
    onNone: () => undefined,
    onSome: (stored) => ({
      habits: Recent.from(mostModels, stored.habits),
      tenants: Recent.from(mostTenants, stored.tenants)
    })
  })
