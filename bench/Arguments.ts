/** What a measuring program was told. */
import { parseArgs } from "node:util"

export const { profile, rows } = parseArgs({
  // what is compared has its own, by place
  allowPositionals: true,
  options: {
    /** A folder for a CPU profile of every server that is measured. */
    profile: { type: "string" },
    /** A file to which each table is added as a line of JSON. */
    rows: { type: "string" }
  }
}).values
