// The equation of a node, with its numbers in it, term by term.
import { CELLS } from "./cells.js";
import { isPlain } from "./network.js";
import { element, number, sub } from "./dom.js";

const MOST_TERMS = 8;

const variable = (name, ...index) => element("var", {}, ...(index.length ? sub(name, index.join(",")) : [name]));
const term = (kind, ...parts) => element("span", { class: `term term-${kind}` }, ...parts);

// a . b written out: each product, the smaller ones of a long sum together.
function products(kind, weights, values, names) {
  const all = Array.from(values, (value, i) => ({ weight: weights[i], value, size: Math.abs(weights[i] * value), i }));
  const shown = all.length <= MOST_TERMS ? all : [...all].sort((a, b) => b.size - a.size).slice(0, MOST_TERMS);
  const rest = all.filter((entry) => !shown.includes(entry));
  const spans = shown.map(({ weight, value, i }) => {
    return term(kind, element("span", { class: "w", title: `${names[0]}[${i + 1}]` }, number(weight, 2)), "·", element("span", { class: "v", title: `${names[1]}[${i + 1}]` }, number(value, 2)));
  });
  if (rest.length) {
    const sum = rest.reduce((total, { weight, value }) => total + weight * value, 0);
    spans.push(term(kind, `${rest.length} more: ${number(sum, 3)}`));
  }
  return join(spans);
}

const join = (spans) => spans.flatMap((span, n) => (n ? [element("i", { class: "plus" }, "+"), span] : [span]));
const line = (...parts) => element("div", { class: "equation-line" }, ...parts);
const result = (value) => element("strong", { class: "result" }, number(value, 4));
const rowOf = (M, i, cols) => M.subarray(i * cols, i * cols + cols);

function sumOf(study, step, row, t) {
  const { U, W, b, bh } = study.network.parameters, { I, H } = study.network.sizes;
  const biases = [term("b", number(b[row], 2)), ...(bh ? [term("b", number(bh[row], 2))] : [])];
  return [
    products("U", rowOf(U, row, I), study.x[t], ["U", "x"]), element("i", { class: "plus" }, "+"),
    products("W", rowOf(W, row, H), step.past[0], ["W", "s"]), element("i", { class: "plus" }, "+"), join(biases),
  ];
}

function stateEquation(study, { t, i }) {
  const step = study.tape.steps[t], cell = study.network.cell, H = study.network.sizes.H, name = [t + 1, i + 1];
  if (isPlain(study.network)) {
    const f = cell.slice(4), sum = step.gx[i] + step.gh[i];
    return [
      line(variable("s", t + 1), " = ", f, " ( ", variable("U"), " ", variable("x", t + 1), " + ", variable("W"), " ", variable("s", t), " + ", variable("b"), " )", element("small", {}, `unit ${i + 1} of ${H}`)),
      line(variable("s", ...name), " = ", f, " ( ", sumOf(study, step, i, t), " )"),
      line(variable("s", ...name), " = ", f, " ( ", number(sum, 4), " ) = ", result(step.state[0][i])),
    ];
  }
  const gates = CELLS[cell].gates.map((gate, n) => {
    const row = n * H + i, candidate = ["g", "n"].includes(gate), wide = cell === "gru" && gate === "n";
    const dots = wide
      ? [products("U", rowOf(study.network.parameters.U, row, study.network.sizes.I), study.x[t], ["U", "x"]), ` + b + ${number(step.kept.r[i], 2)} · (W s + b) = tanh ( ${number(step.gx[row] + step.kept.r[i] * step.gh[row], 3)} )`]
      : [sumOf(study, step, row, t)];
    return line(variable(gate, ...name), candidate ? " = tanh ( " : " = sigmoid ( ", dots, wide ? "" : " )", " = ", result(step.kept[gate][i]));
  });
  const k = step.kept, v = (x) => number(x, 2);
  const last = cell === "gru"
    ? [line(variable("s", ...name), " = (1 − z) · n + z · ", variable("s", t, i + 1), ` = (1 − ${v(k.z[i])}) · ${v(k.n[i])} + ${v(k.z[i])} · ${v(k.past[i])} = `, result(step.state[0][i]))]
    : [
      line(variable("c", ...name), " = f · ", variable("c", t, i + 1), ` + i · g = ${v(k.f[i])} · ${v(k.past_c[i])} + ${v(k.i[i])} · ${v(k.g[i])} = `, result(step.state[1][i])),
      line(variable("s", ...name), ` = o · tanh(c) = ${v(k.o[i])} · tanh(${v(step.state[1][i])}) = `, result(step.state[0][i])),
    ];
  return [...gates, ...last];
}

function outputEquation(study, { t, i }) {
  const step = study.tape.steps[t], { V, c } = study.network.parameters, H = study.network.sizes.H, g = study.network.g;
  const a = [products("V", rowOf(V, i, H), step.state[0], ["V", "s"]), element("i", { class: "plus" }, "+"), term("b", number(c[i], 2))];
  const lines = [
    line(variable("o", t + 1), ` = ${g} ( `, variable("V"), " ", variable("s", t + 1), " + ", variable("c"), " )", element("small", {}, label(study, i))),
    line(variable("a", t + 1, i + 1), " = ", a, " = ", number(step.a[i], 4)),
  ];
  if (g === "softmax") {
    lines.push(line(variable("o", t + 1, i + 1), " = e", element("sup", {}, number(step.a[i], 2)), " / ( ", join(Array.from(step.a.slice(0, MOST_TERMS), (v) => term("b", element("span", {}, "e", element("sup", {}, number(v, 2)))))), step.a.length > MOST_TERMS ? " + …" : "", " ) = ", result(step.o[i])));
  } else lines.push(line(variable("o", t + 1, i + 1), ` = ${g} ( ${number(step.a[i], 4)} ) = `, result(step.o[i])));
  return lines;
}

const label = (study, i) => (study.symbols ? `output ${i + 1}: the letter “${study.symbols[i]}”` : `output ${i + 1}`);

function errorEquation(study, { t }) {
  const { o } = study.tape.steps[t], y = study.y[t], kind = study.network.error;
  const indices = [...y.keys()].slice(0, MOST_TERMS), more = y.length > MOST_TERMS ? " + …" : "";
  const lines = {
    "cross-entropy": () => [" = − ", element("i", {}, "Σ y log o"), " = ", join(indices.filter((i) => y[i] > 0).map((i) => term("b", `−${number(y[i], 2)} · log ${number(o[i], 3)}`)))],
    "binary cross-entropy": () => [" = − ", element("i", {}, "Σ y log o + (1 − y) log (1 − o)"), " = ", join(indices.map((i) => term("b", `−(${number(y[i], 2)} · log ${number(o[i], 3)} + ${number(1 - y[i], 2)} · log ${number(1 - o[i], 3)})`)))],
    "squared error": () => [" = ½ ", element("i", {}, "Σ (o − y)²"), " = ½ ( ", join(indices.map((i) => term("b", `(${number(o[i], 2)} − ${number(y[i], 2)})²`))), " )"],
  };
  return [
    line(variable("E", t + 1), lines[kind](), more, " = ", result(study.E[t])),
    line(variable("E"), " = sum over the steps = ", join(Array.from(study.E.slice(0, 8), (e) => term("b", number(e, 2)))), study.E.length > 8 ? " + …" : "", " = ", result(study.total)),
  ];
}

function gradientLine(study, { t, i }) {
  const d = study.back.states[t][0][i], own = study.pairs[t][t].state[0][i];
  const later = t + 1 < study.x.length ? d - own : 0;
  return line(
    element("span", { class: "back-text" }, "∂E/∂", variable("s", t + 1, i + 1)), " = ", term("back", number(own, 4)), element("small", {}, `from E${t + 1}, through V`),
    element("i", { class: "plus" }, "+"), term("back", number(later, 4)), element("small", {}, "from all later steps, through W"), " = ", result(d),
  );
}

function inputEquation(study, { kind, t, i }) {
  if (t < 0) return [line(variable(kind, 0, i + 1), " = ", result(study.network.initial[kind === "c" ? 1 : 0][i]), element("small", {}, "the state before the first step: memory of nothing yet"))];
  const d = study.back.x[t][i], letter = study.symbols ? `, the letter “${study.symbols[i]}”` : "";
  return [line(variable("x", t + 1, i + 1), " = ", result(study.x[t][i]), element("small", {}, `input ${i + 1} of step ${t + 1}${letter}`)), line(element("span", { class: "back-text" }, "∂E/∂", variable("x", t + 1, i + 1)), " = ", result(d))];
}

// The lines for a node {kind, t, i}; with `backward`, of a state, its value and the gradient that arrives there.
export function equationOf(study, place, backward) {
  const kind = place.kind === "c" && place.t >= 0 ? "s" : place.kind;
  if (place.t < 0 || kind === "x") return inputEquation(study, place);
  if (kind === "s" && backward) return [...stateEquation(study, place).slice(isPlain(study.network) ? 2 : -1), gradientLine(study, place)];
  if (kind === "s") return stateEquation(study, place);
  return kind === "o" ? outputEquation(study, place) : errorEquation(study, place);
}
