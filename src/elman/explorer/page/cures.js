// The controls of vanishing and exploding: spectral radius, gate, initialisation, cell and clipping, with what they mean.
import { ACTIVATIONS, CELLS } from "./cells.js";
import { isPlain } from "./network.js";
import { clipFactor, compute, setRadius, setStart } from "./study.js";
import { button, element, field, number } from "./dom.js";

const ONE = 1e-3; // so near to 1 is 1
const MANY = 10; // steps

// What a plain cell does to an error, by the steepest slope of f, the spectral radius and the largest stretch of W.
export function verdict(slope, radius, stretch) {
  const longest = slope * stretch, inTheLongRun = slope * radius;
  const [most, far] = [number(longest, 2), number(inTheLongRun, 2)];
  if (longest < 1 - ONE) return `γσ = ${most} is under 1: the error must vanish.`;
  if (longest <= 1 + ONE) return "γσ is 1: W neither stretches nor must it shrink. The error cannot explode; only flat parts of f make it smaller.";
  if (inTheLongRun < 1 - ONE) return `γσ = ${most} is over 1, so that a single step can stretch the error; but γρ = ${far} is under 1: over many steps it vanishes where f is steep.`;
  if (inTheLongRun <= 1 + ONE) return `γρ is 1, the border: where f is steep the error keeps its size in the long run; γσ = ${most} a step at most.`;
  return `γρ = ${far} is over 1: the error may explode. It need not: flat parts of f can still make it vanish.`;
}

// What a gate that is open to `share` leaves of an error in the memory.
export function passage(share, letter) {
  const left = share ** MANY, name = share > 0.9 ? "nearly open" : share < 0.3 ? "nearly closed" : "half open";
  return `${name}: the error is multiplied by ${letter} at each step, whatever W is; ten steps leave ${letter}¹⁰ = ${number(left, 3)}`;
}

export function createCures(study, changed) {
  const node = element("div", { class: "cures" }), clipText = element("output", {}), text = element("output", { class: "big" });
  let slider = null, key = "";

  // The slider, and what it shows and changes.
  function sliderOf({ network }) {
    const { H } = network.sizes;
    const plain = { min: 0.05, max: 2, step: 0.01, label: "spectral radius of W", title: "Spectral radius ρ of W", value: () => study.radius, set: (v) => setRadius(study, v) };
    const gate = network.cell === "lstm" ? "forget gate" : "update gate";
    const gated = { min: -4, max: 6, step: 0.1, label: `bias of the ${gate}`, title: `Bias of the ${gate}: open is right`, value: () => study.network.parameters.b[H], set: (v) => { study.network.parameters.b.fill(v, H, 2 * H); compute(study); } };
    const { min, max, step, label, title, value, set } = isPlain(network) ? plain : gated;
    const input = element("input", { type: "range", min, max, step, "aria-label": label, oninput: () => { set(input.valueAsNumber); changed(); } });
    return { input, title, value };
  }

  function build() {
    const { cell } = study.network;
    const clip = element("input", { type: "range", min: 0, max: 5, step: 0.05, value: study.clip, "aria-label": "largest norm of the gradient, 0: no clipping", oninput: () => { study.clip = clip.valueAsNumber; draw(); } });
    slider = sliderOf(study);
    node.replaceChildren(
      field(slider.title, slider.input, text),
      field("W begins as", element("div", { class: "segments" }, ["random", "orthogonal", "identity"].map((start) => button(start, () => { setStart(study, start); changed(); }, { "data-start": start })))),
      field("Cell", element("div", { class: "segments" }, [["rnn_tanh", "plain"], ["gru", "GRU"], ["lstm", "LSTM"]].map(([name, title]) => button(title, () => changed({ cell: name }), { "data-cell": name, "aria-pressed": String(cell === name) })))),
      field("Clip the gradient at", clip, clipText),
    );
  }

  function draw() {
    const { network, stretch, radius, tape } = study, next = [network.cell, network.sizes.H].join();
    if (next !== key) {
      key = next;
      build();
    }
    for (const start of node.querySelectorAll("[data-start]")) start.setAttribute("aria-pressed", start.dataset.start === study.start);
    slider.input.value = slider.value();
    if (isPlain(network)) {
      const { steepest } = ACTIVATIONS[network.cell.slice(4)];
      text.replaceChildren(element("b", {}, `ρ = ${number(radius, 2)}`), element("small", {}, `σ = ${number(stretch, 2)}, γσ = ${number(study.bound, 2)}`), element("small", { class: "verdict" }, verdict(steepest, radius, stretch)));
    } else {
      const letter = CELLS[network.cell].gates[1], all = tape.steps.flatMap((step) => [...step.kept[letter]]);
      const share = all.reduce((a, b) => a + b, 0) / all.length;
      text.replaceChildren(element("b", {}, `${letter} = ${number(share, 2)} on average`), element("small", { class: "verdict" }, passage(share, letter)));
    }
    const factor = clipFactor(study.gradientNorm, study.clip);
    clipText.replaceChildren(element("small", {}, `|gradient| = ${number(study.gradientNorm, 3)}, of U, W, b, V and c together`, study.clip ? (factor < 1 ? ` → ${number(study.clip, 2)}: every entry × ${number(factor, 3)}, the direction stays` : ": under the limit, nothing changes") : "; no clipping"));
  }

  return { node, draw };
}
