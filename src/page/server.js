// The server: requests with the key, and streams of events. Nothing here knows the page.

const KEY = "akvifer.key";

export const server = {
  get key() { return sessionStorage.getItem(KEY) || ""; },
  set key(key) { sessionStorage.setItem(KEY, key); },
  onNoKey: () => {},
};

// An answer that is no error; else an Error with the server's words and .status.
export async function ask(path, { body, signal } = {}) {
  const headers = {};
  if (server.key) headers.Authorization = "Bearer " + server.key;
  if (body) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, { method: body ? "POST" : "GET", headers, signal, body: body && JSON.stringify(body) });
  if (answer.ok) return answer;
  if (answer.status === 401) server.onNoKey();
  const told = await answer.json().catch(() => null);
  const error = new Error(told?.error?.message || `The server answered ${answer.status}.`);
  error.status = answer.status;
  throw error;
}

// The events of a text/event-stream: { name, data }.
export async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
      const event = { name: "message", data: "" };
      for (const line of text.slice(0, end).split("\n")) {
        if (line.startsWith("event: ")) event.name = line.slice(7);
        else if (line.startsWith("data: ")) event.data += line.slice(6);
      }
      if (event.data) yield event;
    }
  }
}

// Follows /v1/kv/live for as long as the page is seen, and comes back after it broke.
//   on[name](data) for each event; on.state("live" | "lost" | "paused")
export function follow(on) {
  let abort = null, wait = 0, timer = 0;

  async function run() {
    abort = new AbortController();
    const mine = abort;
    try {
      const answer = await ask("/v1/kv/live", { signal: mine.signal });
      on.state("live");
      wait = 0;
      for await (const event of events(answer)) on[event.name]?.(JSON.parse(event.data));
    } catch (error) {
      if (mine.signal.aborted || error.status === 401) return;
    }
    on.state("lost");
    wait = Math.min(wait * 2 || 500, 8000);
    timer = setTimeout(run, wait);
  }

  function start() { stop(); run(); }
  function stop() { clearTimeout(timer); abort?.abort(); }

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) { start(); return; }
    stop();
    on.state("paused");
  });
  start();
  return { restart: start };
}
