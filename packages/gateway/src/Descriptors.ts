/** What a server's process has open, as Linux tells it: see proc(5), proc_pid_fd(5) and proc_pid_net(5). */
import * as fs from "node:fs"

/** One that its client has closed is in another state, and counts for as long as the process keeps it. */
const established = "01"

/** Of each line the fields are number, local address, remote address, state, five others, and the inode. */
const isOpenConnection = (port: number) => {
  const local = `:${port.toString(16).toUpperCase().padStart(4, "0")}`
  return ([, address, , state]: ReadonlyArray<string>) => state === established && address?.endsWith(local) === true
}

/**
 * Descriptors of the process, but for connections to its `port` that clients have open: those come and go with what they ask.
 */
export const descriptorsBut = (pid: number, port: number): number => {
  const connections = ["tcp", "tcp6"]
    .map((table) => `/proc/${pid}/net/${table}`)
    // one of them is not there without IPv6
    .filter((table) => fs.existsSync(table))
    .flatMap((table) => fs.readFileSync(table, "utf8").split("\n"))
    .map((line) => line.trim().split(/\s+/))
    .filter(isOpenConnection(port))
    .map(([, , , , , , , , , inode]) => `socket:[${inode}]`)
  const held = new Set(connections)
  return fs.readdirSync(`/proc/${pid}/fd`).filter((descriptor) => {
    try {
      return !held.has(fs.readlinkSync(`/proc/${pid}/fd/${descriptor}`))
    } catch {
      // it was closed meanwhile
      return false
    }
  }).length
}
