// A language model: symbols to the scores of the next one, and the draw of it.
import { Linear, argmax, largest, logSumExp, softmax } from "./algebra.js";
import { Recurrent } from "./recurrent.js";
import { buildVocabulary } from "./vocabulary.js";

// U x + b of symbols is computed once for each, as long as all of them take at most so many numbers (64 MB).
const MOST_CACHED = 1 << 24;

export class LanguageModel {
  constructor(manifest, tensors) {
    this.vocabulary = buildVocabulary(manifest.vocabulary);
    this.never = manifest.never_written;
    this.recurrent = new Recurrent(manifest.recurrent, tensors);
    this.embedding = tensors["embedding"];
    this.output = manifest.cutoffs.length
      ? new AdaptiveOutput(manifest.cutoffs, tensors)
      : new Linear(tensors["output.weight"] ?? this.embedding, tensors["output.bias"]);
    this.cached = new Map();
  }

  initial() {
    return this.recurrent.initial();
  }

  // The vector of a symbol; that of an unknown one is zero.
  vector(id) {
    const [count, size] = this.embedding.shape;
    return id < count ? this.embedding.data.subarray(id * size, (id + 1) * size) : new Float32Array(size);
  }

  // {logits, state} after one more symbol.
  step(id, state) {
    let gx = this.cached.get(id);
    if (!gx) {
      gx = this.recurrent.inputPart(0, this.vector(id));
      if ((this.cached.size + 1) * gx.length <= MOST_CACHED) this.cached.set(id, gx);
    }
    const after = this.recurrent.step(null, state, gx);
    return { logits: this.output.apply(after.y), state: after.state };
  }

  // The symbols that a text begins with; an empty one begins as a line.
  begin(prompt) {
    const ids = this.vocabulary.encode(prompt);
    if (ids.length) return ids;
    const line = this.vocabulary.encode("\n");
    return line.length && line[0] < this.vocabulary.size ? line : [0];
  }

  // Probabilities in the order of the sampling of elman: temperature, then the k most probable, then the nucleus.
  distribution(logits, { temperature = 1, topK = null, topP = null } = {}) {
    const scores = Float64Array.from(logits);
    for (let id = this.never[0]; id < this.never[1]; id++) scores[id] = -Infinity;
    if (temperature === 0) {
      const p = new Float64Array(scores.length);
      p[argmax(scores)] = 1;
      return p;
    }
    const p = softmax(scores, temperature);
    if (topK === null && (topP === null || topP >= 1)) return p;
    const few = topK === null ? Array.from(p.keys()).sort((a, b) => p[b] - p[a] || a - b) : largest(p, topK);
    let total = few.reduce((sum, id) => sum + p[id], 0), before = 0;
    const chosen = few.filter((id) => {
      const inside = topP === null || before < topP;
      before += p[id] / total;
      return inside;
    });
    total = chosen.reduce((sum, id) => sum + p[id], 0);
    const out = new Float64Array(p.length);
    for (const id of chosen) out[id] = p[id] / total;
    return out;
  }

  // The symbol at a random number in [0, 1).
  draw(p, random) {
    let total = 0, last = 0;
    for (let id = 0; id < p.length; id++) total += p[id];
    let left = random * total;
    for (let id = 0; id < p.length; id++) {
      if (p[id] > 0) {
        last = id;
        if (left < p[id]) return id;
        left -= p[id];
      }
    }
    return last;
  }
}

// The adaptive softmax: a head with the frequent symbols and one score for each cluster of rarer ones; gives log p.
class AdaptiveOutput {
  constructor(cutoffs, tensors) {
    this.cutoffs = cutoffs;
    this.head = new Linear(tensors["output.head"]);
    this.tail = cutoffs.slice(1).map((_, k) => [0, 1].map((part) => new Linear(tensors[`output.tail.${k}.${part}`])));
  }

  apply(x) {
    const head = this.head.apply(x), total = logSumExp(head), first = this.cutoffs[0];
    const out = new Float32Array(this.cutoffs.at(-1));
    for (let id = 0; id < first; id++) out[id] = head[id] - total;
    this.tail.forEach(([down, up], k) => {
      const scores = up.apply(down.apply(x)), shift = head[first + k] - total - logSumExp(scores);
      scores.forEach((score, id) => (out[this.cutoffs[k] + id] = score + shift));
    });
    return out;
  }
}
