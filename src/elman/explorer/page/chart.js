// Line charts: a few series over whole numbers, on a linear or a logarithmic scale.
import { element, number, svg } from "./dom.js";

const SLIM = 300, NARROW = 460, WIDE = 940, LEFT = 48, RIGHT = 12, BOTTOM = 38, TOP = 10;

const finite = (values) => Array.from(values).filter((v) => Number.isFinite(v));

function scale(series, logarithmic, least, limits) {
  const values = series.flatMap(({ values }) => finite(values)).filter((v) => !logarithmic || v > 0);
  let low = limits?.[0] ?? Math.min(...values), high = limits?.[1] ?? Math.max(...values);
  if (!values.length) [low, high] = [logarithmic ? 0.1 : 0, 1];
  if (!logarithmic) {
    [low, high] = [Math.min(0, low), Math.max(0, high)];
    return { low, high: high > low ? high : low + 1, at: (v) => (v - low) / ((high > low ? high : low + 1) - low), ticks: [low, (low + high) / 2, high] };
  }
  low = Math.max(low, high * least);
  const bottom = Math.floor(Math.log10(low) + 1e-9), top = Math.max(bottom + 1, Math.ceil(Math.log10(high) - 1e-9));
  const every = Math.ceil((top - bottom) / 4), ticks = [];
  for (let e = bottom; e <= top; e += every) ticks.push(10 ** e);
  return { at: (v) => (Math.log10(Math.max(v, 1e-300)) - bottom) / (top - bottom), ticks };
}

// series: [{name, values, color, dashed, bars, from}]; `from` is the first whole number, `each` what a point stands for.
export function chart({ title, xTitle, series, logarithmic = false, least = 1e-12, height = 180, limits, note, wide = false, narrow = false, each = 1 }) {
  const WIDTH = wide ? WIDE : narrow ? SLIM : NARROW, { at, ticks } = scale(series, logarithmic, least, limits);
  const count = Math.max(2, ...series.map((s) => s.values.length)), from = series[0]?.from ?? 0;
  const bars = series.some((s) => s.bars), slots = bars ? count : count - 1;
  const x = (i) => LEFT + ((i + (bars ? 0.5 : 0)) / slots) * (WIDTH - LEFT - RIGHT);
  // A line that leaves the chart goes on outside, where it is cut off.
  const y = (v) => TOP + (1 - Math.min(20, Math.max(-20, at(v)))) * (height - TOP - BOTTOM);
  const grid = ticks.map((tick) => [
    svg("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }),
    svg("text", { class: "tick", x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, logarithmic ? power(tick) : plainNumber(tick)),
  ]);
  const every = Math.max(1, Math.ceil(count / (narrow ? 4 : 8)));
  const marks = Array.from({ length: count }, (_, i) => i).filter((i) => i % every === 0).map((i) => {
    return svg("text", { class: "tick", x: x(i), y: height - BOTTOM + 15, "text-anchor": "middle" }, String((i + from) * each));
  });
  const lines = series.map((one) => (one.bars ? barsOf(one) : lineOf(one)));
  function barsOf({ values, color }) {
    const width = Math.max(2, ((WIDTH - LEFT - RIGHT) / count) * 0.6);
    return Array.from(values, (v, i) => Number.isFinite(v) && svg("rect", { x: x(i) - width / 2, y: Math.max(TOP, y(v)), width, height: Math.max(0, height - BOTTOM - Math.max(TOP, y(v))), rx: 2, fill: color, "fill-opacity": 0.45 }));
  }
  function lineOf({ values, color, dashed, name }) {
    let path = "", pen = false;
    values.forEach((v, i) => {
      if (!Number.isFinite(v)) { pen = false; return; }
      path += `${pen ? "L" : "M"}${x(i).toFixed(1)} ${y(v).toFixed(1)}`;
      pen = true;
    });
    return svg("path", { d: path || "M0 0", class: "series", stroke: color, "stroke-dasharray": dashed ? "5 4" : null }, svg("title", {}, name));
  }
  const legend = element("div", { class: "legend" }, series.map((s) => element("span", {}, svg("svg", { width: 20, height: 10, "aria-hidden": "true" }, s.bars ? svg("rect", { x: 2, y: 1, width: 14, height: 8, rx: 2, fill: s.color, "fill-opacity": 0.45 }) : svg("line", { x1: 0, x2: 20, y1: 5, y2: 5, stroke: s.color, "stroke-width": 2.5, "stroke-dasharray": s.dashed ? "5 4" : null })), s.name)));
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": `${title}. ${summary(series)}` },
    grid, marks, svg("svg", { x: 0, y: TOP - 2, width: WIDTH, height: height - TOP - BOTTOM + 4, viewBox: `0 ${TOP - 2} ${WIDTH} ${height - TOP - BOTTOM + 4}`, overflow: "hidden" }, lines), svg("text", { class: "tick", x: WIDTH - RIGHT, y: height - 5, "text-anchor": "end" }, xTitle));
  return element("figure", { class: wide ? "chart chart-wide" : "chart" }, element("figcaption", {}, title), picture, legend, note ? element("p", { class: "note" }, note) : null);
}

const plainNumber = (tick) => number(tick, 2).replace(/\.0+$/, "");
const DIGITS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
function power(tick) {
  const exponent = Math.round(Math.log10(tick));
  if (exponent >= -2 && exponent <= 3) return number(tick, Math.max(0, -exponent)).replace(/\.0$/, "");
  return `10${exponent < 0 ? "⁻" : ""}${[...String(Math.abs(exponent))].map((digit) => DIGITS[digit]).join("")}`;
}

function summary(series) {
  return series.filter((s) => s.values.length).map(({ name, values }) => `${name}: from ${number(values[0])} to ${number(values[values.length - 1])}`).join("; ");
}
