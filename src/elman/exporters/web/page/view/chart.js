// The chart of a forecast: the end of the series, the median, and a band for each pair of quantiles.
import { Drawing, colours, element } from "./elements.js";

const MOST_PAST = 3; // horizons of the past that are shown, at least 40 steps
const LEFT = 52, RIGHT = 10, TOP = 12, BOTTOM = 26;

export class ForecastChart {
  // edit(t, value): called while a point of the series is dragged.
  constructor(edit) {
    this.edit = edit;
    this.drawing = new Drawing({ class: "chart", role: "img", "aria-label": "The series and its forecast" }, (...canvas) => this.paint(...canvas));
    this.node = this.drawing.node;
    this.show([], [], 0, () => "");
    this.listen();
  }

  show(values, quantiles, median, time) {
    Object.assign(this, { values, quantiles, median, time });
    this.begin = Math.max(0, values.length - Math.max(40, MOST_PAST * quantiles.length));
    this.drawing.redraw();
  }

  legend(levels) {
    const ends = [levels[0], levels.at(-1)].map((level) => `${100 * level} %`);
    return element("p", { class: "hint" }, `Line: the series and the median. Band: from the ${ends[0]} to the ${ends[1]} quantile.`);
  }

  listen() {
    let dragged = -1;
    const value = (event) => {
      const y = event.clientY - this.node.getBoundingClientRect().top;
      return this.range[0] + ((this.bottom - y) / (this.bottom - TOP)) * (this.range[1] - this.range[0]);
    };
    this.node.addEventListener("pointerdown", (event) => {
      if (!this.values.length) return;
      const x = event.clientX - this.node.getBoundingClientRect().left, t = Math.round(this.begin + (x - LEFT) / this.stepWidth);
      if (t < this.begin || t >= this.values.length) return;
      dragged = t;
      this.frozen = this.range;
      this.node.setPointerCapture(event.pointerId);
      this.edit(t, value(event));
    });
    this.node.addEventListener("pointermove", (event) => dragged >= 0 && this.edit(dragged, value(event)));
    for (const name of ["pointerup", "pointercancel"]) {
      this.node.addEventListener(name, () => {
        if (dragged < 0) return;
        dragged = -1;
        this.frozen = null;
        this.drawing.redraw();
      });
    }
  }

  paint(context, width, height) {
    const past = this.values.slice(this.begin), count = past.length + this.quantiles.length;
    if (!count) return;
    const theme = colours(), numbers = [...past.filter((value) => !Number.isNaN(value)), ...this.quantiles.flat()];
    const low = numbers.reduce((a, b) => Math.min(a, b)), high = numbers.reduce((a, b) => Math.max(a, b)), room = 0.06 * (high - low || 1);
    this.range = this.frozen ?? [low - room, high + room];
    this.bottom = height - BOTTOM;
    this.stepWidth = (width - LEFT - RIGHT) / Math.max(1, count - 1);
    const x = (n) => LEFT + n * this.stepWidth;
    const y = (value) => this.bottom - ((value - this.range[0]) / (this.range[1] - this.range[0])) * (this.bottom - TOP);
    this.paintAxes(context, width, count, x, y, theme);
    const last = past.length - 1, from = Number.isNaN(past[last]) ? [] : [[last, past[last], past[last]]];
    context.fillStyle = theme.accent;
    for (let q = 0; q < this.median; q++) {
      const band = [...from, ...this.quantiles.map((row, f) => [past.length + f, row[q], row.at(-1 - q)])];
      context.globalAlpha = 0.35 / this.median;
      context.beginPath();
      for (const [n, lower] of band) context.lineTo(x(n), y(lower));
      for (const [n, , upper] of band.reverse()) context.lineTo(x(n), y(upper));
      context.fill();
    }
    context.globalAlpha = 1;
    context.lineWidth = 2;
    context.lineJoin = "round";
    this.line(context, past.map((value, n) => [x(n), y(value)]), theme.ink);
    this.line(context, [...from.map(([n, value]) => [x(n), y(value)]), ...this.quantiles.map((row, f) => [x(past.length + f), y(row[this.median])])], theme.accent);
    if (this.stepWidth < 5) return;
    context.fillStyle = theme.ink;
    past.forEach((value, n) => {
      if (Number.isNaN(value)) return;
      context.beginPath();
      context.arc(x(n), y(value), 2.5, 0, 2 * Math.PI);
      context.fill();
    });
  }

  line(context, points, colour) {
    context.strokeStyle = colour;
    context.beginPath();
    let open = false;
    for (const [px, py] of points) {
      if (Number.isNaN(py)) open = false;
      else if (open) context.lineTo(px, py);
      else {
        context.moveTo(px, py);
        open = true;
      }
    }
    context.stroke();
  }

  paintAxes(context, width, count, x, y, theme) {
    context.font = "12px system-ui, sans-serif";
    context.lineWidth = 1;
    const step = roundStep((this.range[1] - this.range[0]) / 4);
    for (let value = Math.ceil(this.range[0] / step) * step; value <= this.range[1]; value += step) {
      context.strokeStyle = theme.line;
      context.beginPath();
      context.moveTo(LEFT, Math.round(y(value)) + 0.5);
      context.lineTo(width - RIGHT, Math.round(y(value)) + 0.5);
      context.stroke();
      context.fillStyle = theme.soft;
      context.textAlign = "right";
      context.fillText(shortNumber(value, step), LEFT - 8, y(value) + 4);
    }
    const border = x(count - this.quantiles.length - 0.5);
    context.strokeStyle = theme.soft;
    context.setLineDash([3, 4]);
    context.beginPath();
    context.moveTo(border, TOP);
    context.lineTo(border, this.bottom);
    context.stroke();
    context.setLineDash([]);
    const every = Math.max(1, Math.ceil(count / Math.max(2, Math.floor((width - LEFT) / 110))));
    context.textAlign = "center";
    for (let n = 0; n < count; n += every) {
      const text = this.time(this.begin + n), half = context.measureText(text).width / 2;
      context.fillText(text, Math.min(width - half - 2, Math.max(LEFT + half - 20, x(n))), this.bottom + 18);
    }
  }
}

function roundStep(step) {
  const power = 10 ** Math.floor(Math.log10(step || 1)), share = step / power;
  return power * (share > 5 ? 10 : share > 2 ? 5 : share > 1 ? 2 : 1);
}

function shortNumber(value, step) {
  if (Math.abs(value) >= 1e6 || (value && Math.abs(value) < 1e-4)) return value.toExponential(1);
  return value.toFixed(Math.max(0, Math.min(6, -Math.floor(Math.log10(step)))));
}
