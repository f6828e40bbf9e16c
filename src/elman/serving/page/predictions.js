// The view of models that answer whole inputs: typed texts and numbers, and files that are dropped.
import { answerNode, rawNode } from "./answers.js";
import { card, element, message } from "./shared/view/elements.js";
import { columnsOf, dropZone, preview } from "./files.js";

const DROPPED = {
  classify: "Drop a picture, a sound, a text or a file of numbers", caption: "Drop a picture", forecast: "Drop a CSV file of the series",
  translate: "Drop a text file, a sentence on each line", similarity: "Drop a file of pairs", recommend: "Drop a file of events",
};
const TYPED = { classify: "Type or paste a text", translate: "Type a sentence", recommend: "Items, one a line, the last one at the end" };
const NUMBERS = { classify: "Or paste numbers: a step on each line", forecast: "Or paste a series: a value on each line" };

export function showPredictions(page, model, server) {
  new Predictions(page, model, server);
}

class Predictions {
  constructor(page, model, server) {
    Object.assign(this, { model, server, turn: 0 });
    this.message = message();
    this.shown = element("div", { "aria-live": "polite" }, element("p", { class: "hint" }, "Nothing is asked yet."));
    this.given = element("div");
    page.className = "two";
    page.append(element("div", { class: "column" }, this.input()), element("div", { class: "side" }, card("Answer", this.shown)));
    page.addEventListener("dragover", (event) => event.preventDefault());
  }

  input() {
    const { recipe, reads, columns } = this.model, parts = [];
    if (reads.includes("rows") && columns.length > 1) parts.push(...this.pair(columns));
    else if (reads.includes("text")) parts.push(...this.typed(TYPED[recipe] ?? "Type a text", 4, (text) => (recipe === "recommend" ? lines(text) : [text])));
    const file = dropZone(DROPPED[recipe] ?? "Drop a file", "", (files) => this.files(files), { multiple: true });
    parts.push(file);
    if (reads.includes("numbers") && NUMBERS[recipe]) parts.push(...this.typed(NUMBERS[recipe], 4, (text) => [numbers(text, recipe === "forecast")]));
    if (recipe === "forecast") {
      this.horizon = element("input", { type: "number", id: "horizon", min: "1", placeholder: "as trained" });
      parts.push(element("div", { class: "inline" }, element("label", { for: "horizon" }, "Steps ahead", this.horizon)));
    }
    return card("Input", ...parts, this.message.node, this.given);
  }

  typed(label, rows, parse) {
    const id = `typed-${rows}-${label.length}`, box = element("textarea", { id, rows, spellcheck: false });
    const ask = () => this.attempt(() => this.values(parse(box.value)));
    box.addEventListener("keydown", (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && ask());
    const button = element("button", { type: "button", class: "main", onclick: ask }, "Answer");
    return [element("div", { class: "typed" }, element("label", { for: id }, label), box, element("div", { class: "controls" }, button))];
  }

  pair(columns) {
    const boxes = columns.map((name) => element("input", { type: "text", id: `column-${name}`, spellcheck: false }));
    const labels = columns.map((name, n) => element("label", { for: boxes[n].id, class: "pair-label" }, `The ${name} text`, boxes[n]));
    const form = element("form", { class: "typed" }, ...labels, element("div", { class: "controls" }, element("button", { type: "submit", class: "main" }, "Answer")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.attempt(() => this.values([boxes.map((box) => box.value)]));
    });
    return [form];
  }

  options() {
    return this.horizon?.value ? { horizon: Number(this.horizon.value) } : {};
  }

  values(inputs) {
    this.given.replaceChildren();
    return this.ask({ inputs, options: this.options() });
  }

  files(files) {
    return this.attempt(async () => {
      const form = new FormData();
      for (const file of files) form.append("files", file);
      form.append("options", JSON.stringify(this.options()));
      for (const old of this.given.querySelectorAll("[src]")) URL.revokeObjectURL(old.src);
      this.given.replaceChildren(...files.slice(0, 4).map(preview).filter(Boolean));
      await this.ask(form, this.model.recipe === "forecast" ? columnsOf(await files[0].text()) : null);
    });
  }

  async ask(body, columns = null) {
    const turn = ++this.turn;
    this.message.say("Computing …");
    const begun = performance.now(), { predictions } = await this.server.json("POST", `/v1/predict/${encodeURIComponent(this.model.id)}`, body);
    if (turn !== this.turn) return;
    this.message.say(`${predictions.length} ${predictions.length === 1 ? "answer" : "answers"} in ${Math.round(performance.now() - begun)} ms`);
    this.shown.replaceChildren(...predictions.map((fields) => answerNode(fields, columns)), rawNode(predictions));
  }

  async attempt(act) {
    try {
      await act();
    } catch (error) {
      this.message.fail(error);
    }
  }
}

const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

function numbers(text, flat) {
  const rows = lines(text).map((line) => line.split(/[\s,;]+/).filter(Boolean).map(Number));
  if (!rows.length || rows.flat().some(Number.isNaN)) throw new Error("These are not numbers.");
  return flat ? rows.flat() : rows;
}
