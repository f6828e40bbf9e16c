// What the page shows: a network, a sequence, and everything computed from them. No document.
import { ACTIVATIONS, CELLS, norm } from "./cells.js";
import { backward, byLag, contributions, errors, forward, isPlain } from "./network.js";
import {
  identityMatrix, largestSingularValue, normalNumbers, orthogonalMatrix, spectralRadius, uniformGenerator,
} from "./matrices.js";

export const SHAPES = {
  U: (s, G) => [G * s.H, s.I], W: (s, G) => [G * s.H, s.H], b: (s, G) => [G * s.H, 1], bh: (s, G) => [G * s.H, 1],
  V: (s) => [s.V, s.H], c: (s) => [s.V, 1],
};
export const PARAMETER_NAMES = ["U", "W", "b", "bh", "V", "c"];

export const shapeOf = (network, name) => SHAPES[name](network.sizes, CELLS[network.cell].gates.length);

const zeros = (count) => new Float64Array(count);
const clone = (array) => array.map((row) => row.slice());

// W of one gate. Normal numbers have the radius `radius` on average; the others exactly.
export function recurrentMatrix(H, start, radius, random) {
  if (start === "identity") return identityMatrix(H, radius);
  const W = start === "orthogonal" ? orthogonalMatrix(H, random) : normalNumbers(H * H, 1 / Math.sqrt(H), random);
  return W.map((w) => w * radius);
}

export function newNetwork({ cell, g, error, I, H, V, seed = 1, start = "random", radius = 0.9 }) {
  const random = uniformGenerator(seed), G = CELLS[cell].gates.length, round = (x) => Math.round(x * 100) / 100;
  const parameters = {
    U: normalNumbers(G * H * I, 0.9, random).map(round), W: zeros(G * H * H), b: zeros(G * H),
    ...(cell === "gru" ? { bh: zeros(G * H) } : {}), V: normalNumbers(V * H, 1, random).map(round), c: zeros(V),
  };
  for (let gate = 0; gate < G; gate++) {
    const W = recurrentMatrix(H, start, radius, random);
    parameters.W.set(start === "random" ? W.map(round) : W, gate * H * H);
  }
  if (cell === "lstm") parameters.b.fill(1, H, 2 * H);
  return { cell, g, error, sizes: { I, H, V }, parameters, initial: CELLS[cell].states.map(() => zeros(H)) };
}

const oneHot = (size, at) => Float64Array.from({ length: size }, (_, i) => (i === at ? 1 : 0));

// Next-letter prediction: the letters of a word as inputs, and the letters after them as targets.
export function wordSequence(word) {
  const letters = [...word], symbols = [...new Set(letters)], codes = letters.map((c) => symbols.indexOf(c));
  return {
    symbols,
    x: codes.slice(0, -1).map((code) => oneHot(symbols.length, code)),
    y: codes.slice(1).map((code) => oneHot(symbols.length, code)),
    word,
  };
}

// Random numbers as inputs; the target of every step is the input of the first one, which has to be remembered.
export function numberSequence(T, I, V, seed) {
  const random = uniformGenerator(seed), round = (x) => Math.round(x * 100) / 100;
  const x = Array.from({ length: T }, () => normalNumbers(I, 0.8, random).map(round));
  const y = x.map(() => Float64Array.from({ length: V }, (_, v) => (x[0][v % I] > 0 ? 1 : 0)));
  return { symbols: null, x, y, word: "" };
}

// Targets that an error takes: a distribution for the cross-entropy, probabilities for its binary kind.
export function fittingTargets(error, y) {
  if (error === "squared error") return y;
  return y.map((row) => {
    const inside = row.map((v) => Math.min(1, Math.max(0, v)));
    if (error !== "cross-entropy") return inside;
    const sum = inside.reduce((a, b) => a + b, 0);
    return sum > 0 ? inside.map((v) => v / sum) : inside.map(() => 1 / inside.length);
  });
}

// A part that is computed where it is first asked for, and again after the next change.
function lazily(study, name, make) {
  const define = (part) => Object.defineProperty(study, name, { configurable: true, enumerable: false, ...part });
  define({
    get() {
      const value = make();
      define({ value });
      return value;
    },
  });
}

export function compute(study) {
  const { network, x, y } = study;
  const tape = forward(network, x), E = errors(network, tape, y);
  const back = backward(network, tape, y);
  const H = network.sizes.H, square = isPlain(network);
  const radius = square ? spectralRadius(network.parameters.W, H) : NaN;
  const stretch = square ? largestSingularValue(network.parameters.W, H) : NaN;
  Object.assign(study, { tape, E, total: E.reduce((a, b) => a + b, 0), back, radius, stretch });
  lazily(study, "pairs", () => contributions(network, tape, y));
  lazily(study, "lags", () => byLag(network, tape, study.pairs));
  study.bound = square ? ACTIVATIONS[network.cell.slice(4)].steepest * stretch : NaN;
  const { x: _, initial, states, ...rest } = back;
  study.gradientNorm = Math.hypot(...Object.values(rest.parameters).map(norm));
  return study;
}

// A gradient after clipping by its norm: the factor that it is multiplied with.
export const clipFactor = (size, most) => (most > 0 && size > most ? most / size : 1);

// A copy with other sizes keeps what fits; new numbers are random.
export function resized(study, changes) {
  const { cell, g, error, sizes } = { ...study.network, ...changes, sizes: { ...study.network.sizes, ...changes.sizes } };
  const seed = changes.seed ?? study.seed, T = changes.T ?? study.x.length;
  const old = study.network, network = newNetwork({ cell, g, error, ...sizes, seed, start: study.start, radius: 0.9 });
  if (old.cell === cell && !("seed" in changes)) {
    for (const name of Object.keys(network.parameters)) {
      const [rows, cols] = shapeOf(network, name), [oldRows, oldCols] = shapeOf(old, name);
      const G = CELLS[cell].gates.length, blocks = ["V", "c"].includes(name) ? 1 : G;
      for (let r = 0; r < rows; r++) {
        const block = Math.floor(r / (rows / blocks)), inside = r % (rows / blocks);
        if (inside >= oldRows / blocks) continue;
        for (let k = 0; k < Math.min(cols, oldCols); k++) {
          network.parameters[name][r * cols + k] = old.parameters[name][(block * (oldRows / blocks) + inside) * oldCols + k];
        }
      }
    }
  }
  const sequence = numberSequence(T, sizes.I, sizes.V, study.seed);
  const keep = (fresh, given) => fresh.map((row, t) => row.map((v, i) => given[t]?.[i] ?? v));
  study.network = network;
  study.seed = seed;
  const fits = study.symbols && study.symbols.length === sizes.I && sizes.I === sizes.V;
  if (fits && T !== study.x.length) {
    const word = [...study.word], letters = Array.from({ length: T + 1 }, (_, t) => word[t % word.length]);
    Object.assign(study, wordOver(study.symbols, letters.join("")));
  } else {
    study.x = T === study.x.length && fits ? clone(study.x) : keep(sequence.x, study.x);
    study.y = T === study.y.length && fits ? clone(study.y) : keep(sequence.y, study.y);
    if (!fits) study.symbols = null;
  }
  study.y = fittingTargets(error, study.y);
  return compute(study);
}

function wordOver(symbols, word) {
  const codes = [...word].map((c) => Math.max(0, symbols.indexOf(c)));
  const vectors = codes.map((code) => oneHot(symbols.length, code));
  return { x: vectors.slice(0, -1), y: vectors.slice(1), word };
}

// A network of plain numbers, as JSON has it, with typed arrays.
export function typedStudy(given) {
  const vector = (numbers) => Float64Array.from(numbers);
  const parameters = Object.fromEntries(Object.entries(given.parameters).map(([name, p]) => [name, vector(p)]));
  const network = { ...given, parameters, initial: given.initial.map(vector) };
  for (const name of ["x", "y", "symbols", "word", "expected"]) delete network[name];
  const { symbols = null, word = "" } = given;
  return compute({ network, x: given.x.map(vector), y: given.y.map(vector), symbols, word, seed: 1, start: "random" });
}

// W with another spectral radius: the same directions, longer or shorter.
export function setRadius(study, radius) {
  const { W } = study.network.parameters;
  if (study.radius > 1e-9) study.network.parameters.W = W.map((w) => (w * radius) / study.radius);
  return compute(study);
}

// The initialisations: W anew, with its radius; the other weights stay.
export function setStart(study, start) {
  const { network } = study, { H } = network.sizes, random = uniformGenerator(study.seed + 7);
  study.start = start;
  for (let gate = 0; gate < CELLS[network.cell].gates.length; gate++) {
    network.parameters.W.set(recurrentMatrix(H, start, start === "random" ? 0.9 : 1, random), gate * H * H);
  }
  return compute(study);
}
