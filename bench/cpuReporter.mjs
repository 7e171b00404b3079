/** Preloaded into every server that is measured: tells the bench what CPU time and memory the process uses, and ends with the bench. */
process.on("message", (message) => {
  if (message === "resident") process.send({ rssBytes: process.memoryUsage.rss() })
  if (message === "heap") {
    globalThis.gc()
    const { external, heapUsed } = process.memoryUsage()
    process.send({ heapBytes: heapUsed + external })
  }
  if (message !== "cpu") return
  const { user, system } = process.cpuUsage()
  process.send({ cpuMicros: user + system })
})
process.once("disconnect", () => process.kill(process.pid, "SIGTERM"))
// a server that has come to its end is not kept alive for being measured
process.channel.unref()
