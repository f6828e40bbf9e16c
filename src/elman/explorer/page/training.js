// Training in the page: the same task for several cells side by side.
import { TASKS, newTrainer, trainStep, trainerExample, trainerLags, wordTask } from "./tasks.js";
import { chart } from "./chart.js";
import { button, element, field, fixed, number, select, shade } from "./dom.js";

const CELL_NAMES = { rnn_tanh: "plain tanh", rnn_relu: "plain relu", gru: "GRU", lstm: "LSTM" };
const COLORS = { rnn_tanh: "var(--line-1)", rnn_relu: "var(--line-4)", gru: "var(--line-2)", lstm: "var(--line-3)" };
const NOTE = "Dashed: before training, when the error has to find its way. A memory that training has filled lies where tanh is flat, so that little of an error gets into it; the answer is learned by then.";
const POINTS = 160, FRAME_MS = 12, DRAW_MS = 300;

const pointSize = (values) => Math.max(1, Math.ceil(values.length / POINTS));

// A long list in at most POINTS means.
function means(values) {
  const size = pointSize(values);
  return Array.from({ length: Math.floor(values.length / size) }, (_, n) => {
    return values.slice(n * size, n * size + size).reduce((sum, v) => sum + v, 0) / size;
  });
}

// Of an error at the last step, by lag: the share of it that is left.
function lagsOf(trainer) {
  const left = trainerLags(trainer);
  return left.map((v) => v / (left[0] || 1));
}

export function createTraining(host, { openNetwork }) {
  const settings = { task: "echo", word: "hello", T: 40, H: 12, rate: 0.02, clip: 1, start: "random", cells: new Set(["rnn_tanh", "lstm"]) };
  let trainers = [], running = false, drawn = 0;
  const charts = element("div", { class: "charts charts-three" }), answers = element("div", { class: "answers" });
  const status = element("p", { class: "note", role: "status" }), controls = element("div", { class: "controls" });
  const go = button("▶ Train", toggle, { class: "primary" });
  host.append(controls, element("div", { class: "row" }, go, button("Begin again", () => { reset(); draw(); }), status), charts, answers);

  const task = () => (settings.task === "word" ? wordTask(settings.word) : TASKS[settings.task]);

  function range(name, min, max, step, text) {
    const output = element("output", {}, number(settings[name], 3));
    const input = element("input", { type: "range", min, max, step, value: settings[name], oninput: () => {
      settings[name] = input.valueAsNumber;
      output.textContent = input.valueAsNumber === 0 && name === "clip" ? "off" : String(settings[name]);
    }, onchange: () => {
      if (name === "rate" || name === "clip") trainers.forEach((trainer) => (trainer[name] = settings[name]));
      else again();
    } });
    output.textContent = String(settings[name]);
    return field(text, input, output);
  }

  function drawControls() {
    const names = [...Object.entries(TASKS).map(([key, { title }]) => [key, title]), ["word", "Next letter of a word"]];
    const word = element("input", { value: settings.word, maxlength: 24, "aria-label": "word", onchange: () => {
      const letters = [...word.value.trim()];
      if (new Set(letters).size > 1) settings.word = letters.join("");
      word.value = settings.word;
      again();
    } });
    const wide = (node) => { node.classList.add("pair"); return node; };
    controls.replaceChildren(...[
      wide(field("Task", select(names, settings.task, (value) => { settings.task = value; drawControls(); again(); }, "task"))),
      settings.task === "word" ? field("Word", word) : null,
      range("T", 4, 60, 1, "Steps"), range("H", 2, 32, 1, "Units"), range("rate", 0.001, 0.05, 0.001, "Learning rate"), range("clip", 0, 5, 0.25, "Clip at"),
      field("W begins as", select(["random", "orthogonal", "identity"], settings.start, (value) => { settings.start = value; again(); }, "initialisation of W")),
      element("fieldset", { class: "field" }, element("legend", {}, "Cells, on the same sequences"), Object.entries(CELL_NAMES).map(([cell, name]) => element("label", { class: "check" }, element("input", { type: "checkbox", checked: settings.cells.has(cell), onchange: (event) => {
        settings.cells[event.target.checked ? "add" : "delete"](cell);
        again();
      } }), element("i", { class: "dot", style: `background: ${COLORS[cell]}` }), name))),
    ].filter(Boolean));
  }

  function reset() {
    trainers = Object.keys(CELL_NAMES).filter((cell) => settings.cells.has(cell)).map((cell) => newTrainer({ task: task(), cell, H: settings.H, T: settings.T, rate: settings.rate, clip: settings.clip, start: settings.start, seed: 3 }));
    trainers.forEach((trainer) => (trainer.untrained = lagsOf(trainer)));
  }

  function again() {
    reset();
    draw();
  }

  function toggle() {
    running = !running;
    go.textContent = running ? "❚❚ Pause" : "▶ Train";
    if (running) requestAnimationFrame(frame);
    else draw();
  }

  function frame(now) {
    if (!running || !trainers.length) return;
    const end = performance.now() + FRAME_MS;
    do trainers.forEach(trainStep);
    while (performance.now() < end);
    if (now - drawn > DRAW_MS) {
      drawn = now;
      draw();
    }
    requestAnimationFrame(frame);
  }

  const steps = () => trainers[0]?.step ?? 0;
  const seriesOf = (values, trainer) => ({ name: CELL_NAMES[trainer.network.cell], values, color: COLORS[trainer.network.cell] });

  function draw() {
    const chosen = task(), lags = trainers.map(lagsOf), each = pointSize(trainers[0]?.losses ?? []);
    const untrained = steps() ? trainers.map((trainer) => ({ ...seriesOf(trainer.untrained, trainer), dashed: true, name: `${CELL_NAMES[trainer.network.cell]}, untrained` })) : [];
    status.textContent = trainers.length ? `${chosen.question} Step ${steps()}, 16 new sequences a step${trainers.length ? `; loss ${trainers.map((trainer) => `${CELL_NAMES[trainer.network.cell]} ${number(means(trainer.losses).at(-1) ?? NaN)}`).join(", ")}` : ""}.` : "Choose a cell.";
    charts.replaceChildren(
      chart({ title: "Loss", xTitle: "training step", narrow: true, each, series: trainers.map((trainer) => seriesOf(means(trainer.losses), trainer)) }),
      chart({ title: "Norm of the gradient, before clipping", xTitle: "training step", narrow: true, each, logarithmic: true, least: 1e-8, series: trainers.map((trainer) => seriesOf(means(trainer.norms), trainer)) }),
      chart({ title: "How much of an error is left, by lag", xTitle: "lag, in steps", narrow: true, logarithmic: true, least: 1e-8, series: [...untrained, ...trainers.map((trainer, n) => seriesOf(lags[n], trainer))], note: NOTE }),
    );
    answers.replaceChildren(...trainers.map((trainer) => answer(trainer)));
    for (const strip of answers.querySelectorAll(".scroll")) strip.scrollLeft = strip.scrollWidth; // the answer is at the end
  }

  function answer(trainer) {
    const { x, y, tape } = trainerExample(trainer, 11), { task: of, network } = trainer, T = x.length;
    const strip = (title, rows, words) => element("tr", {}, element("th", { scope: "row" }, title), rows.map((values, t) => {
      const v = values === null ? NaN : values[0];
      return element("td", { style: `--tint: ${shade(Number.isNaN(v) ? 0 : v, 1.2)}` }, words ? words(t) : Number.isNaN(v) ? "" : fixed(v, 1));
    }));
    const letter = (row) => of.symbols[row.indexOf(Math.max(...row))];
    const rows = of.symbols
      ? [strip("input", x.map(() => null), (t) => letter(x[t])), strip("target", x.map(() => null), (t) => letter(y[t])), strip("output", x.map(() => null), (t) => letter(tape.steps[t].o))]
      : [strip("input", x), ...(of.sizes.I > 1 ? [strip("mark", x.map((row) => row.slice(1)))] : []), strip("target", y.map((row, t) => (of.counts(t, T) ? row : null))), strip("output", tape.steps.map((step, t) => (of.counts(t, T) ? step.o : null)))];
    return element("section", { class: "card" }, element("h3", {}, element("i", { class: "dot", style: `background: ${COLORS[network.cell]}` }), CELL_NAMES[network.cell]),
      element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "an example" }, element("table", { class: "strip" }, rows)),
      button("Open this network in the picture", () => openNetwork(network, x, y, of)));
  }

  drawControls();
  reset();
  return {
    draw,
    set(changes) {
      Object.assign(settings, changes, changes.cells ? { cells: new Set(changes.cells) } : {});
      drawControls();
      again();
    },
    start() { if (!running) toggle(); },
    stop() { if (running) toggle(); },
  };
}
