// A transcriber of a stream of sound: samples to features, features to symbols, symbols to words that are final.
import { Linear, argmax, concatenate, logSumExp, relu } from "./algebra.js";
import { Recurrent } from "./recurrent.js";
import { FrameStream, LogMel } from "./sound.js";
import { buildVocabulary, isBlank } from "./vocabulary.js";

const ATTACK = 0.1, RELEASE = 0.001, HEADROOM = 4.6; // of the gain control
const QUIET = 0.003; // of full scale: nothing is said where no sample is as loud

export class Transcriber {
  constructor(manifest, tensors) {
    this.spec = manifest.transcribe;
    this.tensors = tensors;
    this.vocabulary = buildVocabulary(manifest.vocabulary);
    this.features = new LogMel(manifest.transcribe.features);
    this.front = new Linear(tensors["front.weight"], tensors["front.bias"]);
    this.recurrent = new Recurrent(manifest.recurrent, tensors);
    this.output = new Linear(tensors["output.weight"], tensors["output.bias"]);
    this.seconds = this.spec.step * this.spec.stride;
  }

  stream() {
    return new Stream(this);
  }
}

class Stream {
  constructor(model) {
    this.model = model;
    this.frames = new FrameStream(model.features);
    const { kernel, stride } = model.spec, bands = model.features.bands;
    this.window = Array.from({ length: kernel - stride }, () => new Float32Array(bands));
    this.state = model.recurrent.initial();
    this.level = null;
    this.loudest = 0;
    this.steps = 0;
    this.last = 0;
    this.pending = [];
  }

  // Of more samples {frames, scaled, steps, words}: log-mel frames, the same as the network reads them, {logits, state,
  // id} of the steps, and the words that became final.
  push(samples) {
    for (const sample of samples) this.loudest = Math.max(this.loudest, Math.abs(sample));
    const frames = this.frames.push(samples), scaled = frames.map((frame) => this.scaled(frame));
    const steps = scaled.map((frame) => this.pushFrame(frame)).filter(Boolean);
    return { frames, scaled, steps, words: this.final() };
  }

  // The words that are left at the end.
  finish() {
    const words = this.words(this.pending);
    this.pending = [];
    return words;
  }

  // A step of the network, where a frame completes one.
  pushFrame(frame) {
    const { kernel, stride } = this.model.spec;
    this.window.push(frame);
    if (this.window.length < kernel) return null;
    const z = relu(this.model.front.apply(concatenate(...this.window)));
    this.window.splice(0, stride);
    const { y, state } = this.model.recurrent.step(z, this.state), logits = this.model.output.apply(y);
    this.state = state;
    const id = argmax(logits);
    if (id !== 0 && id !== this.last && this.loudest >= QUIET) {
      this.pending.push({ id: id - 1, step: this.steps, probability: Math.exp(logits[id] - logSumExp(logits)) });
    }
    this.last = id;
    this.steps++;
    return { logits, state, id };
  }

  // Features less a running level, by the scale of the training data.
  scaled(frame) {
    const mean = this.model.tensors["mean"].data, deviation = this.model.tensors["deviation"].data;
    let shift = 0;
    if (this.model.spec.gain_control) {
      const loudness = logSumExp(frame) - Math.log(frame.length);
      if (this.level === null) this.level = loudness + HEADROOM;
      const above = loudness - this.level;
      this.level += ATTACK * Math.max(above, 0) + RELEASE * Math.min(above + HEADROOM, 0);
      shift = this.level;
    }
    return frame.map((value, i) => (value - shift - mean[i]) / deviation[i]);
  }

  // Take the words that cannot change any more: behind them is a space or the next word.
  final() {
    const words = this.words(this.pending);
    if (!words.length) {
      this.pending = [];
      return [];
    }
    const lastText = this.symbols(this.pending.slice(-1)).at(-1);
    if (this.model.vocabulary.symbols && this.model.spec.words) {
      this.pending = [];
      return words;
    }
    if (lastText && isBlank(Array.from(lastText).at(-1))) {
      this.pending = [];
      return words;
    }
    const begin = words.at(-1).begin;
    this.pending = this.pending.filter((symbol) => symbol.step * this.model.seconds >= begin);
    return words.slice(0, -1);
  }

  symbols(pending) {
    const decoder = this.model.vocabulary.decoder(), texts = pending.map(({ id }) => decoder.push(id));
    if (texts.length) texts[texts.length - 1] += decoder.finish();
    return texts;
  }

  // [{word, begin, end, confidence}] of symbols.
  words(pending) {
    const words = [], { seconds } = this.model;
    let fresh = true;
    this.symbols(pending).forEach((symbol, n) => {
      const characters = Array.from(symbol), { step, probability } = pending[n], end = (step + 1) * seconds;
      fresh ||= characters.length > 0 && isBlank(characters[0]);
      const word = stripped(characters);
      if (word) {
        if (fresh) words.push({ word, begin: step * seconds, end, confidence: probability });
        else {
          const before = words.at(-1);
          Object.assign(before, { word: before.word + word, end, confidence: before.confidence * probability });
        }
      }
      fresh = word ? isBlank(characters.at(-1)) : true;
    });
    return words;
  }
}

function stripped(characters) {
  let begin = 0, end = characters.length;
  while (begin < end && isBlank(characters[begin])) begin++;
  while (end > begin && isBlank(characters[end - 1])) end--;
  return characters.slice(begin, end).join("");
}
