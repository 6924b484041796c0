// Reads streams of a kayrx server by the clients of the published protocols; says as JSON what they have understood.
// Usage: node read.mjs '[{"client": "ai" | "ai7" | "ag-ui", "url": "...", "text": "..."}]'
import { HttpAgent } from "@ag-ui/client";
import { EventSchemas } from "@ag-ui/core/schemas";

const ids = () => { let n = 0; return () => `m${n++}`; };

async function chat({ client, url, text }) {
  const { AbstractChat, DefaultChatTransport } = await import(client);
  class State {
    status = "ready"; error = undefined; messages = [];
    pushMessage = (message) => { this.messages = [...this.messages, message]; };
    popMessage = () => { this.messages = this.messages.slice(0, -1); };
    replaceMessage = (at, message) => { this.messages[at] = structuredClone(message); };
    snapshot = (value) => structuredClone(value);
  }
  class Chat extends AbstractChat {}
  const seen = { data: [], error: null, finish: null };
  const it = new Chat({
    id: "c1", generateId: ids(), state: new State(), transport: new DefaultChatTransport({ api: url }),
    onData: (part) => seen.data.push([part.type, part.data]), onError: (error) => { seen.error = error.message; },
    onFinish: ({ isAbort, isDisconnect, isError, finishReason }) => {
      seen.finish = { isAbort, isDisconnect, isError, finishReason };
    },
  });
  await it.sendMessage({ text });
  return { ...seen, status: it.status, message: it.messages.at(-1) };
}

async function agent({ url, text }) {
  const it = new HttpAgent({ url, threadId: "t1", initialMessages: [{ id: "u1", role: "user", content: text }] });
  const seen = { events: [], error: null };
  try {
    await it.runAgent({ runId: "r1" }, { onEvent: ({ event }) => { seen.events.push(EventSchemas.parse(event)); } });
  } catch (error) {
    seen.error = error.message;
  }
  return { ...seen, messages: it.messages };
}

const cases = JSON.parse(process.argv[2]);
const answers = [];
for (const each of cases) {
  answers.push(await (each.client === "ag-ui" ? agent(each) : chat(each)));
}
console.log(JSON.stringify(answers));
process.exit(0);
