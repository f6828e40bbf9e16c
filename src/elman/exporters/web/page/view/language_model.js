// The view of a language model: text that writes itself, the distribution of the next symbol, and the hidden state.
import { largest } from "../model/algebra.js";
import { hiddenUnits } from "../model/recurrent.js";
import { Bars, card, dial, element, message, reducedMotion, tint, visible } from "./elements.js";
import { HeatMap } from "./heat_map.js";

const SHOWN = 12; // symbols in the list of the most probable ones
const LONGEST = 1500; // symbols on the page
const AT_ONCE = 300; // symbols that are written before the page waits
const SLICE = 14; // milliseconds of work between two pictures

export function showLanguageModel(page, manifest, model) {
  new Writer(page, model);
}

class Writer {
  constructor(page, model) {
    this.model = model;
    this.options = { temperature: 0.8, topK: null, topP: null };
    this.speed = 30;
    this.left = 0;
    this.symbols = [];
    this.build(page);
    this.restart(this.prompt.value).then(() => {
      if (!reducedMotion.matches) this.play();
    });
  }

  build(page) {
    this.prompt = element("textarea", { rows: 2, spellcheck: false, id: "prompt" });
    this.prompt.value = "";
    this.prompt.addEventListener("input", () => this.restart(this.prompt.value));
    this.paper = element("div", { class: "paper", tabIndex: 0, role: "log", "aria-live": "off", "aria-label": "The text" });
    this.caret = element("span", { class: "caret", "aria-hidden": "true" });
    this.playButton = element("button", { type: "button", class: "main", onclick: () => (this.left ? this.pause() : this.play()) }, "Write");
    const again = () => this.restart(this.prompt.value);
    const controls = element(
      "div", { class: "controls" }, this.playButton,
      element("button", { type: "button", onclick: () => (this.pause(), this.writeOne(), this.render()) }, "One symbol"),
      element("button", { type: "button", onclick: again }, "Start again"),
    );
    this.message = message();
    const temperature = { min: 0, max: 2, step: 0.05, value: 0.8, text: (t) => (t === 0 ? "0, greedy" : t.toFixed(2)) };
    const few = { min: 0, max: 50, step: 1, value: 0, text: (k) => (k === 0 ? "all" : String(k)) };
    const speed = { min: 0, max: 10, step: 1, value: 5, text: (n) => (n === 10 ? "as fast as it can" : `${SPEEDS[n]} a second`) };
    const dials = element(
      "div", { class: "dials" },
      dial("Temperature", temperature, (t) => this.choose({ temperature: t })),
      dial("Most probable symbols", few, (k) => this.choose({ topK: k || null })),
      dial("Speed", speed, (n) => (this.speed = SPEEDS[n])),
    );
    this.legend = element("p", { class: "scale", hidden: true }, "−1", element("i"), "+1");
    const label = element("label", { for: "prompt" }, "How it begins");
    const text = card("Text", label, this.prompt, this.paper, this.legend, controls, dials, this.message.node);
    this.bars = new Bars({ choose: ({ key }) => (this.pause(), this.read(key, false), this.render()) });
    this.heat = new HeatMap(hiddenUnits(this.model.initial()).length, (unit) => this.tintBy(unit), CHOOSE);
    const next = card("Next symbol", this.bars.node, element("p", { class: "hint" }, "Choose one to continue with it."));
    page.className = "two";
    page.append(element("div", { class: "column" }, text), element("div", { class: "side pair" }, next, card("Hidden state", this.heat.node)));
  }

  choose(options) {
    Object.assign(this.options, options);
    this.render();
  }

  // Read a beginning, in slices of time; a newer beginning stops it.
  async restart(prompt) {
    this.pause();
    const turn = (this.turn = (this.turn ?? 0) + 1), ids = this.model.begin(prompt), typed = prompt !== "";
    this.symbols = [];
    this.state = this.model.initial();
    this.decoder = this.model.vocabulary.decoder();
    this.paper.replaceChildren(this.caret);
    let begin = performance.now();
    for (const id of ids) {
      this.read(id, true, typed);
      if (performance.now() - begin > SLICE) {
        await new Promise((resolve) => setTimeout(resolve));
        if (turn !== this.turn) return;
        begin = performance.now();
      }
    }
    this.message.say(this.unknownOf(prompt, ids));
    this.render();
  }

  unknownOf(prompt, ids) {
    const { unknown } = this.model.vocabulary, count = ids.filter((id) => id === unknown).length;
    return unknown === null || !count ? "" : `${count} of ${ids.length} symbols are not in the vocabulary, and read as unknown.`;
  }

  // One more symbol of the text, given or written.
  read(id, given, visibly = true) {
    ({ logits: this.logits, state: this.state } = this.model.step(id, this.state));
    const text = id < this.model.vocabulary.size ? this.decoder.push(id) : "\ufffd";
    const node = element("span", given ? { class: "given" } : {}, visibly ? text : "");
    this.symbols.push({ node, hidden: hiddenUnits(this.state) });
    this.caret.before(node);
    if (this.symbols.length > LONGEST) this.symbols.shift().node.remove();
    if (this.heat.chosen >= 0) this.colour(this.symbols.at(-1));
  }

  writeOne() {
    const p = this.model.distribution(this.logits, this.options);
    this.read(this.model.draw(p, Math.random()), false);
  }

  play() {
    this.left = AT_ONCE;
    this.playButton.textContent = "Pause";
    const turn = this.turn, begin = performance.now();
    let written = 0, computing = 0;
    const frame = () => {
      if (!this.left || turn !== this.turn) return;
      const now = performance.now(), due = reducedMotion.matches ? this.left : ((now - begin) * this.speed) / 1000 - written;
      for (let n = 0; n < due && this.left && performance.now() - now < SLICE; n++, this.left--, written++) this.writeOne();
      computing += performance.now() - now;
      if (!reducedMotion.matches || !this.left) this.render();
      if (this.left) requestAnimationFrame(frame);
      else {
        this.pause();
        this.message.say(`${written} symbols, ${Math.round((1000 * written) / computing)} a second while it computes.`);
      }
    };
    requestAnimationFrame(frame);
  }

  pause() {
    this.left = 0;
    this.playButton.textContent = "Write";
  }

  render() {
    if (!this.logits) return;
    const p = this.model.distribution(this.logits, this.options);
    const order = largest(p, SHOWN);
    const label = (id) => this.model.vocabulary.label(id);
    this.bars.show(order.map((id) => ({ key: id, p: p[id], name: visible(label(id)), spoken: spoken(label(id)) })), order[0]);
    this.heat.show(hiddenUnits(this.state));
    this.paper.scrollTop = this.paper.scrollHeight;
  }

  tintBy(unit) {
    this.legend.hidden = unit < 0;
    for (const symbol of this.symbols) this.colour(symbol);
  }

  colour({ node, hidden }) {
    node.style.background = this.heat.chosen < 0 ? "" : tint(hidden[this.heat.chosen]);
  }
}

const CHOOSE = "Choose a unit: the text takes the colours of its values.";
const SPEEDS = [1, 2, 5, 10, 20, 30, 60, 100, 200, 400, 100000];
const NAMES = new Map([["\n", "end of line"], [" ", "space"], ["\t", "tab"]]);
const spoken = (text) => NAMES.get(text) ?? text;
