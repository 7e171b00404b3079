/** A hub of models with the API of Hugging Face's, over a folder: what `helixflow pull` is tried against. */
import { createHash } from "node:crypto"
import { readdirSync, readFileSync, statSync } from "node:fs"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import { listening } from "./listening.ts"

export interface HubRequest {
  readonly path: string
  readonly range: string | undefined
  readonly authorization: string | undefined
}

export interface HubFaults {
  /** Answers to graphs that stop after so many bytes, one after the other; when they are used up, answers are whole. */
  readonly cutAfter?: Array<number>
  /** Who does not show this token is refused. */
  readonly token?: string
  /** Files whose content is not what was announced. */
  readonly corrupt?: ReadonlyArray<string>
  /** Large files are redirected to this server. */
  readonly redirectTo?: string
  /** Ranges are not understood. */
  readonly withoutRanges?: boolean
  /** Announced in place of the files' own sizes. */
  readonly announcedSize?: number
}

export interface Hub {
  readonly url: string
  readonly requests: ReadonlyArray<HubRequest>
  /** Cuts the connection of an answer that has stopped, now that so many bytes of the graph have come. */
  readonly received: (bytes: number) => void
  /** From here on. */
  readonly faults: (faults: HubFaults) => void
}

export const commit = "0123456789abcdef0123456789abcdef01234567"

/** Files of this size and more are kept as a real hub keeps its large ones: announced by their SHA-256, served elsewhere. */
const large = 10_000

const filesBelow = (folder: string): ReadonlyArray<string> =>
  readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) => statSync(join(folder, file)).isFile())

const describeFile = (folder: string, file: string, announced: number | undefined) => {
  const content = readFileSync(join(folder, file))
  const size = announced ?? content.length
  return content.length < large
    ? {
        rfilename: file,
        size,
        blobId: createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex")
      }
    : { rfilename: file, size, lfs: { sha256: createHash("sha256").update(content).digest("hex"), size } }
}

/** Serves the folder as the repository `org/model`, whose branch `main` stands for {@link commit}. */
export const hubServer = (folder: string): Effect.Effect<Hub, never, Scope.Scope> =>
  Effect.gen(function* () {
    const requests: Array<HubRequest> = []
    let faults: HubFaults = {}
    let stopped: { readonly at: number; readonly response: ServerResponse } | undefined
    const answer = ({ headers, url = "" }: IncomingMessage, response: ServerResponse): ServerResponse => {
      const path = decodeURIComponent(url)
      const { authorization, range } = headers
      requests.push({ path, range, authorization })
      const end = (status: number) => response.writeHead(status).end()
      if (faults.token !== undefined && authorization !== `Bearer ${faults.token}`) return end(401)
      if (path === `/api/models/org/model/revision/main?blobs=true`) {
        const siblings = filesBelow(folder).map((file) => describeFile(folder, file, faults.announcedSize))
        response.writeHead(200, { "content-type": "application/json" })
        return response.end(JSON.stringify({ id: "org/model", sha: commit, siblings }))
      }
      const file = path.startsWith(`/org/model/resolve/${commit}/`) ? path.split("/").slice(5).join("/") : ""
      if (!filesBelow(folder).includes(file)) return end(404)
      const content = Buffer.from(readFileSync(join(folder, file)))
      if (faults.corrupt?.includes(file)) content.fill(0, 0, 16)
      if (faults.redirectTo !== undefined && content.length >= large) {
        return response.writeHead(302, { location: `${faults.redirectTo}${url}` }).end()
      }
      const from = faults.withoutRanges ? 0 : Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0)
      const rest = content.subarray(from)
      const cut = file.endsWith(".onnx") ? faults.cutAfter?.shift() : undefined
      response.writeHead(from > 0 ? 206 : 200, {
        "content-length": rest.length,
        ...(from > 0 ? { "content-range": `bytes ${from}-${content.length - 1}/${content.length}` } : {})
      })
      if (cut === undefined) return response.end(rest)
      response.write(rest.subarray(0, cut))
      stopped = { at: from + cut, response }
      return response
    }
    const server = createServer(answer)
    const url = yield* listening(server)
    return {
      url,
      requests,
      received: (bytes) => {
        if (stopped?.at === bytes) stopped.response.destroy()
      },
      faults: (next) => {
        faults = next
      }
    }
  })
