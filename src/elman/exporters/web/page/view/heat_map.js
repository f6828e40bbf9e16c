// The hidden state as a heat map: a square for each unit. A unit is chosen by pointer or by the arrow keys.
import { colours, element, paint } from "./elements.js";

export class HeatMap {
  // units: how many; choose(unit): called when one is chosen, -1 for none; hint: what is said while none is.
  constructor(units, choose, hint) {
    this.units = units;
    this.choose = choose;
    this.hint = hint;
    this.chosen = -1;
    this.values = new Float32Array(units);
    this.columns = fittingColumns(units);
    this.rows = Math.ceil(units / this.columns);
    this.canvas = element("canvas", { class: "pixels heat", role: "application", tabIndex: 0 });
    this.canvas.style.aspectRatio = `${this.columns} / ${this.rows}`;
    this.canvas.setAttribute("aria-label", `${units} units of the hidden state; arrow keys choose one, Escape none`);
    this.caption = element("p", { class: "hint", role: "status" });
    this.node = element("div", {}, this.canvas, this.caption);
    this.canvas.addEventListener("click", (event) => this.pick(this.at(event)));
    this.canvas.addEventListener("pointermove", (event) => event.pointerType === "mouse" && this.describe(this.at(event)));
    this.canvas.addEventListener("pointerleave", () => this.describe(this.chosen));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    addEventListener("themechange", () => this.show(this.values));
    this.describe(-1);
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * this.columns);
    const row = Math.floor(((event.clientY - box.top) / box.height) * this.rows);
    const unit = row * this.columns + column;
    return column >= 0 && column < this.columns && unit >= 0 && unit < this.units ? unit : -1;
  }

  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns }[event.key];
    if (event.key === "Escape") this.pick(this.chosen);
    if (step === undefined) return;
    event.preventDefault();
    const unit = this.chosen < 0 ? 0 : this.chosen + step;
    if (unit >= 0 && unit < this.units) this.pick(unit);
  }

  // Choose a unit; the same one again is none.
  pick(unit) {
    this.chosen = unit === this.chosen ? -1 : unit;
    this.choose(this.chosen);
    this.show(this.values);
  }

  describe(unit) {
    const value = this.values[unit];
    this.caption.textContent =
      unit < 0 ? this.hint : `Unit ${unit}: ${value >= 0 ? "+" : "−"}${Math.abs(value).toFixed(2)}`;
  }

  show(values) {
    this.values = values;
    const scale = 8, width = this.columns * scale, height = this.rows * scale, theme = colours();
    this.canvas.width = width;
    this.canvas.height = height;
    const context = this.canvas.getContext("2d"), image = context.createImageData(width, height), { data } = image;
    const colour = new Uint8ClampedArray(4);
    for (let unit = 0; unit < this.units; unit++) {
      const left = (unit % this.columns) * scale, top = Math.floor(unit / this.columns) * scale;
      paint(colour, 0, values[unit], theme);
      for (let y = top; y < top + scale - 1; y++) for (let x = left; x < left + scale - 1; x++) data.set(colour, 4 * (y * width + x));
    }
    context.putImageData(image, 0, 0);
    if (this.chosen >= 0) {
      context.strokeStyle = theme.ink;
      context.lineWidth = 2;
      const left = (this.chosen % this.columns) * scale, top = Math.floor(this.chosen / this.columns) * scale;
      context.strokeRect(left, top, scale - 1, scale - 1);
    }
    this.describe(this.chosen);
  }
}

// Columns of a grid that is about twice as wide as high, full rows where the number of units allows it.
function fittingColumns(units) {
  const ideal = Math.sqrt(2 * units), fits = (columns) => units % columns === 0 && columns >= ideal / 2 && columns <= 2 * ideal;
  const distance = (columns) => Math.abs(Math.log(columns / ideal)) - 1e-6 * columns;
  const full = Array.from({ length: units }, (_, n) => n + 1).filter(fits).sort((a, b) => distance(a) - distance(b));
  return full[0] ?? Math.min(units, Math.round(ideal));
}
