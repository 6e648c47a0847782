// Puts the parts together: the head of the page, the chat, and what /v1/kv/live tells.

import { ask, follow, server } from "/page/server.js";
import { showDefaults, startChat } from "/page/chat.js";
import { Figures } from "/page/charts.js";
import { BlockMap } from "/page/map.js";
import { Sequences, Requests, Tree } from "/page/lists.js";
import { Rows } from "/page/rows.js";

const $ = (id) => document.getElementById(id);

// ---- the head ----

const themes = ["system", "light", "dark"];
function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  $("theme").setAttribute("aria-label", "Colours: " + (theme === "system" ? "as the system" : theme));
  localStorage.setItem("akvifer.theme", theme);
  map.paint();
}

function showView(view) {
  document.documentElement.dataset.view = view;
  for (const button of document.querySelectorAll("[data-show]"))
    button.setAttribute("aria-pressed", String(button.dataset.show === view));
}

function introduce() {
  showModel().catch(() => {}); // who has no key yet is asked for it
  showDefaults().catch(() => {});
}

async function showModel() {
  const { data } = await (await ask("/v1/models")).json();
  const size = (data[0].meta.size / 2 ** 20).toFixed(0);
  $("model").textContent = `${data[0].id}, ${size} MiB, ${data[0].max_model_len.toLocaleString("en")} tokens of context`;
  document.title = data[0].id + " - Akvifer";
}

// ---- what lives ----

const map = new BlockMap($("maps"), $("legend"), $("details"));
const figures = new Figures($("figures"));
const sequences = new Sequences($("sequences"), $("sequences-note"), map, new Rows($("rows")));
const tree = new Tree($("tree"), $("tree-note"), map);
const requests = new Requests($("requests"), $("requests-note"), $("misses-only"));

const mib = (bytes) => (bytes / 2 ** 20).toLocaleString("en", { maximumFractionDigits: 1 });

function showHeld(now) {
  const used = map.bytesInUse() + now.kv_bytes_kept, idle = Math.max(0, now.kv_bytes_held - used);
  $("held").textContent = `${mib(now.kv_bytes_held)} of ${mib(now.kv_bytes_cap)} MiB held, ${mib(idle)} idle`;
  $("share").setAttribute("aria-label", $("held").textContent);
  $("share").children[0].style.width = 100 * used / now.kv_bytes_cap + "%";
  $("share").children[1].style.width = 100 * idle / now.kv_bytes_cap + "%";
}

const link = { live: "live", lost: "lost, trying again", paused: "paused" };
const live = follow({
  state(is) {
    $("link").dataset.is = is;
    $("link").firstElementChild.textContent = link[is];
    $("link").setAttribute("aria-label", "Server: " + link[is]);
  },
  sequences(now) {
    map.step = now.step;
    figures.add(now);
    sequences.show(now);
    showHeld(now);
  },
  map(now) { map.update(now); },
  tree(now) { tree.show(now); },
  requests(now) {
    requests.add(now.requests);
    figures.addRequests(now.requests);
  },
});

// ---- the key ----

server.onNoKey = () => {
  if (!$("key-form").hidden) return;
  $("key-form").hidden = false;
  $("key").focus();
};
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  server.key = $("key").value;
  $("key").value = "";
  $("key-form").hidden = true;
  introduce();
  live.restart();
});

$("theme").addEventListener("click", () => {
  const at = themes.indexOf(document.documentElement.dataset.theme);
  setTheme(themes[(at + 1) % themes.length]);
});
for (const button of document.querySelectorAll("[data-show]"))
  button.addEventListener("click", () => showView(button.dataset.show));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => map.paint());

setTheme(localStorage.getItem("akvifer.theme") || "system");
introduce();
startChat();
