// The sequences of the running step, the prefix tree, and the last requests with why no more of each was reused.

function element(tag, name, ...inside) {
  const e = document.createElement(tag);
  if (name) e.className = name;
  e.append(...inside);
  return e;
}

const count = (n) => n.toLocaleString("en");
const plain = (text) => text.replace(/\n/g, "\u21b5");

// Text with what only the model reads made faint: control tokens and line ends.
function faint(text) {
  return text.split(/(<\|[^|>]*\|>|<\w+_of_\w+>|\u21b5)/).filter(Boolean)
    .map((part) => (/^<|^\u21b5/.test(part) ? element("i", "", part) : part));
}
const some = (n, one, many = one + "s") => `${count(n)} ${n === 1 ? one : many}`;

// ---- sequences ----

export class Sequences {
  constructor(body, note, map, pictures) {
    this.body = body;
    this.note = note;
    this.map = map;
    this.pictures = pictures; // of kept rows
    this.seen = new Map(); // id -> [{ t, n }] of the last two seconds
    this.rows = new Map(); // id -> row
  }

  speed(q, t) {
    const list = this.seen.get(q.id) || [], n = q.generated_tokens + q.done_tokens - q.cached_tokens;
    list.push({ t, n: q.phase === "answer" ? q.generated_tokens : n });
    while (list.length > 1 && list[0].t < t - 2000) list.shift();
    this.seen.set(q.id, list);
    const { t: t0, n: n0 } = list[0];
    return t > t0 ? Math.max(0, (list.at(-1).n - n0) * 1000 / (t - t0)) : 0;
  }

  row(q) {
    const tr = element("tr");
    tr.append(element("td"), element("td"), element("td"), element("td"), element("td"));
    tr.addEventListener("pointerenter", () => this.map.light((b) => b[3] === q.id));
    tr.addEventListener("pointerleave", () => this.map.light(null));
    if (q.policy !== "full") tr.dataset.policy = q.policy;
    return tr;
  }

  phase(q) {
    const span = element("span", "phase", { prompt: "reading", answer: "answering", waiting: "waiting" }[q.phase]);
    if (q.phase === "prompt") {
      const bar = element("progress");
      bar.max = q.prompt_tokens;
      bar.value = q.done_tokens;
      bar.setAttribute("aria-label", "of the prompt");
      span.append(bar);
    }
    return span;
  }

  fill(tr, q, t) {
    const chip = element("i", "chip");
    chip.style.setProperty("--chip", this.map.css(q.owner));
    const [id, phase, tokens, blocks, speed] = tr.children;
    if (tr.dataset.policy && !id.querySelector("button")) {
      const button = element("button", "text", q.policy);
      button.type = "button";
      button.title = "Shows which rows it kept";
      button.addEventListener("click", () => this.pictures.choose(q.id));
      id.replaceChildren(chip, "#" + q.id + (q.salt ? " " + q.salt : "") + " ", button);
    } else if (!tr.dataset.policy) {
      id.replaceChildren(chip, "#" + q.id + (q.salt ? " " + q.salt : ""));
    }
    phase.replaceChildren(this.phase(q));
    tokens.textContent = `${count(q.prompt_tokens)} + ${count(q.generated_tokens)}`;
    tokens.title = `${some(q.prompt_tokens, "token")} of prompt, ${count(q.cached_tokens)} of them reused; ${count(q.generated_tokens)} generated`;
    blocks.textContent = count(q.blocks);
    speed.textContent = q.phase === "waiting" ? "" : this.speed(q, t).toFixed(0);
  }

  show(now) {
    const others = now.others_running + now.others_waiting;
    const waiting = now.sequences.filter((q) => q.phase === "waiting").length;
    this.note.textContent = `${now.sequences.length - waiting} of ${now.parallel}` + (waiting ? `, ${waiting} waiting` : "") +
      (others ? `, ${others} of other tenants` : "") + `, step ${count(now.step)}`;
    const rows = now.sequences.map((q) => {
      const tr = this.rows.get(q.id) || this.row(q);
      this.rows.set(q.id, tr);
      this.fill(tr, q, now.time_ms);
      return tr;
    });
    const here = new Set(now.sequences.map((q) => q.id));
    for (const id of this.rows.keys()) {
      if (here.has(id)) continue;
      this.rows.delete(id);
      this.seen.delete(id);
    }
    if (!rows.length) {
      const td = element("td", "", "Nothing runs.");
      td.colSpan = 5;
      rows.push(element("tr", "", td));
    }
    this.replaceRows(rows);
    this.pictures.show(now.sequences);
  }

  // A row that stays is not taken out, so that what has the keyboard keeps it.
  replaceRows(rows) {
    const wanted = new Set(rows);
    for (const row of [...this.body.children]) if (!wanted.has(row)) row.remove();
    rows.forEach((row, i) => { if (this.body.children[i] !== row) this.body.insertBefore(row, this.body.children[i] || null); });
  }
}

// ---- the prefix tree ----

export class Tree {
  constructor(box, note, map) {
    this.box = box;
    this.note = note;
    this.map = map;
    this.entries = [];
    this.closed = new Set(); // keys
    this.focus = null; // key of the row that takes the keyboard
    box.addEventListener("keydown", (event) => this.key(event));
    box.addEventListener("pointerleave", () => map.light(null));
    box.addEventListener("focusout", () => map.light(null));
  }

  show(now) {
    const roots = now.entries.filter((e) => e.depth === 0).length;
    this.entries = now.entries;
    this.place();
    const signs = now.entries.map((e) => `${e.key} ${e.depth} ${e.running} ${e.tokens}`).join();
    if (signs === this.signs) return; // only used again
    this.signs = signs;
    const blocks = now.entries.reduce((n, e) => n + (e.nodes?.length || 0), 0);
    this.note.textContent = blocks ? `${some(blocks, "block")}${roots > 1 ? ` under ${roots} salts` : ""}` +
      (now.more ? `, ${count(now.more)} branches more` : "") : "";
    this.render();
  }

  // Keys, whether something lies under an entry, and for the map where each node's tokens are.
  place() {
    const texts = new Map(), from = [];
    this.entries.forEach((e, i) => {
      e.key = e.depth ? "n" + e.nodes[0] : "s" + e.owner;
      e.owner ??= this.entries[i - 1].owner;
      e.has = this.entries[i + 1]?.depth > e.depth;
      if (!e.depth) { from[0] = 0; return; }
      const start = from[e.depth - 1] || 0, each = 64;
      from[e.depth] = start + e.tokens;
      e.nodes.forEach((node, k) => texts.set(node, {
        from: start + k * each, to: Math.min(start + (k + 1) * each, start + e.tokens),
        words: (e.cut ? "\u2026" : "") + plain(e.text) + (k ? " \u2026" : "") }));
    });
    this.map.setTexts(texts);
  }

  visible() {
    const out = [];
    let closed = Infinity;
    const salts = this.entries.filter((e) => e.depth === 0);
    const onlyOne = salts.length === 1 && salts[0].salt === "";
    for (const e of this.entries) {
      if (e.depth > closed) continue;
      closed = this.closed.has(e.key) ? e.depth : Infinity;
      if (e.depth || !onlyOne) out.push(e);
    }
    return out;
  }

  row(e) {
    const row = element("div", e.depth ? "entry" : "entry salt");
    row.dataset.key = e.key;
    row.setAttribute("role", "treeitem");
    row.setAttribute("aria-level", e.depth + 1);
    row.setAttribute("aria-selected", String(e.key === this.open));
    if (e.has) row.setAttribute("aria-expanded", String(!this.closed.has(e.key)));
    row.style.setProperty("--depth", Math.max(1, Math.min(e.depth, 12)));
    row.tabIndex = -1;
    const twist = element("span", "twist", e.has ? (this.closed.has(e.key) ? "\u25b8" : "\u25be") : "");
    twist.setAttribute("aria-hidden", "true");
    row.append(twist, ...(e.depth ? this.words(e) : [this.salt(e)]));
    row.addEventListener("pointerenter", () => this.light(e));
    row.addEventListener("focus", () => this.light(e));
    row.addEventListener("click", (event) => this.click(e, event.target === twist));
    return row;
  }

  salt(e) {
    const chip = element("i", "chip");
    chip.style.setProperty("--chip", this.map.css(e.owner));
    return element("span", "", chip, e.salt ? `salt ${e.salt}` : "no salt");
  }

  words(e) {
    const text = e.key === this.open ? e.text : plain(e.text);
    const excerpt = element("span", "excerpt", ...(e.cut ? [element("i", "", "\u2026")] : []), ...faint(text));
    const live = e.running ? [element("span", "live", `${e.running} running`), " \u00b7 "] : [];
    return [excerpt, element("span", "count", ...live, count(e.tokens), element("span", "unit", e.tokens === 1 ? " token" : " tokens"))];
  }

  light(e) {
    const nodes = new Set(e.nodes || []);
    this.map.light(e.depth ? (b) => nodes.has(b[6]) : (b) => b[2] === e.owner);
  }

  click(e, onTwist) {
    this.focus = e.key;
    if (e.has && (onTwist || !e.depth)) this.toggle(e, !this.closed.has(e.key));
    else this.open = this.open === e.key ? null : e.key;
    this.render();
  }

  toggle(e, close) {
    if (close) this.closed.add(e.key);
    else this.closed.delete(e.key);
  }

  render() {
    const had = this.box.contains(document.activeElement), top = this.box.scrollTop;
    const rows = this.visible().map((e) => this.row(e));
    if (!rows.length) rows.push(element("p", "none", "Nothing is kept yet."));
    this.box.replaceChildren(...rows);
    this.box.scrollTop = top;
    const at = rows.find((r) => r.dataset.key === this.focus) || rows[0];
    if (at.dataset.key) at.tabIndex = 0;
    if (had) at.focus({ preventScroll: true });
  }

  key(event) {
    const shown = this.visible(), i = Math.max(0, shown.findIndex((e) => e.key === this.focus)), e = shown[i];
    if (!e) return;
    const go = (k) => { this.focus = shown[Math.max(0, Math.min(shown.length - 1, k))].key; };
    if (event.key === "ArrowDown") go(i + 1);
    else if (event.key === "ArrowUp") go(i - 1);
    else if (event.key === "Home") go(0);
    else if (event.key === "End") go(shown.length - 1);
    else if (event.key === "ArrowRight" && e.has && this.closed.has(e.key)) this.toggle(e, false);
    else if (event.key === "ArrowLeft" && e.has && !this.closed.has(e.key)) this.toggle(e, true);
    else if (event.key === "ArrowLeft") go(shown.findLastIndex((up, k) => k < i && up.depth < e.depth));
    else if (event.key === "Enter" || event.key === " ") this.click(e, false);
    else return;
    event.preventDefault();
    this.render();
    this.box.querySelector("[tabindex='0']")?.scrollIntoView({ block: "nearest" });
  }
}

// ---- requests ----

const reasons = {
  none: ["reused", "all of the prompt that can be"],
  cold: ["cold", "nothing that is kept begins like this"],
  diverged: ["diverged", "other text follows there in what is kept"],
  end: ["end", "what is kept ends there"],
  evicted: ["evicted", "it was here, and went to make room"],
  window: ["window", "the rows that a windowed layer needs had gone"],
  off: ["off", "the request asked for no reuse"],
  below_minimum: ["too little", "what is kept is less than is worth taking"],
  policy: ["policy", "its KV policy has to see more of the prompt computed, or its rows begin behind a pruned context"],
  salt: ["salt", "it is kept under another salt of yours"],
  public: ["public", "others made this beginning public: ask with cache_public to share it"],
};

const whys = {
  memory: "others needed the room",
  window: "others needed the room, and no window looked at it",
  index: "the list of what is kept was full",
};

// When and why what is missing went.
function gone(evicted) {
  if (!evicted) return "";
  return `; it left ${evicted.from} ${Math.round(evicted.seconds_ago)} s (${some(evicted.steps_ago, "step")}) before: ${whys[evicted.why]}`;
}

export class Requests {
  constructor(list, note, button) {
    this.list = list;
    this.note = note;
    this.all = new Map(); // number -> request
    this.only = false;
    button.addEventListener("click", () => {
      this.only = !this.only;
      button.setAttribute("aria-pressed", String(this.only));
      this.render();
    });
    this.render();
  }

  add(list) {
    for (const r of list) this.all.set(r.number, r);
    for (const number of this.all.keys()) {
      if (this.all.size <= 100) break;
      this.all.delete(number);
    }
    this.render();
  }

  why(r) {
    const span = element("span", "why");
    if (r.reason === "none" || !r.after) return element("span", "why", element("i", "", reasons[r.reason]?.[1] || ""));
    span.title = (reasons[r.reason]?.[1] || r.reason) + gone(r.evicted);
    if (r.before) span.append(element("i", "", "\u2026" + plain(r.before)));
    span.append(element("mark", "", ...faint(plain(r.after))));
    return span;
  }

  row(r) {
    const time = element("time", "", new Date(r.time_ms).toLocaleTimeString("en-GB"));
    time.dateTime = new Date(r.time_ms).toISOString();
    const reason = element("span", "reason", reasons[r.reason]?.[0] || r.reason);
    if (r.public) reason.append(" \u00b7 public");
    if (r.evicted) reason.append(` \u00b7 ${Math.round(r.evicted.seconds_ago)} s ago`);
    const li = element("li", "", time, reason, this.why(r), element("span", "amount", `${count(r.cached_tokens)} of ${count(r.prompt_tokens)}`));
    li.dataset.reason = r.reason;
    return li;
  }

  render() {
    const by = new Map();
    for (const r of this.all.values()) by.set(r.reason, (by.get(r.reason) || 0) + 1);
    this.note.textContent = [...by].map(([reason, n]) => `${reasons[reason]?.[0] || reason} ${n}`).join(", ");
    const shown = [...this.all.values()].reverse().filter((r) => !this.only || r.reason !== "none");
    const rows = shown.slice(0, 50).map((r) => this.row(r));
    if (!rows.length) rows.push(element("p", "none", this.only ? "No miss yet." : "No request yet."));
    this.list.replaceChildren(...rows);
  }
}
