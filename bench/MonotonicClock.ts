/** A clock that all processes of the machine have in common, in microseconds. */
export const nowMicros = (): number => Number(process.hrtime.bigint() / 1_000n)
