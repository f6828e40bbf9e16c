// Answers of `/v1/predict`, by the fields that they have.
import { ForecastChart } from "./shared/view/chart.js";
import { Bars, element } from "./shared/view/elements.js";

const SHOWN = 12; // rows of bars

const number = (value) => Number(value.toPrecision(4)).toLocaleString("en", { maximumSignificantDigits: 4 });
const verdict = (text, note) => element("p", { class: "verdict" }, text, ...(note ? [element("small", {}, note)] : []));

function bars(pairs, best = null) {
  const list = new Bars({ labels: true });
  list.show(pairs.slice(0, SHOWN).map(([name, p]) => ({ key: name, name, p: Math.max(0, Math.min(1, p)) })), best);
  return list.node;
}

const sorted = (probabilities) => Object.entries(probabilities).sort((a, b) => b[1] - a[1]);

function classified({ label, labels, probabilities }) {
  const best = label ?? (labels.join(", ") || "none");
  return [verdict(best), ...(probabilities && !Array.isArray(probabilities) ? [bars(sorted(probabilities), label)] : [])];
}

function tagged({ tokens, labels }) {
  const tags = labels.map((label, n) => element("li", {}, tokens?.[n] ?? String(n), element("small", {}, label)));
  return [element("ol", { class: "tagged" }, ...tags)];
}

function translated({ translation, caption, n_best: hypotheses = [] }) {
  const others = hypotheses.slice(1).map((each) => element("li", {}, each.translation ?? each.caption));
  return [element("p", { class: "translation" }, translation ?? caption), ...(others.length ? [element("ol", { class: "hint" }, ...others)] : [])];
}

function recommended({ items, scores }) {
  return [bars(items.map((item, n) => [item, scores[n]]))];
}

function similar({ score, answer }) {
  return [verdict(answer ?? number(score), answer ? number(score) : "")];
}

// Series before the forecast are those of the file, where it is at hand.
export function forecast({ series, times, forecast: median, quantiles }, columns) {
  const levels = Object.keys(quantiles ?? {}).sort((a, b) => a - b);
  const rows = times.map((_, n) => (levels.length ? levels.map((level) => quantiles[level][n]) : [median[n]]));
  const all = columns ? [...columns.values()] : [], values = (columns?.get(series) ?? []).map((cell) => (cell === "" ? NaN : Number(cell)));
  const chart = new ForecastChart(() => {}), at = levels.indexOf("0.5");
  chart.node.setAttribute("aria-label", `Forecast of ${series}: ${times.map((time, n) => `${time} ${number(median[n])}`).join(", ")}`);
  chart.show(values, rows, Math.max(0, at), (t) => (t < values.length ? all[0][t] : times[t - values.length]) ?? "");
  return [chart.node];
}

const FORMS = [
  [({ forecast: values, times }) => values && times, forecast],
  [({ labels, tokens }) => Array.isArray(labels) && Array.isArray(tokens), tagged],
  [({ label, labels }) => typeof label === "string" || Array.isArray(labels), classified],
  [({ translation, caption }) => translation !== undefined || caption !== undefined, translated],
  [({ items, scores }) => items && scores, recommended],
  [({ score }) => typeof score === "number", similar],
  [({ number: value }) => typeof value === "number", ({ number: value }) => [verdict(number(value))]],
  [({ text }) => typeof text === "string", ({ text }) => [element("p", { class: "translation" }, text || "No words were heard.")]],
];

// Return the node of an answer.
export function answerNode(fields, columns) {
  const name = fields.series ?? fields.input ?? fields.path ?? fields.source ?? "";
  const head = name ? [element("h3", {}, name)] : [];
  if (fields.error) return element("div", { class: "answer" }, ...head, element("p", { class: "message wrong" }, String(fields.error.message ?? fields.error)));
  const form = FORMS.find(([fits]) => fits(fields));
  return element("div", { class: "answer" }, ...head, ...(form ? form[1](fields, columns) : []));
}

export function rawNode(predictions) {
  return element("details", { class: "raw" }, element("summary", {}, "The answer as JSON"), element("pre", { tabIndex: 0 }, JSON.stringify(predictions, null, 1)));
}
