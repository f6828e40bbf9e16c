// Pieces of the page: elements, bars, heat maps, strips. Whatever comes from a model is shown as text, never as HTML.

export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node && typeof value !== "string") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

export const card = (title, ...children) => element("section", { class: "card" }, element("h2", {}, title), ...children);

export const percent = (p) => (p >= 0.9995 ? "100 %" : p < 0.0005 ? "< 0.1 %" : `${(100 * p).toFixed(p < 0.0995 ? 1 : 0)} %`);

// A symbol as it can be seen.
const VISIBLE = new Map([["\n", "⏎"], [" ", "␣"], ["\t", "⇥"], ["\r", "␍"], ["", "∅"]]);
export const visible = (text) => VISIBLE.get(text) ?? text;

export const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

// A message under a control, announced to a reader of the screen.
export function message() {
  const node = element("p", { class: "message", role: "status" });
  return {
    node,
    say: (text) => ((node.textContent = text), node.classList.remove("wrong")),
    fail: (error) => ((node.textContent = error.message ?? String(error)), node.classList.add("wrong")),
  };
}

// A slider with its value beside its name.
export function dial(name, { min, max, step, value, text = String }, change) {
  const id = `dial-${name.toLowerCase().replaceAll(" ", "-")}`, shown = element("output", { for: id }, text(value));
  const input = element("input", { type: "range", id, min: String(min), max: String(max), step: String(step) });
  input.value = String(value);
  input.addEventListener("input", () => {
    shown.textContent = text(Number(input.value));
    input.setAttribute("aria-valuetext", shown.textContent);
    change(Number(input.value));
  });
  return element("div", {}, element("label", { for: id }, name), shown, input);
}

// Bars of probabilities: [{name, p, key}], the same rows each time, so that the page does not jump.
export class Bars {
  constructor({ choose = null, labels = false } = {}) {
    this.node = element("ol", { class: labels ? "bars labels" : "bars" });
    this.choose = choose;
    this.rows = [];
  }

  show(entries, best = null) {
    while (this.rows.length < entries.length) this.add();
    this.rows.forEach(({ item, row, name, value }, n) => {
      item.hidden = n >= entries.length;
      if (item.hidden) return;
      const entry = entries[n];
      row.entry = entry;
      row.style.setProperty("--p", entry.p.toFixed(4));
      row.classList.toggle("best", entry.key === best);
      name.textContent = entry.name;
      value.textContent = percent(entry.p);
      if (this.choose) row.setAttribute("aria-label", `${entry.spoken ?? entry.name}, ${value.textContent}`);
    });
  }

  add() {
    const name = element("span", { class: "name" }), value = element("span", { class: "value" });
    const row = element(this.choose ? "button" : "div", { class: "row" }, name, value);
    if (this.choose) {
      row.type = "button";
      row.addEventListener("click", () => this.choose(row.entry));
    }
    const item = element("li", {}, row);
    this.node.append(item);
    this.rows.push({ item, row, name, value });
  }
}

// The colours of the theme as numbers.
export function colours() {
  const style = getComputedStyle(document.documentElement);
  const triple = (name) => style.getPropertyValue(name).trim().split(/\s+/).map(Number);
  const plain = (name) => style.getPropertyValue(name).trim();
  return {
    positive: triple("--positive"), negative: triple("--negative"), zero: triple("--zero"),
    ink: plain("--ink"), soft: plain("--soft"), line: plain("--line"), accent: plain("--accent"), panel: plain("--panel"),
    sunken: plain("--sunken"),
  };
}

// The colour of a number from -1 to 1 into four bytes.
export function paint(bytes, at, value, { positive, negative, zero }) {
  const end = value >= 0 ? positive : negative, share = Math.sqrt(Math.min(1, Math.abs(value)));
  for (let c = 0; c < 3; c++) bytes[at + c] = zero[c] + (end[c] - zero[c]) * share;
  bytes[at + 3] = 255;
}

export const tint = (value) =>
  `rgb(var(${value >= 0 ? "--positive" : "--negative"}) / ${(0.62 * Math.min(1, Math.abs(value))).toFixed(3)})`;

// A canvas whose pixels are those of the screen: draw(context, width, height).
export class Drawing {
  constructor(properties, draw) {
    this.node = element("canvas", properties);
    this.draw = draw;
    new ResizeObserver(() => this.redraw()).observe(this.node);
    addEventListener("themechange", () => this.redraw());
  }

  redraw() {
    const ratio = devicePixelRatio || 1, width = this.node.clientWidth, height = this.node.clientHeight;
    if (!width || !height) return;
    this.node.width = Math.round(width * ratio);
    this.node.height = Math.round(height * ratio);
    const context = this.node.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    this.draw(context, width, height);
  }
}

// Rows of numbers from -1 to 1 over steps: columns[t][row]. The last `most` columns are shown.
export class Strip {
  constructor({ rows, most = 400, height = 120, label }) {
    Object.assign(this, { rows, most, columns: [] });
    this.node = element("canvas", { class: "strip pixels", role: "img", "aria-label": label });
    this.node.style.height = `${height}px`;
    addEventListener("themechange", () => this.redraw());
  }

  show(columns) {
    this.columns = columns.slice(-this.most);
    this.redraw();
  }

  push(column) {
    this.columns.push(column);
    if (this.columns.length > this.most) this.columns.shift();
  }

  redraw(width = Math.max(1, this.columns.length)) {
    this.node.width = width;
    this.node.height = this.rows;
    const context = this.node.getContext("2d"), image = context.createImageData(width, this.rows), theme = colours();
    this.columns.forEach((column, t) => {
      for (let row = 0; row < this.rows; row++) paint(image.data, 4 * (row * width + t), column[row], theme);
    });
    context.putImageData(image, 0, 0);
  }
}
