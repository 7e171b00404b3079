/**
 * How much was used in the last minute: an amount counts for 60 seconds, and for up to one more, since amounts are kept by the second.
 * So no 60 seconds ever see more than what was let in, wherever they begin. Reads no clock: times are arguments, in milliseconds.
 */

const slotMillis = 1_000
/** A minute, and the second that is not over yet. */
const slots = 61

export class RateWindow {
  readonly #amounts = new Float64Array(slots)
  #second = 0
  #used = 0

  /** Forgets what is older than a minute. A clock that was set back stands still until it has caught up. */
  #advance(now: number): void {
    const second = Math.max(this.#second, Math.floor(now / slotMillis))
    const passed = Math.min(slots, second - this.#second)
    for (let i = 1; i <= passed; i++) {
      const slot = (this.#second + i) % slots
      this.#used -= this.#amounts[slot] ?? 0
      this.#amounts[slot] = 0
    }
    this.#second = second
  }

  /** Of the last minute. */
  used(now: number): number {
    this.#advance(now)
    return this.#used
  }

  add(amount: number, now: number): void {
    this.#advance(now)
    this.#amounts[this.#second % slots] = (this.#amounts[this.#second % slots] ?? 0) + amount
    this.#used += amount
  }

  /** Milliseconds until at most `level` of what is used now still counts. */
  until(level: number, now: number): number {
    this.#advance(now)
    let used = this.#used
    for (let age = slots - 1; age >= 0 && used > level; age--) {
      const second = this.#second - age
      used -= this.#amounts[((second % slots) + slots) % slots] ?? 0
      if (used <= level) return (second + slots) * slotMillis - now
    }
    return 0
  }
}
