// A text that is typed, through the small language model whose weights the page holds.
import { CELLS } from "./cells.js";
import { contributions, forward, stateNorm } from "./network.js";

export const MOST_LETTERS = 60;

function numbers(base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)), view = new DataView(bytes.buffer);
  return Float64Array.from({ length: bytes.length / 4 }, (_, n) => view.getFloat32(4 * n, true));
}

// The network of the packed weights, with its embedding and symbols.
export function openWeights({ cell, sizes, parameters, initial, embedding, symbols }) {
  const opened = Object.fromEntries(Object.entries(parameters).map(([name, packed]) => [name, numbers(packed)]));
  const network = { cell, g: "softmax", error: "cross-entropy", sizes, parameters: opened, initial: initial.map(numbers) };
  return { network, embedding: numbers(embedding), symbols };
}

const ANSWERS = 8;

// What Python records of a run, for a text: {layers, targets, answers}, its activations as plain arrays.
export function typedRun({ network, embedding, symbols }, text, name) {
  const { I, H, V } = network.sizes, letters = [...text].slice(0, MOST_LETTERS);
  const codes = letters.map((letter) => symbols.indexOf(letter)); // an unknown one has no vector
  const x = codes.map((code) => (code < 0 ? new Float64Array(I) : embedding.slice(code * I, code * I + I)));
  const tape = forward(network, x), T = x.length, cell = CELLS[network.cell];
  const y = codes.map((_, t) => {
    const target = new Float64Array(V), next = codes[t + 1];
    if (next >= 0) target[next] = 1;
    else target.set(tape.steps[t].o); // nothing is predicted here: the slope is zero
    return target;
  });
  const stack = (part) => Float64Array.from({ length: T * H }, (_, at) => part(tape.steps[Math.floor(at / H)])[at % H]);
  const states = Object.fromEntries(cell.states.map((state, n) => [state, stack((step) => step.state[n])]));
  const gates = cell.gates.filter((gate) => cell.gates.length > 1 && !["g", "n"].includes(gate));
  const depends = contributions(network, tape, y).map((row, t) => {
    const whole = stateNorm(row[t].state);
    return whole > 0 ? row.map((pair) => stateNorm(pair.state) / whole).reverse() : [];
  });
  return {
    layers: [{
      name, cell: network.cell, reverse: false, units: H, steps: T, of: T, states, depends, inputs: letters,
      gates: Object.fromEntries(gates.map((gate) => [gate, stack((step) => step.kept[gate])])),
    }],
    targets: letters.slice(1).concat(""),
    answers: tape.steps.map(({ o }) => Array.from(o, (p, n) => [symbols[n] ?? "�", p]).sort((a, b) => b[1] - a[1]).slice(0, ANSWERS)),
  };
}
