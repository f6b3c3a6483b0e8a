// Small plots of the last minute: one line per series, with a list of the newest values.

const SAMPLES = 120; // one minute at two samples per second
const LINES = 6;
const WIDTH = 240, HEIGHT = 64;
const SVG = "http://www.w3.org/2000/svg";

export class Plot {
  // `card`: the element to fill; `empty`: the text shown while there are no series.
  constructor(card, empty) {
    this.empty = empty;
    this.series = new Map(); // name → {values, color, line, item, value}
    this.time = 0;
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.svg.setAttribute("preserveAspectRatio", "none");
    this.svg.setAttribute("aria-hidden", "true"); // the list below has the same content
    this.top = document.createElement("div");
    this.top.className = "top";
    this.top.setAttribute("aria-hidden", "true");
    this.list = document.createElement("ul");
    card.append(this.top, this.svg, this.list);
  }

  // `samples`: the oldest first, each a list of rows [name, number to plot or null, text]. A series without rows has a gap, and ends.
  add(samples) {
    for (const rows of samples) this.#addRows(rows);
    this.#draw();
  }

  clear() {
    for (const [name, entry] of this.series) this.#end(name, entry);
  }

  #addRows(rows) {
    this.time += 1;
    for (const [name, number, text] of rows) {
      const entry = this.series.get(name) ?? this.#begin(name);
      if (!entry) continue;
      entry.points.push([this.time, number]);
      entry.value.textContent = text;
    }
    const told = new Set(rows.map(([name]) => name));
    for (const [name, entry] of this.series) if (!told.has(name)) entry.value.textContent = "–";
  }

  #draw() {
    let highest = 0;
    for (const [name, entry] of this.series) {
      while (entry.points.length && entry.points[0][0] <= this.time - SAMPLES) entry.points.shift();
      if (!entry.points.length) this.#end(name, entry);
      for (const [, number] of entry.points) highest = Math.max(highest, number ?? 0);
    }
    const top = roundUp(highest);
    for (const entry of this.series.values()) entry.line.setAttribute("d", this.#line(entry.points, top));
    this.#caption(top);
  }

  #line(points, top) {
    let before = -Infinity;
    return points
      .filter(([, number]) => number !== null)
      .map(([at, number]) => {
        const x = WIDTH * (1 - (this.time - at) / (SAMPLES - 1));
        const y = HEIGHT - 2 - (HEIGHT - 4) * (number / top);
        const step = at === before + 1 ? "L" : "M";
        before = at;
        return `${step}${x.toFixed(1)},${y.toFixed(1)}`;
      })
      .join(" ");
  }

  #caption(top) {
    const texts = this.series.size ? [String(top), "last minute"] : [];
    if (this.top.dataset.text === texts.join()) return;
    this.top.dataset.text = texts.join();
    this.top.replaceChildren(...texts.map((text) => element("span", "", text)));
    const none = this.list.querySelector(".none");
    if (!this.series.size && !none) this.list.append(element("li", "none", this.empty));
    if (this.series.size && none) none.remove();
  }

  #begin(name) {
    const used = new Set([...this.series.values()].map((entry) => entry.color));
    const color = [...Array(LINES).keys()].find((index) => !used.has(index));
    if (color === undefined) return null;
    const line = document.createElementNS(SVG, "path");
    line.setAttribute("class", `s${color}`);
    this.svg.append(line);
    const item = element("li", `s${color}`);
    const value = element("span", "value");
    item.append(element("span", "", name), value);
    item.dataset.name = name;
    this.list.append(item);
    const entry = { points: [], color, line, item, value };
    this.series.set(name, entry);
    return entry;
  }

  #end(name, entry) {
    entry.line.remove();
    entry.item.remove();
    this.series.delete(name);
  }
}

export function element(kind, className = "", text = "") {
  const made = document.createElement(kind);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

// The next round number at or above `number`.
function roundUp(number) {
  const power = 10 ** Math.floor(Math.log10(Math.max(number, 1)));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((step) => step >= number) ?? 10 * power;
}
