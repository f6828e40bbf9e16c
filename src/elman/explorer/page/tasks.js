// Small tasks, and training on them: what each cell can learn, and what it forgets. No document.
import { CELLS, norm } from "./cells.js";
import { backward, byLag, contributions, errors, forward, zeroGradients } from "./network.js";
import { normalNumbers, uniformGenerator } from "./matrices.js";
import { clipFactor, recurrentMatrix, wordSequence } from "./study.js";

const row = (...numbers) => Float64Array.from(numbers);
const bit = (random) => (random() < 0.5 ? 0 : 1);

// Each task: sizes, the pair of g and error, and `example(length, random)`, which draws a sequence. `counts(t, T)` is
// whether the step has an error.
export const TASKS = {
  echo: {
    title: "Echo", question: "Say at the end which bit came first.", g: "sigmoid", error: "binary cross-entropy",
    sizes: { I: 2, V: 1 }, counts: (t, T) => t === T - 1,
    example(T, random) {
      const first = bit(random);
      const x = Array.from({ length: T }, (_, t) => (t === 0 ? row(first ? 1 : -1, 1) : row(random() * 2 - 1, 0)));
      return { x, y: x.map(() => row(first)) };
    },
  },
  adding: {
    title: "Adding", question: "Add the two numbers that are marked.", g: "identity", error: "squared error",
    sizes: { I: 2, V: 1 }, counts: (t, T) => t === T - 1,
    example(T, random) {
      const half = Math.max(1, Math.floor(T / 2));
      const marks = [Math.floor(random() * half), half + Math.floor(random() * (T - half))];
      const x = Array.from({ length: T }, (_, t) => row(random(), marks.includes(t) ? 1 : 0));
      const sum = x.reduce((total, [value, mark]) => total + value * mark, 0);
      return { x, y: x.map(() => row(sum)) };
    },
  },
  parity: {
    title: "Parity", question: "Say at every step whether the number of ones so far is odd.", g: "sigmoid",
    error: "binary cross-entropy", sizes: { I: 1, V: 1 }, counts: () => true,
    example(T, random) {
      const x = Array.from({ length: T }, () => row(bit(random)));
      let odd = 0;
      return { x, y: x.map(([one]) => row((odd = one ? 1 - odd : odd))) };
    },
  },
  counting: {
    title: "Counting", question: "Say at every step how many ones there were, in tenths.", g: "identity",
    error: "squared error", sizes: { I: 1, V: 1 }, counts: () => true,
    example(T, random) {
      const x = Array.from({ length: T }, () => row(random() < 0.3 ? 1 : 0));
      let count = 0;
      return { x, y: x.map(([one]) => row((count += one) / 10)) };
    },
  },
};

// The task of a word: its next letter, over and over.
export function wordTask(word) {
  const { x, y, symbols } = wordSequence(word + word[0]);
  return {
    title: "Next letter", question: `Say the next letter of “${word}”.`, g: "softmax", error: "cross-entropy",
    sizes: { I: symbols.length, V: symbols.length }, counts: () => true, symbols,
    example(T, random) {
      const start = Math.floor(random() * x.length), at = (list, t) => list[(start + t) % x.length];
      return {
        x: Array.from({ length: T }, (_, t) => at(x, t)), y: Array.from({ length: T }, (_, t) => at(y, t)),
      };
    },
  };
}

const BATCH = 16, DECAY_1 = 0.9, DECAY_2 = 0.999;

export function newTrainer({ task, cell, H, T, rate, clip, start, seed }) {
  const random = uniformGenerator(seed), { I, V } = task.sizes, G = CELLS[cell].gates.length;
  const parameters = {
    U: normalNumbers(G * H * I, 1 / Math.sqrt(I + 1), random), W: new Float64Array(G * H * H), b: new Float64Array(G * H),
    ...(cell === "gru" ? { bh: new Float64Array(G * H) } : {}),
    V: normalNumbers(V * H, 1 / Math.sqrt(H), random), c: new Float64Array(V),
  };
  for (let gate = 0; gate < G; gate++) {
    parameters.W.set(recurrentMatrix(H, start, start === "random" ? 0.7 : 1, random), gate * H * H);
  }
  // The gate that keeps the memory begins so far open that it keeps it for T steps (Tallec and Ollivier 2018).
  if (cell !== "rnn_tanh" && cell !== "rnn_relu") parameters.b.fill(Math.log(Math.max(2, T)), H, 2 * H);
  const initial = CELLS[cell].states.map(() => new Float64Array(H));
  const network = { cell, g: task.g, error: task.error, sizes: { I, H, V }, parameters, initial };
  const moments = [zeroGradients(network), zeroGradients(network)];
  return { task, network, T, rate, clip, random, moments, step: 0, losses: [], norms: [] };
}

// A target that the step has no error from is what the network says itself: its slope is then zero.
function maskedTargets(task, tape, y) {
  const T = y.length;
  return y.map((target, t) => (task.counts(t, T) ? target : null));
}

function lossAndGradients(trainer, gradients, { x, y }) {
  const { task, network } = trainer, tape = forward(network, x), targets = maskedTargets(task, tape, y);
  const counted = targets.map((target, t) => target ?? tape.steps[t].o);
  const back = backward(network, tape, counted), E = errors(network, tape, y);
  const count = targets.filter(Boolean).length;
  for (const [name, d] of Object.entries(back.parameters)) {
    const sum = gradients[name];
    for (let i = 0; i < sum.length; i++) sum[i] += d[i] / (BATCH * count);
  }
  return E.reduce((total, e, t) => total + (targets[t] ? e : 0), 0) / count;
}

// One step of Adam (Kingma and Ba 2015) on a batch of new sequences; returns {loss, norm}, the norm before clipping.
export function trainStep(trainer) {
  const { network, moments, rate } = trainer, gradients = zeroGradients(network);
  let loss = 0;
  for (let n = 0; n < BATCH; n++) {
    loss += lossAndGradients(trainer, gradients, trainer.task.example(trainer.T, trainer.random)) / BATCH;
  }
  const size = Math.hypot(...Object.values(gradients).map(norm)), factor = clipFactor(size, trainer.clip);
  trainer.step++;
  const correct_1 = 1 - DECAY_1 ** trainer.step, correct_2 = 1 - DECAY_2 ** trainer.step;
  if (Number.isFinite(size)) {
    for (const [name, parameter] of Object.entries(network.parameters)) {
      const [first, second] = moments.map((moment) => moment[name]), d = gradients[name];
      for (let i = 0; i < d.length; i++) {
        const clipped = d[i] * factor;
        first[i] = DECAY_1 * first[i] + (1 - DECAY_1) * clipped;
        second[i] = DECAY_2 * second[i] + (1 - DECAY_2) * clipped * clipped;
        parameter[i] -= (rate * (first[i] / correct_1)) / (Math.sqrt(second[i] / correct_2) + 1e-8);
      }
    }
  }
  trainer.losses.push(loss);
  trainer.norms.push(size);
  return { loss, norm: size };
}

// What the gradient of one example is made of, by lag, as a share of lag 0.
export function trainerLags(trainer) {
  const { x, y } = trainer.task.example(trainer.T, uniformGenerator(5));
  const tape = forward(trainer.network, x), last = y.length - 1;
  const targets = y.map((target, t) => (trainer.task.counts(t, y.length) ? target : tape.steps[t].o));
  const pairs = contributions(trainer.network, tape, targets);
  if (trainer.task.counts(0, y.length)) return byLag(trainer.network, tape, pairs).left;
  return Float64Array.from(pairs[last], (_, lag) => Math.hypot(...pairs[last][last - lag].state.map(norm)));
}

export function trainerExample(trainer, seed) {
  const { x, y } = trainer.task.example(trainer.T, uniformGenerator(seed)), tape = forward(trainer.network, x);
  return { x, y, tape };
}
