/**
 * A server of OpenAI's API as somebody else writes it: what a supervised program is tried with. `node TinyServer.mjs <port> [<devices>]`
 * answers with its devices, if it is given some.
 */
import { createServer } from "node:http"

const [port, devices] = process.argv.slice(2)

const read = async (request) => {
  let text = ""
  for await (const chunk of request) text += String(chunk)
  return JSON.parse(text)
}

const answers = {
  "/health": (_, response) => response.end("ready"),
  "/v1/chat/completions": async (request, response) => {
    const { messages, model, stream } = await read(request)
    const where = devices === undefined ? "" : ` on ${devices}`
    const content = `${process.pid} heard ${messages[0].content}${where}`
    if (messages[0].content === "die") process.exit(3)
    if (stream === true) {
      response.writeHead(200, { "content-type": "text/event-stream" })
      for (const word of content.split(" ")) {
        response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: `${word} ` } }] })}\n\n`)
      }
      return response.end("data: [DONE]\n\n")
    }
    response.writeHead(200, { "content-type": "application/json" })
    response.end(JSON.stringify({ model, choices: [{ index: 0, message: { role: "assistant", content } }] }))
  }
}

createServer((request, response) => {
  const answer = answers[request.url]
  if (answer === undefined) response.writeHead(404).end()
  else answer(request, response)
}).listen(Number(port), "127.0.0.1")
