// The view of a forecaster: a series that is pasted, edited or drawn, and what comes after it.
import { parseSeries, timeText } from "../model/forecaster.js";
import { ForecastChart } from "./chart.js";
import { card, element, message } from "./elements.js";
import { acceptFile, later, openFile } from "./sequence.js";

export function showForecaster(page, manifest, model) {
  new ForecastView(page, model);
}

class ForecastView {
  constructor(page, model) {
    this.model = model;
    this.spec = model.spec;
    this.message = message();
    this.box = element("textarea", { rows: 10, id: "series", spellcheck: false });
    this.box.addEventListener("input", later(() => this.read()));
    acceptFile(this.box, () => this.read());
    this.chart = new ForecastChart((t, value) => this.edit(t, value));
    this.table = element("table");
    this.build(page);
    this.box.value = this.text(this.spec.example ?? this.wave());
    this.read();
  }

  build(page) {
    const { series, horizon, decoding } = this.spec;
    const open = openFile(".csv,.tsv,.txt,text/plain", "Open a file", async (file) => {
      this.box.value = await file.text();
      this.read();
    });
    const wave = element("button", { type: "button", onclick: () => this.fill(this.wave()) }, "A made-up wave");
    const controls = [open, wave];
    if (this.spec.example) {
      controls.unshift(element("button", { type: "button", onclick: () => this.fill(this.spec.example) }, "The run's own series"));
    }
    this.series = element("select", { id: "which" }, ...series.map((name, n) => element("option", { value: String(n) }, name)));
    this.series.addEventListener("change", () => this.read());
    this.steps = element("input", { type: "number", id: "steps", min: "1", max: decoding === "recursive" ? "10000" : String(horizon) });
    this.steps.value = String(horizon);
    this.steps.addEventListener("input", () => this.read());
    const which = element("label", { for: "which", hidden: series.length < 2 }, "Series", this.series);
    const steps = element("label", { for: "steps" }, "Steps ahead", this.steps);
    const hint = `One value a line, or a time and a value with a comma between; the last ${this.spec.lookback} are read. `;
    const scroll = element("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "The forecast in numbers" }, this.table);
    const numbers = card("Numbers", scroll);
    numbers.classList.add("after");
    page.className = "two";
    page.append(
      element(
        "div", { class: "column around" },
        card(
          "Forecast", this.chart.node, this.chart.legend(this.spec.levels), element("div", { class: "inline" }, which, steps), this.message.node,
          element("p", { class: "hint" }, "Drag a point of the series to see what the forecast makes of it."),
        ),
        numbers,
      ),
      element(
        "div", { class: "side" },
        card("Series", element("label", { for: "series" }, "Paste or edit a series"), this.box, element("p", { class: "hint" }, hint), element("div", { class: "controls" }, ...controls)),
      ),
    );
  }

  // A series that no data is needed for: a season of the training's level and spread.
  wave() {
    const { lookback, season, mean, deviation, start } = this.spec, number = Number(this.series?.value ?? 0);
    const period = season > 1 ? season : Math.max(4, lookback / 4);
    const values = Array.from({ length: lookback }, (_, t) => mean[number] + deviation[number] * Math.sin((2 * Math.PI * t) / period));
    return { values, first: start };
  }

  text({ values, first }) {
    const { clock, deviation } = this.spec, digits = digitsOf(deviation[0]);
    return values
      .map((value, t) => `${timeText(first + t * clock.every, clock)}, ${value === null || Number.isNaN(value) ? "" : Number(value.toFixed(digits))}`)
      .join("\n");
  }

  fill(series) {
    this.box.value = this.text(series);
    this.read();
  }

  read() {
    try {
      const { clock, lookback, start, cycles } = this.spec, parsed = parseSeries(this.box.value, clock, start), { values } = parsed;
      const note = parsed.first === null && cycles.length ? "No times are given, so those of the training's end are taken." : "";
      this.first = parsed.first ?? start + (lookback - values.length) * clock.every;
      if (values.length < lookback) throw new Error(`${values.length} values are there, and ${lookback} are needed.`);
      if (values.slice(-lookback).every(Number.isNaN)) throw new Error(`The last ${lookback} values are all missing.`);
      this.values = values;
      this.forecast(note);
    } catch (error) {
      this.message.fail(error);
      this.chart.show([], [], 0, () => "");
      this.table.replaceChildren();
    }
  }

  forecast(note = "") {
    const most = Number(this.steps.max), horizon = Math.min(most, Math.max(1, Math.floor(Number(this.steps.value)) || this.spec.horizon));
    const series = Number(this.series.value), { clock, levels } = this.spec;
    const quantiles = this.model.forecast(this.values, { series, first: this.first, horizon });
    const time = (t) => timeText(this.first + t * clock.every, clock);
    this.message.say(note);
    this.chart.show(this.values, quantiles, levels.indexOf(0.5), time);
    this.tabulate(quantiles, time);
  }

  tabulate(quantiles, time) {
    const { levels, deviation } = this.spec, digits = digitsOf(deviation[Number(this.series.value)]);
    const head = element("tr", {}, element("th", { scope: "col" }, "Time"), ...levels.map((level) => element("th", { scope: "col" }, `${100 * level} %`)));
    const rows = quantiles.map((row, f) =>
      element("tr", {}, element("th", { scope: "row" }, time(this.values.length + f)), ...row.map((value) => element("td", {}, value.toFixed(digits)))),
    );
    this.table.replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
  }

  // A point of the chart was dragged.
  edit(t, value) {
    this.values[t] = Number(value.toFixed(digitsOf(this.spec.deviation[0])));
    this.box.value = this.text({ values: this.values, first: this.first });
    this.forecast();
  }
}

const digitsOf = (deviation) => Math.max(0, Math.min(12, 3 - Math.floor(Math.log10(Math.abs(deviation) || 1))));
