// Recurrent layers: L layers in one or two directions, over the cells that the learner's page has too.
//
// A state is a list with the states of layer 0 forward, layer 0 reverse, layer 1 forward ...; each of them is what the
// cell takes: [h] or [h, c]. Steps leave the state that they are given as it was.
import { affine, concatenate } from "./algebra.js";
import { CELLS } from "./cells.js";

export class Recurrent {
  // spec: {cell, input_size, hidden_size, layers, directions, learned}; tensors by the names `${prefix}.0.0.U` ...
  constructor(spec, tensors, prefix = "recurrent") {
    this.spec = spec;
    this.cell = CELLS[spec.cell];
    this.gates = this.cell.gates.length * spec.hidden_size;
    this.units = [];
    for (let layer = 0; layer < spec.layers; layer++) {
      for (let direction = 0; direction < spec.directions; direction++) {
        const part = (name) => tensors[`${prefix}.${layer}.${direction}.${name}`]?.data ?? null;
        this.units.push({ U: part("U"), W: part("W"), b: part("b"), bh: part("b_hidden") });
      }
    }
    this.learned = spec.learned ? this.cell.states.map((_, k) => tensors[`${prefix}.initial.${k}`].data) : null;
  }

  get outputSize() {
    return this.spec.hidden_size * this.spec.directions;
  }

  // The state before the first step.
  initial() {
    const H = this.spec.hidden_size;
    return this.units.map((_, unit) =>
      this.cell.states.map((_, k) => (this.learned ? this.learned[k].slice(unit * H, (unit + 1) * H) : new Float32Array(H))),
    );
  }

  // U x + b of a unit: what of its step does not depend on the past.
  inputPart(unit, x) {
    const { U, b } = this.units[unit];
    return affine(U, x, b, new Float32Array(this.gates));
  }

  // The state of a unit after one more step.
  stepUnit(unit, gx, past) {
    const { W, bh } = this.units[unit];
    return this.cell.step(gx, affine(W, past[0], bh, new Float32Array(this.gates)), past).state;
  }

  // One step of layers of one direction: {y, state}. `gx` replaces U x + b of the first layer where it is known.
  step(x, state, gx = null) {
    const after = [];
    for (let layer = 0; layer < this.units.length; layer++) {
      after.push(this.stepUnit(layer, layer === 0 && gx ? gx : this.inputPart(layer, x), state[layer]));
      [x] = after[layer];
    }
    return { y: x, state: after };
  }

  // A whole sequence of vectors: {ys, state}; `last` joins the last output of each direction of the last layer.
  run(xs, state = this.initial()) {
    const { layers, directions } = this.spec, after = [];
    let ys = xs;
    for (let layer = 0; layer < layers; layer++) {
      const outputs = [];
      for (let direction = 0; direction < directions; direction++) {
        const unit = layer * directions + direction, row = new Array(ys.length);
        let past = state[unit];
        for (let n = 0; n < ys.length; n++) {
          const t = direction === 0 ? n : ys.length - 1 - n;
          past = this.stepUnit(unit, this.inputPart(unit, ys[t]), past);
          [row[t]] = past;
        }
        after.push(past);
        outputs.push(row);
      }
      ys = directions === 1 ? outputs[0] : outputs[0].map((y, t) => concatenate(y, outputs[1][t]));
    }
    const last = concatenate(...after.slice(-directions).map(([h]) => h));
    return { ys, state: after, last };
  }
}

// All numbers of the first states, layer after layer: what a heat map shows.
export const hiddenUnits = (state) => concatenate(...state.map(([h]) => h));
