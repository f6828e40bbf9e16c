// The view of a classifier: what is typed, pasted or drawn, the probabilities, and how they come about step by step.
import { largest } from "../model/algebra.js";
import { Bars, Strip, card, element, message, percent } from "./elements.js";
import { pictureInput } from "./picture.js";
import { seriesInput, textInput } from "./sequence.js";

const SHOWN = 12; // classes in the list
const ROWS = 24; // classes in the strip
const LONGEST = 4000; // steps

export function showClassifier(page, manifest, model) {
  const view = new ClassifierView(manifest, model), { picture } = manifest.input;
  page.className = "two";
  const input = picture ? pictureInput(picture, view) : model.reader ? textInput(view) : seriesInput(view);
  page.append(element("div", { class: "column around" }, input, view.running), element("div", { class: "side" }, view.answer));
}

class ClassifierView {
  constructor(manifest, model) {
    this.model = model;
    this.labels = manifest.labels;
    this.message = message();
    this.verdict = element("p", { class: "verdict", role: "status" });
    this.bars = new Bars({ labels: true });
    this.answer = card("Answer", this.verdict, this.bars.node);
    this.order = this.labels.classes.map((_, n) => n);
    const rows = Math.min(ROWS, this.labels.classes.length);
    this.strip = new Strip({ rows, most: LONGEST, label: "Probabilities after each step" });
    this.strip.node.style.height = `${Math.max(48, Math.min(220, 18 * rows))}px`;
    this.names = element("p", { class: "hint" });
    const scale = element("p", { class: "scale" }, "0", element("i", { class: "one" }), "1");
    this.running = card("After each step", this.strip.node, scale, this.names);
    this.running.classList.add("after");
    this.clear();
  }

  clear(text = "Nothing to answer yet.") {
    this.verdict.replaceChildren(element("small", {}, text));
    this.bars.show([]);
    this.running.hidden = true;
  }

  // Answer a sequence: {answers, running}, one answer or that of each step of a tagger, and the probabilities of the
  // classes after each step, where they are known.
  show(steps, note = "") {
    if (steps.length > LONGEST) {
      note = `The first ${LONGEST} of ${steps.length} steps are read. ${note}`;
      steps = steps.slice(0, LONGEST);
    }
    this.message.say(note);
    const streamed = this.model.streams ? Array.from(this.model.stream(steps), ({ scores }) => scores) : null;
    const whole = streamed && !this.model.perStep ? [streamed.at(-1)] : (streamed ?? this.model.scores(steps));
    const answers = whole.map((scores) => this.model.answer(scores));
    if (this.model.perStep) this.verdict.textContent = `${answers.length} tags`;
    else this.showAnswer(answers[0]);
    const running = streamed && !this.model.perStep && this.labels.target !== "number" ? this.showRunning(streamed) : null;
    return { answers, running };
  }

  showAnswer(answer) {
    if ("number" in answer) {
      this.verdict.textContent = inDigits(answer.number, this.labels.deviation);
      return;
    }
    const { probabilities } = answer, several = this.labels.target === "classes";
    this.order = largest(probabilities, probabilities.length);
    const best = several ? answer.labels.join(", ") || "none" : answer.label;
    this.verdict.replaceChildren(best, ...(several ? [] : [element("small", {}, percent(probabilities[this.order[0]]))]));
    const rows = this.order.slice(0, SHOWN).map((n) => ({ key: n, name: this.labels.classes[n], p: probabilities[n] }));
    this.bars.show(rows, several ? null : this.order[0]);
  }

  showRunning(streamed) {
    const columns = streamed.map((scores) => this.model.answer(scores).probabilities);
    const rows = this.order.slice(0, this.strip.rows);
    this.strip.show(columns.map((probabilities) => rows.map((n) => probabilities[n] ** 2))); // paint takes the root
    const names = rows.map((n) => this.labels.classes[n]).join(", ");
    this.names.textContent = `Rows from the top: ${names}. Columns: the steps, as if the sequence ended there.`;
    this.running.hidden = columns.length < 2;
    return columns;
  }
}

// A number to the digits that its spread allows.
function inDigits(value, deviation) {
  return value.toFixed(Math.max(0, Math.min(12, 2 - Math.floor(Math.log10(Math.abs(deviation) || 1)))));
}
