// The numbers that can be changed: weights, biases, first state, inputs and targets.
import { CELLS } from "./cells.js";
import { PARAMETER_NAMES, fittingTargets, shapeOf } from "./study.js";
import { element, heatMatrix, number, shade } from "./dom.js";

const MOST_INPUTS = 200; // of one matrix; a larger one is a picture with a single number to edit

const MEANINGS = {
  U: "input to state", W: "state to next state", b: "bias of the state", bh: "second bias, inside the reset gate",
  V: "state to output", c: "bias of the output", x: "input, a column a step", y: "target, a column a step; for the cross-entropy it is divided by its sum",
  s_0: "state before the first step", c_0: "memory before the first step",
};

// Vectors lie flat, those of the gates a row for each gate.
const SHAPES_OF_VECTORS = { b: (G, { H }) => [G, H], bh: (G, { H }) => [G, H], c: (G, { V }) => [1, V] };

const rounded = (v) => String(Math.round(v * 1e4) / 1e4);

// One matrix; `write(at, value)` changes an entry.
function matrix(name, { rows, cols, values, write, rowNames = [] }) {
  const caption = element("h4", {}, element("var", {}, name), element("small", {}, ` ${MEANINGS[name]}, ${rows} × ${cols}`));
  if (rows * cols > MOST_INPUTS) return largeMatrix(name, caption, { rows, cols, values, write });
  const inputs = Array.from({ length: rows * cols }, (_, at) => {
    const row = Math.floor(at / cols), col = at % cols;
    return element("input", {
      type: "number", step: 0.1, value: rounded(values()[at]), "aria-label": `${name}, row ${row + 1}, column ${col + 1}`,
      oninput: (event) => event.target.value !== "" && Number.isFinite(event.target.valueAsNumber) && write(at, event.target.valueAsNumber),
      onkeydown: (event) => event.key === "Enter" && inputs[(at + 1) % inputs.length].focus(),
    });
  });
  const body = Array.from({ length: rows }, (_, row) => element(
    "tr", {}, element("th", { scope: "row" }, rowNames[row] ?? ""), inputs.slice(row * cols, row * cols + cols).map((input) => element("td", {}, input)),
  ));
  const last = [];
  function refresh() {
    const now = values(), most = now.reduce((top, v) => Math.max(top, Math.abs(v)), 1e-9);
    inputs.forEach((input, at) => {
      const text = rounded(now[at]), tint = shade(now[at], most * 1.4), before = last[at];
      if (before?.tint !== tint) input.style.setProperty("--tint", tint);
      if (before?.text !== text && input !== document.activeElement) input.value = text;
      last[at] = { text: input === document.activeElement ? null : text, tint };
    });
  }
  refresh();
  return { node: element("div", { class: "matrix-editor" }, caption, element("div", { class: "scroll" }, element("table", {}, body))), refresh };
}

function largeMatrix(name, caption, { rows, cols, values, write }) {
  const picture = element("div", { class: "scroll" }), box = (most, label) => element("input", { type: "number", min: 1, max: most, value: 1, "aria-label": label, onchange: show });
  const row = box(rows, `row of ${name}`), col = box(cols, `column of ${name}`);
  const value = element("input", { type: "number", step: 0.1, "aria-label": `entry of ${name}`, oninput: () => Number.isFinite(value.valueAsNumber) && write(place(), value.valueAsNumber) });
  const place = () => (Math.min(rows, Math.max(1, row.valueAsNumber || 1)) - 1) * cols + Math.min(cols, Math.max(1, col.valueAsNumber || 1)) - 1;
  function show() { value.value = rounded(values()[place()]); }
  let drawn = 0;
  function refresh() {
    cancelAnimationFrame(drawn);
    drawn = requestAnimationFrame(() => picture.replaceChildren(heatMatrix(values(), rows, cols, `${name} as colours`)));
    if (value !== document.activeElement) show();
  }
  refresh();
  return { node: element("div", { class: "matrix-editor" }, caption, picture, element("div", { class: "row" }, "row ", row, " column ", col, " is ", value)), refresh };
}

// All editors; `changed()` recomputes.
export function createNumbers(host, study, changed) {
  let parts = [], key = "";

  function build() {
    const { network } = study, { gates, states } = CELLS[network.cell], { H, I, V } = network.sizes, T = study.x.length;
    const gateRows = gates.length > 1 ? gates.flatMap((gate) => Array.from({ length: H }, (_, i) => (i ? "" : gate))) : [];
    const parameter = (name) => {
      const vector = SHAPES_OF_VECTORS[name]?.(gates.length, network.sizes), [rows, cols] = vector ?? shapeOf(network, name);
      const write = (at, v) => { study.network.parameters[name][at] = v; changed(); };
      return matrix(name, { rows, cols, values: () => study.network.parameters[name], write, rowNames: vector ? (rows > 1 ? gates : []) : name === "V" ? (study.symbols ?? []) : gateRows });
    };
    const initial = states.map((_, n) => matrix(["s_0", "c_0"][n], {
      rows: 1, cols: H, values: () => study.network.initial[n],
      write: (at, v) => { study.network.initial[n][at] = v; changed(); },
    }));
    const series = (name, size) => matrix(name, {
      rows: size, cols: T, rowNames: study.symbols ?? [],
      values: () => Float64Array.from({ length: size * T }, (_, at) => study[name][at % T][Math.floor(at / T)]),
      write: (at, v) => {
        study[name][at % T][Math.floor(at / T)] = v;
        if (name === "y") study.y = fittingTargets(network.error, study.y);
        changed();
      },
    });
    const names = PARAMETER_NAMES.filter((name) => name in network.parameters);
    const order = ["W", ...names.filter((name) => name !== "W")]; // what all steps share, first
    parts = [...order.map(parameter), ...initial, series("x", I), series("y", V)];
    host.replaceChildren(...parts.map((part) => part.node));
  }

  return {
    draw() {
      const { network } = study, next = [network.cell, ...Object.values(network.sizes), study.x.length, study.symbols?.join("")].join();
      if (next !== key) {
        key = next;
        build();
      } else parts.forEach((part) => part.refresh());
    },
  };
}

export const sizeText = (study) => `${study.x.length} steps, ${study.network.sizes.H} units, E = ${number(study.total, 4)}`;
