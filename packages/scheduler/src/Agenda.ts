/** What is to happen when, in a time that is a number. */
interface Scheduled<Happening> {
  readonly at: number
  readonly order: number
  readonly happening: Happening
}

/** A binary heap: the earliest first, and at one instant those of the lower order. */
export class Agenda<Happening> {
  private readonly heap: Array<Scheduled<Happening>> = []

  private before(a: Scheduled<Happening>, b: Scheduled<Happening>): boolean {
    return a.at < b.at || (a.at === b.at && a.order < b.order)
  }

  add(entry: Scheduled<Happening>): void {
    let index = this.heap.push(entry) - 1
    while (index > 0) {
      const above = (index - 1) >> 1
      const parent = this.heap[above]
      if (parent === undefined || !this.before(entry, parent)) break
      this.heap[index] = parent
      index = above
    }
    this.heap[index] = entry
  }

  next(): Scheduled<Happening> | undefined {
    const first = this.heap[0]
    const last = this.heap.pop()
    if (first === undefined || last === undefined || this.heap.length === 0) return first
    let index = 0
    for (;;) {
      let below = 2 * index + 1
      let child = this.heap[below]
      const other = this.heap[below + 1]
      if (child !== undefined && other !== undefined && this.before(other, child)) {
        below += 1
        child = other
      }
      if (child === undefined || !this.before(child, last)) break
      this.heap[index] = child
      index = below
    }
    this.heap[index] = last
    return first
  }
}
