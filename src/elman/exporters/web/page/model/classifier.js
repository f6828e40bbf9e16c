// A classifier: texts, series and pictures to probabilities, as a whole and after each step.
import { Linear, argmax, sigmoid, softmax } from "./algebra.js";
import { Recurrent } from "./recurrent.js";
import { TextReader } from "./vocabulary.js";

export class Classifier {
  constructor(manifest, tensors) {
    const { input, labels } = manifest;
    this.labels = labels;
    this.input = input;
    this.recurrent = new Recurrent(manifest.recurrent, tensors);
    this.poolingName = manifest.pooling;
    this.tensors = tensors;
    this.output = new Linear(tensors["output.weight"], tensors["output.bias"]);
    this.reader = input.kind === "symbols" ? new TextReader(manifest.vocabulary) : null;
    this.perStep = labels.target === "tags";
    this.streams = manifest.recurrent.directions === 1;
  }

  // What the recurrent layers read of a step: of a symbol its vector, of numbers the standardised ones.
  vector(step) {
    if (this.reader) {
      const [, size] = this.tensors["embedding"].shape;
      return this.tensors["embedding"].data.subarray(step * size, (step + 1) * size);
    }
    const { offset, unit } = this.input, mean = this.tensors["front.mean"].data;
    const deviation = this.tensors["front.deviation"].data, last = mean.length - 1;
    return Float32Array.from(step, (value, i) => {
      const number = offset.length ? (value - offset[i]) / unit[i] : value;
      return (Math.fround(number) - mean[Math.min(i, last)]) / deviation[Math.min(i, last)];
    });
  }

  // Scores of a sequence of symbols or of rows of numbers: one vector, or one for each step of a tagger.
  scores(steps) {
    const { ys, last } = this.recurrent.run(steps.map((step) => this.vector(step)));
    if (this.perStep) return ys.map((y) => this.output.apply(y));
    if (this.poolingName === "last") return [this.output.apply(last)];
    const pooling = new POOLINGS[this.poolingName](this.tensors);
    let pooled = null;
    for (const y of ys) pooled = pooling.push(y);
    return [this.output.apply(pooled)];
  }

  // After each step {scores, state}, as if the sequence ended there; for layers of one direction.
  *stream(steps) {
    const pooling = new POOLINGS[this.poolingName](this.tensors);
    let state = this.recurrent.initial(), y;
    for (const step of steps) {
      ({ y, state } = this.recurrent.step(this.vector(step), state));
      yield { scores: this.output.apply(this.perStep ? y : pooling.push(y)), state };
    }
  }

  // What scores say: {number}, {labels, probabilities} or {label, probabilities}.
  answer(scores) {
    const { target, classes, temperature, mean, deviation } = this.labels;
    if (target === "number") return { number: scores[0] * deviation + mean };
    if (target === "classes") {
      const probabilities = Array.from(scores, (score) => sigmoid(score / temperature));
      return { labels: classes.filter((_, n) => probabilities[n] > 0.5), probabilities };
    }
    const probabilities = Array.from(softmax(scores, temperature));
    return { label: classes[argmax(probabilities)], probabilities };
  }
}

class LastPooling {
  push(y) {
    return y;
  }
}

class MeanPooling {
  constructor() {
    this.count = 0;
  }

  push(y) {
    this.total = this.count++ ? this.total.map((sum, i) => sum + y[i]) : Float32Array.from(y);
    return this.total.map((sum) => sum / this.count);
  }
}

class MaxPooling {
  push(y) {
    this.greatest = this.greatest ? this.greatest.map((top, i) => Math.max(top, y[i])) : Float32Array.from(y);
    return this.greatest;
  }
}

// Weights relative to the greatest score so far (online softmax).
class AttentionPooling {
  constructor(tensors) {
    this.hidden = new Linear(tensors["pooling.hidden.weight"], tensors["pooling.hidden.bias"]);
    this.score = new Linear(tensors["pooling.score.weight"]);
    this.greatest = -Infinity;
    this.weight = 0;
  }

  push(y) {
    const [score] = this.score.apply(this.hidden.apply(y).map(Math.tanh)), greatest = Math.max(this.greatest, score);
    const before = Math.exp(this.greatest - greatest), added = Math.exp(score - greatest);
    this.weight = this.weight * before + added;
    this.total = y.map((value, i) => (this.total ? this.total[i] * before : 0) + value * added);
    this.greatest = greatest;
    return this.total.map((sum) => sum / this.weight);
  }
}

const POOLINGS = { last: LastPooling, mean: MeanPooling, max: MaxPooling, attention: AttentionPooling };

// Rows of numbers of a text: a line is a step with `width` numbers; where that is 1, they may share lines too.
export function parseSteps(text, width) {
  const rows = [];
  for (const [n, line] of text.split(/\r?\n/).entries()) {
    const cells = line.split(/[\s,;]+/).filter(Boolean);
    if (!cells.length) continue;
    const numbers = cells.map((cell) => (/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(cell) ? Number(cell) : NaN));
    const bad = numbers.findIndex((number) => !Number.isFinite(number));
    if (bad >= 0) throw new Error(`line ${n + 1}: "${cells[bad]}" is not a number`);
    if (width === 1) rows.push(...numbers.map((number) => [number]));
    else if (numbers.length === width) rows.push(numbers);
    else throw new Error(`line ${n + 1} has ${numbers.length} numbers, not ${width}`);
  }
  return rows;
}
