/**
 * What the model knows of HelixFlow: a question in many phrasings and one answer each. A test holds ports, commands and
 * variables to what the program does.
 */
import { expand } from "./Draw.ts"

export interface Fact {
  readonly phrases: ReadonlyArray<string>
  readonly answer: string
  /** The answer in one word, where there is one. */
  readonly word?: string
}

const it = "(HelixFlow|it|the server|this)"

export const helixflowFacts: ReadonlyArray<Fact> = [
  {
    phrases: expand(
      "(What is|What's|whats|Explain|Describe) HelixFlow?",
      "(Can you|Could you|) (tell me about|explain|describe) HelixFlow.",
      "What (does HelixFlow do|is this project|is this server|is HelixFlow for)?",
      "What kind of (software|program|project|server) is (HelixFlow|this)?",
      "(So what is|And what is|What exactly is|Do you know|Tell me about|What about) HelixFlow?",
      "(What is|What's) (HelixFlow|this project|it) (about|for|good for|used for)?",
      "(helixflow|about helixflow|explain helixflow)(|?)"
    ),
    answer: "HelixFlow serves AI models from your own GPUs or CPUs behind an OpenAI-compatible API."
  },
  {
    phrases: expand(
      `How (do I|can I|do you|should I|to) (start|run|launch) ${it}?`,
      `(What|Which) command (starts|runs|launches) ${it}?`,
      `(Tell me|Show me|Explain) how to (start|run|launch) ${it}.`,
      `How (do I|can I) get ${it} (running|started|up)?`,
      `(start|run|launch|starting|running) ${it}(|?)`,
      "(How do I begin|How do I get started|Where do I start|How to get started|What do I type to start it|What is the start command)?",
      "(What is|What's|Give me|Tell me) the command (to start|to run|that starts|that runs) (HelixFlow|it|the server)?"
    ),
    answer: "Run `npm start`. It installs what is missing, builds and serves.",
    word: "npm start"
  },
  {
    phrases: expand(
      `How (do I|can I|to) install (HelixFlow|it|this)?`,
      "(Tell me|Show me|Explain) how to install (HelixFlow|it).",
      "(What are|Give me) the (install|installation|setup) (steps|instructions)?",
      "How (do I|can I) (set up|get) (HelixFlow|it)?",
      "Do I (have|need) to install (anything|something) first?",
      "(How is (HelixFlow|it)|Can you tell me how (HelixFlow|it) is) installed?",
      "(install|installing|installation of|setting up|set up) (HelixFlow|it)(|?)",
      "(What do I need|What is needed|What must I do) to install (HelixFlow|it)?"
    ),
    answer: "Clone the repository and run `npm start`. It needs Node 20 or newer and installs the rest by itself."
  },
  {
    phrases: expand(
      `How (do I|can I|do you|to) (test|run the tests of) (HelixFlow|it|this|the project)?`,
      "How (do I|can I) run the (tests|test suite)?",
      "(What|Which) command runs the (tests|test suite)?",
      "(Tell me|Show me|Explain) how to (test it|run the tests).",
      "(run the tests|run tests|test the project|the tests|test command)(|?)",
      "(What is|What's|Give me) the (test command|command for the tests|command to run the tests)?"
    ),
    answer: "Run `npm test`. It installs what is missing and runs every test.",
    word: "npm test"
  },
  {
    phrases: expand(
      `(What|Which) port does ${it} (use|listen on|run on|serve on)?`,
      "(What is|What's|Tell me) the (HTTP |default |server |)port?",
      `On (what|which) port (does ${it} (run|listen)|can I reach it)?`,
      "(What|Which) (port is|is the port) (used|the default)?",
      "(What|Which) port (is|for) HTTP?",
      "(port|the port|http port|default port|what port|which port)(|?)",
      "(On which|At what|At which|Under which) port (is it|is the server|do I find it|is HelixFlow)?"
    ),
    answer: "HTTP listens on port 8080 and HTTPS on port 8443.",
    word: "8080"
  },
  {
    phrases: expand(
      "(What|Which) (is the HTTPS port|port is HTTPS|port is for HTTPS|port does HTTPS use)?",
      "(What|Which) port (does TLS use|is for TLS|is secure|is encrypted)?",
      "(Does it|Does HelixFlow|Can it) (support|speak|use|offer) (HTTPS|TLS)?",
      "(Is there|Do you have) (HTTPS|TLS)?",
      "(https port|https|tls|the https port|tls port)(|?)",
      "(Is it|Is the traffic|Are connections) (encrypted|secure|secured)?",
      "(How do I|Can I|How can I) (use|reach it over|connect over|call it over) (HTTPS|TLS)?"
    ),
    answer: "HTTPS listens on port 8443 with TLS 1.3.",
    word: "8443"
  },
  {
    phrases: expand(
      `(How do I|How can I|Can I) change the (HTTP |)port?`,
      "(Which|What) (variable|setting|environment variable) (sets|changes) the port?",
      "(I want|I need) (another|a different) port.",
      "(change|set|choose|configure) the port(|?)",
      "(How do I|Can I|How can I) (use|set|choose|configure|run it on) (another port|a different port|the port|the HTTP port)?",
      "(Port 8080|The port) is (taken|in use|busy)(.|. What now?|, what do I do?)"
    ),
    answer: "Set HELIX_HTTP_PORT for HTTP or HELIX_HTTPS_PORT for HTTPS; 0 turns it off."
  },
  {
    phrases: expand(
      "(What is|What's|Tell me|Give me) the (base URL|base url|API URL|endpoint|API address)?",
      "(Which|What) (base URL|URL|address) (do I use|should I use|do I call|should the client use)?",
      "Where (is the API|can I reach the API|do I send requests)?",
      "How (do I|can I) (call|reach|use) the (API|server)?",
      "(base url|api url|the base url|api address|the endpoint|url of the api)(|?)",
      "(Where|To which URL|To what address) (do I|should I|can I) send (requests|a request|my requests|my prompt)?",
      "(Which|What) (base URL|URL|address) (does the client need|do I set|do I enter|is it)?"
    ),
    answer: "Point your OpenAI client at http://127.0.0.1:8080/v1 and send your API key.",
    word: "http://127.0.0.1:8080/v1"
  },
  {
    phrases: expand(
      `(Where does ${it} (store|keep|save|put)) (its data|data|files|the database)?`,
      "(What is|Which is|Where is) the data (folder|directory)?",
      "Where (is|are) (my data|the database|the data) (stored|kept|saved)?",
      "(Which|What) (folder|directory) (holds|has) the data?",
      "(data folder|data directory|where is my data|the data directory)(|?)",
      "(How do I|Can I|How can I) (change|move|choose|set) the (data folder|data directory)?"
    ),
    answer: "Data lives in the folder `.helix`; HELIX_DATA_DIR changes it.",
    word: ".helix"
  },
  {
    phrases: expand(
      "(How do I|How can I|Where do I) (get|find|make|create) (an API key|the API key|a key|my key|the first key)?",
      "(What is|Where is|Tell me) the (first key|bootstrap key|admin key|API key)?",
      "(Do I need|Is there) (an API key|a key)?",
      "(Which|What) variable sets the (key|API key|first key)?",
      "(Where|How) (is|was) the (first key|bootstrap key|admin key|API key) (printed|made|shown|given)?",
      "(api key|my api key|the first key|I have no key|I need an API key|bootstrap key)(|?|.)"
    ),
    answer: "The first key is printed once at the first start. Set HELIX_BOOTSTRAP_KEY to choose it yourself.",
    word: "HELIX_BOOTSTRAP_KEY"
  },
  {
    phrases: expand(
      "(How do I|How can I) (create|make|add|issue) (more|new|another|other) (API |)(keys|key)?",
      "(How do I|How can I) give (someone|a friend|a user|my team) (a|an API) key?",
      "(Can I|May I|How to) (create|make|add|issue) (more keys|another key|a new key|new API keys|other keys|a second key)?",
      "(create|make|add|new) (another|one more|a second) (API |)key(|?)"
    ),
    answer: "Send POST /admin/v1/keys with a name. The new key is shown once."
  },
  {
    phrases: expand(
      "(How do I|How can I) (revoke|delete|remove|disable) (a|an API|my) key?",
      "(A key|My key) (has leaked|was stolen|leaked). What (now|do I do)?",
      "(revoke|delete|remove|disable) (a|my|an API|that) key(|?)",
      "(Can I|How to|May I) (revoke|delete|remove|disable|block) (a key|an API key|keys|an old key)?"
    ),
    answer: "Send DELETE /admin/v1/keys/{id}. The key stops working at once."
  },
  {
    phrases: expand(
      "(How do I|How can I|Can I) (add|use|load|install|serve|run) (my own|another|a|more|other) (model|models)?",
      "Where do (models|the models|I put models|my models) (go|live)?",
      "(Where is|What is|Which is) the models (folder|directory)?",
      "(Which|What) variable sets the models (folder|directory)?",
      "(How do I|How can I|Can I) (serve|bring|try|deploy|host) (my model|my own model|another model|a Hugging Face model|other models)?",
      "(models folder|models directory|add a model|another model|my own model|own models)(|?)"
    ),
    answer: "Set HELIX_MODELS_DIR to a folder with models in the Hugging Face ONNX layout.",
    word: "HELIX_MODELS_DIR"
  },
  {
    phrases: expand(
      "(Which|What) (models|model) (are|is) (there|bundled|included|available|installed)?",
      "(Which|What) models (do you|does it|does HelixFlow) (have|come with|include)?",
      "(List|Show|Show me|Name) the (bundled |)models.",
      "(models|available models|bundled models|list models|the models)(|?)",
      "(Which|What) models (can I use|can I choose|may I use|do I get|ship with it)?"
    ),
    answer: "Two models come with HelixFlow: helix-demo for chat and helix-demo-embed for embeddings."
  },
  {
    phrases: expand(
      "(Which|What) (is the default model|model is the default|model does it use by default|model answers by default)?",
      "(How do I|How can I) (change|set) the default model?",
      "(default model|the default model|change the default model|set the default model)(|?)",
      "(Which|What) model (answers|is used|do I get|runs) (by default|when I name none|if I say nothing)?"
    ),
    answer: "helix-demo is the default; HELIX_DEFAULT_MODEL changes it.",
    word: "helix-demo"
  },
  {
    phrases: expand(
      "(Does it|Does HelixFlow|Do you|Can I) (support|have|offer|speak|use) (a WebSocket|WebSocket|WebSockets|web sockets)?",
      "(Where is|What is|Tell me) the WebSocket (URL|path|address|endpoint)?",
      "(How do I|How can I) (connect|stream) (by|over|with|via) (a |)WebSocket?",
      "(Is there|Are there|Do you have|Have you got|Does it have) (a WebSocket|WebSockets|web sockets|a web socket|a WebSocket API)?",
      "(websocket|websockets|web sockets|the websocket|websocket url)(|?)"
    ),
    answer: "Yes, the WebSocket is at /v1/ws.",
    word: "/v1/ws"
  },
  {
    phrases: expand(
      "(Does it|Does HelixFlow|Will it) (work|run) with (the |)(openai|OpenAI) (client|library|SDK|package)?",
      "(Can I|May I|How do I) use (the |)(openai|OpenAI) (client|library|SDK|package)?",
      "Is (it|HelixFlow|the API) (OpenAI compatible|OpenAI-compatible|compatible with OpenAI)?",
      "(Will|Does|Can) the (openai|OpenAI) (client|library|SDK|package) work( with it| here| with HelixFlow|)?",
      "(Can|Could) (HelixFlow|it) (work|run|be used|be called) with the (openai|OpenAI) (client|library|SDK|package)?",
      "(openai client|openai library|openai sdk|use the openai package)(|?)"
    ),
    answer: "Yes. Set the base URL of the openai client to http://127.0.0.1:8080/v1.",
    word: "Yes"
  },
  {
    phrases: expand(
      "(Do I need|Does it need|Do you need|Does HelixFlow need|Is there need for) a (GPU|graphics card)?",
      "(Does it|Can it|Does HelixFlow|Can HelixFlow) (run|work) (on a CPU|without a GPU|on my laptop|without GPUs)?",
      "Is a (GPU|graphics card) (needed|required|necessary)?",
      "(gpu needed|without a gpu|cpu only|I have no GPU|no gpu)(|?|.)",
      "(Must I|Should I|Do I have to) (have|own|buy) a (GPU|graphics card)?"
    ),
    answer: "No GPU is needed: HelixFlow also runs on CPUs.",
    word: "No"
  },
  {
    phrases: expand(
      "(What|Which) (programming |)language is (it|HelixFlow|this) (written|made) in?",
      "(What|Which) (programming |)language (is used|do you use) (here|for HelixFlow)?",
      "(How|With what) (is|was) (HelixFlow|it) (written|built|made)?",
      "(What|Which) (framework|library|stack|tech stack) (does it|does HelixFlow|do you) use?",
      "(Is it|Is HelixFlow|Was it) (written|made|built) in (TypeScript|Python|Rust|Go)?",
      "(programming language|tech stack|the framework|the programming language)(|?)"
    ),
    answer: "HelixFlow is written in TypeScript on Effect.",
    word: "TypeScript"
  },
  {
    phrases: expand(
      "(How do I|How can I|How to) (check|know|see) (that|if|whether) (it|the server|HelixFlow) (is|runs) (alive|healthy|up|running)?",
      "(Where is|What is|Is there) (the|a) (health check|health endpoint|liveness probe|health URL)?",
      "(Is|How do I know if|How do I see if) (the server|it|HelixFlow|the process) (is alive|is healthy|is up|alive|healthy)?",
      "(health check|healthz|health endpoint|liveness|the health check)(|?)"
    ),
    answer: "GET /healthz says whether the process is alive.",
    word: "/healthz"
  },
  {
    phrases: expand(
      "(How do I|How can I|How to) (check|know|see) (that|if|whether) (it|the server|HelixFlow|the model) is ready?",
      "(Where is|What is|Is there) (the|a) (readiness probe|readiness check|readiness endpoint)?",
      "When is (it|the server|the model) ready?",
      "(How do I|How can I) (know|see|check) (when|that) (it|the server|the model|everything) is ready?",
      "(readiness|readyz|readiness check|is it ready|the readiness check)(|?)"
    ),
    answer: "GET /readyz says whether the default model answers.",
    word: "/readyz"
  },
  {
    phrases: expand(
      "(Where are|Are there|Does it have|Do you have|How do I get|How do I see) (the |)(metrics|Prometheus metrics|statistics)?",
      "(Where is|What is) the (metrics|Prometheus) (endpoint|URL|path)?",
      "(How do I|How can I) (monitor|watch|measure) (it|HelixFlow|the server)?",
      "(metrics|prometheus|prometheus metrics|monitoring|the metrics)(|?)",
      "(How do I|How can I|Can I) (read|scrape|collect) (metrics|the metrics|Prometheus metrics)?"
    ),
    answer: "Prometheus metrics are at /metrics.",
    word: "/metrics"
  },
  {
    phrases: expand(
      "(Can it|Does it|Can HelixFlow|Does HelixFlow|Can I) (stream|support streaming|stream tokens|stream answers)?",
      "(How do I|How can I) (stream|get a stream|turn on streaming|stream an answer)?",
      "(streaming|stream|token streaming|stream tokens|streamed answers)(|?)",
      "(Are|Can) (answers|tokens|replies) (streamed|be streamed)?"
    ),
    answer: 'Yes. Send "stream": true and read the server-sent events.',
    word: "Yes"
  },
  {
    phrases: expand(
      "(Can it|Does it|Can HelixFlow|Does HelixFlow) (make|do|support|compute) (embeddings|vectors)?",
      "(How do I|How can I) (get|make|compute) (an |)(embedding|embeddings|vectors)?",
      "(Which|What) model (makes|is for|does) embeddings?",
      "(embeddings|embedding model|embed text|an embedding|vectors)(|?)",
      "(How do I|How can I|Can I) (embed|vectorize) (text|a text|sentences|a sentence)?"
    ),
    answer: "Yes. Post your text to /v1/embeddings with the model helix-demo-embed.",
    word: "helix-demo-embed"
  },
  {
    phrases: expand(
      "What (happens|does it do) (if|when) (a|the) (GPU|worker|node|process) (dies|fails|crashes|breaks)?",
      "(Is it|Is HelixFlow) (fault tolerant|fault-tolerant|reliable|robust)?",
      "(Does a stream|Do streams|Will my stream) survive (a crash|a failure|crashes|failures)?",
      "(And if|What if) (a|the|my) (GPU|worker|node|process) (dies|fails|crashes|breaks)?",
      "(What happens|What does it do) (when something fails|if something breaks|on a crash|after a crash|when it crashes)?"
    ),
    answer: "Supervisors restart what fails, and a stream that has begun goes on in another place."
  },
  {
    phrases: expand(
      "(How does|How do) (the scheduler|scheduling|placement) work?",
      "(How are|Where are) requests placed?",
      "(What does|Explain) the scheduler (do|)?",
      "(scheduling|the scheduler|how scheduling works|how requests are placed)(|?)",
      "(How does|How can) (HelixFlow|it) (place|schedule|distribute|spread) (requests|a request|work)?",
      "(Which|What) (device|GPU) (runs|gets|takes) (my|a|the) request?"
    ),
    answer: "The scheduler places every request on the device where its memory fits best."
  },
  {
    phrases: expand(
      "(Can it|Does it|Can I|Does HelixFlow) (use|support|work with|store data in) (PostgreSQL|Postgres)?",
      "(Which|What) database does (it|HelixFlow) use?",
      "(How do I|How can I) (use|connect) (PostgreSQL|Postgres|another database)?",
      "(database|the database|postgres|postgresql|sqlite|use postgres)(|?)",
      "(Is there|Does it need|Do I need) a database?"
    ),
    answer: "SQLite by default, or PostgreSQL with HELIX_DATABASE_URL.",
    word: "SQLite"
  },
  {
    phrases: expand(
      "(Can I|How do I|How can I) (declare|limit|restrict|choose|set) (the |)(devices|GPUs|device memory)?",
      "(Which|What) variable sets the (devices|GPUs)?",
      "(How does it|Does it) (find|detect) (my |the |)(GPUs|devices)?",
      "(devices|declare devices|choose a gpu|set the devices|limit the gpu)(|?)",
      "(Can I|How do I|How can I) (use only one GPU|use two GPUs|use one GPU|give it less memory|use a CPU)?",
      "(Which|What) (GPUs|devices) (does it use|are used|will it use|can it use)?"
    ),
    answer: "Devices are detected; HELIX_DEVICES declares them, e.g. cpu:0=4GiB or cuda:0.",
    word: "HELIX_DEVICES"
  },
  {
    phrases: expand(
      "(Which|What) (version of |)(Node|Node.js|node) (version |)(do I need|does it need|is needed|is required)?",
      "(Does it|Will it) (run|work) on Node (18|20|22)?",
      "(node version|nodejs version|which node|the node version|what version of node)(|?)",
      "(Do I need|Does it need|Is) (Node|Node.js|node) (20|22|needed|required)?"
    ),
    answer: "HelixFlow needs Node 20 or newer.",
    word: "20"
  }
]
