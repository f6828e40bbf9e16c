// A forecaster: the last values of a series to quantiles of the next ones, in the units of the series.
import { Linear, concatenate, relu, softplus } from "./algebra.js";
import { Recurrent } from "./recurrent.js";

const EPSILON = 1e-5, SMALLEST_GAIN = 1e-2, SMALLEST_SCALE = 1e-3;

export class Forecaster {
  constructor(manifest, tensors) {
    this.spec = manifest.forecast;
    this.tensors = tensors;
    this.recurrent = new Recurrent(manifest.recurrent, tensors);
    this.head = this.linear("head");
    this.outputs = this.spec.output === "quantiles" ? this.spec.levels.length : 2;
    this.decode = { segments: this.segments, direct: this.direct, recursive: this.recursive }[this.spec.decoding];
  }

  linear(name) {
    const weight = this.tensors[`${name}.weight`];
    return weight ? new Linear(weight, this.tensors[`${name}.bias`]) : null;
  }

  row(name, index) {
    const { shape, data } = this.tensors[name];
    return data.subarray(index * shape[1], (index + 1) * shape[1]);
  }

  // Sine and cosine of each wave of each cycle of the calendar at a tick.
  calendar(tick) {
    const features = [];
    for (const [period, waves] of this.spec.cycles) {
      const place = ((((tick % period) + period) % period) / period) * 2 * Math.PI;
      for (let k = 1; k <= waves; k++) features.push(Math.sin(k * place), Math.cos(k * place));
    }
    return Float32Array.from(features);
  }

  // Quantiles, [horizon][levels], after values of a series, of which NaN is missing; `first` is the tick of the first
  // one. Nothing but the last `lookback` values is read.
  forecast(values, { series = 0, first = 0, horizon = this.spec.horizon } = {}) {
    const { lookback: T, clock, mean, deviation, levels } = this.spec;
    const skipped = values.length - T, past = values.slice(skipped);
    const level = mean[series], spread = deviation[series];
    const seen = Float32Array.from(past, (value) => (Number.isNaN(value) ? 0 : 1));
    let before = 0;
    const x = Float32Array.from(past, (value) => (before = Number.isNaN(value) ? before : (value - level) / spread));
    const steps = this.spec.decoding === "recursive" ? horizon : this.spec.horizon;
    const start = first + skipped * clock.every;
    const calendar = Array.from({ length: T + steps }, (_, t) => this.calendar(start + t * clock.every));
    const { location, scale } = this.window(x, seen, series);
    const z = x.map((value) => (value - location) / scale);
    const raw = this.decode.call(this, z, seen, calendar, series, steps);
    return raw.slice(0, horizon).map((numbers) => {
      const forecast = this.distribution(numbers), quantiles = this.spec.output === "quantiles";
      const units = levels.map((_, q) => {
        const normalised = quantiles ? forecast[q] : forecast[0] + forecast[1] * this.spec.standard[q];
        const value = (normalised * scale + location) * spread + level;
        return this.spec.min_value === null ? value : Math.max(value, this.spec.min_value);
      });
      return units;
    });
  }

  // The location and scale of a window: normalised = (x - location) / scale.
  window(x, seen, series) {
    if (this.spec.norm === "none") return { location: 0, scale: 1 };
    if (this.spec.norm === "last") return { location: x[x.length - 1], scale: 1 };
    let count = 0, sum = 0, squares = 0;
    x.forEach((value, t) => ((count += seen[t]), (sum += value * seen[t])));
    const location = sum / Math.max(1, count);
    x.forEach((value, t) => (squares += (value - location) ** 2 * seen[t]));
    const gain = Math.max(this.tensors["norm.gain"].data[series], SMALLEST_GAIN);
    const scale = Math.sqrt(squares / Math.max(1, count) + EPSILON) / gain;
    return { location: location - this.tensors["norm.shift"].data[series] * scale, scale };
  }

  // Quantiles in rising order, or location and scale, of the outputs of the network for a step.
  distribution(raw) {
    if (this.spec.output !== "quantiles") return [raw[0], softplus(raw[1]) + SMALLEST_SCALE];
    const out = Float64Array.from(raw), middle = this.spec.levels.indexOf(0.5);
    for (let q = middle - 1; q >= 0; q--) out[q] = out[q + 1] - softplus(raw[q]);
    for (let q = middle + 1; q < out.length; q++) out[q] = out[q - 1] + softplus(raw[q]);
    return out;
  }

  // The outputs of the network for each step of a horizon, rows of a flat vector.
  rows(flat) {
    const P = this.outputs;
    return Array.from({ length: flat.length / P }, (_, f) => flat.subarray(f * P, (f + 1) * P));
  }

  segments(z, seen, calendar, series, horizon) {
    const W = this.spec.segment, T = z.length, lead = (W - (T % W)) % W, ahead = Math.ceil(horizon / W);
    const past = this.linear("past"), covariates = this.linear("covariates");
    const added = (e, segment) => {
      if (!covariates) return e;
      const shift = covariates.apply(calendar[Math.max(0, segment * W - lead)]);
      return e.map((value, i) => value + shift[i]);
    };
    const count = (T + lead) / W, at = (row, t) => (t < 0 ? 0 : row[t]), inputs = [];
    for (let n = 0; n < count; n++) {
      const input = new Float32Array(2 * W);
      for (let w = 0; w < W; w++) {
        const t = n * W + w - lead;
        input[W + w] = at(seen, t);
        input[w] = at(z, t) * input[W + w];
      }
      inputs.push(relu(added(past.apply(input), n)));
    }
    const { state } = this.recurrent.run(inputs), identity = this.row("identity", series), out = [];
    for (let m = 0; m < ahead; m++) {
      const e = this.row("place", m).map((value, i) => value + identity[i]);
      out.push(...this.rows(this.head.apply(this.recurrent.step(relu(added(e, count + m)), state).y)));
    }
    return out;
  }

  direct(z, seen, calendar, series) {
    const identity = this.row("identity", series), ahead = this.linear("ahead");
    const inputs = Array.from(z, (value, t) => concatenate([value, seen[t]], calendar[t], identity));
    const rows = this.rows(this.head.apply(this.recurrent.run(inputs).last));
    if (!ahead) return rows;
    return rows.map((row, f) => {
      const shift = ahead.apply(calendar[z.length + f]);
      return row.map((value, p) => value + shift[p]);
    });
  }

  recursive(z, seen, calendar, series, horizon) {
    const identity = this.row("identity", series), T = z.length, out = [];
    let state = this.recurrent.initial(), y;
    for (let t = 0; t < T; t++) {
      ({ y, state } = this.recurrent.step(concatenate([z[t], seen[t]], calendar[t + 1], identity), state));
    }
    for (let f = 0; f < horizon; f++) {
      const raw = this.head.apply(y);
      out.push(raw);
      if (f + 1 === horizon) break;
      const point = this.spec.output === "quantiles" ? raw[this.spec.levels.indexOf(0.5)] : raw[0];
      ({ y, state } = this.recurrent.step(concatenate([point, 1], calendar[T + f + 1], identity), state));
    }
    return out;
  }
}

const MINUTE = 60_000_000, HOUR = 60 * MINUTE, DAY = 24 * HOUR;

// A tick of a text, or NaN: an integer, or a time of ISO 8601 in the time zone in which it is written.
export function tickOf(text, clock) {
  if (clock.kind === "number") return /^[+-]?\d{1,15}$/.test(text) ? Number(text) : NaN;
  const parts = /^(\d{4})(?:-(\d{2})(?:-(\d{2})(?:[ T](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?)?)?)?/.exec(text);
  if (!parts) return NaN;
  const [year, month, day, hour, minute, second] = parts.slice(1, 7).map((part, n) => Number(part ?? (n === 1 || n === 2 ? 1 : 0)));
  if (month < 1 || month > 12) return NaN;
  if (clock.kind === "month") return 12 * year + month - 1;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  if (date.getUTCDate() !== day || hour > 23 || minute > 59 || second > 59) return NaN;
  const fraction = Number((parts[7] ?? "").padEnd(6, "0"));
  return date.getTime() * 1000 + hour * HOUR + minute * MINUTE + second * 1_000_000 + fraction;
}

// A tick as a text, as short as its step allows.
export function timeText(tick, clock) {
  if (clock.kind === "number") return String(tick);
  if (clock.kind === "month") {
    const year = String(Math.floor(tick / 12)).padStart(4, "0");
    return clock.every % 12 === 0 ? year : `${year}-${String((((tick % 12) + 12) % 12) + 1).padStart(2, "0")}`;
  }
  const iso = new Date(Math.floor(tick / 1000)).toISOString();
  if (clock.every % DAY === 0) return iso.slice(0, 10);
  return `${iso.slice(0, 10)} ${iso.slice(11, clock.every % MINUTE === 0 ? 16 : 19)}`;
}

// {values, first}: a series of lines "value" or "time, value"; an empty value, nan, na and null are missing. `first` is
// null where no line has a time. Steps that are left out are missing values. `example` is a tick, for messages.
export function parseSeries(text, clock, example = 0) {
  const rows = [];
  for (const [n, line] of text.split(/\r?\n/).entries()) {
    if (!line.trim()) continue;
    const cells = line.split(/[,;\t]/).map((cell) => cell.trim());
    const value = /^(nan|na|null|)$/i.test(cells.at(-1)) ? NaN : Number(cells.at(-1));
    const named = Number.isNaN(value) && !/^(nan|na|null|)$/i.test(cells.at(-1));
    if (named && !rows.length) continue; // a header
    if (named || !(Number.isNaN(value) || Number.isFinite(value))) throw new Error(`line ${n + 1}: "${cells.at(-1)}" is not a number`);
    if (cells.length > 2) throw new Error(`line ${n + 1} has ${cells.length} columns, not a time and a value`);
    const tick = cells.length === 2 ? tickOf(cells[0], clock) : null;
    if (Number.isNaN(tick)) throw new Error(`line ${n + 1}: "${cells[0]}" is not a time such as ${timeText(example, clock)}`);
    if (rows.length && (rows[0].tick === null) !== (tick === null)) throw new Error(`line ${n + 1}: times on some lines alone`);
    rows.push({ n, tick, value });
  }
  if (!rows.length || rows[0].tick === null) return { values: rows.map((row) => row.value), first: null };
  const first = rows[0].tick, values = [];
  for (const { n, tick, value } of rows) {
    const place = (tick - first) / clock.every;
    if (!Number.isInteger(place)) throw new Error(`line ${n + 1} is not on the grid of steps of ${clock.step}`);
    if (place < values.length) throw new Error(`line ${n + 1} is not after the line before it`);
    if (place > values.length + 100000) throw new Error(`line ${n + 1} is too far from the line before it`);
    while (values.length < place) values.push(NaN);
    values.push(value);
  }
  return { values, first };
}
