/**
 * The fewest loads that any policy needs for requests that come one after the other, if it knows all that will come: who leaves is
 * the one that is asked for again last (Belady 1966). For models of one size, `room` of which fit.
 */
export const fewestLoads = (requests: ReadonlyArray<string>, room: number): number => {
  const nextUse = new Array<number>(requests.length).fill(Number.POSITIVE_INFINITY)
  const seen = new Map<string, number>()
  for (let at = requests.length - 1; at >= 0; at--) {
    const model = requests[at] ?? ""
    nextUse[at] = seen.get(model) ?? Number.POSITIVE_INFINITY
    seen.set(model, at)
  }
  /** Who is loaded, and when it is asked for next. */
  const loaded = new Map<string, number>()
  let loads = 0
  requests.forEach((model, at) => {
    if (!loaded.has(model)) {
      loads += 1
      if (loaded.size >= room) {
        const [last] = [...loaded].reduce((a, b) => (b[1] > a[1] ? b : a))
        loaded.delete(last)
      }
    }
    loaded.set(model, nextUse[at] ?? Number.POSITIVE_INFINITY)
  })
  return loads
}
