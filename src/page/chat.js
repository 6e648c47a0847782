// The chat: messages, the answer that streams in, settings. Enter sends, Shift-Enter is a new line, Escape stops.

import { ask, events } from "/page/server.js";

const $ = (id) => document.getElementById(id);
const SETTINGS = "akvifer.settings";

const reasons = {
  none: "all of the prompt reused",
  cold: "nothing to reuse yet",
  diverged: "then other text follows",
  end: "what was kept ends there",
  evicted: "the rest had made room",
  window: "the window's rows had gone",
  off: "reuse is off",
  below_minimum: "too little to be worth it",
  policy: "its KV policy has to see the prompt computed",
  salt: "kept under another salt",
};

let messages = []; // as the server gets them
let running = null; // AbortController of the answer that streams

// ---- elements ----

function element(tag, name, text) {
  const e = document.createElement(tag);
  if (name) e.className = name;
  if (text !== undefined) e.textContent = text;
  return e;
}

function addMessage(role, text) {
  const box = element("article", "message");
  box.dataset.role = role;
  box.setAttribute("aria-label", role === "user" ? "You" : "Answer");
  box.append(element("div", "said", text), element("div", "after"));
  $("empty").hidden = true;
  $("log").append(box);
  $("log").scrollTop = $("log").scrollHeight;
  return box;
}

// ---- settings ----

function settings() {
  const form = new FormData($("settings")), body = {};
  for (const [name, value] of form) {
    if (name === "system" || value === "") continue;
    body[name] = name === "kv" ? value : Number(value);
  }
  return { body, system: form.get("system").trim() };
}

function keepSettings() {
  localStorage.setItem(SETTINGS, JSON.stringify(Object.fromEntries(new FormData($("settings")))));
}

function restoreSettings() {
  const kept = JSON.parse(localStorage.getItem(SETTINGS) || "{}");
  for (const field of $("settings").elements) {
    if (field.name && kept[field.name]) field.value = kept[field.name];
  }
}

// What an empty field stands for.
export async function showDefaults() {
  const { default_generation_settings: now } = await (await ask("/props")).json();
  for (const field of $("settings").elements) {
    const value = now.params[field.name];
    if (value !== undefined) field.placeholder = String(value);
  }
}

// ---- an answer ----

const seconds = (ms) => (ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`);

// What the answer cost, and what of its prompt was there.
function summary(usage, cache, began, first, stopped) {
  const parts = [];
  if (stopped) parts.push("stopped");
  if (usage) {
    const rate = usage.completion_tokens > 1 ? (usage.completion_tokens - 1) / ((performance.now() - first) / 1000) : 0;
    parts.push(`${usage.completion_tokens} tokens${rate ? `, ${rate.toFixed(0)} a second` : ""}`);
    parts.push(`first after ${seconds(first - began)}`);
    const cached = usage.prompt_tokens_details?.cached_tokens ?? 0;
    parts.push(`${cached} of ${usage.prompt_tokens} prompt tokens reused` + (cache ? `: ${reasons[cache.cache_miss] || cache.cache_miss}` : ""));
  }
  return parts;
}

function addButton(after, label, act) {
  const button = element("button", "text", label);
  button.type = "button";
  button.addEventListener("click", act);
  after.append(button);
}

function offer(box, failed) {
  const after = box.lastElementChild, last = $("log").lastElementChild === box;
  if (!failed) addButton(after, "Copy", () => navigator.clipboard?.writeText(box.firstElementChild.textContent));
  if (last) addButton(after, failed ? "Try again" : "Another answer", () => { if (!running) again(box); });
}

function again(box) {
  box.remove();
  if (messages.at(-1)?.role === "assistant") messages.pop();
  stream();
}

function setRunning(abort) {
  running = abort;
  $("send").textContent = abort ? "Stop" : "Send";
  $("send").dataset.is = abort ? "stop" : "send";
}

// Keeps the end in sight, unless somebody reads further up.
function grow(said, text) {
  const log = $("log"), atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  if (said.firstChild) said.firstChild.appendData(text);
  else said.append(text);
  if (atEnd) log.scrollTop = log.scrollHeight;
}

async function stream() {
  const box = addMessage("assistant", ""), said = box.firstElementChild, mine = messages;
  const abort = new AbortController(), began = performance.now();
  const { body, system } = settings();
  let first = 0, usage = null, cache = null, failed = "";
  for (const button of $("log").querySelectorAll(".after .text:last-child"))
    if (button.textContent !== "Copy") button.remove(); // only the last answer can be asked for again
  box.classList.add("streams");
  box.setAttribute("aria-busy", "true"); // read out when it is whole
  setRunning(abort);
  try {
    const answer = await ask("/v1/chat/completions", { signal: abort.signal, body: {
      ...body, stream: true, stream_options: { include_usage: true },
      messages: system ? [{ role: "system", content: system }, ...messages] : messages,
    } });
    for await (const { data } of events(answer)) {
      if (data === "[DONE]") break;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new Error(chunk.error.message);
      const text = chunk.choices[0]?.delta?.content;
      if (text) {
        first ||= performance.now();
        grow(said, text);
      }
      usage = chunk.usage || usage;
      cache = chunk.akvifer || cache;
    }
  } catch (error) {
    if (!abort.signal.aborted) failed = error.message;
  }
  setRunning(null);
  box.classList.remove("streams");
  box.removeAttribute("aria-busy");
  box.classList.toggle("wrong", Boolean(failed));
  if (failed) said.append((said.textContent ? "\n\n" : "") + failed);
  else mine.push({ role: "assistant", content: said.textContent });
  for (const part of failed ? [] : summary(usage, cache, began, first || began, abort.signal.aborted))
    box.lastElementChild.append(element("span", "", part));
  offer(box, failed);
}

// ---- what is typed ----

function fit() {
  const say = $("say");
  say.style.height = "auto";
  say.style.height = say.scrollHeight + 2 + "px";
}

function send(text) {
  if (running || !text.trim()) return;
  messages.push({ role: "user", content: text });
  addMessage("user", text);
  stream();
}

function sendTyped() {
  const text = $("say").value;
  if (running || !text.trim()) return;
  $("say").value = "";
  fit();
  send(text);
}

function newChat() {
  running?.abort();
  messages = [];
  for (const box of $("log").querySelectorAll(".message")) box.remove();
  $("empty").hidden = false;
  $("say").focus();
}

function toggleSettings() {
  const open = $("settings").hidden;
  $("settings").hidden = !open;
  $("settings-button").setAttribute("aria-expanded", String(open));
  if (open) $("settings").elements.system.focus();
}

export function startChat() {
  restoreSettings();
  $("say").addEventListener("input", fit);
  $("say").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    sendTyped();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    if (running) running.abort();
    else if (!$("settings").hidden) { toggleSettings(); $("settings-button").focus(); }
  });
  $("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    if (running) running.abort();
    else sendTyped();
  });
  for (const button of document.querySelectorAll(".suggest"))
    button.addEventListener("click", () => send(button.textContent));
  $("new-chat").addEventListener("click", newChat);
  $("settings-button").addEventListener("click", toggleSettings);
  $("settings").addEventListener("input", keepSettings);
  $("settings").addEventListener("reset", () => setTimeout(keepSettings));
  $("settings").addEventListener("submit", (event) => event.preventDefault());
  if (matchMedia("(min-width: 861px)").matches) $("say").focus();
}
