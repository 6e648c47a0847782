// The map of KV blocks: a canvas for each group of layers, a cell for each block in the order of the pool's file.
//
//   free      a frame, or a dot       idle     pale: kept for reuse, paler with age
//   in use    full                    open     a ring: one sequence writes it
//   shared    full with the number of sequences, or a dot where that does not fit
//
// Only cells that changed are drawn again; a change of size, theme or highlight draws all. Pointer and arrow keys
// choose a cell, and the line below says what it is.

const FREE = 0, OPEN = 1, SEALED = 2, IDLE = 3;
const HUES = [215, 45, 150, 320, 90, 275, 20, 185];
const FLASH_MS = 500;
const names = { [FREE]: "free", [OPEN]: "being written", [SEALED]: "in use", [IDLE]: "idle, kept for reuse" };

const LIGHT = 0.55, DARK = 0.74; // of a hue on either ground
const paint = (lightness, hue) => `oklch(${lightness} 0.11 ${hue})`;
const dark = () => matchMedia("(prefers-color-scheme: dark)").matches
  ? document.documentElement.dataset.theme !== "light" : document.documentElement.dataset.theme === "dark";
const still = matchMedia("(prefers-reduced-motion: reduce)");

export class BlockMap {
  constructor(parent, legend, details) {
    this.parent = parent;
    this.legend = legend;
    this.details = details;
    this.groups = []; // { first, n, bytes, canvas, pen, cell, columns }
    this.blocks = []; // [index, state, owner, sequence, sequences, used step, node]
    this.hues = new Map(); // owner -> hue
    this.texts = new Map(); // node -> where it stands and its words
    this.flash = new Map(); // index -> when it changed
    this.step = 0;
    this.chosen = -1;
    this.ratio = devicePixelRatio || 1;
    this.lit = null; // Set of indices, or null
    new ResizeObserver(() => this.lay()).observe(parent);
  }

  // ---- what others ask ----

  bytesInUse() {
    let bytes = 0;
    for (const g of this.groups)
      for (let i = g.first; i < g.first + g.n; i++) bytes += this.state(i) === OPEN || this.state(i) === SEALED ? g.bytes : 0;
    return bytes;
  }

  hue(owner) {
    if (!this.hues.has(owner)) this.hues.set(owner, HUES[this.hues.size % HUES.length]);
    return this.hues.get(owner);
  }

  css(owner) {
    return owner ? `light-dark(${paint(LIGHT, this.hue(owner))}, ${paint(DARK, this.hue(owner))})` : "var(--other)";
  }

  // Shows only the blocks that `wanted` takes; null: all.
  light(wanted) {
    this.lit = wanted && new Set(this.blocks.filter((b) => b && b[1] !== FREE && wanted(b)).map((b) => b[0]));
    this.paint();
  }

  setTexts(texts) {
    this.texts = texts;
    this.describe();
  }

  // ---- what the server tells ----

  update(now) {
    if (now.whole) this.begin(now);
    for (const block of now.blocks) {
      this.blocks[block[0]] = block;
      if (!now.whole && !still.matches) this.flash.set(block[0], performance.now());
      this.draw(block[0]);
    }
    if (this.flash.size) this.animate();
    if (now.whole) this.paint();
    else this.drawLegend();
    if (now.whole || now.blocks.some((b) => b[0] === this.chosen)) this.describe();
  }

  begin(now) {
    let first = 0;
    this.parent.replaceChildren();
    this.blocks = [];
    this.flash.clear();
    this.groups = now.groups.map((g) => {
      const box = document.createElement("div"), canvas = document.createElement("canvas");
      box.className = "map";
      if (now.groups.length > 1) {
        const p = document.createElement("p");
        p.textContent = `${g.layers} layers that see ${g.window ? `the last ${g.window} tokens` : "everything"}`;
        box.append(p);
      }
      box.append(canvas);
      this.parent.append(box);
      const group = { first, n: g.blocks, bytes: g.block_bytes, canvas, pen: canvas.getContext("2d"), cell: 0, columns: 0 };
      this.listen(group);
      first += g.blocks;
      return group;
    });
    this.tokens = now.block_tokens;
    this.lay();
  }

  state(i) { return this.blocks[i]?.[1] ?? FREE; }

  // ---- drawing ----

  // As large as it can be with all cells in sight: 6 to 18 pixels, the gap included. All is drawn in pixels of the
  // screen, so that a cell begins and ends on one and nothing of it stays behind when it is drawn again.
  lay() {
    const width = this.parent.clientWidth;
    this.ratio = devicePixelRatio || 1;
    if (!width) return;
    for (const g of this.groups) {
      const cell = Math.max(6, Math.min(18, Math.floor(Math.sqrt(width * 240 / g.n))));
      g.cell = Math.round(cell * this.ratio);
      g.canvas.width = Math.floor(width * this.ratio);
      g.columns = Math.max(1, Math.floor(g.canvas.width / g.cell));
      g.canvas.height = Math.ceil(g.n / g.columns) * g.cell;
      g.canvas.style.width = g.canvas.width / this.ratio + "px";
      g.canvas.style.height = g.canvas.height / this.ratio + "px";
    }
    this.paint();
  }

  paint() {
    this.colours = this.readColours();
    for (const g of this.groups) {
      for (let i = g.first; i < g.first + g.n; i++) this.draw(i);
    }
    this.drawLegend();
  }

  readColours() {
    const probe = document.createElement("i"), read = (name) => {
      probe.style.color = `var(${name})`;
      return getComputedStyle(probe).color;
    };
    this.parent.append(probe);
    const colours = { dark: dark(), ground: read("--ground"), ink: read("--ink"), free: read("--free"), other: read("--other") };
    probe.remove();
    return colours;
  }

  fill(block) {
    const [, state, owner, , , used] = block;
    const age = state === IDLE && owner ? Math.min(1, Math.max(0, this.step - used) / 2000) : 0;
    const strength = state === IDLE ? 0.48 - 0.28 * age : 1;
    if (!owner) return [this.colours.other, strength];
    return [paint(this.colours.dark ? DARK : LIGHT, this.hue(owner)), strength];
  }

  draw(i) {
    const g = this.groups.find((one) => i < one.first + one.n);
    if (!g?.cell) return;
    const at = i - g.first, x = (at % g.columns) * g.cell, y = Math.floor(at / g.columns) * g.cell;
    this.drawCell(g.pen, x, y, g.cell, this.blocks[i] || [i, FREE], i);
  }

  drawCell(pen, x, y, cell, block, i) {
    const edge = Math.max(1, Math.floor(this.ratio)), size = cell - 2 * edge, state = block[1], round = edge * (size > 7 * edge ? 2 : 1);
    pen.globalAlpha = 1;
    pen.clearRect(x, y, cell, cell);
    if (state === FREE && size < 8 * edge) {
      const dot = 2 * edge, at = Math.floor((cell - dot) / 2);
      pen.fillStyle = this.colours.free;
      pen.fillRect(x + at, y + at, dot, dot);
    } else if (state === FREE) {
      this.frame(pen, x + edge, y + edge, size, edge, round, this.colours.free);
    } else {
      const [colour, strength] = this.fill(block);
      pen.globalAlpha = this.lit && !this.lit.has(i) ? strength * 0.2 : strength;
      pen.fillStyle = colour;
      pen.beginPath();
      pen.roundRect(x + edge, y + edge, size, size, round);
      pen.fill();
      this.drawMark(pen, x + edge, y + edge, size, edge, block);
    }
    const since = this.flash.has(i) ? performance.now() - this.flash.get(i) : FLASH_MS;
    if (i !== this.chosen && since >= FLASH_MS) return;
    pen.globalAlpha = i === this.chosen ? 1 : 0.9 * (1 - since / FLASH_MS);
    this.frame(pen, x, y, cell, i === this.chosen ? 2 * edge : edge, round, this.colours.ink);
  }

  // A line of so many pixels along the inside of a square.
  frame(pen, x, y, size, line, round, colour) {
    pen.strokeStyle = colour;
    pen.lineWidth = line;
    pen.beginPath();
    pen.roundRect(x + line / 2, y + line / 2, size - line, size - line, round);
    pen.stroke();
  }

  // The ring of an open block, the number of a shared one.
  drawMark(pen, x, y, size, edge, [, state, , , sequences]) {
    const dot = size < 10 * edge ? 2 * edge : 3 * edge, at = Math.floor((size - dot) / 2);
    pen.fillStyle = this.colours.ground;
    if (state === OPEN) {
      const inset = Math.max(edge, Math.round(size / 4));
      pen.fillRect(x + inset, y + inset, size - 2 * inset, size - 2 * inset);
    } else if (sequences > 1 && size >= 13 * edge) {
      pen.font = `600 ${size - 4 * edge}px system-ui, sans-serif`;
      pen.textAlign = "center";
      pen.textBaseline = "middle";
      pen.fillText(sequences > 9 ? "+" : sequences, x + size / 2, y + size / 2 + edge / 2);
    } else if (sequences > 1 && size >= 5 * edge) {
      pen.fillRect(x + at, y + at, dot, dot);
    }
  }

  animate() {
    if (this.animates) return;
    this.animates = true;
    const frame = () => {
      for (const [i, when] of this.flash) {
        if (performance.now() - when >= FLASH_MS) this.flash.delete(i);
        this.draw(i);
      }
      this.animates = this.flash.size > 0;
      if (this.animates) requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  drawLegend() {
    const own = this.hues.keys().next().value ?? 1;
    const n = this.count();
    const entries = [["being written", n.open, [0, OPEN, own, 1, 1, 0, 0]], ["in use", n.sealed, [0, SEALED, own, 1, 1, 0, 0]],
      ["shared", n.shared, [0, SEALED, own, 1, 2, 0, 0]], ["idle", n.idle, [0, IDLE, own, 0, 0, this.step, 0]],
      ["free", n.free, [0, FREE]], ["other tenants'", n.others, [0, SEALED]]];
    const side = Math.round(12 * this.ratio), hues = new Map(this.hues), lit = this.lit;
    this.lit = null;
    this.legend.replaceChildren(...entries.map(([label, amount, block]) => {
      const span = document.createElement("span"), canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
      canvas.width = canvas.height = side;
      this.drawCell(pen, 0, 0, side, block, -2);
      span.append(canvas, label, Object.assign(document.createElement("b"), { textContent: amount.toLocaleString("en") }));
      return span;
    }));
    this.hues = hues;
    this.lit = lit;
  }

  // ---- choosing a cell ----

  listen(g) {
    g.canvas.tabIndex = 0;
    g.canvas.setAttribute("role", "application");
    g.canvas.setAttribute("aria-roledescription", "map");
    g.canvas.setAttribute("aria-label", `${g.n} blocks of KV memory; arrow keys choose one`);
    g.canvas.setAttribute("aria-describedby", this.details.id);
    const at = (event) => {
      const box = g.canvas.getBoundingClientRect();
      const place = (pixels) => Math.floor(pixels * this.ratio / g.cell);
      const column = place(event.clientX - box.left), row = place(event.clientY - box.top);
      const i = row * g.columns + column;
      return column < g.columns && i >= 0 && i < g.n ? g.first + i : -1;
    };
    g.canvas.addEventListener("pointermove", (event) => this.choose(at(event)));
    g.canvas.addEventListener("pointerdown", (event) => this.choose(at(event)));
    g.canvas.addEventListener("pointerleave", () => { if (document.activeElement !== g.canvas) this.choose(-1); });
    g.canvas.addEventListener("focus", () => { if (this.chosen < g.first || this.chosen >= g.first + g.n) this.choose(g.first); });
    g.canvas.addEventListener("blur", () => this.choose(-1));
    g.canvas.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: g.columns, ArrowUp: -g.columns, Home: -g.n, End: g.n }[event.key];
      if (!by) return;
      event.preventDefault();
      this.choose(Math.max(g.first, Math.min(g.first + g.n - 1, this.chosen + by)));
    });
  }

  choose(i) {
    const before = this.chosen;
    if (i === before) return;
    this.chosen = i;
    if (before >= 0) this.draw(before);
    if (i >= 0) this.draw(i);
    this.describe();
  }

  count() {
    const n = { open: 0, sealed: 0, shared: 0, idle: 0, free: 0, others: 0 };
    for (const g of this.groups) n.free += g.n;
    for (const block of this.blocks) {
      if (!block || block[1] === FREE) continue;
      n.free--;
      n.open += block[1] === OPEN;
      n.sealed += block[1] === SEALED;
      n.idle += block[1] === IDLE;
      n.shared += block[4] > 1;
      n.others += !block[2];
    }
    return n;
  }

  // The line below: the chosen block, or how to choose one.
  describe() {
    const bold = (text) => Object.assign(document.createElement("b"), { textContent: text });
    if (this.chosen < 0) {
      this.details.textContent = `Each square is ${this.tokens || 64} tokens of memory. Point at one, or choose with the arrow keys, to see whose it is.`;
      return;
    }
    const g = this.groups.find((one) => this.chosen < one.first + one.n);
    const [, state, owner, sequence, sequences, used, node] = this.blocks[this.chosen] || [0, FREE];
    const parts = [bold(`Block ${this.chosen - g.first}`), ` ${names[state]}, in memory, ${(g.bytes / 1024).toLocaleString("en")} KiB`];
    if (state !== FREE && !owner) parts.push(", another tenant's");
    if (sequences) parts.push(sequences > 1 ? `, shared by ${sequences} requests, the oldest is ` : ", request ", bold("#" + sequence));
    if (owner && !sequences) parts.push(`, last used ${Math.max(0, this.step - used).toLocaleString("en")} steps ago`);
    const text = node && this.texts.get(node);
    if (text) {
      parts.push(`, tokens ${text.from} to ${text.to - 1}`);
      parts.push(Object.assign(document.createElement("q"), { textContent: text.words }));
    }
    this.details.replaceChildren(...parts);
  }
}
