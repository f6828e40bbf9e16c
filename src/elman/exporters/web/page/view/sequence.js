// A text that is typed, or a series of numbers that is pasted, for a classifier.
import { parseSteps } from "../model/classifier.js";
import { Drawing, card, colours, element, percent, tint } from "./elements.js";

const WAIT = 120; // milliseconds after the last key
const MOST_LINES = 12;

// A call that waits until no other comes.
export function later(act) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(act, WAIT);
  };
}

export function textInput(view) {
  const { reader, perStep } = view.model, box = element("textarea", { rows: 3, id: "text", spellcheck: false });
  const read = element("div", { class: "paper short", "aria-label": "The text as it is read" });
  const legend = element("p", { class: "hint" }), tags = element("ol", { class: "tagged" });
  const answer = () => {
    const symbols = reader.symbols(box.value);
    read.hidden = legend.hidden = true;
    tags.replaceChildren();
    if (!symbols.length) {
      view.clear();
      view.message.say("");
      return;
    }
    const unknown = symbols.filter(({ id }) => id >= reader.unknown).length;
    const note = unknown ? `${unknown} of ${symbols.length} symbols are unknown.` : "";
    const { answers, running } = view.show(symbols.map(({ id }) => id), note);
    if (perStep) tags.append(...answers.map(({ label }, n) => element("li", {}, symbols[n].text, element("small", {}, label))));
    if (!running || view.labels.target !== "class") return;
    const [best] = view.order, chance = 1 / view.labels.classes.length;
    read.replaceChildren(...running.map((p, n) => {
      const span = element("span", { title: percent(p[best]) }, symbols[n].text + (reader.kind === "words" ? " " : ""));
      span.style.background = tint(p[best] >= chance ? (p[best] - chance) / (1 - chance) : p[best] / chance - 1);
      return span;
    }));
    legend.textContent = `Blue: at this point ${view.labels.classes[best]} is more probable than by chance; orange: less.`;
    read.hidden = legend.hidden = false;
  };
  read.hidden = legend.hidden = true;
  box.addEventListener("input", later(answer));
  acceptFile(box, answer);
  return card("Text", element("label", { for: "text" }, "Type or paste a text"), box, view.message.node, read, legend, tags);
}

export function seriesInput(view) {
  const { size } = view.model.input, box = element("textarea", { rows: 8, id: "series", spellcheck: false });
  let steps = [];
  const chart = new Drawing({ class: "chart", role: "img", "aria-label": "The series" }, (...canvas) => drawLines(...canvas, steps));
  chart.node.style.height = "9rem";
  chart.node.hidden = true;
  const answer = () => {
    try {
      steps = parseSteps(box.value, size);
      if (steps.length) view.show(steps);
      else view.clear();
      chart.node.hidden = !steps.length;
      chart.redraw();
    } catch (error) {
      view.clear();
      view.message.fail(error);
    }
  };
  box.addEventListener("input", later(answer));
  acceptFile(box, answer);
  const file = openFile(".csv,.tsv,.txt,text/plain", "Open a file of numbers", async (opened) => {
    box.value = await opened.text();
    answer();
  });
  const label = size === 1 ? "Paste a series of numbers" : `Paste a series: ${size} numbers on each line`;
  const form = "Blanks, commas or semicolons are between numbers, and each line is a step. A file can be dropped too.";
  const hint = element("p", { class: "hint" }, form);
  const controls = element("div", { class: "controls" }, file);
  return card("Series", element("label", { for: "series" }, label), box, hint, controls, view.message.node, chart.node);
}

// A button that opens a file.
export function openFile(accept, label, opened) {
  const input = element("input", { type: "file", accept, class: "pick", "aria-label": label });
  input.addEventListener("change", () => {
    if (input.files[0]) opened(input.files[0]);
    input.value = "";
  });
  return element("label", { class: "button" }, label, input);
}

// A text file that is dropped on a box becomes its text.
export function acceptFile(box, changed) {
  box.addEventListener("dragover", (event) => (event.preventDefault(), box.classList.add("drop")));
  box.addEventListener("dragleave", () => box.classList.remove("drop"));
  box.addEventListener("drop", async (event) => {
    box.classList.remove("drop");
    const [file] = event.dataTransfer.files;
    if (!file) return;
    event.preventDefault();
    box.value = await file.text();
    changed();
  });
}

function drawLines(context, width, height, steps) {
  if (!steps.length) return;
  const theme = colours(), features = Math.min(MOST_LINES, steps[0].length);
  const x = (t) => 8 + ((width - 16) * t) / Math.max(1, steps.length - 1);
  for (let i = features - 1; i >= 0; i--) {
    const values = steps.map((step) => step[i]);
    const low = values.reduce((a, b) => Math.min(a, b)), high = values.reduce((a, b) => Math.max(a, b));
    context.beginPath();
    values.forEach((value, t) => context.lineTo(x(t), height - 10 - ((height - 20) * (value - low)) / (high - low || 1)));
    context.strokeStyle = i === 0 ? theme.accent : theme.soft;
    context.globalAlpha = i === 0 ? 1 : 0.5;
    context.lineWidth = 1.6;
    context.stroke();
  }
  context.globalAlpha = 1;
}
