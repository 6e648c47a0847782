// Which rows of a running request its KV policy kept: layers from top to bottom, positions from left to right. Full: every
// kv_head has them all; the ground shows where they went.

import { ask } from "/page/server.js";

const LAYER_PX = 4, EVERY_MS = 1000;

export class Rows {
  constructor(figure) {
    this.figure = figure;
    this.canvas = figure.querySelector("canvas");
    this.caption = figure.querySelector("figcaption");
    this.id = 0; // of the request; 0: none was chosen
    this.asked = 0;
  }

  // Another request, or the same once more: none.
  choose(id) {
    this.id = id === this.id ? 0 : id;
    this.asked = 0;
    this.figure.hidden = true;
    if (this.id) this.look();
  }

  // Called with what runs: the picture of one that has ended stays.
  show(sequences) {
    if (sequences.some((q) => q.id === this.id && q.phase !== "waiting") && performance.now() - this.asked > EVERY_MS) this.look();
  }

  async look() {
    const id = this.id;
    this.asked = performance.now();
    try {
      const now = await (await ask(`/v1/kv/rows/${id}`)).json();
      if (id === this.id && now.columns) this.draw(now);
    } catch (error) {
      if (error.status !== 404) throw error; // it has ended
    }
  }

  draw(now) {
    const width = now.columns, height = now.layers.length, pen = this.canvas.getContext("2d");
    const image = new ImageData(width, height), [r, g, b] = this.ink();
    let kept = 0, all = 0;
    now.layers.forEach((layer, y) => layer.kept.forEach((n, x) => {
      const first = Math.ceil(x * now.positions / width), end = Math.ceil((x + 1) * now.positions / width);
      const most = (end - first) * now.kv_heads;
      if (!layer.window) { kept += n; all += most; }
      image.data.set([r, g, b, 255 * n / most], 4 * (y * width + x));
    }));
    this.canvas.width = width;
    this.canvas.height = height;
    this.canvas.style.height = height * LAYER_PX + "px";
    pen.putImageData(image, 0, 0);
    this.caption.textContent = `#${now.sequence}: ${(100 * kept / Math.max(1, all)).toFixed(1)} % of the rows of ` +
      `${now.positions.toLocaleString("en")} positions are there (${height} layers down, positions across); ${now.policy}`;
    this.canvas.setAttribute("aria-label", this.caption.textContent);
    this.figure.hidden = false;
  }

  ink() {
    const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    probe.fillStyle = getComputedStyle(this.figure).color;
    probe.fillRect(0, 0, 1, 1);
    return probe.getImageData(0, 0, 1, 1).data;
  }
}
