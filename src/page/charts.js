// Four figures with a chart each, drawn as SVG over the last minute and a half.

const WINDOW_MS = 90000, HEIGHT = 40, SVG = "http://www.w3.org/2000/svg";

function html(tag, name) {
  const e = document.createElement(tag);
  if (name) e.className = name;
  return e;
}

function svg(tag, name) {
  const e = document.createElementNS(SVG, tag);
  if (name) e.setAttribute("class", name);
  return e;
}

// A chart of lines over time, dots, or both. A point is { t, y }, in order of t.
class Chart {
  constructor(parent, title, unit) {
    this.figure = html("figure", "figure");
    this.title = title;
    this.caption = html("figcaption");
    this.caption.textContent = title;
    this.output = html("output");
    this.svg = svg("svg");
    this.svg.setAttribute("role", "img");
    this.under = svg("path", "under");
    this.faint = svg("path", "faint");
    this.line = svg("path");
    this.dots = svg("g");
    this.svg.append(this.under, this.faint, this.line, this.dots);
    this.foot = html("div", "foot");
    this.foot.append(html("span"), html("span"));
    this.figure.append(this.caption, this.output, this.svg, this.foot);
    parent.append(this.figure);
    this.unit = unit;
    this.width = 200;
    this.words = ["", ""];
    this.points = []; // as drawn last, and their time
    this.now = 0;
    this.at = -1; // where the pointer is, or -1
    new ResizeObserver(() => { this.width = this.svg.clientWidth || 200; }).observe(this.svg);
    this.svg.addEventListener("pointermove", (event) => { this.at = event.offsetX; this.point(); });
    this.svg.addEventListener("pointerleave", () => { this.at = -1; this.point(); });
  }

  say(value, left, right) {
    this.output.textContent = value;
    if (this.unit && value !== "\u2013") this.output.append(" ", Object.assign(html("small"), { textContent: this.unit }));
    this.words = [left, right];
    this.point();
    this.svg.setAttribute("aria-label", `${this.title}: ${value} ${this.unit}. ${left}. ${right}.`);
  }

  // Under the chart: what was where the pointer is, or the words of now.
  point() {
    const t = this.now - WINDOW_MS * (1 - this.at / this.width), away = (p) => Math.abs(p.t - t);
    const near = this.at < 0 ? null : this.points.reduce((best, p) => (best && away(best) <= away(p) ? best : p), null);
    const words = near ? [`${((this.now - near.t) / 1000).toFixed(0)} s ago`, near.y.toFixed(near.y < 10 ? 1 : 0)] : this.words;
    [...this.foot.children].forEach((span, i) => { span.textContent = words[i]; });
  }

  place(now, top) {
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    return (p) => [this.width * (1 - (now - p.t) / WINDOW_MS), HEIGHT - 1 - (HEIGHT - 4) * Math.min(1, p.y / top)];
  }

  drawLines(now, points, faint, top) {
    this.points = points;
    this.now = now;
    const at = this.place(now, top);
    const path = (list) => list.map((p, i) => (i && !p.gap ? "L" : "M") + at(p).map((x) => x.toFixed(1)).join(" ")).join("");
    this.line.setAttribute("d", path(points));
    this.faint.setAttribute("d", path(faint));
    const ends = points.length > 1 ? [at(points[0])[0], at(points.at(-1))[0]] : null;
    this.under.setAttribute("d", ends ? `${path(points.map((p) => ({ ...p, gap: false })))}L${ends[1].toFixed(1)} ${HEIGHT}L${ends[0].toFixed(1)} ${HEIGHT}Z` : "");
  }

  drawDots(now, points, top) {
    this.points = points;
    this.now = now;
    const at = this.place(now, top);
    while (this.dots.children.length > points.length) this.dots.lastChild.remove();
    while (this.dots.children.length < points.length) this.dots.append(Object.assign(svg("circle")));
    points.forEach((p, i) => {
      const [x, y] = at(p), dot = this.dots.children[i];
      dot.setAttribute("cx", x.toFixed(1));
      dot.setAttribute("cy", y.toFixed(1));
      dot.setAttribute("r", 2.5);
    });
  }
}

// 1, 2, 5, 10, 20 ...: the least of them that holds all.
function niceTop(points) {
  const most = Math.max(1, ...points.map((p) => p.y));
  const ten = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].find((k) => k * ten >= most) * ten;
}

const ms = (x) => (x < 100 ? x.toFixed(1) : x.toFixed(0));
const rate = (x) => (x < 10 ? x.toFixed(1) : x.toFixed(0));

export class Figures {
  constructor(parent) {
    this.samples = []; // { t, generated, prompt, p50, p99 }
    this.done = []; // { t, ttft, reused } of requests
    this.speed = new Chart(parent, "Tokens generated", "a second");
    this.reuse = new Chart(parent, "Prompt reused", "%");
    this.first = new Chart(parent, "First token", "ms");
    this.between = new Chart(parent, "Between tokens", "ms");
  }

  // What the server has counted by now.
  add(now) {
    const t = now.time_ms, from = this.samples.findLast((s) => s.t <= t - 900) || this.samples[0];
    const took = from ? (t - from.t) / 1000 : 0;
    const since = (a, b) => (took > 0 ? Math.max(0, (a - b) / took) : 0);
    this.samples.push({ t, generated: now.generated_tokens, prompt: now.prompt_tokens,
      speed: from ? since(now.generated_tokens, from.generated) : 0,
      reading: from ? since(now.prompt_tokens, from.prompt) : 0,
      p50: now.inter_token_p50_ms, p99: now.inter_token_p99_ms });
    while (this.samples[0].t < t - WINDOW_MS) this.samples.shift();
    this.now = now;
    this.draw();
  }

  addRequests(list) {
    for (const r of list) {
      if (!r.prompt_tokens) continue;
      // All but a prompt's last token can be reused.
      this.done.push({ t: r.time_ms, ttft: r.ttft_ms, reused: 100 * r.cached_tokens / Math.max(1, r.prompt_tokens - 1) });
    }
    this.done.sort((a, b) => a.t - b.t);
    this.done.splice(0, this.done.length - 200);
  }

  draw() {
    const t = this.now.time_ms;
    const lines = (name) => this.samples.map((s) => ({ t: s.t, y: s[name] }));
    const recent = this.done.filter((d) => d.t > t - WINDOW_MS);
    this.drawSpeed(t, lines("speed"));
    this.drawBetween(t);
    this.drawReuse(t, recent);
    this.drawFirst(t, recent);
  }

  drawSpeed(t, points) {
    const top = niceTop(points), last = this.samples.at(-1);
    this.speed.drawLines(t, points, [], top);
    this.speed.say(rate(last.speed), `reading ${rate(last.reading)}`, `0 \u2013 ${top}`);
  }

  drawBetween(t) {
    const seen = this.samples.filter((s) => s.p50 > 0);
    const points = (name) => seen.map((s, i) => ({ t: s.t, y: s[name], gap: i && s.t - seen[i - 1].t > 1500 }));
    const usual = points("p99").sort((a, b) => a.y - b.y).slice(0, Math.ceil(0.9 * seen.length)); // the worst may leave the chart
    const top = niceTop([...usual, ...points("p50")]), last = seen.at(-1);
    this.between.drawLines(t, points("p50"), points("p99"), top);
    this.between.say(last ? ms(last.p50) : "\u2013", last ? `99 %: ${ms(last.p99)}` : "", last ? `0 \u2013 ${top}` : "");
  }

  drawReuse(t, recent) {
    const { cached_tokens: cached, prompt_tokens: read } = this.now;
    this.reuse.drawDots(t, recent.map((d) => ({ t: d.t, y: d.reused })), 100);
    this.reuse.say(cached + read ? (100 * cached / (cached + read)).toFixed(0) : "\u2013",
      `${cached.toLocaleString("en")} tokens`, "0 \u2013 100");
  }

  drawFirst(t, recent) {
    const dots = recent.filter((d) => d.ttft > 0).map((d) => ({ t: d.t, y: d.ttft }));
    const top = niceTop(dots), last = this.done.findLast((d) => d.ttft > 0);
    this.first.drawDots(t, dots, top);
    this.first.say(last ? ms(last.ttft) : "\u2013", last ? "the last request" : "", dots.length ? `0 \u2013 ${top}` : "");
  }
}
