/** How far a download is, how fast it goes, and when it will end. Pure: the clock's readings are given. */

/** Seconds that the rate looks back: long enough not to jump, short enough to follow a connection that slows down. */
const window = 5

export interface PullProgress {
  readonly total: number
  readonly done: number
  /** `[milliseconds, bytes done then]`, oldest first, of the last seconds. */
  readonly seen: ReadonlyArray<readonly [at: number, done: number]>
}

/** `done`: bytes that an earlier run had fetched; they do not count as speed. */
export const begin = (total: number, done: number, now: number): PullProgress => ({ total, done, seen: [[now, done]] })

export const advance = (progress: PullProgress, done: number, now: number): PullProgress => {
  const from = now - window * 1000
  // the last reading from before the window is where it begins
  const first = Math.max(
    0,
    progress.seen.findLastIndex(([at]) => at <= from)
  )
  return { ...progress, done, seen: [...progress.seen.slice(first), [now, done]] }
}

/** Bytes a second over the last seconds; 0 while there is nothing to tell from. */
export const rate = ({ seen }: PullProgress): number => {
  const [first, last] = [seen[0], seen.at(-1)]
  if (first === undefined || last === undefined || last[0] <= first[0]) return 0
  return Math.max(0, ((last[1] - first[1]) / (last[0] - first[0])) * 1000)
}

const units = ["B", "KiB", "MiB", "GiB", "TiB"]

/** `1536` is `1.5 KiB`. */
export const bytes = (amount: number): string => {
  const power = amount < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(amount) / 10))
  const value = amount / 1024 ** power
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[power]}`
}

/** `3725` seconds are `1:02:05`. */
export const clock = (seconds: number): string => {
  const whole = Math.ceil(seconds)
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60]
  const two = (value: number) => String(value).padStart(2, "0")
  return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`
}

const barWidth = 24

/** A line for a terminal: a bar, the share, the bytes, the rate and the time that is left. */
export const line = (progress: PullProgress): string => {
  const share = progress.total === 0 ? 1 : progress.done / progress.total
  const filled = Math.floor(share * barWidth)
  const speed = rate(progress)
  const left = speed > 0 ? `  ${clock((progress.total - progress.done) / speed)} left` : ""
  return (
    `[${"#".repeat(filled)}${"-".repeat(barWidth - filled)}] ${String(Math.floor(share * 100)).padStart(3)} %  ` +
    `${bytes(progress.done)} of ${bytes(progress.total)}  ${bytes(speed)}/s${left}`
  )
}
