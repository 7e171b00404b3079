/** Which device `brokenDeviceWorker.ts` finds broken: it is so as long as the file is there. */
import * as fs from "node:fs"

export const brokenIndex = 0

/** Workers get this from the server's environment. */
const variable = "BROKEN_DEVICE_FILE"

export const breakDevice = (file: string): void => {
  process.env[variable] = file
  fs.writeFileSync(file, "")
}

export const mendDevice = (file: string): void => fs.rmSync(file)

export const isBroken = (index: number): boolean => index === brokenIndex && fs.existsSync(process.env[variable] ?? "")
